//! `rondo monitor report`.

use rondo_core::{Code, suggest};
use rondo_monitoring::window::WindowReport;
use serde_json::json;

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
    let windows = meta.windows(&name).await?;
    let model =
        platform.project().monitor.get(&name).map(|monitor| monitor.model.clone()).unwrap_or_default();
    let alerts = meta.alerts(&model).await?;
    let mut rows: Vec<Vec<String>> = vec![
        ["window", "rows", "version", "mean score", "drifted", "performance", "alerts"]
            .map(String::from)
            .to_vec(),
    ];
    let mut values = Vec::new();
    for window in &windows {
        let Ok(report) = serde_json::from_value::<WindowReport>(window.record.clone()) else { continue };
        let raised = alerts.iter().filter(|alert| alert.id.ends_with(&ending(&report))).count();
        rows.push(row(&report, raised));
        values.push(report);
    }
    let mut text = table(&rows);
    if !alerts.is_empty() {
        text.push_str("\nnewest alerts\n");
        for alert in alerts.iter().rev().take(10) {
            let message = alert.record.get("message").and_then(|m| m.as_str()).unwrap_or_default();
            text.push_str(&format!("  {}  {}  {message}\n", alert.event_time.day(), alert.name));
        }
    }
    let raised: Vec<&serde_json::Value> = alerts.iter().map(|alert| &alert.record).collect();
    session
        .printer()
        .result(&json!({ "schema": 1, "monitor": name, "windows": values, "alerts": raised }), &text);
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

fn ending(report: &WindowReport) -> String {
    format!("/{}/{}", report.window.start, report.window.end)
}

fn row(report: &WindowReport, raised: usize) -> Vec<String> {
    let drifted: Vec<&str> =
        report.drift.iter().filter(|drift| drift.drifted).map(|drift| drift.column.as_str()).collect();
    let versions: Vec<String> = report.versions.keys().map(|version| format!("v{version}")).collect();
    let performance = report.evaluation.as_ref().map_or_else(
        || "not yet".to_owned(),
        |evaluation| {
            let named: Vec<String> = ["roc_auc", "log_loss", "rmse"]
                .iter()
                .filter_map(|name| Some(format!("{name} {:.4}", evaluation.value(name)?)))
                .collect();
            named.join(", ")
        },
    );
    vec![
        report.window.start.day(),
        report.rows.to_string(),
        versions.join(" "),
        report.mean_score.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.4}")),
        if drifted.len() > 4 { format!("{} columns", drifted.len()) } else { drifted.join(", ") },
        performance,
        raised.to_string(),
    ]
}
