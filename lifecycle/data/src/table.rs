//! The files of a dataset as tables: which are, how they are read, and what is remembered of them.

use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_table::TableError;
use rondo_table::profile::Profile;
use rondo_table::read::{self, Format, ReadOptions};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::Error;
use crate::fetch::unpack::plain_name;

/// Part of the keys under which profiles are remembered: it changes when they would come out
/// otherwise for the same file.
const ROUND: u32 = 4;
/// The same for checks.
const CHECKS: u32 = 4;

/// The format of files that are not looked into, whatever they are called.
pub const FILES: &str = "files";

/// How files of a declared format are read.
///
/// # Errors
/// When there is no such format.
pub fn options(format: Option<&str>) -> Result<ReadOptions, Error> {
    let (format, delimiter) = match format.map(str::to_lowercase).as_deref() {
        None | Some(FILES) => (None, None),
        Some("tsv" | "tab") => (Some(Format::Csv), Some(b'\t')),
        Some("excel") => (Some(Format::Excel), None),
        Some(other) => match Format::of_ending(other) {
            Some(format) => (Some(format), None),
            None => return Err(Error::Format { format: other.to_owned() }),
        },
    };
    Ok(ReadOptions { format, delimiter, ..ReadOptions::default() })
}

/// How files are read for which a format and ways of reading (`read:`) are declared.
///
/// # Errors
/// When there is no such format or way.
pub fn options_of(format: Option<&str>, read: &Map<String, Value>) -> Result<ReadOptions, Error> {
    Ok(options(format)?.with(read)?)
}

/// How the files of a version are read: as when it was made, whatever is declared since.
///
/// # Errors
/// When it was made by a newer program that reads in other ways.
pub fn options_for_version(version: &DatasetVersion) -> Result<ReadOptions, Error> {
    options_of(version.origin.format.as_deref(), &version.origin.read)
}

/// Whether ways of reading can be understood; the error says what is wrong with them. For the checker of
/// the project file.
///
/// # Errors
/// When they cannot.
pub fn judge(read: &Map<String, Value>) -> Result<(), String> {
    ReadOptions::default().with(read).map(drop).map_err(|error| {
        let hints = rondo_core::Explain::hints(&error);
        hints.iter().fold(error.to_string(), |text, hint| format!("{text}; {hint}"))
    })
}

/// Whether a file is to be read as a table: by its ending, or because a format was declared. Hidden files
/// and those that begin with `_` never are.
pub fn is_table(name: &str, options: &ReadOptions) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let ending = file.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    let known = ending.is_some_and(|ending| Format::of_ending(&ending).is_some());
    !file.starts_with(['.', '_']) && (known || options.format.is_some())
}

/// The format in which a file is read: the declared one, else by the ending of its name. An object in the
/// store has no ending, so the name has to be told apart from the path.
fn options_for(name: &str, options: &ReadOptions) -> ReadOptions {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).unwrap_or_default();
    let format = options.format.or_else(|| Format::of_ending(&ending));
    ReadOptions { format, ..options.clone() }
}

/// Whether a file or folder is delimited text whose numbers are read as programs write them.
pub(crate) fn has_points(name: &str, path: &Path, options: &ReadOptions) -> bool {
    options.decimal == b'.'
        && options.thousands.is_none()
        && read::is_delimited(path, &options_at(name, path, options))
}

/// How a file or folder is read.
pub fn options_at(name: &str, path: &Path, options: &ReadOptions) -> ReadOptions {
    if path.is_dir() { options.clone() } else { options_for(name, options) }
}

/// Opens a file or folder as a table.
///
/// # Errors
/// When it is none.
pub fn open(name: &str, path: &Path, options: &ReadOptions) -> Result<read::TableReader, Error> {
    Ok(read::open_with(path, &options_at(name, path, options))?)
}

/// The profile of a file or folder.
///
/// # Errors
/// When it is no table or cannot be read.
pub fn profile(name: &str, path: &Path, options: &ReadOptions) -> Result<Profile, Error> {
    Ok(Profile::of(open(name, path, options)?)?)
}

/// Names the file whose columns are not those of the files before it.
pub(crate) fn in_file(name: &str, error: TableError) -> TableError {
    match error {
        TableError::ProfileMismatch { reason } => {
            TableError::ProfileMismatch { reason: format!("{reason}, which is `{name}`") }
        }
        other => other,
    }
}

/// The error of a file of a version, which lies in the store under another name than people know.
pub fn called(name: &str) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Table(error) => Error::Table(error.called(Path::new(name))),
        other => other,
    }
}

/// The name under which a file's profile is remembered.
pub fn profile_key(name: &str, file: Digest, options: &ReadOptions) -> String {
    format!("data/profile/{ROUND}/{file}/{}", reading(name, options))
}

/// The name under which it is remembered that a file has passed a suite.
pub fn passed_key(name: &str, suite: Digest, file: Digest, options: &ReadOptions) -> String {
    format!("data/passed/{CHECKS}/{}/{file}/{}", suite.short(), reading(name, options))
}

/// All that decides how a file's bytes become rows.
fn reading(name: &str, options: &ReadOptions) -> String {
    Digest::of(format!("{:?}", options_for(name, options)).as_bytes()).short()
}

/// A folder with links to files, which is read as one table in the order of the names. It lies in
/// `scratch` and goes when it is dropped.
///
/// # Errors
/// When it cannot be made.
pub fn folder_of_links(files: &[(String, PathBuf)], scratch: &Path) -> Result<TempDir, Error> {
    std::fs::create_dir_all(scratch).map_err(Error::io("make", scratch))?;
    let folder = TempDir::new_in(scratch).map_err(Error::io("make a folder in", scratch))?;
    for (index, (name, path)) in files.iter().enumerate() {
        let path = path.canonicalize().map_err(Error::io("read", path))?;
        let link = folder.path().join(format!("{index:08}-{}", plain_name(name)));
        std::os::unix::fs::symlink(&path, &link).map_err(Error::io("make", &link))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_by_ending_or_declaration() {
        let plain = options(None).unwrap();
        let declared = options(Some("csv")).unwrap();
        assert!(is_table("2013/01.csv", &plain) && is_table("a.PARQUET", &plain));
        assert!(!is_table("a.png", &plain) && !is_table("_SUCCESS.csv", &plain) && !is_table("a", &plain));
        assert!(is_table("data.txt", &declared) && !is_table(".hidden", &declared));
        assert!(matches!(options(Some("docx")), Err(Error::Format { .. })));
    }

    #[test]
    fn an_object_without_an_ending_is_read_by_its_name() {
        let folder = TempDir::new().unwrap();
        let object = folder.path().join("cdef");
        std::fs::write(&object, "a\tb\n1,5\tx\n").unwrap();
        let profile = profile("t.tsv", &object, &options(Some("tsv")).unwrap()).unwrap();
        assert_eq!((profile.rows, profile.columns.len()), (1, 2));
        let plain = options(None).unwrap();
        let digest = Digest::of(b"");
        assert_ne!(profile_key("a.csv", digest, &plain), profile_key("a.json", digest, &plain));
        assert_eq!(profile_key("a.csv", digest, &plain), profile_key("b.csv", digest, &plain));
    }
}
