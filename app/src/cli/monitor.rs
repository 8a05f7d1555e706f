//! `rondo monitor`: windows, drift, performance and alerts of an endpoint.

pub mod check;
pub mod predictions;
pub mod report;

use super::Session;
use super::failure::Outcome;

/// What to do with monitors
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Show what each window has found, and the alerts
    Report(report::Args),
    /// Check what was sent with predictions, by the monitor's checks or a suite
    Check(check::Args),
    /// List the newest predictions of an endpoint
    Predictions(predictions::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Report(args) => report::run(&args, session).await,
        Verb::Check(args) => check::run(&args, session).await,
        Verb::Predictions(args) => predictions::run(&args, session).await,
    }
}
