//! Many files stored at once: each is read once, and all that is new is synced together.
//!
//! What is new waits in the folder of this process until a batch is full. Then the file system is synced
//! once, the batch gets its names, and so on; [`Bulk::finish`] syncs the names. So a name still never
//! stands for half of a file, and ten thousand small files cost a handful of syncs. A large file shares
//! its blocks with the object where the file system can, and is hashed from there; where it cannot, it is
//! hashed while it is copied, past the page cache.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::SystemTime;

use rondo_core::Digest;
use rondo_core::tree::Tree;

use super::{Objects, READ_ONLY, hash_file, sync_folder};
use crate::Error;
use crate::incoming::make_folder;

/// The longest file that is read whole before it is written.
const SMALL: u64 = 256 << 10;
/// So much of a large file is read, hashed and written at a time.
const BLOCK: usize = 4 << 20;
/// What writing past the page cache wants buffers and lengths to be a multiple of.
const ALIGNED: usize = 4096;
/// So many files are synced and named together, or so many bytes.
const BATCH_FILES: usize = 4096;
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

    /// Whether a change at or after a moment (in nanoseconds) could leave this stamp as it is: the file
    /// was changed within one tick of the clock, or later.
    pub fn is_racy(&self, at: i64) -> bool {
        let last = self.modified.max(self.changed);
        // Whole milliseconds come from a file system that keeps nothing finer than seconds, perhaps two.
        let tick = if last % 1_000_000 == 0 { 2_000_000_000 } else { 20_000_000 };
        last.saturating_add(tick) >= at
    }
}

pub(crate) const fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Files on their way into the objects.
pub struct Bulk {
    objects: Objects,
    batch: Mutex<Batch>,
    named: Mutex<BTreeSet<String>>,
    naming: Mutex<()>,
    folders: Mutex<Folders>,
    kept: Box<Kept>,
}

/// Who is told which files have become objects.
type Kept = dyn Fn(&[(Stamp, Digest)]) + Send + Sync;

/// Where files wait until they get their names.
#[derive(Default)]
struct Folders {
    all: Vec<PathBuf>,
    /// Which one a thread fills, and how many files it has put there.
    of_threads: HashMap<ThreadId, (usize, usize)>,
}

#[derive(Default)]
struct Batch {
    files: Vec<Waiting>,
    digests: HashSet<Digest>,
    notes: Vec<(Stamp, Digest)>,
    bytes: u64,
}

struct Waiting {
    digest: Digest,
    path: PathBuf,
}

impl Objects {
    /// Starts to store many files. `kept` is told of files that are objects from now on, before the end.
    pub fn bulk(&self, kept: impl Fn(&[(Stamp, Digest)]) + Send + Sync + 'static) -> Bulk {
        Bulk {
            objects: self.clone(),
            batch: Mutex::default(),
            named: Mutex::default(),
            naming: Mutex::default(),
            folders: Mutex::default(),
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
            && file.set_modified(SystemTime::now()).is_ok()
    }
}

impl Bulk {
    /// Stores a file, whose content may be here already (`maybe_here`: then it is worth a look before it
    /// is copied). Its object exists when [`Bulk::finish`] has ended.
    ///
    /// # Errors
    /// When it cannot be read or written, or changes while it is read.
    pub fn put_file(&self, path: &Path, maybe_here: bool) -> Result<(Digest, Stamp), Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        let before = stamp_from(&metadata, path)?;
        // One that has another name may be an object's own file, whose copy would be one too many.
        let linked = metadata.nlink() > 1;
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
        let fresh = Fresh(self.fresh()?);
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
        if !self.lock().digests.contains(&digest) {
            self.wait(digest, fresh.keep(), before.size)?;
        }
        Ok(digest)
    }

    /// Stores bytes; as [`Bulk::put_file`].
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.lock().digests.contains(&digest) {
            return Ok(digest);
        }
        if self.objects.has_bytes(digest, bytes) {
            self.objects.clear(digest);
            return Ok(digest);
        }
        let fresh = Fresh(self.fresh()?);
        let mut file = create(&fresh.0, 0).map_err(Error::io("write", &fresh.0))?;
        io::Write::write_all(&mut file, bytes).map_err(Error::io("write", &fresh.0))?;
        self.wait(digest, fresh.keep(), size)?;
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

    fn wait(&self, digest: Digest, path: PathBuf, size: u64) -> Result<(), Error> {
        let full = {
            let mut batch = self.lock();
            batch.digests.insert(digest);
            batch.files.push(Waiting { digest, path });
            batch.bytes = batch.bytes.saturating_add(size);
            let full = batch.files.len() >= BATCH_FILES || batch.bytes >= BATCH_BYTES;
            full.then(|| std::mem::take(&mut *batch))
        };
        let Some(Batch { files, notes, .. }) = full else { return Ok(()) };
        self.keep(files)?;
        (self.kept)(&notes);
        Ok(())
    }

