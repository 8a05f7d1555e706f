//! Rows of two tables compared by key: which have come, gone and changed, and which of their cells.
//!
//! Both tables are read once, their rows dealt out to parts by the hash of their keys, and the parts compared
//! one after another; what does not fit into small buffers waits in temporary files. So memory is bounded by
//! [`PART`] on either side whatever the tables' sizes, but where a single key has more rows than that. Without
//! a key whole rows are compared, each as often as it stands there; the order of rows never matters.
//!
//! It says nothing of columns that only one of the tables has, nor how distributions have moved
//! ([`crate::drift`] does).

pub(crate) mod cells;
mod parts;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rondo_core::signature::{Column, ColumnType};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Result, TableError};
use crate::read::TableReader;
use cells::{Form, Layout};
use parts::{Dealt, Part};

/// A pair of parts larger than this, in bytes of one side, is dealt out again.
pub const PART: u64 = 48 << 20;

/// How often parts are dealt out again before a single key must be the cause.
const DEPTH: u32 = 4;

/// How to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// The columns that say which row is which; whole rows are compared where there are none.
    pub key: Vec<String>,
    /// Columns that are not compared.
    pub ignore: Vec<String>,
    /// Numbers are the same when they differ by at most this share of the greater amount.
    pub tolerance: f64,
    /// So many examples of each sort are kept.
    pub samples: usize,
    /// Where temporary files lie.
    pub scratch: PathBuf,
    /// The size of a part; [`PART`] but for tests.
    pub part: u64,
    /// What the two tables are called; by their paths where that is empty.
    pub sides: [String; 2],
}

impl Options {
    /// By these columns, with temporary files in this folder.
    pub fn new(key: &[String], scratch: &Path) -> Self {
        let scratch = scratch.to_owned();
        Self {
            key: key.to_vec(),
            ignore: Vec::new(),
            tolerance: 0.0,
            samples: 5,
            scratch,
            part: PART,
            sides: Default::default(),
        }
    }
}

/// How the rows of two tables differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RowDiff {
    /// The columns that say which row is which; none where whole rows were compared.
    pub key: Vec<String>,
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
    /// Rows that are the same.
    pub same: u64,
    /// Rows of one key with another cell.
    pub changed: u64,
    /// Rows that only the second has.
    pub added: u64,
    /// Rows that only the first has.
    pub removed: u64,
    /// How many rows repeat the key of another, before and after. Such rows are paired with equal ones first,
    /// then in their order.
    pub repeated_keys: [u64; 2],
    /// The columns with cells that have changed, the most changed first.
    pub cells: Vec<CellDiff>,
    /// Some of the rows that have come.
    pub added_rows: Vec<Map<String, Value>>,
    /// Some of the rows that have gone.
    pub removed_rows: Vec<Map<String, Value>>,
    /// Columns of both that could not be compared, since their type is only carried.
    pub not_compared: Vec<String>,
}

/// The cells of one column that have changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellDiff {
    /// The column.
    pub column: String,
    /// How many cells.
    pub changed: u64,
    /// How many of them had no value and have one now.
    pub filled: u64,
    /// How many of them had a value and have none now.
    pub emptied: u64,
    /// Of numbers the greatest difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<f64>,
    /// Some of them.
    pub samples: Vec<CellSample>,
}

/// One cell that has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellSample {
    /// The row's key.
    pub key: Map<String, Value>,
    /// What stood there.
    pub from: Value,
    /// What stands there.
    pub to: Value,
}

impl RowDiff {
    /// Whether all rows are the same.
    pub const fn is_empty(&self) -> bool {
        self.changed == 0 && self.added == 0 && self.removed == 0
    }
}

