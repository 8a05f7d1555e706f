//! What has to be done to put a version into place, told before anything is touched: which files are placed,
//! which stay, which go, and what would be lost. Nothing is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::tree::Mode;
use rondo_store::objects::{FileEntry, half_made};

use super::{Content, Request};
use crate::Error;
use crate::listing::Leaf;

/// What has to be done.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) place: Vec<(String, FileEntry)>,
    pub(super) remove: Vec<String>,
    pub(super) kept: u64,
    pub(super) in_the_way: Vec<String>,
    /// What has to go first, since a name is a file here and a folder there: each with all its files.
    pub(super) clear: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// Whether something is in the way that is not cleared even where it is forced: the place itself, a
    /// folder with files of others.
    pub(super) firm: bool,
    /// Whether there are files that neither this version nor a saved one has.
    pub(super) strange: bool,
}

/// `there`: what was found at the place, where that is known; else each file is looked at.
pub(super) fn plan(
    content: &Content,
    to: &Path,
    there: Option<&BTreeMap<String, Leaf>>,
    saved: &BTreeMap<String, Vec<Digest>>,
    request: &Request,
) -> Result<Plan, Error> {
    let mut way = Way { to, there, saved, plan: Plan::default(), above: None };
    for folder in &content.folders {
        let place = at(to, folder.trim_end_matches('/'));
        if !place.is_dir() {
            way.open(&place)?;
        }
    }
    for (path, file) in &content.files {
        let place = at(to, path);
        let found = match there {
            Some(there) if there.contains_key(path) => there.get(path).copied(),
            Some(_) | None => match found_at(&place)? {
                Found::File(leaf) => Some(leaf),
                Found::Nothing => {
                    way.open_above(&place)?;
                    None
                }
                Found::Other => {
                    way.clear(&place)?;
                    None
                }
            },
        };
        match found {
            Some(leaf)
                if leaf.digest == file.digest && (leaf.mode == Mode::Executable) == file.executable =>
            {
                way.plan.kept += 1;
                continue;
            }
            Some(leaf) if leaf.digest != file.digest && !is_saved(saved, path, leaf.digest) => {
                way.plan.in_the_way.push(place.display().to_string());
            }
            Some(_) | None => {}
        }
        way.plan.place.push((path.clone(), *file));
    }
    let mut plan = way.plan;
    if let Some(there) = there.filter(|_| request.only.is_empty()) {
        let wanted: BTreeSet<&str> = content.files.iter().map(|(path, _)| path.as_str()).collect();
        let cleared: BTreeSet<&Path> = plan.clear.values().flatten().map(PathBuf::as_path).collect();
        for (path, leaf) in there.iter().filter(|(path, _)| !wanted.contains(path.as_str())) {
            // What belongs to no version is none of ours.
            if !is_saved(saved, path, leaf.digest) {
                plan.strange = true;
            } else if !cleared.contains(at(to, path).as_path()) {
                plan.remove.push(path.clone());
            }
        }
    }
    Ok(plan)
}

/// What lies in the way of names that are a file here and a folder there.
struct Way<'a> {
    to: &'a Path,
    there: Option<&'a BTreeMap<String, Leaf>>,
    saved: &'a BTreeMap<String, Vec<Digest>>,
    plan: Plan,
    /// The folder that was looked at last: files come folder by folder.
    above: Option<PathBuf>,
}

impl Way<'_> {
    /// Clears what lies above a place, up to the top, and is no folder.
    fn open_above(&mut self, place: &Path) -> Result<(), Error> {
        let Some(parent) = place.parent().filter(|_| place != self.to) else { return Ok(()) };
        if self.above.as_deref() == Some(parent) {
            return Ok(());
        }
        self.open(parent)?;
        self.above = Some(parent.to_owned());
        Ok(())
    }

    /// Clears what lies where a folder has to be, or above it, and is none.
    fn open(&mut self, folder: &Path) -> Result<(), Error> {
        for path in folder.ancestors().take_while(|path| path.starts_with(self.to)) {
            if path.is_dir() {
                return Ok(());
            }
            // A link that leads nowhere is there too.
            if fs::symlink_metadata(path).is_ok() {
                return self.clear(path);
            }
        }
        Ok(())
    }

    /// Notes what has to go, and what would be lost by that.
    fn clear(&mut self, path: &Path) -> Result<(), Error> {
        if self.plan.clear.contains_key(path) {
            return Ok(());
        }
        let mut files = Vec::new();
        files_below(path, &mut files)?;
        let mut lost = Vec::new();
        for file in &files {
            if !self.is_safe(file)? {
                lost.push(file.display().to_string());
            }
        }
        if path == self.to && path.is_dir() && !lost.is_empty() {
            self.plan.firm = true;
        }
        self.plan.in_the_way.append(&mut lost);
        self.plan.clear.insert(path.to_owned(), files);
        Ok(())
    }

    /// Whether a file is one of a version that lay here, and unchanged, or only half put here.
    fn is_safe(&self, file: &Path) -> Result<bool, Error> {
        if file.file_name().and_then(|name| name.to_str()).is_some_and(|name| half_made(name).is_some()) {
            return Ok(true);
        }
        let Some(path) = file.strip_prefix(self.to).ok().and_then(Path::to_str) else { return Ok(false) };
        if !self.saved.contains_key(path) {
            return Ok(false);
        }
        let leaf = match self.there.and_then(|there| there.get(path)) {
            Some(leaf) => *leaf,
            None => match found_at(file)? {
                Found::File(leaf) => leaf,
                Found::Nothing | Found::Other => return Ok(false),
            },
        };
        Ok(is_saved(self.saved, path, leaf.digest))
    }
}

