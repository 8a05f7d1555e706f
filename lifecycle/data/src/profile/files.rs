//! Folders whose files are no tables: what they hold, and which of them are looked at.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use serde::{Deserialize, Serialize};

use super::{pictures, texts};
use crate::Error;

const PICTURES: [&str; 5] = ["png", "jpg", "jpeg", "gif", "webp"];
const TEXTS: [&str; 6] = ["txt", "text", "md", "rst", "html", "log"];
/// No larger file is read into memory.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Folders deeper than this are taken for a loop.
const MOST_DEPTH: usize = 64;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path in the folder.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What its bytes have to be, where that is known.
    pub digest: Option<Digest>,
}

/// What a folder holds, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum FolderProfile {
    /// Pictures.
    Pictures(pictures::PictureProfile),
    /// Texts.
    Texts(texts::TextProfile),
}

impl FolderProfile {
    /// Whether each file that was looked at was read, and was what it had to be.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Pictures(pictures) => pictures.unsound == 0,
            Self::Texts(texts) => texts.unsound == 0,
        }
    }
}

/// Why there is nothing of a file.
#[derive(Debug)]
pub(super) struct Fault {
    /// In words.
    pub(super) reason: String,
    /// It says nothing of the file that was added: it could not be read, or its bytes are others.
    pub(super) unsound: bool,
}

impl Fault {
    fn unsound(reason: String) -> Self {
        Self { reason, unsound: true }
    }
}

/// A reason that lies in the bytes themselves.
impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, unsound: false }
    }
}

/// How numbers of files are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle.
    pub median: f64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else { return Self::default() };
        let median = values.get(values.len() / 2).copied().unwrap_or(*min);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { min: *min, median, mean, max: *max }
    }
}

/// The files of a folder, sorted by name; hidden ones and folders that lead back are left out.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_in(folder: &Path) -> Result<Vec<FileEntry>, Error> {
    let mut found = Vec::new();
    walk(folder, "", 0, &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<FileEntry>) -> Result<(), Error> {
    if depth > MOST_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        // A link that leads nowhere is no file.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        // Folders are entered where they lie, and not by links, which may lead back.
        if metadata.is_dir() && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, &format!("{name}/"), depth + 1, found)?;
        } else if metadata.is_file() {
            found.push(FileEntry { name, path, size: metadata.len(), digest: None });
        }
    }
    Ok(())
}

/// The profile of a folder by what most of its files are, by the endings of their names; nothing where
/// they are neither pictures nor texts. With `sample` no more than about so many are looked at, chosen by
/// the digest of their names, so that the same are chosen each time.
pub fn profile(files: &[FileEntry], sample: Option<u64>) -> Option<FolderProfile> {
    let of = |endings: &[&str]| -> Vec<&FileEntry> {
        files.iter().filter(|file| endings.contains(&ending(&file.name).as_str())).collect()
    };
    let (pictures, texts) = (of(&PICTURES), of(&TEXTS));
    if pictures.is_empty() && texts.is_empty() {
        return None;
    }
    let (chosen, pictured) = if pictures.len() >= texts.len() { (pictures, true) } else { (texts, false) };
    let (all, others) = (chosen.len() as u64, (files.len() - chosen.len()) as u64);
    let chosen = sampled(chosen, sample);
    Some(if pictured {
        FolderProfile::Pictures(pictures::profile(&chosen, all, others))
    } else {
        FolderProfile::Texts(texts::profile(&chosen, all, others))
    })
}

fn ending(name: &str) -> String {
    name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default()
}

fn sampled(files: Vec<&FileEntry>, most: Option<u64>) -> Vec<&FileEntry> {
    let Some(most) = most.and_then(|most| usize::try_from(most).ok()).filter(|most| *most < files.len())
    else {
        return files;
    };
    let mut by_digest: Vec<(Digest, &FileEntry)> =
        files.into_iter().map(|file| (Digest::of(file.name.as_bytes()), file)).collect();
    by_digest.sort_by_key(|(digest, _)| digest.hex());
    let mut chosen: Vec<&FileEntry> = by_digest.into_iter().take(most).map(|(_, file)| file).collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    chosen
}

/// The bytes of a file and their digest.
pub(super) fn read(file: &FileEntry) -> Result<(Vec<u8>, Digest), Fault> {
    let failed = |error: std::io::Error| Fault::unsound(error.to_string());
    let others = || Fault::unsound("its bytes are not those that were added".to_owned());
    let size = fs::metadata(&file.path).map_err(failed)?.len();
    if file.digest.is_some() && size != file.size {
        return Err(others());
    }
    if size > MOST_BYTES {
        return Err(format!("it has {size} bytes, more than are read of a file").into());
    }
    let bytes = fs::read(&file.path).map_err(failed)?;
    let digest = Digest::of(&bytes);
    if file.digest.is_some_and(|expected| expected != digest) {
        return Err(others());
    }
    Ok((bytes, digest))
}

/// A file's name in one line.
pub(super) fn named(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_what_most_of_its_files_are() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.md", "c.png", ".hidden.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let files = files_in(dir.path()).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.txt", "b.md", "c.png"]);
        let Some(FolderProfile::Texts(texts)) = profile(&files, Some(1)) else { panic!("texts") };
        assert_eq!((texts.files, texts.looked_at, texts.other_files), (2, 1, 1));
        assert!(profile(&[], None).is_none());
    }
}