    /// Syncs a batch and gives its files their names.
    fn keep(&self, files: Vec<Waiting>) -> Result<(), Error> {
        let synced = self.sync(&files);
        // One at a time: the system moves but one file between folders at once, and burns time in waiting.
        let _naming = self.naming.lock();
        let mut waiting = files.into_iter();
        let named = synced.and_then(|()| waiting.try_for_each(|file| self.name(&file)));
        waiting.for_each(|file| drop(Fresh(file.path)));
        named
    }

    fn sync(&self, files: &[Waiting]) -> Result<(), Error> {
        if files.len() >= FEW && sync_all_of(&self.objects.root)? {
            return Ok(());
        }
        files.iter().try_for_each(|file| {
            File::open(&file.path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &file.path))
        })
    }

    fn name(&self, file: &Waiting) -> Result<(), Error> {
        let place = self.objects.place(file.digest);
        let unnamed = Fresh(file.path.clone());
        let mut renamed = fs::rename(&unnamed.0, &place);
        if let Err(error) = &renamed
            && error.kind() == io::ErrorKind::NotFound
            && let Some(folder) = place.parent()
        {
            make_folder(folder)?;
            renamed = fs::rename(&unnamed.0, &place);
        }
        renamed.map_err(Error::io("write", &place))?;
        unnamed.keep();
        self.objects.clear(file.digest);
        let prefix = file.digest.hex().get(..2).unwrap_or_default().to_owned();
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(prefix);
        Ok(())
    }

    /// Ends: from now on everything that was put is on the disk under its name.
    ///
    /// # Errors
    /// When it cannot be synced or named.
    pub fn finish(self) -> Result<(), Error> {
        let batch = std::mem::take(&mut *self.lock());
        self.keep(batch.files)?;
        let named = std::mem::take(&mut *self.named.lock().unwrap_or_else(PoisonError::into_inner));
        if named.is_empty() || named.len() >= FEW && sync_all_of(&self.objects.root)? {
            return Ok(());
        }
        for prefix in named {
            sync_folder(&self.objects.root.join(prefix))?;
        }
        sync_folder(&self.objects.root)
    }

    /// A name for a file that nothing has. Threads have folders of their own, since the system makes one
    /// file in a folder at a time; every so many files there is a new one: a file system looks for room near
    /// a file's folder, and the longer the more of it is taken there.
    fn fresh(&self) -> Result<PathBuf, Error> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let Folders { all, of_threads } = &mut *folders;
        let (folder, given) = of_threads.entry(thread::current().id()).or_insert((0, BATCH_FILES));
        if *given >= BATCH_FILES {
            let name = format!("bulk-{:p}-{}", &raw const *self, all.len());
            let path = self.objects.incoming.path().join(name);
            make_folder(&path)?;
            (*folder, *given) = (all.len(), 0);
            all.push(path);
        }
        *given += 1;
        Ok(all.get(*folder).cloned().unwrap_or_default().join(given.to_string()))
    }

    fn remove_folders(&self) {
        let folders = std::mem::take(&mut *self.folders.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in folders.all {
            // One that is not empty goes with the folder of this process.
            let _ = fs::remove_dir(folder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut *self.lock());
        batch.files.into_iter().for_each(|file| drop(Fresh(file.path)));
        self.remove_folders();
    }
}

/// A file that goes unless it is kept.
struct Fresh(PathBuf);

impl Fresh {
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What stays is taken away with the folder of this process.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Syncs all of a file system at once; whether that can be done here.
fn sync_all_of(folder: &Path) -> Result<bool, Error> {
    #[cfg(target_os = "linux")]
    {
        let folder_file = File::open(folder).map_err(Error::io("open", folder))?;
        rustix::fs::syncfs(&folder_file).map_err(|error| Error::io("sync", folder)(error.into()))?;
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        Ok(false)
    }
}

fn stamp_of(file: &File, path: &Path) -> Result<Stamp, Error> {
    stamp_from(&file.metadata().map_err(Error::io("read", path))?, path)
}

fn stamp_from(metadata: &Metadata, path: &Path) -> Result<Stamp, Error> {
    if metadata.is_file() { Ok(Stamp::of(metadata)) } else { Err(Error::Special { path: path.to_owned() }) }
}

fn changed(path: &Path) -> Error {
    Error::Changed { path: path.to_owned() }
}

fn create(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).custom_flags(flags).open(path)
}

/// Fills a buffer from a file's beginning, as far as both go.
fn read_from_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

pub(super) fn hash_open(file: &File, size: u64) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; if size > SMALL { BLOCK } else { SMALL as usize }];
    let mut at = 0_u64;
    loop {
        let count = match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += count as u64;
        let part = buffer.get(..count).unwrap_or_default();
        if count > 1 << 20 {
            hasher.update_rayon(part)
        } else {
            hasher.update(part)
        };
    }
}

