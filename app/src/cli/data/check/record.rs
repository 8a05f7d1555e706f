//! A check inside a project is a run: who checked what and when, how many rules failed, with the report.

use rondo_core::run::RunState;
use rondo_core::{RunId, Timestamp};
use rondo_data::check::FileReport;
use rondo_store::meta::batch::Batch;
use rondo_store::meta::metrics::Point;
use rondo_table::checks::Severity;
use rondo_tracking::Tracking;
use rondo_tracking::runs::{NewRun, RunUpdate};
use serde_json::Value;

use crate::cli::failure::Outcome;
use crate::platform::Platform;

/// The tag that says what was checked.
const WHAT: &str = "rondo.check";
/// The tag with the version of the dataset.
const VERSION: &str = "rondo.dataset";

/// Writes the run and gives its id.
///
/// # Errors
/// When the store refuses.
pub async fn record(
    platform: &Platform,
    what: &str,
    version: Option<String>,
    reports: &[FileReport],
    value: &Value,
    started: Timestamp,
) -> Outcome<RunId> {
    let meta = platform.store().meta();
    let experiment = meta.ensure_experiment(&platform.project().name, started).await?;
    let tracking = Tracking::new(platform.store().clone(), platform.clock().clone());
    let mut tags = vec![(WHAT.to_owned(), what.to_owned())];
    tags.extend(version.map(|version| (VERSION.to_owned(), version)));
    let new = NewRun {
        experiment: experiment.to_string(),
        user: platform.config().account(),
        name: Some(format!("check {what}")),
        started: Some(started.millis()),
        tags,
        adopted_by: None,
    };
    let id = tracking.create_run(new).await?.row.id;
    let count = |severity: Severity| {
        let failures = reports.iter().flat_map(|report| report.report.failures());
        failures.filter(|rule| rule.severity == severity).count()
    };
    let all: usize = reports.iter().map(|report| report.report.rules.len()).sum();
    let now = platform.clock().now();
    let metrics = [
        ("checks", all),
        ("checks_failed", count(Severity::Error)),
        ("checks_warned", count(Severity::Warning)),
    ];
    let point = |(key, count): (&str, usize)| {
        let value = u32::try_from(count).map_or(f64::MAX, f64::from);
        (key.to_owned(), Point { timestamp: now.millis(), step: 0, value })
    };
    let metrics = metrics.into_iter().map(point).collect();
    meta.log_batch(id, Batch { metrics, ..Batch::default() }).await?;
    let text = value.to_string();
    let stored = platform.store().objects().put_bytes(text.as_bytes())?;
    meta.put_artifact(&id.hex(), "checks.json", stored.digest, stored.size, now).await?;
    let passed = reports.iter().all(FileReport::passed);
    let status = Some(if passed { RunState::Finished } else { RunState::Failed });
    let update = RunUpdate { status, ended: Some(now.millis()), ..RunUpdate::default() };
    tracking.update_run(&id.hex(), update).await?;
    Ok(id)
}
