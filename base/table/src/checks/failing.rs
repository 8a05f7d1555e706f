//! The rows that do not pass, whole: for a file or a page beside the report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};

use super::report::CheckReport;
use super::run::{Table, only};
use crate::error::{Result, TableError};

/// The column with the numbers of the rows.
pub const ROW: &str = "_row";
/// The column with the rules that a row breaks.
pub const BROKEN: &str = "_broken";

/// The rows that the report names, all columns of them, with their numbers and the rules that they break; at
/// most so many, from the first. Nothing where it names none.
///
/// # Errors
/// When the table cannot be read again.
pub fn failing_rows(report: &CheckReport, table: &dyn Table, most: usize) -> Result<Option<FailingRows>> {
    let mut broken: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (index, result) in report.rules.iter().enumerate().filter(|(_, result)| !result.passed) {
        for row in &result.failing {
            broken.entry(*row).or_default().insert(index);
        }
    }
    let wanted: Vec<u64> = broken.keys().copied().take(most).collect();
    let Some(last) = wanted.last().copied() else { return Ok(None) };
    let names: Vec<String> = table.columns().iter().map(|column| column.name.clone()).collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut parts = Vec::new();
    let mut first = 1;
    for batch in table.batches(&borrowed)? {
        let batch = batch?;
        let after = first + batch.num_rows() as u64;
        let inside = wanted.iter().filter(|row| (first..after).contains(row));
        let rows: Vec<u32> = inside.map(|row| (row - first) as u32).collect();
        if !rows.is_empty() {
            parts.push(only(&batch, &names, Some(&rows))?);
        }
        first = after;
        if first > last {
            break;
        }
    }
    let fault = |error: arrow_schema::ArrowError| TableError::Batch {
        what: "gather failing rows",
        reason: error.to_string(),
    };
    let Some(schema) = parts.first().map(RecordBatch::schema) else { return Ok(None) };
    let whole = arrow_select::concat::concat_batches(&schema, &parts).map_err(fault)?;
    let words = |row: &u64| {
        let rules = broken.get(row).into_iter().flatten();
        let words: Vec<&str> =
            rules.filter_map(|index| report.rules.get(*index)).map(|rule| rule.rule.as_str()).collect();
        words.join("; ")
    };
    let numbers = Int64Array::from_iter_values(wanted.iter().map(|row| row.cast_signed()));
    let rules = StringArray::from_iter_values(wanted.iter().map(words));
    let ours: [(&str, ArrayRef); 2] = [(ROW, Arc::new(numbers)), (BROKEN, Arc::new(rules))];
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (name, array) in ours {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    for (field, array) in schema.fields().iter().zip(whole.columns()) {
        // A column of the table with one of our names keeps its values under another.
        let name = if matches!(field.name().as_str(), ROW | BROKEN) {
            format!("{}_", field.name())
        } else {
            field.name().clone()
        };
        fields.push(Field::new(name, field.data_type().clone(), true));
        arrays.push(Arc::clone(array));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(fault)?;
    Ok(Some(FailingRows { rows }))
}

/// Whole rows that do not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct FailingRows {
    rows: RecordBatch,
}

impl FailingRows {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the columns, ours first.
    pub fn columns(&self) -> Vec<String> {
        self.rows.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The values of the rows as texts; nothing where one is missing.
    pub fn texts(&self) -> Vec<Vec<Option<String>>> {
        (0..self.len())
            .map(|row| self.rows.columns().iter().map(|array| crate::records::text_of(array, row)).collect())
            .collect()
    }

    /// Those of several tables of the same columns, one after the other.
    ///
    /// # Errors
    /// When they do not have the same columns.
    pub fn join(all: &[&Self]) -> Result<Option<Self>> {
        let Some(first) = all.first() else { return Ok(None) };
        let rows = all.iter().map(|part| &part.rows);
        let rows = arrow_select::concat::concat_batches(&first.rows.schema(), rows);
        let rows = rows.map_err(|error| TableError::Batch {
            what: "join failing rows of several files",
            reason: error.to_string(),
        })?;
        Ok(Some(Self { rows }))
    }

    /// Writes them to a file: CSV where its name ends so, else Parquet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &std::path::Path) -> Result<()> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            let file = std::fs::File::create(path).map_err(|error| TableError::io(path, error))?;
            return self
                .write_csv(std::io::BufWriter::new(file))
                .map_err(|error| TableError::io(path, error));
        }
        crate::write::parquet(path, self.rows.schema(), [Ok(self.rows.clone())]).map(drop)
    }

    fn write_csv(&self, to: impl std::io::Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(self.columns())?;
        for row in self.texts() {
            writer.write_record(row.into_iter().map(Option::unwrap_or_default))?;
        }
        writer.flush()
    }
}
