//! The index: what was seen of the files below a root, in one compact file that is read whole.
//!
//! ```text
//! "rondo stat 1\n" padded to 16
//! sections, folders before those that hold them:
//!   items u32 · bytes of names u32 · flags u64 · digest 32 · size u64 · files u64
//!   items × 80:  digest 32 · device · inode · size · modified · changed (u64 each) · name u32 · kind u32
//!   items × u32: the places of the items in the order of their names
//!   names, each ended by zero
//! tail: taken i64 · flags u64 · root's section u64 · digest 32 · version 32 · BLAKE3 of all before 32
//! ```
//!
//! Numbers are little-endian. Items stand in the order in which the system named them, so that the next
//! walk meets them in the same order and needs no search. An index whose digest is wrong is none: it is
//! made anew.

use std::fs;
use std::io::Write;
use std::path::Path;

use rondo_core::Digest;

use super::{FileItem, Folder, Item, Node, Scan, Section, What};
use crate::Error;
use crate::objects::Stamp;

const MAGIC: &[u8; 16] = b"rondo stat 1\n\0\0\0";
const HEAD: usize = 64;
const ITEM: usize = 80;
const TAIL: usize = 8 + 8 + 8 + 32 + 32 + 32;
const STORED: u64 = 1;
const SINGLE: u64 = 1;
const VERSION: u64 = 2;

const FILE: u32 = 0;
const EXECUTABLE: u32 = 1;
const FOLDER: u32 = 2;
const KIND: u32 = 3;
const ITEM_STORED: u32 = 4;

/// What was seen the last time.
pub struct Index {
    bytes: Vec<u8>,
    /// When that look began, in nanoseconds.
    pub(super) taken: i64,
    /// Whether the root is a single file.
    pub(super) single: bool,
    root: Section,
    /// What was found: of a folder its listing, of a file its bytes.
    pub digest: Digest,
    /// The version that was made of it, whose objects were all in the store.
    pub version: Option<Digest>,
}

/// A folder's own line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) items: usize,
    names: usize,
    pub(super) stored: bool,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) files: u64,
}

/// What an item of the index is.
pub(super) enum Known<'a> {
    File { name: &'a [u8], file: FileItem },
    Folder { name: &'a [u8], section: Section },
}

impl Index {
    /// Reads an index; one that is missing or damaged is none.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_rayon(body);
        let whole = Digest::from(hasher.finalize()).as_bytes() == sum;
        if !whole || !body.starts_with(MAGIC) {
            return None;
        }
        let tail = bytes.len().checked_sub(TAIL)?;
        let flags = u64_at(&bytes, tail + 8)?;
        Some(Self {
            taken: u64_at(&bytes, tail)?.cast_signed(),
            single: flags & SINGLE != 0,
            root: Section { at: usize::try_from(u64_at(&bytes, tail + 16)?).ok()? },
            digest: digest_at(&bytes, tail + 24)?,
            version: (flags & VERSION != 0).then(|| digest_at(&bytes, tail + 56)).flatten(),
            bytes,
        })
    }

    pub(super) const fn root(&self) -> Section {
        self.root
    }

    pub(super) fn head(&self, section: Section) -> Option<Head> {
        let at = section.at;
        Some(Head {
            items: u32_at(&self.bytes, at)? as usize,
            names: u32_at(&self.bytes, at + 4)? as usize,
            stored: u64_at(&self.bytes, at + 8)? & STORED != 0,
            digest: digest_at(&self.bytes, at + 16)?,
            size: u64_at(&self.bytes, at + 48)?,
            files: u64_at(&self.bytes, at + 56)?,
        })
    }

    /// An item of a folder by its place.
    pub(super) fn item(&self, section: Section, head: &Head, place: usize) -> Option<Known<'_>> {
        if place >= head.items {
            return None;
        }
        let at = section.at + HEAD + place * ITEM;
        let names = section.at + HEAD + head.items * (ITEM + 4);
        let field = |index: usize| u64_at(&self.bytes, at + 32 + index * 8);
        let name_at = u32_at(&self.bytes, at + 72)? as usize;
        let kind = u32_at(&self.bytes, at + 76)?;
        let rest = self.bytes.get(names + name_at..names + head.names)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        if kind & KIND == FOLDER {
            return Some(Known::Folder { name, section: Section { at: usize::try_from(field(0)?).ok()? } });
        }
        let stamp = Stamp {
            device: field(0)?,
            inode: field(1)?,
            size: field(2)?,
            modified: field(3)?.cast_signed(),
            changed: field(4)?.cast_signed(),
        };
        let file = FileItem {
            stamp,
            executable: kind & KIND == EXECUTABLE,
            digest: digest_at(&self.bytes, at),
            stored: kind & ITEM_STORED != 0,
            before: None,
        };
        Some(Known::File { name, file })
    }

    /// An item of a folder by its name.
    pub(super) fn find(&self, section: Section, head: &Head, wanted: &[u8]) -> Option<(usize, Known<'_>)> {
        let order = section.at + HEAD + head.items * ITEM;
        let (mut low, mut high) = (0, head.items);
        while low < high {
            let middle = low.midpoint(high);
            let place = u32_at(&self.bytes, order + middle * 4)? as usize;
            let item = self.item(section, head, place)?;
            match item.name().cmp(wanted) {
                std::cmp::Ordering::Equal => return Some((place, item)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

impl<'a> Known<'a> {
    pub(super) const fn name(&self) -> &'a [u8] {
        match self {
            Self::File { name, .. } | Self::Folder { name, .. } => name,
        }
    }
}

/// What is known of a folder when it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) files: u64,
    pub(super) stored: bool,
}

impl Scan {
    /// Writes what was seen, for the next time. `version`: what was made of it, all of it in the store.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(
        &self,
        path: &Path,
        old: Option<&Index>,
        digest: Digest,
        version: Option<Digest>,
    ) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write in", folder))?;
        let write = |fresh: &mut tempfile::NamedTempFile| {
            let mut out = Out {
                inner: std::io::BufWriter::with_capacity(1 << 18, fresh),
                hasher: blake3::Hasher::new(),
                at: 0,
            };
            out.put(MAGIC)?;
            let root = out.node(&self.node, old)?;
            let mut flags = if self.single { SINGLE } else { 0 };
            if version.is_some() {
                flags |= VERSION;
            }
            out.put(&self.taken.to_le_bytes())?;
            out.put(&flags.to_le_bytes())?;
            out.put(&(root as u64).to_le_bytes())?;
            out.put(digest.as_bytes())?;
            out.put(version.unwrap_or(digest).as_bytes())?;
            let sum = out.hasher.finalize();
            out.inner.write_all(sum.as_bytes())?;
            out.inner.flush()
        };
        write(&mut fresh).map_err(Error::io("write", path))?;
        fresh.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
        Ok(())
    }
}

