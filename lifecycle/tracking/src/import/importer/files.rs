//! The files of runs and logged models, which become objects.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use futures::stream::{StreamExt, TryStreamExt, iter};
use rondo_core::Timestamp;
use rondo_store::meta::artifacts::Artifact;
use rondo_store::{Objects, foreign};

use super::{Importer, Incoming, State};
use crate::Error;
use crate::import::Kind;
use crate::import::roots::{self, Place};

/// Owners whose files are stored at the same time.
const OWNERS: usize = 4;
/// The tag in which clients before 3.0 list the models of a run.
const MODEL_HISTORY: &str = "mlflow.log-model.history";

/// Files to be stored among an owner's artifacts.
pub(super) struct Files {
    pub(super) owner: String,
    pub(super) folder: PathBuf,
    /// Whether a file of the same size is read all the same.
    pub(super) reread: bool,
}

impl Importer<'_> {
    pub(super) async fn files_of_runs(&mut self, page: &[Incoming]) -> Result<(), Error> {
        let mut files = Vec::new();
        for Incoming { run, id, state, .. } in page {
            let tail = format!("{}/{}/artifacts", run.experiment, run.id);
            let expected = run.tags.iter().any(|(key, _)| key == MODEL_HISTORY);
            match self.options.roots.find(&run.artifact_uri, run.folder.as_deref(), &tail) {
                Place::Folder(folder) => {
                    files.push(Files { owner: id.hex(), folder, reread: *state == State::Behind });
                }
                Place::Missing if !expected => {}
                Place::Missing => {
                    let reason = format!("no files at `{}`, though it logged a model", run.artifact_uri);
                    self.report.skip(Kind::Artifacts, 0, format!("run {id}"), reason);
                }
                Place::Elsewhere(reason) => {
                    self.report.skip(Kind::Artifacts, 0, format!("run {id}"), reason);
                }
            }
        }
        self.store(files).await
    }

    pub(super) fn files_of_model(&mut self, model: &foreign::LoggedModel, state: State) -> Option<Files> {
        let tail = format!("{}/models/{}/artifacts", model.experiment, model.id);
        let reason = match self.options.roots.find(&model.artifact_uri, model.folder.as_deref(), &tail) {
            Place::Folder(folder) => {
                return Some(Files { owner: model.id.clone(), folder, reread: state == State::Behind });
            }
            Place::Missing if model.status == "READY" && !model.deleted => {
                format!("no files at `{}`", model.artifact_uri)
            }
            Place::Missing => return None,
            Place::Elsewhere(reason) => reason,
        };
        self.report.skip(Kind::Artifacts, 0, format!("logged model {}", model.id), reason);
        None
    }

    /// Stores the files of owners as objects.
    pub(super) async fn store(&mut self, files: Vec<Files>) -> Result<(), Error> {
        let (meta, objects) = (self.meta().clone(), self.tracking.objects().clone());
        let (dry, now) = (self.options.dry_run, self.tracking.now());
        let one = |files: Files| {
            let (meta, objects) = (meta.clone(), objects.clone());
            async move {
                let here = meta.artifacts(&files.owner).await?;
                let owner = files.owner.clone();
                let stored = tokio::task::spawn_blocking(move || {
                    store_files(&objects, &files, &here, (!dry).then_some(now))
                });
                let mut stored = stored.await.map_err(|_| rondo_store::Error::Closed)??;
                if !dry && !stored.new.is_empty() {
                    meta.put_artifacts(&owner, std::mem::take(&mut stored.new)).await?;
                }
                Ok::<_, Error>((owner, stored))
            }
        };
        let stored: Vec<_> = iter(files.into_iter().map(one)).buffer_unordered(OWNERS).try_collect().await?;
        for (owner, stored) in stored {
            let count = self.report.of(Kind::Artifacts);
            count.found += stored.found;
            count.imported += stored.imported;
            count.already_there += stored.there;
            for (path, reason) in stored.refused {
                self.report.skip(Kind::Artifacts, 1, format!("{owner}/{path}"), reason);
            }
        }
        Ok(())
    }
}

/// What became of an owner's files.
#[derive(Default)]
struct Stored {
    new: Vec<Artifact>,
    found: u64,
    imported: u64,
    there: u64,
    refused: Vec<(String, String)>,
}

/// Stores what lies in a folder; a file that is here with the same size is left, unless all are to be read.
/// Without a time nothing is stored and all is counted.
fn store_files(
    objects: &Objects,
    files: &Files,
    here: &[Artifact],
    now: Option<Timestamp>,
) -> Result<Stored, Error> {
    let known: HashMap<&str, &Artifact> = here.iter().map(|file| (file.path.as_str(), file)).collect();
    let listing = roots::list(&files.folder);
    let mut stored = Stored {
        found: (listing.files.len() + listing.refused.len()) as u64,
        refused: listing.refused,
        ..Stored::default()
    };
    for (path, place, size) in listing.files {
        let known = known.get(path.as_str());
        if known.is_some_and(|known| known.size == size && !files.reread) {
            stored.there += 1;
            continue;
        }
        let Some(at) = now else {
            stored.imported += 1;
            continue;
        };
        let object = match open(&place) {
            Ok(file) => objects.put_reader(file)?,
            Err(reason) => {
                stored.refused.push((path, reason));
                continue;
            }
        };
        if known.is_some_and(|known| known.digest == object.digest) {
            stored.there += 1;
        } else {
            stored.imported += 1;
            stored.new.push(Artifact { path, digest: object.digest, size: object.size, at, modified: None });
        }
    }
    Ok(stored)
}

fn open(path: &Path) -> Result<std::fs::File, String> {
    std::fs::File::open(path).map_err(|error| error.to_string())
}
