//! What is logged most, read without a tree in between: `runs/log-metric` and `runs/log-batch`.
//!
//! A body that is well formed goes straight into the types here. One that is not is read again as
//! [`Args`], which take more spellings and have MLflow's own complaint for each fault.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, State};
use axum::http::Request;
use rondo_store::meta::batch::Batch;
use rondo_store::meta::metrics::{Context, Point};
use rondo_tracking::limits;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::MlflowState;
use super::args::{Args, missing};
use super::refusal::{Answer, Refusal};
use crate::http::access::Caller;

/// The answer to what was logged: `{}`.
#[derive(serde::Serialize)]
pub(super) struct Done {}

/// A body, read.
pub(super) struct Read<T>(T);

/// What can be read from a body both ways.
pub(super) trait Logs: DeserializeOwned {
    /// Whether nothing that must be there is missing or empty.
    fn is_whole(&self) -> bool;

    /// Reads it with a complaint about what is wrong.
    fn of(args: &Args) -> Answer<Self>;
}

impl<S: Send + Sync, T: Logs> FromRequest<S> for Read<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &S) -> Answer<Self> {
        let (of_query, body) = Args::content(request).await?;
        match serde_json::from_slice::<T>(&body) {
            Ok(read) if read.is_whole() => Ok(Self(read)),
            Ok(_) | Err(_) => T::of(&Args::read(of_query, &body)).map(Self),
        }
    }
}

/// A point with what it is of.
#[derive(Deserialize)]
struct Metric {
    /// Of `log-metric` alone; a batch has one for all.
    run_id: Option<String>,
    key: String,
    #[serde(deserialize_with = "number")]
    value: f64,
    timestamp: Option<i64>,
    step: Option<i64>,
    model_id: Option<String>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

impl Metric {
    /// Reads a metric; `place` says what its fields are called where they are complained of.
    fn of(args: &Args, place: impl Fn(&str) -> String) -> Answer<Self> {
        let there = |field: &str| {
            let empty = args.text(field).ok().flatten().as_deref() == Some("");
            if args.says(field) && !empty { Ok(()) } else { Err(missing(&place(field))) }
        };
        let key = args.given("key").map_err(|_| args.wrong("key", &place("key")))?;
        let key = key.ok_or_else(|| missing(&place("key")))?;
        there("value")?;
        let value = args.float("value").map_err(|_| args.wrong("value", &place("value")))?;
        there("timestamp")?;
        let whole = |field: &str| args.int(field).map_err(|_| args.wrong(field, &place(field)));
        let (timestamp, step) = (whole("timestamp")?, whole("step")?);
        Ok(Self {
            run_id: None,
            key,
            value,
            timestamp: Some(timestamp.ok_or_else(|| missing(&place("timestamp")))?),
            step,
            model_id: args.given("model_id")?,
            dataset_name: args.given("dataset_name")?,
            dataset_digest: args.given("dataset_digest")?,
        })
    }

    fn log(self, batch: &mut Batch) {
        let timestamp = self.timestamp.unwrap_or_default();
        let point = Point { timestamp, step: self.step.unwrap_or_default(), value: self.value };
        let context = Context {
            model: self.model_id.unwrap_or_default(),
            dataset_name: self.dataset_name.unwrap_or_default(),
            dataset_digest: self.dataset_digest.unwrap_or_default(),
        };
        if context == Context::default() {
            batch.metrics.push((self.key, point));
        } else {
            batch.measured.push((context, self.key, point));
        }
    }
}

/// A number, or one of the texts `NaN`, `Infinity`, `-Infinity`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a number")
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
            value.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Number)
}

/// `runs/log-metric`: a metric and its run in one object.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct LogMetric(Metric);

impl Logs for LogMetric {
    fn is_whole(&self) -> bool {
        given(self.0.run_id.as_deref()) && !self.0.key.is_empty() && self.0.timestamp.is_some()
    }

    fn of(args: &Args) -> Answer<Self> {
        let run_id = Some(args.run_id()?);
        Ok(Self(Metric { run_id, ..Metric::of(args, str::to_owned)? }))
    }
}

pub(super) async fn log_metric(
    State(state): State<MlflowState>,
    caller: Caller,
    Read(LogMetric(mut metric)): Read<LogMetric>,
) -> Answer<Json<Done>> {
    let mut batch = Batch::default();
    let id = metric.run_id.take().unwrap_or_default();
    metric.log(&mut batch);
    ask(&caller, &id, &batch).await?;
    state.tracking.log_one(&id, batch).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

/// `runs/log-batch`
#[derive(Deserialize)]
pub(super) struct LogBatch {
    run_id: Option<String>,
    #[serde(default)]
    metrics: Vec<Metric>,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    tags: Vec<Pair>,
}

impl Logs for LogBatch {
    fn is_whole(&self) -> bool {
        let named = self.params.iter().chain(&self.tags).all(|pair| !pair.key.is_empty());
        let whole = |metric: &Metric| !metric.key.is_empty() && metric.timestamp.is_some();
        given(self.run_id.as_deref()) && named && self.metrics.iter().all(whole)
    }

    fn of(args: &Args) -> Answer<Self> {
        let run_id = Some(args.run_id()?);
        let pairs = |name| -> Answer<Vec<Pair>> {
            Ok(args.pairs(name)?.into_iter().map(|(key, value)| Pair { key, value }).collect())
        };
        let (metrics, params, tags) = (args.objects("metrics")?, pairs("params")?, pairs("tags")?);
        // Before each of far too many is looked at.
        limits::batch(metrics.len(), params.len(), tags.len())?;
        let read =
            |(index, args): (usize, &Args)| Metric::of(args, |field| format!("metrics[{index}].{field}"));
        let metrics = metrics.iter().enumerate().map(read).collect::<Answer<_>>()?;
        Ok(Self { run_id, metrics, params, tags })
    }
}

pub(super) async fn log_batch(
    State(state): State<MlflowState>,
    caller: Caller,
    Read(read): Read<LogBatch>,
) -> Answer<Json<Done>> {
    let pairs = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
    let mut batch = Batch { params: pairs(read.params), tags: pairs(read.tags), ..Batch::default() };
    batch.metrics.reserve(read.metrics.len());
    for metric in read.metrics {
        metric.log(&mut batch);
    }
    let id = read.run_id.unwrap_or_default();
    ask(&caller, &id, &batch).await?;
    state.tracking.log_batch(&id, batch).await.map_err(changed)?;
    Ok(Json(Done {}))
}

/// Asks about the run, and about each logged model that something was measured of.
async fn ask(caller: &Caller, run: &str, batch: &Batch) -> Answer<()> {
    caller.run(run).await?;
    let models: BTreeSet<&str> = batch.measured.iter().map(|(context, ..)| context.model.as_str()).collect();
    for model in models.into_iter().filter(|model| !model.is_empty()) {
        caller.logged_model(model).await?;
    }
    Ok(())
}

/// A batch tells of a changed parameter in other words than a request for one does.
fn changed(error: rondo_tracking::Error) -> Refusal {
    match error {
        rondo_tracking::Error::Store(rondo_store::Error::ParameterChanged { run, key, old, new }) => {
            Refusal::invalid(format!(
                "Changing param values is not allowed. Params were already logged='[{{'key': '{key}', 'old_value': \
                 '{old}', 'new_value': '{new}'}}]' for run ID='{run}'."
            ))
        }
        error => error.into(),
    }
}

fn given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}
