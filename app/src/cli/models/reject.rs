//! `rondo models reject`.

use serde_json::json;

use super::shelf::Shelf;
use super::word::Said;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::approvals::{self, Word};

/// Reject a version that waits for its approval
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    shelf: Shelf,
}

/// Rejects it.
///
/// # Errors
/// When there is no such version.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let word @ Word { model, version, .. } = args.said.word(session)?;
    let store = args.shelf.open(session).await?;
    let rejected = approvals::reject(&store, word, args.shelf.now()).await?;
    let text = format!("{model}/{version} is rejected: protected aliases do not go there\n");
    session.printer().result(&json!({ "schema": 1, "approval": rejected }), &text);
    Ok(())
}
