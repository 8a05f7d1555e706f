//! Objects in the hands of a step that is to read them and nothing else.
//!
//! A step gets links into the store, whose files are write-protected. Root could write through them: for
//! root, small files are copied instead. What was linked is looked at when the step has ended: an object
//! that is not any more what its name says is thrown out, so that no one takes it for what it was.

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
    /// for root a copy of what is small.
    ///
    /// # Errors
    /// When the object is not in the store or is damaged, or the place cannot be written.
    pub fn lend(&self, digest: Digest, folder: bool, place: &Path) -> Result<Lent, Error> {
        let mut lent = Lent::default();
        self.lend_to(digest, folder, place, &mut lent)?;
        Ok(lent)
    }

    fn lend_to(&self, digest: Digest, folder: bool, place: &Path, lent: &mut Lent) -> Result<(), Error> {
        remove(place)?;
        if folder {
            fs::create_dir_all(place).map_err(Error::io("make", place))?;
            for entry in self.tree(digest)?.entries() {
                self.lend_to(entry.digest, entry.mode == Mode::Folder, &place.join(&entry.name), lent)?;
            }
            return Ok(());
        }
        let object = self.require(digest)?;
        let state = State::of(&object).ok_or(Error::ObjectNotFound(digest))?;
        if is_root() {
            if self.share(&object, place) {
                self.assure(digest, &object).inspect_err(|_| drop(remove(place)))?;
                return fs::set_permissions(place, Permissions::from_mode(0o444))
                    .map_err(Error::io("protect", place));
            }
            if state.size <= COPIED {
                match self.copy_sound(digest, &object, place, 0o444) {
                    Ok(()) => return Ok(()),
                    Err(error @ Error::Corrupt { .. }) => return Err(error),
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
    fn what_is_written_through_a_link_is_thrown_out_and_a_copy_protects() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let stored = objects.put_bytes(b"the data").unwrap();
        let place = folder.path().join("in");
        let lent = objects.lend(stored.digest, false, &place).unwrap();
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
