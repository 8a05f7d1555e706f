//! `split`: a table into parts for training, validation and testing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_table::select::{self, Numbers};
use rondo_table::split::{self, Method};
use serde_json::Value;

use super::{input, metric, number, refuse, seed, text};
use crate::Error;
use crate::fetch::blocking;

const NAME: &str = "split";
/// The outputs in the order of time.
const PARTS: [&str; 3] = ["train", "validation", "test"];

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Split;

#[async_trait]
impl Builtin for Split {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "4"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["method", "column", "group", "test", "validation", "folds", "seed"]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let mut faults: Vec<String> = Vec::new();
        let shares = [number(with, "test"), number(with, "validation")];
        if shares.iter().flatten().sum::<f64>() >= 1.0 {
            faults.push(
                "`test` and `validation` leave nothing for training: together they are less than 1".into(),
            );
        }
        if text(with, "method").is_some_and(|method| method != "random") && !with.contains_key("column") {
            faults.push(format!("the method `{}` needs `column`", text(with, "method").unwrap_or_default()));
        }
        match (text(with, "method") == Some("stratified_grouped"), with.contains_key("group")) {
            (true, false) => {
                faults.push("the method `stratified_grouped` needs `group` beside `column`".into())
            }
            (false, true) => faults.push(
                "`group` is for the method `stratified_grouped`; of `grouped` it is the `column`".into(),
            ),
            (true, true) | (false, false) => {}
        }
        faults.into_iter().map(Objection::from).collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        blocking(move || work(&call)).await.map_err(|error| Box::new(error) as PortError)
    }
}

fn work(call: &BuiltinCall) -> Result<BuiltinResult, Error> {
    let rows = input(NAME, call)?;
    let method = text(&call.with, "method").unwrap_or("random");
    let method =
        Method::parse(method).ok_or_else(|| refuse(NAME, format!("no method is called `{method}`")))?;
    let (test, validation) =
        (number(&call.with, "test").unwrap_or(0.2), number(&call.with, "validation").unwrap_or(0.0));
    let shares = [1.0 - test - validation, validation, test];
    if validation == 0.0 && call.step.outputs.contains_key("validation") {
        return Err(refuse(NAME, "the output `validation` would be empty: give `validation` a share"));
    }
    let (column, group) = (text(&call.with, "column"), text(&call.with, "group"));
    let parts = split::parts_by(rows.source(), method, column, group, &shares, seed(&call.with))?;
    let files = PARTS.map(|part| call.step.outputs.get(part).map(PathBuf::as_path));
    let counts = select::by_part(rows.source(), &parts, &files)?;
    let mut metrics = BTreeMap::new();
    for (part, number) in PARTS.iter().zip(0_u8..) {
        let count = parts.iter().filter(|known| **known == number).count() as u64;
        metrics.insert(format!("{part}_rows"), metric(count));
        let written = counts.get(usize::from(number)).copied().unwrap_or(0);
        if call.step.outputs.contains_key(*part) && written == 0 {
            return Err(refuse(
                NAME,
                format!("no row falls to `{part}`: the table has {} rows", parts.len()),
            ));
        }
    }
    if let Some(folds) = call.with.get("folds").and_then(Value::as_u64)
        && let Some(train) = call.step.outputs.get("train")
    {
        number_folds(call, train, method, folds)?;
        metrics.insert("folds".to_owned(), metric(folds));
    }
    Ok(BuiltinResult { metrics, artifacts: BTreeMap::new() })
}

/// Writes the rows for training once more, with the number of their fold, from 1, in the column `fold`. Folds
/// are made as the parts were.
fn number_folds(call: &BuiltinCall, train: &Path, method: Method, folds: u64) -> Result<(), Error> {
    let count = usize::try_from(folds).unwrap_or(usize::MAX).clamp(2, 100);
    let shares = vec![1.0 / metric(count as u64); count];
    let (column, group) = (text(&call.with, "column"), text(&call.with, "group"));
    let parts = split::parts_by(train, method, column, group, &shares, seed(&call.with))?;
    std::fs::create_dir_all(&call.scratch).map_err(Error::io("make", &call.scratch))?;
    // The ending says in which form it is written.
    let fresh = call.scratch.join(train.file_name().unwrap_or_default());
    let numbers = parts.iter().map(|part| Some(i64::from(*part) + 1)).collect();
    select::with_column(train, &fresh, "fold", Numbers::Whole(numbers))?;
    std::fs::copy(&fresh, train).map_err(Error::io("write", train))?;
    std::fs::remove_file(&fresh).map_err(Error::io("remove", &fresh))
}
