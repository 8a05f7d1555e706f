//! How two Parquet files differ: in who wrote them and how, in their columns, or in their cells.
//!
//! Both are read side by side in constant memory. This says what differs; whether that matters is for the
//! caller to say. It is not the comparison of two datasets (that is the data stage's, by key columns).

use std::collections::HashSet;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use rondo_core::Digest;

use crate::error::Result;
use crate::read::{Builder, builder, guarded};
use crate::records;

/// Rows that are decoded at once.
const ROWS: usize = 8192;

/// Up to so many rows it is looked whether they are the same in another order.
const ORDERED: u64 = 2_000_000;

/// How far numbers are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    /// How many differ.
    pub count: u64,
    /// The greatest difference by the greater of the two amounts.
    pub relative: f64,
    /// The greatest difference.
    pub absolute: f64,
    /// The greatest number of representable numbers from one to the other.
    pub ulps: u64,
}

impl Spread {
    /// Notes two doubles.
    pub fn add(&mut self, a: f64, b: f64) {
        let ulps = ordered(a.to_bits().cast_signed()).abs_diff(ordered(b.to_bits().cast_signed()));
        self.note(a, b, ulps);
    }

    /// Notes two singles.
    pub fn add_single(&mut self, a: f32, b: f32) {
        let order = |value: f32| {
            let bits = i64::from(value.to_bits().cast_signed());
            if bits < 0 { i64::from(i32::MIN) - bits } else { bits }
        };
        self.note(f64::from(a), f64::from(b), order(a).abs_diff(order(b)));
    }

    fn note(&mut self, a: f64, b: f64, ulps: u64) {
        if (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits() {
            return;
        }
        self.count += 1;
        let absolute = (a - b).abs();
        // Between a number and none, or two infinities, there is no measure.
        let absolute = if absolute.is_nan() { f64::INFINITY } else { absolute };
        let relative = if absolute == 0.0 { 0.0 } else { absolute / a.abs().max(b.abs()) };
        self.absolute = self.absolute.max(absolute);
        self.relative = self.relative.max(if relative.is_nan() { f64::INFINITY } else { relative });
        self.ulps = self.ulps.max(ulps);
    }

    /// Both together.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.relative = self.relative.max(other.relative);
        self.absolute = self.absolute.max(other.absolute);
        self.ulps = self.ulps.max(other.ulps);
    }
}

/// The bits of doubles as numbers in the order of the doubles.
const fn ordered(bits: i64) -> i64 {
    if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
}

/// How two files differ. Where all is empty, only how the values are laid out in the file does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableDifference {
    /// The programs that wrote them, where they differ.
    pub writers: Option<(String, String)>,
    /// The columns, where they differ, in words.
    pub columns: Option<String>,
    /// The rows, where their number differs.
    pub rows: Option<(u64, u64)>,
    /// Whether the rows are the same in another order.
    pub reordered: bool,
    /// The columns with cells that differ.
    pub cells: Vec<Cells>,
}

/// The cells of a column that differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// The column.
    pub column: String,
    /// How many.
    pub count: u64,
    /// The first of them, from 1.
    pub first: u64,
    /// Of numbers, how far they are apart; nothing where something else differs.
    pub spread: Option<Spread>,
}

/// Compares two Parquet files.
///
/// # Errors
/// When one cannot be read.
pub fn parquet(old: &Path, new: &Path) -> Result<TableDifference> {
    let (a, b) = (builder(old)?, builder(new)?);
    let writer =
        |builder: &Builder| builder.metadata().file_metadata().created_by().unwrap_or("nobody").to_owned();
    let rows = |builder: &Builder| u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mut found = TableDifference::default();
    let (wrote_a, wrote_b) = (writer(&a), writer(&b));
    found.writers = (wrote_a != wrote_b).then_some((wrote_a, wrote_b));
    let columns = |builder: &Builder| {
        let fields = builder.schema().fields().iter();
        fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>()
    };
    let (named_a, named_b) = (columns(&a), columns(&b));
    if named_a != named_b {
        let only = |of: &[String], other: &[String]| {
            let other: HashSet<&String> = other.iter().collect();
            let only: Vec<&str> =
                of.iter().filter(|name| !other.contains(name)).map(String::as_str).collect();
            only.join(", ")
        };
        let (gone, come) = (only(&named_a, &named_b), only(&named_b, &named_a));
        found.columns = Some(match (gone.is_empty(), come.is_empty()) {
            (true, true) => "its columns stand in another order".to_owned(),
            (false, true) => format!("it has lost {gone}"),
            (true, false) => format!("it has got {come}"),
            (false, false) => format!("it had {gone}, and has {come}"),
        });
        return Ok(found);
    }
    let (rows_a, rows_b) = (rows(&a), rows(&b));
    if rows_a != rows_b {
        found.rows = Some((rows_a, rows_b));
        return Ok(found);
    }
    found.cells = cells(Rows::new(a, old)?, Rows::new(b, new)?)?;
    if !found.cells.is_empty() && rows_a <= ORDERED {
        found.reordered = sum(old)? == sum(new)?;
    }
    Ok(found)
}

