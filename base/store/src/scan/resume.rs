//! What a long addition has stored so far, so that one that was killed is gone on with and not begun
//! again: a file to which each batch is appended when its objects have their names.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rondo_core::Digest;

use crate::objects::Stamp;

const NOTE: usize = 80;
const SUMMED: usize = 72;

/// The files that were stored before, by device and inode.
pub struct Resume {
    path: PathBuf,
    known: HashMap<(u64, u64), (Stamp, Digest)>,
}

impl Resume {
    /// Reads what is there; what is not whole is passed over.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        let known = bytes
            .chunks_exact(NOTE)
            .filter_map(parse)
            .map(|(stamp, digest)| ((stamp.device, stamp.inode), (stamp, digest)))
            .collect();
        Self { path: path.to_owned(), known }
    }

    /// Nothing.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), known: HashMap::new() }
    }

    /// Of files that are known for another reason.
    pub fn of(files: impl IntoIterator<Item = (Stamp, Digest)>) -> Self {
        let known =
            files.into_iter().map(|(stamp, digest)| ((stamp.device, stamp.inode), (stamp, digest))).collect();
        Self { path: PathBuf::new(), known }
    }

    /// How many files are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn digest(&self, stamp: &Stamp) -> Option<Digest> {
        let (known, digest) = self.known.get(&(stamp.device, stamp.inode))?;
        (known == stamp).then_some(*digest)
    }

    /// What appends to the file. That it could not be written costs time later and nothing else.
    pub fn appender(&self) -> impl Fn(&[(Stamp, Digest)]) + Send + Sync + 'static {
        let path = self.path.clone();
        move |kept| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
            let mut bytes = Vec::with_capacity(kept.len() * NOTE);
            for (stamp, digest) in kept.iter().filter(|(stamp, _)| !stamp.is_racy(now)) {
                bytes.extend_from_slice(&note(stamp, *digest));
            }
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            let open = || OpenOptions::new().create(true).append(true).open(&path);
            let _ = made.and_then(|()| open()).and_then(|mut file| file.write_all(&bytes));
        }
    }

    /// Ends: all of it is in the index.
    pub fn done(path: &Path) {
        // One that stays is read again and says the same.
        let _ = fs::remove_file(path);
    }
}

fn note(stamp: &Stamp, digest: Digest) -> [u8; NOTE] {
    let mut bytes = [0; NOTE];
    let fields = [
        stamp.device,
        stamp.inode,
        stamp.size,
        stamp.modified.cast_unsigned(),
        stamp.changed.cast_unsigned(),
    ];
    let (start, rest) = bytes.split_at_mut(40);
    for (place, field) in start.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    let (place, _) = rest.split_at_mut(32);
    place.copy_from_slice(digest.as_bytes());
    let sum = sum(&bytes);
    if let Some(last) = bytes.last_chunk_mut::<8>() {
        *last = sum;
    }
    bytes
}

fn sum(note: &[u8]) -> [u8; 8] {
    let digest = Digest::of(note.get(..SUMMED).unwrap_or_default());
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn parse(note: &[u8]) -> Option<(Stamp, Digest)> {
    if note.last_chunk::<8>() != Some(&sum(note)) {
        return None;
    }
    let field = |index: usize| Some(u64::from_le_bytes(*note.get(index * 8..)?.first_chunk()?));
    let stamp = Stamp {
        device: field(0)?,
        inode: field(1)?,
        size: field(2)?,
        modified: field(3)?.cast_signed(),
        changed: field(4)?.cast_signed(),
    };
    Some((stamp, Digest::from_bytes(*note.get(40..)?.first_chunk()?)))
}
