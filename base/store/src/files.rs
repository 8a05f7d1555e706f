//! A folder of plain files that paths of clients lead into and never out of.
//!
//! Each path is resolved below the open folder by the operating system itself (`openat2`, or step by step
//! where there is none): `..`, absolute paths and symbolic links that lead out are refused, also when they
//! are swapped in at the last moment. A file is written beside the others and gets its name when it is
//! whole and synced. This is for artifacts that other programs should find as files; what Rondo keeps for
//! itself are [objects](crate::objects).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions};
use rondo_core::Digest;

use crate::Error;
use crate::incoming::{Incoming, make_folder};

/// The folder in which files are written until they are whole. No path leads into it.
const INCOMING: &str = ".rondo-incoming";

const MAX_DEPTH: usize = 200;

/// A folder of plain files. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    root: Arc<PathBuf>,
    folder: Arc<Dir>,
    incoming: Option<Arc<Incoming>>,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since the epoch.
    pub modified: i64,
}

impl Files {
    /// Opens a folder to read and write in, making it where it is missing.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let mut files = Self::open_to_read(root)?;
        let incoming = files.root.join(INCOMING);
        make_folder(&incoming)?;
        files.incoming = Some(Arc::new(Incoming::open(&incoming)?));
        Ok(files)
    }

    /// Opens a folder to read in, making it where it is missing: others write there.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open_to_read(root: &Path) -> Result<Self, Error> {
        if !root.is_dir() {
            make_folder(root)?;
        }
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        let folder = Dir::open_ambient_dir(&root, ambient_authority()).map_err(Error::io("open", &root))?;
        Ok(Self { root: Arc::new(root), folder: Arc::new(folder), incoming: None })
    }

    /// The folder, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file, open to be read; nothing where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<(File, Facts)>, Error> {
        let Some(inner) = inner(path) else { return Ok(None) };
        // Looked at first: to open a pipe would wait for somebody to write.
        match self.folder.metadata(inner) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Ok(None),
            Err(error) => return self.absent(path, error),
        }
        let file = match self.folder.open(inner) {
            Ok(file) => file.into_std(),
            Err(error) => return self.absent(path, error),
        };
        let found = file.metadata().map_err(self.io("read", path))?;
        Ok(Some((file, Facts { size: found.len(), modified: nanoseconds(found.modified()) })))
    }

    /// The names directly in a folder, in order, each file with its size. Nothing where there is no folder.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn list(&self, path: &str) -> Result<Vec<(String, Option<u64>)>, Error> {
        let Some(inner) = inner(path) else { return Ok(Vec::new()) };
        let entries = match self.folder.read_dir(inner) {
            Ok(entries) => entries,
            Err(error) => return Ok(self.absent(path, error)?.unwrap_or_default()),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(self.io("read", path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if path.is_empty() && name == INCOMING {
                continue;
            }
            // What a link that leads out or nowhere points to is not here.
            let Ok(found) = self.folder.metadata(inner.join(&name)) else { continue };
            if found.is_dir() {
                listed.push((name, None));
            } else if found.is_file() {
                listed.push((name, Some(found.size())));
            }
        }
        listed.sort();
        Ok(listed)
    }

    /// Takes a file, or a folder with all that is in it, away; the paths of the files that went. Nothing
    /// goes, and nothing is the answer, where one of the paths is to be spared.
    ///
    /// # Errors
    /// When something there cannot be removed.
    pub fn delete(&self, path: &str, spared: &dyn Fn(&str) -> bool) -> Result<Option<Vec<String>>, Error> {
        let Some(inner) = inner(path).filter(|_| !path.is_empty()) else { return Ok(Some(Vec::new())) };
        let found = match self.folder.symlink_metadata(inner) {
            Ok(found) => found,
            Err(error) => return Ok(Some(self.absent(path, error)?.unwrap_or_default())),
        };
        let mut gone = Vec::new();
        if found.is_dir() {
            self.files_below(path, 0, &mut gone)?;
        } else {
            gone.push(path.to_owned());
        }
        if gone.iter().any(|path| spared(path)) {
            return Ok(None);
        }
        let removed =
            if found.is_dir() { self.folder.remove_dir_all(inner) } else { self.folder.remove_file(inner) };
        removed.map_err(self.io("remove", path))?;
        Ok(Some(gone))
    }

    fn files_below(&self, path: &str, depth: usize, into: &mut Vec<String>) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Special { path: PathBuf::from(path) });
        }
        for (name, size) in self.list(path)? {
            let inner = format!("{path}/{name}");
            match size {
                Some(_) => into.push(inner),
                None => self.files_below(&inner, depth + 1, into)?,
            }
        }
        Ok(())
    }

    /// Starts a file whose bytes are written as they come.
    ///
    /// # Errors
    /// When the path is none that a file can have, or the folder was opened to be read.
    pub fn upload(&self, path: &str) -> Result<FileUpload, Error> {
        let refused = || Error::Special { path: PathBuf::from(path) };
        inner(path).filter(|_| !path.is_empty()).ok_or_else(refused)?;
        let file = self.incoming.as_ref().ok_or_else(refused)?.file()?;
        Ok(FileUpload {
            file,
            hasher: blake3::Hasher::new(),
            size: 0,
            files: self.clone(),
            path: path.to_owned(),
        })
    }

    /// Writes a small file at once, also in a folder that was opened to be read: it waits beside its name
    /// until it is whole and synced.
    ///
    /// # Errors
    /// When the path is none that a file can have, or the file cannot be written.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let refused = || Error::Special { path: PathBuf::from(path) };
        inner(path).filter(|_| !path.is_empty()).ok_or_else(refused)?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.make(folder).map_err(self.misplaced(path))?;
        if parent.symlink_metadata(name).is_ok_and(|found| found.is_dir()) {
            return Err(refused());
        }
        let waiting = format!(".{}.rondo", rondo_core::RunId::random().hex());
        let whole = (|| {
            let mut file = parent.open_with(&waiting, OpenOptions::new().write(true).create_new(true))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            parent.rename(&waiting, &parent, name)?;
            sync(&parent)
        })();
        whole.map_err(|error| {
            // What was begun is of no use; that it cannot be taken away changes nothing.
            let _ = parent.remove_file(&waiting);
            self.misplaced(path)(error)
        })
    }

    /// Gives a whole file its name, in place of what has it.
    fn keep(&self, file: tempfile::NamedTempFile, path: &str) -> Result<Facts, Error> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.make(folder).map_err(self.misplaced(path))?;
        if parent.symlink_metadata(name).is_ok_and(|found| found.is_dir()) {
            return Err(Error::Special { path: PathBuf::from(path) });
        }
        file.as_file().sync_all().map_err(self.io("sync", path))?;
        let facts = file.as_file().metadata().map_err(self.io("read", path))?;
        let from = file.path().strip_prefix(self.root.as_path()).unwrap_or(file.path());
        self.folder.rename(from, &parent, name).map_err(self.misplaced(path))?;
        // It has another name now, which is not this handle's to remove.
        drop(file.into_temp_path().keep());
        sync(&parent).map_err(self.io("sync", path))?;
        Ok(Facts { size: facts.len(), modified: nanoseconds(facts.modified()) })
    }

    /// A folder below the root, made with those above it where it is missing.
    fn make(&self, path: &str) -> io::Result<Dir> {
        let mut at = self.folder.try_clone()?;
        let mut builder = DirBuilder::new();
        builder.mode(0o750);
        let mut so_far = PathBuf::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            so_far.push(part);
            match at.create_dir_with(part, &builder) {
                Ok(()) => sync(&at)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            // From the root again: a link may lead to another place within it.
            at = self.folder.open_dir(&so_far)?;
        }
        Ok(at)
    }

    /// Nothing, where a path leads nowhere or out.
    fn absent<T>(&self, path: &str, error: io::Error) -> Result<Option<T>, Error> {
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidFilename => Ok(None),
            _ if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
            _ => Err(self.io("read", path)(error)),
        }
    }

    /// A path on which a file, a link that leads out or too long a name lies is the caller's fault.
    fn misplaced(&self, path: &str) -> impl FnOnce(io::Error) -> Error {
        let (given, path) = (PathBuf::from(path), self.root.join(path));
        move |source| match source.kind() {
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => Error::Special { path: given },
            // What the sandbox refuses has no number of the system's.
            io::ErrorKind::PermissionDenied if source.raw_os_error().is_none() => {
                Error::Special { path: given }
            }
            _ => Error::Io { action: "write", path, source },
        }
    }

    fn io(&self, action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Error {
        let path = self.root.join(path);
        move |source| Error::Io { action, path, source }
    }
}

/// A plain file that is being written.
pub struct FileUpload {
    file: tempfile::NamedTempFile,
    hasher: blake3::Hasher,
    size: u64,
    files: Files,
    path: String,
}

impl FileUpload {
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

    /// Gives the file its name; only now it is there.
    ///
    /// # Errors
    /// When it cannot be synced or named.
    pub fn finish(self) -> Result<(Digest, Facts), Error> {
        let digest = self.digest();
        Ok((digest, self.files.keep(self.file, &self.path)?))
    }
}

/// A path as the system takes it; nothing for one that could mean something else.
fn inner(path: &str) -> Option<&Path> {
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
    if path.is_empty() {
        return Some(Path::new("."));
    }
    let sound = !path.split('/').any(odd) && path.split('/').next() != Some(INCOMING);
    sound.then(|| Path::new(path))
}

fn nanoseconds(time: io::Result<SystemTime>) -> i64 {
    let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn sync(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}

#[cfg(test)]
mod tests;
