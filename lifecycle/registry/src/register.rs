//! Registration: a candidate becomes a version, for ever.

use rondo_core::handoff::{Lineage, ModelCandidate, ModelVersion};
use rondo_core::run::{RunKind, RunRow};
use rondo_core::{Digest, Timestamp};
use rondo_store::Store;

use crate::error::Error;
use crate::gate::GateReport;

/// Registers a candidate with what its gate said. The lineage is copied from the runs, so that the version
/// stands by itself when they are gone.
///
/// # Errors
/// When a run is missing or the store refuses.
pub async fn register(
    store: &Store,
    candidate: ModelCandidate,
    gate: &GateReport,
    at: Timestamp,
) -> Result<(Digest, ModelVersion), Error> {
    let step = store.meta().require_run(candidate.run).await?;
    let pipeline = store.meta().require_run(candidate.pipeline_run).await?;
    let lineage = lineage(store, &step, &pipeline).await?;
    let version = ModelVersion {
        model: candidate.model,
        version: 0,
        file: candidate.file.digest,
        run: candidate.run,
        pipeline_run: candidate.pipeline_run,
        task: candidate.task,
        target: candidate.target,
        positive: candidate.positive,
        threshold: candidate.threshold,
        signature: candidate.signature,
        evaluation: candidate.evaluation,
        verdicts: gate.verdicts.clone(),
        gate_passed: gate.passed,
        gate_reason: gate.reason(),
        reference: candidate.reference,
        trained_until: candidate.trained_until,
        lineage,
        created: at,
    };
    Ok(store.meta().register_version(version).await?)
}

async fn lineage(store: &Store, step: &RunRow, pipeline: &RunRow) -> Result<Lineage, Error> {
    let mut datasets = Vec::new();
    let mut inputs = step.detail.inputs.clone();
    // The step's own inputs were made by steps before it: go back to the datasets they all began with.
    let mut open: Vec<String> = inputs.iter().map(|link| link.reference.clone()).collect();
    let mut seen: Vec<String> = Vec::new();
    while let Some(reference) = open.pop() {
        if seen.contains(&reference) {
            continue;
        }
        seen.push(reference.clone());
        let Some((made_by, _)) = reference.split_once('.').filter(|(name, _)| *name != "data") else {
            continue;
        };
        let Some(run) = pipeline.detail.steps.get(made_by).and_then(|outcome| outcome.run) else { continue };
        if let Some(run) = store.meta().run(run).await?.filter(|run| run.kind == RunKind::Step) {
            open.extend(run.detail.inputs.iter().map(|link| link.reference.clone()));
            inputs.extend(run.detail.inputs);
        }
    }
    for link in inputs.iter().filter(|link| link.reference.starts_with("data.")) {
        if !datasets.contains(link) {
            datasets.push(link.clone());
        }
    }
    Ok(Lineage {
        code: step.detail.code.clone(),
        environment: step.detail.environment.clone(),
        params: step.detail.params.clone(),
        datasets,
        inputs: step.detail.inputs.clone(),
    })
}
