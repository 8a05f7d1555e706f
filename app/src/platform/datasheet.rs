//! A dataset's datasheet: what is known of a version, from every stage, beside what people have written down.
//!
//! The questions are those of `rondo_project::shape::datasheet`. A question has facts (found here), an answer
//! (by people), both, or neither: then it is blank, and said to be.

use std::collections::{BTreeMap, BTreeSet};

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::run::RunKind;
use rondo_data::check::FileReport;
use rondo_data::place::size;
use rondo_project::project::{Datasheet, Reference, Work};
use rondo_project::shape::datasheet::{DATASHEET, questions};
use rondo_table::duplicates;
use rondo_table::profile::Profile;
use rondo_table::read;
use serde::Serialize;

use super::{Error, Platform};

/// So many runs are looked through for what used a dataset.
const RUNS: i64 = 5000;
/// So many things of one sort are named.
const NAMED: usize = 12;

/// A datasheet.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// The dataset.
    pub dataset: String,
    /// The version that it is about.
    pub version: DatasetVersion,
    /// What it is, as the project says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The seven parts.
    pub parts: Vec<Part>,
    /// How many questions have an answer or a fact.
    pub filled: usize,
    /// How many there are.
    pub questions: usize,
    /// Those with neither, as `part.question`.
    pub blank: Vec<String>,
}

/// A part of it.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its key.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its questions.
    pub fields: Vec<Field>,
}

/// A question.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    /// `part.question`.
    pub id: String,
    /// The question.
    pub question: &'static str,
    /// What is known.
    pub facts: Vec<String>,
    /// What people have written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Field {
    /// Whether there is neither fact nor answer.
    pub fn is_blank(&self) -> bool {
        self.facts.is_empty() && self.answer.is_none()
    }
}

type Facts = BTreeMap<&'static str, Vec<String>>;

