//! A pipeline's version meets MLflow's loaders: the folder that `models:/NAME/VERSION` leads to.
//!
//! Its files are rows like all artifacts, of an owner that nobody else writes to, and are made when the version
//! is registered; of a version that has none yet when its files are asked for. They follow from its record, so
//! that making them twice makes the same.

use rondo_core::{Digest, handoff::ModelVersion};
use rondo_registry::mlmodel::{self, Facts, MODEL_FILE};
use rondo_serving::engine::{self, LoadOptions};
use rondo_store::{Error, Objects, Store};
use rondo_tracking::artifacts::version_root;

/// The version of MLflow's wire that is spoken: what clients take the server for.
pub const MLFLOW: &str = "3.17.2";

/// What is in every folder, and the last file that is put there.
const LAST: &str = "MLmodel";

/// The owner of a version's files.
fn owner(record: Digest) -> String {
    format!("v-{}", mlmodel::uuid(record))
}

/// Where a version's files are, as clients see it; nothing where they are not made yet.
///
/// # Errors
/// When the database cannot be read.
pub async fn known(store: &Store, record: Digest) -> Result<Option<String>, Error> {
    let owner = owner(record);
    let last = store.meta().artifact(&owner, LAST).await?;
    Ok(last.map(|_| version_root(&owner)))
}

/// Makes a version's files where they are not made yet; where they are. Nothing where the model's file is not
/// here, or no engine can say what it is.
///
/// # Errors
/// When the store refuses.
pub async fn make(store: &Store, record: Digest, version: &ModelVersion) -> Result<Option<String>, Error> {
    if let Some(known) = known(store, record).await? {
        return Ok(Some(known));
    }
    let (owner, meta) = (owner(record), store.meta());
    let uri = version_root(&owner);
    let (objects, of, shown) = (store.objects().clone(), version.clone(), uri.clone());
    let stored = tokio::task::spawn_blocking(move || put(&objects, record, &of, &shown));
    let Some(files) = stored.await.map_err(|_| Error::Closed)?? else { return Ok(None) };
    for (path, digest, size) in files {
        meta.put_artifact(&owner, path, digest, size, version.created).await?;
    }
    Ok(Some(uri))
}

/// A file of the folder among the objects: its path, digest and size.
type Stored = (&'static str, Digest, u64);

/// Puts the files among the objects.
fn put(
    objects: &Objects,
    record: Digest,
    version: &ModelVersion,
    uri: &str,
) -> Result<Option<Vec<Stored>>, Error> {
    let Ok(bytes) = objects.read(version.file) else { return Ok(None) };
    let columns = version.signature.inputs.iter().map(|column| column.name.clone()).collect();
    let options = LoadOptions { columns, positive: version.positive.clone(), task: None };
    let Ok(engine) = engine::load(&bytes, &options) else { return Ok(None) };
    let lock = version.lineage.environment.as_ref().and_then(|(_, lock)| objects.read(*lock).ok());
    let lock = lock.and_then(|lock| String::from_utf8(lock).ok()).unwrap_or_default();
    let size = bytes.len() as u64;
    let (classes, positive) = (engine.classes(), engine.positive());
    let facts = Facts { record, uri, size, classes, positive, lock: &lock, mlflow: MLFLOW };
    let mut files = vec![(MODEL_FILE, version.file, size)];
    for (path, text) in mlmodel::texts(version, &facts) {
        let stored = objects.put_bytes(text.as_bytes())?;
        files.push((path, stored.digest, stored.size));
    }
    Ok(Some(files))
}
