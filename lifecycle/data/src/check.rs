//! Checks: whether data are as expected. The rules and their meaning are those of
//! [`rondo_table::checks`]; here is what they are run on.
//!
//! A rule is about every file of a dataset by itself, so that a part is judged when it comes and never
//! again. A rule with `scope: whole` is about all files as one table, and reads them all.

use std::path::{Path, PathBuf};

use rondo_core::handoff::DatasetVersion;
use rondo_core::{Digest, canonical};
use rondo_project::yaml;
use rondo_table::checks::{self, CheckReport, Rule, RuleResult, Severity};
use rondo_table::read::ReadOptions;
use serde::Serialize;
use serde_json::Value;

use crate::fetch::{Fetched, blocking};
use crate::ingest::Intake;
use crate::listing::Listing;
use crate::versions::Datasets;
use crate::{Error, table};

/// A suite of checks, read and found valid.
#[derive(Debug, Clone)]
pub struct Suite {
    /// About each file.
    part: Vec<Rule>,
    /// About all files together.
    whole: Vec<Rule>,
    /// The digest of the rules about each file.
    digest: Digest,
}

/// What the checks said of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// The file's path in the dataset, or the dataset's name for rules about the whole.
    pub file: String,
    /// The results.
    #[serde(flatten)]
    pub report: CheckReport,
}

impl Suite {
    /// A suite from the rules of `checks:`; `what` is whose they are, for messages.
    ///
    /// # Errors
    /// When a rule cannot be understood; all such rules are named.
    pub fn parse(what: &str, rules: &[Value]) -> Result<Self, Error> {
        let (mut part, mut whole, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            match parse_rule(rule) {
                Ok((Scope::Part, check)) => part.push(check),
                Ok((Scope::Whole, check)) => whole.push(check),
                Err(reason) => faults.push(format!("check {}: {reason}", index + 1)),
            }
        }
        if !faults.is_empty() {
            return Err(Error::Suite { what: what.to_owned(), faults });
        }
        let about_parts: Vec<&Value> = rules.iter().filter(|rule| !is_whole(rule)).collect();
        let digest = canonical::digest(&about_parts)
            .map_err(|source| Error::Record { what: format!("checks of {what}"), source })?;
        Ok(Self { part, whole, digest })
    }

    /// A suite from a file's text in YAML or JSON: a list of rules, or a mapping with the list as `checks`.
    ///
    /// # Errors
    /// When it is no YAML, or a rule cannot be understood.
    pub fn read(what: &str, text: &str) -> Result<Self, Error> {
        let refuse = |faults: Vec<String>| Error::Suite { what: what.to_owned(), faults };
        let parsed = yaml::parse(text);
        if !parsed.faults.is_empty() {
            let show = |fault: &rondo_project::fault::Fault| {
                format!("line {}, column {}: {}", fault.place.line, fault.place.column, fault.message)
            };
            return Err(refuse(parsed.faults.iter().map(show).collect()));
        }
        let root = parsed.root.map_or(Value::Null, |root| root.json());
        let rules = match &root {
            Value::Array(rules) => Some(rules),
            Value::Object(map) => map.get("checks").and_then(Value::as_array),
            _ => None,
        };
        let rules = rules
            .ok_or_else(|| refuse(vec!["expected a list of checks, or one under `checks:`".to_owned()]))?;
        Self::parse(what, rules)
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

    /// The digest of the rules about each file.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Runs the rules about each file on one; `name` is its path in the dataset.
    ///
    /// # Errors
    /// When it is no table, cannot be read, or lacks a column that a rule is about.
    pub fn check_file(&self, name: &str, path: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        run(name, path, &self.part, options)
    }

    /// Runs the rules about all files together on a folder of them.
    ///
    /// # Errors
    /// As [`Suite::check_file`].
    pub fn check_whole(&self, name: &str, folder: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        run(name, folder, &self.whole, options)
    }

    /// Runs every rule on a file or folder that belongs to no dataset, taken as one table.
    ///
    /// # Errors
    /// As [`Suite::check_file`].
    pub fn check_path(&self, path: &Path, options: &ReadOptions) -> Result<FileReport, Error> {
        let all: Vec<Rule> = self.part.iter().chain(&self.whole).cloned().collect();
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        run(&name, path, &all, options)
    }
}

impl FileReport {
    /// Whether nothing is wrong but what is only warned of.
    pub fn passed(&self) -> bool {
        self.report.passed
    }

    /// How many rules are broken that are only warned of.
    pub fn warnings(&self) -> usize {
        self.report.failures().filter(|rule| rule.severity == Severity::Warning).count()
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
                files.push((name.clone(), self.store.objects().require(leaf.digest)?));
            }
            files.retain(|(name, _)| table::is_table(name, options));
        } else {
            let name = version.source.rsplit('/').next().unwrap_or(&version.dataset).to_owned();
            files.push((name, self.store.objects().require(version.digest)?));
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
                reports.push(suite.check_file(name, path, &options)?);
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
    parse_rule(rule).map(drop)
}

enum Scope {
    Part,
    Whole,
}

fn is_whole(rule: &Value) -> bool {
    rule.get("scope").and_then(Value::as_str) == Some("whole")
}

fn parse_rule(rule: &Value) -> Result<(Scope, Rule), String> {
    let mut rule = rule.clone();
    let scope = match rule.as_object_mut().and_then(|map| map.remove("scope")) {
        None => Scope::Part,
        Some(Value::String(text)) if text == "part" => Scope::Part,
        Some(Value::String(text)) if text == "whole" => Scope::Whole,
        Some(other) => return Err(format!("`scope` is {other}, expected `part` or `whole`")),
    };
    match Rule::parse(&rule) {
        Ok(rule) => Ok((scope, rule)),
        Err(error) => {
            let hints = rondo_core::Explain::hints(&error);
            Err(hints.iter().fold(error.to_string(), |text, hint| format!("{text}; {hint}")))
        }
    }
}

fn run(name: &str, path: &Path, rules: &[Rule], options: &ReadOptions) -> Result<FileReport, Error> {
    let suite = checks::Suite { rules: rules.to_vec() };
    let report = checks::evaluate(&suite, table::open(name, path, options)?)?;
    Ok(FileReport { file: name.to_owned(), report })
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
    fn every_fault_of_a_suite_is_named_in_one_go() {
        let error = Suite::read(
            "s.yaml",
            "- { rows: { min: 1 } }\n- { column: a, in_sett: [1] }\n- { scope: all }\n",
        );
        let Err(Error::Suite { faults, .. }) = error else { panic!("accepted") };
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].starts_with("check 2: ") && faults[0].contains("did you mean `in_set`?"),
            "{faults:?}"
        );
        assert!(faults[1].starts_with("check 3: ") && faults[1].contains("`part` or `whole`"), "{faults:?}");
        for text in ["a: 1", "- [", "just text", ""] {
            assert!(matches!(Suite::read("s.yaml", text), Err(Error::Suite { .. })), "{text}");
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
