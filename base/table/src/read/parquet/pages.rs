//! A file whose pages claim no more than they can hold.
//!
//! The decoder takes memory for a page as its header asks, up to two gigabytes, before it has unpacked a
//! byte. So each header is read here first, and held against what its packed bytes can grow to by the
//! file's compression: a bound that no writer's page comes near and that a damaged length oversteps. What is
//! within it is the decoder's affair.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

/// Allowed beside the growth: lengths and magic numbers at the head of packed bytes.
const SLACK: u64 = 64;

/// Structures in a page's header lie in each other at most twice; more is another format.
const DEEPEST: u8 = 4;

/// The file, as the decoder reads it.
pub(crate) struct Pages {
    file: File,
    length: u64,
    /// What one packed byte can become, by the most generous compression in the file.
    growth: u64,
    /// Where each piece of a column begins, in order, for the errors.
    columns: Vec<(u64, String)>,
}

impl Pages {
    pub(super) fn new(file: File, metadata: &ParquetMetaData) -> Self {
        let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
        let growth = chunks().map(|chunk| growth(chunk.compression())).max().unwrap_or(1);
        // A file without compression is copied as it is: what its pages claim is not asked for.
        let columns = if growth == 1 { Vec::new() } else { starts(metadata) };
        let length = file.len();
        Self { file, length, growth, columns }
    }

    fn check(&self, start: u64, reader: &mut BufReader<File>) -> Result<()> {
        let place = || {
            let after = self.columns.partition_point(|(begin, _)| *begin <= start);
            match after.checked_sub(1).and_then(|at| self.columns.get(at)) {
                Some((_, column)) => format!("the page at byte {start}, of column `{column}`,"),
                None => format!("the page at byte {start}"),
            }
        };
        let mut header = Header { from: reader, read: 0 };
        let claim = match header.claim() {
            Ok(claim) => claim,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ParquetError::General(format!("{} has a damaged header", place())));
            }
            Err(error) => return Err(error.into()),
        };
        let read = header.read;
        let most = claim.packed.saturating_mul(self.growth).saturating_add(SLACK);
        if claim.unpacked > most {
            return Err(ParquetError::General(format!(
                "{} claims to hold {} bytes in {}, which unpack to at most {most}",
                place(),
                claim.unpacked,
                claim.packed
            )));
        }
        // The decoder reads it again, as a rule out of the same buffer.
        match i64::try_from(read) {
            Ok(read) => reader.seek_relative(-read)?,
            Err(_) => drop(reader.seek(SeekFrom::Start(start))?),
        }
        Ok(())
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Pages {
    type T = BufReader<File>;

    /// Asked for where a page begins, and nowhere else: the footer was read before.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut reader = self.file.get_read(start)?;
        if self.growth > 1 {
            self.check(start, &mut reader)?;
        }
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // The length is a claim too, and read before anything has shown that there is so much.
        if (length as u64) > self.length.saturating_sub(start) {
            return Err(ParquetError::EOF(format!("the page at byte {start} goes on behind the file's end")));
        }
        self.file.get_bytes(start, length)
    }
}

/// What a byte can become at most, by the format of the compression and not by any writer of it.
fn growth(compression: Compression) -> u64 {
    match compression {
        Compression::UNCOMPRESSED => 1,
        // A copy of 64 bytes takes three.
        Compression::SNAPPY => 22,
        // A byte more makes a match longer by 255.
        Compression::LZ4 | Compression::LZ4_RAW => 256,
        // A match of 258 bytes takes two bits.
        Compression::GZIP(_) => 1032,
        // A block of 128 KiB that is one byte over and over takes four.
        Compression::ZSTD(_) => 1 << 15,
        // A block of 16 MiB takes a few bytes.
        Compression::BROTLI(_) | Compression::LZO => 1 << 24,
    }
}

