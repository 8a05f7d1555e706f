//! Registered models and versions as MLflow's clients read them, whoever made them.

use std::collections::BTreeMap;

use rondo_core::Digest;
use rondo_core::handoff::ModelVersion;
use rondo_store::meta::registered::{ClientVersion, RegisteredModel, Version};
use serde::Serialize;

use super::MlflowState;
use super::refusal::Answer;
use super::show::{Number, Pair, pairs};
use crate::platform::version_files;

#[derive(Serialize)]
struct Alias {
    alias: String,
    version: String,
}

#[derive(Serialize)]
pub(super) struct ModelShown {
    name: String,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latest_versions: Vec<VersionShown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Alias>,
}

#[derive(Serialize)]
struct Measured {
    key: String,
    value: Number,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

#[derive(Serialize)]
struct Param {
    name: String,
    value: String,
}

#[derive(Serialize)]
pub(super) struct VersionShown {
    name: String,
    version: String,
    #[serde(skip)]
    number: i64,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    current_stage: String,
    description: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_link: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_params: Vec<Param>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_metrics: Vec<Measured>,
}

/// A model in a list: its newest versions are in the order of their numbers.
pub(super) async fn listed(state: &MlflowState, of: RegisteredModel) -> Answer<ModelShown> {
    let mut shown = model(state, of).await?;
    shown.latest_versions.sort_by_key(|version| version.number);
    Ok(shown)
}

/// A model with the newest version of each stage.
pub(super) async fn model(state: &MlflowState, model: RegisteredModel) -> Answer<ModelShown> {
    let versions = state.tracking.meta().versions(&model.name).await?;
    let mut aliases = Vec::new();
    for (alias, target) in &model.aliases {
        if let Some(version) = versions.iter().find(|version| version.digest == *target) {
            aliases.push(Alias { alias: alias.clone(), version: version.number.to_string() });
        }
    }
    let mut latest_versions = Vec::new();
    for newest in newest(versions) {
        latest_versions.push(version(state, newest, &model.aliases).await?);
    }
    Ok(ModelShown {
        name: model.name,
        creation_timestamp: model.created.millis(),
        last_updated_timestamp: model.updated.millis(),
        description: model.description,
        latest_versions,
        tags: pairs(model.tags),
        aliases,
    })
}

/// The newest version of each stage. The stages are in the order of their oldest versions.
pub(super) fn newest(versions: Vec<Version>) -> Vec<Version> {
    let mut by_stage: Vec<Version> = Vec::new();
    for version in versions {
        // They come oldest first.
        match by_stage.iter_mut().find(|older| older.stage == version.stage) {
            Some(older) => *older = version,
            None => by_stage.push(version),
        }
    }
    by_stage
}

/// A version with the aliases that point to it.
pub(super) async fn version(
    state: &MlflowState,
    version: Version,
    aliases: &BTreeMap<String, Digest>,
) -> Answer<VersionShown> {
    let pointing = aliases.iter().filter(|(_, target)| **target == version.digest);
    let mut shown = VersionShown {
        version: version.number.to_string(),
        number: version.number,
        creation_timestamp: version.created.millis(),
        last_updated_timestamp: version.updated.millis(),
        user_id: None,
        source: String::new(),
        run_id: version.run.clone(),
        status: "READY",
        run_link: None,
        aliases: pointing.map(|(alias, _)| alias.clone()).collect(),
        model_id: None,
        model_params: Vec::new(),
        model_metrics: Vec::new(),
        tags: Vec::new(),
        current_stage: version.stage,
        description: version.description,
        name: version.model,
    };
    let mut tags = version.tags;
    if let Ok(client) = serde_json::from_value::<ClientVersion>(version.record.clone()) {
        shown.source = client.source;
        shown.user_id = client.user;
        shown.run_link = Some(client.run_link.unwrap_or_default());
        shown.run_id = Some(client.run.unwrap_or_default());
        shown.model_id = client.model_id;
    } else if let Ok(ours) = serde_json::from_value::<ModelVersion>(version.record) {
        tags.entry("rondo.file".to_owned()).or_insert_with(|| ours.file.hex());
        tags.entry("rondo.pipeline_run".to_owned()).or_insert_with(|| ours.pipeline_run.hex());
        shown.source = match version_files::known(state.tracking.store(), version.digest).await? {
            Some(made) => made,
            None => root_of_run(state, &ours.run.hex()).await?,
        };
        let run = shown.run_id.clone();
        let metrics = ours.evaluation.metrics.iter().filter_map(|metric| {
            let value = Number(metric.value?);
            let timestamp = version.created.millis();
            Some(Measured { key: metric.name.clone(), value, timestamp, step: 0, run_id: run.clone() })
        });
        shown.model_metrics = metrics.collect();
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let params = ours.lineage.params.iter();
        shown.model_params =
            params.map(|(name, value)| Param { name: name.clone(), value: text(value) }).collect();
    }
    shown.tags = pairs(tags);
    Ok(shown)
}

/// Where a run's artifacts are; empty for a run that is not here.
pub(super) async fn root_of_run(state: &MlflowState, id: &str) -> Answer<String> {
    let Ok(row) = state.tracking.run_row(id).await else { return Ok(String::new()) };
    Ok(state.tracking.run_root(&row).await?)
}
