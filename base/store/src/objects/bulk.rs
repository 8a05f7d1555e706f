//! Many files stored at once: each is read once, and all that is new is synced together.
//!
//! What is new waits in the folder of this process until a batch is full. Then the file system is synced
//! once, the batch gets its names, and so on; [`Bulk::finish`] syncs the names. So a name still never
//! stands for half of a file, and ten thousand small files cost two syncs. A large file shares its blocks
//! with the object where the file system can, and is hashed from there; where it cannot, it is hashed while
//! it is copied, past the page cache.

mod here;
mod large;
mod stage;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rondo_core::Digest;
use rondo_core::tree::Tree;
use rustix::fs::{FileType, Stat};

use super::{Objects, READ_ONLY, hash_file, sync_folder};
use crate::Error;
use here::Here;
pub(super) use large::hash_open;
use large::{copy_hashing, read_from_start};
use stage::Stage;

/// The longest file that is read whole before it is written.
const SMALL: u64 = 256 << 10;
/// So many files are synced and named together, or so many bytes.
const BATCH_FILES: usize = 1 << 14;
const BATCH_BYTES: u64 = 256 << 20;
/// Fewer files than these are synced one by one: a sync of all waits for what others write too.
const FEW: usize = 8;
/// A small file that somebody touches just now is read so often before it counts as changing.
const READS: usize = 3;

/// By what a file is known to be the one that it was: as long as this holds, so does its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed, in nanoseconds.
    pub modified: i64,
    /// When anything of it changed, in nanoseconds; nobody can set this one.
    pub changed: i64,
}

impl Stamp {
    /// Of what the system says of a file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The same, of what it says in its own words.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        Self {
            device: u64::from(stat.st_dev),
            inode: u64::from(stat.st_ino),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether a change at or after a moment (in nanoseconds) could leave this stamp as it is: the file
    /// was changed within one tick of the clock, or later.
    pub fn is_racy(&self, at: i64) -> bool {
        let last = self.modified.max(self.changed);
        // Whole milliseconds come from a file system that keeps nothing finer than seconds, perhaps two.
        let tick = if last % 1_000_000 == 0 { 2_000_000_000 } else { 20_000_000 };
        last.saturating_add(tick) >= at
    }
}

const fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Files on their way into the objects.
pub struct Bulk {
    objects: Objects,
    here: Here,
    batch: Mutex<Batch>,
    named: Mutex<BTreeSet<u8>>,
    naming: Mutex<()>,
    /// So many files make a batch full.
    most: usize,
    /// Whether the system notes when files are read.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    noted: AtomicBool,
    kept: Box<Kept>,
}

/// Who is told which files have become objects.
type Kept = dyn Fn(&[(Stamp, Digest)]) + Send + Sync;

/// Files that are synced and named together.
#[derive(Default)]
struct Batch {
    /// Where they wait; nothing before the first.
    stage: Option<Arc<Stage>>,
    digests: HashSet<Digest>,
    notes: Vec<(Stamp, Digest)>,
    /// Those whose bytes nobody wants to hash again when they are used.
    large: Vec<Digest>,
    bytes: u64,
}

impl Objects {
    /// Starts to store many files. `kept` is told of files that are objects from now on, before the end.
    pub fn bulk(&self, kept: impl Fn(&[(Stamp, Digest)]) + Send + Sync + 'static) -> Bulk {
        Bulk {
            objects: self.clone(),
            here: Here::new(),
            batch: Mutex::default(),
            named: Mutex::default(),
            naming: Mutex::default(),
            most: BATCH_FILES,
            noted: AtomicBool::new(false),
            kept: Box::new(kept),
        }
    }

