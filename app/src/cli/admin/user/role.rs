//! `rondo admin user role`.

use rondo_core::access::Role;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, account, now};
use crate::cli::failure::Outcome;

/// Set a user's role
#[derive(clap::Args)]
pub struct Args {
    /// The user's name
    name: String,
    /// `viewer`, `member`, `editor` or `admin`
    role: Role,
    #[command(flatten)]
    which: Which,
}

/// Sets it.
///
/// # Errors
/// When there is no such user, or it is the last administrator.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    account(&office.book().await?, &args.name)?;
    let because = office.because(&format!("role set to {}", args.role));
    office.store.meta().set_role(&args.name, args.role, because, now()).await?;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "user": args.name, "role": args.role }),
        &format!("{} is {} now\n", args.name, args.role),
    );
    Ok(())
}
