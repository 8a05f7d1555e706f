//! Where what is being written lies until it is whole: a folder for each process that writes, locked while it
//! lives.
//!
//! A process that was killed holds no lock any more, so the next one that opens the store takes what it
//! left away, and never what another process is writing just now. Nothing in here has a name yet that
//! anybody may use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::Error;
use crate::scratch::{self, Scratch};

/// After this long a loose file is nobody's: earlier versions wrote without a folder and without a lock.
const LOOSE: Duration = Duration::from_secs(24 * 60 * 60);

/// The bits that files get at most; the process's umask may take more away.
const FILE: u32 = 0o640;

/// The folder of all processes, and this one's own in it as soon as it writes: who only reads needs no right
/// to write.
pub(crate) struct Incoming {
    all: PathBuf,
    own: OnceLock<Own>,
}

/// The folder of this process. It goes with its last owner.
struct Own {
    scratch: Scratch,
    /// How many names have been given.
    given: AtomicU64,
}

impl Incoming {
    /// Sweeps the folder of all processes.
    pub(crate) fn open(all: &Path) -> Result<Self, Error> {
        sweep(all)?;
        Ok(Self { all: all.to_owned(), own: OnceLock::new() })
    }

    fn own(&self) -> Result<&Own, Error> {
        if let Some(own) = self.own.get() {
            return Ok(own);
        }
        // Of two that are made at once one goes again.
        let own = Own { scratch: Scratch::within(&self.all, "process-")?, given: AtomicU64::new(0) };
        Ok(self.own.get_or_init(|| own))
    }

    /// The folder of this process.
    pub(crate) fn path(&self) -> Result<&Path, Error> {
        Ok(self.own()?.scratch.path())
    }

    /// A name in it that nothing has.
    pub(crate) fn name(&self) -> Result<PathBuf, Error> {
        let own = self.own()?;
        Ok(own.scratch.path().join(format!("new-{}", own.given.fetch_add(1, Ordering::Relaxed))))
    }

    /// A new file of a name that nobody can guess.
    pub(crate) fn file(&self) -> Result<tempfile::NamedTempFile, Error> {
        file_in(self.path()?)
    }
}

/// A new file of a name that nobody can guess.
pub(crate) fn file_in(folder: &Path) -> Result<tempfile::NamedTempFile, Error> {
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(FILE))
        .tempfile_in(folder)
        .map_err(Error::io("write in", folder))
}

/// Makes a folder that others than the owner's group cannot look into, with those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(Error::io("make", path))
}

/// Takes away what processes have left that are no more.
fn sweep(all: &Path) -> Result<(), Error> {
    scratch::sweep(all, "")?;
    for entry in fs::read_dir(all).map_err(Error::io("read", all))?.flatten() {
        if entry.metadata().is_ok_and(|found| !found.is_dir() && older(&found, LOOSE)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Whether something was last changed longer ago than that.
pub(crate) fn older(metadata: &fs::Metadata, than: Duration) -> bool {
    let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > than)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_lives_is_not() {
        let all = tempfile::tempdir().unwrap();
        let dead = all.path().join("process-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("half"), b"x").unwrap();
        let loose = all.path().join(".tmpold");
        fs::write(&loose, b"x").unwrap();
        let long_ago = SystemTime::now() - LOOSE - Duration::from_secs(60);
        File::options().write(true).open(&loose).unwrap().set_modified(long_ago).unwrap();
        fs::write(all.path().join(".tmpnew"), b"x").unwrap();

        let first = Incoming::open(all.path()).unwrap();
        let file = first.file().unwrap();
        let second = Incoming::open(all.path()).unwrap();
        assert!(!dead.exists() && !loose.exists());
        assert!(
            file.path().exists() && second.path().unwrap().exists() && all.path().join(".tmpnew").exists()
        );
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
        let was = second.path().unwrap().to_owned();
        drop(second);
        assert!(!was.exists());
    }
}
