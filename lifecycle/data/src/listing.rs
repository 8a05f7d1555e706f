//! A folder as the flat list of its files: made from an object, changed, and made into an object again
//! without touching the files' bytes. This is how a dataset grows by a part without being copied.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::tree::{Entry, Mode, Tree, TreeError};
use rondo_store::Objects;
use rondo_store::objects::{FileEntry, Stored};
use rondo_store::scan::SeenFile;

use crate::Error;

const MAX_DEPTH: usize = 200;

/// One file of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Whether it may be executed.
    pub mode: Mode,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub digest: Digest,
}

impl From<&SeenFile> for Leaf {
    fn from(file: &SeenFile) -> Self {
        let mode = if file.executable { Mode::Executable } else { Mode::File };
        Self { mode, size: file.size, digest: file.digest }
    }
}

impl From<FileEntry> for Leaf {
    fn from(file: FileEntry) -> Self {
        let mode = if file.executable { Mode::Executable } else { Mode::File };
        Self { mode, size: file.size, digest: file.digest }
    }
}

/// A folder's files by their paths in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    files: BTreeMap<String, Leaf>,
}

impl Listing {
    /// Of a folder in the store.
    ///
    /// # Errors
    /// When a listing is not in the store or is broken.
    pub fn read(objects: &Objects, folder: Digest) -> Result<Self, Error> {
        let mut listing = Self::default();
        listing.read_into(objects, folder, "", 0)?;
        Ok(listing)
    }

    fn read_into(
        &mut self,
        objects: &Objects,
        folder: Digest,
        prefix: &str,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(broken(prefix, TreeError::Name { name: prefix.to_owned() }));
        }
        for entry in objects.tree(folder)?.entries() {
            let path = format!("{prefix}{}", entry.name);
            if entry.mode == Mode::Folder {
                self.read_into(objects, entry.digest, &format!("{path}/"), depth + 1)?;
            } else {
                let leaf = Leaf { mode: entry.mode, size: entry.size, digest: entry.digest };
                self.files.insert(path, leaf);
            }
        }
        Ok(())
    }

    /// Of files on disk, by hashing them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_files(files: &[(String, PathBuf)]) -> Result<Self, Error> {
        let mut listing = Self::default();
        for (name, path) in files {
            listing.insert(name, leaf_of(path)?);
        }
        Ok(listing)
    }

    /// Adds a file, or puts it in the place of the one at that path.
    pub fn insert(&mut self, path: &str, leaf: Leaf) -> Option<Leaf> {
        self.files.insert(path.to_owned(), leaf)
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &BTreeMap<String, Leaf> {
        &self.files
    }

    /// The folder's address, size and number of files, without storing it.
    ///
    /// # Errors
    /// When a path is both a file and a folder, or has a part that no file can be named.
    pub fn stored(&self) -> Result<Stored, Error> {
        self.compose(&|tree| Ok(tree.digest()))
    }

    /// Stores the listings, but none of the files.
    ///
    /// # Errors
    /// As [`Listing::stored`], and when the store cannot be written.
    pub fn store(&self, objects: &Objects) -> Result<Stored, Error> {
        self.compose(&|tree| Ok(objects.put_tree(tree)?))
    }

    fn compose(&self, put: &dyn Fn(&Tree) -> Result<Digest, Error>) -> Result<Stored, Error> {
        let files: Vec<(&str, Leaf)> = self.files.iter().map(|(path, leaf)| (path.as_str(), *leaf)).collect();
        let (digest, size) = compose(&files, put, 0)?;
        Ok(Stored { digest, size, files: files.len() as u64, folder: true })
    }
}

/// What a file on disk is as part of a folder.
///
/// # Errors
/// When it cannot be read.
pub fn leaf_of(path: &Path) -> Result<Leaf, Error> {
    let stored = Objects::digest_path(path)?;
    let permissions = std::fs::metadata(path).map_err(Error::io("read", path))?.permissions();
    let mode = if permissions.mode() & 0o100 == 0 { Mode::File } else { Mode::Executable };
    Ok(Leaf { mode, size: stored.size, digest: stored.digest })
}

fn compose(
    files: &[(&str, Leaf)],
    put: &dyn Fn(&Tree) -> Result<Digest, Error>,
    depth: usize,
) -> Result<(Digest, u64), Error> {
    let mut entries = Vec::new();
    let mut inner: BTreeMap<&str, Vec<(&str, Leaf)>> = BTreeMap::new();
    for (path, leaf) in files {
        match path.split_once('/') {
            Some((folder, rest)) => inner.entry(folder).or_default().push((rest, *leaf)),
            None => entries.push(Entry {
                mode: leaf.mode,
                size: leaf.size,
                digest: leaf.digest,
                name: (*path).to_owned(),
            }),
        }
    }
    for (name, files) in inner {
        if depth >= MAX_DEPTH {
            return Err(broken(name, TreeError::Name { name: name.to_owned() }));
        }
        let (digest, size) = compose(&files, put, depth + 1)?;
        entries.push(Entry { mode: Mode::Folder, size, digest, name: name.to_owned() });
    }
    let tree = Tree::new(entries).map_err(|source| broken("a folder", source))?;
    Ok((put(&tree)?, tree.size()))
}

fn broken(what: &str, source: TreeError) -> Error {
    Error::Store(rondo_store::Error::Tree { path: what.into(), source })
}

#[cfg(test)]
mod tests {
    use rondo_store::objects::Take;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_listing_is_the_folder_that_it_was_read_from() {
        let folder = TempDir::new().unwrap();
        for name in ["b.csv", "a/x.csv", "a/deep/y.csv"] {
            let path = folder.path().join("data").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let stored = objects.put_path(&folder.path().join("data"), Take::Keep).unwrap();
        let listing = Listing::read(&objects, stored.digest).unwrap();
        assert_eq!(listing.files().keys().collect::<Vec<_>>(), ["a/deep/y.csv", "a/x.csv", "b.csv"]);
        assert_eq!(listing.stored().unwrap(), stored);
        assert_eq!(listing.store(&objects).unwrap(), stored);
    }

    #[test]
    fn a_file_is_added_without_its_bytes() {
        let folder = TempDir::new().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let part = objects.put_bytes(b"a,b\n").unwrap();
        let mut listing = Listing::default();
        listing.insert("2013/01.csv", Leaf { mode: Mode::File, size: part.size, digest: part.digest });
        let stored = listing.store(&objects).unwrap();
        assert_eq!((stored.files, stored.size, stored.folder), (1, 4, true));
        assert!(objects.holds(stored.digest, true));
        let again = Listing::read(&objects, stored.digest).unwrap();
        assert_eq!(again, listing);
    }

    #[test]
    fn a_path_that_cannot_be_one_is_refused() {
        let leaf = Leaf { mode: Mode::File, size: 0, digest: Digest::of(b"") };
        for paths in [vec!["a/../b"], vec!["/a"], vec!["a//b"], vec!["a", "a/b"]] {
            let mut listing = Listing::default();
            for path in &paths {
                listing.insert(path, leaf);
            }
            assert!(listing.stored().is_err(), "{paths:?}");
        }
    }
}
