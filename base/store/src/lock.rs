//! The lock under which one process at a time sweeps or copies the objects of a store. The kernel lets go of
//! it when its process ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::Error;

/// The file that is locked. It stays, and holds nothing.
const FILE: &str = "upkeep.lock";

/// The lock, held until this goes.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the store in a folder.
    ///
    /// # Errors
    /// When another process has it, or the file cannot be made.
    pub(crate) fn take(root: &Path) -> Result<Self, Error> {
        let path = root.join(FILE);
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { lock: path }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::{Code, Explain};

    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_it_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).err().unwrap();
        assert_eq!(refused.code(), Code::Busy);
        let file = folder.path().join(FILE).display().to_string();
        assert!(refused.hints().concat().contains(&file), "{:?}", refused.hints());
        drop(owner);
        Lock::take(folder.path()).unwrap();
    }
}
