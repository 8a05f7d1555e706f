//! `rondo status`: the loop, each stage's state at a glance.

use rondo_core::handoff::RequestState;
use rondo_core::run::RunKind;
use rondo_monitoring::alert::{raised_by, standing};
use serde_json::{Value, json};

use super::Session;
use super::failure::Outcome;
use super::output::counted;
use crate::apps::{folder, status};
use crate::platform::{Error, Platform};
use crate::presence::up_at;

/// Show the loop: each stage's state at a glance
#[derive(clap::Args)]
pub struct Args {}

/// Shows it.
///
/// # Errors
/// When there is no project, it has faults, or its store cannot be read.
pub async fn run(_: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let stages = [
        ("problem", problem(&platform)),
        ("data", data(&platform).await?),
        ("pipeline", pipeline(&platform).await?),
        ("registry", registry(&platform).await?),
        ("serving", serving(&platform).await?),
        ("monitoring", monitoring(&platform).await?),
        ("retraining", retraining(&platform).await?),
        ("apps", apps(&platform)?),
    ];
    let mut text = format!("{}\n", platform.project().name);
    let mut value = json!({ "schema": 1, "project": platform.project().name });
    for (stage, lines) in &stages {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { stage } else { "" };
            text.push_str(&format!("  {title:<11} {}\n", line.text));
        }
        value[*stage] = lines.iter().map(|line| line.value.clone()).collect();
    }
    session.printer().result(&value, &text);
    platform.project().notes.iter().for_each(|note| session.printer().note(note));
    Ok(())
}

struct Line {
    text: String,
    value: Value,
}

fn line(text: impl Into<String>, value: Value) -> Line {
    Line { text: text.into(), value }
}

fn problem(platform: &Platform) -> Vec<Line> {
    let canvas = &platform.project().canvas;
    let objectives: Vec<String> = canvas.objectives.iter().map(|objective| objective.text()).collect();
    let mut lines = Vec::new();
    if let Some(value) = &canvas.value {
        lines.push(line(value, json!({ "value": value })));
    }
    let text = if objectives.is_empty() { "no objectives yet".to_owned() } else { objectives.join(" · ") };
    lines.push(line(text, json!({ "objectives": objectives })));
    lines
}

async fn data(platform: &Platform) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    let (lock, shared) = (platform.read_lock()?, platform.project().remotes.iter().next().is_some());
    let names: Vec<String> = platform.project().data.names().map(str::to_owned).collect();
    let edited = platform.edited(&platform.pins(&names).await?).await?;
    for name in &names {
        let verb = if shared && lock.datasets.contains_key(name) { "pull" } else { "add" };
        let versions = platform.store().meta().dataset_versions(name).await?;
        lines.push(match versions.last() {
            None => line(
                format!("{name}: no version yet (rondo data {verb} {name})"),
                json!({ "dataset": name, "versions": 0 }),
            ),
            Some(latest) => {
                let rows = latest.rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
                let edited = edited.contains(name);
                let since =
                    if edited { format!("; changed since (rondo data add {name})") } else { String::new() };
                let many = counted(versions.len() as u64, "version");
                line(
                    format!("{name}: {many}, latest {}{rows}{since}", latest.digest.short()),
                    json!({
                        "dataset": name, "versions": versions.len(), "latest": latest.digest, "rows": latest.rows,
                        "files": latest.files, "size": latest.size, "changed": edited,
                    }),
                )
            }
        });
    }
    Ok(lines)
}

async fn pipeline(platform: &Platform) -> Result<Vec<Line>, Error> {
    let steps = platform.project().steps.len();
    let last = platform.store().meta().runs_of_kind(RunKind::Pipeline, None, 1).await?.into_iter().next();
    Ok(vec![match last {
        None => line(
            format!("{}, never run (rondo run)", counted(steps as u64, "step")),
            json!({ "steps": steps }),
        ),
        Some(run) => line(
            format!(
                "{}, last run {} {} at {}",
                counted(steps as u64, "step"),
                run.id.short(),
                run.state.status().to_lowercase(),
                run.started
            ),
            json!({ "steps": steps, "last_run": run.id, "state": run.state, "started": run.started }),
        ),
    }])
}

