//! Checks: whether data are as expected. The rules and their meaning are those of
//! [`rondo_table::checks`]; here is what they are run on.
//!
//! A rule is about every file of a dataset by itself, so that a part is judged when it comes and never
//! again. A rule with `scope: whole` is about all files as one table, and reads them all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rondo_core::handoff::DatasetVersion;
use rondo_core::{Digest, canonical};
use rondo_project::fault::Fault;
use rondo_project::place::Lines;
use rondo_project::suite;
use rondo_project::yaml::{self, Node};
use rondo_table::checks::{
    self, CheckReport, Context, FailingRows, FileTable, Other, Rule, RuleKind, RuleResult, Scope, Severity,
    scoped,
};
use rondo_table::profile::Profile;
use rondo_table::read::ReadOptions;
use serde::Serialize;
use serde_json::Value;

use crate::fetch::{Fetched, blocking};
use crate::ingest::Intake;
use crate::listing::Listing;
use crate::versions::Datasets;
use crate::{Error, table};

pub use around::Around;

mod around;

/// A suite of checks, read and found valid.
#[derive(Debug, Clone)]
pub struct Suite {
    /// About each file.
    part: Vec<Rule>,
    /// About all files together.
    whole: Vec<Rule>,
    /// The digest of the rules about each file.
    digest: Digest,
    /// What lies beyond the table that is checked.
    around: Around,
    /// So many failing rows are gathered.
    keep: usize,
    /// The columns by which a row is told from the others, where they are declared.
    key: Vec<String>,
}

/// What the checks said of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// The file's path in the dataset, or the dataset's name for rules about the whole.
    pub file: String,
    /// The results.
    #[serde(flatten)]
    pub report: CheckReport,
    /// The rows that fail, where they were asked for.
    #[serde(skip)]
    pub failing: Option<FailingRows>,
}

impl Suite {
    /// A suite from the rules of `checks:`; `what` is whose they are, for messages.
    ///
    /// # Errors
    /// When a rule cannot be understood; all such rules are named.
    pub fn parse(what: &str, rules: &[Value]) -> Result<Self, Error> {
        let refuse = |faults: Vec<(usize, String)>| {
            let named = faults.into_iter().map(|(index, why)| format!("check {}: {why}", index + 1));
            Error::Suite { what: what.to_owned(), faults: named.collect() }
        };
        Self::understood(what, rules)?.map_err(refuse)
    }

    /// The suite, or the places of the rules that cannot be understood, and why.
    fn understood(what: &str, rules: &[Value]) -> Result<Result<Self, Vec<(usize, String)>>, Error> {
        let (mut part, mut whole, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            match scoped(rule) {
                Ok((Scope::Part, check)) => part.push(check),
                Ok((Scope::Whole, check)) => whole.push(check),
                Err(reason) => faults.push((index, reason)),
            }
        }
        if !faults.is_empty() {
            return Ok(Err(faults));
        }
        let about_parts: Vec<&Value> = rules.iter().filter(|rule| Scope::of(rule) == Scope::Part).collect();
        let digest = canonical::digest(&about_parts)
            .map_err(|source| Error::Record { what: format!("checks of {what}"), source })?;
        Ok(Ok(Self { part, whole, digest, around: Around::default(), keep: 0, key: Vec::new() }))
    }

    /// The same, with other tables and an engine for SQL to ask.
    #[must_use]
    pub fn within(self, around: Around) -> Self {
        Self { around, ..self }
    }

    /// The same, which gathers so many failing rows.
    #[must_use]
    pub fn keeping(self, keep: usize) -> Self {
        Self { keep, ..self }
    }

    /// The same, about a table whose rows have this key.
    #[must_use]
    pub fn keyed(self, key: &[String]) -> Self {
        Self { key: key.to_vec(), ..self }
    }

    /// A suite from a file's text in YAML or JSON: a list of rules, a mapping with the list as `checks`, or a
    /// suite of Great Expectations, with the list as `expectations`.
    ///
    /// # Errors
    /// When it is no YAML, or a rule cannot be understood: every fault with its place in the file.
    pub fn read(file: &str, text: &str) -> Result<Self, Error> {
        Self::read_where(file, text, |_| true)
    }

