//! Arrow's own files and streams (Feather of version 2 is such a file).
//!
//! The messages are walked first: that counts the rows, and refuses lengths beyond the file before
//! anything is allocated for them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::{MessageHeader, RecordBatch as RecordBatchHeader, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

use super::canonical;
use super::{Batches, Layout, Part, parquet};
use crate::error::{Result, TableError};

const MAGIC: &[u8; 6] = b"ARROW1";
/// The description of one batch may not be longer.
const LONGEST_HEADER: usize = 64 << 20;
/// No compressed buffer may become longer.
const LONGEST_BUFFER: u64 = 1 << 31;
/// No batch's compressed buffers may become longer together.
const LONGEST_BATCH: u64 = 1 << 32;
/// No compression that Arrow knows makes a buffer shorter than by this.
const MOST_COMPRESSED: u64 = 65_536;
const DAMAGED: &str = "a batch of it is damaged";

/// Whether the first bytes are those of an Arrow file or stream.
pub(super) fn is_arrow(head: &[u8]) -> bool {
    head.starts_with(MAGIC) || head.starts_with(&[0xff; 4]) && head.len() >= 8
}

/// Walks through the messages.
pub(super) fn scan(path: &Path) -> Result<Part> {
    let rows = guarded(path, || count(path))?;
    let reader = guarded(path, || Stream::open(path, None))?;
    let columns = parquet::part_columns(&reader.schema());
    Ok(Part { path: path.to_owned(), layout: Layout::Arrow, columns, rows })
}

/// The batches of a file, of the wanted columns only.
pub(super) fn batches(path: &Path, wanted: &[&str], exact: bool) -> Result<Batches> {
    let schema = schema(path)?;
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let fields = schema.fields().iter().enumerate();
    let indices = fields.filter(|(_, field)| wanted.contains(field.name().as_str()));
    let indices = indices.map(|(index, _)| index).collect();
    let stream = guarded(path, || Stream::open(path, Some(indices)))?;
    let form = if exact { canonical::batch_exact } else { canonical::batch };
    Ok(Box::new(ArrowBatches { path: path.to_owned(), stream: Some(stream), rest: None, form }))
}

/// The columns of a file as it has them.
pub(super) fn schema(path: &Path) -> Result<SchemaRef> {
    Ok(guarded(path, || Stream::open(path, None))?.schema())
}

/// The batches of a file as it has them.
pub(super) fn originals(path: &Path) -> Result<Batches> {
    let stream = guarded(path, || Stream::open(path, None))?;
    let form = |batch: &RecordBatch, _: &Path| Ok(batch.clone());
    Ok(Box::new(ArrowBatches { path: path.to_owned(), stream: Some(stream), rest: None, form }))
}

enum Stream {
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

impl Stream {
    fn open(path: &Path, projection: Option<Vec<usize>>) -> Result<Self, ArrowError> {
        let mut file = File::open(path)?;
        let mut head = [0; 6];
        let is_file = file.read_exact(&mut head).is_ok() && head == *MAGIC;
        file.rewind()?;
        let file = BufReader::new(file);
        Ok(if is_file {
            Self::File(Box::new(FileReader::try_new(file, projection)?))
        } else {
            Self::Stream(Box::new(StreamReader::try_new(file, projection)?))
        })
    }

    fn schema(&self) -> SchemaRef {
        match self {
            Self::File(reader) => reader.schema(),
            Self::Stream(reader) => reader.schema(),
        }
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Self::File(reader) => reader.next(),
            Self::Stream(reader) => reader.next(),
        }
    }
}

struct ArrowBatches {
    path: PathBuf,
    /// Gone after the first error.
    stream: Option<Stream>,
    /// What is left of a batch that is longer than batches are here.
    rest: Option<RecordBatch>,
    /// What is made of a batch as it is read.
    form: fn(&RecordBatch, &Path) -> Result<RecordBatch>,
}

impl ArrowBatches {
    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let Some(stream) = self.stream.as_mut() else { return Ok(None) };
                match guarded(&self.path, || stream.next().transpose())? {
                    Some(batch) => batch,
                    None => return Ok(None),
                }
            }
        };
        let most = super::BATCH_ROWS;
        if batch.num_rows() > most {
            self.rest = Some(batch.slice(most, batch.num_rows() - most));
            return (self.form)(&batch.slice(0, most), &self.path).map(Some);
        }
        (self.form)(&batch, &self.path).map(Some)
    }
}

impl Iterator for ArrowBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read_batch();
        if result.is_err() {
            (self.stream, self.rest) = (None, None);
        }
        result.transpose()
    }
}

/// The rows of a file, by the headers of its batches.
fn count(path: &Path) -> Result<u64, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut file = BufReader::new(File::open(path).map_err(text)?);
    let size = file.seek(SeekFrom::End(0)).map_err(text)?;
    file.rewind().map_err(text)?;
    let mut head = [0; 6];
    if file.read_exact(&mut head).is_ok() && head == *MAGIC {
        return count_file(&mut file, size);
    }
    file.rewind().map_err(text)?;
    count_stream(&mut file, size)
}

