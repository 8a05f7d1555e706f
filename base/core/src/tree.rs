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
//!
//! A folder of more than [`WHOLE`] names is kept in parts, so that one changed file rewrites one part and
//! the list of the parts, whatever the folder holds. Each part is a listing as above. A part ends behind
//! a name whose own digest begins with ten zero bits (one in 1024), so where it ends depends on the names
//! alone, and equal folders have equal parts whatever became of them before. The folder is then the list:
//!
//! ```text
//! rondo tree 2\n
//! <entries> <size> <digest> <last name>\0
//! ```

use std::io::Write;

use crate::Digest;
use crate::digest::NotADigest;

/// The most names that a folder is kept whole with.
pub const WHOLE: usize = 4096;

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

/// One part of a large folder's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How many names it has.
    pub entries: u64,
    /// Bytes of all that they hold.
    pub size: u64,
    /// The digest of its listing.
    pub digest: Digest,
    /// Its last name.
    pub last: String,
}

/// What the bytes of a folder's object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// All of its entries.
    Whole(Tree),
    /// Where its entries are, in their order.
    Parts(Vec<Part>),
}

impl Listing {
    /// How each begins, whole or in parts.
    pub const PREFIX: &[u8] = b"rondo tree ";

    /// Reads a folder's object.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let Some(body) = bytes.strip_prefix(Tree::PARTS) else { return Tree::decode(bytes).map(Self::Whole) };
        let body = body.strip_suffix(b"\0").ok_or(TreeError::Entry { index: 0 })?;
        let mut parts: Vec<Part> = Vec::new();
        for (index, line) in body.split(|byte| *byte == 0).enumerate() {
            let part = decode_part(line, index)?;
            if parts.last().is_some_and(|last| last.last.as_bytes() >= part.last.as_bytes()) {
                return Err(TreeError::Order { name: part.last });
            }
            parts.push(part);
        }
        Ok(Self::Parts(parts))
    }
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

    /// How the list of a large folder's parts begins.
    const PARTS: &[u8] = b"rondo tree 2\n";

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

    /// The canonical bytes of the listing in one piece.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.entries)
    }

    /// The objects that the folder is kept as: its parts, where it is large, and last itself.
    pub fn objects(&self) -> Vec<Vec<u8>> {
        if self.entries.len() <= WHOLE {
            return vec![self.encode()];
        }
        let mut objects = Vec::new();
        let mut list = Self::PARTS.to_vec();
        for entries in self.entries.split_inclusive(|entry| ends_part(&entry.name)) {
            let bytes = encode(entries);
            let size: u64 = entries.iter().map(|entry| entry.size).sum();
            let last = entries.last().map_or("", |entry| entry.name.as_str());
            let line = format!("{} {size} {} {last}\0", entries.len(), Digest::of(&bytes));
            list.extend_from_slice(line.as_bytes());
            objects.push(bytes);
        }
        objects.push(list);
        objects
    }

    /// A folder of its parts' entries.
    ///
    /// # Errors
    /// When the names are out of order or stand twice.
    pub fn join(parts: Vec<Self>) -> Result<Self, TreeError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(parts.iter().map(|part| part.entries.len()).sum());
        for part in parts {
            if let (Some(last), Some(next)) = (entries.last(), part.entries.first())
                && last.name.as_bytes() >= next.name.as_bytes()
            {
                return Err(TreeError::Order { name: next.name.clone() });
            }
            entries.extend(part.entries);
        }
        Ok(Self { entries })
    }

    /// The entries, given away.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The folder's digest: that of its own object.
    pub fn digest(&self) -> Digest {
        self.objects().last().map_or_else(|| Digest::of(Self::HEADER), |bytes| Digest::of(bytes))
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

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(Tree::HEADER.len() + entries.len() * 100);
    bytes.extend_from_slice(Tree::HEADER);
    for entry in entries {
        // A vector takes all that is written to it.
        let _ = write!(bytes, "{} {} {} {}\0", entry.mode.text(), entry.size, entry.digest, entry.name);
    }
    bytes
}

/// Whether a part ends behind this name.
fn ends_part(name: &str) -> bool {
    let [first, second, ..] = *Digest::of(name.as_bytes()).as_bytes();
    first == 0 && second & 0b1100_0000 == 0
}

fn decode_part(line: &[u8], index: usize) -> Result<Part, TreeError> {
    let broken = || TreeError::Entry { index };
    let line = std::str::from_utf8(line).map_err(|_| broken())?;
    let mut words = line.splitn(4, ' ');
    let mut number = || {
        let text = words.next()?;
        text.parse::<u64>().ok().filter(|number| number.to_string() == text)
    };
    let (entries, size) = (number().ok_or_else(broken)?, number().ok_or_else(broken)?);
    let digest_text = words.next().ok_or_else(broken)?;
    let digest: Digest = digest_text.parse()?;
    if digest.hex() != digest_text {
        return Err(broken());
    }
    let last = words.next().ok_or_else(broken)?.to_owned();
    check_name(&last)?;
    Ok(Part { entries, size, digest, last })
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

    fn many(count: usize) -> Tree {
        Tree::new((0..count).map(|n| file(&format!("f{n:06}.bin"), &n.to_le_bytes())).collect()).unwrap()
    }

    fn parts_of(tree: &Tree) -> Vec<Part> {
        match Listing::decode(tree.objects().last().unwrap()).unwrap() {
            Listing::Parts(parts) => parts,
            Listing::Whole(_) => panic!("whole"),
        }
    }

    #[test]
    fn a_large_folder_is_kept_in_parts_and_a_small_one_whole() {
        assert_eq!(many(WHOLE).objects(), [many(WHOLE).encode()]);
        let tree = many(20_000);
        let objects = tree.objects();
        let parts = parts_of(&tree);
        assert!(parts.len() > 5 && parts.len() + 1 == objects.len(), "{}", parts.len());
        assert_eq!(parts.iter().map(|part| part.entries).sum::<u64>(), 20_000);
        assert_eq!(parts.iter().map(|part| part.size).sum::<u64>(), tree.size());
        let read = objects[..parts.len()].iter().map(|bytes| Tree::decode(bytes).unwrap()).collect();
        assert_eq!(Tree::join(read).unwrap(), tree);
        assert_eq!(tree.digest().hex(), "fb53bb9827c01a584c82e456e95bb317f6b1e3895c3b1fa034b1fe9b3e39d419");
    }

    #[test]
    fn one_more_file_changes_one_part_of_a_large_folder() {
        let tree = many(20_000);
        let mut entries = tree.entries().to_vec();
        entries.push(file("f010000.bin.more", b"x"));
        entries[3].digest = Digest::of(b"other");
        let (before, after) = (parts_of(&tree), parts_of(&Tree::new(entries).unwrap()));
        let kept = after.iter().filter(|part| before.contains(part)).count();
        assert!(before.len() - kept <= 3, "{kept} of {}", before.len());
    }

    proptest! {
        #[test]
        fn a_list_of_parts_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut all = Tree::PARTS.to_vec();
            all.extend_from_slice(&bytes);
            let _ = Listing::decode(&all);
        }

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
