//! A store: one folder with objects and metadata.

use std::path::{Path, PathBuf};

use crate::{Error, Meta, Objects, Parts};

/// An open store. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    root: PathBuf,
    objects: Objects,
    parts: Parts,
    meta: Meta,
}

impl Store {
    /// Opens the store in a folder (`.rondo` of a project, or a server's data folder), making what is
    /// missing.
    ///
    /// # Errors
    /// When the folder cannot be read or what is missing not be made, its database is lost, or a newer version
    /// of Rondo wrote it.
    pub async fn open(root: &Path) -> Result<Self, Error> {
        make_private(root).map_err(Error::io("make", root))?;
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        let database = root.join("metadata.db");
        let may_be_lost = root.join("objects").is_dir() && is_empty(&database);
        let objects = Objects::open(&root.join("objects"))?;
        // Another process that makes the store at this moment has stored nothing yet.
        if may_be_lost && objects.any()? && is_empty(&database) {
            let reason = "it is missing or empty, and the store has objects".to_owned();
            return Err(Error::CorruptDatabase { path: database, reason });
        }
        let parts = Parts::new(&root.join("uploads"));
        parts.sweep();
        let meta = Meta::open(&root).await?;
        Ok(Self { root, objects, parts, meta })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The objects.
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The uploads in parts.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The metadata.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Waits for what is being written and closes the database.
    pub async fn close(&self) {
        self.meta.close().await;
    }
}

/// Whether there is no such file, or nothing in it.
fn is_empty(file: &Path) -> bool {
    std::fs::metadata(file)
        .map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |at| at.len() == 0)
}

/// Makes a store's folder, unless it is there, for its owner alone: it holds what users may not see of each
/// other, and the hashes of their passwords.
fn make_private(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    if let Some(above) = root.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && root.is_dir() => Ok(()),
        made => made,
    }
}