impl Platform {
    /// The datasheet of a version.
    ///
    /// # Errors
    /// When the version, its rows or the file of answers cannot be read.
    pub async fn datasheet(&self, version: &DatasetVersion) -> Result<Sheet, Error> {
        let name = &version.dataset;
        let declared = self.project().data.get(name);
        let answers = match declared.and_then(|declared| declared.datasheet.as_ref()) {
            None => BTreeMap::new(),
            Some(Datasheet::Answers(answers)) => answers.clone(),
            Some(Datasheet::File(file)) => {
                let path = self.root().join(file);
                answers_of(&std::fs::read_to_string(&path).map_err(Error::io("read", &path))?)
            }
        };
        let mut facts = Facts::new();
        self.composition(version, &mut facts).await?;
        self.history(version, &mut facts).await?;
        self.uses(version, &mut facts).await?;
        self.checked(version, &mut facts).await?;
        let parts: Vec<Part> = DATASHEET
            .keys
            .iter()
            .map(|part| {
                let field = |key: &'static rondo_project::shape::Key| {
                    let id = format!("{}.{}", part.name, key.name);
                    let answer = answers.get(&id).map(|text| text.trim().to_owned());
                    Field {
                        question: key.doc,
                        facts: facts.get(id.as_str()).cloned().unwrap_or_default(),
                        answer: answer.filter(|text| !text.is_empty()),
                        id,
                    }
                };
                Part { name: part.name, about: part.doc, fields: questions(part).iter().map(field).collect() }
            })
            .collect();
        let all = || parts.iter().flat_map(|part| &part.fields);
        let blank: Vec<String> =
            all().filter(|field| field.is_blank()).map(|field| field.id.clone()).collect();
        let questions = all().count();
        Ok(Sheet {
            dataset: name.clone(),
            version: version.clone(),
            description: declared.and_then(|declared| declared.description.clone()),
            filled: questions - blank.len(),
            questions,
            blank,
            parts,
        })
    }

    /// What the version is made of.
    async fn composition(&self, version: &DatasetVersion, facts: &mut Facts) -> Result<(), Error> {
        let files = format!("{}, {}", counted(version.files, "file"), size(version.size));
        let count = match version.rows {
            Some(rows) => format!(
                "{}, {}; {files}",
                counted(rows, "row"),
                counted(version.columns.len() as u64, "column")
            ),
            None => files,
        };
        facts.insert("composition.count", vec![count]);
        let listed = self.datasets().files_of(version)?;
        let licence = listed.keys().filter(|path| {
            let file = path.rsplit('/').next().unwrap_or(path).to_uppercase();
            ["LICENSE", "LICENCE", "COPYING"].iter().any(|name| file.starts_with(name))
        });
        let licence: Vec<String> = licence.map(|path| format!("the version holds `{path}`")).collect();
        if !licence.is_empty() {
            facts.insert("distribution.licence", licence);
        }
        facts.insert(
            "composition.external",
            vec![format!(
                "the version holds all {} itself: BLAKE3 {}",
                counted(version.files, "file"),
                version.digest
            )],
        );
        if let Some(profile) = self.datasets().profile_of(version).await? {
            self.rows_and_columns(version, &profile, facts).await?;
        }
        Ok(())
    }

    async fn rows_and_columns(
        &self,
        version: &DatasetVersion,
        profile: &Profile,
        facts: &mut Facts,
    ) -> Result<(), Error> {
        let summary = profile.summary();
        let features = summary.iter().map(|column| {
            let distinct = column.distinct.map_or_else(String::new, |distinct| {
                format!(", {}{} different", if distinct.exact { "" } else { "about " }, distinct.count)
            });
            format!("`{}` {}{distinct}", column.name, column.column_type.text())
        });
        facts.insert("composition.features", features.collect());
        let missing: Vec<String> = summary
            .iter()
            .filter(|column| column.nulls > 0)
            .map(|column| format!("`{}`: {:.2} % missing", column.name, column.null_share * 100.0))
            .collect();
        let missing = if missing.is_empty() { vec!["no value is missing".to_owned()] } else { missing };
        facts.insert("composition.missing", missing);

        let options = rondo_data::table::options_for_version(version)?;
        let folder = self.datasets().laid_out(version, &options)?;
        let path = folder.path().to_owned();
        let key = self.project().data.get(&version.dataset).map(|data| data.key.clone()).unwrap_or_default();
        let by = key.clone();
        let (rows, keys) = tokio::task::spawn_blocking(move || -> Result<_, Error> {
            let rows = duplicates::count(read::open_with(&path, &options)?, &[])?;
            let keys = match by.is_empty() {
                true => None,
                false => Some(duplicates::count(read::open_with(&path, &options)?, &by)?),
            };
            Ok((rows, keys))
        })
        .await
        .map_err(|error| Error::Invalid { code: rondo_core::Code::Internal, message: error.to_string() })??;
        let mut errors = vec![format!("{} are exact repetitions of another", counted(rows, "row"))];
        errors.extend(
            keys.map(|keys| format!("{} repeat the key {} of another", counted(keys, "row"), key.join(", "))),
        );
        let constant: Vec<String> = summary
            .iter()
            .filter(|column| column.constant)
            .map(|column| format!("`{}`", column.name))
            .collect();
        if !constant.is_empty() {
            errors.push(format!("always the same: {}", constant.join(", ")));
        }
        facts.insert("composition.errors", errors);

        let time = self.project().data.get(&version.dataset).and_then(|data| data.time.clone());
        let range = summary
            .iter()
            .filter(|column| time.as_ref().is_none_or(|time| *time == column.name))
            .filter_map(|column| Some((column, column.moments?)));
        let range: Vec<String> = range
            .map(|(column, (first, last))| format!("`{}` from {first} to {last}", column.name))
            .collect();
        if !range.is_empty() {
            facts.insert("collection.timeframe", range);
        }
        let columns: BTreeSet<&str> = summary.iter().map(|column| column.name.as_str()).collect();
        let targets: BTreeSet<String> = self
            .project()
            .models
            .iter()
            .filter(|(_, model)| columns.contains(model.target.as_str()))
            .map(|(name, model)| format!("`{}`, the target of model `{name}`", model.target))
            .collect();
        if !targets.is_empty() {
            facts.insert("composition.labels", targets.into_iter().collect());
        }
        Ok(())
    }

    /// Where the versions came from.
    async fn history(&self, version: &DatasetVersion, facts: &mut Facts) -> Result<(), Error> {
        let name = &version.dataset;
        facts.insert(
            "collection.acquisition",
            vec![format!("read from `{}` on {}", version.source, version.added.day())],
        );
        let versions = self.store().meta().numbered_versions(name).await?;
        let log = self.datasets().log(name, i64::try_from(NAMED).unwrap_or(12)).await?;
        let mut updates = vec![format!(
            "{} since {}",
            counted(versions.len() as u64, "version"),
            versions.first().map_or(version.added, |(_, first)| first.added).day()
        )];
        if let Some(parts) = self.project().data.get(name).and_then(|data| data.parts.as_ref()) {
            updates.push(format!("it grows by the {}", format!("{:?}", parts.by).to_lowercase()));
        }
        updates.extend(log.first().map(|last| {
            format!(
                "last changed on {} by {}: {}",
                last.entry.at.day(),
                last.entry.because.actor,
                last.entry.because.why
            )
        }));
        facts.insert("maintenance.updates", updates);
        let listed = versions.iter().rev().take(NAMED).map(|(number, version)| {
            let rows = version.rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
            format!("{name}@{number}: {} of {}{rows}", version.digest.short(), version.added.day())
        });
        let mut older: Vec<String> = listed.collect();
        if versions.len() > NAMED {
            older.push(format!("and {} more", versions.len() - NAMED));
        }
        facts.insert("maintenance.older_versions", older);
        let oldest = versions.first().map_or(1, |(number, _)| *number);
        facts.insert(
            "preprocessing.raw",
            vec![format!("every version is kept as it was read: rondo data get {name}@{oldest}")],
        );
        Ok(())
    }

    /// What reads it.
    async fn uses(&self, version: &DatasetVersion, facts: &mut Facts) -> Result<(), Error> {
        let name = &version.dataset;
        let reference = format!("data.{name}");
        let reads = |work: &rondo_project::project::Step| {
            work.inputs.values().any(|input| matches!(input, Reference::Data { dataset } if dataset == name))
        };
        let steps: Vec<(&str, &rondo_project::project::Step)> =
            self.project().steps.iter().filter(|(_, step)| reads(step)).collect();
        let splits: Vec<String> = steps
            .iter()
            .filter(|(_, step)| matches!(&step.work, Work::Uses { package, .. } if package == "split"))
            .map(|(step, _)| format!("step `{step}` splits it"))
            .collect();
        if !splits.is_empty() {
            facts.insert("composition.splits", splits);
        }
        let work = steps.iter().map(|(step, definition)| match &definition.work {
            Work::Run { .. } => format!("step `{step}`: a command"),
            Work::Sql { .. } => format!("step `{step}`: SQL"),
            Work::Uses { package, .. } => format!("step `{step}`: package `{package}`"),
        });
        let work: Vec<String> = work.collect();
        if !work.is_empty() {
            facts.insert("preprocessing.software", work);
        }
        let runs = self.store().meta().runs_of_kind(RunKind::Step, None, RUNS).await?;
        let used =
            |run: &&rondo_core::run::RunRow| run.detail.inputs.iter().any(|link| link.reference == reference);
        let runs: Vec<_> = runs.iter().filter(used).collect();
        let mut by_step: BTreeMap<&str, u64> = BTreeMap::new();
        runs.iter()
            .for_each(|run| *by_step.entry(run.step.as_deref().unwrap_or(&run.name)).or_default() += 1);
        let mut used_for: Vec<String> = by_step
            .iter()
            .map(|(step, count)| format!("step `{step}`: {}", counted(*count, "run")))
            .collect();
        for (model, _) in self.store().meta().models().await? {
            let versions = self.store().meta().model_versions(&model).await?;
            let of = |link: &rondo_core::run::Link| link.reference == reference || link.reference == *name;
            let made: Vec<String> = versions
                .iter()
                .filter(|version| version.lineage.datasets.iter().any(of))
                .map(|version| version.version.to_string())
                .collect();
            if !made.is_empty() {
                used_for.push(format!("model `{model}`, versions {}", made.join(", ")));
            }
        }
        if !used_for.is_empty() {
            facts.insert("uses.used_for", used_for);
        }
        if let Some(last) = runs.first() {
            facts.insert(
                "uses.repository",
                vec![format!(
                    "rondo trace {name}@latest; the last run was {} on {}",
                    last.id.short(),
                    last.started.day()
                )],
            );
        }
        Ok(())
    }

    /// What its checks say of it.
    async fn checked(&self, version: &DatasetVersion, facts: &mut Facts) -> Result<(), Error> {
        let Some(declared) = self.project().data.get(&version.dataset) else { return Ok(()) };
        if declared.checks.is_empty() {
            return Ok(());
        }
        let because = Because::new(self.config().user(), "looked at for a datasheet");
        let intake = self.intake(&version.dataset, because)?;
        let reports = self.datasets().check(version, &intake.suite, &intake.options).await?;
        let passed = reports.iter().filter(|report| report.passed()).count();
        let verdict = match passed == reports.len() {
            true => "it passes them".to_owned(),
            false => reports
                .iter()
                .filter(|report| !report.passed())
                .map(FileReport::headline)
                .collect::<Vec<_>>()
                .join("; "),
        };
        let count = counted(declared.checks.len() as u64, "check");
        facts.insert(
            "preprocessing.steps",
            vec![format!(
                "{count} stand before every version, and data that break one are refused: {verdict}"
            )],
        );
        Ok(())
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The answers in a Markdown file: what stands below a heading that ends in `` `part.question` ``, without
/// what was generated (quotes that begin with `>`) and without the mark of a blank.
pub fn answers_of(markdown: &str) -> BTreeMap<String, String> {
    let mut answers: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in markdown.lines() {
        if line.starts_with('#') {
            let id = line.trim_end().strip_suffix('`').and_then(|line| line.rsplit('`').next());
            current = id.filter(|id| id.contains('.')).map(str::to_owned);
            continue;
        }
        if let Some(id) = &current
            && !line.starts_with('>')
            && line.trim() != BLANK
        {
            let text = answers.entry(id.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    answers
        .into_iter()
        .map(|(id, text)| (id, text.trim().to_owned()))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// What stands where nothing is known.
pub const BLANK: &str = "_blank_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_back_from_markdown() {
        let text = "# x\n## Motivation\n### Why `motivation.purpose`\n> fact\n\nTo learn.\n\nAnd more.\n\
                    ### Who `motivation.creators`\n_blank_\n### `not an id`\nlost\n";
        let answers = answers_of(text);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers["motivation.purpose"], "To learn.\n\nAnd more.");
    }
}
