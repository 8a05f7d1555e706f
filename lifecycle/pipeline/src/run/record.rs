//! The rows of a run: the pipeline's own, and one for each try of a step, made before its process.

use std::collections::BTreeMap;

use rondo_core::run::{Exit, RunDetail, RunKind, RunRow, RunState};
use rondo_core::{Digest, RunId, Timestamp};
use rondo_store::Store;
use rondo_store::meta::cache::Ending;
use rondo_store::meta::metrics::{Batch, Point};
use rondo_store::meta::runs::RunChange;
use serde_json::Value;

use super::session::Session;
use crate::graph::Node;
use crate::sweep::{resume, trial};
use crate::{Error, again};

/// MLflow's kind of source for what a project runs.
const SOURCE_TYPE: &str = "PROJECT";

/// Makes the row of a pipeline run.
///
/// # Errors
/// When the store refuses.
pub async fn begin_pipeline(session: &Session, at: Timestamp) -> Result<(), Error> {
    let planner = &session.planner;
    let name = if planner.targets.is_empty() { "all steps".to_owned() } else { planner.targets.join(", ") };
    let row = RunRow {
        id: session.run,
        experiment: session.experiment,
        kind: RunKind::Pipeline,
        parent: None,
        name: name.clone(),
        step: None,
        state: RunState::Running,
        user: session.request.user.clone(),
        started: at,
        ended: None,
        deleted: false,
        untagged: false,
        detail: session.detail(),
    };
    let mut tags = source_tags(session, &name, "rondo.yaml", None);
    let again = session.request.again.as_ref();
    tags.extend(again.map(|again| (again::OF.to_owned(), again.of.hex())));
    let params = planner.params.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    create(session, &row, &tags, params).await
}

/// Makes a row with its tags and parameters, in one commit.
async fn create(
    session: &Session,
    row: &RunRow,
    tags: &[(String, String)],
    params: Vec<(String, String)>,
) -> Result<(), Error> {
    let meta = session.store.meta();
    if params.is_empty() {
        // No process of it starts before.
        meta.begin_run(row, tags).await?;
        return Ok(());
    }
    // They stand in the writer's queue in this order.
    let batch = Batch { params, ..Batch::default() };
    tokio::try_join!(meta.create_tagged_run(row, tags), meta.log_batch(row.id, batch))?;
    Ok(())
}

/// Makes the row of one try of a step: as under way, or as scheduled where something has to be made before
/// its process can start.
///
/// # Errors
/// When the store refuses.
pub async fn begin_step(
    session: &Session,
    id: RunId,
    node: &Node,
    detail: &RunDetail,
    with: &Value,
    environment: bool,
) -> Result<(), Error> {
    let (step, _) = session.planner.definition(node)?;
    let parent = node.trial.as_ref().map_or(session.run, |trial| trial.parent);
    let state = if environment { RunState::Scheduled } else { RunState::Running };
    let row = RunRow {
        id,
        experiment: session.experiment,
        kind: RunKind::Step,
        parent: Some(parent),
        name: node.name.clone(),
        step: Some(node.name.clone()),
        state,
        user: session.request.user.clone(),
        started: session.clock.now(),
        ended: None,
        deleted: false,
        untagged: false,
        detail: detail.clone(),
    };
    let commit = detail.code.commit.as_deref();
    let mut tags = source_tags(session, &node.name, &format!("rondo.yaml#steps.{step}"), commit);
    tags.push(("mlflow.parentRunId".to_owned(), parent.hex()));
    tags.extend(node.trial.iter().flat_map(|trial| trial::tags(trial)));
    let mut params: BTreeMap<String, String> =
        detail.params.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    // What its combination and a notebook's parameters are is what its runs are compared by.
    params.extend(node.matrix.iter().map(|(name, value)| (name.clone(), text(value))));
    let given = with.as_object().into_iter().flatten();
    params.extend(given.map(|(name, value)| (name.clone(), text(value))));
    create(session, &row, &tags, params.into_iter().collect()).await
}

