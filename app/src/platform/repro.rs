//! A run is made again, and what comes out is compared with what was recorded.
//!
//! Each step gets the inputs that were recorded for it, not what this time its predecessors made: so a
//! difference is told where it arises, and by induction the whole is reproducible where each step is.
//! [`plan`] finds what the run was made from; this compares, looks a second time at what differs, varies the
//! surroundings where that is asked for, and writes the verdict on the run.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rondo_core::error::causes;
use rondo_core::run::{Link, RunRow};
use rondo_core::sweep::TrialState;
use rondo_core::{Digest, RunId, Timestamp};
use rondo_pipeline::again::vary::{self, Variation};
use rondo_pipeline::compare::verdict::{Verdict, judge, name_randomness};
use rondo_pipeline::compare::{Finding, Kind, Marks, links};
use rondo_pipeline::{Outcome, RunReport, RunRequest, StepReport};
use rondo_project::ordered::Ordered;
use rondo_project::project::Reproducible;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::{Error, Platform};
use plan::{Made, Ready};

/// The tag on a run: what came of making it again last.
const VERDICT: &str = "rondo.repro.verdict";
/// When that was.
const AT: &str = "rondo.repro.at";
/// The digest of the whole record, which is also the run's artifact.
const RECORD: &str = "rondo.repro.record";
/// The artifact.
const ARTIFACT: &str = "rondo/repro.json";

/// What came of making a run again.
#[derive(Debug, Clone, Serialize)]
pub struct Reproduction {
    /// The form of this record.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Its name.
    pub name: String,
    /// When it was made again.
    pub at: Timestamp,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it cannot be repeated.
    pub reasons: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Where its code comes from: `commit` and the store, or the `work tree` of today and the store.
    pub source: &'static str,
    /// Every time that it was made.
    pub tries: Vec<Try>,
    /// Its steps.
    pub steps: Vec<StepVerdict>,
    /// What was varied, and what that changed.
    pub variations: Vec<Varied>,
}

/// One time that a run was made again.
#[derive(Debug, Clone, Serialize)]
pub struct Try {
    /// The run that it was.
    pub run: RunId,
    /// What was varied.
    pub varied: Vec<Variation>,
}

/// What came of one step.
#[derive(Debug, Clone, Serialize)]
pub struct StepVerdict {
    /// The step.
    pub step: String,
    /// The run whose outputs were recorded.
    pub run: RunId,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it could not be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Its outputs.
    pub outputs: Vec<OutputVerdict>,
}

/// What came of one output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputVerdict {
    /// The output.
    pub output: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was recorded.
    pub recorded: Digest,
    /// What came out.
    pub again: Digest,
    /// The tolerance that is declared for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// How they differ.
    pub differences: Vec<Finding>,
}

/// What a variation changed.
#[derive(Debug, Clone, Serialize)]
pub struct Varied {
    /// What was varied.
    pub variation: Variation,
    /// Whether it could be varied here.
    pub tried: bool,
    /// What came out otherwise.
    pub changed: Vec<Changed>,
}

/// An output that a variation changed.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// `step.output`, or the step where it failed.
    pub output: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// How it differs.
    pub differences: Vec<Finding>,
}

/// The outputs, by step and name, that differ from try to try with nothing varied.
type Lots = BTreeSet<(String, String)>;

impl Platform {
    /// Makes a run again and compares what comes out. What came of it is kept on the run.
    ///
    /// # Errors
    /// When the store refuses, or it is interrupted. That it cannot be repeated is a verdict, and no error.
    pub async fn reproduce(
        &self,
        run: &RunRow,
        vary: &[Variation],
        cancel: watch::Receiver<bool>,
    ) -> Result<Reproduction, Error> {
        let mut found = Reproduction {
            schema: 1,
            run: run.id,
            name: run.name.clone(),
            at: self.clock().now(),
            verdict: Verdict::NotRepeatable,
            reasons: Vec::new(),
            notes: Vec::new(),
            source: "work tree",
            tries: Vec::new(),
            steps: Vec::new(),
            variations: Vec::new(),
        };
        match Box::pin(self.ready(run, &mut found, cancel.clone())).await? {
            Some(ready) => Box::pin(self.judge_again(&ready, vary, &mut found, cancel)).await?,
            None => found.verdict = Verdict::NotRepeatable,
        }
        self.keep_verdict(&found).await?;
        Ok(found)
    }

