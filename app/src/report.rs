//! The loop's report: what happened, month by month, for people.
//!
//! [`gather`] reads it from the store into one plain record, [`text`] prints it on a terminal, and
//! [`html`] writes it as one page that needs nothing else: no script from elsewhere, no font, no server.

pub mod chart;
pub mod datasheet;
pub mod gather;
pub mod heat;
pub mod html;
pub mod lineage;
pub mod profile;
pub mod quality;
pub mod sweep;
pub mod tables;
pub mod text;

use rondo_core::Timestamp;
use serde::Serialize;

/// Everything the report shows.
#[derive(Debug, Clone, Serialize)]
pub struct LoopReport {
    /// The project's name.
    pub project: String,
    /// The canvas in question and answer.
    pub canvas: Vec<(String, String)>,
    /// The objectives in words.
    pub objectives: Vec<String>,
    /// The model that it is about.
    pub model: String,
    /// The endpoint.
    pub deployment: String,
    /// Performance by calendar month of event time.
    pub months: Vec<Month>,
    /// Means over the months, for loop and first model.
    pub overall: Vec<Overall>,
    /// Drift by window and column.
    pub drift: Vec<DriftCell>,
    /// The checks of what was sent, over all windows.
    pub checks: Vec<quality::CheckLine>,
    /// The alerts, in order of event time.
    pub alerts: Vec<AlertLine>,
    /// The attempts to retrain, in order of event time.
    pub attempts: Vec<Attempt>,
    /// The versions of the model.
    pub versions: Vec<VersionLine>,
    /// The dataset versions.
    pub datasets: Vec<DatasetLine>,
    /// Requests answered and failed.
    pub traffic: Traffic,
    /// The lineage picture of the version that serves now.
    pub lineage: lineage::Graph,
}

/// One calendar month.
#[derive(Debug, Clone, Serialize)]
pub struct Month {
    /// `2013-04`.
    pub month: String,
    /// Predictions.
    pub rows: u64,
    /// Of which with ground truth.
    pub labelled: u64,
    /// Share of positives among the labelled.
    pub positive_rate: Option<f64>,
    /// The versions that answered, with how many rows.
    pub versions: Vec<(u32, u64)>,
    /// Metric, the loop's value, the first model's value.
    pub metrics: Vec<MetricPair>,
}

/// One metric of a month.
#[derive(Debug, Clone, Serialize)]
pub struct MetricPair {
    /// The metric.
    pub name: String,
    /// By the predictions given when they were served.
    pub served: Option<f64>,
    /// By the first model on the same rows.
    pub first: Option<f64>,
}

/// The mean of a metric over the months.
#[derive(Debug, Clone, Serialize)]
pub struct Overall {
    /// The metric.
    pub name: String,
    /// Whether more of it is better.
    pub higher_is_better: bool,
    /// The loop.
    pub served: f64,
    /// The first model left alone.
    pub first: f64,
    /// In how many months the loop is better, of how many.
    pub better: (usize, usize),
}

/// Drift of one column in one window.
#[derive(Debug, Clone, Serialize)]
pub struct DriftCell {
    /// The window's first day.
    pub window: String,
    /// The column.
    pub column: String,
    /// The effect size.
    pub statistic: f64,
    /// At which it counts as drift.
    pub threshold: f64,
    /// Whether it does.
    pub drifted: bool,
    /// What moved, by how much.
    pub detail: String,
}

/// One alert.
#[derive(Debug, Clone, Serialize)]
pub struct AlertLine {
    /// When, in event time.
    pub at: Timestamp,
    /// Its name.
    pub name: String,
    /// What moved, by how much.
    pub message: String,
}

/// One attempt to retrain.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// When, in event time.
    pub at: Timestamp,
    /// The alert behind it.
    pub cause: String,
    /// `promoted`, `kept`, `failed`, `open` or `running`.
    pub state: String,
    /// What came of it.
    pub outcome: String,
}

/// One version of the model.
#[derive(Debug, Clone, Serialize)]
pub struct VersionLine {
    /// Its number.
    pub version: u32,
    /// The last event time it was trained on.
    pub trained_until: Option<Timestamp>,
    /// Its aliases now.
    pub aliases: Vec<String>,
    /// Its metrics at its gate.
    pub metrics: Vec<(String, f64)>,
    /// The digest of its file, short.
    pub file: String,
    /// Its run, short.
    pub run: String,
}

/// One dataset version.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetLine {
    /// The dataset.
    pub dataset: String,
    /// The version's digest, short.
    pub digest: String,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// What went over the wire.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Traffic {
    /// Predictions in the log.
    pub predictions: u64,
    /// Ground truths.
    pub truths: u64,
    /// Requests that the replay sent.
    pub requests: u64,
    /// Of which failed.
    pub failed: u64,
    /// Of all answers, milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// Of all answers, milliseconds.
    pub latency_p99_ms: Option<f64>,
}
