//! What differs between two folders, told from their listings: what is the same on both sides, a folder or
//! a part of a large one, is never opened.

use rondo_core::Digest;
use rondo_core::tree::{Entry, Listing, Mode, Part, Tree};

use super::Objects;
use crate::Error;

const MAX_DEPTH: usize = 400;

/// A file as a listing has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEntry {
    /// Whether it may be executed.
    pub executable: bool,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub digest: Digest,
}

/// A file that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path.
    pub path: String,
    /// What it was; nothing where it has come.
    pub before: Option<FileEntry>,
    /// What it is; nothing where it has gone.
    pub after: Option<FileEntry>,
}

impl Objects {
    /// The files that differ between two folders, sorted by path.
    ///
    /// # Errors
    /// When a listing is not in the store or is broken.
    pub fn changes(&self, from: Digest, to: Digest) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        self.folder_changes(Some(from), Some(to), "", 0, &mut changes)?;
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }

    /// Every file of a folder, with its path, in the order of the listings.
    ///
    /// # Errors
    /// When a listing is not in the store or is broken, or `visit` refuses.
    pub fn each_file(
        &self,
        folder: Digest,
        visit: &mut dyn FnMut(&str, FileEntry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.each_below(folder, "", 0, visit)
    }

    fn each_below(
        &self,
        folder: Digest,
        prefix: &str,
        depth: usize,
        visit: &mut dyn FnMut(&str, FileEntry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        check_depth(prefix, depth)?;
        for part in self.pieces(folder)? {
            let piece = match part {
                Piece::Here(tree) => tree,
                Piece::There(part) => self.part(folder, &part)?,
            };
            for entry in piece.into_entries() {
                let path = format!("{prefix}{}", entry.name);
                match file_of(&entry) {
                    Some(file) => visit(&path, file)?,
                    None => self.each_below(entry.digest, &format!("{path}/"), depth + 1, visit)?,
                }
            }
        }
        Ok(())
    }

    fn folder_changes(
        &self,
        from: Option<Digest>,
        to: Option<Digest>,
        prefix: &str,
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        check_depth(prefix, depth)?;
        let (before, after) = self.differing(from, to)?;
        let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.as_bytes().cmp(b.name.as_bytes()),
            };
            let a = if order.is_le() { before.next() } else { None };
            let b = if order.is_ge() { after.next() } else { None };
            self.entry_changes(a, b, prefix, depth, changes)?;
        }
    }

    fn entry_changes(
        &self,
        a: Option<Entry>,
        b: Option<Entry>,
        prefix: &str,
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        let name = a.as_ref().or(b.as_ref()).map_or("", |entry| entry.name.as_str());
        let path = format!("{prefix}{name}");
        let folder = |entry: &Option<Entry>| {
            entry.as_ref().filter(|entry| entry.mode == Mode::Folder).map(|entry| entry.digest)
        };
        let (before, after) = (a.as_ref().and_then(file_of), b.as_ref().and_then(file_of));
        if before != after {
            changes.push(Change { path: path.clone(), before, after });
        }
        self.folder_changes(folder(&a), folder(&b), &format!("{path}/"), depth + 1, changes)
    }

    /// The entries of two folders, without those in parts that both have.
    fn differing(&self, from: Option<Digest>, to: Option<Digest>) -> Result<(Vec<Entry>, Vec<Entry>), Error> {
        let pieces = |digest: Option<Digest>| digest.map_or(Ok(Vec::new()), |digest| self.pieces(digest));
        let (before, after) = (pieces(from)?, pieces(to)?);
        let shared: std::collections::HashSet<Digest> = {
            let parts = |pieces: &[Piece]| -> std::collections::HashSet<Digest> {
                pieces.iter().filter_map(Piece::digest).collect()
            };
            parts(&before).intersection(&parts(&after)).copied().collect()
        };
        let read = |folder: Option<Digest>, pieces: Vec<Piece>| {
            let mut entries = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Here(tree) => entries.extend(tree.into_entries()),
                    Piece::There(part) if shared.contains(&part.digest) => {}
                    Piece::There(part) => {
                        entries.extend(self.part(folder.unwrap_or(part.digest), &part)?.into_entries());
                    }
                }
            }
            Ok::<_, Error>(entries)
        };
        Ok((read(from, before)?, read(to, after)?))
    }

    fn pieces(&self, digest: Digest) -> Result<Vec<Piece>, Error> {
        let listing =
            Listing::decode(&self.read(digest)?).map_err(|source| Error::NotAFolder { digest, source })?;
        Ok(match listing {
            Listing::Whole(tree) => vec![Piece::Here(tree)],
            Listing::Parts(parts) => parts.into_iter().map(Piece::There).collect(),
        })
    }

    fn part(&self, folder: Digest, part: &Part) -> Result<Tree, Error> {
        Tree::decode(&self.read(part.digest)?).map_err(|source| Error::NotAFolder { digest: folder, source })
    }
}

