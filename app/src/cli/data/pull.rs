//! `rondo data pull`.

use serde_json::json;

use super::tag::{agreed, tags};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;

use rondo_data::place::size as bytes;

/// Fetch dataset versions from a remote: those that rondo.lock pins, else the newest
#[derive(clap::Args)]
pub struct Args {
    /// The datasets, each also as NAME@TAG or NAME@DIGEST; all of the project where none is named
    datasets: Vec<String>,
    /// The remote, by its name in `remotes:` or by its address; the first one where it is not said
    #[arg(long, value_name = "REMOTE")]
    remote: Option<String>,
    /// The newest version that the remote has, whatever rondo.lock pins
    #[arg(long)]
    newest: bool,
    /// Tags that name another version here are moved
    #[arg(long)]
    move_tags: bool,
    /// Read what is here already too, and fetch anew what is damaged
    #[arg(long)]
    verify: bool,
}

/// Fetches them.
///
/// # Errors
/// When the remote has no such dataset, lacks an object of it, or cannot be reached.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let report = platform
        .pull(&args.datasets, args.newest, args.remote.as_deref(), (args.move_tags, args.verify))
        .await?;
    let mut rows = vec![["dataset", "version", "files", "size", ""].map(String::from).to_vec()];
    for arrived in &report.versions {
        let version = &arrived.version;
        rows.push(vec![
            version.dataset.clone(),
            version.digest.short(),
            version.files.to_string(),
            bytes(version.size),
            if arrived.new { "new" } else { "was here" }.to_owned(),
        ]);
    }
    let healed =
        if report.healed > 0 { format!(", {} damaged ones came anew", report.healed) } else { String::new() };
    let mut text = format!(
        "{}{}: {} objects were lacking here{healed}, {} received{}\n",
        table(&rows),
        report.remote,
        report.objects,
        bytes(report.received),
        tags("with", &report.tags),
    );
    for tag in &report.elsewhere {
        text.push_str(&format!("{0}@{1} is not here: rondo data pull {0}@{1}\n", tag.dataset, tag.tag));
    }
    for name in &report.unpushed {
        session.printer().note(&format!("note: nobody has pushed `{name}` there"));
    }
    let arrived: Vec<String> = report.versions.iter().map(|one| one.version.dataset.clone()).collect();
    let absent = platform.absent(&arrived).await?;
    match absent.as_slice() {
        [] => {}
        [one] => session.printer().note(&format!("hint: to put the files into place: rondo data get {one}")),
        _ => session.printer().note("hint: to put the files into place: rondo data get"),
    }
    let value = json!({ "schema": 1, "pull": report });
    if let Some(first) = report.lacking.first() {
        let lacking: Vec<String> =
            report.lacking.iter().map(|one| format!("{}: {}", one.dataset, one.why)).collect();
        let message = format!("pull all that was asked for: {}", lacking.join("; "));
        let shown = format!("{text}error: {message}\n");
        let hint = "where it is whole: rondo data push, or rondo data verify --remote --heal";
        return Err(Failure::hinted(first.code, message, hint).shown(shown, value));
    }
    agreed(session, value, text, report.conflicts, "rondo data pull --move-tags")
}
