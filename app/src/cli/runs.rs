//! `rondo runs`: what was done, with which result.

pub mod artifacts;
pub mod get;
mod kept;
pub mod list;
pub mod logs;
pub mod show;

use super::Session;
use super::failure::Outcome;

/// What to do with runs
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List runs, newest first
    List(list::Args),
    /// Show a run: parameters, metrics, inputs, outputs, artifacts, how it ended
    Show(show::Args),
    /// Show what a run says, also while another process has it under way
    Logs(logs::Args),
    /// List what is kept of a run: its artifacts, and the outputs of a step
    Artifacts(artifacts::Args),
    /// Get a file or folder that is kept of a run: an artifact, or an output of a step
    Get(get::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::List(args) => list::run(&args, session).await,
        Verb::Show(args) => show::run(&args, session).await,
        Verb::Logs(args) => logs::run(&args, session).await,
        Verb::Artifacts(args) => artifacts::run(&args, session).await,
        Verb::Get(args) => get::run(&args, session).await,
    }
}