    /// Hashes a file, which must not change meanwhile; with the stamp under which that holds.
    ///
    /// # Errors
    /// When it cannot be read, or changes.
    pub fn digest_steady(path: &Path) -> Result<(Digest, Stamp), Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let before = stamp_of(&file, path)?;
        let digest = hash_open(&file, before.size).map_err(Error::io("read", path))?;
        if stamp_of(&file, path)? == before { Ok((digest, before)) } else { Err(changed(path)) }
    }

    /// Whether an object is here as it was stored, and from now on counted as new. One that shares its
    /// file with a work tree may have been written through there, so its bytes are looked at.
    fn trusted(&self, digest: Digest, size: u64) -> bool {
        if self.is_doubted(digest) {
            return false;
        }
        let place = self.place(digest);
        let Ok(file) = File::open(&place) else { return false };
        let Ok(metadata) = file.metadata() else { return false };
        let open_to_others = metadata.nlink() > 1 || metadata.permissions().mode() & 0o222 != 0;
        metadata.len() == size
            && (!open_to_others || hash_file(&place).is_ok_and(|found| found == digest))
            && self.make_young(digest, &file)
    }
}

impl Bulk {
    /// Stores a file, whose content may be here already (`maybe_here`: then it is worth a look before it
    /// is copied). Its object exists when [`Bulk::finish`] has ended.
    ///
    /// # Errors
    /// When it cannot be read or written, or changes while it is read.
    pub fn put_file(&self, path: &Path, maybe_here: bool) -> Result<(Digest, Stamp), Error> {
        let file = self.open(path)?;
        let stat = stat_of(&file, path)?;
        let before = Stamp::of_stat(&stat);
        // One that has another name may be an object's own file, whose copy would be one too many.
        let linked = stat.st_nlink > 1;
        let (digest, stamp) = if before.size <= SMALL {
            self.put_small(path, &file, before)?
        } else {
            (self.put_large(path, &file, before, maybe_here || linked)?, before)
        };
        // Where file and object are one inode, counting the object as new has changed the file's stamp.
        let shared = linked
            && fs::metadata(self.objects.place(digest))
                .is_ok_and(|object| (object.dev(), object.ino()) == (stamp.device, stamp.inode));
        let stamp = if shared { stamp_of(&file, path)? } else { stamp };
        self.lock().notes.push((stamp, digest));
        Ok((digest, stamp))
    }