fn count_file(file: &mut BufReader<File>, size: u64) -> Result<u64, String> {
    let cut = || "it is cut short".to_owned();
    let end = size.checked_sub(10).ok_or_else(cut)?;
    file.seek(SeekFrom::Start(end)).map_err(|error| error.to_string())?;
    let mut tail = [0; 10];
    file.read_exact(&mut tail).map_err(|_| cut())?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic != *MAGIC {
        return Err(cut());
    }
    let length = u64::try_from(i32::from_le_bytes([a, b, c, d])).map_err(|_| "its footer is damaged")?;
    let footer = read_at(file, end.checked_sub(length).ok_or_else(cut)?, length)?;
    let footer = root_as_footer(&footer).map_err(|error| error.to_string())?;
    let mut rows = 0_u64;
    let dictionaries = footer.dictionaries().into_iter().flatten();
    let batches = footer.recordBatches().into_iter().flatten();
    for (block, counted) in dictionaries.map(|b| (b, false)).chain(batches.map(|b| (b, true))) {
        let number = |number: i64| u64::try_from(number).map_err(|_| "its footer is damaged".to_owned());
        let (at, header) = (number(block.offset())?, number(i64::from(block.metaDataLength()))?);
        let body = number(block.bodyLength())?;
        if at.checked_add(header).and_then(|end| end.checked_add(body)).is_none_or(|end| end > size) {
            return Err(cut());
        }
        let bytes = read_at(file, at, header)?;
        let message = bytes.strip_prefix(&[0xff; 4]).unwrap_or(&bytes).get(4..).unwrap_or_default();
        let (counts, told) = header_of(message, file, at + header)?;
        if told > body {
            return Err(cut());
        }
        rows = rows.saturating_add(if counted { counts } else { 0 });
    }
    Ok(rows)
}

fn count_stream(file: &mut BufReader<File>, size: u64) -> Result<u64, String> {
    let cut = || "it is cut short".to_owned();
    let (mut at, mut rows) = (0_u64, 0_u64);
    while at < size {
        let mut lead = [0; 4];
        file.read_exact(&mut lead).map_err(|_| cut())?;
        at += 4;
        if lead == [0xff; 4] {
            file.read_exact(&mut lead).map_err(|_| cut())?;
            at += 4;
        }
        let length = u64::from(u32::from_le_bytes(lead));
        if length == 0 {
            break;
        }
        let message = read_at(file, at, length)?;
        let (counts, body) = header_of(&message, file, at.checked_add(length).ok_or_else(cut)?)?;
        at = at
            .checked_add(length)
            .and_then(|at| at.checked_add(body))
            .filter(|at| *at <= size)
            .ok_or_else(cut)?;
        rows = rows.saturating_add(counts);
        file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
    }
    if at == 0 { Err(cut()) } else { Ok(rows) }
}

fn read_at(file: &mut BufReader<File>, at: u64, length: u64) -> Result<Vec<u8>, String> {
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST_HEADER);
    let length = length.ok_or_else(|| "a header of it is longer than 64 MB".to_owned())?;
    file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() == length { Ok(bytes) } else { Err("it is cut short".to_owned()) }
}

/// The rows and the bytes that follow a message, which begin at a place of the file.
fn header_of(message: &[u8], file: &mut BufReader<File>, at: u64) -> Result<(u64, u64), String> {
    let message = root_as_message(message).map_err(|error| error.to_string())?;
    let body = number(message.bodyLength())?;
    let (batch, counted) = match message.header_type() {
        MessageHeader::RecordBatch => (message.header_as_record_batch(), true),
        MessageHeader::DictionaryBatch => {
            (message.header_as_dictionary_batch().and_then(|batch| batch.data()), false)
        }
        _ => (None, false),
    };
    let Some(batch) = batch else { return Ok((0, body)) };
    let rows = number(batch.length())?;
    // A column of nothing has no bytes, but a batch of nothing has no end of rows either.
    if rows > body.saturating_mul(1 << 18).saturating_add(1 << 20) {
        return Err(format!("a batch of it claims {rows} rows and has {body} bytes"));
    }
    if batch.compression().is_some() {
        unpacked(&batch, file, at, body)?;
    }
    Ok((if counted { rows } else { 0 }, body))
}

/// Refuses a batch whose compressed buffers claim to be longer than they can be: what they claim is
/// allocated before it is read.
fn unpacked(
    batch: &RecordBatchHeader<'_>,
    file: &mut BufReader<File>,
    at: u64,
    body: u64,
) -> Result<(), String> {
    let mut all = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (number(buffer.offset())?, number(buffer.length())?);
        if length == 0 {
            continue;
        }
        if length < 8 || offset.checked_add(length).is_none_or(|end| end > body) {
            return Err(DAMAGED.to_owned());
        }
        let place = at.checked_add(offset).ok_or(DAMAGED)?;
        file.seek(SeekFrom::Start(place)).map_err(|error| error.to_string())?;
        let mut claimed = [0; 8];
        file.read_exact(&mut claimed).map_err(|_| "it is cut short".to_owned())?;
        let claimed = match i64::from_le_bytes(claimed) {
            // It is not compressed after all.
            -1 => length - 8,
            claimed => number(claimed)?,
        };
        all = all.saturating_add(claimed);
        let longest = LONGEST_BUFFER.min((length - 8).saturating_mul(MOST_COMPRESSED));
        if claimed > longest || all > LONGEST_BATCH {
            return Err(format!("a compressed part of {length} bytes claims to be {claimed} bytes long"));
        }
    }
    Ok(())
}

fn number(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| DAMAGED.to_owned())
}

fn guarded<T, E: std::fmt::Display>(path: &Path, decode: impl FnOnce() -> Result<T, E>) -> Result<T> {
    parquet::guarded(path, decode).map_err(|error| match error {
        TableError::Parquet { path, reason } => TableError::Unreadable { path, kind: "Arrow file", reason },
        other => other,
    })
}
