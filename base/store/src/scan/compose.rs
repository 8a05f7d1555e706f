//! From what was seen to listings: the folder's digest, and the listings themselves where they are wanted.

use std::path::Path;

use rondo_core::Digest;
use rondo_core::tree::{Entry, Mode, Tree};

use super::index::{Known, Sum};
use super::{FileItem, Folder, Index, Node, Scan, Section, What};
use crate::Error;
use crate::objects::{Stamp, Stored};

/// What becomes of a listing.
pub type Put<'a> = dyn Fn(&Tree) -> Result<Digest, Error> + 'a;

/// A file that was seen: its path below the root, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFile {
    /// The path below the root.
    pub path: String,
    /// Whether it may be executed.
    pub executable: bool,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub digest: Digest,
    /// Under which stamp.
    pub stamp: Stamp,
}

impl SeenFile {
    pub(super) fn new(path: String, file: &FileItem) -> Option<Self> {
        let FileItem { stamp, executable, digest, .. } = *file;
        Some(Self { path, executable, size: stamp.size, digest: digest?, stamp })
    }
}

impl Scan {
    /// What was seen as an object. Folders that have changed are given to `put`, inner ones first;
    /// `stored`: what it is given is in the store when it has it.
    ///
    /// # Errors
    /// When something was not read, or `put` refuses.
    pub fn compose(&mut self, old: Option<&Index>, put: &Put<'_>, stored: bool) -> Result<Stored, Error> {
        let composer = Composer { old, put, stored };
        let single = self.single;
        let root = self.root.clone();
        let sum = composer.node(&mut self.node, &root, single)?;
        Ok(Stored { digest: sum.digest, size: sum.size, files: sum.files, folder: !single })
    }

    /// The files whose path is wanted, sorted.
    ///
    /// # Errors
    /// When something was not read.
    pub fn files(&self, old: Option<&Index>, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<SeenFile>, Error> {
        let mut found = Vec::new();
        match (&self.node, old) {
            (Node::New(folder), _) => files_of(folder, "", old, wanted, &mut found),
            (Node::Same(section), Some(old)) => known_files(*section, "", old, wanted, &mut found),
            (Node::Same(_), None) => None,
        }
        .ok_or_else(|| unread(&self.root))?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

struct Composer<'a> {
    old: Option<&'a Index>,
    put: &'a Put<'a>,
    stored: bool,
}

impl Composer<'_> {
    fn node(&self, node: &mut Node, path: &Path, single: bool) -> Result<Sum, Error> {
        match node {
            Node::New(folder) => self.folder(folder, path, single),
            Node::Same(section) => {
                let head = self.old.and_then(|old| old.head(*section)).ok_or_else(|| unread(path))?;
                Ok(Sum { digest: head.digest, size: head.size, files: head.files, stored: head.stored })
            }
        }
    }

    fn folder(&self, folder: &mut Folder, path: &Path, single: bool) -> Result<Sum, Error> {
        let mut items = std::mem::take(&mut folder.items);
        let mut entries = Vec::with_capacity(items.len());
        let mut files = 0;
        for item in &mut items {
            let name = folder.name(item).to_owned();
            entries.push(match &mut item.what {
                What::File(file) => {
                    files += 1;
                    let mode = if file.executable { Mode::Executable } else { Mode::File };
                    let digest = file.digest.ok_or_else(|| unread(&path.join(&name)))?;
                    Entry { mode, size: file.stamp.size, digest, name }
                }
                What::Folder(node) => {
                    let inner = self.node(node, &path.join(&name), false)?;
                    files += inner.files;
                    Entry { mode: Mode::Folder, size: inner.size, digest: inner.digest, name }
                }
            });
        }
        folder.items = items;
        self.sum(folder, entries, files, path, single)
    }

    fn sum(
        &self,
        folder: &mut Folder,
        entries: Vec<Entry>,
        files: u64,
        path: &Path,
        single: bool,
    ) -> Result<Sum, Error> {
        let (digest, size) = match (single, entries.first()) {
            (true, Some(entry)) => (entry.digest, entry.size),
            (_, _) => {
                let tree =
                    Tree::new(entries).map_err(|source| Error::Tree { path: path.to_owned(), source })?;
                ((self.put)(&tree)?, tree.size())
            }
        };
        let before = folder.old.and_then(|section| self.old?.head(section));
        let as_before = before.is_some_and(|head| head.stored && head.digest == digest)
            && folder.items.iter().all(|item| match &item.what {
                What::File(file) => file.stored,
                What::Folder(Node::New(inner)) => inner.sum.is_some_and(|sum| sum.stored),
                What::Folder(Node::Same(_)) => true,
            });
        let sum = Sum { digest, size, files, stored: self.stored || as_before };
        folder.sum = Some(sum);
        Ok(sum)
    }
}

/// What is to be listed was read before.
fn unread(path: &Path) -> Error {
    Error::Changed { path: path.to_owned() }
}

pub(super) fn files_of(
    folder: &Folder,
    prefix: &str,
    old: Option<&Index>,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<SeenFile>,
) -> Option<()> {
    for item in &folder.items {
        let path = format!("{prefix}{}", folder.name(item));
        match &item.what {
            What::File(file) if wanted(&path) => found.push(SeenFile::new(path, file)?),
            What::File(_) => {}
            What::Folder(Node::New(inner)) => files_of(inner, &format!("{path}/"), old, wanted, found)?,
            What::Folder(Node::Same(section)) => {
                known_files(*section, &format!("{path}/"), old?, wanted, found)?;
            }
        }
    }
    Some(())
}

pub(super) fn known_files(
    section: Section,
    prefix: &str,
    old: &Index,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<SeenFile>,
) -> Option<()> {
    let head = old.head(section)?;
    for place in 0..head.items {
        let item = old.item(section, &head, place)?;
        let path = format!("{prefix}{}", std::str::from_utf8(item.name()).ok()?);
        match item {
            Known::Folder { section, .. } => known_files(section, &format!("{path}/"), old, wanted, found)?,
            Known::File { file, .. } if wanted(&path) => found.push(SeenFile::new(path, &file)?),
            Known::File { .. } => {}
        }
    }
    Some(())
}
