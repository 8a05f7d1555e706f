//! Soundness: an object is what its digest says whenever it is handed out.
//!
//! Protection bits keep nobody out who is root, and a disk can lie. A small object is hashed whenever it is
//! used, which costs less than opening it. Of a large one there is a note of the inode, size and times that
//! it had when its bytes were last known to be right: while these hold, so do the bytes, since nobody can set
//! the time of change. A note is a hint in `noted/`, never synced: where it is missing or does not fit, the
//! object is hashed. What cannot be seen without reading is found by [`Objects::verify`].

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rondo_core::Digest;
#[cfg(test)]
use rondo_core::tree::Mode;

use super::bulk::hash_open;
use super::{Objects, Stamp, WHOLE, give_bits, open, read_through};
use crate::Error;

/// The longest object that is hashed whenever it is used.
const HASHED: u64 = 256 << 10;

impl Objects {
    /// The file of an object, whose bytes are what its digest says: read it, never write to it.
    ///
    /// # Errors
    /// When it is not in the store, cannot be read, or is corrupt.
    pub fn sound(&self, digest: Digest) -> Result<PathBuf, Error> {
        let place = self.place(digest);
        self.assure(digest, &place)?;
        Ok(place)
    }

    /// Looks whether an object's bytes are what its digest says.
    ///
    /// # Errors
    /// When it is not in the store, cannot be read, or is corrupt.
    pub(super) fn assure(&self, digest: Digest, place: &Path) -> Result<(), Error> {
        let file = match File::open(place) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(Error::ObjectNotFound(digest));
            }
            opened => opened.map_err(Error::io("open", place))?,
        };
        let metadata = || file.metadata().map_err(Error::io("read", place));
        let found = metadata()?;
        if !found.is_file() {
            return Err(Error::ObjectNotFound(digest));
        }
        let before = Stamp::of(&found);
        if before.size > HASHED && self.noted(digest).is_some_and(|noted| noted == text(&before)) {
            return Ok(());
        }
        let found = if before.size > HASHED {
            hash_open(&file, before.size).map_err(Error::io("read", place))?
        } else {
            read_through(&file, before.size, place)?.0
        };
        if found != digest {
            return Err(Error::Corrupt { digest, found });
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if before.size > HASHED && !before.is_racy(now) && Stamp::of(&metadata()?) == before {
            self.write_note(digest, &before);
        }
        Ok(())
    }

    /// Copies an object to where there is nothing, if its bytes are what its digest says: of a small one the
    /// very bytes that are written.
    ///
    /// # Errors
    /// When it cannot be read or written, or is corrupt.
    pub(super) fn copy_sound(&self, digest: Digest, place: &Path, to: &Path, bits: u32) -> Result<(), Error> {
        let mut source = open(place)?;
        if source.metadata().map_err(Error::io("read", place))?.len() > WHOLE {
            self.assure(digest, place)?;
            let copied = create(to, bits).and_then(|mut target| {
                io::copy(&mut source, &mut target)?;
                give_bits(&target, bits)
            });
            return copied.map_err(Error::io("write", to));
        }
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(Error::io("read", place))?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(Error::Corrupt { digest, found });
        }
        let written = create(to, bits).and_then(|mut target| {
            target.write_all(&bytes)?;
            give_bits(&target, bits)
        });
        written.map_err(Error::io("write", to))
    }

    /// Notes an object whose bytes are known to be right just now: they came through our hands.
    pub(super) fn note(&self, digest: Digest) {
        // A hint: where it cannot be had, the object is hashed the next time.
        if let Ok(metadata) = fs::metadata(self.place(digest))
            && metadata.len() > HASHED
        {
            self.write_note(digest, &Stamp::of(&metadata));
        }
    }

    /// Does what changes an object's times and not its bytes: it stays as well known as it was.
    pub(super) fn keeping_note<T>(&self, digest: Digest, file: &File, act: impl FnOnce() -> T) -> T {
        let known = file.metadata().is_ok_and(|metadata| {
            metadata.len() > HASHED
                && self.noted(digest).is_some_and(|noted| noted == text(&Stamp::of(&metadata)))
        });
        let done = act();
        if known {
            self.note(digest);
        }
        done
    }

    /// Forgets what was known of an object: it goes, or is damaged.
    pub(crate) fn forget(&self, digest: Digest) {
        // Few have a note, and one that is left fits nothing.
        for note in [self.note_of(digest), self.note_of_all(digest)] {
            let _ = fs::remove_file(note);
        }
    }

    fn noted(&self, digest: Digest) -> Option<String> {
        fs::read_to_string(self.note_of(digest)).ok()
    }

    fn write_note(&self, digest: Digest, stamp: &Stamp) {
        self.write_hint(&self.note_of(digest), &text(stamp));
    }

    /// Writes a note; where it cannot be had, the bytes are hashed the next time.
    pub(super) fn write_hint(&self, place: &Path, text: &str) {
        let Ok(fresh) = self.incoming.name() else { return };
        let written = fs::write(&fresh, text).and_then(|()| match fs::rename(&fresh, place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
                fs::rename(&fresh, place)
            }
            renamed => renamed,
        });
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }

    fn note_of(&self, digest: Digest) -> PathBuf {
        self.root.join("noted").join(digest.hex())
    }

    /// The note of all that a folder holds.
    pub(super) fn note_of_all(&self, digest: Digest) -> PathBuf {
        self.root.join("noted").join(format!("{}.all", digest.hex()))
    }
}

