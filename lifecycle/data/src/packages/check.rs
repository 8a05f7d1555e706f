//! `check`: a table along the way against expectations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, Event, PortError, SqlEngine};
use serde_json::Value;

use super::{input, metric, refuse, text, write_json};
use crate::Error;
use crate::check::{Around, FileReport, Suite, judge};
use crate::fetch::blocking;

const NAME: &str = "check";

/// The package.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// The engine for rules in SQL, where there is one.
    pub engine: Option<Engine>,
}

/// An engine for SQL, which has nothing to show of itself.
#[derive(Clone)]
pub struct Engine(pub Arc<dyn SqlEngine>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

#[async_trait]
impl Builtin for Check {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "4"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["checks", "suite", "on_failure"]
    }

    fn code_files(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        // Files that rules look at are as much part of what is decided as the suite, wherever the rules stand.
        let file = text(with, "suite");
        let suite = match (with.get("checks").and_then(Value::as_array), file) {
            (Some(rules), _) => Suite::parse(NAME, rules).ok(),
            // What is wrong with it is told where it is run.
            (None, Some(file)) => {
                let text = std::fs::read_to_string(root.join(file)).ok();
                text.and_then(|text| Suite::read(file, &text).ok())
            }
            (None, None) => None,
        };
        let looked_at = suite.map(|suite| suite.files()).unwrap_or_default();
        file.map(PathBuf::from).into_iter().chain(looked_at).collect()
    }

    fn check(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        faults(root, with).into_iter().map(Objection::from).collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        let engine = self.engine.clone().map(|engine| engine.0);
        blocking(move || work(&call, engine)).await.map_err(|error| Box::new(error) as PortError)
    }
}

/// What is wrong with a block, as far as that can be told without the rows.
fn faults(root: &Path, with: &BTreeMap<String, Value>) -> Vec<String> {
    match (with.get("checks"), text(with, "suite")) {
        (None, None) => vec!["it has neither `checks` nor a `suite`".to_owned()],
        (Some(_), Some(_)) => vec!["`checks` cannot stand beside `suite`".to_owned()],
        (Some(Value::Array(rules)), None) => {
            let judged = rules.iter().enumerate().filter_map(|(index, rule)| {
                judge(rule).err().map(|why| format!("check {}: {why}", index + 1))
            });
            let mut faults: Vec<String> = judged.collect();
            if faults.is_empty() {
                faults.extend(Suite::parse(NAME, rules).ok().and_then(|suite| ageing(&suite)));
            }
            faults
        }
        (Some(_), None) => vec!["`checks` has to be a list".to_owned()],
        (None, Some(file)) => match std::fs::read_to_string(root.join(file)) {
            Ok(text) => match Suite::read(file, &text) {
                Ok(suite) => ageing(&suite).into_iter().collect(),
                Err(Error::SuiteFile { faults, .. }) => faults
                    .iter()
                    .map(|fault| {
                        format!("`{file}:{}:{}`: {}", fault.place.line, fault.place.column, fault.message)
                    })
                    .collect(),
                Err(error) => vec![error.to_string()],
            },
            Err(error) => vec![format!("the suite `{file}` cannot be read: {error}")],
        },
    }
}

/// What is wrong with a suite whose answer changes by waiting.
fn ageing(suite: &Suite) -> Option<String> {
    let why = "`fresh` cannot be asked in a step, whose result is remembered: put it under `checks:` of the \
               dataset, or run `rondo data check`";
    suite.asks_the_time().then(|| why.to_owned())
}

fn work(call: &BuiltinCall, engine: Option<Arc<dyn SqlEngine>>) -> Result<BuiltinResult, Error> {
    let rows = input(NAME, call)?;
    let suite = match (call.with.get("checks").and_then(Value::as_array), text(&call.with, "suite")) {
        (Some(rules), _) => Suite::parse("checks", rules)?,
        (None, Some(file)) => {
            let path = call.root.join(file);
            let io = |source| Error::Io { action: "read", path: path.clone(), source };
            Suite::read(file, &std::fs::read_to_string(&path).map_err(io)?)?
        }
        (None, None) => return Err(refuse(NAME, "it has neither `checks` nor a `suite`")),
    };
    if let Some(why) = ageing(&suite) {
        return Err(refuse(NAME, why));
    }
    let suite = suite.within(Around::at(&call.root).with_engine(engine));
    let mut report = suite.check_path(&rows.path, &rows.options)?;
    report.file.clone_from(&rows.name);
    if let Some(place) = call.step.outputs.get("report") {
        write_json(place, &report)?;
    }
    let failed = report.report.rules.iter().filter(|rule| !rule.passed).count();
    let metrics = [
        ("checks", metric(report.report.rules.len() as u64)),
        ("checks_failed", metric(failed as u64)),
        ("rows", metric(report.report.rows)),
    ];
    if !report.passed() {
        if text(&call.with, "on_failure") != Some("warn") {
            keep(call, &report, &metrics)?;
            return Err(Error::RowsBroken { input: rows.path, report: Box::new(report) });
        }
        let all = report.report.rules.len();
        let message = format!("{failed} of {all} checks do not hold: {}", report.headline());
        call.progress.report(Event::Note { subject: call.step.step.clone(), message });
    }
    Ok(BuiltinResult {
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        artifacts: BTreeMap::new(),
    })
}

