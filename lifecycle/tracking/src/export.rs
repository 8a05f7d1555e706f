//! Writing a store out in the form of MLflow's folder of files, which its releases read, serve and migrate.
//!
//! Everything is written into a folder beside the target, which gets its name when all of it is there. Names
//! become paths, so each is looked at first: what MLflow's layout cannot hold (a parameter `a` beside another
//! `a/b`) is left out and said. A database is not written here: `mlflow migrate-filestore` makes one of the
//! folder.

mod layout;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::RunId;
use rondo_core::ports::{Event, Progress};
use rondo_store::meta::artifacts::Artifact;
use rondo_store::meta::metrics::Point;
use rondo_store::meta::registered::Version;
use rondo_store::meta::search::{Query, Room, View};

use crate::import::{Kind, Report};
use crate::logged_models::Logged;
use crate::runs::Run;
use crate::{Error, Tracking, page};
use layout::{Folder, Model, Written};

/// Rows of a page.
const PAGE: u32 = 500;

/// Writes everything that MLflow's layout holds to a folder that is not there yet or empty.
///
/// # Errors
/// When there is something at the target, it cannot be written, or the store cannot be read.
pub async fn mlruns(
    tracking: &Tracking,
    target: &Path,
    dry_run: bool,
    progress: Arc<dyn Progress>,
) -> Result<Report, Error> {
    let target = vacant(target, dry_run)?;
    let draft = target.with_file_name(format!(
        ".{}.{}.partial",
        target.file_name().unwrap_or_default().display(),
        std::process::id()
    ));
    let folder = Folder::new(draft.clone(), target.clone(), dry_run);
    let mut export = Export { tracking, folder, report: Report::default(), progress };
    let written = export.all().await;
    if written.is_err() {
        // What was begun is of no use; the error says what matters.
        let _ = std::fs::remove_dir_all(&draft);
    }
    written?;
    if !dry_run {
        if target.exists() {
            std::fs::remove_dir(&target).map_err(Error::io("replace", &target))?;
        }
        std::fs::rename(&draft, &target).map_err(Error::io("make", &target))?;
    }
    Ok(export.report)
}

/// The whole path of a folder that is not there yet or empty.
pub(crate) fn vacant(target: &Path, dry_run: bool) -> Result<PathBuf, Error> {
    let refuse =
        |reason: &str| Error::NotAStore { path: target.display().to_string(), reason: reason.to_owned() };
    let name = target.file_name().ok_or_else(|| refuse("is no name of a folder to be made"))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if dry_run && !parent.exists() {
        return Ok(target.to_owned());
    }
    std::fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
    let place = parent.canonicalize().map_err(Error::io("open", parent))?.join(name);
    match std::fs::read_dir(&place).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(place),
        Ok(false) => Err(refuse("is not empty: an export is written to a new folder")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(place),
        Err(error) => Err(Error::io("open", &place)(error)),
    }
}

struct Export<'a> {
    tracking: &'a Tracking,
    folder: Folder,
    report: Report,
    progress: Arc<dyn Progress>,
}