/// The place of a path; of the empty one the top.
pub(super) fn at(to: &Path, path: &str) -> PathBuf {
    if path.is_empty() { to.to_owned() } else { to.join(path) }
}

/// How a file is called that lies at or below the top.
pub(super) fn shown_below(to: &Path, file: &Path) -> String {
    let below = file.strip_prefix(to).ok().filter(|path| !path.as_os_str().is_empty());
    below.unwrap_or(file).display().to_string()
}

/// All that is no folder at or below a path, in order.
fn files_below(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !fs::symlink_metadata(path).map_err(Error::io("read", path))?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut inner: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(Error::io("read", path))?;
    inner.sort();
    inner.iter().try_for_each(|path| files_below(path, files))
}

fn is_saved(saved: &BTreeMap<String, Vec<Digest>>, path: &str, digest: Digest) -> bool {
    saved.get(path).is_some_and(|digests| digests.contains(&digest))
}

enum Found {
    Nothing,
    File(Leaf),
    /// A folder, or what is neither.
    Other,
}

fn found_at(place: &Path) -> Result<Found, Error> {
    let metadata = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(Error::io("read", place)(error)),
    };
    if !metadata.is_file() {
        return Ok(Found::Other);
    }
    Ok(Found::File(crate::listing::leaf_of(place)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> FileEntry {
        FileEntry { executable: false, size: text.len() as u64, digest: Digest::of(text.as_bytes()) }
    }

    fn request() -> Request {
        Request { to: None, only: Vec::new(), force: false, dry_run: false }
    }

    #[test]
    fn what_is_right_stays_what_is_saved_goes_and_what_would_be_lost_is_in_the_way() {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in [("right", "r"), ("old", "o"), ("mine", "m"), ("older", "gone"), ("alien", "x")] {
            fs::write(place.path().join(name), text).unwrap();
        }
        fs::create_dir(place.path().join("folder")).unwrap();
        fs::write(place.path().join("folder/mine"), "m").unwrap();
        let files = ["right", "old", "mine", "new", "folder"];
        let content = Content {
            files: files
                .iter()
                .map(|name| ((*name).to_owned(), file(if *name == "right" { "r" } else { "z" })))
                .collect(),
            folders: Vec::new(),
        };
        let saved = BTreeMap::from([
            ("old".to_owned(), vec![Digest::of(b"o")]),
            ("older".to_owned(), vec![Digest::of(b"gone")]),
        ]);
        let plan_of = |there: Option<&BTreeMap<String, Leaf>>| {
            let plan = plan(&content, place.path(), there, &saved, &request()).unwrap();
            let names: Vec<String> = plan.place.into_iter().map(|(path, _)| path).collect();
            (names, plan.kept, plan.in_the_way, plan.remove)
        };
        let path = |name: &str| place.path().join(name).display().to_string();
        let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let lost = path("folder/mine");
        let expected = |remove: &[&str]| {
            (words(&["old", "mine", "new", "folder"]), 1, vec![path("mine"), lost.clone()], words(remove))
        };
        assert_eq!(plan_of(None), expected(&[]));
        let there = ["right", "old", "mine", "older", "alien"]
            .map(|name| (name.to_owned(), crate::listing::leaf_of(&place.path().join(name)).unwrap()));
        assert_eq!(plan_of(Some(&BTreeMap::from(there))), expected(&["older"]));
    }
}
