//! `rondo app start`, `stop` and `restart`.

use std::time::{Duration, Instant};

use rondo_core::Code;
use serde_json::json;

use crate::apps::control::{self, Verb};
use crate::apps::folder;
use crate::apps::status::{self, State, Status};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// How often it is looked whether it was done.
const LOOK: Duration = Duration::from_millis(100);

/// Which app
#[derive(clap::Args)]
pub struct Args {
    /// Its name
    name: String,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// How many seconds to wait
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

/// Tells the process that has the app, and waits until it is done.
///
/// # Errors
/// When there is no such app, the project is not up, or the app does not do it in time.
pub async fn run(args: &Args, verb: Verb, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    super::known(&platform, &args.name)?;
    let what = format!("{} app `{}`", verb.word(), args.name);
    let folder = folder(&platform);
    let look = || -> Outcome<Option<Status>> {
        let told = status::read(&folder)?;
        Ok(told.and_then(|told| told.apps.into_iter().find(|app| app.name == args.name)))
    };
    let Some(before) = look()? else { return Err(super::down(&what)) };
    if !control::ask(&folder, &args.name, verb)? {
        return Err(super::down(&what));
    }
    let (began, mut now) = (Instant::now(), before.clone());
    while !args.no_wait && !is_done(verb, &before, &now) {
        let no_good = now.error.is_some() && now.error != before.error && verb == Verb::Restart;
        let given_up = now.state == State::Failed && verb != Verb::Stop && now.since != before.since;
        if began.elapsed() > Duration::from_secs(args.timeout) || no_good || given_up {
            let why = now.error.unwrap_or_else(|| format!("it {}", now.state.said()));
            let hint = format!("rondo app logs {}", args.name);
            return Err(Failure::hinted(Code::AppUnavailable, format!("{what}: {why}"), hint));
        }
        tokio::time::sleep(LOOK).await;
        now = look()?.ok_or_else(|| super::down(&what))?;
    }
    let text = format!("app {}: {}\n", args.name, if args.no_wait { "told" } else { now.state.text() });
    session.printer().result(&json!({ "schema": 1, "app": now }), &text);
    Ok(())
}

fn is_done(verb: Verb, before: &Status, now: &Status) -> bool {
    match verb {
        Verb::Start => now.state == State::Running,
        Verb::Stop => now.state == State::Stopped,
        Verb::Restart => now.state == State::Running && now.since != before.since,
    }
}
