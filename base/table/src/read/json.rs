//! JSON records: one object a line, or one array of objects, which has to be whole.
//!
//! A key that an object lacks is null there; a nested value is kept as its JSON text, or, where that is
//! wished, an object's values become columns `outer.inner`; a column whose values are of different kinds is
//! text.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use rondo_core::signature::{Column, ColumnType};
use serde_json::{Map, Value};

use super::canonical::arrow_type;
use super::csv::{ColumnBuilder, misfit};
use super::infer::Inferred;
use super::text::{self, Input};
use super::{BATCH_ROWS, Batches, Layout, Part, PartColumn, ReadOptions};
use crate::error::{Result, TableError};
use crate::moment;

/// One object may not be longer: an unclosed brace would otherwise take the whole file into memory.
const MAX_OBJECT_BYTES: usize = 64 * 1024 * 1024;

/// Reads the whole file once: names, types, rows, and every fault of its form.
pub(super) fn scan(path: &Path, options: &ReadOptions) -> Result<Part> {
    let mut objects = Objects::open(path, options)?;
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<(PartColumn, u64)> = Vec::new();
    let mut rows = 0;
    while let Some((line, object)) = objects.next_object()? {
        rows += 1;
        for (key, value) in object {
            let at = *index.entry(key.clone()).or_insert_with(|| {
                let column =
                    PartColumn { name: key, inferred: Inferred::Empty, carried: None, nullable: false };
                columns.push((column, 0));
                columns.len() - 1
            });
            // Invariant: every index that is handed out is that of an entry just pushed or found.
            if let Some((column, values)) = columns.get_mut(at)
                && !value.is_null()
            {
                *values += 1;
                if let Some(kind) = options.types.get(&column.name) {
                    if !push(&mut ColumnBuilder::new(*kind), Some(&value)) {
                        let reason = misfit(&value.to_string(), &column.name, *kind);
                        return Err(TableError::line(path, line, reason));
                    }
                    column.inferred = Inferred::Known(*kind);
                    continue;
                }
                let kind = match value {
                    Value::String(_) if options.verbatim => ColumnType::String,
                    _ => type_of(&value),
                };
                column.inferred = column.inferred.widen(Inferred::Known(kind));
            }
        }
    }
    if rows == 0 {
        return Err(TableError::EmptyFile { path: path.to_owned() });
    }
    if let Some(column) = options.types.keys().find(|column| !index.contains_key(*column)) {
        let known = index.keys().map(String::as_str);
        return Err(TableError::no_column(column, format!("`{}`", path.display()), known));
    }
    let columns = columns
        .into_iter()
        .map(|(column, values)| PartColumn { nullable: values < rows, ..column })
        .collect();
    Ok(Part { path: path.to_owned(), layout: Layout::Json, columns, rows })
}

/// The narrowest type of a value; of null it says nothing.
pub(crate) fn type_of(value: &Value) -> ColumnType {
    match value {
        Value::Bool(_) => ColumnType::Boolean,
        Value::Number(number) if number.is_i64() => ColumnType::Integer,
        // A whole number of more than 64 bits with a sign is kept digit by digit.
        Value::Number(number) if number.is_u64() => ColumnType::String,
        Value::Number(_) => ColumnType::Number,
        Value::String(text) if moment::parse(text).is_some() => ColumnType::Timestamp,
        Value::String(_) | Value::Array(_) | Value::Object(_) | Value::Null => ColumnType::String,
    }
}

/// The batches of the wanted columns, with the types that the table has settled on.
pub(super) fn batches(path: &Path, wanted: &[Column], options: &ReadOptions) -> Result<Batches> {
    let fields: Vec<Field> =
        wanted.iter().map(|column| Field::new(&column.name, arrow_type(column.column_type), true)).collect();
    Ok(Box::new(JsonBatches {
        objects: Objects::open(path, options)?,
        columns: wanted.to_vec(),
        schema: Arc::new(Schema::new(fields)),
        ended: false,
    }))
}

struct JsonBatches {
    objects: Objects,
    columns: Vec<Column>,
    schema: SchemaRef,
    ended: bool,
}

impl JsonBatches {
    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|column| ColumnBuilder::new(column.column_type)).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            let Some((line, object)) = self.objects.next_object()? else {
                self.ended = true;
                break;
            };
            for (column, builder) in self.columns.iter().zip(&mut builders) {
                if !push(builder, object.get(&column.name)) {
                    let reason = format!(
                        "the value of `{}` is no {}: the file changed while it was read",
                        column.name,
                        column.column_type.text()
                    );
                    return Err(TableError::line(&self.objects.path, line, reason));
                }
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
    }
}

impl Iterator for JsonBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = self.read_batch();
        self.ended |= result.is_err();
        result.transpose()
    }
}

fn push(builder: &mut ColumnBuilder, value: Option<&Value>) -> bool {
    match (builder, value) {
        (builder, None | Some(Value::Null)) => {
            builder.push_null();
            true
        }
        (ColumnBuilder::Integer(builder), Some(value)) => {
            value.as_i64().map(|value| builder.append_value(value)).is_some()
        }
        (ColumnBuilder::Number(builder), Some(value)) => {
            value.as_f64().map(|value| builder.append_value(value)).is_some()
        }
        (ColumnBuilder::Boolean(builder), Some(value)) => {
            value.as_bool().map(|value| builder.append_value(value)).is_some()
        }
        (builder, Some(Value::String(text))) => builder.push(text),
        (ColumnBuilder::Text(builder), Some(value)) => {
            builder.append_value(value.to_string());
            true
        }
        (ColumnBuilder::Moment(_), Some(_)) => false,
    }
}

