//! Windows: which stretches of event time are due, and what was found in each.
//!
//! A window `[start, end)` is looked at twice: when the watermark has passed its end (drift, quality,
//! latency), and again when ground truth that may still come for it has had its time (performance). Only
//! truths known by then count, so that looking later gives the same answer.

use std::collections::BTreeMap;

use rondo_core::evaluation::Evaluation;
use rondo_core::objective::Verdict;
use rondo_core::{Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::quality::Quality;

/// A stretch of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Inclusive.
    pub start: Timestamp,
    /// Exclusive.
    pub end: Timestamp,
}

/// What a window is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Its traffic is complete.
    Closed,
    /// Its ground truth is as complete as it will be.
    Settled,
}

/// A window that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it became due, in event time: the moment up to which truth counts.
    pub at: Timestamp,
    /// The window.
    pub window: Window,
    /// For what.
    pub stage: Stage,
}

/// What was found in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    /// The window.
    pub window: Window,
    /// The model.
    pub model: String,
    /// Predictions.
    pub rows: u64,
    /// Whether they were enough to be judged: with too few only their number is asked for.
    #[serde(default = "enough")]
    pub judged: bool,
    /// The versions that answered, with how many rows.
    pub versions: BTreeMap<u32, u64>,
    /// The version whose training data it is compared with: the one that answered most.
    pub reference: Option<u32>,
    /// The mean score.
    pub mean_score: Option<f64>,
    /// Drift by column; the prediction's under the name [`crate::reference::PREDICTION`].
    pub drift: Vec<ColumnDrift>,
    /// What the monitor's checks say of the inputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quality: Option<Quality>,
    /// Slowest of a hundred answers, in milliseconds.
    pub latency_p99_ms: Option<f64>,
    /// Performance on the rows with ground truth, once the window is settled.
    pub evaluation: Option<Evaluation>,
    /// Why there is none although the window is settled: its answers are none of the model's task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unscored: Option<String>,
    /// What the objectives say of it.
    pub verdicts: Vec<Verdict>,
}

const fn enough() -> bool {
    true
}

/// JSON has no infinity: older records have nothing in its place.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::MAX))
}

/// Drift of one column between reference and window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// How it was measured.
    pub method: String,
    /// The effect size.
    #[serde(deserialize_with = "number")]
    pub statistic: f64,
    /// At which it counts as drift.
    pub threshold: f64,
    /// Whether it does.
    pub drifted: bool,
    /// The p-value of the test that goes with it, where there is one.
    pub p_value: Option<f64>,
    /// What moved, by how much.
    pub detail: String,
}

/// The windows that are due at a watermark, in the order in which they became due.
///
/// `first` is the event time of the first observation; windows lie on whole multiples of `length` since
/// the epoch shifted by `origin`. `done` says which (window, stage) pairs have been looked at.
pub fn due(
    first: Timestamp,
    watermark: Timestamp,
    length: Span,
    origin: Timestamp,
    max_delay: Option<Span>,
    done: impl Fn(Window, Stage) -> bool,
) -> Vec<Due> {
    if length.millis() <= 0 || first > watermark {
        return Vec::new();
    }
    let offset = (first - origin).millis().div_euclid(length.millis());
    let mut start = origin + Span(offset.saturating_mul(length.millis()));
    let mut all = Vec::new();
    while start + length <= watermark {
        let window = Window { start, end: start + length };
        if !done(window, Stage::Closed) {
            all.push(Due { at: window.end, window, stage: Stage::Closed });
        }
        let settled = max_delay.map(|delay| window.end + delay).filter(|at| *at <= watermark);
        if let Some(at) = settled.filter(|_| !done(window, Stage::Settled)) {
            all.push(Due { at, window, stage: Stage::Settled });
        }
        start = window.end;
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp(0) + Span::days(day)
    }

    #[test]
    fn older_records_of_windows_are_read() {
        let record = serde_json::json!({
            "window": { "start": at(0), "end": at(7) }, "model": "delay", "rows": 2, "versions": {},
            "reference": 1, "mean_score": 0.5, "latency_p99_ms": null, "evaluation": null, "verdicts": [],
            "drift": [{
                "column": "a", "method": "wasserstein", "statistic": null, "threshold": 0.1, "drifted": true,
                "p_value": null, "detail": "",
            }],
        });
        let report: WindowReport = serde_json::from_value(record).unwrap();
        assert_eq!((report.judged, report.drift[0].statistic), (true, f64::MAX));
    }

    #[test]
    fn a_window_is_due_at_its_end_and_again_when_its_truth_has_come() {
        let list = due(at(3), at(20), Span::days(7), at(0), Some(Span::days(2)), |_, _| false);
        let times: Vec<(i64, Stage)> =
            list.iter().map(|due| ((due.at - at(0)).millis() / 86_400_000, due.stage)).collect();
        assert_eq!(
            times,
            [(7, Stage::Closed), (9, Stage::Settled), (14, Stage::Closed), (16, Stage::Settled)]
        );
    }

    #[test]
    fn what_was_looked_at_is_not_due_again() {
        let list = due(at(3), at(20), Span::days(7), at(0), None, |window, _| window.start < at(7));
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].window, Window { start: at(7), end: at(14) });
    }

    #[test]
    fn without_traffic_nothing_is_due() {
        assert!(due(at(30), at(20), Span::days(7), at(0), None, |_, _| false).is_empty());
        assert!(due(at(3), at(20), Span(0), at(0), None, |_, _| false).is_empty());
    }
}
