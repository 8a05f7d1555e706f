//! The loop closes: a retraining request is answered by a detached pipeline run.

use std::collections::BTreeMap;
use std::sync::Arc;

use rondo_core::Timestamp;
use rondo_core::error::causes;
use rondo_core::handoff::{RequestState, RetrainRequest};
use rondo_core::journal::Because;
use rondo_pipeline::{Place, RunRequest};
use rondo_project::project::Reference;
use rondo_serving::deployment::Deployments;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::models::PromotionRule;
use super::{Error, Platform};

/// The parameter that a request overrides, where the project has it: labelled data before this moment are
/// used. A day or moment, as in `rondo.yaml`.
pub const UNTIL: &str = "until";

impl Platform {
    /// Answers a request: runs its steps on the newest data, registers what comes out, and promotes it if
    /// it passes its gate and the request says so. The request is kept with what came of it.
    ///
    /// Doing it again after a crash gives the same: steps that ended are in the cache, and a run's model
    /// is registered once.
    ///
    /// # Errors
    /// When the store refuses. A pipeline that fails is an answer, and no error.
    pub async fn answer(
        &self,
        request: &RetrainRequest,
        cancel: watch::Receiver<bool>,
        deployments: &Arc<Deployments>,
    ) -> Result<RetrainRequest, Error> {
        let mut answered = request.clone();
        answered.state = RequestState::Running;
        self.store().meta().update_request(&answered).await?;
        match Box::pin(self.retrain(&mut answered, cancel.clone())).await {
            // The promotion serves before the request counts as answered.
            Ok(()) => {
                if let Err(error) = self.deploy(deployments).await {
                    let outcome = answered.outcome.unwrap_or_default();
                    answered.outcome = Some(format!("{outcome}; but it does not serve: {}", chain(&error)));
                }
            }
            // Stopped from outside: it stays, and is taken up at the next start.
            Err(_) if *cancel.borrow() => return Ok(answered),
            Err(error) => {
                answered.state = RequestState::Failed;
                answered.outcome = Some(chain(&error));
            }
        }
        self.store().meta().update_request(&answered).await?;
        Ok(answered)
    }

    async fn retrain(
        &self,
        request: &mut RetrainRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        self.arrive(request.until).await?;
        let mut targets = request.targets.clone();
        let evaluation = self.project().models.get(&request.model).and_then(|model| model.evaluation.clone());
        targets.extend(evaluation.filter(|step| !request.targets.contains(step)));
        let (pins, until) = self.newest_data(&targets, request.until).await?;
        let mut params = request.params.clone();
        if let Some(until) = until.filter(|_| self.project().params.contains(UNTIL)) {
            params.entry(UNTIL.to_owned()).or_insert_with(|| Value::String(until.day()));
        }
        request.params = params.clone();
        let report = self
            .run(
                RunRequest {
                    targets,
                    params,
                    pins,
                    started_by: request.id.clone(),
                    place: Place::Detached,
                    user: "rondo".to_owned(),
                    ..RunRequest::default()
                },
                cancel,
            )
            .await?;
        request.run = Some(report.run);
        if let Some(failure) = report.failure() {
            return Err(failure.into());
        }
        let rule = if request.promote { PromotionRule::Passing } else { PromotionRule::Never };
        let because = Because::new("rondo", &request.cause).with_evidence(json!(request.id));
        let registered = self.register_models(&report, rule, &because).await?;
        let own = registered.iter().find(|registered| registered.model == request.model);
        request.state = match own {
            Some(registered) if registered.promoted => RequestState::Promoted,
            // The promotion goes on when somebody approves it: see `approvals`.
            Some(registered) if registered.pending && request.promote => RequestState::Pending,
            Some(_) | None => RequestState::Kept,
        };
        request.outcome = own.map(|registered| registered.outcome.clone());
        Ok(())
    }

    /// The newest version of each dataset that the targets read; and the end of the newest part among
    /// those in parts, up to which the data are whole.
    async fn newest_data(
        &self,
        targets: &[String],
        at: Timestamp,
    ) -> Result<(BTreeMap<String, rondo_core::Digest>, Option<Timestamp>), Error> {
        let project = self.project().clone();
        let names: Vec<&str> = targets.iter().map(String::as_str).collect();
        let mut pins = BTreeMap::new();
        let mut until: Option<Timestamp> = None;
        for step in project.order(&names) {
            for reference in project.steps.get(step).into_iter().flat_map(|step| step.inputs.values()) {
                let Reference::Data { dataset } = reference else { continue };
                if pins.contains_key(dataset) {
                    continue;
                }
                let Some(version) = self.datasets().latest(dataset).await? else { continue };
                pins.insert(dataset.clone(), version.digest);
                if project.data.get(dataset).is_some_and(|dataset| dataset.parts.is_some()) {
                    let end = self.end_of_parts(dataset, at).await?;
                    until = match (until, end) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
            }
        }
        Ok((pins, until))
    }

    /// The end of the newest part of a dataset that is in its latest version.
    async fn end_of_parts(&self, dataset: &str, at: Timestamp) -> Result<Option<Timestamp>, Error> {
        let Some(version) = self.datasets().latest(dataset).await? else { return Ok(None) };
        let held: Vec<String> = self
            .store()
            .objects()
            .tree(version.digest)?
            .entries()
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        let intake = self.intake(dataset, Because::new("rondo", "looked at"))?;
        let root = self.root().to_owned();
        let parts = self.datasets().parts(&self.fetcher(), &intake, &root).await?;
        Ok(parts
            .iter()
            .filter(|part| held.contains(&part.name) && part.until <= at)
            .map(|part| part.until)
            .max())
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}
