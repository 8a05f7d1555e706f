//! Alerts: a window's findings that somebody has to know of.
//!
//! Named after the monitor, since two may watch one model: `<monitor>.drift.<column>`,
//! `<monitor>.objective.<n>`, `<monitor>.quality.<rule>` and `<monitor>.task`; of a rule that only notes
//! something nothing is raised. The id of an alert is made from its name and window, so that looking at a
//! window twice raises nothing twice.

use rondo_core::Timestamp;
use rondo_core::objective::Verdict;
use rondo_table::checks::Severity;
use serde::{Deserialize, Serialize};

use crate::quality::{Finding, Quality, one_line};
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
    /// How grave it is: what is only warned of makes no model again unless a trigger has its whole name.
    #[serde(default)]
    pub severity: Severity,
    /// Of a missed objective: its metric.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metric: Option<String>,
}

/// The alerts of a window of a monitor at a stage, in a fixed order.
pub fn alerts(monitor: &str, report: &WindowReport, stage: Stage, at: Timestamp) -> Vec<Alert> {
    let raise = |about: &str, message: String| {
        let name = format!("{monitor}.{about}");
        Alert {
            id: format!("{name}/{}/{}", report.window.start, report.window.end),
            name,
            model: report.model.clone(),
            window: report.window,
            event_time: at,
            message,
            severity: Severity::Error,
            metric: None,
        }
    };
    match stage {
        Stage::Closed => {
            let drifted = report.drift.iter().filter(|drift| drift.drifted);
            let drifted =
                drifted.map(|drift| raise(&format!("drift.{}", drift.column), drift_message(drift)));
            let broken = report.quality.iter().flat_map(broken).map(|findings| {
                let (alert, severity) = (findings.0.alert.as_str(), findings.0.result.severity);
                Alert { severity, ..raise(&format!("quality.{alert}"), quality_message(findings)) }
            });
            drifted.chain(broken).collect()
        }
        Stage::Settled => {
            let unscored = report.unscored.iter().map(|why| {
                let alert = raise("task", why.clone());
                Alert { severity: Severity::Warning, ..alert }
            });
            let missed = report.verdicts.iter().filter(|verdict| !verdict.passed).map(|verdict| {
                let mut alert = raise(&format!("objective.{}", verdict.objective), verdict_message(verdict));
                alert.metric = Some(verdict.metric.clone());
                if let Some(slice) = &verdict.slice {
                    alert.id.push_str(&format!("/{slice}"));
                }
                alert
            });
            unscored.chain(missed).collect()
        }
    }
}

/// Whether an alert of this name is one of this monitor's.
pub fn raised_by(monitor: &str, alert: &str) -> bool {
    alert.strip_prefix(monitor).is_some_and(|rest| rest.starts_with('.'))
}

/// What stands of a monitor: the alerts that the newest window raises, and the newest whose truth is in. What
/// an earlier window has raised and these have not is over. A window with too few rows ends only what it was
/// asked for: for the rest the newest that was judged counts.
pub fn standing(monitor: &str, windows: &[(WindowReport, bool)]) -> Vec<Alert> {
    let newest = |counts: &dyn Fn(&WindowReport, bool) -> bool| {
        let counted = windows.iter().filter(|(report, settled)| counts(report, *settled));
        counted.map(|(report, _)| report).max_by_key(|report| report.window)
    };
    let raised = |report: &WindowReport, stage| alerts(monitor, report, stage, report.window.end);
    let last = newest(&|_, _| true);
    let judged = newest(&|report, _| report.judged);
    let settled = newest(&|report, settled| settled && report.judged);
    let mut stands = judged.map(|report| raised(report, Stage::Closed)).unwrap_or_default();
    if let Some(last) = last.filter(|last| !last.judged) {
        let asked = last.quality.iter().flat_map(|quality| &quality.rules);
        let asked: Vec<String> =
            asked.map(|finding| format!("{monitor}.quality.{}", finding.alert)).collect();
        stands.retain(|alert| !asked.contains(&alert.name));
        stands.extend(raised(last, Stage::Closed));
    }
    stands.extend(settled.into_iter().flat_map(|report| raised(report, Stage::Settled)));
    stands
}

/// The rules that raise something, each with the number of its further slices that are broken too.
fn broken(quality: &Quality) -> Vec<(&Finding, usize)> {
    let mut found: Vec<(&Finding, usize)> = Vec::new();
    for finding in quality.failures().filter(|finding| finding.result.severity != Severity::Info) {
        match found.iter_mut().find(|(known, _)| known.alert == finding.alert) {
            Some((_, more)) => *more += 1,
            None => found.push((finding, 0)),
        }
    }
    found
}

fn quality_message((finding, more): (&Finding, usize)) -> String {
    const LONGEST: usize = 60;
    let mut text = format!("`{}` does not hold: {}", finding.result.rule, finding.result.message());
    if let Some(first) = finding.predictions.first() {
        let value: String = first.value.to_string().chars().take(LONGEST).collect();
        text.push_str(&format!(", first {value} in prediction `{}`", first.prediction));
    }
    if more > 0 {
        text.push_str(&format!("; and of {more} more of its slices"));
    }
    one_line(&text)
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
