//! What is done with artifacts: listed, read, put and taken away, wherever they lie.

use std::collections::BTreeMap;
use std::fs::File;

use rondo_core::Digest;
use rondo_core::run::RunRow;
use rondo_store::Files;
use rondo_store::files::{Facts, FileUpload};
use rondo_store::meta::artifacts::Artifact;
use rondo_store::objects::Upload;

use super::{Place, SHARED, Tree, run_root};
use crate::{Error, Tracking};

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path from the owner's root.
    pub path: String,
    /// Bytes; nothing for a folder.
    pub size: Option<u64>,
}

/// A file that can be read.
#[derive(Debug)]
pub struct Held {
    /// Open at its beginning.
    pub file: File,
    /// Bytes.
    pub size: u64,
    /// What tells one content from another: a digest, or size and time where no digest is known.
    pub tag: String,
    /// When it was last changed, in milliseconds since the epoch.
    pub modified: i64,
}

/// A file that is being received.
pub struct Receiving(Into);

enum Into {
    Object(Upload),
    File(FileUpload),
}

/// A file that was received and is on the disk, and is not among the artifacts yet.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// What its bytes are.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was changed, of a plain file.
    modified: Option<i64>,
}

impl Receiving {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.0 {
            Into::Object(upload) => Ok(upload.write(bytes)?),
            Into::File(upload) => Ok(upload.write(bytes)?),
        }
    }

    /// What the bytes so far are.
    pub fn digest(&self) -> Digest {
        match &self.0 {
            Into::Object(upload) => upload.digest(),
            Into::File(upload) => upload.digest(),
        }
    }

    /// Syncs it to the disk.
    ///
    /// # Errors
    /// When that fails.
    pub fn finish(self) -> Result<Received, Error> {
        match self.0 {
            Into::Object(upload) => {
                let stored = upload.finish()?;
                Ok(Received { digest: stored.digest, size: stored.size, modified: None })
            }
            Into::File(upload) => {
                let (digest, Facts { size, modified }) = upload.finish()?;
                Ok(Received { digest, size, modified: Some(modified) })
            }
        }
    }
}

impl Tracking {
    /// Where a run's artifacts are, as clients see it.
    ///
    /// # Errors
    /// When its experiment cannot be read.
    pub async fn run_root(&self, row: &RunRow) -> Result<String, Error> {
        let location = self.experiment(&row.experiment.to_string()).await?.artifact_location;
        Ok(run_root(&location, row.id))
    }

    /// A place among a run's artifacts.
    ///
    /// # Errors
    /// When the path leaves their root, or that is none of the server's roots.
    pub async fn place_of_run(&self, row: &RunRow, path: &str) -> Result<Place, Error> {
        self.roots().owned(&row.id.hex(), &self.run_root(row).await?, &super::clean(path)?)
    }

