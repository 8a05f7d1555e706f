//! `rondo admin token`: what a user's programs come in with, as `MLFLOW_TRACKING_TOKEN`.

pub mod add;
pub mod list;
pub mod revoke;

use crate::cli::Session;
use crate::cli::failure::Outcome;

/// What to do with tokens
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Make a token; it is shown this once
    Add(add::Args),
    /// List the tokens, by what they are called
    List(list::Args),
    /// End a token
    Revoke(revoke::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Add(args) => add::run(args, session).await,
        Verb::List(args) => list::run(args, session).await,
        Verb::Revoke(args) => revoke::run(args, session).await,
    }
}
