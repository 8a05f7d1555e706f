//! Doubt: objects that are known to be damaged are taken for absent until they have been stored anew.
//!
//! What stores an object first looks whether it is here, and by its name and size a damaged one is. So that
//! neither an addition nor a transfer has to know of damage, healing gives them a view of the same objects
//! in which the damaged ones are not here. A damaged object keeps its place until whole bytes take it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rondo_core::Digest;

use super::{Objects, hash_file};

/// The digests that are doubted in a view; in most none.
pub(super) type Doubted = Option<Arc<Mutex<HashSet<Digest>>>>;

/// So much is compared at a time.
const PIECE: usize = 64 << 10;

impl Objects {
    /// The same objects, in which some are taken for absent until they are stored anew.
    #[must_use]
    pub fn doubting(&self, digests: impl IntoIterator<Item = Digest>) -> Self {
        let doubted = digests.into_iter().collect();
        Self { doubted: Some(Arc::new(Mutex::new(doubted))), ..self.clone() }
    }

    /// Those that are still doubted.
    pub fn doubted(&self) -> Vec<Digest> {
        let Some(doubted) = &self.doubted else { return Vec::new() };
        let mut digests: Vec<Digest> =
            doubted.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        digests.sort_unstable();
        digests
    }

    pub(super) fn is_doubted(&self, digest: Digest) -> bool {
        let Some(doubted) = &self.doubted else { return false };
        doubted.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    /// An object was stored: whole bytes have its name.
    pub(super) fn clear(&self, digest: Digest) {
        if let Some(doubted) = &self.doubted {
            doubted.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        }
    }

    /// Whether an object is here with exactly these bytes, and from now on counted as new. Where it is
    /// damaged it is not.
    pub(super) fn has_bytes(&self, digest: Digest, bytes: &[u8]) -> bool {
        let Ok(file) = File::open(self.place(digest)) else { return false };
        let long = |file: &File| file.metadata().is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
        long(&file) && same(&file, bytes).unwrap_or(false) && self.make_young(digest, &file)
    }

    /// Whether an object is here and what its digest says as far as is looked when it is handed out, and from
    /// now on counted as new.
    pub(super) fn stands(&self, digest: Digest) -> bool {
        !self.is_doubted(digest) && self.sound(digest).is_ok() && self.renew(digest)
    }

    /// Whether an object is here with the bytes that its digest says, which are read for it, and from now on
    /// counted as new.
    pub(super) fn is_sound(&self, digest: Digest, size: u64) -> bool {
        let place = self.place(digest);
        !self.is_doubted(digest)
            && fs::metadata(&place).is_ok_and(|metadata| metadata.len() == size)
            && hash_in_parallel(&place, size).is_ok_and(|found| found == digest)
            && self.renew(digest)
    }
}

fn same(mut file: &File, bytes: &[u8]) -> io::Result<bool> {
    let mut piece = vec![0; bytes.len().min(PIECE)];
    for wanted in bytes.chunks(PIECE) {
        let found = piece.get_mut(..wanted.len()).unwrap_or_default();
        file.read_exact(found)?;
        if found != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

fn hash_in_parallel(path: &Path, size: u64) -> io::Result<Digest> {
    if size < 1 << 20 {
        return hash_file(path).map_err(io::Error::other);
    }
    super::bulk::hash_open(&File::open(path)?, size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn house() -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        (folder, objects)
    }

    /// Damages an object as a disk does: same size, same permissions.
    fn spoil(objects: &Objects, digest: Digest) {
        let place = objects.require(digest).unwrap();
        let mut bytes = fs::read(&place).unwrap();
        bytes[0] ^= 1;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&place, bytes).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o440)).unwrap();
    }

    #[test]
    fn what_is_stored_again_takes_the_place_of_damaged_bytes_of_the_same_length() {
        let (folder, objects) = house();
        let file = folder.path().join("large");
        let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&file, &bytes).unwrap();
        let (small, large) = (b"a few bytes".as_slice(), Digest::of(&bytes));
        let digest = objects.put_bytes(small).unwrap().digest;
        objects.put_path(&file, super::super::Take::Keep).unwrap();
        for maybe_here in [false, true] {
            spoil(&objects, digest);
            spoil(&objects, large);
            let bulk = objects.bulk(|_| {});
            bulk.put_bytes(small).unwrap();
            bulk.put_file(&file, maybe_here).unwrap();
            bulk.finish().unwrap();
            assert!(objects.verify(digest).unwrap() && objects.verify(large).unwrap());
        }
        spoil(&objects, digest);
        spoil(&objects, large);
        objects.put_reader(small).unwrap();
        let mut upload = objects.upload().unwrap();
        upload.write(&bytes).unwrap();
        upload.finish().unwrap();
        assert!(objects.verify(digest).unwrap() && objects.verify(large).unwrap());
        spoil(&objects, digest);
        spoil(&objects, large);
        objects.put_bytes(small).unwrap();
        objects.put_path(&file, super::super::Take::Keep).unwrap();
        assert!(objects.verify(digest).unwrap() && objects.verify(large).unwrap());
    }

    #[test]
    fn what_is_doubted_is_absent_until_it_is_stored_anew_and_only_in_that_view() {
        let (_folder, objects) = house();
        let digest = objects.put_bytes(b"bytes").unwrap().digest;
        let view = objects.doubting([digest]);
        assert!(objects.renew(digest) && !view.renew(digest));
        assert_eq!(view.doubted(), [digest]);
        view.put_reader(b"bytes".as_slice()).unwrap();
        assert!(view.renew(digest) && view.doubted().is_empty());
    }
}
