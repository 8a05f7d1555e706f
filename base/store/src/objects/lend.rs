//! Objects in the hands of a step that is to read them and nothing else.
//!
//! A step gets links into the store, whose files are write-protected. Root could write through them: for
//! root, small files are copied instead. What was linked is looked at when the step has ended: an object
//! that is not any more what its name says is thrown out, so that no one takes it for what it was.
//!
//! An object has no execute bit, and a link has none of its own: what is executable is copied.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rondo_core::Digest;
use rondo_core::tree::Mode;

use super::{Objects, hash_file, is_root, remove};
use crate::Error;

/// The longest file that root gets a copy of, where it cannot share the blocks.
const COPIED: u64 = 64 << 20;

/// What was lent by link, as it was then.
#[derive(Debug, Clone, Default)]
pub struct Lent(Vec<(Digest, State)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { inode: metadata.ino(), size: metadata.len(), changed })
    }
}

impl Objects {
    /// Makes an object readable under a name: a symbolic link to it, or of a folder a folder of such links;
    /// for root a copy of what is small; of what is executable always a copy.
    ///
    /// # Errors
    /// When the object is not in the store or is damaged, or the place cannot be written.
    pub fn lend(&self, digest: Digest, mode: Mode, place: &Path) -> Result<Lent, Error> {
        let mut lent = Lent::default();
        self.lend_to(digest, mode, place, &mut lent)?;
        Ok(lent)
    }

    fn lend_to(&self, digest: Digest, mode: Mode, place: &Path, lent: &mut Lent) -> Result<(), Error> {
        remove(place)?;
        if mode == Mode::Folder {
            fs::create_dir_all(place).map_err(Error::io("make", place))?;
            for entry in self.tree(digest)?.entries() {
                self.lend_to(entry.digest, entry.mode, &place.join(&entry.name), lent)?;
            }
            return Ok(());
        }
        let object = self.require(digest)?;
        let state = State::of(&object).ok_or(Error::ObjectNotFound(digest))?;
        let is_executable = mode == Mode::Executable;
        if is_root() || is_executable {
            let bits = if is_executable { 0o555 } else { 0o444 };
            if self.share(&object, place) {
                self.assure(digest, &object).inspect_err(|_| drop(remove(place)))?;
                return fs::set_permissions(place, Permissions::from_mode(bits))
                    .map_err(Error::io("protect", place));
            }
            if is_executable || state.size <= COPIED {
                match self.copy_sound(digest, &object, place, bits) {
                    Ok(()) => return Ok(()),
                    Err(error) if is_executable || matches!(error, Error::Corrupt { .. }) => {
                        return Err(error);
                    }
                    // A copy that was broken off.
                    Err(_) => remove(place)?,
                }
            }
        }
        self.assure(digest, &object)?;
        lent.0.push((digest, state));
        std::os::unix::fs::symlink(&object, place).map_err(Error::io("make", place))
    }

    /// Looks whether what was lent is still what it was. What is not is thrown out of the store; it is
    /// returned.
    ///
    /// # Errors
    /// When an object that has changed cannot be removed.
    pub fn take_back(&self, lent: &Lent) -> Result<Vec<Digest>, Error> {
        let mut spoilt = Vec::new();
        for (digest, before) in &lent.0 {
            let place = self.place(*digest);
            // Who stores the same bytes again makes it young: only its content says whether it changed.
            if State::of(&place) == Some(*before) || hash_file(&place).is_ok_and(|found| found == *digest) {
                continue;
            }
            remove(&place)?;
            self.forget(*digest);
            spoilt.push(*digest);
        }
        Ok(spoilt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executable_is_lent_so_and_its_object_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let (source, place) = (folder.path().join("bin"), folder.path().join("in"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("data"), "rows").unwrap();
        fs::write(source.join("tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(source.join("tool"), Permissions::from_mode(0o755)).unwrap();
        let stored = objects.put_path(&source, crate::objects::Take::Keep).unwrap();
        objects.lend(stored.digest, Mode::Folder, &place).unwrap();
        let bits = |place: &Path| fs::metadata(place).unwrap().permissions().mode() & 0o333;
        assert_eq!((bits(&place.join("tool")), bits(&place.join("data"))), (0o111, 0));
        let tool = Digest::of(b"#!/bin/sh\n");
        objects.lend(tool, Mode::Executable, &folder.path().join("tool")).unwrap();
        assert_eq!(bits(&folder.path().join("tool")), 0o111);
        assert_eq!(bits(&objects.require(tool).unwrap()), 0);
    }

    #[test]
    fn what_is_written_through_a_link_is_thrown_out_and_a_copy_protects() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let stored = objects.put_bytes(b"the data").unwrap();
        let place = folder.path().join("in");
        let lent = objects.lend(stored.digest, Mode::File, &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"the data");
        assert!(objects.take_back(&lent).unwrap().is_empty());
        fs::remove_file(&place).unwrap();
        assert!(objects.take_back(&lent).unwrap().is_empty());
        if is_root() {
            assert!(lent.0.is_empty(), "small files are copied for root");
        }
        // As one that was linked: somebody took the protection off and wrote.
        let object = objects.require(stored.digest).unwrap();
        let lent = Lent(vec![(stored.digest, State::of(&object).unwrap())]);
        fs::set_permissions(&object, Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, b"other data!").unwrap();
        assert_eq!(objects.take_back(&lent).unwrap(), [stored.digest]);
        assert!(!objects.holds(stored.digest, false));
        // Made young by who stored it again: the same bytes.
        objects.put_bytes(b"the data").unwrap();
        assert!(objects.take_back(&lent).unwrap().is_empty());
    }
}
