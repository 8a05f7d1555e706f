//! `rondo models`: versions, aliases, promotion, approval and rollback.

pub mod approve;
pub mod delete;
pub mod list;
pub mod log;
pub mod promote;
pub mod protect;
pub mod reject;
pub mod rollback;
mod shelf;
pub mod show;
mod word;

use super::Session;
use super::failure::Outcome;

/// What to do with models
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List the registered models
    List(list::Args),
    /// Show a model's versions, or all that is known of one version
    Show(show::Args),
    /// Show a model's journal: who moved what, when and why
    Log(log::Args),
    /// Point an alias at a version, if it passes its gate
    Promote(promote::Args),
    /// Approve a version that waits for it; its promotion goes on
    Approve(approve::Args),
    /// Reject a version that waits for its approval
    Reject(reject::Args),
    /// Point an alias back at what it pointed to before
    Rollback(rollback::Args),
    /// Let clients move an alias only to versions that may serve
    Protect(protect::Args),
    /// Delete a version that nothing needs
    Delete(delete::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::List(args) => list::run(&args, session).await,
        Verb::Show(args) => show::run(&args, session).await,
        Verb::Log(args) => log::run(&args, session).await,
        Verb::Promote(args) => promote::run(args, session).await,
        Verb::Approve(args) => approve::run(&args, session).await,
        Verb::Reject(args) => reject::run(&args, session).await,
        Verb::Rollback(args) => rollback::run(&args, session).await,
        Verb::Protect(args) => protect::run(&args, session).await,
        Verb::Delete(args) => delete::run(&args, session).await,
    }
}