/// Without the device, which another mount of the same disk may name otherwise.
pub(super) fn text(stamp: &Stamp) -> String {
    format!("1 {} {} {} {}\n", stamp.inode, stamp.size, stamp.modified, stamp.changed)
}

fn create(to: &Path, bits: u32) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(bits).open(to)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{FileExt, PermissionsExt};
    use std::thread::sleep;
    use std::time::Duration;

    use super::super::{FileEntry, Take};
    use super::*;

    fn house() -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        (folder, objects)
    }

    /// Writes into an object as root may: same inode, size and permissions, and its old times put back.
    fn write_through(objects: &Objects, digest: Digest) {
        // Longer than a tick of the clock after it was stored.
        sleep(Duration::from_millis(25));
        let place = objects.require(digest).unwrap();
        let metadata = fs::metadata(&place).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
        let file = File::options().write(true).open(&place).unwrap();
        file.write_all_at(b"YYYY", 100).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
        file.set_permissions(metadata.permissions()).unwrap();
    }

    #[test]
    fn a_damaged_object_of_any_size_is_handed_to_nobody() {
        let (folder, objects) = house();
        for size in [3_000_u64, WHOLE + 1, HASHED + 1, 3 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let stored = objects.put_bytes(&bytes).unwrap();
            let entry = FileEntry { executable: false, size, digest: stored.digest };
            let place = folder.path().join("place");
            objects.check_out_entry(&entry, &place).unwrap();
            objects.lend(stored.digest, Mode::File, &place).unwrap();
            assert_eq!(fs::read(objects.sound(stored.digest).unwrap()).unwrap(), bytes);
            write_through(&objects, stored.digest);
            let corrupt = |result: Result<(), Error>| matches!(result, Err(Error::Corrupt { .. }));
            let fresh = folder.path().join("fresh");
            assert!(corrupt(objects.sound(stored.digest).map(drop)), "{size}");
            assert!(corrupt(objects.check_out_entry(&entry, &fresh).map(drop)), "{size}");
            assert!(corrupt(objects.check_out(stored.digest, Mode::File, &fresh).map(drop)), "{size}");
            assert!(corrupt(objects.lend(stored.digest, Mode::File, &fresh).map(drop)), "{size}");
            assert!(corrupt(objects.expose(stored.digest, false, &fresh)), "{size}");
            let names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names.len(), 2, "nothing half-made stays: {names:?}");
            // Whole bytes take its place, and it is handed out again.
            objects.put_bytes(&bytes).unwrap();
            objects.sound(stored.digest).unwrap();
            fs::remove_file(&place).unwrap();
        }
    }

    #[test]
    fn a_large_object_is_noted_however_it_comes_and_stays_noted_when_it_is_made_young() {
        let (folder, objects) = house();
        let fits = |digest: Digest| {
            let stamp = Stamp::of(&fs::metadata(objects.require(digest).unwrap()).unwrap());
            objects.noted(digest).is_some_and(|noted| noted == text(&stamp))
        };
        let content = |byte: u8| vec![byte; 300 << 10];
        let file = folder.path().join("file");
        fs::write(&file, content(1)).unwrap();
        let bulk = objects.bulk(|_| {});
        let first = bulk.put_file(&file, false).unwrap().0;
        bulk.finish().unwrap();
        fs::write(&file, content(2)).unwrap();
        let second = objects.put_path(&file, Take::Move).unwrap().digest;
        let third = objects.put_reader(content(3).as_slice()).unwrap().digest;
        for digest in [first, second, third] {
            assert!(fits(digest));
            assert!(objects.renew(digest) && fits(digest));
            // A note that is lost or wrong is made anew.
            fs::write(objects.note_of(digest), "1 2 3").unwrap();
            sleep(Duration::from_millis(25));
            objects.sound(digest).unwrap();
            assert!(fits(digest));
        }
        // Nothing is noted as right by being made young.
        write_through(&objects, first);
        objects.renew(first);
        assert!(!fits(first) && objects.sound(first).is_err());
        let small = objects.put_bytes(b"small").unwrap().digest;
        assert!(objects.noted(small).is_none());
        objects.sweep(&Default::default(), SystemTime::now() + Duration::from_secs(9), false).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("objects/noted")).unwrap().count(), 0);
    }
}
