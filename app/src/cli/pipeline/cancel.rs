//! `rondo pipeline cancel`.

use std::time::{Duration, Instant};

use rondo_core::Code;
use rondo_core::run::{RunKind, RunRow};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// How long a run may take to stop: its steps have five seconds before they are killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// Stop a run that is under way, whichever process it is in
#[derive(clap::Args)]
pub struct Args {
    /// The run's id, or the first characters of it; of a step's run, the pipeline run above it stops
    run: String,
}

/// Stops it, and waits until it has stopped.
///
/// # Errors
/// When there is no such run, it has ended, or no process of this machine has it under way.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let meta = platform.store().meta();
    let mut run = platform.find_run(&args.run).await?;
    while let Some(parent) = run.parent.filter(|_| run.kind != RunKind::Pipeline) {
        run = meta.require_run(parent).await?;
    }
    if run.kind != RunKind::Pipeline {
        let message = format!("cancel run {}: it is a client's own and no pipeline run", run.id.short());
        return Err(Failure::new(Code::ValueInvalid, message));
    }
    if !run.state.ended() && !platform.cancel(run.id)? {
        // Its process is gone: what it left is closed.
        platform.recover().await?;
        run = meta.require_run(run.id).await?;
        if !run.state.ended() {
            let message =
                format!("cancel run {}: no process of this machine has it under way", run.id.short());
            return Err(Failure::new(Code::RunUnreachable, message));
        }
        return told(session, &run, "its process was gone: it is closed");
    }
    if run.state.ended() {
        return told(session, &run, "it had ended already");
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
        let now = meta.require_run(run.id).await?;
        if now.state.ended() {
            return told(session, &now, "it has stopped");
        }
    }
    let message = format!("cancel run {}: it was told and has not stopped yet", run.id.short());
    Err(Failure::new(Code::RunUnreachable, message))
}

fn told(session: &Session, run: &RunRow, what: &str) -> Outcome {
    let state = run.state.status().to_lowercase();
    let text = format!("run {} ({state}): {what}\n", run.id.short());
    session.printer().result(&json!({ "schema": 1, "run": run.id, "state": run.state, "note": what }), &text);
    Ok(())
}
