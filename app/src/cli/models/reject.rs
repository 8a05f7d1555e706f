//! `rondo models reject`.

use serde_json::json;

use super::shelf::{self, Shelf};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::approvals::{self, Word};

/// Reject a version that waits for its approval
#[derive(clap::Args)]
pub struct Args {
    /// The version, such as `delay/3`
    version: String,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// Rejects it.
///
/// # Errors
/// When there is no such version.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let (model, version) = shelf::version(&args.version)?;
    let store = args.shelf.open(session).await?;
    let word = Word { model, version, by: &session.config().user, why: &args.why };
    let rejected = approvals::reject(&store, word, args.shelf.now()).await?;
    let text = format!("{model}/{version} is rejected: protected aliases do not go there\n");
    session.printer().result(&json!({ "schema": 1, "approval": rejected }), &text);
    Ok(())
}