    /// Opens a file to be stored, so that its time of reading stays as it is where that may be asked for:
    /// for a file that was never read, the system would have to write it down.
    fn open(&self, path: &Path) -> Result<File, Error> {
        #[cfg(target_os = "linux")]
        if !self.noted.load(Ordering::Relaxed) {
            match OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(path) {
                // Somebody else's: then the next ones are, too.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    self.noted.store(true, Ordering::Relaxed);
                }
                opened => return opened.map_err(Error::io("open", path)),
            }
        }
        File::open(path).map_err(Error::io("open", path))
    }

    fn put_small(&self, path: &Path, file: &File, first: Stamp) -> Result<(Digest, Stamp), Error> {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL as usize]));
        BUFFER.with_borrow_mut(|buffer| {
            let mut before = first;
            for _ in 0..READS {
                // What grows meanwhile has another stamp afterwards, so its end needs no look of its own.
                let size = usize::try_from(before.size).unwrap_or(usize::MAX);
                let whole = match buffer.get_mut(..size) {
                    Some(bytes) => read_from_start(file, bytes).map_err(Error::io("read", path))? == size,
                    None => false,
                };
                let after = stamp_of(file, path)?;
                if whole && after == before {
                    return Ok((self.put_bytes(buffer.get(..size).unwrap_or_default())?, before));
                }
                before = after;
            }
            Err(changed(path))
        })
    }

    fn put_large(&self, path: &Path, file: &File, before: Stamp, maybe_here: bool) -> Result<Digest, Error> {
        if maybe_here {
            let digest = hash_open(file, before.size).map_err(Error::io("read", path))?;
            if stamp_of(file, path)? != before {
                return Err(changed(path));
            }
            if self.objects.is_sound(digest, before.size) {
                return Ok(digest);
            }
        }
        let fresh = Fresh(self.objects.incoming.name()?);
        let copied = if reflink_copy::reflink(path, &fresh.0).is_ok() {
            fs::set_permissions(&fresh.0, fs::Permissions::from_mode(READ_ONLY))
                .map_err(Error::io("protect", &fresh.0))
                .and_then(|()| hash_file(&fresh.0))
        } else {
            copy_hashing(file, &fresh.0, before.size).map_err(Error::io("store", path))
        };
        if stamp_of(file, path)? != before {
            return Err(changed(path));
        }
        let digest = copied?;
        // What is here under that name may be damaged, and what was copied just now is not.
        self.wait(digest, before.size, |stage| stage.take(digest, &fresh.0))?;
        Ok(digest)
    }

    /// Stores bytes; as [`Bulk::put_file`].
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.here.may_hold(&self.objects.root, digest) && self.objects.has_bytes(digest, bytes) {
            self.objects.clear(digest);
            return Ok(digest);
        }
        self.wait(digest, size, |stage| stage.write(digest, bytes))?;
        Ok(digest)
    }

    /// Stores a folder's listing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, Error> {
        let mut last = Digest::of(Tree::HEADER);
        for bytes in tree.objects() {
            last = self.put_bytes(&bytes)?;
        }
        Ok(last)
    }

    /// Whether an object of this size is here, and from now on counted as new.
    pub fn has(&self, digest: Digest, size: u64) -> bool {
        self.lock().digests.contains(&digest) || self.objects.trusted(digest, size)
    }

    /// Makes a file that waits with the others of its batch, unless it does already. Who fills the batch
    /// gives it its names.
    fn wait(
        &self,
        digest: Digest,
        size: u64,
        make: impl FnOnce(&Stage) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut batch = self.lock();
        if batch.digests.contains(&digest) {
            return Ok(());
        }
        let stage = match &batch.stage {
            Some(stage) => stage.clone(),
            None => {
                let stage = Stage::new(self.objects.incoming.name()?, &self.objects.root)?;
                batch.stage.insert(Arc::new(stage)).clone()
            }
        };
        batch.digests.insert(digest);
        if size > SMALL {
            batch.large.push(digest);
        }
        batch.bytes = batch.bytes.saturating_add(size);
        let full = batch.digests.len() >= self.most || batch.bytes >= BATCH_BYTES;
        let full = full.then(|| std::mem::take(&mut *batch));
        // From before another thread could find the batch full until the file is whole.
        let making = stage.making();
        drop(batch);
        let made = make(&stage);
        drop(making);
        made?;
        if let Some(batch) = full {
            (self.kept)(&self.keep(batch)?);
        }
        Ok(())
    }

    /// Syncs a batch and gives its files their names. Gives back which they are.
    fn keep(&self, batch: Batch) -> Result<Vec<(Stamp, Digest)>, Error> {
        let Some(stage) = batch.stage else { return Ok(batch.notes) };
        let mut digests: Vec<Digest> = batch.digests.into_iter().collect();
        digests.sort_unstable();
        stage.close()?;
        stage.sync(&digests)?;
        // One at a time: the system moves but one file between folders at once, and burns time in waiting.
        let _naming = self.naming.lock();
        let mut named = stage.name(&digests)?;
        self.named.lock().unwrap_or_else(PoisonError::into_inner).append(&mut named);
        self.here.add(&digests);
        digests.iter().for_each(|digest| self.objects.clear(*digest));
        batch.large.iter().for_each(|digest| self.objects.note(*digest));
        Ok(batch.notes)
    }

    /// Ends: from now on everything that was put is on the disk under its name.
    ///
    /// # Errors
    /// When it cannot be synced or named.
    pub fn finish(self) -> Result<(), Error> {
        let batch = std::mem::take(&mut *self.lock());
        self.keep(batch)?;
        let named = std::mem::take(&mut *self.named.lock().unwrap_or_else(PoisonError::into_inner));
        if named.is_empty() || named.len() >= FEW && stage::sync_all_of(&self.objects.root)? {
            return Ok(());
        }
        for prefix in named {
            sync_folder(&self.objects.root.join(hex::encode([prefix])))?;
        }
        sync_folder(&self.objects.root)
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy that goes, unless it was taken to another place.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        // What was taken is not here any more, and what stays goes with the folder of this process.
        let _ = fs::remove_file(&self.0);
    }
}

fn stamp_of(file: &File, path: &Path) -> Result<Stamp, Error> {
    Ok(Stamp::of_stat(&stat_of(file, path)?))
}