    /// Whether an owner exists and is not deleted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn owns_artifacts(&self, owner: &str) -> Result<bool, Error> {
        if owner == SHARED {
            return Ok(true);
        }
        if owner.starts_with("m-") {
            return Ok(self.meta().logged_model(owner).await?.is_some_and(|model| !model.deleted));
        }
        if owner.starts_with("tr-") {
            return Ok(self.meta().trace(owner).await?.is_some());
        }
        if super::is_version(owner) {
            return Ok(self.meta().model_of_files(owner).await?.is_some());
        }
        match owner.parse() {
            Ok(id) => Ok(self.meta().run(id).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// The files and folders directly below a path. Nothing below a file or where there is nothing.
    ///
    /// # Errors
    /// When the folder or the database cannot be read, or the artifacts are another server's.
    pub async fn list_artifacts(&self, place: &Place) -> Result<Vec<Listed>, Error> {
        let names = match place.tree {
            Tree::Elsewhere => return Err(Error::Elsewhere { path: place.full.clone() }),
            Tree::Folder => self.names(place).await?,
            Tree::Proxy => {
                let rows = self.meta().artifacts_below(&place.owner, &place.path).await?;
                let mut names = below(&rows, &place.path, self.roots().destination().is_some());
                names.extend(self.names(place).await?);
                names
            }
        };
        let path = |name: String| super::join(&place.path, &name);
        Ok(names.into_iter().map(|(name, size)| Listed { path: path(name), size }).collect())
    }

    /// The names in the folder that a place is in.
    async fn names(&self, place: &Place) -> Result<BTreeMap<String, Option<u64>>, Error> {
        let Some(files) = self.files(place)?.cloned() else { return Ok(BTreeMap::new()) };
        let full = place.full.clone();
        let names = blocking(move || files.list(&full)).await?.into_iter();
        // What is in the folder of a run or a model is found by asking for the run or model.
        Ok(names.filter(|(name, _)| place.owner != SHARED || !super::is_owner(name)).collect())
    }

    /// The plain files that a place is in, where it is in any. What all share is no way into what a run or
    /// a model owns.
    fn files(&self, place: &Place) -> Result<Option<&Files>, Error> {
        let files = match place.tree {
            Tree::Proxy => self.roots().destination(),
            Tree::Folder => self.roots().folder(),
            Tree::Elsewhere => None,
        };
        if files.is_some() && place.owner == SHARED && place.full.split('/').any(super::is_owner) {
            return Err(Error::NobodysPath { path: place.full.clone() });
        }
        Ok(files)
    }

    /// A file among the artifacts, open to be read.
    ///
    /// # Errors
    /// When there is none, or it is another server's.
    pub async fn artifact(&self, place: &Place) -> Result<Held, Error> {
        let missing = || Error::ArtifactNotFound { path: place.path.clone() };
        if place.tree == Tree::Elsewhere {
            return Err(Error::Elsewhere { path: place.full.clone() });
        }
        let row = match place.tree {
            Tree::Proxy => self.meta().artifact(&place.owner, &place.path).await?,
            Tree::Folder | Tree::Elsewhere => None,
        };
        if let Some(files) = self.files(place)?.cloned() {
            let full = place.full.clone();
            if let Some((file, facts)) = blocking(move || files.read(&full)).await? {
                let known = row.filter(|row| row.modified == Some(facts.modified) && row.size == facts.size);
                let tag = known
                    .map_or_else(|| format!("{:x}-{:x}", facts.modified, facts.size), |row| row.digest.hex());
                return Ok(Held { file, size: facts.size, tag, modified: facts.modified / 1_000_000 });
            }
        }
        let row = row.filter(|row| row.modified.is_none()).ok_or_else(missing)?;
        let objects = self.objects().clone();
        let file = blocking(move || rondo_store::objects::open(&objects.sound(row.digest)?)).await?;
        Ok(Held { file, size: row.size, tag: row.digest.hex(), modified: row.at.millis() })
    }

    /// Makes ready to receive a file at a place.
    ///
    /// # Errors
    /// When the owner does not exist, the path is its root, or the place is not the server's to write to.
    pub async fn receive_artifact(&self, place: &Place) -> Result<Receiving, Error> {
        if place.tree != Tree::Proxy {
            return Err(Error::Elsewhere { path: place.full.clone() });
        }
        if super::is_version(&place.owner) {
            return Err(Error::Registered { path: place.full.clone() });
        }
        if place.path.is_empty() || !self.owns_artifacts(&place.owner).await? {
            return Err(Error::NobodysPath { path: place.full.clone() });
        }
        let (files, full) = (self.files(place)?.cloned(), place.full.clone());
        let objects = self.objects().clone();
        blocking(move || match files {
            Some(files) => files.upload(&full).map(Into::File),
            None => objects.upload().map(Into::Object),
        })
        .await
        .map(Receiving)
    }

    /// Names a received file as one of the artifacts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_artifact(&self, place: &Place, received: Received) -> Result<(), Error> {
        let Received { digest, size, modified } = received;
        let artifact = Artifact { path: place.path.clone(), digest, size, at: self.now(), modified };
        Ok(self.meta().record_artifact(&place.owner, artifact).await?)
    }

    /// Writes a small file of a run's in the operator's folder, for those who reach it through this server
    /// alone. What is written there is the clients' as all of that folder is: no row is made of it.
    ///
    /// # Errors
    /// When the place is in no such folder, or cannot be written.
    pub async fn put_in_folder(&self, place: &Place, bytes: Vec<u8>) -> Result<(), Error> {
        let elsewhere = || Error::Elsewhere { path: place.full.clone() };
        if place.tree != Tree::Folder {
            return Err(elsewhere());
        }
        if place.path.is_empty() || !self.owns_artifacts(&place.owner).await? {
            return Err(Error::NobodysPath { path: place.full.clone() });
        }
        let (files, full) = (self.files(place)?.cloned().ok_or_else(elsewhere)?, place.full.clone());
        blocking(move || files.put(&full, &bytes)).await
    }

    /// Takes a file or folder away from the artifacts; how many files there were.
    ///
    /// # Errors
    /// When the place is not the server's to write to, or the database refuses.
    pub async fn delete_artifacts(&self, place: &Place) -> Result<usize, Error> {
        if place.tree != Tree::Proxy {
            return Err(Error::Elsewhere { path: place.full.clone() });
        }
        if super::is_version(&place.owner) {
            return Err(Error::Registered { path: place.full.clone() });
        }
        if place.owner != SHARED {
            let kind = if place.owner.starts_with("m-") { "logged model" } else { "run" };
            self.meta().require_unneeded(kind, &place.owner).await?;
        }
        let mut gone = 0;
        if let Some(files) = self.files(place)?.cloned() {
            let (full, shared) = (place.full.clone(), place.owner == SHARED);
            let owned = move |path: &str| shared && path.split('/').any(super::is_owner);
            let found = blocking(move || files.delete(&full, &owned)).await?;
            gone = found.ok_or_else(|| Error::NobodysPath { path: place.full.clone() })?.len();
        }
        let rows = self.meta().delete_artifacts(&place.owner, &place.path, self.now()).await?;
        Ok(gone.max(rows))
    }
}

/// What the disk has to do, away from the threads that answer.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, rondo_store::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Store(rondo_store::Error::Closed)),
    }
}

/// The names directly in a folder. With a folder of plain files, that says which of those there are.
fn below(artifacts: &[Artifact], folder: &str, plain: bool) -> BTreeMap<String, Option<u64>> {
    let mut names = BTreeMap::new();
    for artifact in artifacts.iter().filter(|artifact| !plain || artifact.modified.is_none()) {
        let rest = match folder {
            "" => artifact.path.as_str(),
            folder => match artifact.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => rest,
                None => continue,
            },
        };
        let (name, size) = match rest.split_once('/') {
            Some((name, _)) => (name, None),
            None => (rest, Some(artifact.size)),
        };
        names.entry(name.to_owned()).or_insert(size);
    }
    names
}

#[cfg(test)]
mod tests;