fn source_tags(session: &Session, name: &str, source: &str, commit: Option<&str>) -> Vec<(String, String)> {
    let mut tags = vec![
        ("mlflow.runName", name.to_owned()),
        ("mlflow.source.name", source.to_owned()),
        ("mlflow.source.type", SOURCE_TYPE.to_owned()),
        ("mlflow.user", session.request.user.clone()),
    ];
    tags.extend(commit.map(|commit| ("mlflow.source.git.commit", commit.to_owned())));
    tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A parameter's value as text, in the form that Python's `str` gives it: a client that logs the same
/// value again is then not refused.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => python(other),
    }
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, item)| format!("'{key}': {}", python(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Says that a step's process is about to start.
///
/// # Errors
/// When the store refuses.
pub async fn running(session: &Session, id: RunId) -> Result<(), Error> {
    let change = RunChange { state: Some(RunState::Running), ..RunChange::default() };
    Ok(session.store.meta().update_run(id, change).await?)
}

/// Freezes a run's row.
///
/// # Errors
/// When the store refuses.
pub async fn end(
    store: &Store,
    id: RunId,
    state: RunState,
    detail: RunDetail,
    at: Timestamp,
) -> Result<(), Error> {
    Ok(store.meta().update_run(id, ended(state, detail, at)).await?)
}

/// Freezes the row of a step's try that went well, and keeps for its key what it made. That has its place in
/// the queue then: whoever begins another step afterwards has this one on the disk before its own row.
///
/// # Errors
/// When it cannot be put into words.
pub fn end_kept(
    store: &Store,
    id: RunId,
    detail: RunDetail,
    key: Digest,
    step: &str,
    at: Timestamp,
) -> Result<Ending, Error> {
    let outputs = detail.outputs.clone();
    let change = ended(RunState::Finished, detail, at);
    Ok(store.meta().end_run_with(id, change, key, step, &outputs, at)?)
}

/// What freezes a row.
pub fn ended(state: RunState, detail: RunDetail, at: Timestamp) -> RunChange {
    RunChange { state: Some(state), ended: Some(at), detail: Some(detail), ..RunChange::default() }
}

/// Puts metrics on a run.
///
/// # Errors
/// When the store refuses.
pub async fn metrics(session: &Session, id: RunId, metrics: BTreeMap<String, f64>) -> Result<(), Error> {
    if metrics.is_empty() {
        return Ok(());
    }
    let timestamp = session.clock.now().millis();
    // As MLflow keeps what is infinite.
    let point = |(key, value): (String, f64)| {
        (key, Point { timestamp, step: 0, value: value.clamp(f64::MIN, f64::MAX) })
    };
    let batch = Batch { metrics: metrics.into_iter().map(point).collect(), ..Batch::default() };
    Ok(session.store.meta().log_batch(id, batch).await?)
}

/// Puts a file among a run's artifacts.
///
/// # Errors
/// When the store refuses.
pub async fn artifact(
    session: &Session,
    id: RunId,
    path: &str,
    digest: Digest,
    size: u64,
) -> Result<(), Error> {
    Ok(session.store.meta().put_artifact(&id.hex(), path, digest, size, session.clock.now()).await?)
}

/// Ends a run whose process is gone, with what it had said.
///
/// # Errors
/// When the store refuses.
pub async fn killed(store: &Store, row: RunRow, log: Option<Digest>, at: Timestamp) -> Result<(), Error> {
    let mut detail = row.detail;
    detail.log = detail.log.or(log);
    let exit = Exit { cause: Some("the process that ran it is gone".to_owned()), ..Exit::default() };
    detail.exit = Some(exit);
    if let Some(sweep) = &mut detail.sweep {
        resume::complete(store, row.id, sweep).await?;
        sweep.close();
    }
    end(store, row.id, RunState::Killed, detail, at).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_read_as_python_writes_them() {
        for (value, expected) in [
            (json!("a b"), "a b"),
            (json!(7), "7"),
            (json!(0.1), "0.1"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!([1, "x", false]), "[1, 'x', False]"),
            (json!({"a": 1}), "{'a': 1}"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
