//! Tracing: from any thing back to where it came from, as far as the business problem.

use rondo_core::handoff::{ModelVersion, Observation};
use rondo_core::run::{Link, RunRow};
use rondo_core::{Code, reference};
use rondo_store::meta::registered::Version;
use rondo_tracking::artifacts;
use serde::Serialize;

use super::{Error, Platform, dossier};
use crate::report::lineage::Graph;

/// One link of the chain.
#[derive(Debug, Clone, Serialize)]
pub struct Hop {
    /// How far from the beginning: what a thing was made from stands one further.
    pub depth: usize,
    /// `prediction`, `deployment`, `model version`, `run`, `code`, `environment`, `parameters`, `dataset
    /// version`, `commit`, `artifacts` (that are not kept here), `objective`.
    pub kind: String,
    /// What it is called.
    pub title: String,
    /// Its whole digest or id, and what else there is to say.
    pub detail: String,
}

/// A chain from a thing to its origins.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Chain {
    /// The links, nearest first.
    pub hops: Vec<Hop>,
}

impl Chain {
    fn push(&mut self, depth: usize, kind: &str, title: impl Into<String>, detail: impl Into<String>) {
        self.hops.push(Hop { depth, kind: kind.to_owned(), title: title.into(), detail: detail.into() });
    }

    /// As an indented list.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for hop in &self.hops {
            let indent = "  ".repeat(hop.depth);
            text.push_str(&format!("{indent}{:<16} {}", hop.kind, hop.title));
            if !hop.detail.is_empty() {
                text.push_str(&format!("  {}", hop.detail));
            }
            text.push('\n');
        }
        text
    }
}

impl Platform {
    /// Traces a prediction's id (behind its endpoint and `/`, where several have answered with it), a model
    /// version (`delay@champion`, `delay/3`), a dataset version (`flights@latest`, or the beginning of its
    /// digest) or a run (the beginning of its id). With an endpoint it is a prediction's id there.
    ///
    /// # Errors
    /// When it is none of these, several endpoints have answered with the id, or the store cannot be read.
    pub async fn trace(&self, thing: &str, endpoint: Option<&str>) -> Result<Chain, Error> {
        let mut chain = Chain::default();
        let mut found = self.find_prediction(thing, endpoint).await?;
        if let Some(endpoint) = endpoint.filter(|_| found.is_none()) {
            return Err(Error::NotFound {
                kind: "prediction",
                name: format!("{endpoint}/{thing}"),
                code: Code::PredictionNotFound,
                hint: Some("rondo monitor predictions".to_owned()),
            });
        }
        if found.is_none()
            && let Some((endpoint, id)) = thing.split_once('/')
            && !(id.parse::<u32>().is_ok() && self.is_model(endpoint).await)
        {
            found = self.find_prediction(id, Some(endpoint)).await?;
        }
        if let Some(observation) = found {
            self.trace_prediction(&mut chain, &observation).await?;
            return Ok(chain);
        }
        if let Some((name, rest)) = thing.split_once('@').or_else(|| thing.split_once('/')) {
            if self.is_model(name).await {
                let found = dossier::find(self.store(), name, Some(rest)).await?;
                if found.of_client().is_some() {
                    self.trace_client_version(&mut chain, found).await?;
                    return Ok(chain);
                }
                let version = self.find_version(name, rest).await?;
                self.trace_version(&mut chain, 0, &version).await?;
                return Ok(chain);
            }
            if self.project().data.contains(name) {
                self.trace_dataset(&mut chain, 0, name, None).await?;
                return Ok(chain);
            }
        }
        for name in self.project().data.names() {
            let versions = self.store().meta().dataset_versions(name).await?;
            let wanted = |version: &&rondo_core::handoff::DatasetVersion| {
                thing.len() >= 4 && version.digest.hex().starts_with(thing)
            };
            if let Some(version) = versions.iter().find(wanted) {
                let digest = version.digest;
                self.trace_dataset(&mut chain, 0, name, Some(digest)).await?;
                return Ok(chain);
            }
        }
        if thing.len() >= 4
            && thing.chars().all(|c| c.is_ascii_hexdigit())
            && let Ok(run) = self.find_run(thing).await
        {
            self.trace_run(&mut chain, 0, &run).await?;
            return Ok(chain);
        }
        Err(Error::NotFound {
            kind: "prediction, model version, dataset version or run",
            name: thing.to_owned(),
            code: Code::PredictionNotFound,
            hint: Some("rondo trace MODEL@champion".to_owned()),
        })
    }

