//! From a source's records to the store: what is new, what has changed, what is here already.
//!
//! A page of runs is written in one transaction and marked as under way; then come the series and the files
//! of each; last the page is marked with the digests of its records there. What is found unmarked at the next
//! import is completed by comparing with what is here, so that nothing is doubled.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::try_join_all;
use futures::stream::{StreamExt, TryStreamExt, iter};
use rondo_core::journal::Because;
use rondo_core::ports::{Event, Progress};
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{Digest, RunId, Timestamp};
use rondo_store::foreign::{self, Outline, Pairs, Series};
use rondo_store::meta::artifacts::Artifact;
use rondo_store::meta::experiments::Experiment;
use rondo_store::meta::import::{ImportedModel, ImportedRegistered, ImportedRun, ImportedVersion};
use rondo_store::meta::logged_models::{LoggedModel, LoggedModelRecord, ModelMetric};
use rondo_store::meta::metrics::Point;
use rondo_store::meta::registered::ClientVersion;
use rondo_store::{Meta, Objects};
use serde::Serialize;

use super::Source;
use super::report::{Kind, Report};
use super::roots::{self, Place, Roots};
use crate::runs::{PARENT, RUN_NAME};
use crate::{Error, Tracking, artifacts, filter};

/// Points of one batch.
const BATCH: usize = 10_000;
/// Points that are held before they are written.
const HELD: usize = 200_000;
/// Owners whose files are stored at the same time.
const OWNERS: usize = 4;
/// The tag in which clients before 3.0 list the models of a run.
const MODEL_HISTORY: &str = "mlflow.log-model.history";

/// How an import is done.
pub struct Options {
    /// Where artifacts may be.
    pub roots: Roots,
    /// Whether everything is looked at and nothing written.
    pub dry_run: bool,
    /// What the source is called in the journal.
    pub name: String,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
}

/// Brings in everything that a source holds.
///
/// # Errors
/// When the source as a whole cannot be read or the store refuses. What cannot be brought in of a source that
/// can be read is in the report instead.
pub async fn import<S: Source>(
    tracking: &Tracking,
    source: &mut S,
    options: Options,
) -> Result<Report, Error> {
    let mut importer = Importer {
        tracking,
        options,
        report: Report::default(),
        experiments: HashMap::new(),
        runs: HashMap::new(),
        models: HashMap::new(),
    };
    let outline = source.outline().await?;
    importer.experiments(source).await?;
    importer.runs(source, outline).await?;
    importer.logged_models(source).await?;
    importer.registered(source).await?;
    if outline.traces > 0 {
        importer.report.of(Kind::Traces).found = outline.traces;
        let (name, reason) = (format!("{} trace(s)", outline.traces), "traces stay where they are");
        importer.report.skip(Kind::Traces, outline.traces, name, reason);
    }
    importer.faults(source);
    Ok(importer.report)
}

struct Importer<'a> {
    tracking: &'a Tracking,
    options: Options,
    report: Report,
    /// The experiments' ids there and here.
    experiments: HashMap<String, i64>,
    /// The experiments of what came with this source, by the ids here.
    runs: HashMap<RunId, i64>,
    models: HashMap<String, i64>,
}

/// What an import does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not here.
    New,
    /// It is here, but not all of it, or it has changed there since.
    Behind,
    /// It is here as it is there.
    Here,
}

/// A run on its way in.
struct Incoming {
    run: foreign::Run,
    id: RunId,
    experiment: i64,
    mark: String,
    state: State,
}

/// Files to be stored among an owner's artifacts.
struct Files {
    owner: String,
    folder: PathBuf,
    /// Whether a file of the same size is read all the same.
    reread: bool,
}

