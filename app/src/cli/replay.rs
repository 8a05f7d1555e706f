//! `rondo replay`: recorded events through a real endpoint, in the order of their time.
//!
//! The project is brought up on a port of loopback, and everything goes over HTTP as live traffic would:
//! requests with ids and event times, ground truth when its time comes, and at the end of each tick the
//! word that event time has come so far. A tick that leads to retraining holds the next one back until the
//! request is answered; meanwhile requests go on as dry runs, so that a swap is never seen by nobody. What
//! is done is remembered tick by tick: a replay that was killed goes on where it was, and sending an id
//! again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use rondo_core::label::Label;
use rondo_core::ports::Event;
use rondo_core::{Code, Span, Timestamp, suggest};
use rondo_project::project::{Model, Reference};
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::target::Allow;
use rondo_table::records::{self, Records};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Session;
use super::failure::{Failure, Outcome};
use crate::apps::Apps;
use crate::http::access::{Admission, Mode};
use crate::http::server::Server;
use crate::http::{AppState, router};
use crate::platform::{Error, Platform};
use crate::worker::Worker;

/// Rows of one request.
const ROWS: usize = 32;
/// Requests under way at once.
const AT_ONCE: usize = 4;
/// How often a failed request is sent again before it counts.
const TRIES: u32 = 3;
/// Pause between dry runs while a request for retraining is open.
const PACE: Duration = Duration::from_millis(10);

/// Send recorded events through an endpoint in the order of their time, with the truth as it came
#[derive(clap::Args)]
pub struct Args {
    /// The output with the events, such as `requests.requests`; the only one of that name where absent
    events: Option<String>,
    /// The endpoint; the only one where there is one
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Only events before this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<Timestamp>,
    /// How far event time moves at once
    #[arg(long, default_value = "1d", value_name = "SPAN")]
    tick: Span,
    /// The column with the moment at which the truth is known
    #[arg(long, default_value = "truth_time", value_name = "COLUMN")]
    truth_time: String,
    /// Begin again from the first event; ids that were answered get the same answers
    #[arg(long)]
    restart: bool,
}

/// Sends them.
///
/// # Errors
/// When there are no such events, no champion serves, or requests failed.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    if args.tick.millis() <= 0 {
        return Err(Failure::hinted(
            Code::Usage,
            "move event time on by nothing at once",
            "rondo replay --tick 1d",
        ));
    }
    let endpoint = endpoint(&platform, args.endpoint.as_deref())?;
    let deployments = platform.open_serving().await?;
    platform.deploy(&deployments).await?;
    let live = deployments.live(&endpoint)?;
    let mut fields: Vec<String> = live.signature().inputs.iter().map(|column| column.name.clone()).collect();
    drop(live);
    let plan = Plan::new(&platform, &endpoint, &args, &mut fields).await?;
    let webhooks = Webhooks::new(platform.store().clone(), Allow::default());
    let apps = Arc::new(Apps::none());
    let state = AppState { platform: platform.clone(), deployments: deployments.clone(), webhooks, apps };
    let server = Server::start("127.0.0.1:0", router(state, Admission::new(Mode::Open))).await?;
    let worker = Worker::start(platform.clone(), deployments.clone());
    let client = Client::new(&server.url(), &endpoint)?;
    let mut replay = Replay { platform: &platform, plan, client, traffic: Traffic::default() };
    let stopped = super::signals::stopped();
    tokio::pin!(stopped);
    let ended = tokio::select! {
        ended = Box::pin(replay.all(&args)) => Some(ended),
        () = &mut stopped => None,
    };
    worker.stop().await;
    server.stop().await;
    deployments.log().sync()?;
    platform.store().close().await;
    match ended {
        Some(ended) => ended?,
        None => {
            return Err(Failure::hinted(
                Code::Interrupted,
                "finish the replay: it was stopped",
                "rondo replay",
            ));
        }
    }
    let traffic = replay.traffic;
    let value = json!({ "schema": 1, "endpoint": endpoint, "traffic": traffic.json() });
    session.printer().result(
        &value,
        &format!(
            "{} requests with {} rows and {} truths through `{endpoint}`, {} failed\n",
            traffic.requests, traffic.rows, traffic.truths, traffic.failed
        ),
    );
    if traffic.failed > 0 {
        return Err(Failure::new(Code::EndpointFailed, format!("have {} requests answered", traffic.failed)));
    }
    Ok(())
}

/// The setting under which a replay's counts are kept.
pub fn traffic_key(endpoint: &str) -> String {
    format!("replay/{endpoint}/traffic")
}

