//! `rondo data`: add, check, profile and compare dataset versions.

pub mod add;
pub mod check;
pub mod datasheet;
pub mod diff;
pub mod gc;
pub mod get;
pub mod labels;
pub mod leakage;
pub mod log;
pub mod profile;
pub mod pull;
pub mod push;
pub mod remove;
pub mod sql;
pub mod status;
pub mod tag;
pub mod verify;

use super::Session;
use super::failure::Outcome;
use rondo_table::read::ReadOptions;

/// What to do with data
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Add a version: fetch, check, profile, store; refused where a check fails
    Add(add::Args),
    /// Show each dataset's latest version and whether its source has changed since
    Status(status::Args),
    /// Check a dataset version or a file against its expectations
    Check(check::Args),
    /// Profile a dataset version or a file, column by column
    Profile(profile::Args),
    /// Compare two versions: schema, rows, files, drift by column
    Diff(diff::Args),
    /// Ask datasets, versions and files in SQL
    Sql(sql::Args),
    /// Look for leakage between rows for training and for testing
    Leakage(leakage::Args),
    /// Write the datasheet of a dataset; what only people know is named as blank
    Datasheet(datasheet::Args),
    /// List a dataset's versions with who, when and why
    Log(log::Args),
    /// Show a dataset's labels: how many of each, by whom, what has none, how far annotators agree
    Labels(labels::Args),
    /// Send versions to a remote
    Push(push::Args),
    /// Fetch versions from a remote
    Pull(pull::Args),
    /// Take a dataset out of rondo.yaml and rondo.lock; its versions and its files stay
    Remove(remove::Args),
    /// Put a version's files into place, or elsewhere; files that would be lost are listed and kept
    Get(get::Args),
    /// Read every object that versions need; name what is missing or damaged and who needs it
    Verify(verify::Args),
    /// Give a version a name of your own, or list, move and remove such names
    Tag(tag::Args),
    /// Say what could be removed and what that frees; with `--apply`, remove it
    Gc(gc::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Add(args) => add::run(args, session).await,
        Verb::Status(args) => status::run(&args, session).await,
        Verb::Check(args) => check::run(&args, session).await,
        Verb::Profile(args) => profile::run(&args, session).await,
        Verb::Diff(args) => diff::run(&args, session).await,
        Verb::Sql(args) => sql::run(&args, session).await,
        Verb::Leakage(args) => leakage::run(&args, session).await,
        Verb::Datasheet(args) => Box::pin(datasheet::run(&args, session)).await,
        Verb::Log(args) => log::run(&args, session).await,
        Verb::Labels(args) => labels::run(&args, session).await,
        Verb::Push(args) => push::run(&args, session).await,
        Verb::Pull(args) => pull::run(&args, session).await,
        Verb::Remove(args) => remove::run(&args, session).await,
        Verb::Get(args) => get::run(&args, session).await,
        Verb::Verify(args) => verify::run(&args, session).await,
        Verb::Tag(args) => tag::run(&args, session).await,
        Verb::Gc(args) => gc::run(&args, session).await,
    }
}

/// The ways of reading a file that flags `--read NAME=VALUE` say.
fn reading(pairs: &[String]) -> Outcome<ReadOptions> {
    let written = ReadOptions::parse(pairs).map_err(rondo_data::Error::from)?;
    Ok(ReadOptions::default().with(&written).map_err(rondo_data::Error::from)?)
}
