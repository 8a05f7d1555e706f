//! `rondo models delete`.

use rondo_core::journal::Because;
use serde_json::json;

use super::shelf::{self, Shelf};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::dossier;

/// Delete a version that nothing needs
///
/// Its run, its data and its files stay; its number is not used again.
#[derive(clap::Args)]
pub struct Args {
    /// The version, such as `delay/3`
    version: String,
    /// Delete it although aliases point to it; they go with it. What answers at an endpoint is not deleted
    #[arg(long)]
    force: bool,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT", default_value = "deleted by hand")]
    why: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// Deletes it.
///
/// # Errors
/// When there is no such version, an endpoint answers with it, or an alias points to it and it is not forced.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let (model, version) = shelf::version(&args.version)?;
    let store = args.shelf.open(session).await?;
    let found = dossier::find(&store, model, Some(&version.to_string())).await?;
    let in_use = |by: String| rondo_registry::Error::InUse { model: model.to_owned(), version, by };
    if let Some(endpoint) = dossier::live_at(&store, model, version).await?.first() {
        return Err(in_use(format!("endpoint `{endpoint}`, where it answers")).into());
    }
    let aliases = store.meta().model_aliases(model).await?;
    let mut pointing = aliases.iter().filter(|(_, to)| **to == found.digest);
    if let Some((alias, _)) = pointing.next().filter(|_| !args.force) {
        return Err(in_use(format!("alias `{alias}` (--force takes it away too)")).into());
    }
    let because = Because::new(session.config().user(), &args.why);
    store.meta().delete_version(model, version, because, args.shelf.now()).await?;
    let value = json!({ "schema": 1, "model": model, "version": version, "deleted": true });
    session.printer().result(&value, &format!("{model}/{version} is deleted\n"));
    Ok(())
}
