//! `rondo why`: which part of a step's key has changed.

use serde_json::json;

use super::Session;
use super::failure::Outcome;

/// Say why a step would run, or would not
#[derive(clap::Args)]
pub struct Args {
    /// The step
    step: String,
}

/// Says it.
///
/// # Errors
/// When there is no such step.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    super::run::known_steps(&platform, std::slice::from_ref(&args.step))?;
    let why = platform.why(&args.step).await?;
    let mut text = why.lines.join("\n");
    text.push('\n');
    session.printer().result(&json!({ "schema": 1, "why": why, "would_run": why.would_run() }), &text);
    Ok(())
}
