//! `rondo admin token revoke`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, now};
use crate::cli::failure::Outcome;

/// End a token
#[derive(clap::Args)]
pub struct Args {
    /// What it is called, as `rondo admin token list` shows it
    id: String,
    #[command(flatten)]
    which: Which,
}

/// Ends it.
///
/// # Errors
/// When there is none.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    office.store.meta().delete_token(&args.id, office.because("token revoked"), now()).await?;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "revoked": args.id }),
        &format!("token {} opens nothing now\n", args.id),
    );
    Ok(())
}
