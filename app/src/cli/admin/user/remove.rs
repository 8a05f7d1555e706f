//! `rondo admin user remove`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, account, now};
use crate::cli::failure::Outcome;

/// Remove a user, with its tokens and permissions
#[derive(clap::Args)]
pub struct Args {
    /// The user's name
    name: String,
    #[command(flatten)]
    which: Which,
}

/// Removes it.
///
/// # Errors
/// When there is none of that name, or it is the last administrator.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    account(&office.book().await?, &args.name)?;
    office.store.meta().delete_account(&args.name, office.because("user removed"), now()).await?;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "removed": args.name }),
        &format!("{} is no user any more\n", args.name),
    );
    Ok(())
}
