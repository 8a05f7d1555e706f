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
        // A link to a folder may lead in a circle; one to a file is the file. What is neither (a socket, the link
        // that leads nowhere by which Emacs locks a file) nobody runs.
        let is_code =
            if kind.is_symlink() { entry.path().is_file() } else { kind.is_dir() || kind.is_file() };
        if is_code && !NOT_CODE.contains(&file.as_str()) && !file.ends_with(".pyc") {
            collect(&entry.path(), &format!("{name}/{file}"), found)?;
        }
    }
    Ok(())
}

/// The first of these files that is not what it was: it was edited while a step ran that may have read either.
/// `place` says where each of them is.
pub fn changed(code: &BTreeMap<String, Digest>, place: impl Fn(&str) -> PathBuf) -> Option<&str> {
    let is_same = |path: &str, known: &Digest| {
        Objects::digest_path(&place(path)).is_ok_and(|found| found.digest == *known)
    };
    code.iter().find(|(path, known)| !is_same(path, known)).map(|(path, _)| path.as_str())
}

/// Removes what Python compiled of modules before they were changed last. Python tells a change by size and
/// second alone, so that of two edits within a second it would run the first.
pub(crate) fn forget_compiled<'a>(root: &Path, files: impl Iterator<Item = &'a String>) {
    for file in files.filter(|file| file.ends_with(".py")) {
        let source = root.join(file);
        let (Some(folder), Some(name)) = (source.parent(), source.file_stem()) else { continue };
        let Ok(compiled) = fs::read_dir(folder.join("__pycache__")) else { continue };
        let Ok(changed) = fs::metadata(&source).and_then(|source| source.modified()) else { continue };
        let start = format!("{}.", name.to_string_lossy());
        let is_old = |entry: &fs::DirEntry| {
            let made = entry.metadata().and_then(|found| found.modified());
            entry.file_name().to_string_lossy().starts_with(&start) && made.is_ok_and(|made| made <= changed)
        };
        for entry in compiled.flatten().filter(is_old) {
            // What cannot be removed is Python's to judge, as before.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

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
    fn what_was_edited_or_removed_meanwhile_is_told() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a.py", "b.py", "c.py"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        let paths = ["a.py", "b.py", "c.py"].map(str::to_owned);
        let code = digests(root.path(), "s", &paths).unwrap();
        let place = |path: &str| root.path().join(path);
        assert_eq!(changed(&code, place), None);
        fs::write(root.path().join("b.py"), "B.py").unwrap();
        assert_eq!(changed(&code, place), Some("b.py"));
        fs::remove_file(root.path().join("a.py")).unwrap();
        assert_eq!(changed(&code, place), Some("a.py"));
    }

    #[test]
    fn links_that_lead_nowhere_and_sockets_are_no_code() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("src")).unwrap();
        fs::write(root.path().join("src/train.py"), "t").unwrap();
        std::os::unix::fs::symlink("ada@host.1234", root.path().join("src/.#train.py")).unwrap();
        std::os::unix::fs::symlink("train.py", root.path().join("src/linked.py")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("src/socket")).unwrap();
        let found = digests(root.path(), "s", &["src".to_owned()]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["src/linked.py", "src/train.py"]);
    }

    #[test]
    fn files_that_are_missing_or_outside_are_told() {
        let root = tempfile::tempdir().unwrap();
        for path in ["no.py", "../x", "/etc/passwd", ""] {
            let error = digests(root.path(), "train", &[path.to_owned()]).unwrap_err();
            assert!(matches!(error, Error::CodeMissing { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn what_was_compiled_before_the_last_change_is_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("__pycache__")).unwrap();
        let changed = SystemTime::now() - Duration::from_secs(60);
        let made = |name: &str, at: SystemTime| {
            let file = fs::File::create(root.path().join(name)).unwrap();
            file.set_modified(at).unwrap();
        };
        let compiled = ["a.cpython-311.pyc", "a.cpython-312.pyc", "ab.cpython-311.pyc"];
        made("a.py", changed);
        made("ab.py", changed - Duration::from_secs(2));
        for (name, later) in compiled.iter().zip([0, 1, 0]) {
            made(
                &format!("__pycache__/{name}"),
                changed - Duration::from_secs(1) + Duration::from_secs(2 * later),
            );
        }
        forget_compiled(root.path(), ["a.py", "ab.py", "gone.py", "n.ipynb"].map(str::to_owned).iter());
        let left = |name: &&&str| root.path().join("__pycache__").join(name).exists();
        assert_eq!(compiled.iter().filter(left).collect::<Vec<_>>(), [&compiled[1], &compiled[2]]);
    }
}