/// The rows of a file, in pieces of any length that is asked for.
struct Rows<'a> {
    path: &'a Path,
    reader: ParquetRecordBatchReader,
    rest: Option<RecordBatch>,
}

impl<'a> Rows<'a> {
    fn new(builder: Builder, path: &'a Path) -> Result<Self> {
        let reader = guarded(path, || builder.with_batch_size(ROWS).build())?;
        Ok(Self { path, reader, rest: None })
    }

    /// What is decoded and not yet taken; nothing at the end.
    fn peek(&mut self) -> Result<Option<&RecordBatch>> {
        while self.rest.as_ref().is_none_or(|rest| rest.num_rows() == 0) {
            let reader = &mut self.reader;
            match guarded(self.path, || reader.next().transpose())? {
                Some(batch) => self.rest = Some(batch),
                None => return Ok(None),
            }
        }
        Ok(self.rest.as_ref())
    }

    fn take(&mut self, count: usize) -> Option<RecordBatch> {
        let rest = self.rest.take()?;
        self.rest = Some(rest.slice(count, rest.num_rows() - count));
        Some(rest.slice(0, count))
    }
}

fn cells(mut a: Rows<'_>, mut b: Rows<'_>) -> Result<Vec<Cells>> {
    let mut found: Vec<Option<Cells>> = Vec::new();
    let mut row = 0_u64;
    loop {
        let (have, other) = (a.peek()?.map(RecordBatch::num_rows), b.peek()?.map(RecordBatch::num_rows));
        let (Some(have), Some(other)) = (have, other) else { break };
        let count = have.min(other);
        let (Some(old), Some(new)) = (a.take(count), b.take(count)) else { break };
        found.resize(old.num_columns(), None);
        let schema = old.schema();
        for ((field, slot), (old, new)) in
            schema.fields().iter().zip(&mut found).zip(old.columns().iter().zip(new.columns()))
        {
            if old.to_data() == new.to_data() {
                continue;
            }
            let cells = slot.get_or_insert_with(|| Cells {
                column: field.name().clone(),
                count: 0,
                first: 0,
                spread: Some(Spread::default()),
            });
            column(cells, old, new, row);
        }
        row += count as u64;
    }
    Ok(found.into_iter().flatten().filter(|cells| cells.count > 0).collect())
}

/// Notes what differs in a piece of a column that begins at a row.
fn column(cells: &mut Cells, old: &ArrayRef, new: &ArrayRef, begin: u64) {
    for row in 0..old.len() {
        let both = old.is_valid(row) && new.is_valid(row);
        let mut spread = Spread::default();
        let differs = match old.data_type() {
            DataType::Float64 if both => {
                let (a, b) = (old.as_primitive::<Float64Type>(), new.as_primitive::<Float64Type>());
                spread.add(a.value(row), b.value(row));
                spread.count > 0
            }
            DataType::Float32 if both => {
                let (a, b) = (old.as_primitive::<Float32Type>(), new.as_primitive::<Float32Type>());
                spread.add_single(a.value(row), b.value(row));
                spread.count > 0
            }
            _ => old.slice(row, 1).to_data() != new.slice(row, 1).to_data(),
        };
        if !differs {
            continue;
        }
        if cells.count == 0 {
            cells.first = begin + row as u64 + 1;
        }
        cells.count += 1;
        match &mut cells.spread {
            Some(all) if spread.count > 0 => all.join(&spread),
            _ => cells.spread = None,
        }
    }
}

