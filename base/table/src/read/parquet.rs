//! Parquet: the footer tells columns and rows; batches are decoded as they are asked for, from pages that
//! claim no more than they can hold ([`pages`]).

mod pages;

use std::collections::HashSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Encoding;
use rondo_core::signature::ColumnType;

use self::pages::Pages;
use super::canonical::{self, column_type};
use super::infer::Inferred;
use super::{BATCH_ROWS, Batches, Layout, Part, PartColumn};
use crate::error::{Result, TableError};

/// What a file's batches are asked from.
pub(crate) type Builder = ParquetRecordBatchReaderBuilder<Pages>;

/// Reads the footer.
pub(super) fn scan(path: &Path) -> Result<Part> {
    let builder = builder(path)?;
    let rows = builder.metadata().file_metadata().num_rows();
    let columns = part_columns(builder.schema());
    let rows = u64::try_from(rows).map_err(|_| broken(path, "the row count is negative"))?;
    Ok(Part { path: path.to_owned(), layout: Layout::Parquet, columns, rows })
}

/// The columns of a typed file.
pub(super) fn part_columns(schema: &Schema) -> Vec<PartColumn> {
    let column = |field: &Arc<Field>| {
        let column_type = column_type(field.data_type());
        let empty = field.data_type() == &DataType::Null;
        PartColumn {
            name: field.name().clone(),
            inferred: if empty { Inferred::Empty } else { Inferred::Known(column_type) },
            carried: (column_type == ColumnType::Other).then(|| field.data_type().clone()),
            nullable: field.is_nullable(),
        }
    };
    schema.fields().iter().map(column).collect()
}

/// The batches of a file, of the wanted columns only; with texts by keys where the file has them so.
pub(super) fn batches(path: &Path, wanted: &[&str], keys: bool, exact: bool) -> Result<Batches> {
    let builder = if keys { keyed(path, builder(path)?)? } else { builder(path)? };
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let roots: Vec<usize> = builder
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| wanted.contains(field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = guarded(path, || builder.with_projection(mask).with_batch_size(BATCH_ROWS).build())?;
    let form: Form = match (keys, exact) {
        (false, false) => canonical::batch,
        (true, false) => canonical::batch_with_keys,
        (false, true) => canonical::batch_exact,
        (true, true) => canonical::batch_exact_with_keys,
    };
    Ok(Box::new(ParquetBatches { path: path.to_owned(), reader: Some(reader), form }))
}

/// The columns of a file as it has them.
pub(super) fn schema(path: &Path) -> Result<SchemaRef> {
    builder(path).map(|builder| Arc::clone(builder.schema()))
}

/// The batches of a file as it has them.
pub(super) fn originals(path: &Path) -> Result<Batches> {
    let builder = builder(path)?;
    let reader = guarded(path, || builder.with_batch_size(BATCH_ROWS).build())?;
    let form: Form = |batch, _| Ok(batch.clone());
    Ok(Box::new(ParquetBatches { path: path.to_owned(), reader: Some(reader), form }))
}

/// What is made of a batch as it is read.
type Form = fn(&RecordBatch, &Path) -> Result<RecordBatch>;

/// Asks for the texts of each column by keys that the file holds by keys on all of its pages: then a value
/// is decoded once and not once a row.
fn keyed(path: &Path, builder: Builder) -> Result<Builder> {
    let by_keys = |index: usize| {
        let groups = builder.metadata().row_groups();
        !groups.is_empty()
            && groups.iter().all(|group| {
                let chunk = group.columns().get(index);
                let pages = chunk.and_then(|chunk| chunk.page_encoding_stats_mask());
                pages.is_some_and(|mask| {
                    mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
                })
            })
    };
    let schema = builder.schema();
    // Only of flat tables is the place of a column that of its pages.
    if builder.parquet_schema().num_columns() != schema.fields().len() {
        return Ok(builder);
    }
    let texts = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut changed = false;
    let fields: Vec<Arc<Field>> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            if *field.data_type() != DataType::Utf8 || !by_keys(index) {
                return Arc::clone(field);
            }
            changed = true;
            Arc::new(field.as_ref().clone().with_data_type(texts.clone()))
        })
        .collect();
    if !changed {
        return Ok(builder);
    }
    let options = ArrowReaderOptions::new()
        .with_schema(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())));
    builder_with(path, options)
}

struct ParquetBatches {
    path: PathBuf,
    /// Gone after the first error.
    reader: Option<ParquetRecordBatchReader>,
    form: Form,
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let form = self.form;
        let reader = self.reader.as_mut()?;
        let result = guarded(&self.path, || reader.next().transpose())
            .and_then(|batch| batch.map(|batch| form(&batch, &self.path)).transpose());
        if result.is_err() {
            self.reader = None;
        }
        result.transpose()
    }
}

/// Opens a file and reads its footer.
pub(crate) fn builder(path: &Path) -> Result<Builder> {
    builder_with(path, ArrowReaderOptions::new())
}

fn builder_with(path: &Path, options: ArrowReaderOptions) -> Result<Builder> {
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    let metadata = guarded(path, || ArrowReaderMetadata::load(&file, options))?;
    let pages = Pages::new(file, metadata.metadata());
    Ok(Builder::new_with_metadata(pages, metadata))
}

/// Runs the decoder; one that panics on damaged bytes is an error like any other.
pub(crate) fn guarded<T, E: std::fmt::Display>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    // The reader is dropped after a panic, so that no half-changed state is looked at again.
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(broken(path, &error.to_string())),
        Err(_) => Err(broken(path, "its pages are damaged")),
    }
}

pub(super) fn broken(path: &Path, reason: &str) -> TableError {
    // What the libraries put before their reasons says nothing more.
    let said = ["Parquet argument error: ", "Parquet error: ", "External: "];
    let reason = said.iter().fold(reason, |reason, said| reason.strip_prefix(said).unwrap_or(reason));
    TableError::Parquet { path: path.to_owned(), reason: reason.to_owned() }
}