fn stat_of(file: &File, path: &Path) -> Result<Stat, Error> {
    let stat = rustix::fs::fstat(file).map_err(|error| Error::io("read", path)(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok(stat)
    } else {
        Err(Error::Special { path: path.to_owned() })
    }
}

fn changed(path: &Path) -> Error {
    Error::Changed { path: path.to_owned() }
}

fn create(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::thread;

    use super::*;

    fn house() -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        (folder, objects)
    }

    #[test]
    fn files_of_every_size_become_objects_at_the_end() {
        let (folder, objects) = house();
        let bulk = objects.bulk(|_| {});
        let sizes = [0, 1, 4096, SMALL as usize, SMALL as usize + 1, 4 << 20, (12 << 20) + 17];
        let mut put = Vec::new();
        for (index, size) in sizes.into_iter().enumerate() {
            let path = folder.path().join(format!("f{index}"));
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + index) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            let (digest, stamp) = bulk.put_file(&path, index % 2 == 0).unwrap();
            assert_eq!(digest, Digest::of(&bytes));
            put.push((stamp, digest));
        }
        assert!(objects.path(put[1].1).is_none(), "nothing has a name before it is synced");
        bulk.finish().unwrap();
        for ((_, digest), size) in put.iter().zip(sizes) {
            let place = objects.require(*digest).unwrap();
            assert_eq!(objects.read(*digest).unwrap().len(), size);
            assert_eq!(fs::metadata(place).unwrap().permissions().mode() & 0o777, READ_ONLY);
        }
        assert_eq!(fs::read_dir(objects.incoming.path().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_batch_is_named_at_once_and_told() {
        let (folder, objects) = house();
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = told.clone();
        let mut bulk = objects.bulk(move |kept| noted.lock().unwrap().extend_from_slice(kept));
        bulk.most = 300;
        let path = folder.path().join("f");
        for number in 0..=bulk.most {
            fs::write(&path, number.to_le_bytes()).unwrap();
            bulk.put_file(&path, false).unwrap();
            fs::remove_file(&path).unwrap();
        }
        let told = told.lock().unwrap();
        assert!(told.len() >= bulk.most - 1, "{}", told.len());
        assert!(told.iter().all(|(_, digest)| objects.path(*digest).is_some()));
    }

    #[test]
    fn many_threads_of_two_processes_store_much_of_the_same_at_once() {
        let (folder, objects) = house();
        let other = Objects::open(&folder.path().join("objects")).unwrap();
        let bytes = |number: u32| number.to_le_bytes().repeat(100);
        thread::scope(|scope| {
            for objects in [&objects, &other] {
                scope.spawn(move || {
                    let mut bulk = objects.bulk(|_| {});
                    bulk.most = 50;
                    thread::scope(|scope| {
                        for first in 0..4 {
                            let bulk = &bulk;
                            scope.spawn(move || {
                                for number in first * 100..first * 100 + 200 {
                                    bulk.put_bytes(&bytes(number)).unwrap();
                                }
                            });
                        }
                    });
                    bulk.finish().unwrap();
                });
            }
        });
        for number in 0..500 {
            assert_eq!(objects.read(Digest::of(&bytes(number))).unwrap(), bytes(number));
        }
        for objects in [objects, other] {
            assert_eq!(fs::read_dir(objects.incoming.path().unwrap()).unwrap().count(), 0);
        }
    }

    /// Bytes whose objects lie in the same folder.
    fn alike() -> impl Iterator<Item = [u8; 4]> {
        (0_u32..).map(u32::to_le_bytes).filter(|bytes| Digest::of(bytes).as_bytes()[0] == 7)
    }

    #[test]
    fn an_object_that_came_meanwhile_stays_beside_those_that_get_their_names() {
        let (_folder, objects) = house();
        let contents: Vec<_> = alike().take(20).collect();
        let bulk = objects.bulk(|_| {});
        let (last, first) = contents.split_last().unwrap();
        for bytes in first {
            bulk.put_bytes(bytes).unwrap();
        }
        objects.put_bytes(last).unwrap();
        bulk.finish().unwrap();
        for bytes in &contents {
            assert_eq!(objects.read(Digest::of(bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_folder_that_was_given_to_others_stays_the_one_that_it_is() {
        let (folder, objects) = house();
        let [shared, own] = ["07", "08"].map(|prefix| folder.path().join("objects").join(prefix));
        fs::set_permissions(&shared, Permissions::from_mode(0o770)).unwrap();
        fs::remove_dir(&own).unwrap();
        let was = fs::metadata(&shared).unwrap();
        let bulk = objects.bulk(|_| {});
        let contents: Vec<_> = alike().take(20).collect();
        for bytes in &contents {
            bulk.put_bytes(bytes).unwrap();
        }
        let missing = (0_u32..).map(u32::to_le_bytes).find(|bytes| Digest::of(bytes).as_bytes()[0] == 8);
        bulk.put_bytes(&missing.unwrap()).unwrap();
        bulk.finish().unwrap();
        let is = fs::metadata(&shared).unwrap();
        assert_eq!((was.ino(), was.mode()), (is.ino(), is.mode()));
        assert!(contents.iter().all(|bytes| objects.path(Digest::of(bytes)).is_some()));
        assert!(objects.path(Digest::of(&missing.unwrap())).is_some());
    }

    #[test]
    fn nothing_of_a_batch_gets_its_name_when_a_file_of_it_could_not_be_made() {
        let (_folder, objects) = house();
        let bulk = objects.bulk(|_| {});
        let first = bulk.put_bytes(b"first").unwrap();
        for stage in fs::read_dir(objects.incoming.path().unwrap()).unwrap() {
            let stage = stage.unwrap().path();
            fs::rename(&stage, stage.with_extension("moved")).unwrap();
            fs::remove_dir_all(stage.with_extension("moved")).unwrap();
        }
        assert!(matches!(bulk.put_bytes(b"second"), Err(Error::Io { .. })));
        assert!(matches!(bulk.finish(), Err(Error::Io { .. })));
        assert!(objects.path(first).is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn when_a_file_was_read_last_stays_as_it_was() {
        let (folder, objects) = house();
        let path = folder.path().join("f");
        fs::write(&path, b"bytes").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::open(&path).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        let bulk = objects.bulk(|_| {});
        let (_, stamp) = bulk.put_file(&path, false).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(Stamp::of(&metadata), stamp);
        assert_eq!(metadata.accessed().unwrap(), long_ago);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let (folder, objects) = house();
        let bulk = objects.bulk(|_| {});
        let digest = bulk.put_bytes(b"half").unwrap();
        drop(bulk);
        assert!(objects.path(digest).is_none());
        assert_eq!(fs::read_dir(objects.incoming.path().unwrap()).unwrap().count(), 0);
        assert!(matches!(objects.bulk(|_| {}).put_file(folder.path(), false), Err(Error::Special { .. })));
    }

    #[test]
    fn an_object_that_was_written_through_a_link_is_stored_anew() {
        let (folder, objects) = house();
        let stored = objects.put_bytes(b"the data").unwrap();
        let place = objects.require(stored.digest).unwrap();
        let link = folder.path().join("link");
        fs::hard_link(&place, &link).unwrap();
        fs::set_permissions(&link, Permissions::from_mode(0o644)).unwrap();
        fs::write(&link, b"THE DATA").unwrap();
        fs::set_permissions(&link, Permissions::from_mode(READ_ONLY)).unwrap();
        let bulk = objects.bulk(|_| {});
        bulk.put_bytes(b"the data").unwrap();
        bulk.finish().unwrap();
        assert_eq!(objects.read(stored.digest).unwrap(), b"the data");
        assert_eq!(fs::read(&link).unwrap(), b"THE DATA");
    }

    #[test]
    fn a_stamp_of_the_last_moment_is_not_trusted() {
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified: 5, changed: 1_000_000_001 };
        assert!(stamp.is_racy(1_000_000_001) && stamp.is_racy(1_015_000_000));
        assert!(!stamp.is_racy(1_030_000_000));
        let coarse = Stamp { changed: 1_000_000_000, ..stamp };
        assert!(coarse.is_racy(2_900_000_000) && !coarse.is_racy(3_100_000_000));
    }
}
