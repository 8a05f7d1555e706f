//! The dossier of a model version: everything that is known of it, whoever made it.
//!
//! Of a version that a pipeline registered that is all of it: run, data, code, environment, signature,
//! evaluation, gate. Of one that a client made it is what its run and its logged model say. It needs a
//! store and no project, so that a server that has none shows the same.

use std::collections::BTreeMap;

use rondo_core::evaluation::Evaluation;
use rondo_core::handoff::{Deployment, ModelVersion};
use rondo_core::objective::Verdict;
use rondo_core::run::RunRow;
use rondo_core::{Code, Digest, RunId, Timestamp, reference, suggest};
use rondo_project::quote;
use rondo_project::yaml;
use rondo_registry::approval::{self, Approval};
use rondo_registry::protect;
use rondo_store::Store;
use rondo_store::meta::registered::{ClientVersion, Version};
use rondo_tracking::artifacts::roots::Roots;
use serde::Serialize;
use serde_json::{Value, json};

use super::Error;
use super::serving::DEPLOYMENT;

/// The longest `MLmodel` file that is looked into.
const MLMODEL: u64 = 4 << 20;

/// Everything that is known of a version.
#[derive(Debug, Clone, Serialize)]
pub struct Dossier {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: i64,
    /// Who made it: `pipeline` or `client`.
    pub origin: &'static str,
    /// The digest of its record.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// The aliases that point to it.
    pub aliases: Vec<String>,
    /// Which of them are protected.
    pub protected: Vec<String>,
    /// MLflow's stage.
    pub stage: String,
    /// What people say of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The model's file, of a pipeline's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Digest>,
    /// Where its files are, of a client's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The logged model that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logged_model: Option<String>,
    /// The run that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<MadeBy>,
    /// The pipeline run above that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_run: Option<RunId>,
    /// The data that went in.
    pub data: Vec<Data>,
    /// The code.
    pub code: CodeOf,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentOf>,
    /// What goes in and comes out: `inputs` and `outputs`, as far as it is known.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub signature: Value,
    /// Parameters.
    pub params: BTreeMap<String, Value>,
    /// Metrics by name; of a pipeline's version those of its evaluation.
    pub metrics: BTreeMap<String, f64>,
    /// How a pipeline's version scored, with its slices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// What its gate said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateOf>,
    /// What somebody decided about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Whether what its run logged is left out: the reader may read the model and not the run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Where it answers, or did.
    pub deployments: Vec<Served>,
    /// The latest event time among its training rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_until: Option<Timestamp>,
}

/// The run that made a version.
#[derive(Debug, Clone, Serialize)]
pub struct MadeBy {
    /// Its id.
    pub id: RunId,
    /// Its name.
    pub name: String,
    /// Its experiment's id.
    pub experiment: i64,
    /// Who started it.
    pub user: String,
    /// When.
    pub started: Timestamp,
    /// Whether it was deleted: then it is kept all the same.
    pub deleted: bool,
}

/// Data that went into a version.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// Its digest: Rondo's, or what the client computed.
    pub digest: String,
}

/// The code of a version.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CodeOf {
    /// The Git commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the work tree differed from it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    /// The file or notebook that a client's run named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The code's files with their digests.
    pub files: BTreeMap<String, Digest>,
}

/// The environment of a version.
#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentOf {
    /// Its name; of a client's version the file that says it.
    pub name: String,
    /// The digest of its lock, or of that file.
    pub lock: Digest,
}

/// What a gate said.
#[derive(Debug, Clone, Serialize)]
pub struct GateOf {
    /// Whether the version passed.
    pub passed: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// Objective by objective.
    pub verdicts: Vec<Verdict>,
    /// Rule by rule with what it was compared with, as the journal has it.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub report: Value,
}

/// An endpoint at which a version answers, or did.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// The endpoint.
    pub endpoint: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; nothing where it still answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Finds a version by its number or alias; without one it is the champion, else the newest.
///
/// # Errors
/// When there is no such model, version or alias.
pub async fn find(store: &Store, model: &str, wanted: Option<&str>) -> Result<Version, Error> {
    let meta = store.meta();
    let models = meta.models().await?;
    if !models.iter().any(|(name, _)| name == model) {
        let near = suggest::nearest(model, models.iter().map(|(name, _)| name.as_str()));
        let hint =
            near.map_or_else(|| "rondo models list".to_owned(), |near| format!("did you mean `{near}`?"));
        let (name, code) = (model.to_owned(), Code::ModelNotFound);
        return Err(Error::NotFound { kind: "model", name, code, hint: Some(hint) });
    }
    let Some(wanted) = wanted.map(|wanted| wanted.trim_start_matches('@')) else {
        let aliases = meta.model_aliases(model).await?;
        let mut versions = meta.versions(model).await?;
        let champion = aliases.get(rondo_registry::promote::CHAMPION);
        let at = versions.iter().position(|version| Some(&version.digest) == champion);
        let at = at.or(versions.len().checked_sub(1));
        let missing = || Error::not_found("version of model", model, Code::VersionNotFound);
        return Ok(versions.swap_remove(at.ok_or_else(missing)?));
    };
    if let Ok(number) = wanted.parse() {
        return Ok(meta.version(model, number).await?);
    }
    let target = meta.model_aliases(model).await?.get(wanted).copied();
    let versions = meta.versions(model).await?;
    versions.into_iter().find(|version| Some(version.digest) == target).ok_or_else(|| Error::NotFound {
        kind: "alias",
        name: format!("{model}@{wanted}"),
        code: Code::AliasNotFound,
        hint: Some(format!("rondo models show {}", quote::word(model))),
    })
}

