//! Objects: immutable files and folders, addressed by digest.
//!
//! A file lies whole under its digest, write-protected. A folder is its canonical listing, an object like
//! any other, whose entries are objects. Bytes are hashed as they come in and are synced before they get
//! their name, so that a name never stands for half of a file. This is no cache and no transfer format:
//! chunks and packs belong to remotes.

mod bulk;
mod changes;
mod damage;
mod doubt;
mod half;
mod lend;
mod sound;
mod sweep;

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rondo_core::Digest;
use rondo_core::tree::{Entry, Listing, Mode, Part, Tree};
use tempfile::{NamedTempFile, TempDir, TempPath};

use crate::Error;
use crate::incoming::{Incoming, make_folder};
pub use bulk::{Bulk, Stamp};
pub use changes::{Change, FileEntry};
pub use half::{half_made, sweep_half_made};
pub use lend::Lent;
pub use sweep::Swept;

const MAX_DEPTH: usize = 200;

/// The longest file that is copied or read in one piece.
const WHOLE: u64 = 64 << 10;

/// The bits of an object: nobody writes it, and only the owner and the group may read it.
const READ_ONLY: u32 = 0o440;

/// The objects of a store, in a local folder. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    root: Arc<PathBuf>,
    incoming: Arc<Incoming>,
    /// Whether the file system has refused to share blocks: then it is not asked for each file again.
    unshared: Arc<AtomicBool>,
    /// Those that are taken for absent in this view.
    doubted: doubt::Doubted,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its address.
    pub digest: Digest,
    /// Bytes; of a folder, of all that it holds.
    pub size: u64,
    /// Files; 1 for a file.
    pub files: u64,
    /// Whether it is a folder.
    pub folder: bool,
}

/// How a file was put into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// Shares its blocks with the object until one of them is written.
    Reflink,
    /// Is the object, under another name and write-protected.
    HardLink,
    /// A copy.
    Copy,
}

impl Linked {
    /// The words for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::HardLink => "hard link",
            Self::Copy => "copy",
        }
    }
}

/// Whether a file that is stored may be taken away from where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It stays: the object is a reflink or a copy of it.
    Keep,
    /// It is moved into the store (a step's output in its scratch folder).
    Move,
}

