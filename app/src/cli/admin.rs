//! `rondo admin`: looking after a store, also while a server uses it.

pub mod backup;
pub mod gc;
pub mod permission;
pub mod restore;
pub mod token;
pub mod user;

use std::path::PathBuf;

use rondo_core::Timestamp;
use rondo_core::journal::Because;
use rondo_core::ports::Clock;
use rondo_core::{Code, suggest};
use rondo_store::Store;
use rondo_store::meta::access::{Account, Book, Subject};

use super::Session;
use super::failure::{Failure, Outcome};
use crate::platform::WallClock;

/// What to do with a store
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Remove for good what was deleted long ago, and files that nothing names
    Gc(gc::Args),
    /// Save a store as it is now, while it goes on being used
    Backup(backup::Args),
    /// Make a store of a backup
    Restore(restore::Args),
    /// Users: who may come in
    #[command(subcommand)]
    User(user::Verb),
    /// API tokens: what a user's programs come in with
    #[command(subcommand)]
    Token(token::Verb),
    /// Permissions: what a user may on one experiment or registered model
    #[command(subcommand)]
    Permission(permission::Verb),
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
        Verb::User(verb) => user::run(verb, session).await,
        Verb::Token(verb) => token::run(verb, session).await,
        Verb::Permission(verb) => permission::run(verb, session).await,
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
    /// Opens it; none is made.
    async fn open(&self, session: &Session) -> Outcome<Store> {
        let folder = session.existing("the store", &session.store_folder(self.data.as_deref())?)?;
        Ok(Store::open(&folder).await?)
    }

    /// Opens it to say who may what there; one is made, so that there can be users before the first start.
    async fn office(&self, session: &Session) -> Outcome<Office> {
        let store = Store::open(&session.store_folder(self.data.as_deref())?).await?;
        store.meta().ensure_default_experiment(now()).await?;
        Ok(Office { store, actor: session.config().user().to_owned() })
    }
}

/// A store, and who administers it.
struct Office {
    store: Store,
    actor: String,
}

impl Office {
    /// Users, tokens and permissions.
    async fn book(&self) -> Outcome<Book> {
        Ok(self.store.meta().access_book().await?)
    }

    /// Why it is done, for the journal.
    fn because(&self, why: &str) -> Because {
        Because::new(&self.actor, why)
    }

    /// Ends.
    async fn close(self) {
        self.store.close().await;
    }

    /// What a permission or token is about, by an experiment's id or name, or a model's name.
    ///
    /// # Errors
    /// When there is none.
    async fn subject(&self, about: About) -> Outcome<Option<Subject>> {
        let meta = self.store.meta();
        match (about.experiment, about.model) {
            (None, None) => Ok(None),
            (Some(given), _) => {
                let by_id = match given.parse() {
                    Ok(id) => meta.experiment(id).await?,
                    Err(_) => None,
                };
                let found = match by_id {
                    Some(found) => Some(found),
                    None => meta.experiment_by_name(&given).await?,
                };
                let missing = || Failure::new(Code::ExperimentNotFound, format!("find experiment `{given}`"));
                Ok(Some(Subject::Experiment(found.ok_or_else(missing)?.id)))
            }
            (None, Some(name)) => {
                meta.registered_model(&name).await?;
                Ok(Some(Subject::Model(name)))
            }
        }
    }
}

/// An experiment or a model
#[derive(clap::Args)]
#[group(multiple = false)]
pub struct About {
    /// On this experiment: its id or name
    #[arg(long, value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// On this registered model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

/// A user of that name.
///
/// # Errors
/// When there is none; with the nearest name.
fn account<'b>(book: &'b Book, name: &str) -> Outcome<&'b Account> {
    if let Some(account) = book.account(name) {
        return Ok(account);
    }
    let message = format!("find user `{name}`");
    let names = book.accounts.iter().map(|account| account.name.as_str());
    Err(match suggest::nearest(name, names) {
        Some(near) => Failure::hinted(Code::UserNotFound, message, format!("did you mean `{near}`?")),
        None => Failure::hinted(Code::UserNotFound, message, "rondo admin user list"),
    })
}

/// Now, by the wall clock.
fn now() -> Timestamp {
    WallClock.now()
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
