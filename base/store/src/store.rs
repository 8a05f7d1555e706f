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
    /// When the folder cannot be written, or a newer version of Rondo wrote it.
    pub async fn open(root: &Path) -> Result<Self, Error> {
        crate::incoming::make_folder(root)?;
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        let objects = Objects::open(&root.join("objects"))?;
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
