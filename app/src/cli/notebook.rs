//! `rondo notebook`: notebooks as they are, in a project or without one.

pub mod diff;
pub mod html;
pub mod inspect;
pub mod run;

mod given;
pub mod kernel;
mod source;
mod stream;
mod sweep;
mod target;

use super::Session;
use super::failure::Outcome;

/// What to do with a notebook
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Run a notebook with parameters and keep an executed copy; a folder as OUT makes it a sweep
    Run(Box<run::Args>),
    /// Show the parameters that a notebook takes
    Inspect(inspect::Args),
    /// Say what differs between two notebooks: parameters, metrics, sources, outputs
    Diff(diff::Args),
    /// Write a notebook as one page that needs nothing else
    Html(html::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Run(args) => Box::pin(run::run(*args, session)).await,
        Verb::Inspect(args) => inspect::run(&args, session),
        Verb::Diff(args) => diff::run(&args, session),
        Verb::Html(args) => html::run(&args, session),
    }
}
