//! `rondo pipeline sweep`.

use std::path::PathBuf;

use rondo_core::Code;
use rondo_core::run::{RunKind, RunRow};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::{Error, Platform};
use crate::report::sweep::{View, page, text};

/// How many of a step's runs are looked through for a sweep.
const LOOK_BACK: i64 = 200;

/// Show the trials of a step's last sweep, the best first
#[derive(clap::Args)]
pub struct Args {
    /// The step, or a run: of a sweep, or of one of its trials
    step: String,

    /// Show all trials, however many there are
    #[arg(long)]
    all: bool,

    /// Also write a page with parallel coordinates and how the best grew
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How many trials are shown without being asked for.
pub const SHOWN: usize = 30;

/// Shows them.
///
/// # Errors
/// When there is no such step or run, it was never swept, or the page cannot be written.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let row = sweep_of(&platform, &args.step).await?;
    let (Some(sweep), step) = (&row.detail.sweep, row.step.as_deref().unwrap_or_default()) else {
        return Err(never(&args.step));
    };
    let view = View::new(row.id, step, row.state, sweep);
    if let Some(file) = &args.html {
        let file = session.path(file);
        std::fs::write(&file, page::render(&view)).map_err(Error::io("write", &file))?;
        session.printer().note(&format!("page: {}", file.display()));
    }
    let shown = text(step, sweep, if args.all { usize::MAX } else { SHOWN });
    session.printer().result(&json!({ "schema": 1, "sweep": view }), &shown);
    Ok(())
}

fn never(word: &str) -> Failure {
    Failure::hinted(Code::RunNotFound, format!("find a sweep of `{word}`"), "rondo run")
}

/// The row that a sweep's record stands on: the newest of a step, or the one of a run or above it.
async fn sweep_of(platform: &Platform, word: &str) -> Result<RunRow, Failure> {
    let meta = platform.store().meta();
    let experiment = meta.experiment_by_name(&platform.project().name).await?;
    let rows = meta.runs_of_kind(RunKind::Step, Some(word), LOOK_BACK).await?;
    let own = |row: &RunRow| {
        experiment.as_ref().is_some_and(|experiment| experiment.id == row.experiment)
            && row.detail.sweep.is_some()
    };
    // A step that the project file has no more was swept all the same.
    if let Some(row) = rows.into_iter().find(own) {
        return Ok(row);
    }
    let step = word.split('[').next().unwrap_or(word);
    if platform.project().steps.contains(step) {
        return Err(never(word));
    }
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        crate::cli::run::known_steps(platform, &[word.to_owned()])?;
    }
    let row = platform.find_run(word).await?;
    match row.parent.filter(|_| row.detail.trial.is_some()) {
        Some(parent) => Ok(meta.require_run(parent).await?),
        None => Ok(row),
    }
}