    async fn judge_again(
        &self,
        ready: &Ready,
        vary: &[Variation],
        found: &mut Reproduction,
        cancel: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let first = Box::pin(attempt(ready, &[], found, cancel.clone())).await?;
        found.steps = block_in_place(|| self.compared(ready, &first))?;
        let doubtful = |step: &StepVerdict| {
            step.outputs.iter().flat_map(|output| &output.differences).any(|finding| !finding.kind.is_form())
        };
        let mut lots = Lots::new();
        if found.steps.iter().any(doubtful) {
            // What differs from try to try depends on no change of code or machine.
            let second = Box::pin(attempt(ready, &[], found, cancel.clone())).await?;
            block_in_place(|| self.tell_apart(ready, &first, &second, &mut lots, &mut found.steps))?;
        }
        Box::pin(self.varied(ready, &first, &mut lots, vary, found, cancel)).await?;
        let steps = worst(found.steps.iter().map(|step| step.verdict));
        let changed =
            found.variations.iter().flat_map(|varied| &varied.changed).map(|changed| changed.verdict);
        found.verdict = steps.max(worst(changed));
        for step in found.steps.iter().filter(|step| step.verdict == Verdict::NotRepeatable) {
            let cause = step.cause.as_deref().unwrap_or("no cause is known");
            found.reasons.push(format!("step `{}` failed this time: {cause}", step.step));
        }
        Ok(())
    }

    /// Finds what differs between two tries with nothing varied, and names it for what it is: drawn by lot,
    /// or made of the time.
    fn tell_apart(
        &self,
        ready: &Ready,
        first: &Made,
        second: &Made,
        lots: &mut Lots,
        steps: &mut [StepVerdict],
    ) -> Result<(), Error> {
        for step in steps {
            let tolerance = self.tolerances(ready, &step.step);
            for output in &mut step.outputs {
                let Some((a, b)) = pair(first, second, &step.step, &output.output) else { continue };
                if a.digest == b.digest || !lots.insert((step.step.clone(), output.output.clone())) {
                    continue;
                }
                let (old, new) = (self.marks_of(first, &step.step), self.marks_of(second, &step.step));
                let between = links(self.store().objects(), a, b, &Marks { old, new })?;
                if output.differences.is_empty() {
                    // The first try came out as it was recorded, and the second did not.
                    output.differences.clone_from(&between);
                }
                name_randomness(&mut output.differences, &between);
                let tolerance = tolerance.as_ref().and_then(|declared| declared.of(&output.output));
                output.verdict = judge(&output.differences, tolerance);
            }
            if step.verdict != Verdict::NotRepeatable {
                step.verdict = worst(step.outputs.iter().map(|output| output.verdict));
            }
        }
        Ok(())
    }

    /// Each recorded step beside what came out.
    fn compared(&self, ready: &Ready, made: &Made) -> Result<Vec<StepVerdict>, Error> {
        let mut steps = Vec::new();
        for row in &ready.recorded {
            let name = row.step.clone().unwrap_or_default();
            let report = made.report.step(&name).filter(|report| report.outcome.is_good());
            let Some(report) = report else {
                let cause = made.report.step(&name).and_then(|report| report.cause.clone());
                let verdict = Verdict::NotRepeatable;
                steps.push(StepVerdict { step: name, run: row.id, verdict, cause, outputs: Vec::new() });
                continue;
            };
            let declared = self.tolerances(ready, &name);
            let marks = Marks { old: self.marks_of_recorded(row), new: self.marks_of(made, &name) };
            let mut outputs = Vec::new();
            for link in &row.detail.outputs {
                let Some(again) = report.output(&link.name) else { continue };
                let tolerance = declared.as_ref().and_then(|declared| declared.of(&link.name));
                let (mut differences, mut verdict) = (Vec::new(), Verdict::Identical);
                if again.digest != link.digest {
                    differences = match self.store().objects().holds(link.digest, link.folder) {
                        true => links(self.store().objects(), link, again, &marks)?,
                        false => vec![gone()],
                    };
                    verdict = judge(&differences, tolerance);
                }
                let (output, recorded, again) = (link.name.clone(), link.digest, again.digest);
                outputs.push(OutputVerdict { output, verdict, recorded, again, tolerance, differences });
            }
            let verdict = worst(outputs.iter().map(|output| output.verdict));
            steps.push(StepVerdict { step: name, run: row.id, verdict, cause: None, outputs });
        }
        Ok(steps)
    }