fn done_key(endpoint: &str) -> String {
    format!("replay/{endpoint}/done")
}

fn endpoint(platform: &Platform, named: Option<&str>) -> Outcome<String> {
    let names: Vec<&str> = platform.project().serve.names().collect();
    match (named, names.as_slice()) {
        (Some(name), names) if names.contains(&name) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (named, names) => {
            let near = named.and_then(|name| suggest::nearest(name, names.iter().copied()));
            let hint = near.map_or_else(
                || format!("the endpoints are: {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            Err(Failure::hinted(Code::DeploymentNotFound, "find the endpoint to replay through", hint))
        }
    }
}

/// What is sent, from where.
struct Plan {
    endpoint: String,
    events: std::path::PathBuf,
    key: String,
    time: String,
    target: String,
    truth_time: String,
    fields: Vec<String>,
    until: Timestamp,
}

impl Plan {
    async fn new(
        platform: &Platform,
        endpoint: &str,
        args: &Args,
        fields: &mut Vec<String>,
    ) -> Outcome<Self> {
        let project = platform.project();
        let alias =
            project.serve.get(endpoint).map(|endpoint| endpoint.model.model.clone()).unwrap_or_default();
        let Some(model) = project.models.get(&alias) else {
            return Err(Failure::new(Code::ModelNotFound, format!("find model `{alias}`")));
        };
        let column = |what: &str, column: &Option<String>| {
            column.clone().ok_or_else(|| {
                Failure::hinted(
                    Code::ProjectInvalid,
                    format!("replay through `{endpoint}`: model `{alias}` names no `{what}` column"),
                    format!("add `{what}: COLUMN` to `models.{alias}` in rondo.yaml"),
                )
            })
        };
        add_slices(platform, model, fields);
        Ok(Self {
            endpoint: endpoint.to_owned(),
            events: events(platform, args.events.as_deref()).await?,
            key: column("key", &model.key)?,
            time: column("time", &model.time)?,
            target: model.target.clone(),
            truth_time: args.truth_time.clone(),
            fields: std::mem::take(fields),
            until: args.until.unwrap_or(Timestamp(i64::MAX)),
        })
    }

    /// A row of the events as what is sent: the record, its time, and the truth with its time.
    fn event(&self, row: &Map<String, Value>) -> Result<Happening, Error> {
        let fault = |column: &str| Error::Invalid {
            code: Code::TableInvalid,
            message: format!("an event has no usable `{column}`"),
        };
        let moment = |column: &str| {
            row.get(column).and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok())
        };
        let id = match row.get(&self.key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(fault(&self.key)),
        };
        let at = moment(&self.time).ok_or_else(|| fault(&self.time))?;
        let mut record: Map<String, Value> = self
            .fields
            .iter()
            .map(|field| (field.clone(), row.get(field).cloned().unwrap_or(Value::Null)))
            .collect();
        record.insert("prediction_id".to_owned(), Value::String(id.clone()));
        record.insert("event_time".to_owned(), Value::String(at.rfc3339()));
        let label = row.get(&self.target).and_then(|value| Label::deserialize(value).ok());
        Ok(Happening { id, at, record, truth: label.zip(moment(&self.truth_time)) })
    }
}

fn add_slices(platform: &Platform, model: &Model, fields: &mut Vec<String>) {
    let objectives = &platform.project().canvas.objectives;
    let sliced = objectives.iter().flat_map(|objective| objective.slice.iter().chain(&objective.by));
    for column in model.slices.iter().chain(sliced) {
        if !fields.contains(column) {
            fields.push(column.clone());
        }
    }
}

/// The table of events: a step's output in the work tree's newest run.
async fn events(platform: &Platform, named: Option<&str>) -> Outcome<std::path::PathBuf> {
    let project = platform.project();
    let outputs: Vec<(String, String, String)> = project
        .steps
        .iter()
        .flat_map(|(step, made)| {
            made.outputs
                .names()
                .map(|output| {
                    let reference = Reference::Output { step: step.to_owned(), output: output.to_owned() };
                    (reference.to_string(), step.to_owned(), output.to_owned())
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let wanted = named.unwrap_or("requests");
    let found = outputs.iter().find(|(reference, _, output)| reference == wanted || output == wanted);
    let Some((reference, step, output)) = found else {
        let known = outputs.iter().map(|(reference, ..)| reference.as_str());
        let near = suggest::nearest(wanted, known.clone());
        let hint = near.map_or_else(
            || format!("name one of: {}", known.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::hinted(Code::StepNotFound, format!("find events `{wanted}`"), hint));
    };
    let lock = platform.read_lock()?;
    let digest = lock.steps.get(step).and_then(|step| step.outputs.get(output));
    let gone = || {
        let message = format!("find the events `{reference}`");
        Failure::hinted(Code::ObjectNotFound, message, format!("rondo run {step}"))
    };
    match platform.store().objects().sound(*digest.ok_or_else(gone)?) {
        Err(rondo_store::Error::ObjectNotFound(_)) => Err(gone()),
        sound => Ok(sound?),
    }
}

/// One event.
#[derive(Clone)]
struct Happening {
    id: String,
    at: Timestamp,
    record: Map<String, Value>,
    truth: Option<(Label, Timestamp)>,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    requests: u64,
    rows: u64,
    truths: u64,
    dry_runs: u64,
    failed: u64,
}

impl Traffic {
    fn json(&self) -> Value {
        json!({
            "requests": self.requests + self.dry_runs, "rows": self.rows, "truths": self.truths,
            "dry_runs": self.dry_runs, "failed": self.failed,
        })
    }

    fn read(value: &Value) -> Self {
        let count = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        let dry_runs = count("dry_runs");
        Self {
            requests: count("requests").saturating_sub(dry_runs),
            rows: count("rows"),
            truths: count("truths"),
            dry_runs,
            failed: count("failed"),
        }
    }
}

struct Replay<'a> {
    platform: &'a Arc<Platform>,
    plan: Plan,
    client: Client,
    traffic: Traffic,
}

impl Replay<'_> {
    async fn all(&mut self, args: &Args) -> Outcome {
        let done = if args.restart { None } else { self.done().await? };
        if done.is_some() {
            let kept = self.platform.store().meta().setting(&traffic_key(&self.plan.endpoint)).await?;
            let kept: Value = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            self.traffic = Traffic::read(&kept);
        }
        let subject = "replay".to_owned();
        let message =
            done.map_or_else(|| "from the first event".to_owned(), |done| format!("goes on from {done}"));
        self.platform.progress().report(Event::Started { subject: subject.clone(), message });
        let mut reader = records::open(&self.plan.events)?;
        let mut truths: BTreeMap<(Timestamp, String), Label> = BTreeMap::new();
        let mut next: Option<Happening> = self.next(&mut reader)?;
        let mut tick = match &next {
            Some(first) => first.at.floor_to(args.tick),
            None => Timestamp(0),
        };
        // Truths of the last events come after them, but not after the moment at which the replay ends.
        while next.is_some() || (!truths.is_empty() && tick < self.plan.until) {
            let end = tick + args.tick;
            let skipped = done.is_some_and(|done| end <= done);
            let mut events = Vec::new();
            while let Some(mut event) = next.take() {
                if event.at >= end {
                    next = Some(event);
                    break;
                }
                if let Some((label, at)) = event.truth.take() {
                    truths.insert((at, event.id.clone()), label);
                }
                events.push(event);
                next = self.next(&mut reader)?;
            }
            let later = truths.split_off(&(end, String::new()));
            let known = std::mem::replace(&mut truths, later);
            if !skipped {
                self.tick(&events, &known, end).await?;
                self.remember(end).await?;
            }
            tick = end;
        }
        let message = format!("{} rows up to {}", self.traffic.rows, tick.day());
        self.platform.progress().report(Event::Ended { subject, ok: self.traffic.failed == 0, message });
        Ok(())
    }

    fn next(&self, reader: &mut Records) -> Outcome<Option<Happening>> {
        match reader.next() {
            None => Ok(None),
            Some(row) => {
                let event = self.plan.event(&row?)?;
                Ok((event.at < self.plan.until).then_some(event))
            }
        }
    }

    /// One tick: the truth that is known by its end, its events, and the word that time has come so far.
    async fn tick(
        &mut self,
        events: &[Happening],
        truths: &BTreeMap<(Timestamp, String), Label>,
        end: Timestamp,
    ) -> Outcome {
        let bodies: Vec<Value> = events
            .chunks(ROWS)
            .map(|rows| json!({ "records": rows.iter().map(|event| &event.record).collect::<Vec<_>>() }))
            .collect();
        let client = &self.client;
        let mut failures: Vec<Failure> = stream::iter(&bodies)
            .map(|body| async move { client.post("predict", body).await.err() })
            .buffer_unordered(AT_ONCE)
            .filter_map(|failure| async move { failure })
            .collect()
            .await;
        self.traffic.requests += bodies.len() as u64;
        self.traffic.rows += events.len() as u64;
        self.traffic.failed += failures.len() as u64;
        if let Some(first) = failures.pop() {
            // Counted for ever, but not remembered as done: the next replay sends this tick again.
            self.remember_traffic().await?;
            return Err(first);
        }
        let known: Vec<Value> = truths
            .iter()
            .map(|((at, id), label)| json!({ "prediction_id": id, "label": label, "event_time": at }))
            .collect();
        for part in known.chunks(1000) {
            self.client.post("truth", &json!({ "truths": part })).await?;
            self.traffic.truths += part.len() as u64;
        }
        self.advance(bodies.first(), end).await
    }

    /// Moves event time on; while a request for retraining is open, requests go on as dry runs.
    async fn advance(&mut self, probe: Option<&Value>, end: Timestamp) -> Outcome {
        loop {
            let observed = self.client.post("advance", &json!({ "event_time": end })).await?;
            for alert in observed.get("alerts").and_then(Value::as_array).into_iter().flatten() {
                let message = alert.get("message").and_then(Value::as_str).unwrap_or_default();
                let name = alert.get("name").and_then(Value::as_str).unwrap_or_default();
                if name.contains(".objective.") {
                    self.note(format!("{} {name}: {message}", end.day()));
                }
            }
            if observed.get("request").is_none_or(Value::is_null) && self.client.open_requests().await? == 0 {
                self.platform.progress().report(Event::Advanced {
                    subject: "replay".to_owned(),
                    done: self.traffic.rows,
                    total: None,
                    message: format!("rows, {}", end.day()),
                });
                return Ok(());
            }
            while self.client.open_requests().await? > 0 {
                for _ in 0..20 {
                    if let Some(probe) = probe {
                        self.traffic.dry_runs += 1;
                        if self.client.post("predict?dry_run=true", probe).await.is_err() {
                            self.traffic.failed += 1;
                        }
                    }
                    tokio::time::sleep(PACE).await;
                }
            }
        }
    }

    async fn done(&self) -> Outcome<Option<Timestamp>> {
        let text = self.platform.store().meta().setting(&done_key(&self.plan.endpoint)).await?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    async fn remember_traffic(&self) -> Outcome {
        let meta = self.platform.store().meta();
        meta.set_setting(&traffic_key(&self.plan.endpoint), &self.traffic.json().to_string()).await?;
        Ok(())
    }

    async fn remember(&self, end: Timestamp) -> Outcome {
        self.remember_traffic().await?;
        let meta = self.platform.store().meta();
        meta.set_setting(&done_key(&self.plan.endpoint), &end.rfc3339()).await?;
        Ok(())
    }

    fn note(&self, message: String) {
        self.platform.progress().report(Event::Note { subject: "alert".to_owned(), message });
    }
}

/// A client of one endpoint.
struct Client {
    http: reqwest::Client,
    root: String,
    endpoint: String,
}

impl Client {
    fn new(root: &str, endpoint: &str) -> Outcome<Self> {
        // Installed already where data were fetched before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(120))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Failure::new(Code::Internal, format!("make an HTTP client: {error}")))?;
        Ok(Self { http, root: root.to_owned(), endpoint: endpoint.to_owned() })
    }

    /// Posts to the endpoint, again where the answer says that it makes sense.
    async fn post(&self, verb: &str, body: &Value) -> Outcome<Value> {
        let url = format!("{}/api/v1/endpoints/{}/{verb}", self.root, self.endpoint);
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = async {
                let response =
                    self.http.post(&url).json(body).send().await.map_err(|e| (e.to_string(), true))?;
                let status = response.status();
                let text = response.text().await.map_err(|error| (error.to_string(), true))?;
                if status.is_success() {
                    return serde_json::from_str(&text).map_err(|error| (error.to_string(), false));
                }
                Err((format!("{status}: {text}"), status.as_u16() == 503))
            };
            match answer.await {
                Ok(value) => return Ok(value),
                Err((_, true)) if tries < TRIES => tokio::time::sleep(Duration::from_millis(200)).await,
                Err((reason, _)) => {
                    return Err(Failure::new(Code::EndpointFailed, format!("post to {verb}: {reason}")));
                }
            }
        }
    }

    async fn open_requests(&self) -> Outcome<usize> {
        let url = format!("{}/api/v1/requests", self.root);
        let answer = async {
            let open: Vec<Value> = self.http.get(&url).send().await?.error_for_status()?.json().await?;
            Ok::<usize, reqwest::Error>(open.len())
        };
        answer
            .await
            .map_err(|error| Failure::new(Code::EndpointFailed, format!("ask for open requests: {error}")))
    }
}
