//! `balance`: a training table in which the classes are as frequent as they should be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_table::columns;
use rondo_table::select::{self, Numbers};
use rondo_table::split::{members, shuffled};
use serde_json::{Value, json};

use super::{input, metric, number, refuse, seed, text, write_json};
use crate::Error;
use crate::fetch::blocking;

const NAME: &str = "balance";

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Balance;

#[async_trait]
impl Builtin for Balance {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "4"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["target", "method", "ratio", "weight", "seed"]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<Objection> {
        Vec::new()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        blocking(move || work(&call)).await.map_err(|error| Box::new(error) as PortError)
    }
}

fn work(call: &BuiltinCall) -> Result<BuiltinResult, Error> {
    let rows = input(NAME, call)?;
    let with = &call.with;
    let target = text(with, "target").ok_or_else(|| refuse(NAME, "`target` is missing"))?;
    let out = call.step.outputs.get("balanced").ok_or_else(|| refuse(NAME, "it has no output `balanced`"))?;
    let ratio = number(with, "ratio").unwrap_or(1.0);
    let values = columns::strings(rows.source(), target)?;
    // A row without a label belongs to no class; it is left out.
    let classes: Vec<(String, Vec<usize>)> =
        members(&values).into_iter().filter_map(|(value, rows)| Some((value?, rows))).collect();
    let sizes = || classes.iter().map(|(_, rows)| rows.len());
    let (Some(rarest), Some(most)) = (sizes().min(), sizes().max()) else {
        return Err(refuse(NAME, format!("column `{target}` holds no label")));
    };
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    let written = match text(with, "method").unwrap_or("under") {
        "weights" => {
            let mut weights = vec![0.0; values.len()];
            for (_, rows) in &classes {
                let weight =
                    metric(values.len() as u64) / (metric(classes.len() as u64) * metric(rows.len() as u64));
                rows.iter().for_each(|row| put(&mut weights, *row, weight));
            }
            let name = text(with, "weight").unwrap_or("weight");
            let weights = Numbers::Real(weights.into_iter().map(Some).collect());
            select::with_column(rows.source(), out, name, weights)?
        }
        method => {
            let over = method == "over";
            let mut times = vec![0_u32; values.len()];
            for (class, rows) in &classes {
                let wanted = if over {
                    rows.len().max(share(most, ratio).ceil() as usize)
                } else {
                    rows.len().min((metric(rarest as u64) / ratio).floor() as usize)
                };
                taken.insert(class.clone(), wanted as u64);
                let order = shuffled(rows.clone(), seed(with));
                // Every row as often as it goes, and some once more.
                let (whole, rest) = (wanted / rows.len().max(1), wanted % rows.len().max(1));
                for (index, row) in order.into_iter().enumerate() {
                    let more = usize::from(index < rest);
                    put(&mut times, row, u32::try_from(whole + more).unwrap_or(u32::MAX));
                }
            }
            let counts =
                select::write(rows.source(), &[Some(out)], |row, _| times.get(row).copied().unwrap_or(0))?;
            counts.first().copied().unwrap_or(0)
        }
    };
    if let Some(place) = call.step.outputs.get("classes") {
        let weight = |rows: usize| {
            metric(values.len() as u64) / (metric(classes.len() as u64) * metric(rows.max(1) as u64))
        };
        let told = classes.iter().map(|(class, rows)| {
            let after = taken.get(class).copied().unwrap_or(rows.len() as u64);
            (
                class.clone(),
                json!({ "rows_before": rows.len(), "rows_after": after, "weight": weight(rows.len()) }),
            )
        });
        write_json(place, &told.collect::<BTreeMap<_, _>>())?;
    }
    let metrics = [
        ("rows_before", metric(values.len() as u64)),
        ("rows_after", metric(written)),
        ("classes", metric(classes.len() as u64)),
    ];
    Ok(BuiltinResult {
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        artifacts: BTreeMap::new(),
    })
}

fn share(count: usize, ratio: f64) -> f64 {
    metric(count as u64) * ratio
}

fn put<T>(slots: &mut [T], row: usize, value: T) {
    if let Some(slot) = slots.get_mut(row) {
        *slot = value;
    }
}