    /// Varies the surroundings: all at once first, and each by itself where that changed something.
    ///
    /// Time goes on between tries, and what is made of it changes by itself. So nothing that differs is laid
    /// to what was varied before a fresh try with nothing varied, made after it, has come out as the first.
    async fn varied(
        &self,
        ready: &Ready,
        first: &Made,
        lots: &mut Lots,
        vary: &[Variation],
        found: &mut Reproduction,
        cancel: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let (here, elsewhere): (Vec<Variation>, Vec<Variation>) =
            vary.iter().copied().partition(|variation| vary::varies_here(*variation));
        for variation in elsewhere {
            found.notes.push(format!("{} cannot be varied on this machine", variation.subject()));
            found.variations.push(Varied { variation, tried: false, changed: Vec::new() });
        }
        let mut suspects = here.clone();
        if here.len() > 1
            && Box::pin(self.changed_by(ready, first, lots, &here, found, &cancel)).await?.is_empty()
        {
            suspects.clear();
        }
        for variation in here.iter().copied() {
            let mut changed = Vec::new();
            if suspects.contains(&variation) {
                changed = Box::pin(self.changed_by(ready, first, lots, &[variation], found, &cancel)).await?;
            }
            found.variations.push(Varied { variation, tried: true, changed });
        }
        // Only now is all known of what differs by itself.
        for varied in &mut found.variations {
            varied.changed.retain(|changed| {
                changed
                    .output
                    .rsplit_once('.')
                    .is_none_or(|(step, output)| !lots.contains(&(step.to_owned(), output.to_owned())))
            });
        }
        if !lots.is_empty() && !here.is_empty() {
            let names: Vec<String> = lots.iter().map(|(step, output)| format!("{step}.{output}")).collect();
            let names = names.join("`, `");
            found.notes.push(format!(
                "what varying changes in `{names}` cannot be told: it differs from try to try"
            ));
        }
        Ok(())
    }

    /// What comes out otherwise when these are varied, and does not when nothing is varied at the same time.
    async fn changed_by(
        &self,
        ready: &Ready,
        first: &Made,
        lots: &mut Lots,
        variations: &[Variation],
        found: &mut Reproduction,
        cancel: &watch::Receiver<bool>,
    ) -> Result<Vec<Changed>, Error> {
        let made = Box::pin(attempt(ready, variations, found, cancel.clone())).await?;
        let changed = block_in_place(|| self.changed(ready, first, &made, lots))?;
        if changed.is_empty() {
            return Ok(changed);
        }
        let fresh = Box::pin(attempt(ready, &[], found, cancel.clone())).await?;
        block_in_place(|| self.tell_apart(ready, first, &fresh, lots, &mut found.steps))?;
        let mut changed = block_in_place(|| self.changed(ready, first, &made, lots))?;
        // A step that fails with nothing varied says nothing of what was.
        let fails = |step: &str| fresh.report.step(step).is_none_or(|report| !report.outcome.is_good());
        changed.retain(|changed| {
            let step = changed.output.rsplit_once('.').map_or(changed.output.as_str(), |(step, _)| step);
            let of = [step, changed.output.as_str()];
            !of.into_iter().any(|step| fresh.report.step(step).is_some() && fails(step))
        });
        Ok(changed)
    }

    /// What one try gave otherwise than another, but for what differs from try to try.
    fn changed(&self, ready: &Ready, first: &Made, other: &Made, lots: &Lots) -> Result<Vec<Changed>, Error> {
        let mut changed = Vec::new();
        for step in first.report.steps.iter().filter(|step| step.outcome == Outcome::Ran) {
            let again = other.report.step(&step.name);
            let Some(again) = again.filter(|again| again.outcome.is_good()) else {
                let cause = again.and_then(|again| again.cause.clone()).unwrap_or_default();
                let failed = plan::failed(&cause);
                let (output, verdict) = (step.name.clone(), Verdict::Different);
                changed.push(Changed { output, verdict, differences: vec![failed] });
                continue;
            };
            let declared = self.tolerances(ready, &step.name);
            let (old, new) = (self.marks_of(first, &step.name), self.marks_of(other, &step.name));
            let marks = Marks { old, new };
            for link in &step.outputs {
                let Some(now) = again.output(&link.name).filter(|now| now.digest != link.digest) else {
                    continue;
                };
                if lots.contains(&(step.name.clone(), link.name.clone())) {
                    continue;
                }
                let differences = links(self.store().objects(), link, now, &marks)?;
                let tolerance = declared.as_ref().and_then(|declared| declared.of(&link.name));
                let verdict = judge(&differences, tolerance);
                changed.push(Changed {
                    output: format!("{}.{}", step.name, link.name),
                    verdict,
                    differences,
                });
            }
        }
        Ok(changed)
    }

    /// What the project declares of a step's outputs: today, or then where it has no such step any more.
    fn tolerances(&self, ready: &Ready, step: &str) -> Option<Reproducible> {
        let name = step.split(['[', '@']).next().unwrap_or(step);
        let then = || ready.platform.project().steps.get(name);
        let declared = self.project().steps.get(name).or_else(then)?;
        let usual = Reproducible { tolerance: None, outputs: Ordered::new() };
        Some(declared.reproducible.clone().unwrap_or(usual))
    }

    /// By what an output of a recorded run may name its place.
    fn marks_of_recorded(&self, row: &RunRow) -> Vec<String> {
        let parent = row.parent.unwrap_or(row.id);
        self.marks(parent, row.id, self.root())
    }

