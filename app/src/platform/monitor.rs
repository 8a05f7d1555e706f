//! Monitoring meets traffic: windows that are due are assessed, alerts raised, retraining requested.

use std::collections::BTreeMap;

use rondo_core::handoff::{Observation, RetrainRequest};
use rondo_core::journal::Because;
use rondo_core::objective::Objective;
use rondo_core::ports::Event;
use rondo_core::{Code, Explain, Span, Timestamp};
use rondo_data::parts::bounds;
use rondo_monitoring::alert::{Alert, alerts};
use rondo_monitoring::assess::{Row, assess};
use rondo_monitoring::exposition::exposition;
use rondo_monitoring::inputs::Inputs;
use rondo_monitoring::quality::{self, Quality};
use rondo_monitoring::reference::Reference;
use rondo_monitoring::retrain::{self, History};
use rondo_monitoring::score::Scoring;
use rondo_monitoring::window::{Due, Stage, Window, WindowReport, due};
use rondo_project::project::{LiveChecks, Model, Monitor};
use rondo_registry::evaluate::Spec;
use rondo_registry::promote::CHAMPION;
use rondo_serving::log::reader::{LogReader, Query};
use rondo_store::meta::monitors::{AlertRow, WindowRow};
use rondo_table::checks::{CheckReport, FailingRows};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Error, Platform};

/// What a look at the traffic has found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Observed {
    /// How many windows were assessed.
    pub windows: usize,
    /// What was found in them.
    pub alerts: Vec<Alert>,
    /// The request that was written, where one was.
    pub request: Option<RetrainRequest>,
}

/// What checks say of the inputs of a stretch of traffic.
#[derive(Debug)]
pub struct Checked {
    /// Rule by rule, with the predictions that break one.
    pub quality: Quality,
    /// The same with the numbers of rows.
    pub report: CheckReport,
    /// Whole rows that do not pass, where they were asked for.
    pub failing: Option<FailingRows>,
    /// How many predictions were looked at.
    pub rows: usize,
}

impl Platform {
    /// Reads the prediction log, also while another process writes it.
    pub fn log_reader(&self) -> LogReader {
        LogReader::new(&self.store().root().join("predictions"))
    }

    /// A prediction by its id, at an endpoint where one is said.
    ///
    /// # Errors
    /// When several endpoints have answered with the id, or the log cannot be read.
    pub async fn find_prediction(
        &self,
        id: &str,
        endpoint: Option<&str>,
    ) -> Result<Option<Observation>, Error> {
        let (reader, wanted, at) = (self.log_reader(), id.to_owned(), endpoint.map(str::to_owned));
        let mut found = blocking(move || Ok(reader.find(&wanted, at.as_deref())?)).await?;
        if found.len() > 1 {
            let endpoints = found.into_iter().map(|observation| observation.deployment).collect();
            return Err(Error::SeveralEndpoints { id: id.to_owned(), endpoints });
        }
        Ok(found.pop())
    }

    /// Event time has come this far: assesses every window of an endpoint's monitor that is due, in the
    /// order in which they became due, until one of them leads to a retraining request.
    ///
    /// # Errors
    /// When the log or store cannot be read or written.
    pub async fn observe(&self, name: &str, watermark: Timestamp) -> Result<Observed, Error> {
        // One look at a time: two would each write a request for the same alerts.
        let _one = self.observing().await;
        let project = self.project().clone();
        let Some(monitor) = project.monitor.get(name) else { return Ok(Observed::default()) };
        // A typing error in one event must not close all windows up to a distant future.
        let watermark = watermark.min(self.clock().now() + Span::days(1));
        if let Some(request) = self.open_request(&monitor.model).await? {
            return Ok(Observed { request: Some(request), ..Observed::default() });
        }
        let Some(first) = self.first_observation(name).await? else { return Ok(Observed::default()) };
        let model = project
            .models
            .get(&monitor.model)
            .ok_or_else(|| Error::not_found("model", &monitor.model, Code::ModelNotFound))?;
        let known = self.store().meta().windows(name).await?;
        let done = |window: Window, stage: Stage| {
            known.iter().any(|row| {
                row.start == window.start && row.end == window.end && (row.last || stage == Stage::Closed)
            })
        };
        let list = due(first, watermark, monitor.window, first, monitor.max_delay, done);
        let mut observed = Observed::default();
        for due in list {
            let (found, request) = self.assess_due(name, monitor, model, due).await?;
            observed.windows += 1;
            observed.alerts.extend(found);
            if request.is_some() {
                // What comes later is looked at when the request has been answered: it may be another
                // model's traffic then.
                observed.request = request;
                return Ok(observed);
            }
        }
        observed.request = self.request_for(monitor, watermark).await?;
        Ok(observed)
    }

