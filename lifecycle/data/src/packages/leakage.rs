//! `leakage`: rows for testing against those for training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_table::leakage::{self, Options, Severity};
use serde_json::Value;

use super::{given, metric, number, refuse, text, write_json};
use crate::Error;
use crate::fetch::blocking;

const NAME: &str = "leakage";

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leakage;

#[async_trait]
impl Builtin for Leakage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["target", "time", "group", "key", "ignore", "max_duplicates", "max_feature", "strict", "on_failure"]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let lists = ["key", "ignore"].into_iter().filter(|name| names(with, name).is_err());
        lists.map(|name| format!("`{name}` has to be a column or a list of columns").into()).collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        blocking(move || work(&call)).await.map_err(|error| Box::new(error) as PortError)
    }
}

/// One name or a list of them.
fn names(with: &BTreeMap<String, Value>, key: &str) -> Result<Vec<String>, Error> {
    let fault = || refuse(NAME, format!("`{key}` has to be a column or a list of columns"));
    match with.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(name)) => Ok(vec![name.clone()]),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(fault)).collect()
        }
        Some(_) => Err(fault()),
    }
}

fn work(call: &BuiltinCall) -> Result<BuiltinResult, Error> {
    let with = &call.with;
    let input = |name: &str| {
        let path = call.step.inputs.get(name);
        given(call, name, path.ok_or_else(|| refuse(NAME, format!("it has no input `{name}`")))?)
    };
    let named = |key: &str| text(with, key).map(str::to_owned);
    let mut options = Options {
        target: named("target"),
        time: named("time"),
        group: named("group"),
        key: names(with, "key")?,
        ignore: names(with, "ignore")?,
        ..Options::default()
    };
    let limits = &mut options.thresholds;
    limits.duplicates = number(with, "max_duplicates").unwrap_or(limits.duplicates);
    limits.feature = number(with, "max_feature").unwrap_or(limits.feature);
    let report =
        leakage::find_between(input("train")?.source().open()?, input("test")?.source().open()?, &options)?;
    if let Some(place) = call.step.outputs.get("report") {
        write_json(place, &report)?;
    }
    let strict = with.get("strict").and_then(Value::as_bool).unwrap_or(false);
    let warnings = report.failed(Severity::Warning);
    let leaks: Vec<String> = report
        .failed(Severity::Error)
        .chain(warnings.filter(|_| strict))
        .map(|check| format!("{}: {}", check.check, check.what))
        .collect();
    let mut metrics = BTreeMap::from([
        ("leaks".to_owned(), metric(leaks.len() as u64)),
        ("warnings".to_owned(), metric(report.failed(Severity::Warning).count() as u64)),
        ("train_rows".to_owned(), metric(report.train_rows)),
        ("test_rows".to_owned(), metric(report.test_rows)),
    ]);
    let looked = report.checks.iter().filter(|check| check.state != leakage::State::Skipped);
    metrics.extend(looked.map(|check| (check.check.to_owned(), check.effect)));
    if !leaks.is_empty() && text(with, "on_failure") != Some("warn") {
        return Err(Error::Leakage { leaks });
    }
    Ok(BuiltinResult { metrics, artifacts: BTreeMap::new() })
}
