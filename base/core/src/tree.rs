//! The canonical listing of a folder: what a folder's digest is the digest of.
//!
//! One header line, then one entry a name, sorted by the bytes of the names, each ended by a zero byte:
//!
//! ```text
//! rondo tree 1\n
//! <mode> <size> <digest> <name>\0
//! ```
//!
//! `mode` is `100644` (file), `100755` (executable file) or `040000` (folder); `size` is decimal bytes,
//! of a folder the sum of what it holds; `digest` is 64 hex characters. A symbolic link is resolved when
//! a folder is read, so that a listing never depends on where it lies. The form is pinned by a test: it
//! never changes without a new header.

use crate::Digest;
use crate::digest::NotADigest;

/// What one name of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A plain file.
    File,
    /// A file with the owner's execute bit.
    Executable,
    /// A folder; its digest is that of its own listing.
    Folder,
}

impl Mode {
    /// Git's text for the mode.
    pub const fn text(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Folder => "040000",
        }
    }
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the name is.
    pub mode: Mode,
    /// Bytes; of a folder, of all that it holds.
    pub size: u64,
    /// The digest of the file's bytes or of the folder's listing.
    pub digest: Digest,
    /// One path segment, as UTF-8.
    pub name: String,
}

/// A folder's entries, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<Entry>,
}

/// Why bytes are not a listing, or entries cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The header is not the one this version writes.
    #[error("not a folder listing: the header is missing")]
    Header,
    /// A line that cannot be read.
    #[error("entry {index} of the folder listing is broken")]
    Entry {
        /// Counted from 0.
        index: usize,
    },
    /// Names out of order or twice.
    #[error("entry `{name}` of the folder listing is out of order or stands twice")]
    Order {
        /// The second of the two.
        name: String,
    },
    /// A name that is no single path segment.
    #[error("`{name}` cannot be a name in a folder")]
    Name {
        /// The name.
        name: String,
    },
    /// A digest that cannot be read.
    #[error(transparent)]
    Digest(#[from] NotADigest),
}

impl Tree {
    /// How each listing begins.
    pub const HEADER: &[u8] = b"rondo tree 1\n";

    /// A listing of these entries, in any order.
    ///
    /// # Errors
    /// When a name is empty, `.`, `..`, has a slash or a zero byte, or stands twice.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        for entry in &entries {
            check_name(&entry.name)?;
        }
        for pair in entries.windows(2) {
            if pair[0].name == pair[1].name {
                return Err(TreeError::Order { name: pair[1].name.clone() });
            }
        }
        Ok(Self { entries })
    }

    /// The entries, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The sum of the sizes.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HEADER.len() + self.entries.len() * 100);
        bytes.extend_from_slice(Self::HEADER);
        for entry in &self.entries {
            let line = format!("{} {} {} {}\0", entry.mode.text(), entry.size, entry.digest, entry.name);
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes
    }

    /// The folder's digest: that of its canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Reads canonical bytes back; what it accepts is exactly what [`Tree::encode`] writes.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let body = bytes.strip_prefix(Self::HEADER).ok_or(TreeError::Header)?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        let body = body.strip_suffix(b"\0").ok_or(TreeError::Entry { index: 0 })?;
        let mut entries: Vec<Entry> = Vec::new();
        for (index, line) in body.split(|byte| *byte == 0).enumerate() {
            let entry = decode_entry(line, index)?;
            if entries.last().is_some_and(|last| last.name.as_bytes() >= entry.name.as_bytes()) {
                return Err(TreeError::Order { name: entry.name });
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }
}

fn decode_entry(line: &[u8], index: usize) -> Result<Entry, TreeError> {
    let broken = || TreeError::Entry { index };
    let line = std::str::from_utf8(line).map_err(|_| broken())?;
    let mut parts = line.splitn(4, ' ');
    let mode = match parts.next() {
        Some("100644") => Mode::File,
        Some("100755") => Mode::Executable,
        Some("040000") => Mode::Folder,
        Some(_) | None => return Err(broken()),
    };
    let size_text = parts.next().ok_or_else(broken)?;
    let size: u64 = size_text.parse().map_err(|_| broken())?;
    if size.to_string() != size_text {
        return Err(broken());
    }
    let digest_text = parts.next().ok_or_else(broken)?;
    let digest: Digest = digest_text.parse()?;
    if digest.hex() != digest_text {
        return Err(broken());
    }
    let name = parts.next().ok_or_else(broken)?.to_owned();
    check_name(&name)?;
    Ok(Entry { mode, size, digest, name })
}

fn check_name(name: &str) -> Result<(), TreeError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(TreeError::Name { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> Entry {
        Entry { mode: Mode::File, size: bytes.len() as u64, digest: Digest::of(bytes), name: name.into() }
    }

    #[test]
    fn folder_digest_is_pinned() {
        let inner = Tree::new(vec![file("x.txt", b"x")]).unwrap();
        let mut script = file("run.sh", b"#!/bin/sh\n");
        script.mode = Mode::Executable;
        let folder =
            Entry { mode: Mode::Folder, size: inner.size(), digest: inner.digest(), name: "sub".into() };
        let tree = Tree::new(vec![folder, file("a b\nc", b"hello"), script]).unwrap();
        let text = String::from_utf8(tree.encode()).unwrap();
        assert!(text.starts_with(
            "rondo tree 1\n100644 5 ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f a b\nc\x00100755 10 "
        ));
        assert_eq!(tree.digest().hex(), "1d2aab9c6e7a53da2b12a0c089c05df0a2c7f28bc21704ff1e7386f49c9a1952");
        assert_eq!(
            Tree::default().digest().hex(),
            "672b87cb8566c3b6d8b2581ffd77a2fb429bee6951cc3c9a67c5bdf65b987f53"
        );
        assert_eq!(tree.size(), 16);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0b"] {
            assert!(Tree::new(vec![file(name, b"")]).is_err(), "{name:?}");
        }
        assert!(Tree::new(vec![file("a", b""), file("a", b"x")]).is_err());
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_writes(names in prop::collection::btree_set("[^/\0]{1,12}", 0..20)) {
            let entries = names.iter().filter(|n| *n != "." && *n != "..")
                .map(|n| file(n, n.as_bytes())).collect();
            let tree = Tree::new(entries).unwrap();
            prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        }

        #[test]
        fn decode_never_panics_and_accepts_only_canonical_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut all = Tree::HEADER.to_vec();
            all.extend_from_slice(&bytes);
            if let Ok(tree) = Tree::decode(&all) {
                prop_assert_eq!(tree.encode(), all);
            }
        }
    }
}
