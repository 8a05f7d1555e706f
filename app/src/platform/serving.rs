//! Serving meets the registry: endpoints follow their aliases.

use std::sync::Arc;

use rondo_core::handoff::{Deployment, ModelVersion};
use rondo_core::journal::Because;
use rondo_core::{Code, reference};
use rondo_project::project::{Endpoint, Model};
use rondo_serving::deployment::{Candidate, Deployments, LogPolicy};
use rondo_serving::engine::LoadOptions;
use rondo_serving::log::{Options, PredictionLog};
use rondo_serving::request::Form;
use rondo_store::meta::journal::Expect;

use super::monitor::blocking;
use super::{Error, Platform};

/// The kind of record a deployment is.
pub(super) const DEPLOYMENT: &str = "deployment";

impl Platform {
    /// Opens the prediction log for writing and makes room for endpoints.
    ///
    /// # Errors
    /// When another process serves this project, or the log cannot be opened.
    pub async fn open_serving(&self) -> Result<Arc<Deployments>, Error> {
        let (root, clock) = (self.store().root().join("predictions"), self.clock().clone());
        blocking(move || {
            let log = Arc::new(PredictionLog::open(&root, Options::default())?);
            Ok(Arc::new(Deployments::new(log, clock)?))
        })
        .await
    }

    /// Brings every endpoint of the project to the version that its alias points to. An endpoint whose
    /// alias is not set yet is left out. Requests under way finish on the old version.
    ///
    /// # Errors
    /// When a model cannot be loaded; the old version goes on answering.
    pub async fn deploy(&self, deployments: &Arc<Deployments>) -> Result<Vec<Deployment>, Error> {
        let _one = self.deploying.lock().await;
        let mut moved = Vec::new();
        let project = self.project().clone();
        for (name, endpoint) in project.serve.iter() {
            let alias = &endpoint.model;
            let Some((_, version)) = self.store().meta().aliased_version(&alias.model, &alias.alias).await?
            else {
                continue;
            };
            let live = deployments.live(name).ok().map(|live| live.deployment.clone());
            if live.is_some_and(|live| live.version == version.version && live.file == version.file) {
                continue;
            }
            let model = project
                .models
                .get(&alias.model)
                .ok_or_else(|| Error::not_found("model", &alias.model, Code::ModelNotFound))?;
            let deployment = self.deployment(name, &version, &alias.alias).await?;
            let candidate = self.candidate(deployment.clone(), model, endpoint, &version)?;
            let shared = deployments.clone();
            blocking(move || Ok(shared.swap(candidate)?)).await?;
            self.keep_deployment(&deployment).await?;
            moved.push(deployment);
        }
        Ok(moved)
    }

    /// What an endpoint was brought to last, by this process or another.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn live_deployment(&self, name: &str) -> Result<Option<Deployment>, Error> {
        let meta = self.store().meta();
        Ok(match meta.target(&reference::deployment(name)).await? {
            Some(address) => Some(meta.record(DEPLOYMENT, address).await?),
            None => None,
        })
    }

    /// The deployment's record: the same as before where the same version answers again after a restart.
    async fn deployment(&self, name: &str, version: &ModelVersion, alias: &str) -> Result<Deployment, Error> {
        let before = self.live_deployment(name).await?;
        let same = before.filter(|before| before.version == version.version && before.file == version.file);
        Ok(same.unwrap_or_else(|| Deployment {
            name: name.to_owned(),
            model: version.model.clone(),
            version: version.version,
            file: version.file,
            alias: Some(alias.to_owned()),
            since: self.clock().now(),
        }))
    }

    async fn keep_deployment(&self, deployment: &Deployment) -> Result<(), Error> {
        let meta = self.store().meta();
        let address = meta.put_record(DEPLOYMENT, deployment).await?;
        let why = format!("{} version {} answers", deployment.model, deployment.version);
        let because = Because::new("rondo", &why);
        let name = reference::deployment(&deployment.name);
        meta.move_ref(&name, Expect::Anything, Some(address), because, deployment.since).await?;
        Ok(())
    }

    fn candidate(
        &self,
        deployment: Deployment,
        model: &Model,
        endpoint: &Endpoint,
        version: &ModelVersion,
    ) -> Result<Candidate, Error> {
        let features: Vec<String> =
            version.signature.inputs.iter().map(|column| column.name.clone()).collect();
        let mut carried = model.slices.clone();
        for objective in &self.project().canvas.objectives {
            carried.extend(objective.slice.iter().chain(&objective.by).cloned());
        }
        carried.retain(|column| !features.contains(column));
        carried.sort();
        carried.dedup();
        Ok(Candidate {
            path: self.store().objects().sound(version.file)?,
            options: LoadOptions { columns: features, positive: positive(model), task: Some(model.task) },
            threshold: model.threshold,
            signature: None,
            form: Form { carried, ..Form::default() },
            log: LogPolicy { sample: endpoint.log.sample, durable: endpoint.log.durable },
            deployment,
        })
    }
}

/// The label of the positive class, as the model's file writes it.
pub(super) fn positive(model: &Model) -> Option<String> {
    model.positive.as_ref().map(|value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}
