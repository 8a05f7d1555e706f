//! `rondo admin`: looking after a store, also while a server uses it.

pub mod backup;
pub mod gc;
pub mod restore;

use std::path::PathBuf;

use rondo_store::Store;

use super::Session;
use super::failure::Outcome;

/// What to do with a store
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Remove for good what was deleted long ago, and files that nothing names
    Gc(gc::Args),
    /// Save a store as it is now, while it goes on being used
    Backup(backup::Args),
    /// Make a store of a backup
    Restore(restore::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Gc(args) => gc::run(&args, session).await,
        Verb::Backup(args) => backup::run(&args, session).await,
        Verb::Restore(args) => restore::run(&args, session).await,
    }
}

/// Which store.
#[derive(clap::Args)]
pub struct Which {
    /// The folder of the store; without it the project's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Which {
    fn folder(&self, session: &Session) -> PathBuf {
        let own = || session.project_root().unwrap_or_else(|| session.here()).join(".rondo");
        self.data.as_deref().map_or_else(own, |data| session.path(data))
    }

    /// Opens it; none is made.
    async fn open(&self, session: &Session) -> Outcome<Store> {
        let folder = session.existing("the store", &self.folder(session))?;
        Ok(Store::open(&folder).await?)
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
