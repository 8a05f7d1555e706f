//! `rondo data status`.

use rondo_core::journal::Because;
use rondo_data::place::size;
use rondo_data::status::{DatasetStatus, SourceState};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::{plain, table};

/// Show each dataset's latest version and whether its source has changed since
#[derive(clap::Args)]
pub struct Args {
    /// Only this dataset
    dataset: Option<String>,
    /// Ask sources that are elsewhere whether they have changed
    #[arg(long)]
    remote: bool,
}

/// Shows it.
///
/// # Errors
/// When there is no such dataset, or its source on this machine cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let names: Vec<String> = match &args.dataset {
        Some(name) => vec![name.clone()],
        None => platform.project().data.names().map(str::to_owned).collect(),
    };
    let mut statuses = Vec::new();
    for name in &names {
        let intake = platform.intake(name, Because::new(&session.config().user, "looked at"))?;
        let datasets = platform.datasets();
        statuses.push(if args.remote {
            datasets.remote_status(&platform.fetcher(), &intake, platform.root()).await?
        } else {
            datasets.status(&intake, platform.root()).await?
        });
    }
    let text = if statuses.is_empty() {
        "no datasets are declared\n".to_owned()
    } else {
        let head = ["dataset", "versions", "latest", "rows", "files", "size", "added", "checks", "source"];
        let mut rows: Vec<Vec<String>> = vec![head.map(String::from).to_vec()];
        rows.extend(statuses.iter().map(row));
        table(&rows)
    };
    session.printer().result(&json!({ "schema": 1, "datasets": statuses }), &text);
    for status in statuses.iter().filter(|status| can_be_added(&status.source_state)) {
        session.printer().note(&format!("hint: rondo data add {}", status.dataset));
    }
    if statuses.is_empty() {
        session.printer().note("hint: rondo data add data/my-file.csv");
    }
    Ok(())
}

fn row(status: &DatasetStatus) -> Vec<String> {
    let latest = status.latest.as_ref();
    let text = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    vec![
        status.dataset.clone(),
        status.versions.to_string(),
        text(latest.map(|version| version.digest.short())),
        text(latest.and_then(|version| version.rows).map(|rows| rows.to_string())),
        text(latest.map(|version| version.files.to_string())),
        text(latest.map(|version| size(version.size))),
        text(latest.map(|version| version.added.rfc3339())),
        status.checks.to_string(),
        state(&status.source_state),
    ]
}

fn state(state: &SourceState) -> String {
    match state {
        SourceState::Unchanged => "unchanged".to_owned(),
        SourceState::Changed { files, added, removed, changed, renamed } => {
            let counts = [(added, "added"), (removed, "removed"), (changed, "changed"), (renamed, "renamed")];
            let said: Vec<String> = counts
                .iter()
                .filter(|(count, _)| **count > 0)
                .map(|(count, verb)| format!("{count} {verb}"))
                .collect();
            let more = if added + removed + changed + renamed > files.len() { ", …" } else { "" };
            let names: Vec<String> = files.iter().map(|name| plain(name)).collect();
            format!("changed ({}): {}{more}", said.join(", "), names.join(", "))
        }
        SourceState::Missing => "missing".to_owned(),
        SourceState::Another => "another source is declared".to_owned(),
        SourceState::Remote => "elsewhere, not asked".to_owned(),
        SourceState::Moved { .. } => "changed".to_owned(),
        SourceState::Reread => "to be read in another way".to_owned(),
        SourceState::New => "not added yet".to_owned(),
    }
}

const fn can_be_added(state: &SourceState) -> bool {
    match state {
        SourceState::Changed { .. }
        | SourceState::Another
        | SourceState::New
        | SourceState::Moved { .. }
        | SourceState::Reread => true,
        SourceState::Unchanged | SourceState::Missing | SourceState::Remote => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_has_moved_on_can_be_added_again() {
        let files = vec!["a.csv".to_owned(), "b\n.csv".to_owned()];
        let changed = SourceState::Changed { files, added: 1, removed: 0, changed: 2, renamed: 0 };
        assert_eq!(state(&changed), "changed (1 added, 2 changed): a.csv, b\\n.csv, …");
        assert!(can_be_added(&changed) && !can_be_added(&SourceState::Unchanged));
    }
}
