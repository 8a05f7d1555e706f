//! The tables that rules are asked of: the one that is checked, and what lies beyond it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema};
use rondo_core::signature::Column;

use super::layout::Named;
use super::rule::Other;
use crate::error::{Result, TableError};
use crate::profile::Profile;
use crate::read::{self, ReadOptions, TableReader};

/// Record batches, one after the other.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>;

/// A table that can be read more than once.
pub trait Table {
    /// Its columns.
    fn columns(&self) -> &[Column];

    /// Its rows.
    fn rows(&self) -> u64;

    /// Its batches with these columns, from the first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn batches(&self, names: &[&str]) -> Result<Batches<'_>>;
}

/// A file or folder.
#[derive(Debug)]
pub struct FileTable {
    options: ReadOptions,
    path: PathBuf,
    columns: Vec<Column>,
    rows: u64,
    /// What the first look has opened, for the first who reads.
    opened: Mutex<Option<TableReader>>,
}

impl FileTable {
    /// Of a reader that has not been read from, and the options that it was opened with.
    pub fn new(reader: TableReader, options: ReadOptions) -> Self {
        Self {
            options,
            path: reader.path().to_owned(),
            columns: reader.columns().to_vec(),
            rows: reader.rows(),
            opened: Mutex::new(Some(reader)),
        }
    }

    /// Opens a file or folder.
    ///
    /// # Errors
    /// When it is no table.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        Ok(Self::new(read::open_with(path, options)?, options.clone()))
    }
}

impl Table for FileTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn batches(&self, names: &[&str]) -> Result<Batches<'_>> {
        let opened = self.opened.lock().ok().and_then(|mut opened| opened.take());
        let reader = match opened {
            Some(reader) => reader,
            None => read::open_with(&self.path, &self.options)?,
        };
        Ok(Box::new(reader.select(names)?.exactly()))
    }
}

/// Batches that are in memory, all of the same columns.
#[derive(Debug)]
pub struct MemoryTable {
    columns: Vec<Column>,
    batches: Vec<RecordBatch>,
}

impl MemoryTable {
    /// Of batches of any types.
    ///
    /// # Errors
    /// When a value has no canonical form.
    pub fn new(columns: Vec<Column>, batches: &[RecordBatch]) -> Result<Self> {
        let batches = batches.iter().map(read::canonical).collect::<Result<_>>()?;
        Ok(Self { columns, batches })
    }
}

impl Table for MemoryTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    fn batches(&self, names: &[&str]) -> Result<Batches<'_>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Box::new(self.batches.iter().map(move |batch| only(&Named::new(batch), &names, None))))
    }
}

/// Another table, or its profile.
pub enum Opened {
    /// A table.
    Table(Box<dyn Table>),
    /// A profile, of which drift can be told.
    Profile(Box<Profile>),
}

/// What lies beyond the table: other tables, and an engine for SQL.
pub trait Beyond {
    /// Another table.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn open(&self, other: &Other) -> Result<Opened, String>;

    /// The rows of a statement in which the checked table is called `data`.
    ///
    /// # Errors
    /// Why there are none, in words.
    fn sql(&self, query: &str, tables: &BTreeMap<String, Other>) -> Result<Opened, String>;
}

/// Nothing lies beyond.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Beyond for Alone {
    fn open(&self, other: &Other) -> Result<Opened, String> {
        Err(format!("`{other}` is not known here"))
    }

    fn sql(&self, _: &str, _: &BTreeMap<String, Other>) -> Result<Opened, String> {
        Err("there is no engine for SQL here".to_owned())
    }
}

/// Some columns and rows of a batch.
pub(super) fn only(batch: &Named<'_>, names: &[String], rows: Option<&[u32]>) -> Result<RecordBatch> {
    let fault = |error: arrow_schema::ArrowError| TableError::Batch {
        what: "choose rows",
        reason: error.to_string(),
    };
    let chosen = rows.map(|rows| UInt32Array::from(rows.to_vec()));
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for name in names {
        let Some(array) = batch.array(name) else { continue };
        let array = match &chosen {
            Some(chosen) => arrow_select::take::take(array, chosen, None).map_err(fault)?,
            None => Arc::clone(array),
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let count = rows.map_or(batch.num_rows(), <[u32]>::len);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(fault)
}
