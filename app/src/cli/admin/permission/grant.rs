//! `rondo admin permission grant`.

use rondo_core::access::Permission;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{About, Which, account, now};
use crate::cli::failure::Outcome;

/// Give a user a permission on an experiment or registered model
#[derive(clap::Args)]
pub struct Args {
    /// The user
    user: String,
    /// `none`, `read`, `use`, `edit` or `manage`: in place of what its role gives there
    #[arg(value_parser = super::word)]
    permission: Permission,
    #[command(flatten)]
    on: About,
    #[command(flatten)]
    which: Which,
}

/// Gives it.
///
/// # Errors
/// When there is no such user, experiment or model.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    account(&office.book().await?, &args.user)?;
    let subject = office.subject(args.on).await?.ok_or_else(super::on_nothing)?;
    let because = office.because(&format!("{} given", args.permission));
    let on = subject.to_string();
    office.store.meta().set_permission(&args.user, subject, Some(args.permission), because, now()).await?;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "user": args.user, "on": on, "permission": args.permission }),
        &format!("{} has {} on {on}\n", args.user, args.permission),
    );
    Ok(())
}
