//! The folders that tries work in. What a try leaves behind is emptied and handed on to the next one under its
//! own name: on a disk, making and removing three folders for each step costs more than naming one anew.
//!
//! Nothing of one step is seen by another. A folder that is not what it was when it was made, since a step may do
//! what it likes there, is removed. The one for what a step makes is always a new one: what somebody left behind
//! still holds, as a place of a container or as its current folder, is the old one.

use std::fs::{self, DirEntry, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::worktree::lock;

/// The folders that each one has: for what a step reads, and for what it makes.
pub const INNER: [&str; 2] = ["in", OUT];
/// For what a step makes.
const OUT: &str = "out";

/// Emptied folders of a run.
#[derive(Default)]
pub struct Folders {
    spare: Mutex<Vec<PathBuf>>,
    /// What the permissions of those that are made are.
    mode: OnceLock<u32>,
}

impl Folders {
    /// Gives a try its folder, with nothing in it but its inner ones.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn take(&self, folder: &Path) -> io::Result<()> {
        // A spare one that cannot be named anew is removed with the run.
        if self.spare(folder).is_some_and(|spare| fs::rename(spare, folder).is_ok()) {
            return Ok(());
        }
        if let Err(error) = fs::create_dir(folder) {
            if error.kind() == ErrorKind::AlreadyExists {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        INNER.iter().try_for_each(|inner| fs::create_dir(folder.join(inner)))?;
        if self.mode.get().is_none() {
            let _ = self.mode.set(fs::symlink_metadata(folder)?.mode());
        }
        Ok(())
    }

    /// Takes a try's folder back, with all that is in it.
    pub fn give_back(&self, folder: PathBuf) {
        if self.emptied(&folder).unwrap_or(false) {
            lock(&self.spare).push(folder);
        } else {
            // What stays is removed with the run.
            let _ = fs::remove_dir_all(&folder);
        }
    }

    /// The folder itself, where an earlier try of the same step has left it; else any.
    fn spare(&self, folder: &Path) -> Option<PathBuf> {
        let mut spares = lock(&self.spare);
        let own = spares.iter().position(|spare| spare == folder);
        let last = spares.len().checked_sub(1);
        own.or(last).map(|place| spares.swap_remove(place))
    }

    /// Removes all that is in a try's folder but its inner ones, and makes the one for what a step makes anew.
    /// Whether all is as when it was made.
    fn emptied(&self, folder: &Path) -> io::Result<bool> {
        let made = |metadata: &Metadata| metadata.is_dir() && self.mode.get() == Some(&metadata.mode());
        let mut inner = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if INNER.iter().any(|name| entry.file_name() == *name) && made(&entry.metadata()?) {
                inner += 1;
                fs::read_dir(entry.path())?.try_for_each(|entry| remove(&entry?))?;
            } else {
                remove(&entry)?;
            }
        }
        let out = folder.join(OUT);
        fs::remove_dir(&out)?;
        fs::create_dir(&out)?;
        Ok(inner == INNER.len() && made(&fs::symlink_metadata(folder)?))
    }
}

fn remove(entry: &DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_handed_on_with_nothing_of_the_step_before() {
        let work = tempfile::tempdir().unwrap();
        let (first, second) = (work.path().join("first"), work.path().join("second"));
        let folders = Folders::default();
        folders.take(&first).unwrap();
        let inode = fs::metadata(&first).unwrap().ino();
        let out = fs::File::open(first.join("out")).unwrap();
        fs::create_dir_all(first.join("out/raw/deep")).unwrap();
        fs::create_dir(first.join("scratch")).unwrap();
        for file in ["step.json", "out/o.txt", "in/a", "scratch/x"] {
            fs::write(first.join(file), "x").unwrap();
        }
        symlink("/", first.join("in/root")).unwrap();
        folders.give_back(first.clone());
        folders.take(&second).unwrap();
        assert_eq!(fs::metadata(&second).unwrap().ino(), inode);
        assert!(!first.exists() && names(&second) == ["in", "out"]);
        assert!(names(&second.join("in")).is_empty() && names(&second.join("out")).is_empty());
        let held = fs::File::open(second.join("out")).unwrap().metadata().unwrap();
        assert_ne!(
            held.ino(),
            out.metadata().unwrap().ino(),
            "who still holds the old one reaches the new one"
        );
        assert!(Path::new("/etc").exists());
        // Another try of the same step, while another folder is spare too.
        folders.take(&first).unwrap();
        folders.give_back(first.clone());
        folders.give_back(second);
        folders.take(&first).unwrap();
        assert_eq!(names(&first), ["in", "out"]);
    }

    #[test]
    fn a_folder_that_a_step_has_changed_is_not_handed_on() {
        let work = tempfile::tempdir().unwrap();
        let (first, second) = (work.path().join("first"), work.path().join("second"));
        let elsewhere = work.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("mine"), "x").unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| fs::remove_dir(first.join("out")).unwrap(),
            &|| {
                fs::remove_dir(first.join("out")).unwrap();
                symlink(&elsewhere, first.join("out")).unwrap();
            },
            &|| fs::set_permissions(first.join("in"), fs::Permissions::from_mode(0o500)).unwrap(),
            &|| fs::set_permissions(&first, fs::Permissions::from_mode(0o777)).unwrap(),
        ];
        for change in changes {
            let folders = Folders::default();
            folders.take(&first).unwrap();
            change();
            folders.give_back(first.clone());
            assert!(!first.exists());
            folders.take(&second).unwrap();
            assert_eq!(names(&second), ["in", "out"]);
            assert!(fs::symlink_metadata(second.join("out")).unwrap().is_dir());
            fs::remove_dir_all(&second).unwrap();
        }
        assert_eq!(names(&elsewhere), ["mine"]);
        // One that is in the way is of nobody.
        fs::create_dir_all(second.join("stale")).unwrap();
        Folders::default().take(&second).unwrap();
        assert_eq!(names(&second), ["in", "out"]);
    }
}
