//! What is known of the objects that were here already, so that new files are not looked for one by one.
//!
//! Of each of the folders in which objects lie, the second question is answered by one short listing; a long
//! one would cost more than it saves. An answer is a hint: what is said to be absent and has come since, by
//! another process, is stored once more in its place, and what may be here is looked at.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rondo_core::Digest;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

/// A folder that is larger than this is not listed. What a file system takes for the size of a folder
/// differs, and is never less than a few bytes a name where names are few.
const LISTED_BYTES: u64 = 16 << 10;
/// So many names are read of one.
const LISTED: usize = 512;

/// The objects that are known to be here.
pub(super) struct Here(Vec<Mutex<Prefix>>);

/// Those whose digest begins with the same byte.
enum Prefix {
    /// Nobody has asked yet.
    New,
    /// One was asked for, which is cheaper looked at.
    Asked,
    /// All of them, by the next eight bytes.
    All(HashSet<u64>),
    /// Too many.
    Many,
}

impl Here {
    pub(super) fn new() -> Self {
        Self((0..=u8::MAX).map(|_| Mutex::new(Prefix::New)).collect())
    }

    /// Whether an object may be here, in a folder for all.
    pub(super) fn may_hold(&self, root: &Path, digest: Digest) -> bool {
        let Some(mut prefix) = self.lock(digest) else { return true };
        match &*prefix {
            Prefix::New => {
                *prefix = Prefix::Asked;
                return true;
            }
            Prefix::Asked => {
                let folder = root.join(hex::encode([digest.as_bytes()[0]]));
                *prefix = list(&folder).ok().flatten().map_or(Prefix::Many, Prefix::All);
            }
            Prefix::All(_) | Prefix::Many => {}
        }
        match &*prefix {
            Prefix::All(all) => all.contains(&next(digest)),
            Prefix::New | Prefix::Asked | Prefix::Many => true,
        }
    }

    /// More are here.
    pub(super) fn add(&self, digests: &[Digest]) {
        for digest in digests {
            if let Some(mut prefix) = self.lock(*digest)
                && let Prefix::All(all) = &mut *prefix
            {
                all.insert(next(*digest));
            }
        }
    }

    fn lock(&self, digest: Digest) -> Option<MutexGuard<'_, Prefix>> {
        let prefix = self.0.get(usize::from(digest.as_bytes()[0]))?;
        Some(prefix.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn next(digest: Digest) -> u64 {
    digest.as_bytes()[1..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What is in a folder; nothing where that is too much.
fn list(folder: &Path) -> Result<Option<HashSet<u64>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Some(HashSet::new())),
        opened => opened?,
    };
    if u64::try_from(rustix::fs::fstat(&opened)?.st_size).is_ok_and(|size| size > LISTED_BYTES) {
        return Ok(None);
    }
    let mut found = HashSet::new();
    for entry in Dir::new(opened)? {
        let entry = entry?;
        let start = entry.file_name().to_bytes().first_chunk::<16>();
        if let Some(start) = start.and_then(|start| std::str::from_utf8(start).ok())
            && let Ok(next) = u64::from_str_radix(start, 16)
        {
            found.insert(next);
        }
        if found.len() > LISTED {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Objects;

    /// Bytes whose digests begin alike.
    fn alike(count: usize) -> Vec<Vec<u8>> {
        (0_u32..)
            .map(|number| number.to_le_bytes().to_vec())
            .filter(|bytes| Digest::of(bytes).as_bytes()[0] == 7)
            .take(count)
            .collect()
    }

    #[test]
    fn what_is_here_and_what_has_come_is_known_and_what_is_not_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let [stored, absent, added] = &alike(3)[..] else { panic!() };
        let stored = objects.put_bytes(stored).unwrap().digest;
        let (absent, added) = (Digest::of(absent), Digest::of(added));
        let here = Here::new();
        assert!(here.may_hold(folder.path(), absent), "the first is looked at");
        assert!(!here.may_hold(folder.path(), absent) && !here.may_hold(folder.path(), added));
        assert!(here.may_hold(folder.path(), stored));
        here.add(&[added]);
        assert!(here.may_hold(folder.path(), added) && !here.may_hold(folder.path(), absent));
    }

    #[test]
    fn of_a_full_folder_everything_may_be_here_and_of_a_missing_one_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [first, ..] = &alike(1)[..] else { panic!() };
        let digest = Digest::of(first);
        let ask = |here: &Here| [here.may_hold(folder.path(), digest), here.may_hold(folder.path(), digest)];
        assert_eq!(ask(&Here::new()), [true, false]);
        let prefix = folder.path().join("07");
        std::fs::create_dir(&prefix).unwrap();
        assert_eq!(ask(&Here::new()), [true, false]);
        for number in 0..=LISTED {
            std::fs::write(prefix.join(format!("{number:016x}{:046}", 0)), "").unwrap();
        }
        assert_eq!(ask(&Here::new()), [true, true]);
    }
}
