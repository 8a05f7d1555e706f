//! `rondo app`: the apps of a project that is up, from another terminal.

pub mod logs;
pub mod status;
pub mod tell;

use rondo_core::{Code, suggest};

use super::Session;
use super::failure::{Failure, Outcome};
use crate::apps::control;
use crate::platform::Platform;

/// What to do with apps
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Show how the apps stand, with the addresses that open them
    Status(status::Args),
    /// Start an app that was stopped or given up
    Start(tell::Args),
    /// Stop an app until it is started again
    Stop(tell::Args),
    /// Start an app anew; the old process goes on until the new one is ready
    Restart(tell::Args),
    /// Show what an app says
    Logs(logs::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Status(args) => status::run(&args, session).await,
        Verb::Start(args) => tell::run(&args, control::Verb::Start, session).await,
        Verb::Stop(args) => tell::run(&args, control::Verb::Stop, session).await,
        Verb::Restart(args) => tell::run(&args, control::Verb::Restart, session).await,
        Verb::Logs(args) => logs::run(&args, session).await,
    }
}

/// Refuses a name that no app has.
fn known(platform: &Platform, name: &str) -> Outcome {
    let apps = &platform.project().apps;
    if apps.contains(name) {
        return Ok(());
    }
    let message = format!("find app `{name}`");
    Err(match suggest::nearest(name, apps.names()) {
        Some(near) => Failure::hinted(Code::AppNotFound, message, format!("did you mean `{near}`?")),
        None if apps.is_empty() => {
            Failure::hinted(Code::AppNotFound, message, "declare it under `apps:` in rondo.yaml")
        }
        None => {
            let names: Vec<&str> = apps.names().collect();
            Failure::hinted(Code::AppNotFound, message, format!("the apps are {}", names.join(", ")))
        }
    })
}

/// That no process has the apps.
fn down(what: &str) -> Failure {
    Failure::hinted(Code::AppUnavailable, format!("{what}: the project is not up"), "rondo up")
}
