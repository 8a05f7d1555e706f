//! `experiments/*`

use axum::Json;
use axum::extract::State;
use rondo_store::meta::access::Subject;
use rondo_store::meta::search::{Condition, Room};
use rondo_tracking::page;
use rondo_tracking::tracking::Search;
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::show::ExperimentShown;
use crate::http::access::Caller;

#[derive(Serialize)]
pub(super) struct One {
    experiment: ExperimentShown,
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, location) = (args.required("name")?, args.text("artifact_location")?);
    let tags = args.pairs("tags")?.into_iter().collect();
    let id = state.tracking.create_experiment_for(caller.maker(), &name, location.as_deref(), tags).await?;
    caller.made(Subject::Experiment(id)).await?;
    Ok(Json(json!({ "experiment_id": id.to_string() })))
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<One>> {
    let id = args.required("experiment_id")?;
    caller.experiment(&id)?;
    let experiment = state.tracking.experiment(&id).await?;
    Ok(Json(One { experiment: experiment.into() }))
}

pub(super) async fn get_by_name(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let experiment = state.tracking.experiment_by_name(&args.required("experiment_name")?).await?;
    caller.on(&Subject::Experiment(experiment.id))?;
    if let Some(step) = caller.step().filter(|_| !experiment.deleted) {
        step.choose(experiment.id);
    }
    Ok(Json(One { experiment: experiment.into() }))
}

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<ExperimentShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Many>> {
    let search = Search {
        filter: args.text("filter")?.unwrap_or_default(),
        order_by: args.texts("order_by")?,
        max_results: args.int("max_results")?,
        page_token: args.text("page_token")?.unwrap_or_default(),
        view: args.view("view_type")?,
        seen: caller.narrowed(Room::Experiments, Condition::default()),
    };
    let found = state.tracking.search_experiments(&search).await?;
    let experiments = found.items.into_iter().map(Into::into).collect();
    Ok(Json(Many { experiments, next_page_token: found.next_page_token }))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.required("experiment_id")?;
    caller.experiment(&id)?;
    state.tracking.delete_experiment(&id, true).await?;
    Ok(Json(json!({})))
}

pub(super) async fn restore(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.required("experiment_id")?;
    caller.experiment(&id)?;
    state.tracking.delete_experiment(&id, false).await?;
    Ok(Json(json!({})))
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.required("experiment_id")?;
    caller.experiment(&id)?;
    state.tracking.rename_experiment(&id, &args.required("new_name")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (id, key) = (args.required("experiment_id")?, args.required("key")?);
    caller.experiment(&id)?;
    state.tracking.tag_experiment(&id, &key, &args.maybe("value")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.required("experiment_id")?;
    caller.experiment(&id)?;
    state.tracking.untag_experiment(&id, &args.required("key")?).await?;
    Ok(Json(json!({})))
}

#[derive(Serialize)]
pub(super) struct Datasets {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_summaries: Vec<DatasetShown>,
}

#[derive(Serialize)]
struct DatasetShown {
    experiment_id: String,
    name: String,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

/// Experiments of one request for datasets.
const EXPERIMENTS: usize = 20;
/// Datasets in one answer.
const DATASETS: u32 = 1000;

/// The datasets that went into the runs of experiments.
pub(super) async fn search_datasets(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Datasets>> {
    let ids = args.experiments("experiment_ids")?;
    if ids.is_empty() {
        let message = "SearchDatasets request must specify at least one experiment_id.";
        return Err(Refusal::invalid(message));
    }
    if ids.len() > EXPERIMENTS {
        return Err(Refusal::invalid(format!(
            "SearchDatasets request cannot specify more than {EXPERIMENTS} experiment_ids. Received {} experiment_ids.",
            ids.len()
        )));
    }
    let ids = page::experiments(&caller.seen(ids))?;
    let found = state.tracking.meta().dataset_inputs(&ids, DATASETS).await?.into_iter();
    let shown = found.map(|input| DatasetShown {
        experiment_id: input.experiment.to_string(),
        name: input.name,
        digest: input.digest,
        context: input.context,
    });
    Ok(Json(Datasets { dataset_summaries: shown.collect() }))
}