struct Out<W> {
    inner: W,
    hasher: blake3::Hasher,
    at: usize,
}

impl<W: Write> Out<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.at += bytes.len();
        self.inner.write_all(bytes)
    }

    fn node(&mut self, node: &Node, old: Option<&Index>) -> std::io::Result<usize> {
        match (node, old) {
            (Node::New(folder), _) => self.folder(folder, old),
            (Node::Same(section), Some(old)) => self.again(*section, old),
            (Node::Same(_), None) => Err(broken()),
        }
    }

    /// A folder as it stands in the old index, with those in it.
    fn again(&mut self, section: Section, old: &Index) -> std::io::Result<usize> {
        let head = old.head(section).ok_or_else(broken)?;
        let mut moved: Vec<(usize, u64)> = Vec::new();
        for place in 0..head.items {
            if let Some(Known::Folder { section, .. }) = old.item(section, &head, place) {
                moved.push((HEAD + place * ITEM + 32, self.again(section, old)? as u64));
            }
        }
        let length = HEAD + head.items * (ITEM + 4) + head.names;
        let mut bytes = old.bytes.get(section.at..section.at + length).ok_or_else(broken)?.to_vec();
        for (at, to) in moved {
            bytes.get_mut(at..at + 8).ok_or_else(broken)?.copy_from_slice(&to.to_le_bytes());
        }
        let at = self.at;
        self.put(&bytes)?;
        Ok(at)
    }

    fn folder(&mut self, folder: &Folder, old: Option<&Index>) -> std::io::Result<usize> {
        let mut inner = Vec::new();
        for item in &folder.items {
            if let What::Folder(node) = &item.what {
                inner.push(self.node(node, old)? as u64);
            }
        }
        let at = self.at;
        let sum = folder.sum.ok_or_else(broken)?;
        let count = u32::try_from(folder.items.len()).map_err(|_| broken())?;
        let names = u32::try_from(folder.names.len()).map_err(|_| broken())?;
        self.put(&count.to_le_bytes())?;
        self.put(&names.to_le_bytes())?;
        self.put(&u64::from(sum.stored).to_le_bytes())?;
        self.put(sum.digest.as_bytes())?;
        self.put(&sum.size.to_le_bytes())?;
        self.put(&sum.files.to_le_bytes())?;
        let mut inner = inner.into_iter();
        for item in &folder.items {
            self.item(item, &mut inner)?;
        }
        for place in folder.sorted() {
            self.put(&place.to_le_bytes())?;
        }
        self.put(&folder.names)?;
        Ok(at)
    }

    fn item(&mut self, item: &Item, inner: &mut impl Iterator<Item = u64>) -> std::io::Result<()> {
        let (digest, fields, kind) = match &item.what {
            What::File(file) => {
                let stamp = file.stamp;
                let fields = [
                    stamp.device,
                    stamp.inode,
                    stamp.size,
                    stamp.modified.cast_unsigned(),
                    stamp.changed.cast_unsigned(),
                ];
                let stored = if file.stored { ITEM_STORED } else { 0 };
                (file.digest, fields, stored | if file.executable { EXECUTABLE } else { FILE })
            }
            What::Folder(_) => {
                let at = inner.next().ok_or_else(broken)?;
                (Some(Digest::from_bytes([0; 32])), [at, 0, 0, 0, 0], FOLDER)
            }
        };
        let mut line = [0; ITEM];
        let (start, rest) = line.split_at_mut(32);
        start.copy_from_slice(digest.ok_or_else(broken)?.as_bytes());
        for (place, field) in rest.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let name = u32::try_from(item.name).map_err(|_| broken())?;
        let end = (u64::from(kind) << 32) | u64::from(name);
        if let Some(last) = line.last_chunk_mut::<8>() {
            *last = end.to_le_bytes();
        }
        self.put(&line)
    }
}

fn broken() -> std::io::Error {
    std::io::Error::other("the index does not hold together")
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn digest_at(bytes: &[u8], at: usize) -> Option<Digest> {
    Some(Digest::from_bytes(*bytes.get(at..)?.first_chunk()?))
}
