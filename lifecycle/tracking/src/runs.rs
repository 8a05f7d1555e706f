//! Runs: made, changed, logged on and searched.

use std::collections::{HashMap, HashSet};

use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{RunId, Timestamp};
use rondo_store::meta::batch::Batch;
use rondo_store::meta::facts::Facts;
use rondo_store::meta::metrics::Point;
use rondo_store::meta::runs::RunChange;
use serde_json::Value;

use crate::artifacts::run_root;
use crate::tracking::{Found, Search};
use crate::{Error, Tracking, limits, naming, page};

/// Rows of a page of runs, unless it is said.
pub(crate) const PAGE: u32 = 1000;
/// Rows of a page of runs, at most.
pub(crate) const PAGE_MAX: u32 = 50_000;

/// The tag that is a run's name.
pub const RUN_NAME: &str = "mlflow.runName";
/// The tag that is a run's parent.
pub const PARENT: &str = "mlflow.parentRunId";
/// The tag that says who ran it.
pub const USER: &str = "mlflow.user";

/// A run with all that was logged on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The row.
    pub row: RunRow,
    /// Where its artifacts are, as MLflow clients see it.
    pub artifact_uri: String,
    /// Metrics, parameters, tags (with those that are columns) and inputs.
    pub facts: Facts,
}

/// What a client says of a run that it starts.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// The experiment's id.
    pub experiment: String,
    /// Who; empty when it is not said.
    pub user: String,
    /// A name; one is made up where there is none.
    pub name: Option<String>,
    /// When, by the client's clock.
    pub started: Option<i64>,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// The step's run that adopts it, where a step's code starts it.
    pub adopted_by: Option<RunId>,
}

/// What a client changes in a run.
#[derive(Debug, Clone, Default)]
pub struct RunUpdate {
    /// The status.
    pub status: Option<RunState>,
    /// The end, by the client's clock.
    pub ended: Option<i64>,
    /// The name.
    pub name: Option<String>,
    /// The experiment it is filed under.
    pub experiment: Option<i64>,
}

impl Tracking {
    /// Starts a run.
    ///
    /// # Errors
    /// When the experiment does not exist or is deleted, or a tag is out of bounds.
    pub async fn create_run(&self, new: NewRun) -> Result<Run, Error> {
        let missing = || Error::ExperimentNotFound { id: new.experiment.clone() };
        let unreadable = |_| Error::ExperimentId { id: new.experiment.clone() };
        let experiment: i64 = new.experiment.parse().map_err(unreadable)?;
        let mut tags = new.tags;
        // Any name is taken here, as MLflow does; one that is set later is looked at more closely.
        for (key, value) in &mut tags {
            limits::length("key", key, limits::KEY)?;
            limits::cut(value, limits::TAG_VALUE);
        }
        let named = take(&mut tags, RUN_NAME);
        let given = new.name.filter(|name| !name.is_empty());
        let name = match (given, named) {
            (Some(given), Some(named)) if given != named => {
                return Err(Error::TwoNames { name: given, tag: named });
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => naming::run_name(),
        };
        limits::length("run_name", &name, limits::TAG_VALUE)?;
        let parent = self.parent(&mut tags, new.adopted_by).await?;
        let row = RunRow {
            id: RunId::random(),
            experiment,
            kind: RunKind::Client,
            parent,
            name,
            step: None,
            state: RunState::Running,
            user: new.user,
            started: new.started.map_or_else(|| self.now(), Timestamp),
            ended: None,
            deleted: false,
            untagged: false,
            detail: RunDetail::default(),
        };
        let location = match self.meta().create_tagged_run(&row, &tags).await {
            Err(rondo_store::Error::NotFound { kind: "experiment", .. }) => return Err(missing()),
            Err(rondo_store::Error::Deleted { kind: "experiment", .. }) => {
                return Err(Error::ExperimentDeleted { id: experiment });
            }
            made => made?,
        };
        let facts = Facts { tags: tags.into_iter().collect(), ..Facts::default() };
        Ok(run(row, &location, facts))
    }

    /// The run above a new one: the one its tag names, else the step that adopts it.
    async fn parent(
        &self,
        tags: &mut Vec<(String, String)>,
        adopted_by: Option<RunId>,
    ) -> Result<Option<RunId>, Error> {
        let tagged = tags.iter().find(|(key, _)| key == PARENT).and_then(|(_, value)| value.parse().ok());
        let known = match tagged {
            Some(parent) => self.meta().run(parent).await?.map(|row| row.id),
            None => None,
        };
        if known.is_none() && adopted_by.is_some() {
            take(tags, PARENT);
        }
        Ok(known.or(adopted_by))
    }

    /// A run's row.
    ///
    /// # Errors
    /// When there is none.
    pub async fn run_row(&self, id: &str) -> Result<RunRow, Error> {
        let missing = || Error::RunNotFound { id: id.to_owned() };
        let known: RunId = id.parse().map_err(|_| missing())?;
        self.meta().run(known).await?.ok_or_else(missing)
    }

    /// The id of a run that is not deleted.
    async fn active_run(&self, id: &str) -> Result<RunId, Error> {
        let missing = || Error::RunNotFound { id: id.to_owned() };
        let known: RunId = id.parse().map_err(|_| missing())?;
        match self.meta().run_is_deleted(known).await?.ok_or_else(missing)? {
            true => Err(Error::RunDeleted { id: id.to_owned() }),
            false => Ok(known),
        }
    }

    /// A run with all that was logged on it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn run(&self, id: &str) -> Result<Run, Error> {
        let row = self.run_row(id).await?;
        let location = self.location(row.experiment).await?;
        let facts = self.meta().facts(&[row.id]).await?.remove(&row.id).unwrap_or_default();
        Ok(run(row, &location, facts))
    }

