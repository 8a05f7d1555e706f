//! `rondo why`: which part of a step's key has changed.

use serde_json::json;

use super::Session;
use super::failure::Outcome;

/// Say why a step would run, or would not
#[derive(clap::Args)]
pub struct Args {
    /// The step, or one of its matrix: `train[seed=1]`
    step: String,
}

/// Says it.
///
/// # Errors
/// When there is no such step.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    super::run::known_steps(&platform, std::slice::from_ref(&args.step))?;
    // Of a step with a matrix there are many.
    let answers = platform.why(&args.step).await?;
    let text: String = answers.iter().map(|why| why.lines.join("\n") + "\n").collect();
    let would_run = answers.iter().any(rondo_pipeline::Why::would_run);
    let value = json!({ "schema": 1, "why": answers.first(), "steps": answers, "would_run": would_run });
    session.printer().result(&value, &text);
    Ok(())
}
