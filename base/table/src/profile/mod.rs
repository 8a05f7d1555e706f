//! Profiles: what a table looks like, column by column, in constant space.
//!
//! A profile is made in one pass, kept as JSON, and two profiles merge into that of both tables: daily
//! increments, monitoring windows and parts of a folder are profiled by themselves and added up. The
//! same rows in the same order give the same bytes whatever the batches were, so that a profile has a
//! stable digest. [`crate::drift`] compares two of them without the data; [`summary`] is what people
//! look at.
//!
//! Every profile has the counts, the distribution and the commonest values of each column. What
//! [`ProfileOptions`] asks for beside them (forms of texts, order, correlations, repeated rows) is absent
//! where it was not asked for, and stays absent when such a profile is merged. It keeps no rows.

pub mod alerts;
mod category;
mod commas;
mod correlation;
mod duplicates;
mod encode;
mod forms;
mod frequent;
mod hash;
mod histogram;
mod moments;
mod numeric;
mod options;
mod order;
mod profiler;
mod sketch;
mod spread;
pub mod summary;
mod told;
mod wide;

use std::collections::HashMap;

use arrow_array::RecordBatch;
use rondo_core::signature::{Column, ColumnType};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TableError};
use crate::read::{self, TableReader};

pub use category::{CategoryProfile, Lengths};
pub use commas::Commas;
pub use correlation::{Correlated, Correlations};
pub use duplicates::{Duplicates, EXACT_ROWS, RowSample};
pub use forms::{TextForms, TextKind};
pub use moments::Moments;
pub use numeric::NumericProfile;
pub use options::ProfileOptions;
pub use order::{Calendar, Order};
pub use profiler::Profiler;

/// Up to so many different values of a column are counted exactly.
pub const EXACT_VALUES: usize = 10_000;

/// Format 1 had none of what [`ProfileOptions`] asks for; otherwise the two are the same.
const FORMAT: u32 = 2;

/// How many values differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// The number.
    pub count: u64,
    /// Whether it is exact, or an estimate with a standard error of 1.6 %.
    pub exact: bool,
}

/// The profile of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The version of this form.
    format: u32,
    /// How many rows.
    pub rows: u64,
    /// The columns in the table's order.
    pub columns: Vec<ColumnProfile>,
    /// How number and truth columns go together, where that was asked for and there are two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlations: Option<Correlations>,
    /// How many rows repeat an earlier one, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repeats: Option<RowSample>,
}

/// The profile of a column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// How many rows have a value.
    pub count: u64,
    /// How many have none; NaN counts as none.
    pub nulls: u64,
    /// Of integers, numbers and moments (as milliseconds with a fraction): the numbers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub numeric: Option<NumericProfile>,
    /// Of texts and truth values: the values.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<CategoryProfile>,
}

impl Profile {
    /// The columns of the profiled table; one without a missing value needs none.
    pub fn schema(&self) -> Vec<Column> {
        let column = |column: &ColumnProfile| Column {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nulls > 0,
        };
        self.columns.iter().map(column).collect()
    }

    /// The profile of all that a reader still has, with all its parts.
    ///
    /// # Errors
    /// When the table cannot be read to its end.
    pub fn of(reader: TableReader) -> Result<Self> {
        let mut profiler = Profiler::with(reader.columns(), &ProfileOptions::FULL);
        for batch in reader.with_keys().exactly() {
            profiler.update(&batch?)?;
        }
        profiler.finish()
    }

