//! Where the files of a batch wait: a folder in which each lies already as it will lie among the objects.
//!
//! ```text
//! incoming/process-x/new-0/ab/cdef…  ── all synced ──▶  ab/cdef…
//! ```
//!
//! A file has one name for both places, and small folders take files faster than a large one. Where no object
//! begins with `ab` yet, the folder that waits takes the place of the empty one, with all its files in one
//! step: the system refuses that as soon as anything is there, whoever has put it, and then each file is
//! named by itself. Which files are worth storing, and when a batch is full, is not decided here.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rondo_core::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::FEW;
use crate::Error;
use crate::incoming::make_folder;

/// What objects are made with.
const FILE: Mode = Mode::RUSR.union(Mode::RGRP);
/// What the folder of a prefix is made with, as by [`make_folder`].
const FOLDER: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

/// The folder of a batch. It goes, with all that has not got its name.
pub(super) struct Stage {
    path: PathBuf,
    waiting: OwnedFd,
    root: OwnedFd,
    root_path: PathBuf,
    /// Held by all that make a file here, so that what is half made is not named.
    making: RwLock<()>,
    failed: AtomicBool,
}

impl Stage {
    /// Makes a folder, for objects that will be below `root`.
    pub(super) fn new(path: PathBuf, root: &Path) -> Result<Self, Error> {
        make_folder(&path)?;
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|error| Error::io("open", path)(error.into()))
        };
        Ok(Self {
            waiting: open(&path)?,
            root: open(root)?,
            path,
            root_path: root.to_owned(),
            making: RwLock::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// What is held while a file is made.
    pub(super) fn making(&self) -> RwLockReadGuard<'_, ()> {
        self.making.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an object's file.
    pub(super) fn write(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        let name = Name::of(digest);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = self.in_folder(&name, || rustix::fs::openat(&self.waiting, name.whole(), flags, FILE));
        made.map_err(Into::into)
            .and_then(|file| File::from(file).write_all(bytes))
            .map_err(|error| self.fail("write", &name, error))
    }

    /// Takes a file that was made elsewhere as an object's.
    pub(super) fn take(&self, digest: Digest, file: &Path) -> Result<(), Error> {
        let name = Name::of(digest);
        self.in_folder(&name, || rustix::fs::renameat(rustix::fs::CWD, file, &self.waiting, name.whole()))
            .map_err(|error| self.fail("write", &name, error.into()))
    }

    /// Does what needs the folder of a prefix, which is made where it is missing.
    fn in_folder<T>(&self, name: &Name, mut act: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        match act() {
            Err(Errno::NOENT) => {
                make_prefix(self.waiting.as_fd(), name)?;
                act()
            }
            done => done,
        }
    }

    /// A file could not be made: what is left of it must not be named, so that nothing here is.
    fn fail(&self, verb: &'static str, name: &Name, error: std::io::Error) -> Error {
        self.failed.store(true, Ordering::Release);
        Error::io(verb, &name.below(&self.path))(error)
    }

    /// Waits until all that was begun is made.
    ///
    /// # Errors
    /// When some of it could not be made.
    pub(super) fn close(&self) -> Result<(), Error> {
        drop(self.making.write().unwrap_or_else(PoisonError::into_inner));
        if self.failed.load(Ordering::Acquire) {
            let error = std::io::Error::other("one of the files that wait there could not be written");
            return Err(Error::io("store", &self.path)(error));
        }
        Ok(())
    }

    /// Syncs the files: all at once where there are many and that can be done, else one by one.
    pub(super) fn sync(&self, digests: &[Digest]) -> Result<(), Error> {
        // By what was opened before they were made: it is told of every mishap since.
        if digests.len() >= FEW && sync_all(&self.waiting, &self.path)? {
            return Ok(());
        }
        digests.iter().try_for_each(|digest| {
            let path = Name::of(*digest).below(&self.path);
            File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &path))
        })
    }

    /// Gives the files their names: all that were made here, sorted. Gives back what they begin with.
    pub(super) fn name(&self, digests: &[Digest]) -> Result<BTreeSet<u8>, Error> {
        let mut named = BTreeSet::new();
        for alike in digests.chunk_by(|a, b| first(a) == first(b)) {
            let Some(digest) = alike.first() else { continue };
            if !self.name_folder(&Name::of(*digest)) {
                alike.iter().try_for_each(|digest| self.name_file(&Name::of(*digest)))?;
            }
            named.insert(first(digest));
        }
        Ok(named)
    }

    /// Puts the folder of a prefix in the place of an empty one that others may use just as it. Whether that
    /// could be done.
    fn name_folder(&self, name: &Name) -> bool {
        let prefix = name.prefix();
        let look = |folder: &OwnedFd| rustix::fs::statat(folder, prefix, AtFlags::SYMLINK_NOFOLLOW);
        let fits = match (look(&self.waiting), look(&self.root)) {
            (Ok(ours), Ok(theirs)) => {
                (ours.st_mode, ours.st_uid, ours.st_gid) == (theirs.st_mode, theirs.st_uid, theirs.st_gid)
            }
            (Ok(_), Err(Errno::NOENT)) => true,
            (_, _) => false,
        };
        fits && rustix::fs::renameat(&self.waiting, prefix, &self.root, prefix).is_ok()
    }

    fn name_file(&self, name: &Name) -> Result<(), Error> {
        let rename = || rustix::fs::renameat(&self.waiting, name.whole(), &self.root, name.whole());
        let renamed = match rename() {
            Err(Errno::NOENT) => make_prefix(self.root.as_fd(), name).and_then(|()| rename()),
            renamed => renamed,
        };
        renamed.map_err(|error| Error::io("write", &name.below(&self.root_path))(error.into()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays goes with the folder of this process.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Syncs all of a file system at once; whether that can be done here.
pub(super) fn sync_all_of(folder: &Path) -> Result<bool, Error> {
    sync_all(&File::open(folder).map_err(Error::io("open", folder))?, folder)
}

fn sync_all(opened: impl AsFd, folder: &Path) -> Result<bool, Error> {
    #[cfg(target_os = "linux")]
    {
        rustix::fs::syncfs(opened).map_err(|error| Error::io("sync", folder)(error.into()))?;
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (opened, folder);
        Ok(false)
    }
}

fn make_prefix(folder: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
    match rustix::fs::mkdirat(folder, name.prefix(), FOLDER) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn first(digest: &Digest) -> u8 {
    digest.as_bytes()[0]
}

/// Where an object lies below the folder of all: `ab/cdef…`.
struct Name {
    /// `ab`, ended by a zero byte.
    prefix: [u8; 3],
    /// All of it, ended by a zero byte.
    whole: [u8; 66],
}

impl Name {
    fn of(digest: Digest) -> Self {
        let mut whole = [0; 66];
        // The room is as long as the text is.
        let _ = hex::encode_to_slice(digest.as_bytes(), &mut whole[1..65]);
        let prefix = [whole[1], whole[2], 0];
        (whole[0], whole[1], whole[2]) = (whole[1], whole[2], b'/');
        Self { prefix, whole }
    }

    fn prefix(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.prefix).unwrap_or_default()
    }

    fn whole(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.whole).unwrap_or_default()
    }

    fn below(&self, folder: &Path) -> PathBuf {
        folder.join(self.whole().to_string_lossy().as_ref())
    }
}
