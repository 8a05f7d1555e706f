//! Rules that have to know all values at once: whether rows differ, how many values there are, whether each
//! occurs elsewhere. Exact whatever the size; what does not fit in memory lies in a temporary file.

use std::collections::BinaryHeap;

use serde_json::Value;

use super::keys::{self, Key};
use super::report::Sample;
use super::rows::{SAMPLED, Tally, View, is_missing};
use super::rule::Missing;
use super::spill::{DistinctKeys, SortedKeys};
use crate::error::Result;

/// The values of one or several columns with their rows.
#[derive(Debug)]
pub(super) struct Keyed {
    sorted: SortedKeys,
    looked_at: u64,
    missing: u64,
}

impl Keyed {
    pub(super) fn new() -> Self {
        Self { sorted: SortedKeys::new(), looked_at: 0, missing: 0 }
    }

    #[cfg(test)]
    pub(super) fn with_run(run: usize) -> Self {
        Self { sorted: SortedKeys::with_run(run), ..Self::new() }
    }

    pub(super) fn update(&mut self, columns: &[String], missing: Missing, view: &View<'_>) -> Result<()> {
        let arrays = view.arrays(columns);
        let mut failed = Ok(());
        if let [array] = arrays.as_slice() {
            let before = self.looked_at;
            keys::visit(array, |row, key| {
                self.looked_at += 1;
                if failed.is_ok() {
                    failed = self.sorted.push(key, view.number(row));
                }
            });
            self.missing += array.len() as u64 - (self.looked_at - before);
            return failed;
        }
        let known: Option<Vec<_>> = arrays.iter().map(|array| keys::column(array)).collect();
        if let Some(columns) = known {
            return self.add_rows(&columns, missing, view);
        }
        for row in 0..view.batch.num_rows() {
            let lacks = |array: &&arrow_array::ArrayRef| is_missing(array, row);
            let left_out = match missing {
                Missing::All => arrays.iter().all(lacks),
                Missing::Any => arrays.iter().any(lacks),
                Missing::Never => false,
            };
            if left_out {
                self.missing += 1;
                continue;
            }
            self.looked_at += 1;
            let key = keys::several(arrays.iter().map(|array| keys::key_at(array, row)));
            self.sorted.push(key, view.number(row))?;
        }
        Ok(())
    }

    /// Takes rows whose keys are known column by column.
    fn add_rows(&mut self, columns: &[Vec<Option<Key>>], missing: Missing, view: &View<'_>) -> Result<()> {
        for row in 0..view.batch.num_rows() {
            let mut keys = columns.iter().map(|column| column.get(row).copied().flatten());
            let left_out = match missing {
                Missing::All => keys.clone().all(|key| key.is_none()),
                Missing::Any => keys.any(|key| key.is_none()),
                Missing::Never => false,
            };
            if left_out {
                self.missing += 1;
                continue;
            }
            self.looked_at += 1;
            let keys = columns.iter().map(|column| column.get(row).copied().flatten());
            self.sorted.push(keys::several(keys), view.number(row))?;
        }
        Ok(())
    }

    fn tally(&self, keep: usize) -> Tally {
        Tally { looked_at: self.looked_at, missing: self.missing, ..Tally::keeping(keep) }
    }

    /// Every row whose values another row has too does not pass.
    pub(super) fn duplicates(self, keep: usize) -> Result<Tally> {
        let mut tally = self.tally(keep);
        let mut first = First::new(tally.keep);
        let (mut last, mut alone) = (None, true);
        let mut last_row = 0;
        for entry in self.sorted.finish()? {
            let (key, row) = entry?;
            if last == Some(key) {
                tally.unexpected += if alone { 2 } else { 1 };
                if alone {
                    first.add(last_row);
                }
                first.add(row);
                alone = false;
            } else {
                alone = true;
            }
            (last, last_row) = (Some(key), row);
        }
        first.into(&mut tally);
        Ok(tally)
    }

    /// Every row whose values are not among others does not pass.
    pub(super) fn not_among(self, others: DistinctKeys, keep: usize) -> Result<Tally> {
        let mut tally = self.tally(keep);
        let mut first = First::new(tally.keep);
        let mut others = others.finish()?;
        let mut there = others.next().transpose()?.map(|(key, _)| key);
        for entry in self.sorted.finish()? {
            let (key, row) = entry?;
            while there.is_some_and(|there| there < key) {
                there = others.next().transpose()?.map(|(key, _)| key);
            }
            if there != Some(key) {
                tally.unexpected += 1;
                first.add(row);
            }
        }
        first.into(&mut tally);
        Ok(tally)
    }
}

/// The least row numbers of many.
struct First {
    rows: BinaryHeap<u64>,
    most: usize,
}

impl First {
    fn new(most: usize) -> Self {
        Self { rows: BinaryHeap::new(), most }
    }

    fn add(&mut self, row: u64) {
        if self.rows.len() < self.most {
            self.rows.push(row);
        } else if self.rows.peek().is_some_and(|greatest| row < *greatest) {
            self.rows.pop();
            self.rows.push(row);
        }
    }

    /// The rows in order; their values are looked up later.
    fn into(self, tally: &mut Tally) {
        tally.rows = self.rows.into_sorted_vec();
        let sample =
            tally.rows.iter().take(SAMPLED).map(|row| Sample { row: *row, key: None, value: Value::Null });
        tally.sample = sample.collect();
    }
}
