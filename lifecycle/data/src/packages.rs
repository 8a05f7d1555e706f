//! The built-in packages that work on tables: `split`, `leakage`, `balance`, `check`, `profile`.
//!
//! Each is a thin step around what `rondo-table` computes; their interfaces, with all types and ranges, are
//! the `package.yaml` files under `packages/`. Equal inputs, values and seeds give equal outputs.

mod balance;
mod check;
mod leakage;
mod profile;
mod split;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rondo_core::ports::BuiltinCall;
use rondo_table::read::{ReadOptions, Source};
use serde_json::Value;

use crate::Error;

pub use balance::Balance;
pub use check::{Check, Engine};
pub use leakage::Leakage;
pub use profile::ProfilePackage;
pub use split::Split;

/// A table that a package gets, and how it is read.
struct Input {
    /// What the step calls it.
    name: String,
    path: PathBuf,
    options: ReadOptions,
}

impl Input {
    fn source(&self) -> Source<'_> {
        Source { path: &self.path, options: &self.options }
    }
}

/// The one input of a package.
fn input(package: &'static str, call: &BuiltinCall) -> Result<Input, Error> {
    let inputs = &call.step.inputs;
    let only = if inputs.len() == 1 { inputs.iter().next() } else { None };
    let (local, path) =
        inputs.get_key_value("rows").or(only).ok_or_else(|| refuse(package, "it has no input `rows`"))?;
    given(call, local, path)
}

fn given(call: &BuiltinCall, local: &str, path: &Path) -> Result<Input, Error> {
    Ok(Input {
        name: local.to_owned(),
        path: path.to_owned(),
        options: ReadOptions::of_input(&call.step.read, local)?,
    })
}

fn refuse(package: &'static str, message: impl Into<String>) -> Error {
    Error::With { package, message: message.into() }
}

fn text<'a>(with: &'a BTreeMap<String, Value>, key: &str) -> Option<&'a str> {
    with.get(key).and_then(Value::as_str)
}

fn number(with: &BTreeMap<String, Value>, key: &str) -> Option<f64> {
    with.get(key).and_then(Value::as_f64)
}

fn seed(with: &BTreeMap<String, Value>) -> u64 {
    with.get("seed").and_then(Value::as_u64).unwrap_or(0)
}

/// A count as a metric.
#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn metric(count: u64) -> f64 {
    count as f64
}

/// Writes a JSON file for people and programs.
fn write_json(place: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let what = || place.display().to_string();
    let text =
        serde_json::to_string_pretty(value).map_err(|source| Error::Record { what: what(), source })?;
    let io = |source| Error::Io { action: "write", path: place.to_owned(), source };
    std::fs::write(place, format!("{text}\n")).map_err(io)
}