    /// The same for every monitor of an endpoint: one that is named after the model watches it too.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub async fn observe_endpoint(&self, endpoint: &str, watermark: Timestamp) -> Result<Observed, Error> {
        let mut all = Observed::default();
        for (name, monitor) in self.project().monitor.iter() {
            if self.endpoint_of(name, monitor) != endpoint {
                continue;
            }
            let observed = self.observe(name, watermark).await?;
            all.windows += observed.windows;
            all.alerts.extend(observed.alerts);
            all.request = observed.request.or(all.request);
        }
        Ok(all)
    }

    /// The request for a model that waits or is being worked on: nothing is looked at before it is answered.
    async fn open_request(&self, model: &str) -> Result<Option<RetrainRequest>, Error> {
        let open = self.store().meta().open_requests().await?;
        Ok(open.into_iter().find(|request| request.model == model))
    }

    async fn assess_due(
        &self,
        name: &str,
        monitor: &Monitor,
        model: &Model,
        due: Due,
    ) -> Result<(Vec<Alert>, Option<RetrainRequest>), Error> {
        let endpoint = self.endpoint_of(name, monitor);
        let rows = self.rows(&endpoint, due.window, due.at).await?;
        let reference = self.reference_of(&monitor.model, &rows).await?;
        let scoring = scoring(model, monitor, &self.project().canvas.objectives);
        let (watched, window, stage) = (monitor.clone(), due.window, due.stage);
        let report = blocking(move || {
            let reference = reference.as_ref().map(|(version, reference)| (*version, reference));
            Ok(assess(window, stage, &watched, &scoring, &rows, reference)?)
        })
        .await?;
        let mut found = alerts(name, &report, due.stage, due.at);
        if let Some(cool_down) = monitor.cool_down {
            let known = self.store().meta().alerts(&monitor.model).await?;
            // A missed objective always counts: it may be another version's miss, and how often a model is
            // made again is for the trigger to say.
            found.retain(|alert| {
                alert.metric.is_some()
                    || !known.iter().any(|row| {
                        row.name == alert.name
                            && row.id != alert.id
                            && alert.event_time < row.event_time + cool_down
                    })
            });
        }
        // The window is kept last: were the process killed in between, it is assessed again, and alerts and
        // requests that stand are not made twice.
        for alert in &found {
            self.store()
                .meta()
                .raise_alert(AlertRow {
                    id: alert.id.clone(),
                    name: alert.name.clone(),
                    model: alert.model.clone(),
                    event_time: alert.event_time,
                    at: self.clock().now(),
                    record: json!(alert),
                })
                .await?;
        }
        let request = self.request_for(monitor, due.at).await?;
        let row = WindowRow {
            deployment: name.to_owned(),
            start: due.window.start,
            end: due.window.end,
            last: due.stage == Stage::Settled,
            record: json!(report),
        };
        self.store().meta().put_window(row).await?;
        Ok((found, request))
    }

    /// The request that the alerts since the last one lead to, where there is something new to learn from.
    /// An alert that comes before the data do is answered when they have arrived.
    async fn request_for(&self, monitor: &Monitor, at: Timestamp) -> Result<Option<RetrainRequest>, Error> {
        let meta = self.store().meta();
        let requests = meta.requests(&monitor.model).await?;
        let answered = requests.iter().map(|request| request.until).max();
        let open: Vec<Alert> = meta
            .alerts(&monitor.model)
            .await?
            .into_iter()
            .filter(|row| row.event_time <= at && answered.is_none_or(|answered| row.event_time > answered))
            .filter_map(|row| serde_json::from_value(row.record).ok())
            .collect();
        let history = History { requests: &requests };
        let triggers = &self.project().triggers;
        let now = self.clock().now();
        let Some(request) = retrain::request(&monitor.model, triggers, &open, history, at, now) else {
            return Ok(None);
        };
        if !self.has_new_data(&monitor.model).await? {
            return Ok(None);
        }
        meta.request_retraining(&request).await?;
        Ok(Some(request))
    }

    /// Whether a dataset that the champion was made from has a newer version.
    async fn has_new_data(&self, model: &str) -> Result<bool, Error> {
        let Some((_, champion)) = self.store().meta().aliased_version(model, CHAMPION).await? else {
            return Ok(true);
        };
        for link in &champion.lineage.datasets {
            let name = link.reference.trim_start_matches("data.");
            if self.datasets().latest(name).await?.is_some_and(|latest| latest.digest != link.digest) {
                return Ok(true);
            }
        }
        Ok(champion.lineage.datasets.is_empty())
    }

    /// The rows of a window, with the ground truth that was known at a moment.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn rows(&self, endpoint: &str, window: Window, known_by: Timestamp) -> Result<Vec<Row>, Error> {
        let reader = self.log_reader();
        let query = Query::new(endpoint, window.start, window.end);
        blocking(move || {
            let joined = reader.joined(&query, known_by)?;
            Ok(joined
                .into_iter()
                .map(|joined| Row { observation: joined.observation, label: joined.label })
                .collect())
        })
        .await
    }

    /// The endpoint that a monitor watches: its own, or the one that serves its model.
    pub fn endpoint_of(&self, name: &str, monitor: &Monitor) -> String {
        let serving = || {
            let mut endpoints = self.project().serve.iter();
            endpoints
                .find(|(_, endpoint)| endpoint.model.model == monitor.model)
                .map(|(name, _)| name.to_owned())
        };
        monitor.endpoint.clone().or_else(serving).unwrap_or_else(|| name.to_owned())
    }

    /// The reference of the version that answered most of these rows.
    async fn reference_of(&self, model: &str, rows: &[Row]) -> Result<Option<(u32, Reference)>, Error> {
        let mut versions: BTreeMap<u32, u64> = BTreeMap::new();
        for row in rows {
            *versions.entry(row.observation.version).or_default() += 1;
        }
        let most = versions.iter().max_by_key(|(version, rows)| (**rows, **version));
        let Some((version, _)) = most else { return Ok(None) };
        Ok(self.reference(model, *version).await?.map(|reference| (*version, reference)))
    }

    /// Runs checks on what was sent with the predictions of a stretch of event time, and gathers so many
    /// failing rows. Nothing is remembered of it and no alert raised.
    ///
    /// # Errors
    /// When there were no predictions, a check cannot be asked of them, or the log cannot be read.
    pub async fn check_inputs(
        &self,
        name: &str,
        monitor: &Monitor,
        checks: &LiveChecks,
        window: Window,
        keep: usize,
    ) -> Result<Checked, Error> {
        let endpoint = self.endpoint_of(name, monitor);
        let rows = self.rows(&endpoint, window, window.end).await?;
        if rows.is_empty() {
            return Err(Error::NotFound {
                kind: "prediction between",
                name: format!("{} and {}", window.start, window.end),
                code: Code::DeploymentNotFound,
                hint: Some("rondo monitor predictions".to_owned()),
            });
        }
        let reference = self.reference_of(&monitor.model, &rows).await?;
        let checks = checks.clone();
        blocking(move || {
            let inputs = Inputs::new(reference.as_ref().map(|(_, reference)| reference), &rows)?;
            let (quality, report) = quality::check(&checks, &inputs, window.end, false, keep)?;
            let failing = if keep == 0 { None } else { inputs.failing(&report, keep)? };
            Ok(Checked { quality, report, failing, rows: rows.len() })
        })
        .await
    }

    /// The windows of a monitor that have been looked at, oldest first, each with whether its truth is in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn window_reports(&self, monitor: &str) -> Result<Vec<(WindowReport, bool)>, Error> {
        let rows = self.store().meta().windows(monitor).await?;
        Ok(rows.into_iter().filter_map(|row| Some((self.read_window(monitor, &row)?, row.last))).collect())
    }

    /// What was found in a window. Of a record that cannot be read it is told, and the others are shown.
    fn read_window(&self, monitor: &str, row: &WindowRow) -> Option<WindowReport> {
        match WindowReport::deserialize(&row.record) {
            Ok(report) => Some(report),
            Err(error) => {
                let message = format!("the record of the window from {} is left out: {error}", row.start);
                self.progress().report(Event::Note { subject: monitor.to_owned(), message });
                None
            }
        }
    }

    /// The newest windows of all monitors in Prometheus's text format.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn exposed_windows(&self) -> Result<String, Error> {
        let mut newest = Vec::new();
        for name in self.project().monitor.names() {
            let row = self.store().meta().newest_window(name).await?;
            let report = row.and_then(|row| self.read_window(name, &row));
            newest.extend(report.map(|report| (name.to_owned(), report)));
        }
        Ok(exposition(&newest))
    }

    async fn reference(&self, model: &str, version: u32) -> Result<Option<Reference>, Error> {
        let (_, record) = self.store().meta().model_version(model, version).await?;
        let Some(digest) = record.reference else { return Ok(None) };
        let bytes = self.store().objects().read(digest)?;
        let reference = serde_json::from_slice(&bytes).map_err(|source| {
            rondo_monitoring::Error::Reference { model: model.to_owned(), version, source }
        })?;
        Ok(Some(reference))
    }

    /// The day of an endpoint's first observation: where its windows begin. Found once and remembered.
    async fn first_observation(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        let key = format!("monitor/{name}/first");
        if let Some(text) = self.store().meta().setting(&key).await? {
            return Ok(text.parse().ok());
        }
        let monitor = self.project().monitor.get(name);
        let endpoint = monitor.map_or_else(|| name.to_owned(), |monitor| self.endpoint_of(name, monitor));
        let (reader, query) = (self.log_reader(), Query::all(&endpoint));
        let first = blocking(move || {
            Ok(reader.observations(&query)?.into_iter().map(|observation| observation.event_time).min())
        })
        .await?;
        let Some(first) = first.map(|first| first.floor_to(Span::days(1))) else { return Ok(None) };
        self.store().meta().set_setting(&key, &first.rfc3339()).await?;
        Ok(Some(first))
    }

    /// The parts of datasets that have arrived by a moment of event time are brought in: those whose
    /// ground truth has had its time.
    ///
    /// # Errors
    /// When a dataset cannot be fetched. A part that breaks its checks is refused and noted, and the loop
    /// goes on with what it has.
    pub async fn arrive(&self, watermark: Timestamp) -> Result<usize, Error> {
        let delay = self.project().monitor.values().filter_map(|monitor| monitor.max_delay).max();
        let until = watermark - delay.unwrap_or_default();
        let mut count = 0;
        let project = self.project().clone();
        for (name, dataset) in project.data.iter() {
            let Some(parts) = &dataset.parts else { continue };
            let Some((current, ..)) = bounds(until, parts.by) else { continue };
            if self.arrived(name).as_ref() == Some(&current) {
                continue;
            }
            let because = Because::new("rondo", &format!("arrived by {}", until.day()));
            let added = match self.bring(name, Some(until), because).await {
                Ok(added) => added,
                Err(error) if error.code() == Code::ChecksFailed => {
                    let message = format!("refused: {error}");
                    self.progress().report(Event::Note { subject: name.to_owned(), message });
                    self.note_arrival(name, current);
                    continue;
                }
                Err(error) => return Err(error),
            };
            count += added.iter().filter(|one| one.outcome == rondo_data::ingest::Outcome::Added).count();
            self.note_arrival(name, current);
        }
        Ok(count)
    }
}

/// How rows with ground truth are scored: as at the gate. An objective keeps the number that it has on the
/// canvas, so that alert, trigger and gate speak of the same one.
pub fn scoring(model: &Model, monitor: &Monitor, canvas: &[Objective]) -> Scoring {
    let spec = Spec::of_model(model, &monitor.objectives);
    let number = |(index, objective): (usize, &Objective)| {
        let place = canvas.iter().position(|known| known == objective);
        (place.unwrap_or(canvas.len() + index), objective.clone())
    };
    Scoring {
        model: monitor.model.clone(),
        task: spec.task,
        threshold: spec.threshold,
        slices: spec.slices,
        fairness: spec.fairness,
        top_k: spec.top_k,
        pooling: spec.pooling,
        objectives: monitor.objectives.iter().enumerate().map(number).collect(),
    }
}

/// Runs blocking work beside the async tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Invalid {
        code: Code::Internal,
        message: format!("a background task failed: {error}"),
    })?
}
