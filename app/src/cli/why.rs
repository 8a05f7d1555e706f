//! `rondo why`: which part of a step's key has changed.

use rondo_pipeline::Why;
use serde_json::json;

use super::Session;
use super::failure::Outcome;
use super::output::table;
use super::pipeline::show::state;

/// Say why steps would run, or would not
#[derive(clap::Args)]
pub struct Args {
    /// The step, or one of its matrix: `train[seed=1]`; all of them in a table where absent
    step: Option<String>,
    /// Ask with another value of a parameter
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
}

/// Says it.
///
/// # Errors
/// When there is no such step or parameter.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    super::run::known_steps(&platform, args.step.as_slice())?;
    let params = super::run::params(&platform, &args.params)?;
    // Of a step with a matrix there are many.
    let answers = platform.why(args.step.as_deref(), params).await?;
    let text = match args.step {
        Some(_) => answers.iter().map(|why| why.lines.join("\n") + "\n").collect(),
        None => overview(&answers),
    };
    let would_run = answers.iter().any(Why::would_run);
    let first = args.step.as_ref().and_then(|_| answers.first());
    let value = json!({ "schema": 1, "why": first, "steps": answers, "would_run": would_run });
    session.printer().result(&value, &text);
    Ok(())
}

/// A line for each step.
fn overview(answers: &[Why]) -> String {
    let mut rows: Vec<Vec<String>> = vec![["step", "state", "why"].map(String::from).to_vec()];
    rows.extend(answers.iter().map(|why| vec![why.step.clone(), state(&why.forecast), why.reason.clone()]));
    table(&rows)
}