impl Export<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        let message = "writing".to_owned();
        self.progress.report(Event::Started { subject: "export".to_owned(), message });
        for experiment in self.tracking.meta().experiments().await? {
            let written = self.folder.experiment(&experiment)?;
            self.count(Kind::Experiments, &format!("experiment {}", experiment.id), written);
        }
        self.runs().await?;
        self.logged_models().await?;
        self.registered().await?;
        let message = format!("{} runs", self.report.count(Kind::Runs).imported);
        self.progress.report(Event::Ended { subject: "export".to_owned(), ok: true, message });
        Ok(())
    }

    /// Counts one thing and says what of it could not be written.
    fn count(&mut self, kind: Kind, name: &str, written: Written) {
        let count = self.report.of(kind);
        count.found += 1;
        count.imported += 1;
        for (kind, many) in written.many {
            let count = self.report.of(kind);
            count.found += many;
            count.imported += many;
        }
        for (kind, what, reason) in written.left_out {
            self.report.of(kind).found += 1;
            self.report.skip(kind, 1, format!("{name}: {what}"), reason);
        }
    }

    async fn runs(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let query = Query { view: View::All, after, ..Query::all(Room::Runs, PAGE) };
            let found = self.tracking.meta().search_runs(&query).await?.ok_or_else(page::foreign)?;
            for run in self.tracking.with_facts(found.items).await? {
                self.run(&run).await?;
            }
            let done = self.report.count(Kind::Runs).imported;
            let (subject, message) = ("export".to_owned(), "runs".to_owned());
            self.progress.report(Event::Advanced { subject, done, total: None, message });
            match found.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn run(&mut self, run: &Run) -> Result<(), Error> {
        let id = run.row.id;
        let mut series: Vec<(String, Vec<Point>)> = Vec::with_capacity(run.facts.metrics.len());
        for latest in &run.facts.metrics {
            series.push((latest.key.clone(), self.tracking.meta().metric_history(id, &latest.key).await?));
        }
        let files = self.files(&id.hex()).await?;
        let written = self.folder.run(run, &series, &files)?;
        self.count(Kind::Runs, &format!("run {id}"), written);
        Ok(())
    }

    /// The artifacts of an owner with the places of their objects.
    async fn files(&mut self, owner: &str) -> Result<Vec<(Artifact, PathBuf)>, Error> {
        let mut files = Vec::new();
        for artifact in self.tracking.meta().artifacts(owner).await? {
            match self.tracking.objects().sound(artifact.digest) {
                Ok(place) => files.push((artifact, place)),
                Err(error) => {
                    self.report.of(Kind::Artifacts).found += 1;
                    let reason = match error {
                        rondo_store::Error::ObjectNotFound(digest) => {
                            format!("its object {digest} is not in the store")
                        }
                        error => error.to_string(),
                    };
                    self.report.skip(Kind::Artifacts, 1, format!("{owner}/{}", artifact.path), reason);
                }
            }
        }
        Ok(files)
    }

    async fn logged_models(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let query = Query { view: View::All, after, ..Query::all(Room::LoggedModels, PAGE) };
            let found = self.tracking.meta().search_logged_models(&query).await?.ok_or_else(page::foreign)?;
            for model in self.tracking.with_model_facts(found.items).await? {
                self.logged_model(&model).await?;
            }
            match found.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn logged_model(&mut self, model: &Logged) -> Result<(), Error> {
        let files = self.files(&model.row.id).await?;
        let written = self.folder.logged_model(model, &files)?;
        self.count(Kind::LoggedModels, &format!("logged model {}", model.row.id), written);
        Ok(())
    }

    async fn registered(&mut self) -> Result<(), Error> {
        for (name, _) in self.tracking.meta().models().await? {
            let registered = self.tracking.meta().registered_model(&name).await?;
            let mut versions = Vec::new();
            for version in self.tracking.meta().versions(&name).await? {
                let source = self.source(&version).await?;
                versions.push((version, source));
            }
            let numbered = |alias: (&String, &rondo_core::Digest)| {
                let of = versions.iter().find(|(version, _)| version.digest == *alias.1);
                of.map(|(version, _)| (alias.0.clone(), version.number))
            };
            let aliases = registered.aliases.iter().filter_map(numbered).collect();
            let written = self.folder.registered(&Model { registered, versions, aliases })?;
            self.count(Kind::RegisteredModels, &format!("model {name}"), written);
        }
        Ok(())
    }

    /// A version's source as MLflow's files have it, and the place that it stands for.
    async fn source(&self, version: &Version) -> Result<(String, String), Error> {
        let Some(said) = version.of_client() else {
            // One that a pipeline registered: the artifacts of its run.
            let run: Option<RunId> = version.run.as_deref().and_then(|run| run.parse().ok());
            let place = match run {
                Some(run) => self.place(&run.hex(), "").await?,
                None => None,
            };
            let place = place.unwrap_or_default();
            return Ok((place.clone(), place));
        };
        if let Some(model) = said.source.strip_prefix("models:/").filter(|id| id.starts_with("m-")) {
            let place = self.place(model, "").await?.unwrap_or_else(|| said.source.clone());
            return Ok((said.source, place));
        }
        let place = match self.tracking.roots().find(&said.source) {
            Ok(Some(found)) => self.place(&found.owner, &found.path).await?,
            Ok(None) | Err(_) => None,
        };
        let place = place.unwrap_or(said.source);
        Ok((place.clone(), place))
    }

    /// Where the files of an owner are after the export.
    async fn place(&self, owner: &str, path: &str) -> Result<Option<String>, Error> {
        let experiment = match owner.parse::<RunId>() {
            Ok(run) => self.tracking.meta().run(run).await?.map(|run| run.experiment),
            Err(_) => self.tracking.meta().logged_model(owner).await?.map(|model| model.experiment),
        };
        Ok(experiment.map(|experiment| self.folder.artifacts_at(experiment, owner, path)))
    }
}

#[cfg(test)]
mod tests;
