//! `rondo data get`.

use std::path::PathBuf;

use rondo_core::Code;
use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_data::get::{Got, Request, has_place};
use rondo_data::place::size;
use serde_json::{Value, json};

use super::profile::version_of;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::Platform;

/// Put a version's files into place, or elsewhere; files that would be lost are listed and kept
#[derive(clap::Args)]
pub struct Args {
    /// The dataset, and which version of it: `images@2`, `images@latest`; without a version the one that
    /// rondo.lock pins, else the latest. Without a name all datasets of the project that have a place
    #[arg(value_name = "NAME[@VERSION]")]
    what: Option<String>,
    /// Where to; otherwise where its source is
    #[arg(value_name = "PATH")]
    to: Option<PathBuf>,
    /// Only this file, folder or pattern in it; may be repeated
    #[arg(long, value_name = "PATH", requires = "what")]
    only: Vec<String>,
    /// Also over files that are in no version
    #[arg(long)]
    force: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Puts it there.
///
/// # Errors
/// When there is no such version or path in it, or files that would be lost are in the way.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    if let Some(what) = &args.what {
        let (value, text) = get(what, args, session, &platform).await?;
        session.printer().result(&value, &text);
        return Ok(());
    }
    let (mut all, mut shown, mut failed) = (Vec::new(), String::new(), Vec::new());
    for name in platform.project().data.names() {
        let intake = platform.intake(name, Because::new(session.config().user(), "put into place"))?;
        let none = match () {
            // A table that is split, what a database gave: there is nowhere to put it.
            () if !has_place(&intake, platform.root()) => Some("has no place of its own here"),
            () if platform.locked_version(name).await?.is_none()
                && platform.datasets().latest(name).await?.is_none() =>
            {
                Some("has no version yet")
            }
            () => None,
        };
        if let Some(none) = none {
            session.printer().note(&format!("note: `{name}` {none}"));
            continue;
        }
        match get(name, args, session, &platform).await {
            Ok((value, text)) => {
                all.push(value);
                shown.push_str(&text);
            }
            Err(failure) => {
                shown.push_str(&failure.heading());
                failed.push((name.to_owned(), failure));
            }
        }
    }
    let value = json!({
        "schema": 1, "datasets": all, "failed": failed.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    });
    match failed.into_iter().next() {
        Some((_, first)) => Err(first.shown(shown, value)),
        None => {
            session.printer().result(&value, &shown);
            Ok(())
        }
    }
}

/// The version that is meant, and whether because `rondo.lock` pins it.
async fn meant(platform: &Platform, name: &str, called: Option<&str>) -> Outcome<(DatasetVersion, bool)> {
    match (called, platform.locked_version(name).await?) {
        (None, Some((_, Some(version)))) => Ok((version, true)),
        (None, Some((pinned, None))) => Err(Failure::hinted(
            Code::DatasetNotFound,
            format!("find version {} of `{name}`, which rondo.lock pins, in the store", pinned.short()),
            format!("rondo data pull {name}, or for another version: rondo data get {name}@latest"),
        )),
        (called, _) => Ok((version_of(platform, name, called).await?, false)),
    }
}

/// Puts one into place.
async fn get(what: &str, args: &Args, session: &Session, platform: &Platform) -> Outcome<(Value, String)> {
    let (name, called) = match what.rsplit_once('@') {
        Some((name, called)) => (name, Some(called)),
        None => (what, None),
    };
    let (version, locked) = meant(platform, name, called).await?;
    let because = Because::new(session.config().user(), "put into place");
    let intake =
        if platform.project().data.contains(name) { Some(platform.intake(name, because)?) } else { None };
    let request = Request {
        to: args.to.as_ref().map(|to| session.path(to)),
        only: args.only.clone(),
        force: args.force,
        dry_run: args.dry_run,
    };
    let got = platform.datasets().get(&version, intake.as_ref(), platform.root(), &request).await;
    let got = got.map_err(|error| match &error {
        rondo_data::Error::InTheWay { paths, .. } => {
            let (data, text) = (json!({ "files": paths }), format!("error: {error}\n"));
            Failure::from(error).shown(text, data)
        }
        rondo_data::Error::Store(
            rondo_store::Error::ObjectNotFound(_) | rondo_store::Error::Corrupt { .. },
        ) => {
            let message = format!("get `{what}`: {error}");
            Failure::hinted(Code::DataBroken, message, format!("rondo data verify {name} --heal"))
        }
        _ => error.into(),
    })?;
    let value = json!({
        "schema": 1, "dataset": name, "version": version.digest, "locked": locked, "dry_run": args.dry_run,
        "got": got,
    });
    let mut text = text(name, &version.digest.short(), &got, args.dry_run);
    let latest = platform.datasets().latest(name).await?;
    if let Some(latest) = latest.filter(|latest| locked && latest.digest != version.digest) {
        let latest = latest.digest.short();
        text.push_str(&format!("rondo.lock pins it; the latest is {latest}: rondo data get {name}@latest\n"));
    }
    Ok((value, text))
}

fn text(name: &str, version: &str, got: &Got, dry_run: bool) -> String {
    let verb = if dry_run { "would place" } else { "placed" };
    let mut text = format!(
        "{name} {version}: {verb} {} files ({}) in `{}`, {} were there",
        got.placed,
        size(got.bytes),
        got.to.display(),
        got.kept,
    );
    let ways =
        [(got.reflinks, "reflink"), (got.hard_links, "hard link, write-protected"), (got.copies, "copy")];
    let said: Vec<String> =
        ways.iter().filter(|(count, _)| *count > 0).map(|(count, way)| format!("{count} by {way}")).collect();
    if !said.is_empty() {
        text.push_str(&format!("; {}", said.join(", ")));
    }
    text.push('\n');
    if !got.removed.is_empty() {
        let verb = if dry_run { "would remove" } else { "removed" };
        text.push_str(&format!("{verb} {} files that are not in it\n", got.removed.len()));
    }
    text
}
