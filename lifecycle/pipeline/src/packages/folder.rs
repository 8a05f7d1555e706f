//! The folder of a package: its digest, which of its files a step's result depends on, and the copy that a
//! step runs in.
//!
//! A step gets a copy so that whatever it writes beside its program changes no package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rondo_core::Digest;
use rondo_project::package::PACKAGE_FILE;

use crate::{Error, code};

/// The folder of a package's tests.
const TESTS: &str = "tests";

/// The digest of all that a package is: every file's path and content.
///
/// # Errors
/// When a file cannot be read.
pub fn digest(folder: &Path) -> Result<Digest, Error> {
    let mut found = BTreeMap::new();
    code::collect(folder, "package", &mut found)?;
    let lines: String = found.iter().map(|(path, digest)| format!("{path} {digest}\n")).collect();
    Ok(Digest::of(lines.as_bytes()))
}

/// The digests of the files that a step which uses the package may read: all but its description, whose
/// parts are in the step's key by themselves, and its tests.
///
/// # Errors
/// When a file cannot be read.
pub fn code(folder: &Path) -> Result<BTreeMap<String, Digest>, Error> {
    let mut found = BTreeMap::new();
    code::collect(folder, "package", &mut found)?;
    found.retain(|path, _| path.strip_prefix("package/").is_some_and(is_read));
    Ok(found)
}

/// Whether a step may read a file of a package.
fn is_read(path: &str) -> bool {
    path != PACKAGE_FILE && path.split('/').next() != Some(TESTS)
}

/// Copies what a step may read of a package.
///
/// # Errors
/// When a file cannot be read or written.
pub fn lay_out(folder: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("make", to))?;
    for path in code(folder)?.keys() {
        let Some(path) = path.strip_prefix("package/") else { continue };
        let (from, to) = (folder.join(path), to.join(path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_description_are_pinned_but_no_step_depends_on_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let place = folder.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        };
        write("package.yaml", "name: x");
        write("src/run.py", "1");
        write("tests/in.csv", "a");
        let (before, code_before) = (digest(folder.path()).unwrap(), code(folder.path()).unwrap());
        assert_eq!(code_before.keys().collect::<Vec<_>>(), ["package/src/run.py"]);
        write("tests/in.csv", "b");
        assert_ne!(digest(folder.path()).unwrap(), before);
        assert_eq!(code(folder.path()).unwrap(), code_before);
        let copy = tempfile::tempdir().unwrap();
        lay_out(folder.path(), copy.path()).unwrap();
        assert_eq!(fs::read_to_string(copy.path().join("src/run.py")).unwrap(), "1");
        assert!(!copy.path().join("tests").exists());
    }
}
