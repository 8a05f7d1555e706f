//! `rondo runs list`.

use rondo_core::run::{RunKind, RunRow};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List runs, newest first
#[derive(clap::Args)]
pub struct Args {
    /// Only the runs of this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,

    /// Also steps and the runs that their code started, not only whole pipelines
    #[arg(long, conflicts_with = "step")]
    all: bool,

    /// How many
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: u32,
}

/// Lists them.
///
/// # Errors
/// When there is no project or its store cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let meta = platform.store().meta();
    let limit = i64::from(args.limit);
    let runs = if args.all {
        let experiment = meta.ensure_experiment(&platform.project().name, platform.clock().now()).await?;
        meta.runs(experiment, limit).await?
    } else {
        let kind = if args.step.is_some() { RunKind::Step } else { RunKind::Pipeline };
        meta.runs_of_kind(kind, args.step.as_deref(), limit).await?
    };
    let mut rows: Vec<Vec<String>> =
        vec![["run", "kind", "name", "state", "started", "seconds", "by"].map(String::from).to_vec()];
    rows.extend(runs.iter().map(row));
    let value = json!({ "schema": 1, "runs": runs });
    session.printer().result(&value, &table(&rows));
    Ok(())
}

fn row(run: &RunRow) -> Vec<String> {
    let seconds = run.ended.map(|ended| format!("{:.1}", (ended - run.started).millis() as f64 / 1000.0));
    vec![
        run.id.short(),
        run.kind.text().to_owned(),
        run.name.clone(),
        run.state.status().to_lowercase(),
        run.started.rfc3339(),
        seconds.unwrap_or_else(|| "–".to_owned()),
        run.detail.started_by.clone(),
    ]
}
