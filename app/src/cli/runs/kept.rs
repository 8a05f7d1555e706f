//! What is kept of a run: its artifacts, and the outputs of a step.

use rondo_core::Digest;
use rondo_core::run::RunRow;
use serde::Serialize;

use crate::platform::{Error, Platform};

/// Where something that is kept came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was logged, or kept by a package.
    Artifact,
    /// The step has declared it.
    Output,
}

/// One file, or an output that is a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its path among the artifacts; of an output its name.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Bytes.
    pub size: u64,
    /// The object.
    pub digest: Digest,
    /// Where it came from.
    pub origin: Origin,
    /// Whether its bytes lie as a plain file at the server's artifact destination, and are no object.
    pub plain: bool,
}

/// All that is kept of a run: artifacts by path, then outputs by name.
///
/// # Errors
/// When the database cannot be read.
pub async fn of(platform: &Platform, run: &RunRow) -> Result<Vec<Kept>, Error> {
    let artifacts = platform.store().meta().artifacts(&run.id.hex()).await?;
    let artifacts = artifacts.into_iter().map(|found| Kept {
        path: found.path,
        folder: false,
        size: found.size,
        digest: found.digest,
        origin: Origin::Artifact,
        plain: found.modified.is_some(),
    });
    let outputs = run.detail.outputs.iter().map(|link| Kept {
        path: link.name.clone(),
        folder: link.folder,
        size: link.size,
        digest: link.digest,
        origin: Origin::Output,
        plain: false,
    });
    Ok(artifacts.chain(outputs).collect())
}
