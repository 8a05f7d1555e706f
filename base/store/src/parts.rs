//! Files that come in parts: each part is a file of its own until all are there.
//!
//! An upload is a folder with a plan and the parts that have come, each named by its number and digest, so
//! that a part that is sent again replaces the one before and an upload outlives the process. What is
//! finished leaves a note, so that who did not hear of it may ask again. What nobody has touched for a day
//! is swept. Where the whole file goes in the end is not decided here.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::incoming::{file_in, make_folder, older};
use crate::objects::sync_folder;

/// How long an upload that nobody goes on with is kept.
pub const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The most parts of one upload: what S3 allows.
pub const MOST: u32 = 10_000;

const PLAN: &str = "plan.json";
const DONE: &str = "done";

/// The uploads in parts of a store. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    root: Arc<PathBuf>,
}

/// What an upload in parts will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The path of the file.
    pub path: String,
    /// How many parts it was said to have.
    pub parts: u32,
}

impl Parts {
    /// The uploads in a folder, which is made with the first one.
    pub fn new(root: &Path) -> Self {
        Self { root: Arc::new(root.to_owned()) }
    }

    /// Begins an upload; its id.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin(&self, plan: &Plan) -> Result<String, Error> {
        make_folder(&self.root)?;
        self.sweep();
        let id = rondo_core::RunId::random().hex();
        let folder = self.root.join(&id);
        make_folder(&folder)?;
        let mut file = file_in(&folder)?;
        let text = crate::meta::encode("upload", &id, plan)?;
        file.write_all(text.as_bytes()).map_err(Error::io("write", file.path()))?;
        name(file, &folder.join(PLAN))?;
        sync_folder(&self.root)?;
        Ok(id)
    }

    /// The plan of an upload that is under way or has ended; nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn plan(&self, id: &str) -> Result<Option<Plan>, Error> {
        let Some(folder) = self.folder(id) else { return Ok(None) };
        match fs::read_to_string(folder.join(PLAN)) {
            Ok(text) => crate::meta::decode("upload", id, &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &folder)(error)),
        }
    }

    /// Starts a part whose bytes are written as they come.
    ///
    /// # Errors
    /// When there is no such upload, or it has ended.
    pub fn part(&self, id: &str, number: u32) -> Result<PartUpload, Error> {
        let folder = self.open(id)?;
        Ok(PartUpload { file: file_in(&folder)?, hasher: blake3::Hasher::new(), folder, number })
    }

    /// Reads parts one after the other in constant memory, and leaves the note that the upload has ended.
    /// The reader's own work and this end together: whoever asks twice at once is answered one by one.
    ///
    /// # Errors
    /// When there is no such upload, a part is not there, or what the sink gives.
    pub fn end<T, E: From<Error>>(
        &self,
        id: &str,
        parts: &[(u32, Digest)],
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let folder = self.folder(id).ok_or_else(|| missing(id))?;
        let lock = File::open(&folder).map_err(|_| missing(id))?;
        lock.lock().map_err(Error::io("lock", &folder))?;
        // Given up while this one waited.
        if !folder.join(PLAN).exists() {
            return Err(missing(id).into());
        }
        if folder.join(DONE).exists() {
            return Ok(None);
        }
        let mut files = Vec::with_capacity(parts.len());
        for (number, digest) in parts {
            let path = folder.join(part_name(*number, *digest));
            if !path.is_file() {
                return Err(Error::PartNotFound { upload: id.to_owned(), number: *number }.into());
            }
            files.push(path);
        }
        let whole = read(&mut Chain { files: files.into_iter(), open: None })?;
        File::create(folder.join(DONE)).map_err(Error::io("write", &folder))?;
        sync_folder(&folder)?;
        for path in parts_in(&folder, None) {
            // What stays goes with the folder.
            let _ = fs::remove_file(path);
        }
        Ok(Some(whole))
    }

    /// Gives an upload up with all its parts; whether there was one. What has ended has ended.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn abort(&self, id: &str) -> Result<bool, Error> {
        let Some(folder) = self.folder(id).filter(|folder| folder.is_dir()) else { return Ok(false) };
        let lock = File::open(&folder).map_err(Error::io("open", &folder))?;
        lock.lock().map_err(Error::io("lock", &folder))?;
        if !folder.join(DONE).exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        Ok(true)
    }

    /// Takes away what nobody has touched for a day.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.as_path()) else { return };
        for entry in entries.flatten() {
            let folder = entry.path();
            let all_old = |folder: &Path| {
                let inner = fs::read_dir(folder).into_iter().flatten().flatten();
                inner.filter_map(|inner| inner.metadata().ok()).all(|metadata| older(&metadata, PATIENCE))
            };
            let old = entry.metadata().is_ok_and(|metadata| older(&metadata, PATIENCE));
            // What is being put together at this moment is locked.
            if old && all_old(&folder) && File::open(&folder).is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }

    /// The folder of an upload that is under way.
    fn open(&self, id: &str) -> Result<PathBuf, Error> {
        let folder = self.folder(id).filter(|folder| folder.join(PLAN).is_file());
        folder.filter(|folder| !folder.join(DONE).exists()).ok_or_else(|| missing(id))
    }

    /// The folder that an id would have; nothing for what is no id.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        id.parse::<rondo_core::RunId>().ok().map(|id| self.root.join(id.hex()))
    }
}

/// A part that is being written.
pub struct PartUpload {
    file: tempfile::NamedTempFile,
    hasher: blake3::Hasher,
    folder: PathBuf,
    number: u32,
}

