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
        rows.push(vec![step.name.clone(), after(&step.needs), state, step.reason.clone()]);
    }
    session.printer().result(&json!({ "schema": 1, "plan": plan }), &table(&rows));
    Ok(())
}

/// What a step waits for: of a matrix how many of its combinations, which are rows of their own.
fn after(needs: &[String]) -> String {
    let step = |need: &str| need.split('[').next().unwrap_or(need).to_owned();
    let mut steps: Vec<(String, Vec<&str>)> = Vec::new();
    for need in needs {
        match steps.iter_mut().find(|(known, _)| *known == step(need)) {
            Some((_, combinations)) => combinations.push(need),
            None => steps.push((step(need), vec![need])),
        }
    }
    let told = steps.iter().map(|(step, combinations)| match combinations.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("{step} × {}", many.len()),
    });
    told.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_combinations_of_a_matrix_are_counted_where_a_step_waits_for_many() {
        let needs = ["prepare", "fit[depth=1]", "fit[depth=2]", "fit[depth=\"[\"]", "test[depth=1]"];
        assert_eq!(after(&needs.map(String::from)), "prepare, fit × 3, test[depth=1]");
        assert_eq!(after(&[]), "");
    }
}