    /// The profile of a file or folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_path(path: &std::path::Path) -> Result<Self> {
        Self::of(read::open(path)?)
    }

    /// Adds the rows of one more batch. For many batches a [`Profiler`] does less work.
    ///
    /// # Errors
    /// When the batch lacks a column or has one of another type.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns: Vec<Column> = self
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                column_type: column.column_type,
                nullable: true,
            })
            .collect();
        let mut profiler = Profiler::with(&columns, &self.options());
        profiler.update(batch)?;
        *self = self.merge(&profiler.finish()?)?;
        Ok(())
    }

    /// What it was asked for, as far as that can be told.
    fn options(&self) -> ProfileOptions {
        let numbers = || self.columns.iter().filter_map(|column| column.numeric.as_ref());
        let empty = ProfileOptions::LEAN;
        ProfileOptions {
            texts: self
                .columns
                .iter()
                .filter_map(|column| column.category.as_ref())
                .any(|c| c.forms.is_some()),
            order: numbers().any(|numeric| numeric.order.is_some() || numeric.calendar.is_some()),
            correlations: self.correlations.as_ref().map_or(empty.correlations, |known| known.columns.len()),
            duplicates: self.repeats.is_some(),
        }
    }

    /// The profile of both tables together, the rows of `other` after those of `self`.
    ///
    /// # Errors
    /// When they do not have the same columns.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        let mismatch = |reason: String| TableError::ProfileMismatch { reason };
        let (known, there) = (self.by_name(), other.by_name());
        if let Some(extra) = other.columns.iter().find(|column| !known.contains_key(column.name.as_str())) {
            return Err(mismatch(format!("only the second has the column `{}`", extra.name)));
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(second) = there.get(column.name.as_str()) else {
                return Err(mismatch(format!("only the first has the column `{}`", column.name)));
            };
            columns.push(column.merge(second)?);
        }
        let rows =
            self.rows.checked_add(other.rows).ok_or_else(|| mismatch("there are too many rows".into()))?;
        let correlations = match (&self.correlations, &other.correlations) {
            (Some(here), Some(there)) => here.merge(there),
            _ => None,
        };
        let repeats = both(self.repeats.as_ref(), other.repeats.as_ref(), RowSample::merge);
        let repeats = repeats.transpose().map_err(mismatch)?.filter(|_| {
            let known = |profile: &Self| profile.rows == 0 || profile.repeats.is_some();
            known(self) && known(other)
        });
        Ok(Self { format: FORMAT, rows, columns, correlations, repeats })
    }

    /// Of columns that were profiled by themselves.
    pub(crate) fn of_columns(rows: u64, columns: Vec<ColumnProfile>) -> Self {
        Self { format: FORMAT, rows, columns, correlations: None, repeats: None }
    }

    /// The columns by their names: for who asks for many of them.
    pub fn by_name(&self) -> HashMap<&str, &ColumnProfile> {
        self.columns.iter().map(|column| (column.name.as_str(), column)).collect()
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The canonical JSON text.
    ///
    /// # Errors
    /// When the profile has no JSON form, which a profile of this crate always has.
    pub fn to_json(&self) -> Result<String> {
        rondo_core::canonical::to_string(self)
            .map_err(|error| TableError::Profile { reason: error.to_string() })
    }

    /// Reads what [`Profile::to_json`] wrote.
    ///
    /// # Errors
    /// When the text is anything else, or its parts do not agree.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |reason: String| TableError::Profile { reason };
        let profile: Self = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if !(1..=FORMAT).contains(&profile.format) {
            return Err(refuse(format!(
                "its format is {}, this version reads up to {FORMAT}",
                profile.format
            )));
        }
        if profile.repeats.as_ref().is_some_and(|repeats| repeats.rows() != profile.rows) {
            return Err(refuse("the rows that were compared are not its rows".into()));
        }
        for column in &profile.columns {
            let counted = column
                .numeric
                .as_ref()
                .map(|numeric| numeric.moments.count.saturating_add(numeric.infinite))
                .or_else(|| column.category.as_ref().map(|category| category.count));
            let rows = column.count.checked_add(column.nulls);
            if rows != Some(profile.rows) || counted.is_some_and(|counted| counted != column.count) {
                return Err(refuse(format!("the counts of `{}` do not agree", column.name)));
            }
        }
        Ok(profile)
    }
}

impl ColumnProfile {
    /// The share of rows without a value; 0 of no rows.
    pub fn null_share(&self) -> f64 {
        let rows = self.count + self.nulls;
        if rows == 0 { 0.0 } else { self.nulls as f64 / rows as f64 }
    }