    /// By what an output of a step that was made again may name its place.
    fn marks_of(&self, made: &Made, step: &str) -> Vec<String> {
        let own = made.report.step(step).and_then(|report| report.run);
        self.marks(made.report.run, own.unwrap_or(made.report.run), &made.root)
    }

    fn marks(&self, pipeline: RunId, run: RunId, root: &Path) -> Vec<String> {
        let work = self.store().root().join("work").join(pipeline.hex());
        let place = |path: &Path| path.to_string_lossy().into_owned();
        vec![place(&work), place(root), pipeline.hex(), run.hex()]
    }

    async fn keep_verdict(&self, found: &Reproduction) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(found).unwrap_or_default();
        let stored = self.store().objects().put_bytes(&text)?;
        let meta = self.store().meta();
        meta.put_artifact(&found.run.hex(), ARTIFACT, stored.digest, stored.size, found.at).await?;
        let tags = [
            (VERDICT, found.verdict.text().to_owned()),
            (AT, found.at.rfc3339()),
            (RECORD, stored.digest.hex()),
        ];
        let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        meta.set_run_tags(found.run, tags).await?;
        Ok(())
    }
}

/// What a run's tags say of its having been made again.
pub fn told(tags: &BTreeMap<String, String>) -> Option<String> {
    let verdict = tags.get(VERDICT)?.replace('-', " ");
    Some(format!("{verdict} ({})", tags.get(AT).map_or("", String::as_str)))
}

fn gone() -> Finding {
    let text = "what was recorded is not in the store any more: only the digests can be compared";
    Finding { kind: Kind::Bytes, place: String::new(), text: text.to_owned(), spread: None }
}

fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.max().unwrap_or(Verdict::Identical)
}

fn pair<'a>(a: &'a Made, b: &'a Made, step: &str, output: &str) -> Option<(&'a Link, &'a Link)> {
    Some((a.report.step(step)?.output(output)?, b.report.step(step)?.output(output)?))
}

/// Makes the run once, in surroundings that differ as they are asked to.
async fn attempt(
    ready: &Ready,
    varied: &[Variation],
    found: &mut Reproduction,
    cancel: watch::Receiver<bool>,
) -> Result<Made, Error> {
    let platform =
        if varied.contains(&Variation::Path) { ready.elsewhere().await? } else { ready.platform.clone() };
    let mut request = ready.request.clone();
    if let Some(again) = &mut request.again {
        again.variables = varied.iter().flat_map(|variation| variation.variables()).collect();
    }
    let root = platform.root().to_owned();
    let report = if varied.contains(&Variation::Cores) {
        on_one_core(platform, request, cancel).await?
    } else {
        Box::pin(platform.run(request, cancel)).await?
    };
    found.tries.push(Try { run: report.run, varied: varied.to_vec() });
    let report = with_trials(&ready.platform, report).await?;
    Ok(Made { report, root })
}

/// A report with the trials of its sweeps as if they were steps.
async fn with_trials(platform: &Platform, mut report: RunReport) -> Result<RunReport, Error> {
    let mut trials = Vec::new();
    for step in &report.steps {
        for trial in step.sweep.iter().flat_map(|sweep| &sweep.trials) {
            let row = match trial.run {
                Some(run) => platform.store().meta().run(run).await?,
                None => None,
            };
            let ok = trial.state == TrialState::Finished;
            trials.push(StepReport {
                hints: Vec::new(),
                name: format!("{}@{}", step.name, trial.number),
                outcome: if ok { Outcome::Ran } else { Outcome::Failed },
                run: trial.run,
                outputs: row.map(|row| row.detail.outputs).unwrap_or_default(),
                cause: trial.cause.clone(),
                sweep: None,
                ..step.clone()
            });
        }
    }
    report.steps.extend(trials);
    Ok(report)
}

/// Runs on threads of their own that may use one core: what they start may use no other.
async fn on_one_core(
    platform: Arc<Platform>,
    request: RunRequest,
    cancel: watch::Receiver<bool>,
) -> Result<RunReport, Error> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let work = move || -> Result<RunReport, Error> {
        let fault = |error| Error::io("keep to one core in", platform.root())(error);
        vary::keep_to_one_core().map_err(fault)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("start threads in", platform.root())(error))?;
        runtime.block_on(async { Box::pin(platform.run(request, cancel)).await })
    };
    // Whoever asked may have gone.
    let thread = std::thread::Builder::new().spawn(move || drop(answer.send(work())));
    thread.map_err(|error| Error::io("start a thread in", Path::new("."))(error))?;
    answered.await.map_err(|_| Error::Invalid {
        code: rondo_core::Code::Internal,
        message: "the thread of a varied run ended".to_owned(),
    })?
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}
