//! `rondo data pull`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

use rondo_data::place::size as bytes;

/// Fetch dataset versions from a remote: those that rondo.lock pins, else the newest
#[derive(clap::Args)]
pub struct Args {
    /// The datasets; all of the project where none is named
    datasets: Vec<String>,
    /// The remote, by its name in `remotes:` or by its address; the first one where it is not said
    #[arg(long, value_name = "REMOTE")]
    remote: Option<String>,
    /// The newest version that the remote has, whatever rondo.lock pins
    #[arg(long)]
    newest: bool,
}

/// Fetches them.
///
/// # Errors
/// When the remote has no such dataset, lacks an object of it, or cannot be reached.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let report = platform.pull(&args.datasets, args.newest, args.remote.as_deref()).await?;
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
    let text = format!(
        "{}{}: {} objects were lacking here, {} received\n",
        table(&rows),
        report.remote,
        report.objects,
        bytes(report.received)
    );
    session.printer().result(&json!({ "schema": 1, "pull": report }), &text);
    Ok(())
}
