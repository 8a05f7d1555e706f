//! `rondo models approve`.

use serde_json::json;

use super::shelf::Shelf;
use super::word::Said;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::approvals::{self, Word};

/// Approve a version that waits for it; its promotion goes on
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    said: Said,
    /// Approve it although its gate does not pass
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// Approves it.
///
/// # Errors
/// When there is no such version, its gate does not pass, or the alias has moved since it was judged.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let word @ Word { model, version, .. } = args.said.word(session)?;
    let store = args.shelf.open(session).await?;
    let approved = approvals::approve(&store, word, args.force, args.shelf.now()).await?;
    let text = match &approved.alias {
        Some(alias) => format!("{model}/{version} is approved: {model}@{alias} is version {version} now\n"),
        None => format!("{model}/{version} is approved: rondo models promote {model} {version}\n"),
    };
    session.printer().result(&json!({ "schema": 1, "approval": approved }), &text);
    Ok(())
}
