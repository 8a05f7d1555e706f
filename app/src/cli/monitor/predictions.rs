//! `rondo monitor predictions`.

use rondo_core::{Span, Timestamp};
use rondo_serving::log::reader::Query;
use serde_json::json;

use super::report::pick;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List the newest predictions of an endpoint
#[derive(clap::Args)]
pub struct Args {
    /// The endpoint's monitor; the only one where there is one
    monitor: Option<String>,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Print their ids only, for `rondo trace`
    #[arg(long)]
    ids: bool,
}

/// Lists them.
///
/// # Errors
/// When there is no such monitor or the log cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let name = pick(&platform, args.monitor.as_deref())?;
    let project = platform.project().clone();
    let endpoint = project
        .monitor
        .get(&name)
        .map_or_else(|| name.clone(), |monitor| platform.endpoint_of(&name, monitor));
    let reader = platform.log_reader();
    let last = reader.watermark(&endpoint)?.unwrap_or(Timestamp(0));
    let mut found = Vec::new();
    // Back in time, a longer stretch each time, until there are enough or there is nothing before.
    for days in [1, 30, 36_500] {
        found = reader.observations(&Query::new(&endpoint, last - Span::days(days), last + Span(1)))?;
        if found.len() >= args.limit {
            break;
        }
    }
    let skip = found.len().saturating_sub(args.limit);
    let newest: Vec<_> = found.into_iter().skip(skip).rev().collect();
    let text = if args.ids {
        newest.iter().map(|observation| format!("{}\n", observation.prediction_id)).collect()
    } else {
        let mut rows: Vec<Vec<String>> =
            vec![["prediction", "event time", "version", "score", "label"].map(String::from).to_vec()];
        rows.extend(newest.iter().map(|observation| {
            vec![
                observation.prediction_id.clone(),
                observation.event_time.rfc3339(),
                observation.version.to_string(),
                format!("{:.4}", observation.score),
                observation.label.clone().unwrap_or_default(),
            ]
        }));
        table(&rows)
    };
    session.printer().result(&json!({ "schema": 1, "predictions": newest }), &text);
    Ok(())
}
