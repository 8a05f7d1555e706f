//! `rondo pipeline`: its steps and their state; stopping a run.

pub mod cache_key;
pub mod cancel;
pub mod show;
pub mod sweep;

use super::Session;
use super::failure::Outcome;

/// What to do with the pipeline
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Show the steps, what each waits for and whether it would run
    Show(show::Args),
    /// Stop a run that is under way, whichever process it is in
    Cancel(cancel::Args),
    /// Make a pair of keys for a shared cache
    CacheKey(cache_key::Args),
    /// Show the trials of a step's last sweep, the best first
    Sweep(sweep::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Show(args) => show::run(&args, session).await,
        Verb::Cancel(args) => cancel::run(&args, session).await,
        Verb::CacheKey(args) => cache_key::run(&args, session),
        Verb::Sweep(args) => sweep::run(&args, session).await,
    }
}