/// Keeps what was found although the step fails: its outputs are not taken then.
fn keep(call: &BuiltinCall, report: &FileReport, metrics: &[(&str, f64)]) -> Result<(), Error> {
    let folder = call.kept();
    std::fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let name = call.step.outputs.get("report").and_then(|place| place.file_name());
    write_json(&folder.join(name.unwrap_or_else(|| "report.json".as_ref())), report)?;
    write_json(&call.measured(), &metrics.iter().copied().collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_failing_check_has_found_is_kept_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.csv");
        std::fs::write(&rows, "a,b\n1,\n2,x\n").unwrap();
        let mut rules: Vec<Value> = (0..12).map(|n| json!({ "column": "a", "max": { "max": -n } })).collect();
        rules.push(json!({ "column": "b", "not_null": true }));
        rules.push(json!({ "rows": 2 }));
        let outputs = BTreeMap::from([("report".to_owned(), folder.path().join("check.json"))]);
        let call = BuiltinCall {
            step: rondo_core::handoff::StepInputs {
                project: "p".to_owned(),
                step: "verify".to_owned(),
                run: rondo_core::id::RunId::random(),
                key: rondo_core::Digest::of(b""),
                params: BTreeMap::new(),
                inputs: BTreeMap::from([("rows".to_owned(), rows.clone())]),
                read: BTreeMap::new(),
                outputs,
                metrics: None,
            },
            with: BTreeMap::from([("checks".to_owned(), json!(rules))]),
            root: folder.path().to_owned(),
            scratch: folder.path().join("scratch"),
            environment: BTreeMap::new(),
            python: None,
            confinement: None,
            stop: tokio::sync::watch::channel(false).1,
            progress: Arc::new(rondo_core::ports::Unwatched),
        };
        let error = work(&call, None).unwrap_err();
        assert_eq!(rondo_core::Explain::code(&error), rondo_core::Code::ChecksFailed);
        let told = error.to_string();
        assert!(told.starts_with(&format!("`{}` breaks 13 of 14 checks: ", rows.display())), "{told}");
        assert!(told.matches(": max:").count() == 10 || told.matches("max").count() >= 10, "{told}");
        assert!(told.ends_with("; and 3 more"), "{told}");
        let report: Value =
            serde_json::from_slice(&std::fs::read(call.kept().join("check.json")).unwrap()).unwrap();
        assert_eq!((&report["file"], &report["passed"]), (&json!("rows"), &json!(false)));
        let measured: BTreeMap<String, f64> =
            serde_json::from_slice(&std::fs::read(call.measured()).unwrap()).unwrap();
        assert_eq!(
            measured,
            BTreeMap::from(
                [("checks", 14.0), ("checks_failed", 13.0), ("rows", 2.0)].map(|(k, v)| (k.to_owned(), v))
            )
        );
    }

    #[test]
    fn files_that_rules_look_at_belong_to_the_step_and_the_time_is_not_asked() {
        let with = |rules: Value| BTreeMap::from([("checks".to_owned(), rules)]);
        let package = Check::default();
        let rules = json!([
            { "column": "a", "references": { "path": "codes.csv", "column": "code" } },
            { "same_schema": { "path": "old.parquet" } },
            { "sql": { "query": "select * from data", "tables": { "c": { "path": "c.csv" } } } },
        ]);
        let files = package.code_files(Path::new("."), &with(rules.clone()));
        assert_eq!(files, ["c.csv", "codes.csv", "old.parquet"].map(PathBuf::from));
        // The same rules in a file, which may hold more than one form of them.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.json"), json!({ "checks": rules }).to_string()).unwrap();
        let by_file = BTreeMap::from([("suite".to_owned(), json!("s.json"))]);
        let files = package.code_files(folder.path(), &by_file);
        assert_eq!(files, ["s.json", "c.csv", "codes.csv", "old.parquet"].map(PathBuf::from));
        std::fs::write(folder.path().join("s.json"), "- [").unwrap();
        assert_eq!(package.code_files(folder.path(), &by_file), [PathBuf::from("s.json")]);
        assert!(package.check(Path::new("."), &with(rules)).is_empty());
        let faults = package.check(Path::new("."), &with(json!([{ "column": "t", "fresh": "1d" }])));
        assert!(faults.len() == 1 && faults[0].message.contains("`fresh`"), "{faults:?}");
    }
}
