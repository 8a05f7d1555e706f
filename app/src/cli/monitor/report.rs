//! `rondo monitor report`.

use std::fmt::Write;

use rondo_core::{Code, suggest};
use rondo_monitoring::alert::{raised_by, standing};
use rondo_monitoring::quality::Quality;
use rondo_monitoring::window::WindowReport;
use rondo_table::checks::Severity;
use serde_json::json;

use super::check::details;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;
use crate::platform::Platform;

/// Show what each window has found, and the alerts
#[derive(clap::Args)]
pub struct Args {
    /// The monitor; the only one where there is one
    monitor: Option<String>,
}

/// Shows it.
///
/// # Errors
/// When there is no such monitor.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let name = pick(&platform, args.monitor.as_deref())?;
    let meta = platform.store().meta();
    let windows = platform.window_reports(&name).await?;
    let model =
        platform.project().monitor.get(&name).map(|monitor| monitor.model.clone()).unwrap_or_default();
    let mut alerts = meta.alerts(&model).await?;
    alerts.retain(|alert| raised_by(&name, &alert.name));
    let checked = windows.iter().any(|(report, _)| report.quality.is_some());
    let mut head = vec!["window", "rows", "version", "mean score", "drifted", "performance", "alerts"];
    if checked {
        head.insert(5, "checks");
    }
    let mut rows: Vec<Vec<String>> = vec![head.into_iter().map(String::from).collect()];
    for (report, _) in &windows {
        let raised = alerts.iter().filter(|alert| alert.id.contains(&ending(report))).count();
        let mut cells = row(report, raised);
        if checked {
            cells.insert(5, report.quality.as_ref().map_or_else(|| "–".to_owned(), Quality::verdict));
        }
        rows.push(cells);
    }
    let mut text = table(&rows);
    if let Some(quality) = windows.last().and_then(|(report, _)| report.quality.as_ref()) {
        text.push_str(&details(quality));
    }
    let stands = standing(&name, &windows);
    if !stands.is_empty() {
        text.push_str("\nwhat stands\n");
        for alert in &stands {
            let _ = writeln!(text, "  {}  {}  {}", mark(alert.severity), alert.name, alert.message);
        }
    }
    if !alerts.is_empty() {
        text.push_str("\nnewest alerts\n");
        for alert in alerts.iter().rev().take(10) {
            let message = alert.record.get("message").and_then(|m| m.as_str()).unwrap_or_default();
            let severity = alert.record.get("severity").and_then(|severity| severity.as_str());
            let only = if severity == Some("warning") { "warning: " } else { "" };
            let _ = writeln!(text, "  {}  {}  {only}{message}", alert.event_time.day(), alert.name);
        }
    }
    let raised: Vec<&serde_json::Value> = alerts.iter().map(|alert| &alert.record).collect();
    let values: Vec<&WindowReport> = windows.iter().map(|(report, _)| report).collect();
    let value =
        json!({ "schema": 1, "monitor": name, "windows": values, "alerts": raised, "standing": stands });
    session.printer().result(&value, &text);
    Ok(())
}

/// The monitor that is meant.
///
/// # Errors
/// When there is no such monitor, or none is named and there is not exactly one.
pub fn pick(platform: &Platform, named: Option<&str>) -> Outcome<String> {
    let monitors = &platform.project().monitor;
    let names: Vec<&str> = monitors.names().collect();
    match (named, names.as_slice()) {
        (Some(name), _) if monitors.contains(name) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (Some(name), _) => {
            let near = suggest::nearest(name, names.iter().copied());
            let hint = near.map_or_else(
                || "declare it under `monitor:` in rondo.yaml".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            Err(Failure::hinted(Code::DeploymentNotFound, format!("find monitor `{name}`"), hint))
        }
        (None, _) => Err(Failure::hinted(
            Code::Usage,
            format!("choose among {} monitors", names.len()),
            format!("name one of: {}", names.join(", ")),
        )),
    }
}

const fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "alert  ",
        Severity::Warning | Severity::Info => "warning",
    }
}

fn ending(report: &WindowReport) -> String {
    format!("/{}/{}", report.window.start, report.window.end)
}

fn row(report: &WindowReport, raised: usize) -> Vec<String> {
    let drifted: Vec<&str> =
        report.drift.iter().filter(|drift| drift.drifted).map(|drift| drift.column.as_str()).collect();
    let versions: Vec<String> = report.versions.keys().map(|version| format!("v{version}")).collect();
    vec![
        report.window.start.day(),
        report.rows.to_string(),
        versions.join(" "),
        report.mean_score.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.4}")),
        if drifted.len() > 4 { format!("{} columns", drifted.len()) } else { drifted.join(", ") },
        performance(report),
        raised.to_string(),
    ]
}

/// The metrics that are shown of a window, as far as its task has them.
const SHOWN: [&str; 4] = ["roc_auc", "f1_macro", "log_loss", "rmse"];

fn performance(report: &WindowReport) -> String {
    let Some(evaluation) = &report.evaluation else {
        return if report.unscored.is_some() { "not scored" } else { "not yet" }.to_owned();
    };
    let value = |name: &&str| Some(format!("{name} {:.4}", evaluation.value(name)?));
    SHOWN.iter().filter_map(value).collect::<Vec<_>>().join(", ")
}