    async fn location(&self, experiment: i64) -> Result<String, Error> {
        let found = self.meta().experiment(experiment).await?;
        found
            .map(|experiment| experiment.artifact_location)
            .ok_or_else(|| Error::ExperimentNotFound { id: experiment.to_string() })
    }

    /// Changes a run as a client asks; the run as it is then, and where its artifacts are. Of the run of a
    /// step or pipeline the state and end are Rondo's own: what a client says of them is left out here, and
    /// the caller may still answer as it was asked.
    ///
    /// # Errors
    /// When there is none or it is deleted.
    pub async fn update_run(&self, id: &str, update: RunUpdate) -> Result<(RunRow, String), Error> {
        let row = self.run_row(id).await?;
        if row.deleted {
            return Err(Error::RunDeleted { id: id.to_owned() });
        }
        if let Some(name) = &update.name {
            limits::length("run_name", name, limits::TAG_VALUE)?;
        }
        let ours = row.kind != RunKind::Client;
        let change = RunChange {
            name: update.name.filter(|name| !name.is_empty()),
            experiment: update.experiment,
            state: update.status.filter(|_| !ours),
            ended: update.ended.filter(|_| !ours).map(Timestamp),
            ..RunChange::default()
        };
        let (row, location) = self.meta().changed_run(row.id, change).await?;
        let artifacts = run_root(&location, row.id);
        Ok((row, artifacts))
    }

    /// Deletes a run (softly) or brings it back.
    ///
    /// # Errors
    /// When there is none, or it is a step's that is under way.
    pub async fn delete_run(&self, id: &str, deleted: bool) -> Result<(), Error> {
        let row = self.run_row(id).await?;
        if deleted && row.kind != RunKind::Client && !row.state.ended() {
            return Err(Error::StepRun { id: id.to_owned(), action: "deleted" });
        }
        Ok(self.meta().delete_run(row.id, deleted, self.now()).await?)
    }

    /// Logs a batch: all of it or nothing.
    ///
    /// # Errors
    /// When there is no such run, it is deleted, something is out of bounds, or a parameter stands with
    /// another value.
    pub async fn log_batch(&self, id: &str, mut batch: Batch) -> Result<RunId, Error> {
        let points = batch.metrics.len() + batch.measured.len();
        limits::batch(points, batch.params.len(), batch.tags.len())?;
        check(&mut batch)?;
        let missing = || Error::RunNotFound { id: id.to_owned() };
        let run: RunId = id.parse().map_err(|_| missing())?;
        if let Some(name) = take(&mut batch.tags, RUN_NAME).filter(|name| !name.is_empty()) {
            batch.name = Some(name);
        }
        match self.meta().log_batch(run, batch).await {
            Err(rondo_store::Error::NotFound { kind: "run", .. }) => Err(missing()),
            Err(rondo_store::Error::Deleted { kind: "run", .. }) => {
                Err(Error::RunDeleted { id: id.to_owned() })
            }
            logged => Ok(logged.map(|()| run)?),
        }
    }

    /// Logs one metric, parameter or tag. An error names it without a place in a list.
    ///
    /// # Errors
    /// As [`Tracking::log_batch`].
    pub async fn log_one(&self, id: &str, one: Batch) -> Result<RunId, Error> {
        self.log_batch(id, one).await.map_err(Error::alone)
    }

    /// Logs one point.
    ///
    /// # Errors
    /// As [`Tracking::log_batch`].
    pub async fn log_metric(&self, id: &str, key: String, point: Point) -> Result<RunId, Error> {
        self.log_one(id, Batch { metrics: vec![(key, point)], ..Batch::default() }).await
    }

    /// Takes a tag of a run away.
    ///
    /// # Errors
    /// When there is no such run or tag.
    pub async fn untag_run(&self, id: &str, key: &str) -> Result<(), Error> {
        let run = self.active_run(id).await?;
        if self.meta().delete_run_tag(run, key).await? {
            return Ok(());
        }
        Err(Error::TagNotFound { key: key.to_owned(), owner: format!("run with id {id}") })
    }

