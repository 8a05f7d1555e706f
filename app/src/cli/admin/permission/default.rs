//! `rondo admin permission default`.

use rondo_core::access::Permission;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, now};
use crate::cli::failure::Outcome;

/// Show or set what members may on what they were given nothing for
#[derive(clap::Args)]
pub struct Args {
    /// `none`, `read`, `use`, `edit` or `manage`
    #[arg(value_parser = super::word)]
    permission: Option<Permission>,
    #[command(flatten)]
    which: Which,
}

/// Shows or sets it.
///
/// # Errors
/// When the store refuses.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    if let Some(permission) = args.permission {
        let because = office.because(&format!("{permission} by default"));
        office.store.meta().set_default_permission(permission, because, now()).await?;
    }
    let default = office.book().await?.default;
    office.close().await;
    session.printer().result(
        &json!({ "schema": 1, "default": default }),
        &format!("members have {default} on what they were given nothing for\n"),
    );
    Ok(())
}
