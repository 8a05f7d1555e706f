//! A pack: blobs one after another, each compressed where that makes it smaller. What is where in it
//! stands in the index.

use std::io::Read;

use bytes::Bytes;
use rondo_core::Digest;

/// When a pack is full, in bytes. It may be larger by its last blob.
pub const FULL: usize = 16 << 20;

/// How hard to compress: as fast as a disk writes.
const LEVEL: i32 = 1;

/// No compressed blob is longer, since larger files are cut, but for listings and recipes.
const MOST_BYTES: u64 = 64 << 20;

/// These are made of digests, which hardly become smaller: one that is longer is no longer than so many times
/// what is stored of it.
const MOST_PACKED: u64 = 1 << 10;

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, or a chunk of one.
    Bytes,
    /// The listing of a folder; all that it lists is there too.
    Tree,
    /// The recipe of a file; all chunks that it lists are there too.
    Recipe,
}

/// Where a blob lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The digest of what it stands for: of a recipe, of the whole file.
    pub digest: Digest,
    /// What it is.
    pub kind: Kind,
    /// Whether it is compressed with zstd.
    pub packed: bool,
    /// Where it begins.
    pub offset: u32,
    /// How many bytes it takes there.
    pub stored: u32,
    /// How many bytes it has.
    pub size: u32,
}

/// A pack that is being filled.
#[derive(Default)]
pub struct Pack {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A pack that is full.
#[derive(Debug, Clone)]
pub struct Filled {
    /// The digest of its bytes: its name.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
    /// What it holds, in its order.
    pub entries: Vec<Entry>,
    /// How many bytes of files and folders it brings there, before compression.
    pub brought: u64,
}

impl Pack {
    /// Adds a blob. One larger than 4 GiB fits into no pack: it is left out, and the answer is false.
    pub fn add(&mut self, digest: Digest, kind: Kind, blob: &[u8]) -> bool {
        let (Ok(offset), Ok(size)) = (u32::try_from(self.bytes.len()), u32::try_from(blob.len())) else {
            return false;
        };
        let smaller = zstd::bulk::compress(blob, LEVEL).ok().filter(|packed| packed.len() < blob.len());
        let bytes = smaller.as_deref().unwrap_or(blob);
        let Ok(stored) = u32::try_from(bytes.len()) else { return false };
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry { digest, kind, packed: smaller.is_some(), offset, stored, size });
        true
    }

    /// Whether it should be sent.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Closes it, and begins the next.
    pub fn take(&mut self) -> Filled {
        let Self { bytes, entries } = std::mem::take(self);
        let brought = entries.iter().filter(|entry| entry.kind != Kind::Recipe).map(|e| u64::from(e.size));
        Filled { digest: Digest::of(&bytes), brought: brought.sum(), bytes: bytes.into(), entries }
    }
}

/// The blob of an entry, from its bytes in the pack. What is wrong with it, where it is not what the entry
/// says; of a recipe only its form is looked at, since its digest is that of the file.
pub fn unpack(entry: &Entry, stored: &Bytes) -> Result<Bytes, String> {
    if stored.len() != entry.stored as usize {
        return Err(format!("{} bytes came in place of {}", stored.len(), entry.stored));
    }
    let blob = if entry.packed { unpacked(stored, entry)? } else { stored.clone() };
    if blob.len() != entry.size as usize {
        return Err(format!("it has {} bytes in place of {}", blob.len(), entry.size));
    }
    let found = Digest::of(&blob);
    if entry.kind != Kind::Recipe && found != entry.digest {
        return Err(format!("its bytes have digest {found}"));
    }
    Ok(blob)
}

/// Decompresses. Memory is taken as bytes come and not as they are promised: who wrote the index may have
/// promised anything.
fn unpacked(stored: &Bytes, entry: &Entry) -> Result<Bytes, String> {
    let wrong = |error: std::io::Error| format!("it cannot be decompressed: {error}");
    let size = entry.size;
    let most = match entry.kind {
        Kind::Bytes => MOST_BYTES,
        Kind::Tree | Kind::Recipe => MOST_BYTES.max((stored.len() as u64).saturating_mul(MOST_PACKED)),
    };
    if u64::from(size) > most {
        return Err(format!("{} bytes of it cannot become {size}", stored.len()));
    }
    let reader = zstd::stream::read::Decoder::with_buffer(&**stored).map_err(wrong)?;
    let mut blob = Vec::new();
    // One byte more tells that it is longer than it should be.
    reader.take(u64::from(size) + 1).read_to_end(&mut blob).map_err(wrong)?;
    Ok(blob.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(blob: &[u8], stored: &[u8], size: u32) -> Entry {
        let stored = u32::try_from(stored.len()).unwrap();
        Entry { digest: Digest::of(blob), kind: Kind::Bytes, packed: true, offset: 0, stored, size }
    }

    #[test]
    fn what_is_promised_is_not_allocated_before_it_comes() {
        let blob = vec![0; 1 << 20];
        let stored = Bytes::from(zstd::bulk::compress(&blob, LEVEL).unwrap());
        assert_eq!(unpack(&entry(&blob, &stored, 1 << 20), &stored).unwrap(), blob);
        for size in [(1 << 20) - 1, (1 << 20) + 1, u32::MAX] {
            let error = unpack(&entry(&blob, &stored, size), &stored).unwrap_err();
            assert!(error.contains("bytes in place of") || error.contains("cannot become"), "{error}");
        }
        let listing = Entry { kind: Kind::Tree, ..entry(&blob, &stored, u32::MAX) };
        assert!(unpack(&listing, &stored).unwrap_err().contains("cannot become"));
        let short = stored.slice(..stored.len() - 2);
        assert!(unpack(&entry(&blob, &short, 1 << 20), &short).is_err());
        let none = Bytes::new();
        assert!(unpack(&entry(&blob, &none, u32::MAX), &none).unwrap_err().contains("cannot become"));
    }
}