async fn registry(platform: &Platform) -> Result<Vec<Line>, Error> {
    let meta = platform.store().meta();
    let mut lines = Vec::new();
    for name in platform.project().models.names() {
        let versions = meta.model_versions(name).await?.len();
        let champion = meta.aliased_version(name, "champion").await?.map(|(_, version)| version.version);
        let text = match champion {
            Some(version) => format!("{name}: version {version} is champion, of {versions}"),
            None => format!("{name}: {}, no champion", counted(versions as u64, "version")),
        };
        lines.push(line(text, json!({ "model": name, "versions": versions, "champion": champion })));
    }
    for waiting in rondo_registry::approval::pending(platform.store(), None).await? {
        let (model, version) = (&waiting.model, waiting.version);
        lines.push(line(
            format!("{model}: version {version} waits for approval (rondo models approve {model}/{version})"),
            json!({ "model": model, "version": version, "waits": "approval", "why": waiting.why, "since": waiting.at }),
        ));
    }
    Ok(lines)
}

async fn serving(platform: &Platform) -> Result<Vec<Line>, Error> {
    let up = up_at(platform.store().root())?;
    let mut lines = Vec::new();
    for (name, endpoint) in platform.project().serve.iter() {
        let last = platform.live_deployment(name).await?;
        let live = last.as_ref().filter(|_| up.is_some());
        let text = match (&up, &last) {
            (Some(url), Some(live)) => {
                format!("{name}: version {} since {} at {url}", live.version, live.since)
            }
            (Some(_), None) => format!("{name}: waits for {}@{}", endpoint.model.model, endpoint.model.alias),
            (None, Some(last)) => {
                format!("{name}: not up (rondo up), version {} answered last", last.version)
            }
            (None, None) => format!("{name}: not up yet (rondo up)"),
        };
        lines.push(line(text, json!({ "endpoint": name, "url": up, "live": live, "last": last })));
    }
    Ok(lines)
}

fn apps(platform: &Platform) -> Result<Vec<Line>, Error> {
    let told = status::read(&folder(platform))?;
    let one = |name: &str| {
        let known =
            told.as_ref().and_then(|told| Some((told, told.apps.iter().find(|app| app.name == name)?)));
        let Some((told, app)) = known else {
            return line(format!("{name}: not up (rondo up)"), json!({ "app": name, "state": "down" }));
        };
        let trouble = app.error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
        let again = if app.restarts == 0 { String::new() } else { format!(", {} restarts", app.restarts) };
        let url = format!("{}{}", told.url, app.path);
        line(
            format!("{name}: {} since {} at {url}{again}{trouble}", app.state.text(), app.since),
            json!({
                "app": name, "state": app.state, "since": app.since, "url": url, "restarts": app.restarts,
                "inputs": app.inputs, "error": app.error,
            }),
        )
    };
    Ok(platform.project().apps.names().map(one).collect())
}

async fn monitoring(platform: &Platform) -> Result<Vec<Line>, Error> {
    let meta = platform.store().meta();
    let mut lines = Vec::new();
    for (name, monitor) in platform.project().monitor.iter() {
        let windows = platform.window_reports(name).await?;
        let stands = standing(name, &windows).len();
        let windows = windows.len();
        let mut alerts = meta.alerts(&monitor.model).await?;
        alerts.retain(|alert| raised_by(name, &alert.name));
        let newest = alerts.last().map_or_else(String::new, |alert| {
            format!(", newest {} at {}", alert.name, alert.event_time.day())
        });
        let now = if stands == 0 { String::new() } else { format!(", {stands} standing") };
        lines.push(line(
            format!("{name}: {windows} windows of {}, {} alerts{newest}{now}", monitor.window, alerts.len()),
            json!({ "monitor": name, "windows": windows, "alerts": alerts.len(), "standing": stands }),
        ));
    }
    Ok(lines)
}

async fn retraining(platform: &Platform) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    for name in platform.project().models.names() {
        let requests = platform.store().meta().requests(name).await?;
        if requests.is_empty() {
            continue;
        }
        let count = |state| requests.iter().filter(|request| request.state == state).count();
        let (promoted, kept) = (count(RequestState::Promoted), count(RequestState::Kept));
        let open = count(RequestState::Open) + count(RequestState::Running);
        let (failed, pending) = (count(RequestState::Failed), count(RequestState::Pending));
        let waits = if pending == 0 { String::new() } else { format!(", {pending} waiting for approval") };
        lines.push(line(
            format!("{name}: {} requests, {promoted} promoted, {kept} kept, {failed} failed, {open} open{waits}", requests.len()),
            json!({
                "model": name, "requests": requests.len(), "promoted": promoted, "kept": kept, "failed": failed, "open": open, "pending": pending,
            }),
        ));
    }
    if lines.is_empty() {
        lines.push(line("nothing yet", Value::Null));
    }
    Ok(lines)
}
