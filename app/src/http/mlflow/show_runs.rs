//! A page of runs as MLflow's clients read it, put together from texts.
//!
//! What was logged on a run comes from the store as JSON that is ready to be sent, so that a page of a
//! thousand runs is copied and not taken apart and built again.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use rondo_tracking::listing::ListedRun;
use rondo_tracking::tracking::Found;
use serde_json::Value;

use super::refusal::{Answer, Refusal};
use super::show::Info;

/// The answer with a page of runs.
pub(super) fn page(found: &Found<ListedRun>) -> Answer<Response> {
    let size: usize =
        found.items.iter().map(|run| 600 + logged(run).map(str::len).iter().sum::<usize>()).sum();
    let mut body = String::with_capacity(size + 100);
    body.push('{');
    for (index, run) in found.items.iter().enumerate() {
        body.push_str(if index == 0 { "\"runs\":[" } else { "," });
        one(&mut body, run).map_err(|_| Refusal::internal("a run cannot be shown"))?;
    }
    if !found.items.is_empty() {
        body.push(']');
    }
    if let Some(token) = &found.next_page_token {
        body.push_str(if found.items.is_empty() { "" } else { "," });
        body.push_str("\"next_page_token\":");
        body.push_str(&Value::from(token.as_str()).to_string());
    }
    body.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

const fn logged(run: &ListedRun) -> [&str; 3] {
    let run = &run.run;
    [run.metrics.as_str(), run.params.as_str(), run.tags.as_str()]
}

fn one(body: &mut String, run: &ListedRun) -> Result<(), serde_json::Error> {
    body.push_str("{\"info\":");
    body.push_str(&serde_json::to_string(&Info::listed(run))?);
    body.push_str(",\"data\":");
    let lists = ["metrics", "params", "tags"].into_iter().zip(logged(run));
    object(body, lists.filter(|(_, list)| !matches!(*list, "" | "[]")));
    body.push_str(",\"inputs\":");
    let datasets = records(run, "dataset", true)?;
    let models = records(run, "model_input", false)?;
    let inputs = [("dataset_inputs", datasets.as_str()), ("model_inputs", models.as_str())];
    object(body, inputs.into_iter().filter(|(_, list)| !list.is_empty()));
    body.push_str(",\"outputs\":");
    let outputs = records(run, "model_output", false)?;
    object(body, [("model_outputs", outputs.as_str())].into_iter().filter(|(_, list)| !list.is_empty()));
    body.push('}');
    Ok(())
}

/// An object of these fields, whose values are JSON.
fn object<'a>(body: &mut String, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    body.push('{');
    for (index, (name, value)) in fields.enumerate() {
        body.push_str(if index == 0 { "\"" } else { ",\"" });
        body.push_str(name);
        body.push_str("\":");
        body.push_str(value);
    }
    body.push('}');
}

/// A list of a run's records of a kind; nothing where there are none.
fn records(run: &ListedRun, kind: &str, hides_context: bool) -> Result<String, serde_json::Error> {
    let Some(records) = run.run.inputs.get(kind) else { return Ok(String::new()) };
    let mut list = String::from("[");
    for (index, record) in records.iter().enumerate() {
        list.push_str(if index == 0 { "" } else { "," });
        if hides_context {
            // Kept beside for searches; not a field of the wire.
            let mut record: serde_json::Map<String, Value> = serde_json::from_str(record)?;
            record.shift_remove("context");
            list.push_str(&serde_json::to_string(&record)?);
        } else {
            list.push_str(record);
        }
    }
    list.push(']');
    Ok(list)
}