/// A sum over the rows that does not depend on their order.
fn sum(path: &Path) -> Result<u128> {
    let mut rows = Rows::new(builder(path)?, path)?;
    let mut sum = 0_u128;
    while let Some(batch) = rows.peek()?.cloned() {
        for row in records::of_batch(&batch) {
            let text = serde_json::to_string(&row).unwrap_or_default();
            let digest = Digest::of(text.as_bytes());
            let bytes = digest.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
            sum = sum.wrapping_add(u128::from_le_bytes(bytes));
        }
        rows.take(batch.num_rows());
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow_array::{Float64Array, StringArray};
    use arrow_schema::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn write(
        folder: &Path,
        name: &str,
        writer: &str,
        group: usize,
        numbers: &[f64],
        words: &[&str],
    ) -> PathBuf {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Float64, true),
            Field::new("w", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(numbers.to_vec())), Arc::new(StringArray::from(words.to_vec()))];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let place = folder.join(name);
        let properties = WriterProperties::builder()
            .set_created_by(writer.to_owned())
            .set_max_row_group_row_count(Some(group))
            .build();
        let file = std::fs::File::create(&place).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        place
    }

    #[test]
    fn the_writer_the_layout_the_rows_and_the_cells_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, writer: &str, group: usize, numbers: &[f64], words: &[&str]| {
            write(folder.path(), name, writer, group, numbers, words)
        };
        let base = make("a", "one 1", 100, &[0.1, 2.0, 3.0], &["x", "y", "z"]);
        let same = make("b", "two 2", 2, &[0.1, 2.0, 3.0], &["x", "y", "z"]);
        let found = parquet(&base, &same).unwrap();
        let writers = Some(("one 1".to_owned(), "two 2".to_owned()));
        assert_eq!(found, TableDifference { writers, ..TableDifference::default() });

        let near = make("c", "one 1", 2, &[0.1 + 1.4e-17, 2.0, 3.0], &["x", "y", "z"]);
        let found = parquet(&base, &near).unwrap();
        let spread = found.cells[0].spread.unwrap();
        assert_eq!((found.cells[0].count, found.cells[0].first, spread.ulps), (1, 1, 1));
        assert!(spread.relative < 2e-16 && !found.reordered);

        let turned = make("d", "one 1", 100, &[3.0, 0.1, 2.0], &["z", "x", "y"]);
        assert!(parquet(&base, &turned).unwrap().reordered);
        let word = make("e", "one 1", 100, &[0.1, 2.0, 3.0], &["x", "y", "q"]);
        let found = parquet(&base, &word).unwrap();
        assert_eq!((found.cells[0].column.as_str(), found.cells[0].first), ("w", 3));
        assert_eq!(found.cells[0].spread, None);
        let short = make("f", "one 1", 100, &[0.1], &["x"]);
        assert_eq!(parquet(&base, &short).unwrap().rows, Some((3, 1)));
        std::fs::write(folder.path().join("g"), "PAR1 and nothing more").unwrap();
        assert!(parquet(&base, &folder.path().join("g")).is_err());
    }

    #[test]
    fn the_distance_of_numbers_is_counted_in_what_can_be_written_between_them() {
        let of = |a: f64, b: f64| {
            let mut spread = Spread::default();
            spread.add(a, b);
            spread
        };
        assert_eq!(of(1.0, 1.0 + f64::EPSILON).ulps, 1);
        assert_eq!(of(-1.0, -1.0 - f64::EPSILON).ulps, 1);
        assert_eq!((of(0.0, -0.0).ulps, of(0.0, -0.0).count), (0, 1));
        assert_eq!(of(f64::NAN, f64::NAN).count, 0);
        assert!(of(1.0, f64::NAN).relative.is_infinite());
        let mut single = Spread::default();
        single.add_single(1.0, 1.0 + f32::EPSILON);
        single.add_single(-0.5, -0.5);
        assert_eq!((single.ulps, single.count), (1, 1));
    }
}