/// Copies a file and hashes what is copied; one thread reads and hashes, another writes.
fn copy_hashing(mut from: &File, to: &Path, size: u64) -> io::Result<Digest> {
    let (file, direct) = match create(to, direct_flag()) {
        Ok(file) => (file, direct_flag() != 0),
        // A file system that knows no such writing.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let _ = fs::remove_file(to);
            (create(to, 0)?, false)
        }
        Err(error) => return Err(error),
    };
    reserve(&file, size)?;
    let (full, to_write) = std::sync::mpsc::sync_channel::<(Block, u64)>(1);
    let (empty, written) = std::sync::mpsc::channel::<Block>();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0_u64;
    thread::scope(|scope| {
        let file = &file;
        let writer = scope.spawn(move || {
            for (mut block, at) in to_write {
                file.write_all_at(block.padded(direct), at)?;
                // Nobody waits for a block once all is read.
                let _ = empty.send(block);
            }
            Ok::<_, io::Error>(())
        });
        let mut made = 0;
        loop {
            let block = if made < 3 { None } else { written.recv().ok() };
            made += 1;
            let mut block = block.unwrap_or_default();
            block.length = read_all(&mut from, block.buffer())?;
            hasher.update(block.filled());
            let length = block.length as u64;
            // A file that grows without an end is given up; that it changed is seen by its stamp.
            if length == 0 || at > size || full.send((block, at)).is_err() {
                break;
            }
            at += length;
        }
        drop(full);
        writer.join().map_err(|_| io::Error::other("the writing thread ended"))?
    })?;
    file.set_len(at)?;
    Ok(hasher.finalize().into())
}

fn read_all(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(target_os = "linux")]
const fn direct_flag() -> i32 {
    libc::O_DIRECT
}

#[cfg(not(target_os = "linux"))]
const fn direct_flag() -> i32 {
    0
}

/// Takes the room that a file needs, so that a full disk shows before anything is copied.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Err(error) if error == rustix::io::Errno::NOSPC || error == rustix::io::Errno::FBIG => {
            return Err(error.into());
        }
        // One that cannot promise room writes all the same.
        Ok(()) | Err(_) => {}
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, size);
    Ok(())
}

/// A buffer whose bytes lie where direct writing wants them.
struct Block {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Default for Block {
    fn default() -> Self {
        let bytes = vec![0; BLOCK + ALIGNED];
        let start = bytes.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        Self { bytes, start, length: 0 }
    }
}

impl Block {
    fn buffer(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + BLOCK).unwrap_or_default()
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// What is written: directly only whole pages, whose rest is cut off at the end.
    fn padded(&mut self, direct: bool) -> &[u8] {
        let length = self.length;
        if !direct {
            return self.filled();
        }
        let padded = length.next_multiple_of(ALIGNED);
        let buffer = self.buffer();
        if let Some(rest) = buffer.get_mut(length..padded) {
            rest.fill(0);
        }
        buffer.get(..padded).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::sync::Arc;

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
        let sizes = [0, 1, 4096, SMALL as usize, SMALL as usize + 1, BLOCK, 3 * BLOCK + 17];
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
        assert_eq!(fs::read_dir(objects.incoming.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_batch_is_named_at_once_and_told() {
        let (folder, objects) = house();
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = told.clone();
        let bulk = objects.bulk(move |kept| noted.lock().unwrap().extend_from_slice(kept));
        let path = folder.path().join("f");
        for number in 0..=BATCH_FILES {
            fs::write(&path, number.to_le_bytes()).unwrap();
            bulk.put_file(&path, false).unwrap();
            fs::remove_file(&path).unwrap();
        }
        let told = told.lock().unwrap();
        assert!(told.len() >= BATCH_FILES - 1, "{}", told.len());
        assert!(told.iter().all(|(_, digest)| objects.path(*digest).is_some()));
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let (folder, objects) = house();
        let bulk = objects.bulk(|_| {});
        let digest = bulk.put_bytes(b"half").unwrap();
        drop(bulk);
        assert!(objects.path(digest).is_none());
        assert_eq!(fs::read_dir(objects.incoming.path()).unwrap().count(), 0);
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
