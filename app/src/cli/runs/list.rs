//! `rondo runs list`.

use rondo_core::run::{RunKind, RunRow, RunState};
use rondo_core::{RunId, Timestamp};
use rondo_store::meta::listing::Select;
use rondo_tracking::Tracking;
use rondo_tracking::listing::{self, ListedRun};
use rondo_tracking::tracking::Search;
use serde_json::{Map, Value, json};

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::platform::Platform;

/// List runs, newest first
#[derive(clap::Args)]
pub struct Args {
    /// Only the runs of this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,

    /// Also steps and the runs that their code started, not only whole pipelines
    #[arg(long, conflicts_with = "step")]
    all: bool,

    /// Only runs of which this holds, such as "metrics.rmse < 1 AND params.depth > 5"; implies --all
    #[arg(long, value_name = "FILTER", conflicts_with = "step")]
    filter: Option<String>,

    /// In this order, such as "metrics.rmse" or "start_time DESC"; may be repeated; implies --all
    #[arg(long, value_name = "KEY", conflicts_with = "step")]
    order_by: Vec<String>,

    /// Also show these, such as metrics.rmse,params.*; implies --all
    #[arg(long, value_name = "FIELD", value_delimiter = ',', conflicts_with = "step")]
    select: Vec<String>,

    /// Say how many there are instead of listing them; implies --all
    #[arg(long, conflicts_with = "step")]
    count: bool,

    /// How many
    #[arg(short = 'n', long, visible_alias = "max-results", default_value_t = 20, value_name = "N")]
    limit: u32,
}

/// Lists them.
///
/// # Errors
/// When there is no project, its store cannot be read, or the filter or an order cannot be understood.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    if args.filter.is_some() || !args.order_by.is_empty() || !args.select.is_empty() || args.count {
        return search(args, session, &platform).await;
    }
    let meta = platform.store().meta();
    let limit = i64::from(args.limit);
    let runs = if args.all {
        let experiment = meta.ensure_experiment(&platform.project().name, platform.clock().now()).await?;
        meta.runs(experiment, limit).await?
    } else {
        let kind = if args.step.is_some() { RunKind::Step } else { RunKind::Pipeline };
        meta.runs_of_kind(kind, args.step.as_deref(), limit).await?
    };
    let mut rows: Vec<Vec<String>> =
        vec![["run", "kind", "name", "state", "started", "seconds", "by"].map(String::from).to_vec()];
    rows.extend(runs.iter().map(row));
    let value = json!({ "schema": 1, "runs": runs });
    session.printer().result(&value, &table(&rows));
    if !args.all && args.step.is_none() && !session.printer().json() {
        let experiment = meta.ensure_experiment(&platform.project().name, platform.clock().now()).await?;
        let others = meta.runs(experiment, limit).await?;
        let others =
            others.iter().filter(|run| run.kind != RunKind::Pipeline && run.parent.is_none()).count();
        if others > 0 {
            session.printer().note(&format!("{}: rondo runs list --all", also(others)));
        }
    }
    Ok(())
}

/// What is not listed without being asked for: runs that no pipeline started.
fn also(others: usize) -> String {
    match others {
        1 => "a check, script or notebook ran by itself too".to_owned(),
        _ => format!("{others} checks, scripts or notebooks ran by themselves too"),
    }
}

fn row(run: &RunRow) -> Vec<String> {
    vec![
        run.id.short(),
        run.kind.text().to_owned(),
        run.name.clone(),
        run.state.status().to_lowercase(),
        run.started.rfc3339(),
        seconds(run.started, run.ended),
        run.detail.started_by.clone(),
    ]
}

fn seconds(started: Timestamp, ended: Option<Timestamp>) -> String {
    ended.map_or_else(|| "–".to_owned(), |ended| format!("{:.1}", (ended - started).millis() as f64 / 1000.0))
}

async fn search(args: &Args, session: &Session, platform: &Platform) -> Outcome {
    let meta = platform.store().meta();
    let experiment = meta.ensure_experiment(&platform.project().name, platform.clock().now()).await?;
    let experiments = [experiment.to_string()];
    let tracking = Tracking::new(platform.store().clone(), platform.clock().clone());
    let search = Search {
        filter: args.filter.clone().unwrap_or_default(),
        order_by: args.order_by.clone(),
        max_results: Some(i64::from(args.limit)),
        ..Search::default()
    };
    if args.count {
        let count = tracking.count_runs(&experiments, &search).await?;
        session.printer().result(&json!({ "schema": 1, "count": count }), &format!("{count}\n"));
        return Ok(());
    }
    // Without a choice the table shows columns alone, and JSON everything.
    let select = match (session.printer().json(), args.select.is_empty()) {
        (false, true) => listing::select(&["info".to_owned()])?,
        (true, true) => Select::default(),
        (_, false) => listing::select(&args.select)?,
    };
    let found = tracking.list_runs(&experiments, &search, &select).await?;
    let runs: Vec<Map<String, Value>> = found.items.iter().map(shown).collect();
    let text = table(&rows(&runs, &found.items));
    session.printer().result(&json!({ "schema": 1, "runs": runs }), &text);
    Ok(())
}

fn shown(listed: &ListedRun) -> Map<String, Value> {
    let run = &listed.run;
    let mut shown = Map::new();
    shown.insert("id".to_owned(), run.id.as_str().into());
    shown.insert("name".to_owned(), run.name.as_str().into());
    shown.insert("state".to_owned(), run.status.to_lowercase().into());
    shown.insert("started".to_owned(), run.started.into());
    shown.insert("ended".to_owned(), run.ended.into());
    for (family, list) in [("metrics", &run.metrics), ("params", &run.params), ("tags", &run.tags)] {
        let pairs: Vec<Value> = serde_json::from_str(list).unwrap_or_default();
        let pair = |pair: &Value| Some((pair.get("key")?.as_str()?.to_owned(), pair.get("value")?.clone()));
        shown.insert(family.to_owned(), Value::Object(pairs.iter().filter_map(pair).collect()));
    }
    shown
}

/// The table: a column for each key that any of the runs has.
fn rows(runs: &[Map<String, Value>], listed: &[ListedRun]) -> Vec<Vec<String>> {
    let mut columns: Vec<(&str, &String)> = Vec::new();
    for family in ["metrics", "params", "tags"] {
        let keys = runs.iter().filter_map(|run| run.get(family)?.as_object()).flat_map(Map::keys);
        let keys: std::collections::BTreeSet<&String> = keys.collect();
        columns.extend(keys.into_iter().map(|key| (family, key)));
    }
    let mut head = ["run", "name", "state", "started", "seconds"].map(String::from).to_vec();
    head.extend(columns.iter().map(|(family, key)| format!("{family}.{key}")));
    let mut rows = vec![head];
    for (run, ListedRun { run: listed, .. }) in runs.iter().zip(listed) {
        let (started, ended) = (Timestamp(listed.started), listed.ended.map(Timestamp));
        let mut row = vec![
            listed.id.parse::<RunId>().map_or_else(|_| listed.id.clone(), |id| id.short()),
            listed.name.clone(),
            RunState::from_status(&listed.status).map_or("", RunState::status).to_lowercase(),
            started.rfc3339(),
            seconds(started, ended),
        ];
        let cell =
            |(family, key): &(&str, &String)| match run.get(*family).and_then(|of| of.get(key.as_str())) {
                None => "–".to_owned(),
                Some(Value::String(text)) => text.lines().next().unwrap_or_default().to_owned(),
                Some(other) => other.to_string(),
            };
        row.extend(columns.iter().map(cell));
        rows.push(row);
    }
    rows
}