    async fn is_model(&self, name: &str) -> bool {
        self.project().models.contains(name) || self.store().meta().registered_model(name).await.is_ok()
    }

    async fn trace_prediction(&self, chain: &mut Chain, observation: &Observation) -> Result<(), Error> {
        chain.push(
            0,
            "prediction",
            &observation.prediction_id,
            format!("score {:.6} for {}", observation.score, observation.event_time),
        );
        let name = reference::deployment(&observation.deployment);
        let entry = self
            .store()
            .meta()
            .journal(&name, i64::MAX)
            .await?
            .into_iter()
            .find(|entry| entry.name == name && entry.at <= observation.received);
        let since =
            entry.map_or_else(String::new, |entry| format!("since {}: {}", entry.at, entry.because.why));
        chain.push(1, "deployment", &observation.deployment, since);
        let version = self.find_version(&observation.model, &observation.version.to_string()).await?;
        self.trace_version(chain, 2, &version).await
    }

    async fn trace_version(
        &self,
        chain: &mut Chain,
        depth: usize,
        version: &ModelVersion,
    ) -> Result<(), Error> {
        let name = format!("{} {}", version.model, version.version);
        chain.push(depth, "model version", name, format!("file {}", version.file));
        let run = self.store().meta().require_run(version.run).await?;
        self.trace_run(chain, depth + 1, &run).await?;
        for link in &version.lineage.datasets {
            let name = link.reference.trim_start_matches("data.");
            self.trace_dataset(chain, depth + 2, name, Some(link.digest)).await?;
        }
        for verdict in &version.verdicts {
            let mark = if verdict.passed { "holds" } else { "missed" };
            let slice = verdict.slice.as_ref().map_or_else(String::new, |slice| format!(" [{slice}]"));
            let value = verdict.value.map_or_else(|| "not judged".to_owned(), |value| format!("{value:.4}"));
            chain.push(
                depth + 1,
                "objective",
                format!("{}{slice}", verdict.text),
                format!("{mark}: {value}"),
            );
        }
        Ok(())
    }

    /// Of a version that a client made: what its run and its logged model say.
    async fn trace_client_version(&self, chain: &mut Chain, found: Version) -> Result<(), Error> {
        let known = dossier::dossier(self.store(), found).await?;
        let name = format!("{} {}", known.model, known.version);
        chain.push(0, "model version", name, format!("source {}", known.source.unwrap_or_default()));
        if let Some(logged) = known.logged_model {
            chain.push(1, "logged model", logged, "");
        }
        if let Some(made) = &known.run {
            let run = self.store().meta().require_run(made.id).await?;
            self.trace_run(chain, 1, &run).await?;
        }
        if let Some(entry) = known.code.entry {
            chain.push(2, "code", entry, "");
        }
        if let Some(commit) = known.code.commit {
            chain.push(2, "git commit", commit, "");
        }
        if let Some(environment) = known.environment {
            chain.push(2, "environment", environment.name, environment.lock.hex());
        }
        let params: Vec<String> = known
            .params
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        if !params.is_empty() {
            chain.push(2, "parameters", params.join(" "), "");
        }
        for data in known.data {
            chain.push(2, "dataset", data.name, data.digest);
        }
        Ok(())
    }