impl Importer<'_> {
    fn meta(&self) -> &Meta {
        self.tracking.meta()
    }

    fn faults<S: Source>(&mut self, source: &mut S) {
        for fault in source.faults() {
            self.report.of(fault.kind).found += 1;
            self.report.skip(fault.kind, 1, fault.name, fault.reason);
        }
    }

    fn started(&self, subject: &str, message: String) {
        self.options.progress.report(Event::Started { subject: subject.to_owned(), message });
    }

    fn ended(&self, subject: &str, kind: Kind) {
        let count = self.report.count(kind);
        let message = format!("{} found, {} imported", count.found, count.imported);
        self.options.progress.report(Event::Ended { subject: subject.to_owned(), ok: true, message });
    }

    async fn experiments<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        let all = source.experiments().await?;
        self.faults(source);
        for experiment in all {
            self.report.of(Kind::Experiments).found += 1;
            let (id, new) = self.place_for(&experiment).await?;
            let count = self.report.of(Kind::Experiments);
            if new {
                count.imported += 1;
            } else {
                count.already_there += 1;
            }
            if experiment.id != id.to_string() {
                let foreign::Experiment { id: there, name, .. } = &experiment;
                let why = if new { "its id is taken" } else { "one of that name is here" };
                self.report.note(format!("experiment `{name}` has id {id} here, not {there}: {why}"));
            }
            self.experiments.insert(experiment.id.clone(), id);
            let here = if new { None } else { self.meta().experiment(id).await? };
            let lacks = |key: &str| here.as_ref().is_none_or(|here| !here.tags.contains_key(key));
            let tags = experiment.tags.into_iter().filter(|(key, _)| lacks(key)).collect();
            if !self.options.dry_run {
                let experiment = Experiment {
                    id,
                    artifact_location: location(id),
                    name: here.map_or(experiment.name, |here| here.name),
                    deleted: experiment.deleted,
                    created: Timestamp(experiment.created),
                    updated: Timestamp(experiment.updated),
                    tags,
                };
                self.meta().import_experiment(experiment).await?;
            }
        }
        Ok(())
    }

    /// The id that an experiment has or gets here, and whether it is new.
    async fn place_for(&self, experiment: &foreign::Experiment) -> Result<(i64, bool), Error> {
        if let Some(same) = self.meta().experiment_by_name(&experiment.name).await? {
            return Ok((same.id, false));
        }
        let taken = |id: i64| self.experiments.values().any(|known| *known == id);
        if let Ok(id) = experiment.id.parse::<i64>()
            && id >= 0
            && !taken(id)
        {
            match self.meta().experiment(id).await? {
                None => return Ok((id, true)),
                // The same under another name: it was renamed since.
                Some(here) if here.created.millis() == experiment.created && id != 0 => {
                    return Ok((id, false));
                }
                Some(_) => {}
            }
        }
        let all = self.meta().experiments().await?;
        let last = all.iter().map(|experiment| experiment.id).chain(self.experiments.values().copied()).max();
        Ok((last.unwrap_or(0) + 1, true))
    }

    async fn runs<S: Source>(&mut self, source: &mut S, outline: Outline) -> Result<(), Error> {
        self.started("runs", format!("{} to look at", outline.runs));
        loop {
            let page = source.runs().await?;
            self.faults(source);
            if page.is_empty() {
                break;
            }
            let page = self.look_at(page).await?;
            if !self.options.dry_run {
                let rows = page.iter().filter(|run| run.state != State::Here).map(imported_run);
                self.meta().import_runs(rows.collect()).await?;
            }
            self.histories(source, &page).await?;
            self.files_of_runs(&page).await?;
            self.verify(&page).await?;
            if !self.options.dry_run {
                let marks = page.iter().filter(|run| run.state != State::Here);
                let marks = marks.map(|run| (run.id.hex(), run.mark.clone())).collect();
                self.meta().mark_imported("run", marks).await?;
            }
            self.options.progress.report(Event::Advanced {
                subject: "runs".to_owned(),
                done: self.report.count(Kind::Runs).found,
                total: Some(outline.runs),
                message: format!("{} points", self.report.count(Kind::MetricPoints).found),
            });
        }
        self.ended("runs", Kind::Runs);
        Ok(())
    }

    /// What is to be done with each run of a page.
    async fn look_at(&mut self, page: Vec<foreign::Run>) -> Result<Vec<Incoming>, Error> {
        let mut incoming = Vec::with_capacity(page.len());
        for mut run in page {
            self.report.of(Kind::Runs).found += 1;
            self.drop_paths(&mut run);
            let Some(experiment) = self.experiments.get(&run.experiment).copied() else {
                let reason = format!("its experiment `{}` could not be read", run.experiment);
                self.report.skip(Kind::Runs, 1, run.id, reason);
                continue;
            };
            let id = run_id(&run.id);
            if id.hex() != run.id {
                self.report
                    .note(format!("run `{}` has id {id} here: its own is not 32 hex characters", run.id));
            }
            let mark = fingerprint(&run);
            incoming.push(Incoming { run, id, experiment, mark, state: State::New });
        }
        let ids: Vec<RunId> = incoming.iter().map(|run| run.id).collect();
        let hex: Vec<String> = ids.iter().map(RunId::hex).collect();
        let known = self.meta().known_runs(&ids).await?;
        let marks = self.meta().import_marks("run", &hex).await?;
        for run in &mut incoming {
            run.state = match marks.get(&run.id.hex()) {
                _ if !known.contains(&run.id) => State::New,
                Some(mark) if *mark != run.mark => State::Behind,
                // Without a mark it was made here: its owner's it is.
                Some(_) | None => State::Here,
            };
            self.runs.insert(run.id, run.experiment);
            self.count(Kind::Runs, run.state, 0, 1);
            for (kind, many) in [
                (Kind::Params, run.run.params.len()),
                (Kind::Tags, run.run.tags.len()),
                (Kind::Inputs, run.run.inputs.len()),
            ] {
                self.count(kind, run.state, many as u64, many as u64);
            }
        }
        Ok(incoming)
    }

    /// Leaves out keys that would be other paths than they read: MLflow takes none, so somebody forged them.
    fn drop_paths(&mut self, run: &mut foreign::Run) {
        let mut told = Vec::new();
        let mut keep = |kind: Kind, key: &str| {
            let plain = !key.split('/').any(|part| part.is_empty() || part == "." || part == "..");
            if !plain {
                told.push((kind, key.to_owned()));
            }
            plain
        };
        run.params.retain(|(key, _)| keep(Kind::Params, key));
        run.tags.retain(|(key, _)| keep(Kind::Tags, key));
        run.metrics.retain(|key| keep(Kind::MetricPoints, key));
        for (kind, key) in told {
            self.report.of(kind).found += 1;
            let short: String = key.chars().take(160).collect();
            let reason = "its name would be another path than it reads";
            self.report.skip(kind, 1, format!("run {}: {short}", run.id), reason);
        }
    }

    fn count(&mut self, kind: Kind, state: State, found: u64, many: u64) {
        let count = self.report.of(kind);
        count.found += found;
        match state {
            State::New | State::Behind => count.imported += many,
            State::Here => count.already_there += many,
        }
    }

    async fn histories<S: Source>(&mut self, source: &mut S, page: &[Incoming]) -> Result<(), Error> {
        let mut held: Vec<(RunId, Vec<Series>)> = Vec::new();
        let mut points = 0;
        for run in page {
            if run.state == State::Here || self.options.dry_run {
                self.count(Kind::MetricPoints, run.state, run.run.points, run.run.points);
                continue;
            }
            let mut series = source.history(&run.run).await?;
            series.retain(|series| run.run.metrics.contains(&series.key));
            self.faults(source);
            let found: u64 = series.iter().map(|series| series.points.len() as u64).sum();
            if run.state == State::Behind {
                self.leave_out_known(run.id, &mut series).await?;
            }
            let new: u64 = series.iter().map(|series| series.points.len() as u64).sum();
            let count = self.report.of(Kind::MetricPoints);
            count.found += found;
            count.imported += new;
            count.already_there += found - new;
            points += new;
            held.push((run.id, series));
            if points >= HELD as u64 {
                self.log(std::mem::take(&mut held)).await?;
                points = 0;
            }
        }
        self.log(held).await
    }

    async fn leave_out_known(&self, run: RunId, series: &mut [Series]) -> Result<(), Error> {
        let print = |point: &Point| (point.timestamp, point.step, finite(point.value).to_bits());
        for series in series {
            let known = self.meta().metric_history(run, &series.key).await?;
            let known: HashSet<_> = known.iter().map(print).collect();
            series.points.retain(|point| !known.contains(&print(point)));
        }
        Ok(())
    }

    /// Logs series: those of one run in their order, those of several runs side by side.
    async fn log(&self, runs: Vec<(RunId, Vec<Series>)>) -> Result<(), Error> {
        let log = async |(run, series): (RunId, Vec<Series>)| -> Result<(), Error> {
            let mut metrics = Vec::new();
            for Series { key, points } in series {
                for point in points {
                    metrics.push((key.clone(), Point { value: finite(point.value), ..point }));
                    if metrics.len() >= BATCH {
                        let metrics = std::mem::take(&mut metrics);
                        self.meta().import_points(run, metrics).await?;
                    }
                }
            }
            if !metrics.is_empty() {
                self.meta().import_points(run, metrics).await?;
            }
            Ok(())
        };
        try_join_all(runs.into_iter().map(log)).await.map(drop)
    }

    async fn files_of_runs(&mut self, page: &[Incoming]) -> Result<(), Error> {
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

    /// Stores the files of owners as objects.
    async fn store(&mut self, files: Vec<Files>) -> Result<(), Error> {
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

    /// Looks whether all of a page's runs is here.
    async fn verify(&mut self, page: &[Incoming]) -> Result<(), Error> {
        if self.options.dry_run {
            return Ok(());
        }
        let new: Vec<&Incoming> = page.iter().filter(|run| run.state != State::Here).collect();
        let ids: Vec<RunId> = new.iter().map(|run| run.id).collect();
        let facts = self.meta().facts(&ids).await?;
        for run in new {
            let Some(here) = facts.get(&run.id) else { continue };
            let lacks = |key: &String| !here.metrics.iter().any(|latest| latest.key == *key);
            let lacking = [
                ("metrics", run.run.metrics.iter().filter(|key| lacks(key)).map(String::as_str).collect()),
                ("params", missing(&run.run.params, |key| here.params.contains_key(key))),
                ("tags", missing(&run.run.tags, |key| key == RUN_NAME || here.tags.contains_key(key))),
            ];
            for (what, keys) in lacking {
                for key in keys {
                    self.report.skip(
                        Kind::Runs,
                        0,
                        run.id.hex(),
                        format!("of its {what} `{key}` did not come in"),
                    );
                }
            }
        }
        Ok(())
    }

    async fn logged_models<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        loop {
            let page = source.logged_models().await?;
            self.faults(source);
            if page.is_empty() {
                return Ok(());
            }
            let ids: Vec<String> = page.iter().map(|model| model.id.clone()).collect();
            let marks = self.meta().import_marks("logged model", &ids).await?;
            let (mut rows, mut metrics, mut done, mut files) =
                (Vec::new(), Vec::new(), Pairs::new(), Vec::new());
            for model in page {
                self.report.of(Kind::LoggedModels).found += 1;
                let Some(experiment) = self.experiments.get(&model.experiment).copied() else {
                    let reason = format!("its experiment `{}` could not be read", model.experiment);
                    self.report.skip(Kind::LoggedModels, 1, model.id, reason);
                    continue;
                };
                let hex = model.id.strip_prefix("m-").is_some_and(|id| id.parse::<RunId>().is_ok());
                if !hex {
                    self.report.skip(
                        Kind::LoggedModels,
                        1,
                        model.id,
                        "its id is not `m-` and 32 hex characters",
                    );
                    continue;
                }
                let mark = fingerprint(&model);
                let here = self.meta().logged_model(&model.id).await?.is_some();
                let state = match marks.get(&model.id) {
                    _ if !here => State::New,
                    Some(known) if *known != mark => State::Behind,
                    Some(_) | None => State::Here,
                };
                self.count(Kind::LoggedModels, state, 0, 1);
                self.models.insert(model.id.clone(), experiment);
                files.extend(self.files_of_model(&model, state));
                if state != State::Here {
                    metrics.extend(model.metrics.iter().map(|metric| model_metric(&model.id, metric)));
                    done.push((model.id.clone(), mark));
                    rows.push(imported_model(model, experiment));
                }
            }
            if !self.options.dry_run {
                self.meta().import_logged_models(rows).await?;
                self.meta().import_model_metrics(metrics).await?;
            }
            self.store(files).await?;
            if !self.options.dry_run {
                self.meta().mark_imported("logged model", done).await?;
            }
        }
    }

    fn files_of_model(&mut self, model: &foreign::LoggedModel, state: State) -> Option<Files> {
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

    async fn registered<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        let models = source.models().await?;
        self.faults(source);
        for model in models {
            self.report.of(Kind::RegisteredModels).found += 1;
            self.report.of(Kind::ModelVersions).found += model.versions.len() as u64;
            self.report.of(Kind::Aliases).found += model.aliases.len() as u64;
            let mut versions = Vec::with_capacity(model.versions.len());
            for version in model.versions {
                versions.push(self.version(&model.name, version).await?);
            }
            let model = ImportedRegistered {
                name: model.name,
                created: Timestamp(model.created),
                updated: Timestamp(model.updated),
                description: model.description,
                tags: model.tags,
                aliases: model.aliases,
                versions,
                last: model.last,
            };
            self.register(model).await?;
        }
        Ok(())
    }

    async fn register(&mut self, model: ImportedRegistered) -> Result<(), Error> {
        let (name, aliases) = (model.name.clone(), model.aliases.len() as u64);
        let versions = model.versions.len() as u64;
        let outcome = if self.options.dry_run {
            self.would_register(&model).await?
        } else {
            let because = Because::new("import", &format!("imported from {}", self.options.name));
            self.meta().import_registered(model, because, self.tracking.now()).await?
        };
        let count = self.report.of(Kind::RegisteredModels);
        if outcome.made {
            count.imported += 1;
        } else {
            count.already_there += 1;
        }
        let (taken, elsewhere) = (outcome.taken.len() as u64, outcome.elsewhere.len() as u64);
        let count = self.report.of(Kind::ModelVersions);
        count.imported += outcome.versions;
        count.already_there += versions.saturating_sub(outcome.versions + taken);
        for number in &outcome.taken {
            let reason = "another version has that number here";
            self.report.skip(Kind::ModelVersions, 1, format!("{name} {number}"), reason);
        }
        let count = self.report.of(Kind::Aliases);
        count.imported += outcome.aliases;
        count.already_there += aliases.saturating_sub(outcome.aliases + elsewhere);
        for alias in &outcome.elsewhere {
            let reason = "it points to another version here";
            self.report.skip(Kind::Aliases, 1, format!("{name}@{alias}"), reason);
        }
        Ok(())
    }

    /// What would become of a registered model.
    async fn would_register(
        &self,
        model: &ImportedRegistered,
    ) -> Result<rondo_store::meta::import::RegisteredOutcome, Error> {
        let here = self.meta().versions(&model.name).await?;
        let known = self.meta().models().await?.iter().any(|(name, _)| *name == model.name);
        let has = |number: i64| here.iter().any(|version| version.number == number);
        let versions = model.versions.iter().filter(|version| !has(version.number)).count() as u64;
        let aliases = self.meta().model_aliases(&model.name).await?;
        let new = model.aliases.iter().filter(|(alias, _)| !aliases.contains_key(alias)).count() as u64;
        Ok(rondo_store::meta::import::RegisteredOutcome {
            made: !known,
            versions,
            aliases: new,
            ..Default::default()
        })
    }

    async fn version(&mut self, model: &str, version: foreign::Version) -> Result<ImportedVersion, Error> {
        let prompt = version.tags.iter().any(|(key, value)| key == filter::PROMPT && value == "true");
        let source = if prompt { version.source.clone() } else { self.source(model, &version).await? };
        Ok(ImportedVersion {
            number: version.number,
            said: ClientVersion {
                location: None,
                source,
                run: version.run.map(|run| run_id(&run).hex()),
                model_id: version.model_id,
                run_link: version.run_link,
                user: version.user,
            },
            created: Timestamp(version.created),
            updated: Timestamp(version.updated),
            description: version.description,
            stage: version.stage,
            tags: version.tags,
        })
    }

    /// Where a version's files are here. A place that is not here is kept as it was, and said.
    async fn source(&mut self, model: &str, version: &foreign::Version) -> Result<String, Error> {
        let places = [Some(&version.source), version.storage.as_ref()];
        for place in places.into_iter().flatten() {
            if let Some(id) = place.strip_prefix("models:/") {
                if self.models.contains_key(id) || !id.starts_with("m-") {
                    return Ok(place.clone());
                }
                continue;
            }
            let path = place.split_once(":/").map_or(place.as_str(), |(_, path)| path);
            let path = path.trim_start_matches(['/', '.']);
            let Ok(found) = artifacts::proxied(path) else { continue };
            if let Some(root) = self.root_of(&found.owner).await? {
                let slash = if found.path.is_empty() { "" } else { "/" };
                let inside = format!("{}/", found.path);
                let files = self.meta().artifacts(&found.owner).await?;
                let any = files.iter().any(|file| found.path.is_empty() || file.path.starts_with(&inside));
                if !any && !self.options.dry_run {
                    let name = format!("{model} {}", version.number);
                    self.report.skip(Kind::Artifacts, 0, name, format!("no files came in from `{place}`"));
                }
                return Ok(format!("{root}{slash}{}", found.path));
            }
        }
        let name = format!("{model} {}", version.number);
        let reason = format!("its source `{}` is among nothing that was imported", version.source);
        self.report.skip(Kind::Artifacts, 0, name, reason);
        Ok(version.source.clone())
    }

    /// Where the artifacts of an owner that came with this source are here.
    async fn root_of(&self, owner: &str) -> Result<Option<String>, Error> {
        let of_run = owner.parse().ok().and_then(|id: RunId| self.runs.get(&id));
        let Some(experiment) = of_run.or_else(|| self.models.get(owner)).copied() else { return Ok(None) };
        let known = self.meta().experiment(experiment).await?.map(|found| found.artifact_location);
        let location = known.unwrap_or_else(|| location(experiment));
        Ok(Some(match owner.parse() {
            Ok(run) => artifacts::run_root(&location, run),
            Err(_) => artifacts::model_root(&location, owner),
        }))
    }
}