/// Compares the rows of two tables.
///
/// # Errors
/// When a key is in one of them alone, a table cannot be read, or the temporary files cannot be written.
pub fn compare(before: TableReader, after: TableReader, options: &Options) -> Result<RowDiff> {
    let layout = layout(&before, &after, options)?;
    let not_compared = carried(&before, &after, options);
    let names: Vec<&str> = layout.names().collect();
    let mut old = Dealt::new(&options.scratch, 0);
    let rows_before = old.fill(before.select(&names)?.exactly(), &layout)?;
    let mut new = Dealt::new(&options.scratch, 0);
    let rows_after = new.fill(after.select(&names)?.exactly(), &layout)?;
    let mut joint = Joint::new(layout, options);
    joint.all(old, new)?;
    let mut found = joint.found;
    found.cells.retain(|cells| cells.changed > 0);
    found.cells.sort_by_key(|cells| std::cmp::Reverse(cells.changed));
    Ok(RowDiff { key: options.key.clone(), before: rows_before, after: rows_after, not_compared, ..found })
}

/// The columns that are read of both, the key's first.
fn layout(before: &TableReader, after: &TableReader, options: &Options) -> Result<Layout> {
    let find = |reader: &TableReader, name: &str| -> Option<Column> {
        reader.columns().iter().find(|column| column.name == name).cloned()
    };
    let form = |old: &Column, new: &Column| Form::of(old.column_type, new.column_type);
    let mut key = Vec::new();
    for name in &options.key {
        let of = |reader: &TableReader, called: &str| {
            let known = reader.columns().iter().map(|column| column.name.as_str());
            let path = || reader.path().display().to_string();
            let called = if called.is_empty() { path() } else { called.to_owned() };
            find(reader, name).ok_or_else(|| TableError::no_column(name, format!("`{called}`"), known))
        };
        let [old, new] = &options.sides;
        let (old, new) = (of(before, old)?, of(after, new)?);
        let form = form(&old, &new).ok_or_else(|| TableError::ColumnType {
            column: name.clone(),
            found: ColumnType::Other,
            wanted: "a plain value, as a key",
        })?;
        key.push((name.clone(), form));
    }
    let others = before
        .columns()
        .iter()
        .filter(|column| !options.key.contains(&column.name) && !options.ignore.contains(&column.name));
    let values: Vec<(String, Form)> =
        others.filter_map(|old| Some((old.name.clone(), form(old, &find(after, &old.name)?)?))).collect();
    Ok(Layout { key, values, whole: options.key.is_empty() })
}

fn carried(before: &TableReader, after: &TableReader, options: &Options) -> Vec<String> {
    let other = |reader: &TableReader, name: &str| {
        reader.columns().iter().find(|column| column.name == name).map(|c| c.column_type)
    };
    before
        .columns()
        .iter()
        .filter(|column| !options.ignore.contains(&column.name))
        .filter(|column| {
            let types = other(after, &column.name).map(|new| Form::of(column.column_type, new));
            types == Some(None)
        })
        .map(|column| column.name.clone())
        .collect()
}

/// The rows of one key.
#[derive(Default)]
struct Entry {
    before: Vec<Box<[u8]>>,
    after: Vec<Box<[u8]>>,
}

struct Joint<'a> {
    layout: Layout,
    options: &'a Options,
    found: RowDiff,
}

impl<'a> Joint<'a> {
    fn new(layout: Layout, options: &'a Options) -> Self {
        let cells = layout.values.iter().map(|(column, _)| CellDiff {
            column: column.clone(),
            changed: 0,
            filled: 0,
            emptied: 0,
            largest: None,
            samples: Vec::new(),
        });
        let found = RowDiff { cells: cells.collect(), ..RowDiff::default() };
        Self { layout, options, found }
    }

    fn all(&mut self, old: Dealt, new: Dealt) -> Result<()> {
        let level = old.level;
        for (old, new) in old.parts.into_iter().zip(new.parts) {
            if old.bytes.max(new.bytes) > self.options.part && level < DEPTH {
                let again = |part: Part| {
                    let mut dealt = Dealt::new(&self.options.scratch, level + 1);
                    dealt.refill(part).map(|()| dealt)
                };
                let (old, new) = (again(old)?, again(new)?);
                self.all(old, new)?;
            } else {
                self.pair(old, new)?;
            }
        }
        Ok(())
    }

