//! `rondo data log`.

use rondo_core::handoff::DatasetVersion;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List a dataset's versions with who, when and why
#[derive(clap::Args)]
pub struct Args {
    /// The dataset
    dataset: String,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 30, value_name = "N")]
    limit: u32,
}

/// Lists them.
///
/// # Errors
/// When there is no such dataset.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let log = platform.datasets().log(&args.dataset, i64::from(args.limit)).await?;
    let mut rows: Vec<Vec<String>> = vec![
        ["version", "digest", "files", "rows", "at", "by", "why", "source", "tags"]
            .map(String::from)
            .to_vec(),
    ];
    for line in &log {
        let version = line.version.as_ref();
        let text = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        rows.push(vec![
            text(line.number.map(|number| number.to_string())),
            text(version.map(|version| version.digest.short())),
            text(version.map(|version| version.files.to_string())),
            text(version.and_then(|version| version.rows).map(|rows| rows.to_string())),
            line.entry.at.rfc3339(),
            line.entry.because.actor.clone(),
            line.entry.because.why.clone(),
            text(version.map(from)),
            line.tags.join(", "),
        ]);
    }
    session.printer().result(&json!({ "schema": 1, "dataset": args.dataset, "log": log }), &table(&rows));
    Ok(())
}

/// Where a version is from, in one line: the source, its state, the query.
fn from(version: &DatasetVersion) -> String {
    let origin = &version.origin;
    let state = origin.state.as_ref().or(origin.modified.as_ref());
    let mut text = version.source.clone();
    if let Some(state) = state {
        text.push_str(&format!(" at {state}"));
    }
    if let Some(query) = &origin.query {
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = query.chars().take(60).collect();
        let more = if query.chars().count() > 60 { "…" } else { "" };
        text.push_str(&format!(": {short}{more}"));
    }
    crate::cli::output::plain(&text)
}
