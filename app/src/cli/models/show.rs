//! `rondo models show`.

use std::fmt::Write;

use rondo_core::handoff::ModelVersion;
use rondo_core::{Code, reference};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;

/// Show a model's versions, or one version with its objectives and lineage
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    /// A version's number, or an alias such as `@champion`
    version: Option<String>,
}

/// Shows it.
///
/// # Errors
/// When there is no such model or version.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    if let Some(wanted) = &args.version {
        let version = platform.find_version(&args.model, wanted).await?;
        session.printer().result(&json!({ "schema": 1, "version": version }), &page(&version));
        return Ok(());
    }
    let meta = platform.store().meta();
    let versions = meta.model_versions(&args.model).await?;
    if versions.is_empty() {
        return Err(Failure::hinted(
            Code::ModelNotFound,
            format!("find model `{}`", args.model),
            "rondo models list",
        ));
    }
    let prefix = reference::alias(&args.model, "");
    let mut aliases: Vec<(String, u32)> = Vec::new();
    for (name, _) in meta.refs(&prefix).await? {
        let alias = name.trim_start_matches(&prefix).to_owned();
        if let Some((_, version)) = meta.aliased_version(&args.model, &alias).await? {
            aliases.push((alias, version.version));
        }
    }
    let mut rows: Vec<Vec<String>> =
        vec![["version", "alias", "created", "objectives", "metrics", "run"].map(String::from).to_vec()];
    for version in &versions {
        let named: Vec<&str> = aliases
            .iter()
            .filter(|(_, number)| *number == version.version)
            .map(|(alias, _)| alias.as_str())
            .collect();
        let missed = version.verdicts.iter().filter(|verdict| !verdict.passed).count();
        let metrics: Vec<String> = version
            .evaluation
            .metrics
            .iter()
            .take(3)
            .filter_map(|metric| Some(format!("{} {:.4}", metric.name, metric.value?)))
            .collect();
        rows.push(vec![
            version.version.to_string(),
            named.join(", "),
            version.created.rfc3339(),
            if missed == 0 { "hold".to_owned() } else { format!("{missed} missed") },
            metrics.join(", "),
            version.run.short(),
        ]);
    }
    let aliases: serde_json::Map<String, serde_json::Value> =
        aliases.into_iter().map(|(alias, version)| (alias, json!(version))).collect();
    let value = json!({ "schema": 1, "model": args.model, "aliases": aliases, "versions": versions });
    session.printer().result(&value, &table(&rows));
    Ok(())
}

fn page(version: &ModelVersion) -> String {
    let mut text = format!("model {} version {}\n", version.model, version.version);
    let _ = writeln!(text, "  file           {}", version.file.short());
    let _ = writeln!(text, "  created        {}", version.created);
    let _ = writeln!(text, "  run            {}", version.run);
    if let Some(until) = version.trained_until {
        let _ = writeln!(text, "  trained until  {until}");
    }
    if let Some(commit) = &version.lineage.code.commit {
        let _ = writeln!(text, "  commit         {commit}");
    }
    for dataset in &version.lineage.datasets {
        let _ = writeln!(text, "  data           {} {}", dataset.reference, dataset.digest.short());
    }
    let _ = writeln!(text, "\nobjectives at its gate");
    for verdict in &version.verdicts {
        let mark = if verdict.passed { "holds" } else { "missed" };
        let slice = verdict.slice.as_ref().map_or_else(String::new, |slice| format!(" [{slice}]"));
        let value = verdict.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let note = verdict.note.as_ref().map_or_else(String::new, |note| format!("  ({note})"));
        let _ = writeln!(text, "  {mark:<7} {}{slice}: {value}{note}", verdict.text);
    }
    let _ = writeln!(text, "\nmetrics on {} rows", version.evaluation.rows);
    for metric in &version.evaluation.metrics {
        let value = metric.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let interval = metric
            .low
            .zip(metric.high)
            .map_or_else(String::new, |(low, high)| format!("  95 % interval {low:.4} to {high:.4}"));
        let _ = writeln!(text, "  {:<34} {value}{interval}", metric.name);
    }
    text
}