    /// The same without expectations of Great Expectations that nobody knows here, and the fault of each that
    /// was left out.
    ///
    /// # Errors
    /// As [`Suite::read`], for every other fault, and where nothing would be left.
    pub fn read_known(file: &str, text: &str) -> Result<(Self, Vec<Fault>), Error> {
        let known = Self::read_where(file, text, |rule| !checks::is_unknown_expectation(rule))?;
        match Self::read(file, text) {
            Ok(whole) => Ok((whole, Vec::new())),
            Err(Error::SuiteFile { faults, .. }) if !known.is_empty() => Ok((known, faults)),
            Err(error) => Err(error),
        }
    }

    /// Of the rules that are wanted.
    fn read_where(file: &str, text: &str, wanted: impl Fn(&Value) -> bool) -> Result<Self, Error> {
        let refuse = |faults: Vec<Fault>| Error::SuiteFile {
            file: file.to_owned(),
            source_text: text.to_owned(),
            faults,
        };
        let parsed = yaml::parse(text);
        if !parsed.faults.is_empty() {
            return Err(refuse(parsed.faults));
        }
        let Some(items) = parsed.root.as_ref().and_then(suite::rules) else {
            let place = parsed.root.as_ref().map(|root| root.place);
            let place = place.unwrap_or_else(|| Lines::new(text).place(0, 0));
            let fault = Fault::new("", place, "the file holds no checks");
            return Err(refuse(vec![fault.expected("a list of checks, or one under `checks:`")]));
        };
        let (items, rules): (Vec<&Node>, Vec<Value>) =
            items.iter().map(|item| (item, item.json())).filter(|(_, rule)| wanted(rule)).unzip();
        Self::understood(&format!("`{file}`"), &rules)?.map_err(|faults| {
            let fault = |(index, why): (usize, String)| {
                Some(Fault::new(format!("[{index}]"), items.get(index)?.place, why))
            };
            refuse(faults.into_iter().filter_map(fault).collect())
        })
    }

    /// How many rules it has.
    pub fn len(&self) -> usize {
        self.part.len() + self.whole.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a rule is about all files together.
    pub fn has_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Whether what it says of a file stays true as long as the file is the same: no rule about files asks
    /// for another table, an engine or the time.
    pub fn is_lasting(&self) -> bool {
        self.part.iter().all(|rule| !rule.kind.looks_beyond())
    }

    /// Whether a rule asks for the time.
    pub(crate) fn asks_the_time(&self) -> bool {
        self.part.iter().chain(&self.whole).any(|rule| matches!(rule.kind, RuleKind::Fresh(_)))
    }

    /// The files that rules look at beside the table, each once.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let others = self.part.iter().chain(&self.whole).flat_map(|rule| match &rule.kind {
            RuleKind::References { table, .. } => vec![table],
            RuleKind::RowsEqual(other) | RuleKind::SameSchema(other) => vec![other],
            RuleKind::Drift { reference, .. } => vec![reference],
            RuleKind::Sql { tables, .. } => tables.values().collect(),
            _ => Vec::new(),
        });
        let path = |other: &Other| match other {
            Other::Path(path) => Some(PathBuf::from(path)),
            Other::Dataset(_) => None,
        };
        others.filter_map(path).collect()
    }

    /// The digest of the rules about each file.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Runs the rules about each file on one; `name` is its path in the dataset.
    ///
    /// # Errors
    /// When it is no table, cannot be read, or lacks a column that a rule is about.
    pub fn check_file(&self, name: &str, path: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        self.run(name, path, &self.part, options)
    }

    /// Runs the rules about all files together on a folder of them.
    ///
    /// # Errors
    /// As [`Suite::check_file`].
    pub fn check_whole(&self, name: &str, folder: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        self.run(name, folder, &self.whole, options)
    }

    /// Runs every rule on a file or folder that belongs to no dataset, taken as one table. A file with a
    /// stored profile answers as far as a profile can.
    ///
    /// # Errors
    /// As [`Suite::check_file`].
    pub fn check_path(&self, path: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if let Some(profile) = stored_profile(path) {
            let report = checks::evaluate_profile_alone(&self.all(), &profile);
            return Ok(FileReport { file: name, report, failing: None });
        }
        self.run(&name, path, &self.all().rules, options)
    }

    /// The same away from the threads that must not wait.
    ///
    /// # Errors
    /// As [`Suite::check_file`].
    pub async fn check_given(&self, path: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        let (suite, path, options) = (self.clone(), path.to_owned(), options.clone());
        blocking(move || suite.check_path(&path, &options)).await
    }

    fn all(&self) -> checks::Suite {
        checks::Suite { rules: self.part.iter().chain(&self.whole).cloned().collect() }
    }

    /// What a stored profile of the table says, where it decides every rule and all hold: then nothing has
    /// to be read.
    fn told_by(&self, name: &str, profile: &Profile) -> Option<FileReport> {
        let report = checks::evaluate_profile(&self.all(), profile)?;
        Some(FileReport { file: name.to_owned(), report, failing: None })
    }

    fn run(
        &self,
        name: &str,
        path: &Path,
        rules: &[Rule],
        options: &ReadOptions,
    ) -> Result<FileReport, Error> {
        let suite = checks::Suite { rules: rules.to_vec() };
        let opened = table::open(name, path, options)?;
        let table = FileTable::new(opened, table::options_at(name, path, options));
        let reach = self.around.from(name, path, options);
        let context = Context { keep: self.keep, beyond: &reach, ..Context::default() };
        let mut report = checks::evaluate(&suite, &table, &context)?;
        checks::name_rows(&mut report, &table, &self.key)?;
        let failing = match self.keep {
            0 => None,
            most => checks::failing_rows(&report, &table, most)?,
        };
        Ok(FileReport { file: name.to_owned(), report, failing })
    }
}

