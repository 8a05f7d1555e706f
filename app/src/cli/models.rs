//! `rondo models`: versions, aliases, promotion and rollback.

pub mod list;
pub mod promote;
pub mod rollback;
pub mod show;

use super::Session;
use super::failure::Outcome;

/// What to do with models
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List the registered models
    List(list::Args),
    /// Show a model's versions, or one version with its objectives and lineage
    Show(show::Args),
    /// Point an alias at a version, if it passes its gate
    Promote(promote::Args),
    /// Point an alias back at what it pointed to before
    Rollback(rollback::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::List(args) => list::run(&args, session).await,
        Verb::Show(args) => show::run(&args, session).await,
        Verb::Promote(args) => promote::run(args, session).await,
        Verb::Rollback(args) => rollback::run(&args, session).await,
    }
}
