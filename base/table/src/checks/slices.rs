//! Slices: the values of a column whose rows a rule is asked of one by one.

use serde_json::Value;

use super::keys::{self, Key, KeyMap};
use super::rows::is_missing;
use super::rule::Slices;
use super::show::word;
use super::tables::Table;
use crate::error::Result;
use crate::records::value_of;

/// With more different values nobody wants a rule for each.
const COUNTED: usize = 100_000;

/// The slices of a column.
#[derive(Debug)]
pub(super) struct Found {
    /// What each is called, the most frequent first; the last may be all others together.
    pub(super) names: Vec<String>,
    /// The place of each value that stands alone.
    places: KeyMap<usize>,
    /// The place of rows without a value, where they stand alone.
    missing: Option<usize>,
    /// The place of all others, where there are any.
    pooled: Option<usize>,
}

impl Found {
    /// The slice that a row is in.
    pub(super) fn place(&self, array: &arrow_array::ArrayRef, row: usize) -> Option<usize> {
        match keys::key_at(array, row) {
            Some(key) => self.places.get(&key).copied().or(self.pooled),
            None => self.missing.or(self.pooled),
        }
    }
}

/// Counts the values of the column; those that are rare, or too many, are taken together.
pub(super) fn find(slices: &Slices, table: &dyn Table) -> Result<Found> {
    let mut counts: KeyMap<(u64, Value)> = KeyMap::default();
    let (mut missing, mut many) = (0_u64, 0_u64);
    for batch in table.batches(&[&slices.column])? {
        let batch = batch?;
        let Some(array) = batch.column_by_name(&slices.column) else { continue };
        for row in 0..array.len() {
            if is_missing(array, row) {
                missing += 1;
                continue;
            }
            let Some(key) = keys::key_at(array, row) else { continue };
            if let Some((count, _)) = counts.get_mut(&key) {
                *count += 1;
            } else if counts.len() < COUNTED {
                counts.insert(key, (1, value_of(array, row)));
            } else {
                many += 1;
            }
        }
    }
    let mut sorted: Vec<(Key, u64, String)> =
        counts.into_iter().map(|(key, (count, value))| (key, count, word(&value))).collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.2.cmp(&b.2)));
    let alone = sorted.iter().take_while(|(_, count, _)| *count >= slices.min_rows).count().min(slices.most);
    let column = &slices.column;
    let mut names = Vec::new();
    let mut places = KeyMap::default();
    for (key, _, value) in sorted.iter().take(alone) {
        places.insert(*key, names.len());
        names.push(format!("{column} = {value}"));
    }
    let mut missing_place = None;
    if missing >= slices.min_rows && missing > 0 {
        missing_place = Some(names.len());
        names.push(format!("{column} is missing"));
    }
    let mut pooled = None;
    let rest = sorted.len() - alone;
    if rest > 0 || many > 0 || missing > 0 && missing_place.is_none() {
        pooled = Some(names.len());
        let more = if many > 0 { "more than " } else { "" };
        let plural = if rest == 1 { "value" } else { "values" };
        names.push(format!("{column}: {more}{rest} rarer {plural} together"));
    }
    Ok(Found { names, places, missing: missing_place, pooled })
}