    async fn trace_run(&self, chain: &mut Chain, depth: usize, run: &RunRow) -> Result<(), Error> {
        chain.push(depth, "run", &run.name, run.id.hex());
        if let Some(line) = super::repro::told(&self.store().meta().run_tags(run.id).await?) {
            chain.push(depth + 1, "reproduced", line, "");
        }
        for (path, digest) in &run.detail.code.files {
            let kind = if path.ends_with(".ipynb") { "notebook" } else { "code" };
            chain.push(depth + 1, kind, path, digest.hex());
        }
        let params: Vec<String> =
            run.detail.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !params.is_empty() {
            chain.push(depth + 1, "parameters", params.join(" "), "");
        }
        if let Some((name, lock)) = &run.detail.environment {
            chain.push(depth + 1, "environment lock", name, lock.hex());
        }
        for link in &run.detail.inputs {
            chain.push(depth + 1, "input", &link.reference, link.digest.hex());
        }
        if let Some(commit) = &run.detail.code.commit {
            let dirty = if run.detail.code.dirty { "with uncommitted changes" } else { "" };
            chain.push(depth + 1, "git commit", commit, dirty);
        }
        let experiment = self.store().meta().experiment(run.experiment).await?;
        let root = experiment.map(|experiment| artifacts::run_root(&experiment.artifact_location, run.id));
        if let Some(root) = root.filter(|root| !artifacts::is_managed(root)) {
            chain.push(depth + 1, "artifacts", root, "unmanaged: outside of the store, they may change");
        }
        Ok(())
    }

    async fn trace_dataset(
        &self,
        chain: &mut Chain,
        depth: usize,
        name: &str,
        digest: Option<rondo_core::Digest>,
    ) -> Result<(), Error> {
        let versions = self.store().meta().dataset_versions(name).await?;
        let version = match digest {
            Some(digest) => versions.iter().find(|version| version.digest == digest),
            None => versions.last(),
        };
        let Some(version) = version else {
            chain.push(depth, "dataset version", name, digest.map_or_else(String::new, |d| d.hex()));
            return Ok(());
        };
        let rows = version.rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
        let detail = format!("{}{rows}, from {}", version.digest, version.source);
        chain.push(depth, "dataset version", name, detail);
        Ok(())
    }

    /// The lineage of a version as a picture's graph.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn lineage(&self, version: &ModelVersion, deployment: &str) -> Result<Graph, Error> {
        let mut graph = Graph::default();
        let pipeline = self.store().meta().require_run(version.pipeline_run).await?;
        let mut open = vec![version.run];
        let mut seen = Vec::new();
        while let Some(id) = open.pop() {
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let Some(run) = self.store().meta().run(id).await? else { continue };
            let step = run.step.clone().unwrap_or_else(|| run.name.clone());
            for link in &run.detail.inputs {
                let from = link_id(link);
                let kind = if link.reference.starts_with("data.") { "dataset" } else { "file" };
                graph.node(&from, kind, &link.reference, &link.digest.short());
                graph.edge(&from, &step);
                if let Some((made_by, _)) = link.reference.split_once('.').filter(|(name, _)| *name != "data")
                {
                    graph.edge(made_by, &from);
                    open.extend(pipeline.detail.steps.get(made_by).and_then(|outcome| outcome.run));
                }
            }
            for (path, digest) in &run.detail.code.files {
                graph.node(path, "code", path, &digest.short());
                graph.edge(path, &step);
            }
            if let Some((name, lock)) = &run.detail.environment {
                let id = format!("environment {name}");
                graph.node(&id, "environment", name, &lock.short());
                graph.edge(&id, &step);
            }
            graph.node(&step, "run", &step, &run.id.short());
        }
        let own = format!("{} {}", version.model, version.version);
        let step = self.store().meta().require_run(version.run).await?;
        graph.node(&own, "version", &own, &version.file.short());
        graph.edge(&step.step.unwrap_or(step.name), &own);
        graph.node("deployment", "deployment", deployment, "");
        graph.edge(&own, "deployment");
        Ok(graph)
    }
}

fn link_id(link: &Link) -> String {
    format!("{} {}", link.reference, link.digest.short())
}