/// The profile that a file holds, where it holds one.
fn stored_profile(path: &Path) -> Option<Profile> {
    const LONGEST: u64 = 256 * 1024 * 1024;
    const BEGINS: &[u8] = br#"{"columns":"#;
    if path.extension()?.to_str()? != "json" || std::fs::metadata(path).ok()?.len() > LONGEST {
        return None;
    }
    let bytes = std::fs::read(path).ok().filter(|bytes| bytes.starts_with(BEGINS))?;
    Profile::from_json(std::str::from_utf8(&bytes).ok()?).ok()
}

impl FileReport {
    /// Whether nothing is wrong but what is only warned of.
    pub fn passed(&self) -> bool {
        self.report.passed
    }

    /// How many rules are broken that are only warned of.
    pub fn warnings(&self) -> usize {
        self.report.failures().filter(|rule| rule.severity != Severity::Error).count()
    }

    /// What is broken, in a line: how many checks of how many, and the first ten of them.
    pub(crate) fn broken(&self) -> String {
        const MOST: usize = 10;
        let broken: Vec<&RuleResult> =
            self.report.failures().filter(|rule| rule.severity == Severity::Error).collect();
        let shown: Vec<String> =
            broken.iter().take(MOST).map(|rule| format!("{}: {}", rule.rule, rule.message())).collect();
        let more = match broken.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("{} of {} checks: {}{more}", broken.len(), self.report.rules.len(), shown.join("; "))
    }

    /// The file and its first broken rule, in a line.
    pub fn headline(&self) -> String {
        let broken: Vec<&RuleResult> =
            self.report.failures().filter(|rule| rule.severity == Severity::Error).collect();
        let show = |rule: &RuleResult| format!("{}: {}", rule.rule, rule.message());
        match broken.as_slice() {
            [] => format!("`{}` passes", self.file),
            [first] => format!("`{}`: {}", self.file, show(first)),
            [first, rest @ ..] => format!("`{}`: {}, and {} more", self.file, show(first), rest.len()),
        }
    }
}

