//! `rondo pipeline show`, and `rondo run --dry-run`.

use rondo_pipeline::RunRequest;
use rondo_pipeline::request::Forecast;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::platform::Platform;

/// Show the steps, what each waits for and whether it would run
#[derive(clap::Args)]
pub struct Args {}

/// Shows them.
///
/// # Errors
/// When the pipeline cannot be planned.
pub async fn run(_: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    planned(&platform, &RunRequest::default(), session).await
}

/// Shows what a request would do.
///
/// # Errors
/// When it cannot be planned.
pub async fn planned(platform: &Platform, request: &RunRequest, session: &Session) -> Outcome {
    let plan = platform.plan(request).await?;
    let mut rows: Vec<Vec<String>> = vec![["step", "after", "state", "why"].map(String::from).to_vec()];
    for step in &plan.steps {
        let state = state(&step.forecast);
        rows.push(vec![step.name.clone(), step.needs.join(", "), state, step.reason.clone()]);
    }
    session.printer().result(&json!({ "schema": 1, "plan": plan }), &table(&rows));
    Ok(())
}

/// What would become of a step, in a word or two.
pub fn state(forecast: &Forecast) -> String {
    match forecast {
        Forecast::Runs => "would run".to_owned(),
        Forecast::Cached(run) => format!("cached {}", run.short()),
        Forecast::Waits => "waits".to_owned(),
        Forecast::Kept(run) => format!("kept {}", run.short()),
        Forecast::Skipped => "skipped".to_owned(),
    }
}
