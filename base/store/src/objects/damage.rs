//! Damage: what of an object, and of a folder what of all that it holds, cannot be used any more.
//!
//! The files of a folder may be many, and mostly none of them has changed since they were last looked at. So
//! there is one note of all their stamps: while it fits they are looked at and not read. It is a hint as every
//! note is, and where it does not fit each file is looked at by itself.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::time::SystemTime;

use rayon::prelude::*;
use rondo_core::Digest;

use super::sound::text;
use super::{Objects, Stamp};
use crate::Error;

/// What a folder holds, at any depth.
#[derive(Default)]
struct Below {
    files: BTreeSet<Digest>,
    listings: HashSet<Digest>,
    damaged: Vec<Digest>,
}

/// How the files of a folder looked at a moment.
struct Looks {
    note: String,
    /// Whether a change since could have left one of the stamps as it was.
    racy: bool,
}

impl Objects {
    /// What of an object and, of a folder, of all that it holds cannot be read or is not what its digest says:
    /// nothing where all is sound. Of a listing that is damaged it is not known what it names.
    ///
    /// # Errors
    /// When something of it is not in the store at all.
    pub fn damage(&self, digest: Digest, folder: bool) -> Result<Vec<Digest>, Error> {
        if !folder {
            return Ok(self.is_damaged(digest)?.then_some(digest).into_iter().collect());
        }
        let mut below = Below::default();
        self.gather(digest, &mut below)?;
        let Below { files, mut damaged, .. } = below;
        let files: Vec<Digest> = files.into_iter().collect();
        let (looks, place) = (self.looks(&files)?, self.note_of_all(digest));
        if fs::read_to_string(&place).is_ok_and(|noted| noted == looks.note) {
            return Ok(damaged);
        }
        damaged.extend(self.damaged_of(&files)?);
        if damaged.is_empty() && !looks.racy && self.looks(&files)?.note == looks.note {
            self.write_hint(&place, &looks.note);
        }
        Ok(damaged)
    }

    fn gather(&self, listing: Digest, below: &mut Below) -> Result<(), Error> {
        if !below.listings.insert(listing) {
            return Ok(());
        }
        match self.named(listing) {
            Ok(named) => named.into_iter().try_for_each(|(digest, folder)| {
                if folder {
                    return self.gather(digest, below);
                }
                below.files.insert(digest);
                Ok(())
            }),
            Err(error @ Error::ObjectNotFound(_)) => Err(error),
            Err(_) => {
                below.damaged.push(listing);
                Ok(())
            }
        }
    }

    fn looks(&self, files: &[Digest]) -> Result<Looks, Error> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let (mut hasher, mut racy) = (blake3::Hasher::new(), false);
        for digest in files {
            let metadata = fs::metadata(self.place(*digest)).map_err(|_| Error::ObjectNotFound(*digest))?;
            let stamp = Stamp::of(&metadata);
            racy |= stamp.is_racy(now);
            hasher.update(text(&stamp).as_bytes());
        }
        Ok(Looks { note: format!("1 {}\n", Digest::from(hasher.finalize()).hex()), racy })
    }

    /// Those of many files that are damaged, looked at on all cores.
    fn damaged_of(&self, files: &[Digest]) -> Result<Vec<Digest>, Error> {
        let damaged = |digest: &Digest| match self.is_damaged(*digest) {
            Ok(damaged) => damaged.then_some(Ok(*digest)),
            Err(error) => Some(Err(error)),
        };
        files.par_iter().filter_map(damaged).collect()
    }

    fn is_damaged(&self, digest: Digest) -> Result<bool, Error> {
        match self.sound(digest) {
            Ok(_) => Ok(false),
            Err(error @ Error::ObjectNotFound(_)) => Err(error),
            Err(_) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::super::Take;
    use super::*;

    fn spoil(objects: &Objects, digest: Digest) {
        let place = objects.require(digest).unwrap();
        let mut bytes = fs::read(&place).unwrap();
        bytes[0] ^= 1;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&place, bytes).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o440)).unwrap();
    }

    fn put_folder(objects: &Objects, place: &Path) -> Digest {
        fs::create_dir_all(place.join("inner")).unwrap();
        for number in 0..100 {
            fs::write(place.join(format!("{number}")), format!("file {number}")).unwrap();
        }
        fs::write(place.join("inner/large"), vec![7; 300 << 10]).unwrap();
        objects.put_path(place, Take::Keep).unwrap().digest
    }

    #[test]
    fn what_is_damaged_of_a_folder_is_named_and_what_has_not_changed_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let place = folder.path().join("made");
        let whole = put_folder(&objects, &place);
        // Until the stamps are old enough to be believed, nothing is noted.
        let noted = || objects.note_of_all(whole).is_file();
        while !noted() {
            assert_eq!(objects.damage(whole, true).unwrap(), []);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let one = Digest::of(b"file 7");
        let large = Digest::of(&vec![7; 300 << 10]);
        let inner = objects.tree(whole).unwrap().entries().iter().find(|e| e.name == "inner").unwrap().digest;
        for spoilt in [one, large, inner] {
            spoil(&objects, spoilt);
            assert_eq!(objects.damage(whole, true).unwrap(), [spoilt]);
            assert_eq!(objects.damage(spoilt, false).unwrap(), [spoilt]);
            put_folder(&objects, &place);
            assert_eq!(objects.damage(whole, true).unwrap(), []);
        }
        fs::remove_file(objects.require(one).unwrap()).unwrap();
        assert!(matches!(objects.damage(whole, true), Err(Error::ObjectNotFound(gone)) if gone == one));
        objects.forget(whole);
        assert!(!noted());
    }

    #[test]
    fn a_note_that_fits_is_believed_and_one_of_other_files_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let whole = put_folder(&objects, &folder.path().join("made"));
        let one = Digest::of(b"file 7");
        spoil(&objects, one);
        objects.write_hint(&objects.note_of_all(whole), "1 other\n");
        assert_eq!(objects.damage(whole, true).unwrap(), [one]);
        let mut below = Below::default();
        objects.gather(whole, &mut below).unwrap();
        let looks = objects.looks(&below.files.into_iter().collect::<Vec<_>>()).unwrap();
        objects.write_hint(&objects.note_of_all(whole), &looks.note);
        assert_eq!(objects.damage(whole, true).unwrap(), [], "nothing is read");
    }
}
