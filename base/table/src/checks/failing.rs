//! The rows that do not pass, whole: for a file or a page beside the report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema};

use super::layout::Named;
use super::report::CheckReport;
use super::tables::{Table, only};
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
            parts.push(only(&Named::new(&batch), &names, Some(&rows))?);
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

    /// The first of them.
    #[must_use]
    pub fn first(&self, most: usize) -> Self {
        Self { rows: self.rows.slice(0, self.len().min(most)) }
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

    /// Those of several tables, one after the other, with the columns of all of them by name. A column that
    /// is not of the same type everywhere is one of texts.
    ///
    /// # Errors
    /// When they cannot be put together.
    pub fn join(all: &[&Self]) -> Result<Option<Self>> {
        if all.is_empty() {
            return Ok(None);
        }
        let mut fields: Vec<Field> = Vec::new();
        for field in
            all.iter().flat_map(|part| part.rows.schema().fields().iter().cloned().collect::<Vec<_>>())
        {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                None => fields.push(Field::new(field.name(), field.data_type().clone(), true)),
                Some(known) if known.data_type() == field.data_type() => {}
                Some(known) => known.set_data_type(DataType::Utf8),
            }
        }
        let fault = |error: arrow_schema::ArrowError| TableError::Batch {
            what: "join failing rows of several files",
            reason: error.to_string(),
        };
        let schema = Arc::new(Schema::new(fields));
        let mut parts = Vec::new();
        for part in all {
            let arrays = schema.fields().iter().map(|field| part.as_if(field)).collect();
            parts.push(RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(fault)?);
        }
        let rows = arrow_select::concat::concat_batches(&schema, &parts).map_err(fault)?;
        Ok(Some(Self { rows }))
    }

    /// The values of a column of this name, as texts where they are of another type, and nothing where there
    /// is no such column.
    fn as_if(&self, field: &Field) -> ArrayRef {
        match self.rows.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), self.len()),
            Some(array) if array.data_type() == field.data_type() => Arc::clone(array),
            Some(array) => {
                let texts = (0..self.len()).map(|row| crate::records::text_of(array, row));
                Arc::new(texts.collect::<StringArray>())
            }
        }
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

#[cfg(test)]
mod tests {
    use arrow_array::Float64Array;

    use super::*;

    fn rows(columns: Vec<(&str, ArrayRef)>) -> FailingRows {
        FailingRows { rows: RecordBatch::try_from_iter(columns).unwrap() }
    }

    #[test]
    fn rows_of_several_files_are_joined_by_the_names_of_their_columns() {
        let whole = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let one = rows(vec![(ROW, whole(1)), ("a", text("x")), ("b", whole(5))]);
        let turned =
            rows(vec![(ROW, whole(2)), ("b", Arc::new(Float64Array::from(vec![2.5]))), ("a", text("y"))]);
        let fewer = rows(vec![(ROW, whole(3)), ("a", text("z"))]);
        let more = rows(vec![(ROW, whole(4)), ("c", text("w"))]);
        let joined = FailingRows::join(&[&one, &turned, &fewer, &more]).unwrap().unwrap();
        assert_eq!(joined.columns(), [ROW, "a", "b", "c"]);
        let cells: Vec<String> = joined
            .texts()
            .iter()
            .map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(cells, ["1 x 5 -", "2 y 2.5 -", "3 z - -", "4 - - w"]);
        assert!(FailingRows::join(&[]).unwrap().is_none());
    }
}
