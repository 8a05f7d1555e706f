//! Keys in order, however many: in memory up to a bound, beyond it in sorted runs of a temporary file.
//!
//! A key and its row are one number of 128 bits, which sorts by key and then by row. So that all equal keys
//! come together costs 16 bytes a row: 8 MiB of memory for each column, the rest in a file without a name,
//! which is gone when the check ends, however it ends.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::keys::{Key, KeySet};
use crate::error::{Result, TableError};

/// Entries of a run.
pub(super) const RUN: usize = 1 << 19;
const ROW_BITS: u32 = 40;
const ROW_MASK: u128 = (1 << ROW_BITS) - 1;
/// Bytes of an entry.
const ENTRY: usize = 16;
/// Entries that are written at once.
const WRITTEN: usize = 4096;
/// Bytes that are read ahead of each run, a multiple of an entry's.
const AHEAD: u64 = 32 * 1024;

/// Keys with their rows, to be had in order.
#[derive(Debug)]
pub(super) struct SortedKeys {
    pending: Vec<u128>,
    runs: Vec<File>,
    most: usize,
}

impl SortedKeys {
    pub(super) fn new() -> Self {
        Self::with_run(RUN)
    }

    pub(super) fn with_run(most: usize) -> Self {
        Self { pending: Vec::new(), runs: Vec::new(), most }
    }

    /// Adds a key.
    pub(super) fn push(&mut self, key: Key, row: u64) -> Result<()> {
        self.pending.push((key << ROW_BITS) | (u128::from(row) & ROW_MASK));
        if self.pending.len() >= self.most { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.pending.sort_unstable();
        self.runs.push(write_run(&self.pending)?);
        self.pending.clear();
        Ok(())
    }

    /// All of them, by key and then by row.
    pub(super) fn finish(mut self) -> Result<Merged> {
        if !self.runs.is_empty() && !self.pending.is_empty() {
            self.spill()?;
            self.pending = Vec::new();
        }
        self.pending.sort_unstable();
        Merged::of(self.pending, self.runs)
    }
}

/// The different keys of a column.
#[derive(Debug)]
pub(super) struct DistinctKeys {
    seen: KeySet,
    runs: Vec<File>,
    most: usize,
}

impl DistinctKeys {
    pub(super) fn new() -> Self {
        Self::with_run(RUN / 2)
    }

    pub(super) fn with_run(most: usize) -> Self {
        Self { seen: KeySet::default(), runs: Vec::new(), most }
    }

    /// Adds a key.
    pub(super) fn push(&mut self, key: Key) -> Result<()> {
        self.seen.insert(key);
        if self.seen.len() >= self.most { self.spill() } else { Ok(()) }
    }

    fn sorted(&mut self) -> Vec<u128> {
        let mut keys: Vec<u128> = self.seen.drain().map(|key| key << ROW_BITS).collect();
        keys.sort_unstable();
        keys
    }

    fn spill(&mut self) -> Result<()> {
        let keys = self.sorted();
        self.runs.push(write_run(&keys)?);
        Ok(())
    }

    /// How many.
    pub(super) fn count(mut self) -> Result<u64> {
        if self.runs.is_empty() {
            return Ok(self.seen.len() as u64);
        }
        let mut count = 0;
        let mut last = None;
        let keys = self.sorted();
        for entry in Merged::of(keys, self.runs)? {
            let (key, _) = entry?;
            count += u64::from(last != Some(key));
            last = Some(key);
        }
        Ok(count)
    }

    /// All of them, in order; some may come several times.
    pub(super) fn finish(mut self) -> Result<Merged> {
        let keys = self.sorted();
        Merged::of(keys, self.runs)
    }
}

fn io(source: std::io::Error) -> TableError {
    TableError::Io { path: PathBuf::from("a temporary file"), source }
}

fn write_run(entries: &[u128]) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(io)?;
    let mut bytes = vec![0; ENTRY * entries.len().min(WRITTEN)];
    for part in entries.chunks(WRITTEN) {
        for (slot, entry) in bytes.chunks_exact_mut(ENTRY).zip(part) {
            slot.copy_from_slice(&entry.to_le_bytes());
        }
        file.write_all(bytes.get(..ENTRY * part.len()).unwrap_or_default()).map_err(io)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(file)
}

/// A run that is read again.
struct Run {
    file: File,
    bytes: Vec<u8>,
    at: usize,
}

impl Run {
    fn new(file: File) -> Self {
        Self { file, bytes: Vec::new(), at: 0 }
    }

    fn next(&mut self) -> Result<Option<u128>> {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            (&mut self.file).take(AHEAD).read_to_end(&mut self.bytes).map_err(io)?;
        }
        let entry = self.bytes.get(self.at..).and_then(|bytes| bytes.first_chunk::<ENTRY>());
        self.at = (self.at + ENTRY).min(self.bytes.len());
        Ok(entry.map(|entry| u128::from_le_bytes(*entry)))
    }
}

/// Sorted runs, merged.
pub(super) struct Merged {
    sources: Vec<Source>,
    /// The next entry of each source, least first.
    heads: BinaryHeap<std::cmp::Reverse<(u128, usize)>>,
    failed: Option<TableError>,
}

enum Source {
    Memory(std::vec::IntoIter<u128>),
    File(Run),
}

impl Source {
    fn next(&mut self) -> Result<Option<u128>> {
        match self {
            Self::Memory(entries) => Ok(entries.next()),
            Self::File(run) => run.next(),
        }
    }
}

impl Merged {
    fn of(pending: Vec<u128>, runs: Vec<File>) -> Result<Self> {
        let mut sources: Vec<Source> = runs.into_iter().map(|file| Source::File(Run::new(file))).collect();
        sources.push(Source::Memory(pending.into_iter()));
        let mut heads = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(entry) = source.next()? {
                heads.push(std::cmp::Reverse((entry, index)));
            }
        }
        Ok(Self { sources, heads, failed: None })
    }

    fn pull(&mut self) -> Option<u128> {
        // With one source left there is nothing to compare.
        let mut head = self.heads.peek_mut()?;
        let std::cmp::Reverse((entry, index)) = *head;
        match self.sources.get_mut(index).map(Source::next) {
            Some(Ok(Some(next))) => *head = std::cmp::Reverse((next, index)),
            Some(Ok(None)) | None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
            Some(Err(error)) => {
                std::collections::binary_heap::PeekMut::pop(head);
                self.failed = Some(error);
            }
        }
        Some(entry)
    }
}

impl Iterator for Merged {
    type Item = Result<(Key, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        self.pull().map(|entry| Ok((entry >> ROW_BITS, (entry & ROW_MASK) as u64)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_come_back_in_order_whatever_their_size(keys in prop::collection::vec(0_u128..50, 0..200), run in 1_usize..64) {
            let mut sorted = SortedKeys::with_run(run);
            let mut distinct = DistinctKeys::with_run(run);
            for (row, key) in keys.iter().enumerate() {
                sorted.push(*key, row as u64).unwrap();
                distinct.push(*key).unwrap();
            }
            let mut wanted: Vec<(u128, u64)> = keys.iter().enumerate().map(|(row, key)| (*key, row as u64)).collect();
            wanted.sort_unstable();
            let found: Vec<(u128, u64)> = sorted.finish().unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&found, &wanted);
            wanted.dedup_by_key(|entry| entry.0);
            prop_assert_eq!(distinct.count().unwrap(), wanted.len() as u64);
        }
    }
}