impl PartUpload {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(Error::io("write", self.file.path()))
    }

    /// What the bytes so far are.
    pub fn digest(&self) -> Digest {
        Digest::from(self.hasher.finalize())
    }

    /// Keeps the part in place of an earlier one of its number; its digest.
    ///
    /// # Errors
    /// When it cannot be synced or named.
    pub fn finish(self) -> Result<Digest, Error> {
        let digest = self.digest();
        let place = self.folder.join(part_name(self.number, digest));
        name(self.file, &place)?;
        for other in parts_in(&self.folder, Some(self.number)).into_iter().filter(|other| *other != place) {
            // Superseded: nobody has been told of it since.
            let _ = fs::remove_file(other);
        }
        Ok(digest)
    }
}

/// Files, one after the other.
struct Chain {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<File>,
}

impl Read for Chain {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if let Some(file) = &mut self.open {
                let count = file.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
            }
            match self.files.next() {
                Some(next) => self.open = Some(File::open(next)?),
                None => return Ok(0),
            }
        }
    }
}

fn part_name(number: u32, digest: Digest) -> String {
    format!("{number:05}.{digest}")
}

/// The parts in an upload's folder, all or of one number.
fn parts_in(folder: &Path, number: Option<u32>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_part = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = name.split_once('.').and_then(|(of, _)| of.parse::<u32>().ok());
        of.is_some_and(|of| number.is_none_or(|number| number == of))
    };
    entries.map(|entry| entry.path()).filter(is_part).collect()
}

/// Syncs a file and gives it its name.
fn name(file: tempfile::NamedTempFile, place: &Path) -> Result<(), Error> {
    file.as_file().sync_all().map_err(Error::io("sync", file.path()))?;
    file.persist(place).map_err(|error| Error::io("write", place)(error.error))?;
    place.parent().map_or(Ok(()), sync_folder)
}

fn missing(id: &str) -> Error {
    Error::UploadNotFound { upload: id.chars().take(64).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (tempfile::TempDir, Parts) {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::new(&folder.path().join("uploads"));
        (folder, parts)
    }

    fn put(parts: &Parts, id: &str, number: u32, bytes: &[u8]) -> Digest {
        let mut part = parts.part(id, number).unwrap();
        part.write(bytes).unwrap();
        part.finish().unwrap()
    }

    fn text(read: &mut dyn Read) -> Result<String, Error> {
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn parts_come_in_any_order_again_and_after_a_restart() {
        let (folder, parts) = parts();
        let plan = Plan { path: "0/x".into(), parts: 3 };
        let id = parts.begin(&plan).unwrap();
        let third = put(&parts, &id, 3, b"!");
        let old = put(&parts, &id, 1, b"hullo ");
        let first = put(&parts, &id, 1, b"hello ");
        let parts = Parts::new(&folder.path().join("uploads"));
        let second = put(&parts, &id, 2, b"world");
        assert_eq!(parts.plan(&id).unwrap(), Some(plan));
        let stale = parts.end(&id, &[(1, old), (2, second)], text);
        assert!(matches!(stale, Err(Error::PartNotFound { number: 1, .. })));
        let all = [(1, first), (2, second), (3, third)];
        assert_eq!(parts.end(&id, &all, text).unwrap().unwrap(), "hello world!");
        assert_eq!(parts.end(&id, &all, text).unwrap(), None, "who asks again is told that it has ended");
        assert!(parts.part(&id, 1).is_err());
        assert!(parts.abort(&id).unwrap());
    }

    #[test]
    fn what_is_given_up_or_refused_is_gone_or_stays() {
        let (_folder, parts) = parts();
        let id = parts.begin(&Plan { path: "0/x".into(), parts: 1 }).unwrap();
        let part = put(&parts, &id, 1, b"x");
        let failed: Result<Option<()>, Error> = parts.end(&id, &[(1, part)], |_| Err(Error::Closed));
        assert!(failed.is_err());
        assert_eq!(
            parts.end(&id, &[(1, part)], text).unwrap().unwrap(),
            "x",
            "a failed end can be tried again"
        );
        let id = parts.begin(&Plan { path: "0/y".into(), parts: 1 }).unwrap();
        assert!(parts.abort(&id).unwrap());
        assert!(!parts.abort(&id).unwrap());
        for id in ["", "..", "../x", "a/b", &id] {
            assert!(matches!(parts.part(id, 1), Err(Error::UploadNotFound { .. })), "{id}");
            assert_eq!(parts.plan(id).unwrap(), None);
        }
    }

    #[test]
    fn what_nobody_goes_on_with_is_swept() {
        let (_folder, parts) = parts();
        let age = |folder: &Path| {
            let long_ago = std::time::SystemTime::now() - PATIENCE - Duration::from_secs(60);
            File::open(folder).unwrap().set_modified(long_ago).unwrap();
        };
        let plan = Plan { path: "0/x".into(), parts: 2 };
        let (old, fed) = (parts.begin(&plan).unwrap(), parts.begin(&plan).unwrap());
        for id in [&old, &fed] {
            age(&parts.root.join(id).join(PLAN));
        }
        put(&parts, &fed, 1, b"x");
        for id in [&old, &fed] {
            age(&parts.root.join(id));
        }
        parts.sweep();
        assert_eq!(parts.plan(&old).unwrap(), None);
        assert!(parts.plan(&fed).unwrap().is_some());
    }
}
