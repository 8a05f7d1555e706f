//! `rondo runs show`.

use std::fmt::Write;

use rondo_core::run::RunRow;
use serde_json::json;

use super::kept::{self, Origin};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::Platform;

/// So many artifacts are named.
const SHOWN: usize = 20;

/// Show a run: parameters, metrics, inputs, outputs, artifacts, how it ended
#[derive(clap::Args)]
pub struct Args {
    /// The run's id, or the first characters of it
    run: String,

    /// Print the run's log instead
    #[arg(long)]
    log: bool,
}

/// Shows it.
///
/// # Errors
/// When there is no such run, or more than one begins so.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let run = platform.find_run(&args.run).await?;
    if args.log {
        let log = match run.detail.log {
            Some(digest) => platform.store().objects().read(digest)?,
            None => Vec::new(),
        };
        let text = String::from_utf8_lossy(&log).into_owned();
        session.printer().result(&json!({ "schema": 1, "run": run.id, "log": text }), &text);
        return Ok(());
    }
    let meta = platform.store().meta();
    let metrics = meta.latest_metrics(run.id).await?;
    let params = meta.run_params(run.id).await?;
    let tags = meta.run_tags(run.id).await?;
    let children = meta.children(run.id).await?;
    let mut artifacts = kept::of(&platform, &run).await?;
    artifacts.retain(|kept| kept.origin == Origin::Artifact);
    let values = metrics.iter().map(|metric| (metric.key.clone(), metric.point.value)).collect();
    let value = json!({
        "schema": 1, "run": run, "params": params, "metrics": rondo_notebook::metrics::json(&values), "tags": tags, "children": children,
        "artifacts": artifacts,
    });
    let mut text = head(&run);
    if let Some(line) = crate::platform::repro::told(&tags) {
        let _ = writeln!(text, "  repro    {line}");
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
    };
    section("parameters", params.iter().map(|(key, value)| format!("{key} = {value}")).collect());
    section(
        "metrics",
        metrics.iter().map(|metric| format!("{} = {}", metric.key, metric.point.value)).collect(),
    );
    let links = |links: &[rondo_core::run::Link]| {
        links
            .iter()
            .map(|link| format!("{:<14} {}  {}", link.name, link.digest.short(), link.reference))
            .collect()
    };
    section("inputs", links(&run.detail.inputs));
    section("outputs", links(&run.detail.outputs));
    let more = artifacts.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> =
        artifacts.iter().take(SHOWN).map(|kept| format!("{}  {} bytes", kept.path, kept.size)).collect();
    if more > 0 {
        lines.push(format!("… {more} more: rondo runs artifacts {}", run.id.short()));
    }
    section("artifacts", lines);
    section(
        "steps",
        run.detail
            .steps
            .iter()
            .map(|(step, outcome)| {
                let id = outcome.run.map_or_else(|| "–".to_owned(), |run| run.short());
                format!("{step:<14} {:<8} {id}", outcome.outcome)
            })
            .collect(),
    );
    section("children", children.iter().map(|run| format!("{}  {}", run.id.short(), run.name)).collect());
    session.printer().result(&value, &text);
    Ok(())
}

fn head(run: &RunRow) -> String {
    let mut text = format!("run {}  {}\n", run.id, run.name);
    let _ = writeln!(text, "  kind     {}", run.kind.text());
    let _ = writeln!(text, "  state    {}", run.state.status().to_lowercase());
    let _ = writeln!(text, "  started  {}", run.started);
    let _ = writeln!(text, "  by       {}", run.user);
    if let Some(ended) = run.ended {
        let _ = writeln!(text, "  ended    {ended}");
    }
    if let Some(commit) = &run.detail.code.commit {
        let dirty = if run.detail.code.dirty { " (with changes)" } else { "" };
        let _ = writeln!(text, "  commit   {commit}{dirty}");
    }
    if let Some((name, lock)) = &run.detail.environment {
        let _ = writeln!(text, "  env      {name} {}", lock.short());
    }
    if let Some(level) = &run.detail.isolation {
        let _ = writeln!(text, "  isolated {level}");
    }
    if !run.detail.refused.is_empty() {
        let _ = writeln!(text, "  refused  {}", run.detail.refused.join(", "));
    }
    if let Some(exit) = &run.detail.exit {
        if let Some(cause) = &exit.cause {
            let _ = writeln!(text, "  cause    {cause}");
        }
        for hint in &exit.hints {
            let _ = writeln!(text, "  hint     {hint}");
        }
        if let (Some(cpu), Some(memory)) = (exit.cpu_seconds, exit.peak_memory) {
            let _ = writeln!(text, "  took     {cpu:.2} CPU s, {} MB at its peak", memory / 1_000_000);
        }
    }
    text
}

impl Platform {
    /// The run whose id begins so.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn find_run(&self, prefix: &str) -> Result<RunRow, crate::platform::Error> {
        let mut found = self.store().meta().runs_by_prefix(prefix).await?;
        let fault = |message: String| crate::platform::Error::Invalid {
            code: rondo_core::Code::ValueInvalid,
            message,
        };
        match (found.pop(), found.len()) {
            (Some(run), 0) => Ok(run),
            (Some(_), more) => Err(fault(format!("`{prefix}` is the beginning of {} runs", more + 1))),
            (None, _) => Err(crate::platform::Error::NotFound {
                kind: "run",
                name: prefix.to_owned(),
                code: rondo_core::Code::RunNotFound,
                hint: Some("rondo runs list --all".to_owned()),
            }),
        }
    }
}