    /// Compares the rows of a part, in the order in which their keys came.
    fn pair(&mut self, old: Part, new: Part) -> Result<()> {
        let mut places: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (part, is_new) in [(old, false), (new, true)] {
            let mut records = part.records()?;
            while let Some((key, values)) = records.next()? {
                let place = match places.get(key) {
                    Some(place) => *place,
                    None => {
                        entries.push(Entry::default());
                        places.insert(key.into(), entries.len() - 1);
                        entries.len() - 1
                    }
                };
                if let Some(entry) = entries.get_mut(place) {
                    let side = if is_new { &mut entry.after } else { &mut entry.before };
                    side.push(values.into());
                }
            }
        }
        let mut keys: Vec<(Box<[u8]>, usize)> = places.into_iter().collect();
        keys.sort_unstable_by_key(|(_, place)| *place);
        for (key, place) in keys {
            if let Some(entry) = entries.get_mut(place) {
                self.settle(&key, std::mem::take(entry));
            }
        }
        Ok(())
    }

    fn settle(&mut self, key: &[u8], entry: Entry) {
        let Entry { mut before, mut after } = entry;
        let found = &mut self.found;
        if !self.layout.whole {
            found.repeated_keys[0] += (before.len() as u64).saturating_sub(1);
            found.repeated_keys[1] += (after.len() as u64).saturating_sub(1);
        }
        if before.len() == 1 && after.len() == 1 {
            if before == after {
                found.same += 1;
                return;
            }
        } else {
            // Equal ones belong together, wherever they stand.
            let mut counts: HashMap<&[u8], usize> = HashMap::new();
            before.iter().for_each(|row| *counts.entry(row).or_default() += 1);
            let mut twin = vec![false; after.len()];
            for (row, twin) in after.iter().zip(&mut twin) {
                if let Some(count) = counts.get_mut(&**row).filter(|count| **count > 0) {
                    *count -= 1;
                    *twin = true;
                }
            }
            let mut left: HashMap<Box<[u8]>, usize> =
                counts.into_iter().map(|(row, count)| (row.into(), count)).collect();
            found.same += twin.iter().filter(|twin| **twin).count() as u64;
            let mut twins = twin.into_iter();
            after.retain(|_| !twins.next().unwrap_or(false));
            // Of equal rows before, the last ones are left.
            before.reverse();
            before.retain(|row| match left.get_mut(row).filter(|count| **count > 0) {
                Some(count) => {
                    *count -= 1;
                    true
                }
                None => false,
            });
            before.reverse();
        }
        let both = before.len().min(after.len());
        for (old, new) in before.iter().zip(&after) {
            self.changed(key, old, new);
        }
        for row in before.get(both..).unwrap_or_default() {
            self.found.removed += 1;
            if self.found.removed_rows.len() < self.options.samples {
                self.found.removed_rows.push(self.layout.row(key, row));
            }
        }
        for row in after.get(both..).unwrap_or_default() {
            self.found.added += 1;
            if self.found.added_rows.len() < self.options.samples {
                self.found.added_rows.push(self.layout.row(key, row));
            }
        }
    }

    /// Two rows of one key that are not the same byte for byte.
    fn changed(&mut self, key: &[u8], old: &[u8], new: &[u8]) {
        let (old, new) = (self.layout.cells(old), self.layout.cells(new));
        let mut any = false;
        let forms = self.layout.values.iter().map(|(_, form)| *form);
        for (((old, new), cells), form) in old.iter().zip(&new).zip(&mut self.found.cells).zip(forms) {
            if cells::same(old, new, form, self.options.tolerance) {
                continue;
            }
            any = true;
            cells.changed += 1;
            cells.filled += u64::from(old.is_null());
            cells.emptied += u64::from(new.is_null());
            if let Some(distance) = cells::distance(old, new, form) {
                cells.largest = Some(cells.largest.map_or(distance, |largest| largest.max(distance)));
            }
            if cells.samples.len() < self.options.samples {
                let key = self.layout.key_row(key);
                cells.samples.push(CellSample { key, from: old.clone(), to: new.clone() });
            }
        }
        if any {
            self.found.changed += 1;
        } else {
            self.found.same += 1;
        }
    }
}

#[cfg(test)]
mod tests;