/// A folder's entries, here or in a part that was not read yet.
enum Piece {
    Here(Tree),
    There(Part),
}

impl Piece {
    const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Here(_) => None,
            Self::There(part) => Some(part.digest),
        }
    }
}

fn file_of(entry: &Entry) -> Option<FileEntry> {
    let executable = match entry.mode {
        Mode::Folder => return None,
        Mode::File => false,
        Mode::Executable => true,
    };
    Some(FileEntry { executable, size: entry.size, digest: entry.digest })
}

fn check_depth(prefix: &str, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH { Err(Error::Deep { path: prefix.into(), most: MAX_DEPTH }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::objects::Take;

    #[test]
    fn files_that_come_go_change_and_turn_into_folders_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let data = folder.path().join("data");
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in [("a", "1"), ("same/x", "x"), ("b/c", "2"), ("d", "3")] {
            write(name, text);
        }
        let from = objects.put_path(&data, Take::Keep).unwrap().digest;
        fs::remove_file(data.join("d")).unwrap();
        write("d/e", "3");
        write("a", "one");
        fs::remove_dir_all(data.join("b")).unwrap();
        let to = objects.put_path(&data, Take::Keep).unwrap().digest;
        let told: Vec<(String, bool, bool)> = objects
            .changes(from, to)
            .unwrap()
            .into_iter()
            .map(|change| (change.path, change.before.is_some(), change.after.is_some()))
            .collect();
        let expected = [("a", true, true), ("b/c", true, false), ("d", true, false), ("d/e", false, true)];
        assert_eq!(told, expected.map(|(path, before, after)| (path.to_owned(), before, after)));
        assert!(objects.changes(to, to).unwrap().is_empty());
        let mut paths = Vec::new();
        objects
            .each_file(to, &mut |path, _| {
                paths.push(path.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(paths, ["a", "d/e", "same/x"]);
    }

    #[test]
    fn of_a_large_folder_only_the_parts_that_differ_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let entry = |number: usize, text: &[u8]| Entry {
            mode: Mode::File,
            size: text.len() as u64,
            digest: Digest::of(text),
            name: format!("{number:06}"),
        };
        let mut entries: Vec<Entry> = (0..30_000).map(|number| entry(number, b"x")).collect();
        let from = objects.put_tree(&Tree::new(entries.clone()).unwrap()).unwrap();
        entries[12_345] = entry(12_345, b"other");
        entries.push(entry(30_000, b"new"));
        let to = objects.put_tree(&Tree::new(entries).unwrap()).unwrap();
        let (before, after) = objects.differing(Some(from), Some(to)).unwrap();
        assert!(before.len() < 15_000 && after.len() < 15_000, "{} {}", before.len(), after.len());
        let told: Vec<String> = objects.changes(from, to).unwrap().into_iter().map(|c| c.path).collect();
        assert_eq!(told, ["012345", "030000"]);
    }
}