/// Puts together what is known of a version.
///
/// # Errors
/// When the store cannot be read.
pub async fn dossier(store: &Store, version: Version) -> Result<Dossier, Error> {
    let meta = store.meta();
    let aliases = meta.model_aliases(&version.model).await?;
    let aliases: Vec<String> =
        aliases.into_iter().filter(|(_, to)| *to == version.digest).map(|(alias, _)| alias).collect();
    let mut protected: Vec<String> =
        protect::protected(store, &version.model).await?.into_iter().map(|(alias, _)| alias).collect();
    protected.retain(|alias| aliases.contains(alias));
    let row = match version.run.as_ref().and_then(|run| run.parse().ok()) {
        Some(run) => meta.run(run).await?,
        None => None,
    };
    let mut dossier = Dossier {
        origin: "pipeline",
        digest: version.digest,
        created: version.created,
        aliases,
        protected,
        file: None,
        source: None,
        logged_model: None,
        run: row.as_ref().map(|row| MadeBy {
            id: row.id,
            name: row.name.clone(),
            experiment: row.experiment,
            user: row.user.clone(),
            started: row.started,
            deleted: row.deleted,
        }),
        pipeline_run: None,
        data: Vec::new(),
        code: CodeOf::default(),
        environment: None,
        signature: Value::Null,
        params: BTreeMap::new(),
        metrics: BTreeMap::new(),
        evaluation: None,
        gate: None,
        approval: approval::find(store, &version.model, version.number).await?,
        withheld: false,
        deployments: served(store, &version.model, version.number).await?,
        trained_until: None,
        stage: version.stage.clone(),
        description: version.description.clone(),
        tags: version.tags.clone(),
        version: version.number,
        model: version.model.clone(),
    };
    match version.of_client() {
        Some(said) => of_client(store, &mut dossier, said, row).await?,
        None => of_pipeline(store, &mut dossier, &version).await?,
    }
    Ok(dossier)
}

async fn of_pipeline(store: &Store, dossier: &mut Dossier, version: &Version) -> Result<(), Error> {
    let ours: ModelVersion = serde_json::from_value(version.record.clone()).map_err(|source| {
        let (kind, name) = ("model version", format!("{}/{}", version.model, version.number));
        rondo_store::Error::Record { kind, name, source }
    })?;
    dossier.file = Some(ours.file);
    dossier.pipeline_run = Some(ours.pipeline_run);
    dossier.trained_until = ours.trained_until;
    dossier.data = ours
        .lineage
        .datasets
        .iter()
        .map(|link| Data {
            name: link.reference.trim_start_matches("data.").to_owned(),
            digest: link.digest.hex(),
        })
        .collect();
    dossier.code = CodeOf {
        dirty: ours.lineage.code.commit.is_some().then_some(ours.lineage.code.dirty),
        commit: ours.lineage.code.commit,
        entry: None,
        files: ours.lineage.code.files,
    };
    dossier.environment = ours.lineage.environment.map(|(name, lock)| EnvironmentOf { name, lock });
    dossier.signature = json!(ours.signature);
    dossier.params = ours.lineage.params;
    let metrics = ours.evaluation.metrics.iter();
    dossier.metrics = metrics.filter_map(|metric| Some((metric.name.clone(), metric.value?))).collect();
    dossier.evaluation = Some(ours.evaluation);
    let moves = store.meta().journal(&reference::alias(&version.model, ""), i64::MAX).await?;
    let judged = moves.into_iter().rfind(|entry| entry.to == Some(version.digest));
    let report = judged.and_then(|entry| entry.because.evidence.get("gate").cloned()).unwrap_or(Value::Null);
    dossier.gate =
        Some(GateOf { passed: ours.gate_passed, reason: ours.gate_reason, verdicts: ours.verdicts, report });
    Ok(())
}