impl Objects {
    /// Opens the objects in a folder, making it where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let incoming = root.join("incoming");
        let is_new = !incoming.is_dir();
        make_folder(&incoming)?;
        if is_new {
            // All at once: made when the first object comes, each would cost a sync of its own.
            (0..=u8::MAX).try_for_each(|prefix| make_folder(&root.join(hex::encode([prefix]))))?;
            sync_folder(root)?;
        }
        let objects = Self {
            root: Arc::new(root.to_owned()),
            incoming: Arc::new(Incoming::open(&incoming)?),
            unshared: Arc::default(),
            doubted: None,
        };
        objects.restore_swept()?;
        Ok(objects)
    }

    /// Whether there is any object.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn any(&self) -> Result<bool, Error> {
        for prefix in 0..=u8::MAX {
            let folder = self.root.join(hex::encode([prefix]));
            if folder.is_dir() && !names(&folder)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn place(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// The file of an object, where it is here: read it, never write to it.
    pub fn path(&self, digest: Digest) -> Option<PathBuf> {
        let place = self.place(digest);
        place.is_file().then_some(place)
    }

    /// The file of an object.
    ///
    /// # Errors
    /// When it is not in the store.
    pub fn require(&self, digest: Digest) -> Result<PathBuf, Error> {
        self.path(digest).ok_or(Error::ObjectNotFound(digest))
    }

    /// Whether an object and, of a folder, all that it holds are here.
    pub fn holds(&self, digest: Digest, folder: bool) -> bool {
        if !folder {
            return self.path(digest).is_some();
        }
        self.tree(digest).is_ok_and(|tree| {
            tree.entries().iter().all(|entry| self.holds(entry.digest, entry.mode == Mode::Folder))
        })
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Stored, Error> {
        let digest = Digest::of(bytes);
        let stored = Stored { digest, size: bytes.len() as u64, files: 1, folder: false };
        if self.has_bytes(digest, bytes) {
            self.clear(digest);
            return Ok(stored);
        }
        let mut incoming = self.incoming()?;
        incoming.write_all(bytes).map_err(Error::io("write", incoming.path()))?;
        self.keep(incoming, digest)?;
        Ok(stored)
    }

    /// Stores what a reader gives, in constant memory.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn put_reader(&self, mut reader: impl Read) -> Result<Stored, Error> {
        let mut incoming = self.incoming()?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 17];
        let mut size = 0;
        loop {
            let count = reader.read(&mut buffer).map_err(Error::io("read into", incoming.path()))?;
            if count == 0 {
                break;
            }
            let part = &buffer[..count];
            hasher.update(part);
            incoming.write_all(part).map_err(Error::io("write", incoming.path()))?;
            size += count as u64;
        }
        let digest = Digest::from(hasher.finalize());
        if !self.stands(digest) {
            self.keep(incoming, digest)?;
        }
        Ok(Stored { digest, size, files: 1, folder: false })
    }

    /// Starts an upload whose parts are written as they come.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn upload(&self) -> Result<Upload, Error> {
        Ok(Upload { file: self.incoming()?, hasher: blake3::Hasher::new(), size: 0, objects: self.clone() })
    }

    /// Stores a file or a folder with all that it holds. Symbolic links are resolved.
    ///
    /// # Errors
    /// When something in it cannot be read, is neither file nor folder, has a name that is not UTF-8, or
    /// changes while it is read. No object that was there before is touched; of what is to be moved, a part
    /// may be gone from where it lay.
    pub fn put_path(&self, path: &Path, take: Take) -> Result<Stored, Error> {
        walk(path, 0, &|file, metadata| self.put_file(file, metadata, take), &|tree| self.put_tree(tree))
    }

    /// Stores a folder's listing, but nothing that it names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, Error> {
        let mut last = Digest::of(Tree::HEADER);
        for bytes in tree.objects() {
            last = self.put_bytes(&bytes)?.digest;
        }
        Ok(last)
    }

    fn put_file(&self, path: &Path, metadata: &Metadata, take: Take) -> Result<Stored, Error> {
        let movable = take == Take::Move && metadata.permissions().mode() & 0o111 == 0;
        if let Some(moved) = if movable { self.moved(path)? } else { None } {
            // Nobody knows its name any more, so that it is read once; who has it open may still write to it.
            let stamp = || moved.as_file().metadata().map(|metadata| Stamp::of(&metadata));
            let before = stamp().map_err(Error::io("read", path))?;
            let (digest, size) = read_through(moved.as_file(), before.size, path)?;
            if stamp().map_err(Error::io("read", path))? != before {
                return Err(Error::Changed { path: path.to_owned() });
            }
            if !self.is_sound(digest, size) {
                self.keep(moved, digest)?;
            }
            return Ok(Stored { digest, size, files: 1, folder: false });
        }
        let stored = Stored { digest: hash_file(path)?, size: metadata.len(), files: 1, folder: false };
        if self.is_sound(stored.digest, stored.size) {
            return Ok(stored);
        }
        let copied = self.copied(path)?;
        if read_through(copied.as_file(), stored.size, path)?.0 != stored.digest {
            return Err(Error::Changed { path: path.to_owned() });
        }
        self.keep(copied, stored.digest)?;
        Ok(stored)
    }

    /// A file, moved to where nothing has its name yet; nothing where it lies on another disk.
    fn moved(&self, path: &Path) -> Result<Option<NamedTempFile>, Error> {
        let fresh = self.incoming.name()?;
        if fs::rename(path, &fresh).is_err() {
            return Ok(None);
        }
        let place = TempPath::try_from_path(&fresh).map_err(Error::io("write", &fresh))?;
        Ok(Some(NamedTempFile::from_parts(open(&place)?, place)))
    }

    fn copied(&self, path: &Path) -> Result<NamedTempFile, Error> {
        let place = self.incoming()?.into_temp_path();
        remove(&place)?;
        if !self.share(path, &place) {
            fs::copy(path, &place).map_err(Error::io("copy", path))?;
        }
        Ok(NamedTempFile::from_parts(open(&place)?, place))
    }

    /// Gives a file another name's blocks, where the file system can. Whether it has.
    fn share(&self, from: &Path, to: &Path) -> bool {
        if self.unshared.load(Ordering::Relaxed) {
            return false;
        }
        match reflink_copy::reflink(from, to) {
            Ok(()) => true,
            Err(error) => {
                let never = matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY));
                // What lies elsewhere says nothing of here.
                if never && from.starts_with(&**self.root) {
                    self.unshared.store(true, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// The digest that a file or folder would have, without storing it.
    ///
    /// # Errors
    /// As [`Objects::put_path`].
    pub fn digest_path(path: &Path) -> Result<Stored, Error> {
        let hash = |file: &Path, metadata: &Metadata| {
            Ok(Stored { digest: hash_file(file)?, size: metadata.len(), files: 1, folder: false })
        };
        walk(path, 0, &hash, &|tree| Ok(tree.digest()))
    }

    /// The listing of a folder.
    ///
    /// # Errors
    /// When it is not in the store or is no folder.
    pub fn tree(&self, digest: Digest) -> Result<Tree, Error> {
        let broken = |source| Error::NotAFolder { digest, source };
        match Listing::decode(&self.read(digest)?).map_err(broken)? {
            Listing::Whole(tree) => Ok(tree),
            Listing::Parts(parts) => {
                let read = |part: &Part| Tree::decode(&self.read(part.digest)?).map_err(broken);
                Tree::join(parts.iter().map(read).collect::<Result<_, _>>()?).map_err(broken)
            }
        }
    }

    /// What a folder's own object names, each with whether it is a listing: its entries, or of a large
    /// folder its parts, each of which is a listing with entries of its own.
    ///
    /// # Errors
    /// When it is not in the store or is no folder.
    pub fn named(&self, digest: Digest) -> Result<Vec<(Digest, bool)>, Error> {
        let broken = |source| Error::NotAFolder { digest, source };
        Ok(match Listing::decode(&self.read(digest)?).map_err(broken)? {
            Listing::Parts(parts) => parts.iter().map(|part| (part.digest, true)).collect(),
            Listing::Whole(tree) => {
                tree.entries().iter().map(|entry| (entry.digest, entry.mode == Mode::Folder)).collect()
            }
        })
    }

    /// All bytes of a file's object, verified.
    ///
    /// # Errors
    /// When it is not in the store, cannot be read, or is corrupt.
    pub fn read(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let path = self.require(digest)?;
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let found = Digest::of(&bytes);
        if found == digest { Ok(bytes) } else { Err(Error::Corrupt { digest, found }) }
    }

    /// Puts an object into the work tree, in place of whatever lies there: by reflink, else by hard link
    /// (write-protected; not as root, who could write through it), else as a copy.
    ///
    /// # Errors
    /// When the object is not in the store or is damaged, or the place cannot be written.
    pub fn check_out(&self, digest: Digest, mode: Mode, place: &Path) -> Result<Linked, Error> {
        if let Some(parent) = place.parent().filter(|parent| !parent.is_dir()) {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        if mode != Mode::Folder {
            return self.check_out_file(digest, mode, place);
        }
        let tree = self.tree(digest)?;
        let fresh = half::sibling(place);
        remove(&fresh)?;
        fs::create_dir_all(&fresh).map_err(Error::io("make", &fresh))?;
        let mut linked = Linked::Reflink;
        for entry in tree.entries() {
            let inner = fresh.join(&entry.name);
            linked = self.check_out(entry.digest, entry.mode, &inner)?;
        }
        remove(place)?;
        fs::rename(&fresh, place).map_err(Error::io("make", place))?;
        Ok(linked)
    }

    fn check_out_file(&self, digest: Digest, mode: Mode, place: &Path) -> Result<Linked, Error> {
        let object = self.require(digest)?;
        let fresh = half::sibling(place);
        remove(&fresh)?;
        let linked = match self.put_beside(digest, mode, &object, &fresh) {
            Ok(linked) => linked,
            Err(error) => {
                // What went wrong is worth more than that something is left.
                let _ = remove(&fresh);
                return Err(error);
            }
        };
        if place.is_dir() {
            remove(place)?;
        }
        fs::rename(&fresh, place).map_err(Error::io("make", place))?;
        Ok(linked)
    }

    fn put_beside(&self, digest: Digest, mode: Mode, object: &Path, fresh: &Path) -> Result<Linked, Error> {
        let bits = if mode == Mode::Executable { 0o755 } else { 0o644 };
        if self.share(object, fresh) {
            self.assure(digest, object)?;
            fs::set_permissions(fresh, fs::Permissions::from_mode(bits))
                .map_err(Error::io("write", fresh))?;
            return Ok(Linked::Reflink);
        }
        if mode == Mode::File && !is_root() {
            self.assure(digest, object)?;
            let linked = self.keeping_note(digest, &open(object)?, || fs::hard_link(object, fresh));
            if linked.is_ok() {
                return Ok(Linked::HardLink);
            }
        }
        self.copy_sound(digest, object, fresh, bits)?;
        Ok(Linked::Copy)
    }

    /// Puts a file of a listing into the work tree, as [`Objects::check_out`].
    ///
    /// # Errors
    /// When the object is not in the store or is damaged, or the place is a folder or cannot be written.
    pub fn check_out_entry(&self, file: &FileEntry, place: &Path) -> Result<Linked, Error> {
        if place.is_dir() {
            return Err(Error::Special { path: place.to_owned() });
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        let mode = if file.executable { Mode::Executable } else { Mode::File };
        self.check_out_file(file.digest, mode, place)
    }

    /// How a file would be put into a work tree on this file system: tried out beside the objects.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn probe_links(&self) -> Result<Linked, Error> {
        let stored = self.put_bytes(b"rondo")?;
        let folder = self.scratch()?;
        self.check_out_file(stored.digest, Mode::File, &folder.path().join("probe"))
    }

    /// Makes an object readable under a name, for a step that only reads it: a symbolic link to it, or of
    /// a folder a folder of such links.
    ///
    /// # Errors
    /// When the object is not in the store or is damaged, or the place cannot be written.
    pub fn expose(&self, digest: Digest, folder: bool, place: &Path) -> Result<(), Error> {
        remove(place)?;
        if !folder {
            let object = self.sound(digest)?;
            return std::os::unix::fs::symlink(&object, place).map_err(Error::io("make", place));
        }
        fs::create_dir_all(place).map_err(Error::io("make", place))?;
        for entry in self.tree(digest)?.entries() {
            self.expose(entry.digest, entry.mode == Mode::Folder, &place.join(&entry.name))?;
        }
        Ok(())
    }

    /// A new file for what is on its way to its name.
    pub(crate) fn incoming(&self) -> Result<NamedTempFile, Error> {
        self.incoming.file()
    }

    /// An empty folder for it.
    pub(crate) fn scratch(&self) -> Result<TempDir, Error> {
        let incoming = self.incoming.path()?;
        tempfile::tempdir_in(incoming).map_err(Error::io("write in", incoming))
    }

    fn keep(&self, incoming: NamedTempFile, digest: Digest) -> Result<(), Error> {
        let place = self.place(digest);
        let folder = place.parent().unwrap_or(&self.root).to_owned();
        let (file, path) = incoming.into_parts();
        let mode = file.metadata().map_err(Error::io("read", &path))?.permissions().mode();
        let protected = fs::Permissions::from_mode(mode & READ_ONLY);
        file.set_permissions(protected).map_err(Error::io("protect", &path))?;
        file.sync_all().map_err(Error::io("sync", &path))?;
        let mut made = false;
        let named = match path.persist(&place) {
            Err(missed) if missed.error.kind() == io::ErrorKind::NotFound => {
                made = true;
                make_folder(&folder)?;
                missed.path.persist(&place)
            }
            named => named,
        };
        named.map_err(|error| Error::io("write", &place)(error.error))?;
        self.clear(digest);
        self.note(digest);
        sync_folder(&folder)?;
        if made { sync_folder(&self.root) } else { Ok(()) }
    }
}

/// An object that is being written.
pub struct Upload {
    file: NamedTempFile,
    hasher: blake3::Hasher,
    size: u64,
    objects: Objects,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::io("write", self.file.path()))
    }

    /// What the bytes so far are.
    pub fn digest(&self) -> Digest {
        Digest::from(self.hasher.finalize())
    }

    /// Gives the object its name; only now it exists.
    ///
    /// # Errors
    /// When it cannot be synced or named.
    pub fn finish(self) -> Result<Stored, Error> {
        let digest = self.digest();
        if !self.objects.stands(digest) {
            self.objects.keep(self.file, digest)?;
        }
        Ok(Stored { digest, size: self.size, files: 1, folder: false })
    }
}

/// Opens the file of an object to read it.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(Error::io("open", path))
}

