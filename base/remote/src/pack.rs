//! A pack: blobs one after another, each compressed where that makes it smaller. What is where in it
//! stands in the index.

use bytes::Bytes;
use rondo_core::Digest;

/// When a pack is full, in bytes. It may be larger by its last blob.
pub const FULL: usize = 16 << 20;

/// How hard to compress: as fast as a disk writes.
const LEVEL: i32 = 1;

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
    let blob = if entry.packed {
        let blob = zstd::bulk::decompress(stored, entry.size as usize);
        Bytes::from(blob.map_err(|error| format!("it cannot be decompressed: {error}"))?)
    } else {
        stored.clone()
    };
    if blob.len() != entry.size as usize {
        return Err(format!("it has {} bytes in place of {}", blob.len(), entry.size));
    }
    let found = Digest::of(&blob);
    if entry.kind != Kind::Recipe && found != entry.digest {
        return Err(format!("its bytes have digest {found}"));
    }
    Ok(blob)
}