/// The values of objects in objects under the names of all that they lie in. An empty object is a value.
///
/// # Errors
/// The name that two of them have.
fn flatten(flat: &mut Map<String, Value>, prefix: &str, object: Map<String, Value>) -> Result<(), String> {
    for (key, value) in object {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(flat, &name, inner)?,
            other => {
                if flat.contains_key(&name) {
                    return Err(name);
                }
                flat.insert(name, other);
            }
        }
    }
    Ok(())
}

/// The top-level objects of a file, cut out by their braces: those of one array, or one after another.
struct Objects {
    path: PathBuf,
    options: ReadOptions,
    reader: BufReader<Input>,
    line: u64,
    buffer: Vec<u8>,
    between: Between,
}

/// Between which objects the reader is, and so what may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Nothing has come.
    Start,
    /// No array: objects follow each other.
    Lines,
    /// In an array that has no object yet.
    Opened,
    /// In an array, behind an object.
    Object,
    /// In an array, behind a comma.
    Comma,
    /// Behind an array.
    Closed,
}

impl Between {
    /// After a byte that begins no object's inside, or why it cannot stand there.
    fn after(self, byte: u8) -> std::result::Result<Self, &'static str> {
        match (self, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') | (Self::Start, 0xef | 0xbb | 0xbf) => Ok(self),
            (Self::Start, b'[') => Ok(Self::Opened),
            (Self::Start | Self::Lines, b'{') | (Self::Lines, b',') => Ok(Self::Lines),
            (Self::Opened | Self::Comma, b'{') => Ok(Self::Object),
            (Self::Object, b',') => Ok(Self::Comma),
            (Self::Opened | Self::Object, b']') => Ok(Self::Closed),
            (Self::Object, b'{') => Err("a comma is missing between two records of the array"),
            (Self::Comma, b']') => Err("a comma stands at the end of the array, and no record after it"),
            (Self::Closed, _) => Err("something stands behind the end of the array"),
            (_, _) => Err("expected a JSON object, such as {\"column\": 1}"),
        }
    }

    /// Whether a file may end here.
    const fn may_end(self) -> bool {
        match self {
            Self::Start | Self::Lines | Self::Closed => true,
            Self::Opened | Self::Object | Self::Comma => false,
        }
    }
}

impl Objects {
    fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let reader = BufReader::new(text::open(path, options)?);
        let line = 1 + u64::from(options.skip);
        let (path, options) = (path.to_owned(), options.clone());
        Ok(Self { path, options, reader, line, buffer: Vec::new(), between: Between::Start })
    }

    /// The next object with the line where it begins.
    fn next_object(&mut self) -> Result<Option<(u64, Map<String, Value>)>> {
        let Some(line) = self.cut()? else { return Ok(None) };
        let record =
            std::str::from_utf8(&self.buffer).map_err(|_| text::not_utf8(&self.path, &self.options, line))?;
        match serde_json::from_str(record) {
            Ok(object) if self.options.flatten => {
                let mut flat = Map::new();
                flatten(&mut flat, "", object).map_err(|name| {
                    TableError::line(&self.path, line, format!("the record has two values of `{name}`"))
                })?;
                Ok(Some((line, flat)))
            }
            Ok(object) => Ok(Some((line, object))),
            Err(error) => {
                Err(TableError::line(&self.path, line, format!("the record is not valid JSON: {error}")))
            }
        }
    }

    /// Fills the buffer with the next object; the line where it begins, or nothing at the end.
    fn cut(&mut self) -> Result<Option<u64>> {
        self.buffer.clear();
        let mut begins = None;
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        loop {
            let line = begins.unwrap_or(self.line);
            let chunk = self.reader.fill_buf().map_err(|error| text::fault(&self.path, line, error))?;
            if chunk.is_empty() {
                return match begins {
                    None if self.between.may_end() => Ok(None),
                    None => {
                        let reason = "the array does not end: the file is cut short";
                        Err(TableError::line(&self.path, self.line, reason))
                    }
                    Some(line) => Err(TableError::line(&self.path, line, "the record does not end")),
                };
            }
            let mut used = 0;
            let mut complete = false;
            for byte in chunk {
                used += 1;
                if *byte == b'\n' {
                    self.line += 1;
                }
                if begins.is_none() {
                    self.between = self
                        .between
                        .after(*byte)
                        .map_err(|reason| TableError::line(&self.path, self.line, reason))?;
                    if *byte == b'{' {
                        begins = Some(self.line);
                        depth = 1;
                        self.buffer.push(*byte);
                    }
                    continue;
                }
                self.buffer.push(*byte);
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_text => escaped = true,
                    b'"' => in_text = !in_text,
                    b'{' if !in_text => depth += 1,
                    b'}' if !in_text => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    complete = true;
                    break;
                }
            }
            self.reader.consume(used);
            if complete {
                return Ok(begins);
            }
            if self.buffer.len() > MAX_OBJECT_BYTES {
                let line = begins.unwrap_or(self.line);
                return Err(TableError::line(&self.path, line, "the record is longer than 64 MB"));
            }
        }
    }
}
