//! Where the executed copy is written while a notebook runs, and where it is in the end.
//!
//! Mostly both are the same file. Where the copy is to replace the notebook itself, it grows in a hidden file
//! beside it, and the notebook is replaced by a whole copy when the run has ended, well or not: a run that is
//! killed, or whose kernel never started, leaves the notebook as it was.

use std::fs;
use std::path::{Path, PathBuf};

use crate::document;
use crate::error::Error;

/// Both places.
#[derive(Debug)]
pub struct Place {
    /// Where the copy is written until the run has ended.
    pub growing: PathBuf,
    /// Where it is in the end.
    pub last: PathBuf,
}

impl Place {
    /// The places of a run from one file to another.
    ///
    /// # Errors
    /// [`Error::OutputIsSource`] where the copy would have the name of a script or document, or would replace
    /// one: it is a notebook.
    pub fn of(input: &Path, output: &Path) -> Result<Self, Error> {
        let named = output.extension().unwrap_or_default().to_string_lossy();
        if document::is_source(&named) {
            return Err(Error::OutputIsSource { path: output.to_owned() });
        }
        let real = |path: &Path| fs::canonicalize(path).ok();
        let (Some(input), Some(last)) = (real(input), real(output)) else { return Ok(Self::at(output)) };
        if input != last {
            return Ok(Self::at(output));
        }
        if last.extension().is_none_or(|extension| extension != "ipynb") {
            return Err(Error::OutputIsSource { path: output.to_owned() });
        }
        let stem = last.file_stem().unwrap_or_default().to_string_lossy();
        let growing = last.with_file_name(format!(".{stem}.{}.running.ipynb", std::process::id()));
        Ok(Self { growing, last })
    }

    fn at(output: &Path) -> Self {
        Self { growing: output.to_owned(), last: output.to_owned() }
    }

    /// Whether the copy replaces the notebook itself.
    pub fn is_one_file(&self) -> bool {
        self.growing != self.last
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_one_file() {
            // There is none where nothing was written yet.
            let _ = fs::remove_file(&self.growing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notebook_may_be_replaced_and_a_script_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "x").unwrap();
            path
        };
        let (notebook, script, other) = (file("n.ipynb"), file("n.py"), folder.path().join("out.ipynb"));
        let place = Place::of(&notebook, &other).unwrap();
        assert!(!place.is_one_file() && place.growing == other);
        let place = Place::of(&notebook, &folder.path().join("./n.ipynb")).unwrap();
        assert!(place.is_one_file());
        fs::write(&place.growing, "half").unwrap();
        drop(place);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
        for output in [&script, &folder.path().join("other.py"), &folder.path().join("new.qmd")] {
            assert!(matches!(Place::of(&script, output), Err(Error::OutputIsSource { .. })));
        }
        let bare = file("script");
        assert!(matches!(Place::of(&bare, &bare), Err(Error::OutputIsSource { .. })));
    }
}
