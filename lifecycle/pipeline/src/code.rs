//! The code of a step: the files whose content is part of its key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rondo_core::Digest;
use rondo_store::Objects;

use crate::Error;

/// Names that appear beside code and are not code.
pub(crate) const NOT_CODE: [&str; 7] =
    [".git", ".rondo", "__pycache__", ".ipynb_checkpoints", "node_modules", ".venv", ".pytest_cache"];

/// A path relative to the project that stays inside it, or nothing.
pub(crate) fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let plain =
        Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !path.is_empty()).then(|| root.join(path))
}

/// The digests of files and of all files in folders, by path relative to the project.
///
/// # Errors
/// When a path leaves the project, does not exist or cannot be read.
pub fn digests(root: &Path, step: &str, paths: &[String]) -> Result<BTreeMap<String, Digest>, Error> {
    let mut found = BTreeMap::new();
    for path in paths {
        let relative = relative(root, path);
        let missing = || Error::CodeMissing { step: step.to_owned(), path: path.clone() };
        let absolute = inside(root, &relative).ok_or_else(missing)?;
        if !absolute.exists() {
            return Err(missing());
        }
        collect(&absolute, relative.trim_end_matches('/'), &mut found)?;
    }
    Ok(found)
}

/// The path as it is named in records: relative to the project also when it was given in full.
pub(crate) fn relative(root: &Path, path: &str) -> String {
    let path = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
    let parts: Vec<_> = path.components().filter(|part| *part != Component::CurDir).collect();
    parts.iter().collect::<PathBuf>().to_string_lossy().into_owned()
}

pub(crate) fn collect(path: &Path, name: &str, found: &mut BTreeMap<String, Digest>) -> Result<(), Error> {
    if !path.is_dir() {
        found.insert(name.to_owned(), Objects::digest_path(path)?.digest);
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        let entry = entry.map_err(Error::io("read", path))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(Error::io("read", path))?;
        // A link to a folder may lead in a circle; one to a file is the file.
        let linked_folder = kind.is_symlink() && entry.path().is_dir();
        if !linked_folder && !NOT_CODE.contains(&file.as_str()) && !file.ends_with(".pyc") {
            collect(&entry.path(), &format!("{name}/{file}"), found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_files_and_leave_out_what_running_makes() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("src/__pycache__")).unwrap();
        fs::write(root.path().join("src/a.py"), "a").unwrap();
        fs::write(root.path().join("src/__pycache__/a.pyc"), "x").unwrap();
        fs::write(root.path().join("run.sh"), "r").unwrap();
        let absolute = root.path().join("run.sh").to_string_lossy().into_owned();
        let found = digests(root.path(), "s", &["src/".to_owned(), absolute]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["run.sh", "src/a.py"]);
        assert_eq!(found["src/a.py"], Digest::of(b"a"));
    }

    #[test]
    fn files_that_are_missing_or_outside_are_told() {
        let root = tempfile::tempdir().unwrap();
        for path in ["no.py", "../x", "/etc/passwd", ""] {
            let error = digests(root.path(), "train", &[path.to_owned()]).unwrap_err();
            assert!(matches!(error, Error::CodeMissing { .. }), "{path}: {error}");
        }
    }
}
