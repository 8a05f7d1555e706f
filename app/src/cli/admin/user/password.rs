//! `rondo admin user password`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, account, now};
use crate::cli::failure::Outcome;
use crate::http::access::keeper::hashed;

/// Set a user's password; it is asked for, or read from standard input
#[derive(clap::Args)]
pub struct Args {
    /// The user's name
    name: String,
    #[command(flatten)]
    which: Which,
}

/// Sets it.
///
/// # Errors
/// When there is no such user, or the password is not taken.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    account(&office.book().await?, &args.name)?;
    let hash = hashed(&args.name, super::read_password(&args.name)?).await?;
    office.store.meta().set_password(&args.name, hash, office.because("password set"), now()).await?;
    office.close().await;
    session
        .printer()
        .result(&json!({ "schema": 1, "user": args.name }), &format!("{} has a new password\n", args.name));
    Ok(())
}
