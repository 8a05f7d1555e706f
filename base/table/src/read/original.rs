//! The rows of typed files as they stand there, for what hands rows on and looks at none of them.
//!
//! Every column keeps its arrow type and every value its bits: decimals, days, zones, keyed texts, narrow and
//! unsigned numbers, lists and structures. Text formats and workbooks have no such types; they are read
//! through [`super::TableReader`], and so is a folder whose files do not have the same types.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMillisecondType, TimestampSecondType};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Batches, Format, Layout, Source, files_of, format_of, ipc, parquet, places, scan};
use crate::error::{Result, TableError};

/// The schema and the batches, with the metadata of the first file; nothing when the source has no types of
/// its own.
///
/// # Errors
/// As [`super::open`].
pub(crate) fn open(source: Source<'_>) -> Result<Option<(SchemaRef, Batches)>> {
    let files = files_of(source.path, source.options)?;
    for file in &files {
        if !matches!(format_of(file, source.options)?, Format::Parquet | Format::Arrow) {
            return Ok(None);
        }
    }
    let mut joint: Option<Schema> = None;
    let mut parts = VecDeque::new();
    for file in files {
        let layout = scan(&file, source.options)?.layout;
        let found = match layout {
            Layout::Parquet => parquet::schema(&file)?,
            Layout::Arrow => ipc::schema(&file)?,
            Layout::Csv(_) | Layout::Json | Layout::Sheet => return Ok(None),
        };
        joint = match joint {
            None => Some(Schema::new_with_metadata(
                found.fields().iter().map(|field| storable(field)).collect::<Vec<_>>(),
                found.metadata().clone(),
            )),
            Some(joint) => match together(&joint, &found) {
                Some(joint) => Some(joint),
                None => return Ok(None),
            },
        };
        parts.push_back((file, layout));
    }
    let schema = Arc::new(joint.unwrap_or_else(Schema::empty));
    let originals = Originals { schema: Arc::clone(&schema), parts, current: None };
    Ok(Some((schema, Box::new(originals))))
}

/// A field as Parquet can hold it: it has no moments in whole seconds.
fn storable(field: &Field) -> Field {
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            field.clone().with_data_type(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))
        }
        _ => field.clone(),
    }
}

/// The schema of both, where the second has the same columns of the same types.
fn together(joint: &Schema, found: &Schema) -> Option<Schema> {
    if joint.fields().len() != found.fields().len() {
        return None;
    }
    let places = places(found.fields().iter().map(|field| field.name().as_str()));
    let field = |known: &Arc<Field>| {
        let other = storable(found.field(*places.get(known.name().as_str())?));
        let nullable = known.is_nullable() || other.is_nullable();
        (known.data_type() == other.data_type()).then(|| known.as_ref().clone().with_nullable(nullable))
    };
    let fields: Vec<Field> = joint.fields().iter().map(field).collect::<Option<_>>()?;
    Some(Schema::new_with_metadata(fields, joint.metadata().clone()))
}

struct Originals {
    schema: SchemaRef,
    /// Empty after the first error.
    parts: VecDeque<(PathBuf, Layout)>,
    current: Option<(PathBuf, Batches)>,
}

impl Originals {
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some((path, batches)) = &mut self.current else {
                let Some((path, layout)) = self.parts.pop_front() else { return Ok(None) };
                let batches = match layout {
                    Layout::Arrow => ipc::originals(&path)?,
                    _ => parquet::originals(&path)?,
                };
                self.current = Some((path, batches));
                continue;
            };
            match batches.next() {
                Some(batch) => return conform(&self.schema, &batch?, path).map(Some),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for Originals {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.step();
        if result.is_err() {
            (self.current, self.parts) = (None, VecDeque::new());
        }
        result.transpose()
    }
}

/// A part's batch with the columns of the schema, in its order.
fn conform(schema: &SchemaRef, batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    let found = batch.schema_ref();
    let places = places(found.fields().iter().map(|field| field.name().as_str()));
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let array = places.get(field.name().as_str()).map(|place| batch.column(*place));
        let array = array.ok_or_else(|| parquet::broken(path, "a batch lacks a column of its schema"))?;
        arrays.push(if array.data_type() == field.data_type() {
            Arc::clone(array)
        } else {
            milliseconds(array, field.data_type(), path)?
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
}

fn milliseconds(array: &ArrayRef, wanted: &DataType, path: &Path) -> Result<ArrayRef> {
    let (DataType::Timestamp(TimeUnit::Millisecond, zone), Some(seconds)) =
        (wanted, array.as_primitive_opt::<TimestampSecondType>())
    else {
        return Err(parquet::broken(path, "a batch has a column of another type than its schema"));
    };
    let far = || parquet::broken(path, "a moment lies too far away for milliseconds");
    let millis = seconds
        .try_unary::<_, TimestampMillisecondType, _>(|second| second.checked_mul(1000).ok_or_else(far))?;
    Ok(Arc::new(millis.with_timezone_opt(zone.clone())))
}
