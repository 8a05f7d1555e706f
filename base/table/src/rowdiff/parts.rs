//! Rows dealt out by the hash of their keys, in small buffers that overflow into temporary files.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::cells::Layout;
use crate::error::{Result, TableError};
use crate::read::TableReader;

/// Into so many parts rows are dealt.
const PARTS: usize = 64;
/// So many bytes of a part wait in memory.
const BUFFER: usize = 256 << 10;

/// The rows of one side.
pub(super) struct Dealt {
    pub(super) parts: Vec<Part>,
    /// How often they were dealt before.
    pub(super) level: u32,
}

/// Some of them.
pub(super) struct Part {
    scratch: PathBuf,
    buffer: Vec<u8>,
    file: Option<File>,
    /// All bytes of it.
    pub(super) bytes: u64,
}

impl Dealt {
    pub(super) fn new(scratch: &Path, level: u32) -> Self {
        let part = |_| Part { scratch: scratch.to_owned(), buffer: Vec::new(), file: None, bytes: 0 };
        Self { parts: (0..PARTS).map(part).collect(), level }
    }

    /// Deals out the rows of a table: how many there are.
    pub(super) fn fill(&mut self, reader: TableReader, layout: &Layout) -> Result<u64> {
        let mut rows = 0;
        let mut bytes = Vec::new();
        for batch in reader {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                bytes.clear();
                let end = layout.encode(batch.columns(), row, &mut bytes);
                let (key, values) = bytes.split_at(end.min(bytes.len()));
                self.put(key, values)?;
            }
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }

    /// Deals out the rows of a part.
    pub(super) fn refill(&mut self, part: Part) -> Result<()> {
        let mut records = part.records()?;
        while let Some((key, values)) = records.next()? {
            self.put(key, values)?;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], values: &[u8]) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        hasher.write_u32(self.level);
        hasher.write(key);
        let place = (hasher.finish() % PARTS as u64) as usize;
        match self.parts.get_mut(place) {
            Some(part) => part.put(key, values),
            None => Ok(()),
        }
    }
}

impl Part {
    fn put(&mut self, key: &[u8], values: &[u8]) -> Result<()> {
        let length = |bytes: &[u8]| {
            let long = || TableError::Batch { what: "compare rows", reason: "a row is over 4 GB".into() };
            u32::try_from(bytes.len()).map_err(|_| long())
        };
        self.buffer.extend(length(key)?.to_le_bytes());
        self.buffer.extend(length(values)?.to_le_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(values);
        self.bytes += 8 + key.len() as u64 + values.len() as u64;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let io = |error| TableError::io(&self.scratch, error);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.scratch).map_err(io)?),
        };
        file.write_all(&self.buffer).map_err(io)?;
        self.buffer.clear();
        Ok(())
    }

    /// Its rows, in the order in which they came.
    pub(super) fn records(mut self) -> Result<Records> {
        let source: Box<dyn Read> = match self.file.is_some() {
            false => Box::new(Cursor::new(std::mem::take(&mut self.buffer))),
            true => {
                self.flush()?;
                let mut file = self.file.take().ok_or_else(|| {
                    TableError::io(&self.scratch, std::io::Error::other("a temporary file is gone"))
                })?;
                file.rewind().map_err(|error| TableError::io(&self.scratch, error))?;
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
        };
        Ok(Records { source, scratch: self.scratch, left: self.bytes, bytes: Vec::new() })
    }
}

/// The rows of a part.
pub(super) struct Records {
    source: Box<dyn Read>,
    scratch: PathBuf,
    left: u64,
    bytes: Vec<u8>,
}

impl Records {
    /// The key and the values of the next one.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut lengths = [0_u8; 8];
        self.source.read_exact(&mut lengths).map_err(|error| TableError::io(&self.scratch, error))?;
        let [a, b, c, d, e, f, g, h] = lengths;
        let (key, values) =
            (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
        self.bytes.resize(key + values, 0);
        self.source.read_exact(&mut self.bytes).map_err(|error| TableError::io(&self.scratch, error))?;
        self.left = self.left.saturating_sub(8 + (key + values) as u64);
        Ok(Some(self.bytes.split_at(key)))
    }
}