impl Datasets {
    /// Runs a suite on a stored version: the rules about files on each, the others on all together.
    ///
    /// # Errors
    /// When a file is not in the store or is no table.
    pub async fn check(
        &self,
        version: &DatasetVersion,
        suite: &Suite,
        options: &ReadOptions,
    ) -> Result<Vec<FileReport>, Error> {
        let mut files = Vec::new();
        if version.folder {
            for (name, leaf) in Listing::read(self.store.objects(), version.digest)?.files() {
                files.push((name.clone(), self.store.objects().sound(leaf.digest)?));
            }
            files.retain(|(name, _)| table::is_table(name, options));
        } else {
            let name = version.source.rsplit('/').next().unwrap_or(&version.dataset).to_owned();
            if let Some(profile) = self.profile_of(version).await?
                && let Some(told) = suite.told_by(&name, &profile)
            {
                return Ok(vec![told]);
            }
            files.push((name, self.store.objects().sound(version.digest)?));
        }
        self.check_files(&version.dataset, files, suite, options).await
    }

    /// Runs the checks of a dataset on what was fetched, as an addition would, and changes nothing.
    ///
    /// # Errors
    /// When a file is no table.
    pub async fn check_fetched(&self, intake: &Intake, fetched: &Fetched) -> Result<Vec<FileReport>, Error> {
        let mut files = fetched.files();
        files.retain(|(name, _)| table::is_table(name, &intake.options));
        self.check_files(&intake.dataset, files, &intake.suite, &intake.options).await
    }

    async fn check_files(
        &self,
        dataset: &str,
        files: Vec<(String, PathBuf)>,
        suite: &Suite,
        options: &ReadOptions,
    ) -> Result<Vec<FileReport>, Error> {
        if files.is_empty() {
            return Err(Error::NoTable { dataset: dataset.to_owned() });
        }
        let (dataset, suite, options) = (dataset.to_owned(), suite.clone(), options.clone());
        let scratch = self.scratch();
        blocking(move || {
            let mut reports = Vec::new();
            for (name, path) in &files {
                reports.push(suite.check_file(name, path, &options).map_err(table::called(name))?);
            }
            if suite.has_whole() {
                let folder = table::folder_of_links(&files, &scratch)?;
                reports.push(suite.check_whole(&dataset, folder.path(), &options)?);
            }
            Ok(reports)
        })
        .await
    }
}

