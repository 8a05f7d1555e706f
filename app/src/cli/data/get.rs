//! `rondo data get`.

use std::path::PathBuf;

use rondo_core::Code;
use rondo_core::journal::Because;
use rondo_data::get::{Got, Request};
use rondo_data::place::size;
use serde_json::json;

use super::profile::version_of;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// Put a version's files into place, or elsewhere; files that would be lost are listed and kept
#[derive(clap::Args)]
pub struct Args {
    /// The dataset, and which version of it: `images`, `images@2`, `images@previous`
    #[arg(value_name = "NAME[@VERSION]")]
    what: String,
    /// Where to; otherwise where its source is
    #[arg(value_name = "PATH")]
    to: Option<PathBuf>,
    /// Only this file, folder or pattern in it; may be repeated
    #[arg(long, value_name = "PATH")]
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
    let (name, called) = match args.what.rsplit_once('@') {
        Some((name, called)) => (name, Some(called)),
        None => (args.what.as_str(), None),
    };
    let version = version_of(&platform, name, called).await?;
    let because = Because::new(&session.config().user, "put into place");
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
            let message = format!("get `{}`: {error}", args.what);
            Failure::hinted(Code::DataBroken, message, format!("rondo data verify {name}"))
        }
        _ => error.into(),
    })?;
    let value = json!({
        "schema": 1, "dataset": name, "version": version.digest, "dry_run": args.dry_run, "got": got,
    });
    session.printer().result(&value, &text(name, &version.digest.short(), &got, args.dry_run));
    Ok(())
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
