//! Answering: from rows to answers, each prediction id once.

use std::time::Instant;

use rondo_core::handoff::Observation;
use rondo_core::{RunId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::deployment::live::{LiveModel, Said};
use crate::engine::Batch;
use crate::error::{Error, Result};
use crate::log::index::Known;
use crate::log::record::{Fingerprint, Record};
use crate::log::truths::MAX_ID;
use crate::log::{Prediction, PredictionLog};
use crate::request::{Request, Row};

/// One answered row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The id that the caller gave, or a new one.
    pub prediction_id: String,
    /// The score: of a binary task the probability of the positive class.
    pub score: f64,
    /// The predicted label, of a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of several classes the probability of each, in the model's order.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub probabilities: Map<String, Value>,
    /// The model.
    pub model: String,
    /// The version that answered.
    pub version: u32,
}

impl Answer {
    /// What was just scored.
    fn new(prediction: Prediction) -> Self {
        let observation = prediction.record.observation;
        Self {
            prediction_id: observation.prediction_id,
            score: observation.score,
            label: observation.label,
            probabilities: observation.probabilities,
            model: observation.model,
            version: observation.version,
        }
    }

    /// What was answered before for the same id.
    fn repeated(prediction_id: String, known: Known) -> Self {
        Self {
            prediction_id,
            score: known.score,
            label: known.label.as_ref().map(|label| label.as_ref().to_owned()),
            probabilities: known.probabilities,
            model: known.model.as_ref().to_owned(),
            version: known.version,
        }
    }
}

/// A row with its id and the fingerprint of its inputs.
#[derive(Debug, Clone)]
pub(crate) struct Identified {
    /// The id that the caller gave, or a new one.
    pub id: String,
    /// Whether it is a new one, that nobody can have asked with before.
    pub is_new: bool,
    /// What tells these inputs from others.
    pub inputs_digest: Fingerprint,
    /// When it happened, where the caller has said so.
    pub event_time: Option<Timestamp>,
    /// The features and carried fields as they were sent.
    pub inputs: Map<String, Value>,
}

/// Gives every row an id.
fn identify(rows: Vec<Row>) -> Result<Vec<Identified>> {
    rows.into_iter()
        .map(|row| {
            let is_new = row.prediction_id.is_none();
            let id = row.prediction_id.unwrap_or_else(|| RunId::random().hex());
            if id.is_empty() || id.len() > MAX_ID {
                return Err(Error::PredictionId { found: id.len(), limit: MAX_ID });
            }
            let inputs_digest = Fingerprint::of_inputs(&row.inputs);
            Ok(Identified { id, is_new, inputs_digest, event_time: row.event_time, inputs: row.inputs })
        })
        .collect()
}

/// What came of a request.
pub(crate) struct Answered {
    /// The answers, row by row.
    pub answers: Vec<Answer>,
    /// How many of them were given before.
    pub repeated: usize,
    /// The rows that were scored now: what a shadow is to score too.
    pub scored: Vec<Identified>,
}

/// Answers a request: what was answered before as it was, the rest by the live model, logged before it is
/// handed out.
pub(crate) fn answer(
    live: &LiveModel,
    log: &PredictionLog,
    request: Request,
    received: Timestamp,
    started: Instant,
) -> Result<Answered> {
    let rows = identify(request.rows)?;
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(rows.len());
    let mut open = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let known =
            if row.is_new { None } else { log.look_up(&live.deployment.name, &row.id, row.inputs_digest)? };
        if known.is_none() {
            open.push(place);
        }
        answers.push(known.map(|known| Answer::repeated(row.id.clone(), known)));
    }
    let mut is_scored = vec![false; rows.len()];
    let predictions = score(live, &request.batch, &rows, &open, received, started)?;
    let first = log.record(&predictions, live.log.durable)?;
    for ((place, prediction), known) in open.into_iter().zip(predictions).zip(first) {
        let (Some(slot), Some(is_scored)) = (answers.get_mut(place), is_scored.get_mut(place)) else {
            continue;
        };
        *is_scored = known.is_none();
        *slot = Some(match known {
            // Another request with this id, or an earlier row of this one, was faster.
            Some(known) => Answer::repeated(prediction.record.observation.prediction_id, known),
            None => Answer::new(prediction),
        });
    }
    let repeated = is_scored.iter().filter(|scored| !**scored).count();
    let scored = rows.into_iter().zip(is_scored).filter(|(_, scored)| *scored).map(|(row, _)| row).collect();
    let answers = answers.into_iter().collect::<Option<Vec<Answer>>>();
    let answers = answers.ok_or_else(|| Error::Internal { reason: "a row was not answered".to_owned() })?;
    Ok(Answered { answers, repeated, scored })
}

/// Answers a request without logging it and without remembering its ids.
///
/// # Errors
/// When the model cannot score it.
pub fn try_out(live: &LiveModel, request: Request) -> Result<Vec<Answer>> {
    let predictions = live.engine.predict(&request.batch)?;
    let answers =
        request.rows.into_iter().zip(&predictions.scores).enumerate().map(|(place, (row, score))| {
            let said = live.said(&predictions, place, *score);
            Answer {
                prediction_id: row.prediction_id.unwrap_or_default(),
                score: said.score,
                label: said.label,
                probabilities: said.probabilities,
                model: live.deployment.model.clone(),
                version: live.deployment.version,
            }
        });
    Ok(answers.collect())
}

/// Scores the rows that nobody has answered yet.
fn score(
    live: &LiveModel,
    batch: &Batch,
    rows: &[Identified],
    open: &[usize],
    received: Timestamp,
    started: Instant,
) -> Result<Vec<Prediction>> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let predictions = if open.len() == rows.len() {
        live.engine.predict(batch)?
    } else {
        live.engine.predict(&batch.select(open))?
    };
    if let Some(place) = predictions.scores.iter().position(|score| !score.is_finite()) {
        return Err(Error::NoScore { row: open.get(place).copied().unwrap_or(place) });
    }
    let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
    let chosen = open.iter().filter_map(|place| rows.get(*place));
    let scored = chosen.zip(&predictions.scores).enumerate().map(|(place, (row, score))| {
        let said = live.said(&predictions, place, *score);
        prediction(live, row, said, received, latency_ms)
    });
    Ok(scored.collect())
}

/// The record of a scored row.
pub(crate) fn prediction(
    live: &LiveModel,
    row: &Identified,
    said: Said,
    received: Timestamp,
    latency_ms: f64,
) -> Prediction {
    let observation = Observation {
        prediction_id: row.id.clone(),
        deployment: live.deployment.name.clone(),
        model: live.deployment.model.clone(),
        version: live.deployment.version,
        event_time: row.event_time.unwrap_or(received),
        received,
        inputs: Value::Object(row.inputs.clone()),
        score: said.score,
        label: said.label,
        probabilities: said.probabilities,
        latency_ms,
    };
    Prediction {
        record: Record { observation, inputs_digest: row.inputs_digest },
        keep: is_sampled(live, row),
    }
}

/// Whether a row is in the share that is logged: the same for the same id, whoever asks.
fn is_sampled(live: &LiveModel, row: &Identified) -> bool {
    let share = live.log.sample;
    share >= 1.0 || {
        let place = (Fingerprint::of(row.id.as_bytes()).0 >> 64) as u64;
        (place as f64) < share * u64::MAX as f64
    }
}