/// Whether an entry of `checks:` can be understood; the error says what is wrong with it. For the checker
/// of the project file.
///
/// # Errors
/// When it cannot.
pub fn judge(rule: &Value) -> Result<(), String> {
    scoped(rule).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_suite_is_a_list_in_yaml_or_json_by_itself_or_under_a_key() {
        let list = "- { rows: { min: 1 } }\n- { column: a, not_null: true, scope: whole }\n";
        let keyed = format!("checks:\n{}", list.replace("- ", "  - "));
        let json = r#"[{"rows": {"min": 1}}, {"column": "a", "not_null": true, "scope": "whole"}]"#;
        for text in [list, keyed.as_str(), json] {
            let suite = Suite::read("s.yaml", text).unwrap();
            assert_eq!((suite.len(), suite.has_whole()), (2, true), "{text}");
        }
    }

    #[test]
    fn a_suite_of_great_expectations_is_read_as_it_is() {
        let text = r#"{"name": "s", "meta": {}, "expectations": [
            {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 3}, "severity": "warning", "id": "x"},
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}, "meta": {"notes": "n"}}
        ]}"#;
        let suite = Suite::read("s.json", text).unwrap();
        assert_eq!(suite.len(), 2);
        let Err(Error::SuiteFile { faults, .. }) = Suite::read("s.json", &text.replace("unique", "uniqe"))
        else {
            panic!("accepted")
        };
        assert!(
            faults[0].message.contains("did you mean `expect_column_values_to_be_unique`?"),
            "{faults:?}"
        );
    }

    #[test]
    fn expectations_that_nobody_knows_may_be_left_out() {
        let custom = r#"{"type": "expect_column_values_to_be_lucky", "kwargs": {"column": "a"}}"#;
        let known = r#"{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}}"#;
        let of = |rules: &[&str]| format!("{{\"expectations\": [\n{}\n]}}", rules.join(",\n"));
        let read = |rules: &[&str]| Suite::read_known("s.json", &of(rules));
        let (suite, left_out) = read(&[known, custom, known, custom]).unwrap();
        assert_eq!((suite.len(), left_out.len(), left_out[0].place.line), (2, 2, 3));
        assert!(left_out[0].message.contains("expect_column_values_to_be_lucky"), "{left_out:?}");
        assert!(read(&[known]).unwrap().1.is_empty());
        // Another fault is none that is left out, and its place is what it was.
        let broken = custom.replace("to_be_lucky", "to_be_unique").replace("kwargs", "kwags");
        let Err(Error::SuiteFile { faults, .. }) = read(&[known, custom, &broken]) else {
            panic!("accepted")
        };
        assert_eq!((faults.len(), faults[0].place.line), (1, 4));
        assert!(matches!(read(&[custom]), Err(Error::SuiteFile { .. })), "nothing is left");
        let compact = r#"[{"column": "a", "uniqe": true}, {"rows": {"min": 1}}]"#;
        assert!(Suite::read_known("s.json", compact).is_err(), "a name of ours is a slip");
    }

    #[test]
    fn a_profile_in_a_file_answers_what_it_can() {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("t.csv");
        std::fs::write(&data, "a,b\n1,x\n2,y\n").unwrap();
        let path = folder.path().join("p.json");
        std::fs::write(&path, Profile::of_path(&data).unwrap().to_json().unwrap()).unwrap();
        let rules = json!([{"column": "a", "max": {"max": 2}}, {"column": "b", "matches": "x", "severity": "warning"}]);
        let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap();
        let report = suite.check_path(&path, &ReadOptions::default()).unwrap();
        assert!(report.report.from_profile && report.report.rules[0].passed);
        assert_eq!(
            report.report.rules[1].note.as_deref(),
            Some("a profile does not tell: the data are needed")
        );
    }

    /// An engine that writes the rows of a file, whatever it is asked.
    struct Canned(PathBuf);

    #[async_trait::async_trait]
    impl rondo_core::ports::SqlEngine for Canned {
        async fn query(
            &self,
            statement: &str,
            tables: &std::collections::BTreeMap<String, PathBuf>,
            output: &Path,
        ) -> Result<(), rondo_core::ports::PortError> {
            assert!(statement.contains("from data") && tables["data"].exists(), "{statement} {tables:?}");
            let reader = rondo_table::read::open(&self.0).unwrap();
            rondo_table::write::parquet(output, reader.schema(), reader).unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn rules_in_sql_and_about_other_files_are_asked_of_what_lies_around() {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("t.csv", "a\nx\ny\n");
        write("codes.csv", "code\nx\n");
        write("none.csv", "code\n");
        let rules = json!([
            {"sql": "select * from {batch} where a = 'y'"},
            {"column": "a", "references": {"path": "codes.csv", "column": "code"}},
        ]);
        let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap().keeping(10);
        let path = folder.path().join("t.csv");
        let plain = suite.check_given(&path, &ReadOptions::default()).await.unwrap();
        let notes: Vec<String> = plain.report.rules.iter().map(|rule| rule.message()).collect();
        assert!(notes[0].contains("needs an engine"), "{notes:?}");
        for (answer, passed) in [("codes.csv", false), ("none.csv", true)] {
            let engine = std::sync::Arc::new(Canned(folder.path().join(answer)));
            let around = Around::at(folder.path()).with_engine(Some(engine));
            let report =
                suite.clone().within(around).check_given(&path, &ReadOptions::default()).await.unwrap();
            assert_eq!(report.report.rules[0].passed, passed, "{:?}", report.report.rules[0]);
            assert_eq!(report.report.rules[1].sample[0].row, 2);
            let failing = report.failing.unwrap();
            assert_eq!(failing.columns(), ["_row", "_broken", "a"]);
            assert_eq!(failing.texts()[0][2].as_deref(), Some("y"));
        }
    }

    /// An engine that answers with the rows of the table, and knows no way of reading but Parquet's.
    struct Echo;

    #[async_trait::async_trait]
    impl rondo_core::ports::SqlEngine for Echo {
        async fn query(
            &self,
            _statement: &str,
            tables: &std::collections::BTreeMap<String, PathBuf>,
            output: &Path,
        ) -> Result<(), rondo_core::ports::PortError> {
            for (name, column) in [("data", "a"), ("more", "code")] {
                assert!(tables[name].ends_with("data.parquet"), "{tables:?}");
                let reader = rondo_table::read::open(&tables[name]).unwrap();
                assert_eq!(reader.columns()[0].name, column);
            }
            let reader = rondo_table::read::open(&tables["data"]).unwrap();
            rondo_table::write::parquet(output, reader.schema(), reader).unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_engine_is_given_the_table_as_it_is_read() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "made by hand\na|b\n1,5|x\n").unwrap();
        std::fs::write(folder.path().join("codes.csv"), "code\nx\n").unwrap();
        let rules = json!([{ "sql": { "query": "select * from data", "tables": { "more": { "path": "codes.csv" } } } }]);
        let around = Around::at(folder.path()).with_engine(Some(std::sync::Arc::new(Echo)));
        let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap().within(around);
        let options = ReadOptions { delimiter: Some(b'|'), skip: 1, decimal: b',', ..ReadOptions::default() };
        let report = suite.check_given(&path, &options).await.unwrap();
        let rule = &report.report.rules[0];
        assert_eq!((rule.passed, rule.unexpected_count), (false, 1), "{rule:?}");
        assert!(rule.sample[0].value.to_string().contains("1.5"), "{:?}", rule.sample);
    }

    #[test]
    fn every_fault_of_a_suite_is_named_in_one_go() {
        let error = Suite::read(
            "s.yaml",
            "- { rows: { min: 1 } }\n- { column: a, in_sett: [1] }\n- { scope: all }\n",
        );
        let Err(error @ Error::SuiteFile { .. }) = error else { panic!("accepted") };
        let said = error.to_string();
        assert!(said.starts_with("the checks of `s.yaml` are not valid: line 2, column 3: "), "{said}");
        assert!(said.contains("; line 3, column 3: "), "{said}");
        let Error::SuiteFile { file, source_text, faults } = &error else { panic!("{error}") };
        let [first, second] = faults.as_slice() else { panic!("{faults:?}") };
        assert!(first.message.contains("did you mean `in_set`?"), "{first:?}");
        assert!(second.message.contains("`part` or `whole`"), "{second:?}");
        let shown = rondo_project::fault::render(file, source_text, &faults[1..]);
        let place = " --> s.yaml:3:3\n  |\n3 | - { scope: all }\n  |   ^^^^^^^^^^^^^^\n";
        assert!(shown.ends_with(place), "{shown}");
        for text in ["a: 1", "- [", "just text", ""] {
            assert!(matches!(Suite::read("s.yaml", text), Err(Error::SuiteFile { .. })), "{text}");
        }
        assert!(judge(&json!({"column": "a", "not_null": true})).is_ok());
        assert!(judge(&json!({"column": "a"})).is_err());
    }

    #[test]
    fn a_file_of_no_dataset_is_checked_with_every_rule() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "a,b\n1,x\n2,y\n,z\n").unwrap();
        let rules = json!([
            {"column": "a", "not_null": {"mostly": 0.5}},
            {"column": "b", "in_set": ["x"], "severity": "warning"},
            {"rows": {"min": 10}, "scope": "whole"},
        ]);
        let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap();
        let report = suite.check_path(&path, &ReadOptions::default()).unwrap();
        assert_eq!((report.passed(), report.warnings(), report.report.rules.len()), (false, 1, 3));
        assert!(report.headline().starts_with("`t.csv`: "), "{}", report.headline());
        assert!(!report.headline().contains("more"), "a warning does not count as broken");
    }

    #[test]
    fn the_digest_of_a_suite_is_that_of_its_rules_about_files() {
        let suite = |rules: Value| Suite::parse("t", rules.as_array().unwrap()).unwrap().digest();
        let one = suite(json!([{"rows": {"min": 1}}]));
        assert_eq!(one, suite(json!([{"rows": {"min": 1}}, {"rows": {"min": 9}, "scope": "whole"}])));
        assert_ne!(one, suite(json!([{"rows": {"min": 2}}])));
    }
}