    /// Whether it has values of which a floating-point number may stand for several.
    pub(crate) fn rounds(&self) -> bool {
        let Some(numeric) = self.numeric.as_ref().filter(|numeric| numeric.moments.count > 0) else {
            return false;
        };
        let most = numeric.moments.min.abs().max(numeric.moments.max.abs());
        let integers = self.column_type == ColumnType::Integer && most >= 9_007_199_254_740_992.0;
        numeric.rounded || integers
    }

    /// Whether it has such values and does not tell them apart, as profiles of old.
    fn is_vague(&self) -> bool {
        self.rounds() && self.numeric.as_ref().is_some_and(|numeric| numeric.told.is_none())
    }

    /// How many values differ; nothing for a column that is only carried.
    pub fn distinct(&self) -> Option<Distinct> {
        match (&self.numeric, &self.category) {
            (Some(numeric), _) => {
                let distinct = numeric.distinct();
                Some(Distinct { exact: distinct.exact && !self.is_vague(), ..distinct })
            }
            (None, Some(category)) => Some(category.distinct()),
            (None, None) => None,
        }
    }

    /// Whether all rows have the same value (or none at all).
    pub fn is_constant(&self) -> bool {
        match self.distinct() {
            Some(distinct) => distinct.count == 0 || distinct.exact && distinct.count == 1 && self.nulls == 0,
            None => false,
        }
    }

    /// Whether it looks like a key: texts of which more than half differ, or whole numbers that all
    /// differ and leave few gaps (row numbers) or are named as a key. At least 100 values are needed to tell.
    pub fn is_id_like(&self) -> bool {
        let Some(distinct) = self.distinct().filter(|_| self.count >= 100) else { return false };
        match (self.column_type, &self.numeric) {
            (ColumnType::String, _) => distinct.count * 2 > self.count,
            (ColumnType::Integer, Some(numeric)) => {
                // An estimate may be off by five standard errors.
                let slack = if distinct.exact { 0.0 } else { 0.08 };
                let all_differ = distinct.count as f64 >= self.count as f64 * (1.0 - slack);
                let span = numeric.moments.max - numeric.moments.min + 1.0;
                let name = self.name.to_lowercase();
                let named = name == "id" || name.ends_with("_id") || name == "index" || name == "key";
                all_differ && (named || span <= 2.0 * self.count as f64)
            }
            _ => false,
        }
    }

    fn merge(&self, other: &Self) -> Result<Self> {
        let mismatch = |reason: String| TableError::ProfileMismatch { reason };
        let column_type = match (self.column_type, other.column_type) {
            (a, b) if a == b => a,
            (a, b) if a.is_numeric() && b.is_numeric() => ColumnType::Number,
            // A column without a value was taken for text.
            (a, _) if other.count == 0 => a,
            (_, b) if self.count == 0 => b,
            (a, b) => {
                let reason = format!("`{}` is {} in one and {} in the other", self.name, a.text(), b.text());
                return Err(mismatch(reason));
            }
        };
        let numeric = both(self.numeric.as_ref(), other.numeric.as_ref(), |a, b| {
            let mut merged = a.merge(b)?;
            if self.is_vague() || other.is_vague() {
                (merged.rounded, merged.told) = (true, None);
            }
            Ok(merged)
        });
        let category = both(self.category.as_ref(), other.category.as_ref(), CategoryProfile::merge);
        let is_text = matches!(column_type, ColumnType::String | ColumnType::Boolean);
        Ok(Self {
            name: self.name.clone(),
            column_type,
            count: self.count.saturating_add(other.count),
            nulls: self.nulls.saturating_add(other.nulls),
            numeric: numeric.transpose().map_err(mismatch)?.filter(|_| !is_text),
            category: category.transpose().map_err(mismatch)?.filter(|_| is_text),
        })
    }
}

/// Of two that may be missing: the one there is, or both joined.
fn both<T: Clone>(
    a: Option<&T>,
    b: Option<&T>,
    join: impl Fn(&T, &T) -> Result<T, String>,
) -> Option<Result<T, String>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (Some(one), None) | (None, Some(one)) => Some(Ok(one.clone())),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
