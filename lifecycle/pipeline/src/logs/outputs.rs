//! The executed notebook of a step, while it is executed and afterwards.

use std::path::{Path, PathBuf};

use rondo_core::ports::BuiltinCall;
use rondo_core::run::RunRow;
use rondo_store::Store;

use super::files::work_folder;
use crate::Error;

/// The folder of notebooks among the artifacts of a run.
const NOTEBOOKS: &str = "notebook";

/// An executed notebook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its file, which is replaced as a whole while it is executed.
    pub path: PathBuf,
    /// Whether it changes no more.
    pub whole: bool,
}

/// The executed notebook of a run as it is now; nothing where there is none, or none yet.
///
/// # Errors
/// When the store cannot be read, or the notebook is damaged in it.
pub async fn executed(store: &Store, run: &RunRow) -> Result<Option<Executed>, Error> {
    if !run.state.ended() {
        let Some(folder) = work_folder(store, run.id).await? else { return Ok(None) };
        // Isolated code may write there: no link is followed.
        let kind = |path: &Path| std::fs::symlink_metadata(path).ok().map(|metadata| metadata.file_type());
        let is_folder = |path: &Path| kind(path).is_some_and(|kind| kind.is_dir());
        let kept = BuiltinCall::kept_below(&folder.join("scratch"));
        let notebooks = kept.join(NOTEBOOKS);
        if !is_folder(&kept) || !is_folder(&notebooks) {
            return Ok(None);
        }
        let entries = std::fs::read_dir(notebooks).into_iter().flatten().flatten();
        let shown = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let is_file = kind(path).is_some_and(|kind| kind.is_file());
            !name.starts_with('.') && name.ends_with(".ipynb") && is_file
        };
        let path = entries.map(|entry| entry.path()).filter(shown).min();
        return Ok(path.map(|path| Executed { path, whole: false }));
    }
    let artifacts = store.meta().artifacts_below(&run.id.hex(), NOTEBOOKS).await?;
    let notebook = artifacts.into_iter().find(|artifact| artifact.path.ends_with(".ipynb"));
    let Some(digest) = notebook.map(|artifact| artifact.digest) else { return Ok(None) };
    let objects = store.objects().clone();
    match tokio::task::spawn_blocking(move || objects.sound(digest)).await? {
        Ok(path) => Ok(Some(Executed { path, whole: true })),
        Err(rondo_store::Error::ObjectNotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
