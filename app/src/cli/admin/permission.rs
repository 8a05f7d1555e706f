//! `rondo admin permission`: what a user may on one experiment or registered model, or by default.

pub mod default;
pub mod grant;
pub mod list;
pub mod revoke;

use crate::cli::Session;
use crate::cli::failure::Outcome;

/// What to do with permissions
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Give a user a permission on an experiment or registered model
    Grant(grant::Args),
    /// Take back what a user was given on an experiment or registered model
    Revoke(revoke::Args),
    /// List what users were given
    List(list::Args),
    /// Show or set what members may on what they were given nothing for
    Default(default::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Grant(args) => grant::run(args, session).await,
        Verb::Revoke(args) => revoke::run(args, session).await,
        Verb::List(args) => list::run(args, session).await,
        Verb::Default(args) => default::run(args, session).await,
    }
}

/// There has to be something to have a permission on.
pub(super) fn on_nothing() -> crate::cli::failure::Failure {
    let message = "say on what";
    crate::cli::failure::Failure::hinted(
        rondo_core::Code::Usage,
        message,
        "add --experiment NAME or --model NAME",
    )
}

/// A permission, in capitals or not.
pub(super) fn word(text: &str) -> Result<rondo_core::access::Permission, rondo_core::access::NoWord> {
    match text.to_uppercase().as_str() {
        "NONE" => "NO_PERMISSIONS".parse(),
        text => text.parse(),
    }
}