fn starts(metadata: &ParquetMetaData) -> Vec<(u64, String)> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let mut starts: Vec<(u64, String)> = chunks
        .filter_map(|chunk| {
            let first = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            Some((u64::try_from(first).ok()?, chunk.column_path().string()))
        })
        .collect();
    starts.sort();
    starts
}

/// What a header says of its page's lengths.
struct Claim {
    unpacked: u64,
    packed: u64,
}

/// What a field of a header has to be.
#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Truth,
    Structure(&'static [Kind]),
}

/// The fields of a page's header, of which the second and third are its lengths.
const PAGE: &[Kind] = {
    use Kind::{Integer, Structure, Truth};
    let statistics = Structure(&[]);
    &[
        Integer,
        Integer,
        Integer,
        Integer,
        Structure(&[Integer, Integer, Integer, Integer, statistics]),
        Structure(&[]),
        Structure(&[Integer, Integer, Truth]),
        Structure(&[Integer, Integer, Integer, Integer, Integer, Integer, Truth, statistics]),
    ]
};

/// A page's header in Thrift's compact protocol, read strictly: fields in the order of their numbers, each
/// once and of its type, as all writers have them. So the decoder, which is told less and believes more,
/// cannot read other lengths out of the same bytes.
struct Header<'a> {
    from: &'a mut BufReader<File>,
    read: u64,
}

impl Header<'_> {
    fn claim(&mut self) -> io::Result<Claim> {
        let mut lengths = [None; 4];
        self.structure(PAGE, &mut lengths, 0)?;
        let length = |value: Option<i64>| {
            value.and_then(|value| i32::try_from(value).ok()).and_then(|value| u64::try_from(value).ok())
        };
        match lengths {
            [_, unpacked, packed, _] => {
                let (Some(unpacked), Some(packed)) = (length(unpacked), length(packed)) else {
                    return Err(damaged());
                };
                Ok(Claim { unpacked, packed })
            }
        }
    }

    /// Reads a structure to its end; of its first fields the integers are kept.
    fn structure(&mut self, kinds: &[Kind], kept: &mut [Option<i64>], depth: u8) -> io::Result<()> {
        if depth == DEEPEST {
            return Err(damaged());
        }
        let mut last = 0_i64;
        loop {
            let head = self.byte()?;
            let (step, kind) = (i64::from(head >> 4), head & 0x0f);
            if kind == 0 {
                return Ok(());
            }
            let number = if step == 0 { self.integer()? } else { last + step };
            if number <= last || number > i64::from(i16::MAX) {
                return Err(damaged());
            }
            last = number;
            let place = usize::try_from(number - 1).map_err(|_| damaged())?;
            let inner = match (kinds.get(place), kind) {
                (Some(Kind::Integer), 5) | (Some(Kind::Truth), 1 | 2) | (None, _) => &[],
                (Some(Kind::Structure(inner)), 12) => *inner,
                (Some(_), _) => return Err(damaged()),
            };
            match kind {
                // A truth is in its type.
                1 | 2 => {}
                3 => drop(self.byte()?),
                4..=6 => {
                    let value = self.integer()?;
                    if let Some(kept) = kept.get_mut(place) {
                        *kept = Some(value);
                    }
                }
                7 => self.skip(8)?,
                8 => {
                    let length = self.natural()?;
                    self.skip(length)?;
                }
                12 => self.structure(inner, &mut [], depth + 1)?,
                // No header has lists or maps.
                _ => return Err(damaged()),
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = *self.from.fill_buf()?.first().ok_or_else(damaged)?;
        self.from.consume(1);
        self.read += 1;
        Ok(byte)
    }

    fn natural(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        // The tenth byte has the last bit alone.
        match self.byte()? {
            last @ 0..=1 => Ok(value | u64::from(last) << 63),
            _ => Err(damaged()),
        }
    }

    fn integer(&mut self) -> io::Result<i64> {
        let value = self.natural()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let passed = io::copy(&mut (&mut *self.from).take(length), &mut io::sink())?;
        self.read += passed;
        if passed == length { Ok(()) } else { Err(damaged()) }
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests;