async fn of_client(
    store: &Store,
    dossier: &mut Dossier,
    said: ClientVersion,
    row: Option<RunRow>,
) -> Result<(), Error> {
    let meta = store.meta();
    dossier.origin = "client";
    let from_source = said.source.strip_prefix("models:/").map(|id| id.trim_start_matches('/'));
    let logged =
        said.model_id.clone().or_else(|| from_source.filter(|id| id.starts_with("m-")).map(str::to_owned));
    let place = match &logged {
        Some(id) => Some((id.clone(), String::new())),
        // What lies outside of the server's own tree is not looked into here.
        None => Roots::default().find(&said.source).ok().flatten().map(|place| (place.owner, place.path)),
    };
    dossier.source = Some(said.source);
    if let Some(row) = row {
        let mut facts = meta.facts(&[row.id]).await?.remove(&row.id).unwrap_or_default();
        dossier.params = facts.params.into_iter().map(|(key, value)| (key, json!(value))).collect();
        dossier.metrics = facts.metrics.into_iter().map(|metric| (metric.key, metric.point.value)).collect();
        dossier.code.commit = facts.tags.remove("mlflow.source.git.commit");
        dossier.code.entry = facts.tags.remove("mlflow.source.name");
        let inputs = facts.inputs.remove("dataset").unwrap_or_default();
        let text =
            |input: &Value, key: &str| Some(input.pointer(&format!("/dataset/{key}"))?.as_str()?.to_owned());
        let data = |input| Some(Data { name: text(input, "name")?, digest: text(input, "digest")? });
        dossier.data = inputs.iter().filter_map(data).collect();
    }
    if let Some(id) = &logged {
        let facts = meta.model_facts(std::slice::from_ref(id)).await?.remove(id).unwrap_or_default();
        dossier.params.extend(facts.params.into_iter().map(|(key, value)| (key, json!(value))));
        let mut points = facts.metrics;
        points.sort_by_key(|metric| (metric.point.timestamp, metric.point.step));
        dossier.metrics.extend(points.into_iter().map(|metric| (metric.key, metric.point.value)));
    }
    dossier.logged_model = logged;
    if let Some((owner, root)) = place {
        for name in ["requirements.txt", "python_env.yaml", "conda.yaml"] {
            if let Some(found) = meta.artifact(&owner, &within(&root, name)).await? {
                dossier.environment = Some(EnvironmentOf { name: name.to_owned(), lock: found.digest });
                break;
            }
        }
        if let Some(found) = meta.artifact(&owner, &within(&root, "MLmodel")).await?
            && found.size <= MLMODEL
        {
            let bytes = store.objects().read(found.digest)?;
            dossier.signature = signature(&String::from_utf8_lossy(&bytes));
        }
    }
    Ok(())
}

fn within(root: &str, name: &str) -> String {
    if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") }
}

/// The signature that an `MLmodel` file says; null where it says none, or none that can be read.
fn signature(text: &str) -> Value {
    let parsed = yaml::parse(text);
    let Some(signature) = parsed.root.as_ref().and_then(|root| root.get("signature")) else {
        return Value::Null;
    };
    let side = |key: &str| -> Value {
        // It is JSON in a text of YAML.
        let text = signature.get(key).map(|node| node.raw.as_str()).unwrap_or_default();
        serde_json::from_str(text).unwrap_or(Value::Null)
    };
    json!({ "inputs": side("inputs"), "outputs": side("outputs"), "params": side("params") })
}

/// Where a version answers or answered, newest first.
async fn served(store: &Store, model: &str, version: i64) -> Result<Vec<Served>, Error> {
    let mut until: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut served = Vec::new();
    for entry in store.meta().journal(&reference::deployment(""), i64::MAX).await? {
        let next = until.insert(entry.name.clone(), entry.at);
        let Some(to) = entry.to else { continue };
        let deployment: Deployment = store.meta().record(DEPLOYMENT, to).await?;
        if deployment.model == model && i64::from(deployment.version) == version {
            served.push(Served { endpoint: deployment.name, since: deployment.since, until: next });
        }
    }
    Ok(served)
}

impl Dossier {
    /// Without what its run logged, for who may read the model and not the run. What belongs to the version
    /// stays: its gate, its evaluation, its signature, where it answers.
    pub fn withhold(&mut self) {
        self.withheld = true;
        self.run = None;
        self.params.clear();
        self.data.clear();
        self.code = CodeOf::default();
        if self.evaluation.is_none() {
            self.metrics.clear();
        }
    }
}

/// The endpoints at which a version answers now.
///
/// # Errors
/// When the store cannot be read.
pub async fn live_at(store: &Store, model: &str, version: i64) -> Result<Vec<String>, Error> {
    let served = served(store, model, version).await?.into_iter();
    Ok(served.filter(|served| served.until.is_none()).map(|served| served.endpoint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_read_from_an_mlmodel_file() {
        let text = "flavors:\n  sklearn: {}\nsignature:\n  inputs: '[{\"type\": \"double\", \"name\": \"a\"}]'\n  \
                    outputs: '[{\"type\": \"long\"}]'\n  params: null\n";
        let read = signature(text);
        assert_eq!(read["inputs"][0]["name"], "a");
        assert_eq!(read["outputs"][0]["type"], "long");
        for odd in ["", "signature: 7", "signature: {inputs: 'not json'}", "- a\n", ": : :\n\t"] {
            assert!(signature(odd)["inputs"].is_null(), "{odd}");
        }
    }
}
