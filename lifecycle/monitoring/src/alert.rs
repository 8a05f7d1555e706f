//! Alerts: a window's findings that somebody has to know of.
//!
//! Named `<model>.drift.<column>`, `<model>.objective.<n>` and `<model>.quality.<rule>`. The id of an
//! alert is made from its name and window, so that looking at a window twice raises nothing twice.

use rondo_core::Timestamp;
use rondo_core::objective::Verdict;
use serde::{Deserialize, Serialize};

use crate::window::{ColumnDrift, Stage, Window, WindowReport};

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same for the same finding.
    pub id: String,
    /// What it is about; triggers match it by its beginning.
    pub name: String,
    /// The model.
    pub model: String,
    /// The window it was found in.
    pub window: Window,
    /// When it was found, in event time.
    pub event_time: Timestamp,
    /// What moved, by how much, in one sentence.
    pub message: String,
    /// Of a missed objective: its metric.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metric: Option<String>,
}

/// The alerts of a window at a stage, in a fixed order.
pub fn alerts(report: &WindowReport, stage: Stage, at: Timestamp) -> Vec<Alert> {
    let raise = |name: String, message: String, metric: Option<String>| Alert {
        id: format!("{name}/{}/{}", report.window.start, report.window.end),
        name,
        model: report.model.clone(),
        window: report.window,
        event_time: at,
        message,
        metric,
    };
    match stage {
        Stage::Closed => report
            .drift
            .iter()
            .filter(|drift| drift.drifted)
            .map(|drift| {
                raise(format!("{}.drift.{}", report.model, drift.column), drift_message(drift), None)
            })
            .collect(),
        Stage::Settled => report
            .verdicts
            .iter()
            .filter(|verdict| !verdict.passed)
            .map(|verdict| {
                let name = format!("{}.objective.{}", report.model, verdict.objective);
                let mut alert = raise(name, verdict_message(verdict), Some(verdict.metric.clone()));
                if let Some(slice) = &verdict.slice {
                    alert.id.push_str(&format!("/{slice}"));
                }
                alert
            })
            .collect(),
    }
}

fn drift_message(drift: &ColumnDrift) -> String {
    format!(
        "`{}` has moved: {} {:.3} over {:.3}; {}",
        drift.column, drift.method, drift.statistic, drift.threshold, drift.detail
    )
}

fn verdict_message(verdict: &Verdict) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let slice = verdict.slice.as_ref().map_or_else(String::new, |slice| format!(" for `{slice}`"));
    format!(
        "objective `{}` is missed{slice}: {} (bound {}), by {:.4}",
        verdict.text,
        number(verdict.value),
        number(verdict.bound),
        verdict.miss
    )
}