/// Goes through a file or folder: `file` says what a file is, `listing` what a folder's listing is.
fn walk(
    path: &Path,
    depth: usize,
    file: &dyn Fn(&Path, &Metadata) -> Result<Stored, Error>,
    listing: &dyn Fn(&Tree) -> Result<Digest, Error>,
) -> Result<Stored, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_file() {
        return file(path, &metadata);
    }
    if !metadata.is_dir() || depth > MAX_DEPTH {
        return Err(Error::Special { path: path.to_owned() });
    }
    let mut entries = Vec::new();
    let mut files = 0;
    for name in names(path)? {
        let inner = path.join(&name);
        let stored = walk(&inner, depth + 1, file, listing)?;
        files += stored.files;
        let mode = if stored.folder { Mode::Folder } else { file_mode(&inner) };
        entries.push(Entry { mode, size: stored.size, digest: stored.digest, name });
    }
    let tree = Tree::new(entries).map_err(|source| Error::Tree { path: path.to_owned(), source })?;
    Ok(Stored { digest: listing(&tree)?, size: tree.size(), files, folder: true })
}

fn hash_file(path: &Path) -> Result<Digest, Error> {
    let file = open(path)?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    Ok(read_through(&file, length, path)?.0)
}

/// The digest of what an open file holds, and how much that is: about as much as `length`.
fn read_through(file: &File, length: u64, path: &Path) -> Result<(Digest, u64), Error> {
    if length <= WHOLE {
        // Most are far shorter than the buffer that a hasher reads by, which has to be cleared first. Nobody
        // has to ask the system once more how long they are.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        file.take(u64::MAX).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        return Ok((Digest::of(&bytes), bytes.len() as u64));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(Error::io("read", path))?;
    Ok((hasher.finalize().into(), hasher.count()))
}

/// Gives a file exactly these permissions, whatever the process makes files with.
fn give_bits(target: &File, bits: u32) -> io::Result<()> {
    if target.metadata()?.permissions().mode() & 0o7777 == bits {
        return Ok(());
    }
    target.set_permissions(fs::Permissions::from_mode(bits))
}

fn file_mode(path: &Path) -> Mode {
    // A file that is gone was moved into the store, and executable ones are never moved.
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o100 != 0 => Mode::Executable,
        Ok(_) | Err(_) => Mode::File,
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().into_string().map_err(|_| Error::Special { path: entry.path() })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(Error::io("remove", path))
}

pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", folder))
}

fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests;
