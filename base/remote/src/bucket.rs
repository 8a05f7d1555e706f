//! A bucket as others fill it: objects below a prefix, listed and read as they are.
//!
//! This is no remote: nothing in it is in a form of ours. What is written to it is one object that somebody asked
//! for by its name.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};

use crate::Error;
use crate::place::{connect, plain};

/// A place in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    address: Arc<str>,
    store: Arc<dyn ObjectStore>,
    path: Path,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name below the place; of the place itself its last part.
    pub name: String,
    /// Its key in the bucket.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The store's name for this state of it; where it has none, its size and when it was changed.
    pub state: String,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("address", &plain(&self.address)).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The place of a URL (`s3://bucket/prefix`), with settings by name as for remotes. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Address`] where it is none.
    pub fn open(address: &str, options: &[(String, String)]) -> Result<Self, Error> {
        let why = || Error::Address { address: plain(address), why: "it is no bucket".to_owned() };
        let (store, path) = connect(address, options)?.ok_or_else(why)?;
        Ok(Self { address: address.into(), store: Arc::from(store), path })
    }

    /// The object at the place, where there is one.
    ///
    /// # Errors
    /// When the store refuses or cannot be reached.
    pub async fn object(&self) -> Result<Option<Found>, Error> {
        if self.path.as_ref().is_empty() {
            return Ok(None);
        }
        match self.store.head(&self.path).await {
            Ok(meta) => {
                let name = self.path.filename().unwrap_or("file").to_owned();
                Ok(Some(found(&meta, name)))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at it", error)),
        }
    }

    /// All objects below the place, by name. Markers of folders (empty, ending in `/`) are none.
    ///
    /// # Errors
    /// When the store refuses or cannot be reached.
    pub async fn list(&self) -> Result<Vec<Found>, Error> {
        let prefix = (!self.path.as_ref().is_empty()).then_some(&self.path);
        let metas: Vec<ObjectMeta> =
            self.store.list(prefix).try_collect().await.map_err(|error| self.failed("list it", error))?;
        let lead = if self.path.as_ref().is_empty() { String::new() } else { format!("{}/", self.path) };
        let mut all: Vec<Found> = metas
            .iter()
            .filter_map(|meta| {
                let name = meta.location.as_ref().strip_prefix(&lead)?.to_owned();
                (!name.is_empty()).then(|| found(meta, name))
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Reads an object from some byte on, in the state in which it was found, piece by piece.
    ///
    /// # Errors
    /// When it is gone or has changed, the store refuses, or `take` does.
    pub async fn read(
        &self,
        object: &Found,
        from: u64,
        mut take: impl FnMut(Bytes) -> std::io::Result<()> + Send,
    ) -> Result<(), Error> {
        if from >= object.size {
            return Ok(());
        }
        let etag = (!object.state.contains(' ')).then(|| object.state.clone());
        let range = Some((from..object.size).into());
        let options = GetOptions { if_match: etag, range, ..GetOptions::default() };
        let action = || format!("read `{}`", object.name);
        // The key as the listing gave it: taken for a name it would be encoded a second time.
        let key = Path::parse(&object.key).map_err(|error| self.failed(&action(), error.into()))?;
        let answer = self.store.get_opts(&key, options).await;
        let mut stream = answer.map_err(|error| self.failed(&action(), error))?.into_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.failed(&action(), error))?;
            let written = take(piece);
            written.map_err(Error::io("write", std::path::Path::new(&object.name)))?;
        }
        Ok(())
    }

    /// Puts an object at the place, whole, over what is there.
    ///
    /// # Errors
    /// When the store refuses or cannot be reached.
    pub async fn put(&self, bytes: Bytes) -> Result<(), Error> {
        let put = self.store.put(&self.path, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|error| self.failed("write it", error))
    }

    fn failed(&self, action: &str, source: object_store::Error) -> Error {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        let denied = matches!(source, PermissionDenied { .. } | Unauthenticated { .. });
        let (remote, action, source) = (plain(&self.address), action.to_owned(), Box::new(source));
        if denied {
            Error::Denied { remote, action, source }
        } else {
            Error::Unavailable { remote, action, source }
        }
    }
}

fn found(meta: &ObjectMeta, name: String) -> Found {
    let state = meta.e_tag.clone().filter(|tag| !tag.contains(' '));
    let state = state.unwrap_or_else(|| format!("{} {}", meta.size, meta.last_modified.timestamp_micros()));
    Found { name, key: meta.location.to_string(), size: meta.size, state }
}
