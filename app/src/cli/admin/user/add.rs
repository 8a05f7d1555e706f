//! `rondo admin user add`.

use rondo_core::access::Role;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, now};
use crate::cli::failure::Outcome;
use crate::http::access::keeper::{hashed, named};

/// Add a user; the password is asked for, or read from standard input
#[derive(clap::Args)]
pub struct Args {
    /// The user's name
    name: String,
    /// What it may on the whole server: `viewer` sees everything, `member` makes things of its own and has
    /// the default permission on others', `editor` adds to everything, `admin` may do everything
    #[arg(long, default_value = "member")]
    role: Role,
    /// A user without a password: it comes in with tokens only
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    which: Which,
}

/// Adds it.
///
/// # Errors
/// When there is one of that name, or the name or password is not taken.
pub async fn run(args: Args, session: &Session) -> Outcome {
    named(&args.name)?;
    let office = args.which.office(session).await?;
    let hash = match args.no_password {
        true => None,
        false => Some(hashed(&args.name, super::read_password(&args.name)?).await?),
    };
    let because = office.because(&format!("user made, {}", args.role));
    office.store.meta().create_account(&args.name, hash, args.role, because, now()).await?;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "user": args.name, "role": args.role }),
        &format!("{} may come in as {}\n", args.name, args.role),
    );
    Ok(())
}
