//! `rondo admin permission revoke`.

use rondo_core::Code;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{About, Which, account, now};
use crate::cli::failure::{Failure, Outcome};

/// Take back what a user was given on an experiment or registered model
#[derive(clap::Args)]
pub struct Args {
    /// The user
    user: String,
    #[command(flatten)]
    on: About,
    #[command(flatten)]
    which: Which,
}

/// Takes it back.
///
/// # Errors
/// When there is no such user, experiment or model, or nothing was given.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    account(&office.book().await?, &args.user)?;
    let subject = office.subject(args.on).await?.ok_or_else(super::on_nothing)?;
    let on = subject.to_string();
    let because = office.because("permission taken back");
    let before = office.store.meta().set_permission(&args.user, subject, None, because, now()).await?;
    office.close().await;
    let Some(before) = before else {
        let message = format!("find a permission of `{}` on {on}", args.user);
        return Err(Failure::hinted(Code::PermissionNotFound, message, "rondo admin permission list"));
    };
    session.printer().result(
        &json!({ "schema": 1, "user": args.user, "on": on, "was": before }),
        &format!("{} has no {before} on {on} any more\n", args.user),
    );
    Ok(())
}
