//! A folder of one process, locked while that lives. One that a killed process has left is known by its lock,
//! which nobody holds any more, and goes when the next process looks.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// The folder. It goes with its owner.
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A new one, whose name begins so.
    ///
    /// # Errors
    /// When the folder that it is to be in cannot be written.
    pub(crate) fn within(all: &Path, prefix: &str) -> Result<Self, Error> {
        loop {
            let made = tempfile::Builder::new()
                .prefix(prefix)
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(all)
                .map_err(Error::io("write in", all))?;
            // Who sweeps at this very moment may have taken the new folder for one that was left.
            let lock = match File::open(made.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(Error::io("open", made.path()))?,
            };
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                // A file system without locks: then nobody can sweep either.
                Ok(()) | Err(TryLockError::Error(_)) if is_at(&lock, made.path()) => {
                    return Ok(Self { path: made.keep(), _lock: lock });
                }
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is taken away by who sweeps next; what has another name by now stays there.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Takes away the folders whose names begin so and that processes have left which are no more.
///
/// # Errors
/// When the folder that they are in cannot be read.
pub(crate) fn sweep(all: &Path, prefix: &str) -> Result<(), Error> {
    for entry in fs::read_dir(all).map_err(Error::io("read", all))?.flatten() {
        let is_one = entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_one
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            // What another one sweeps at the same time is gone either way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_and_what_lives_or_is_called_otherwise_stays() {
        let all = tempfile::tempdir().unwrap();
        let place = |name: &str| all.path().join(name);
        for name in ["mine-dead", "other"] {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("half"), b"x").unwrap();
        }
        fs::write(place("mine-file"), b"x").unwrap();
        std::os::unix::fs::symlink(place("other"), place("mine-link")).unwrap();
        let living = Scratch::within(all.path(), "mine-").unwrap();
        sweep(all.path(), "mine-").unwrap();
        assert!(!place("mine-dead").exists());
        assert!(living.path().exists() && place("other/half").exists() && place("mine-file").exists());
        assert!(place("mine-link").is_symlink());
        let was = living.path().to_owned();
        drop(living);
        assert!(!was.exists());
    }
}