/// Where the artifacts of an experiment that is brought in are.
fn location(experiment: i64) -> String {
    format!("mlflow-artifacts:/{experiment}")
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

/// The id that a run has here: its own, or one made of it where that is none.
fn run_id(text: &str) -> RunId {
    text.parse().unwrap_or_else(|_| {
        let digest = Digest::of(format!("mlflow run {text}").as_bytes()).hex();
        let hex = digest.get(..32).unwrap_or_default();
        // Half of a digest's hex characters are 32 of those that an id is made of.
        hex.parse().unwrap_or_else(|_| RunId::random())
    })
}

fn fingerprint<T: Serialize>(record: &T) -> String {
    let text = serde_json::to_vec(record).unwrap_or_default();
    Digest::of(&text).hex()
}

fn imported_run(incoming: &Incoming) -> ImportedRun {
    let run = &incoming.run;
    let tag = |key: &str| run.tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let name = Some(run.name.clone()).filter(|name| !name.is_empty()).or_else(|| tag(RUN_NAME));
    ImportedRun {
        row: RunRow {
            id: incoming.id,
            experiment: incoming.experiment,
            kind: RunKind::Client,
            parent: tag(PARENT).and_then(|parent| parent.parse().ok()),
            name: name.unwrap_or_default(),
            step: None,
            state: RunState::from_status(&run.status).unwrap_or(RunState::Running),
            user: run.user.clone(),
            started: Timestamp(run.started),
            ended: run.ended.map(Timestamp),
            deleted: run.deleted,
            detail: RunDetail::default(),
        },
        params: run.params.clone(),
        // The name is a column here.
        tags: run.tags.iter().filter(|(key, _)| key != RUN_NAME).cloned().collect(),
        inputs: run.inputs.clone(),
    }
}

fn imported_model(model: foreign::LoggedModel, experiment: i64) -> ImportedModel {
    ImportedModel {
        row: LoggedModel {
            id: model.id,
            experiment,
            run: model.run.map(|run| run_id(&run).hex()),
            name: model.name,
            status: model.status,
            created: Timestamp(model.created),
            updated: Timestamp(model.updated),
            deleted: model.deleted,
            record: LoggedModelRecord { model_type: model.model_type },
        },
        params: model.params,
        tags: model.tags,
    }
}

fn model_metric(model: &str, metric: &foreign::ModelMetric) -> ModelMetric {
    let value = metric.value.map_or(f64::NAN, finite);
    ModelMetric {
        model: model.to_owned(),
        run: run_id(&metric.run),
        key: metric.key.clone(),
        dataset_name: metric.dataset_name.clone(),
        dataset_digest: metric.dataset_digest.clone(),
        point: Point { timestamp: metric.timestamp, step: metric.step, value },
    }
}

fn missing(pairs: &Pairs, has: impl Fn(&str) -> bool) -> Vec<&str> {
    pairs.iter().map(|(key, _)| key.as_str()).filter(|key| !has(key)).collect()
}

/// MLflow's database keeps an infinity as the greatest finite number of its sign, and so does this store.
const fn finite(value: f64) -> f64 {
    if value == f64::INFINITY {
        f64::MAX
    } else if value == f64::NEG_INFINITY {
        f64::MIN
    } else {
        value
    }
}
