//! `rondo data push`.

use serde_json::json;

use super::tag::{agreed, tags};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

use rondo_data::place::size as bytes;

/// Send dataset versions to a remote: what it lacks, and no more
#[derive(clap::Args)]
pub struct Args {
    /// The datasets, each also as NAME@VERSION; all of the project where none is named
    datasets: Vec<String>,
    /// The remote, by its name in `remotes:` or by its address; the first one where it is not said
    #[arg(long, value_name = "REMOTE")]
    remote: Option<String>,
    /// Every version, not the latest alone
    #[arg(long)]
    all_versions: bool,
    /// Tags that name another version there are moved
    #[arg(long)]
    move_tags: bool,
}

/// Sends them.
///
/// # Errors
/// When there is no such dataset or remote, or the remote refuses.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let report =
        platform.push(&args.datasets, args.all_versions, args.remote.as_deref(), args.move_tags).await?;
    let mut rows = vec![["dataset", "version", "files", "size"].map(String::from).to_vec()];
    for version in &report.versions {
        rows.push(vec![
            version.dataset.clone(),
            version.digest.short(),
            version.files.to_string(),
            bytes(version.size),
        ]);
    }
    let text = format!(
        "{}{}: {} objects of {} were lacking, {} sent{}\n",
        table(&rows),
        report.remote,
        report.objects,
        bytes(report.size),
        bytes(report.sent),
        tags("with", &report.tags),
    );
    let value = json!({ "schema": 1, "push": report });
    agreed(session, value, text, report.conflicts, "rondo data push --move-tags")
}