    /// Keeps records of a run's inputs or outputs under their keys. The kinds are `dataset` (with
    /// `dataset.name`, `dataset.digest` and `context`), `model_input` and `model_output`.
    ///
    /// # Errors
    /// When there is no such run or it is deleted.
    pub async fn log_inputs(
        &self,
        id: &str,
        records: Vec<(&'static str, String, Value)>,
    ) -> Result<(), Error> {
        let run = self.active_run(id).await?;
        Ok(self.meta().put_run_inputs(run, records).await?)
    }

    /// Runs of these experiments that match, as records to compute with; to show them see `list_runs`.
    ///
    /// # Errors
    /// When the filter, the order or the page token cannot be understood.
    pub async fn search_runs(&self, experiments: &[String], search: &Search) -> Result<Found<Run>, Error> {
        let query = Self::runs_query(experiments, search)?;
        let page = self.meta().search_runs(&query).await?.ok_or_else(page::foreign)?;
        let items = self.with_facts(page.items).await?;
        Ok(Found { items, next_page_token: page.next.as_deref().map(page::token) })
    }

    /// Rows with all that was logged on their runs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn with_facts(&self, rows: Vec<RunRow>) -> Result<Vec<Run>, Error> {
        let ids: Vec<RunId> = rows.iter().map(|row| row.id).collect();
        let mut facts = self.meta().facts(&ids).await?;
        let mut locations = HashMap::new();
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let location = match locations.get(&row.experiment) {
                Some(known) => known,
                None => {
                    let found = self.location(row.experiment).await?;
                    locations.entry(row.experiment).or_insert(found)
                }
            };
            let of = facts.remove(&row.id).unwrap_or_default();
            runs.push(run(row, location, of));
        }
        Ok(runs)
    }
}

/// A run as clients see it: the tags that are columns are shown as tags.
fn run(row: RunRow, location: &str, mut facts: Facts) -> Run {
    if row.untagged {
        facts.tags.remove(RUN_NAME);
    } else {
        facts.tags.insert(RUN_NAME.to_owned(), row.name.clone());
    }
    if let Some(parent) = row.parent {
        facts.tags.entry(PARENT.to_owned()).or_insert_with(|| parent.hex());
    }
    // A client says it by a tag of its own or not at all.
    if row.kind != RunKind::Client && !row.user.is_empty() {
        facts.tags.entry(USER.to_owned()).or_insert_with(|| row.user.clone());
    }
    Run { artifact_uri: run_root(location, row.id), row, facts }
}

/// Refuses a batch with something out of bounds, and puts what MLflow keeps otherwise in its form.
fn check(batch: &mut Batch) -> Result<(), Error> {
    let plain = batch.metrics.iter_mut().map(|(key, point)| (key, point));
    let measured = batch.measured.iter_mut().map(|(_, key, point)| (key, point));
    for (index, (key, point)) in plain.chain(measured).enumerate() {
        limits::metric_name(key).map_err(|error| error.at("metrics", index))?;
        if point.timestamp < 0 {
            let reason = format!(
                "metric '{key}' (value={:?}). Timestamp must be a nonnegative long (64-bit integer) ",
                point.value
            );
            let error = limits::invalid("timestamp", &point.timestamp.to_string(), &reason);
            return Err(error.at("metrics", index));
        }
        point.value = finite(point.value);
    }
    for (index, (key, value)) in batch.params.iter_mut().enumerate() {
        limits::param_name(key).map_err(|error| error.at("params", index))?;
        limits::cut(value, limits::PARAM_VALUE);
    }
    let mut keys = HashSet::new();
    if let Some((key, _)) = batch.params.iter().find(|(key, _)| !keys.insert(key.as_str())) {
        return Err(Error::Repeated { key: key.clone() });
    }
    check_tags(&mut batch.tags)
}

fn check_tags(tags: &mut [(String, String)]) -> Result<(), Error> {
    for (index, (key, value)) in tags.iter_mut().enumerate() {
        limits::tag_name(key).map_err(|error| error.at("tags", index))?;
        limits::cut(value, limits::TAG_VALUE);
    }
    Ok(())
}

fn take(pairs: &mut Vec<(String, String)>, key: &str) -> Option<String> {
    let mut taken = None;
    pairs.retain_mut(|(name, value)| {
        if name == key {
            taken = Some(std::mem::take(value));
        }
        name != key
    });
    taken
}

/// MLflow keeps an infinity as the greatest finite number of its sign.
const fn finite(value: f64) -> f64 {
    if value == f64::INFINITY {
        f64::MAX
    } else if value == f64::NEG_INFINITY {
        f64::MIN
    } else {
        value
    }
}

#[cfg(test)]
mod tests;
