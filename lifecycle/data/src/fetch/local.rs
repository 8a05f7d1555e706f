//! Sources on this machine: files, folders, patterns, and paths that go on inside an archive.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::suggest;

use super::archive::Format;
use super::glob::Glob;
use crate::Error;

const MAX_DEPTH: usize = 100;

/// What a path leads to.
pub enum Found {
    /// A folder's files by their paths in it, sorted.
    Folder(Vec<(String, PathBuf)>),
    /// A file; `inside`: where in it the path goes on.
    File {
        /// The file.
        path: PathBuf,
        /// What is left of the path.
        inside: Option<String>,
    },
}

/// Looks a path up.
///
/// # Errors
/// When there is nothing, or a folder without files.
pub fn find(root: &Path, text: &str) -> Result<Found, Error> {
    let path = root.join(text);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            let files = files_below(&path)?;
            if files.is_empty() {
                return Err(Error::SourceNotFound {
                    what: format!("{text}: a folder without files"),
                    near: None,
                });
            }
            Ok(Found::Folder(files))
        }
        Ok(_) => Ok(Found::File { path, inside: None }),
        Err(_) => in_archive(root, text).ok_or_else(|| not_found(root, text)),
    }
}

/// The file or folder that a path leads to or through, and whether it goes on inside an archive.
///
/// # Errors
/// When there is nothing.
pub fn outer(root: &Path, text: &str) -> Result<(PathBuf, bool), Error> {
    let path = root.join(text);
    if path.exists() {
        return Ok((path, false));
    }
    match in_archive(root, text) {
        Some(Found::File { path, .. }) => Ok((path, true)),
        Some(Found::Folder(_)) | None => Err(not_found(root, text)),
    }
}

/// A path whose beginning is an archive and whose end is inside it.
fn in_archive(root: &Path, text: &str) -> Option<Found> {
    text.match_indices('/').find_map(|(at, _)| {
        let (archive, inside) = (text.get(..at)?, text.get(at + 1..)?);
        let path = root.join(archive);
        let is_archive = Format::of(archive).is_some() && path.is_file() && !inside.is_empty();
        is_archive.then(|| Found::File { path, inside: Some(inside.to_owned()) })
    })
}

fn not_found(root: &Path, text: &str) -> Error {
    let path = Path::new(text);
    if fs::symlink_metadata(root.join(text)).is_ok_and(|metadata| metadata.is_symlink()) {
        let to = fs::read_link(root.join(text)).unwrap_or_default().display().to_string();
        return Error::LinkBroken { link: text.to_owned(), to };
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let names: Vec<String> = fs::read_dir(root.join(parent))
        .map(|entries| {
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<String>>()
        })
        .unwrap_or_default();
    let near = suggest::nearest(&file_name(path), names.iter().map(String::as_str))
        .map(|name| parent.join(name).display().to_string());
    Error::SourceNotFound { what: text.to_owned(), near }
}

/// All files that a pattern matches, by their paths below the folder where the pattern begins, sorted.
/// `*`, `?` and `[…]` stand for what has no slash, `**` for any folders; hidden files have to be named.
///
/// # Errors
/// When the pattern is broken, nothing matches, or a folder cannot be read.
pub fn glob_files(root: &Path, pattern: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    let (base, glob) = Glob::parse(root, pattern)?;
    let mut files: Vec<(String, PathBuf)> = if base.is_dir() { files_below(&base)? } else { Vec::new() };
    files.retain(|(name, _)| glob.takes(name));
    if files.is_empty() {
        return Err(Error::NoMatch { pattern: pattern.to_owned() });
    }
    Ok(files)
}

/// All files below a folder by their paths in it, sorted; links are followed.
fn files_below(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut files = Vec::new();
    let mut open = vec![(String::new(), folder.to_owned(), 0)];
    while let Some((prefix, folder, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Error::io("read", &folder)(std::io::Error::other("folders are nested too deep")));
        }
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            let name = format!("{prefix}{}", file_name(&path));
            let metadata = fs::metadata(&path).map_err(Error::io("read", &path))?;
            if metadata.is_dir() {
                open.push((format!("{name}/"), path, depth + 1));
            } else {
                files.push((name, path));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The last part of a path, as text.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: Vec<(String, PathBuf)>) -> Vec<String> {
        found.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data/a1.csv", "data/a2.csv", "data/b.txt", "data/.h.csv", "data/sub/deep/a3.csv"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let files = |pattern: &str| glob_files(folder.path(), pattern).map(names);
        assert_eq!(files("data/*.csv").unwrap(), ["a1.csv", "a2.csv"]);
        assert_eq!(files("data/**/*.csv").unwrap(), ["a1.csv", "a2.csv", "sub/deep/a3.csv"]);
        assert_eq!(files("*/a[2-9].csv").unwrap(), ["data/a2.csv"]);
        assert_eq!(files("data/a[!2].csv").unwrap(), ["a1.csv"]);
        assert_eq!(files("data/.?.csv").unwrap(), [".h.csv"]);
        assert!(matches!(files("data/*.parquet"), Err(Error::NoMatch { .. })));
        assert!(matches!(files("nowhere/*.csv"), Err(Error::NoMatch { .. })));
        assert!(matches!(files("data/[.csv"), Err(Error::SourceInvalid { .. })));
    }

    #[test]
    fn a_missing_file_is_answered_with_a_near_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/flights.csv"), "a").unwrap();
        let Err(Error::SourceNotFound { near, .. }) = find(folder.path(), "data/flight.csv") else {
            panic!("found");
        };
        assert_eq!(near.as_deref(), Some("data/flights.csv"));
    }
}
