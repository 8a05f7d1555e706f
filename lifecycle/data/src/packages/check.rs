//! `check`: a table along the way against expectations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError, SqlEngine};
use rondo_table::read::ReadOptions;
use serde_json::Value;

use super::{input, metric, refuse, text, write_json};
use crate::Error;
use crate::check::{Around, Suite, judge};
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
        "2"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["checks", "suite", "on_failure"]
    }

    fn code_files(&self, with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        // Files that rules look at are as much part of what is decided as the suite.
        let rules = with.get("checks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let files = Suite::parse(NAME, rules).map(|suite| suite.files()).unwrap_or_default();
        text(with, "suite").map(PathBuf::from).into_iter().chain(files).collect()
    }

    fn check(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<String> {
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
                    Err(error) => vec![error.to_string()],
                },
                Err(error) => vec![format!("the suite `{file}` cannot be read: {error}")],
            },
        }
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        let engine = self.engine.clone().map(|engine| engine.0);
        blocking(move || work(&call, engine)).await.map_err(|error| Box::new(error) as PortError)
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
    let report = suite.check_path(&rows, &ReadOptions::default())?;
    if let Some(place) = call.step.outputs.get("report") {
        write_json(place, &report)?;
    }
    let failed = report.report.rules.iter().filter(|rule| !rule.passed).count();
    let metrics = [
        ("checks", metric(report.report.rules.len() as u64)),
        ("checks_failed", metric(failed as u64)),
        ("rows", metric(report.report.rows)),
    ];
    if !report.passed() && text(&call.with, "on_failure") != Some("warn") {
        return Err(Error::ChecksFailed { dataset: call.step.step.clone(), reports: vec![report] });
    }
    Ok(BuiltinResult {
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        artifacts: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_that_rules_look_at_belong_to_the_step_and_the_time_is_not_asked() {
        let with = |rules: Value| BTreeMap::from([("checks".to_owned(), rules)]);
        let package = Check::default();
        let rules = json!([
            { "column": "a", "references": { "path": "codes.csv", "column": "code" } },
            { "same_schema": { "path": "old.parquet" } },
            { "sql": { "query": "select * from data", "tables": { "c": { "path": "c.csv" } } } },
        ]);
        let files = package.code_files(&with(rules.clone()));
        assert_eq!(files, ["c.csv", "codes.csv", "old.parquet"].map(PathBuf::from));
        assert!(package.check(Path::new("."), &with(rules)).is_empty());
        let faults = package.check(Path::new("."), &with(json!([{ "column": "t", "fresh": "1d" }])));
        assert!(faults.len() == 1 && faults[0].contains("`fresh`"), "{faults:?}");
    }
}
