//! `rondo run`: the steps that are not up to date, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use rondo_core::journal::Because;
use rondo_core::{Code, Digest, Explain, suggest};
use rondo_pipeline::{Outcome as StepOutcome, RunReport, RunRequest, StepReport};
use rondo_project::check::PROJECT_FILE;
use serde_json::{Value, json};

use super::Session;
use super::failure::{Failure, Outcome};
use super::signals::cancelled;
use crate::platform::Platform;
use crate::platform::models::{PromotionRule, Registered};
use crate::report::sweep;

/// So many steps that were not run are named.
const NAMED: usize = 12;

/// Run the pipeline: the steps that are not up to date, or the ones named
#[derive(clap::Args)]
pub struct Args {
    /// The steps wanted, `train` or one of a matrix `train[seed=1]`; what they need runs with them
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Begin with this step: it and what depends on it; with steps wanted, what lies between
    #[arg(long, value_name = "STEP")]
    from: Vec<String>,
    /// Run the named steps alone; what they need is taken as it was last made
    #[arg(long, requires = "steps", conflicts_with = "from")]
    only: bool,
    /// Set a parameter for this run
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Run the steps even if an earlier run could stand for them
    #[arg(long)]
    force: bool,
    /// Fail where the result would change `rondo.lock`
    #[arg(long)]
    locked: bool,
    /// Go on with what does not depend on a step that failed
    #[arg(long)]
    keep_going: bool,
    /// Say what would run and why, and run nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How many cores steps may use at once; the machine's where absent
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// How much there is of a resource that the project has a name of its own for
    #[arg(long = "resource", value_name = "NAME=N", value_parser = amount)]
    resources: Vec<(String, u32)>,
    /// Show what steps say, line by line, also of those that an earlier run stands for
    #[arg(short, long)]
    follow: bool,
}

fn amount(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=').and_then(|(name, amount)| Some((name, amount.parse().ok()?)));
    let (name, amount) = parts.ok_or_else(|| "expected NAME=N, such as `licence=2`".to_owned())?;
    Ok((name.to_owned(), amount))
}

/// Runs it.
///
/// # Errors
/// When a step is unknown, a dataset is refused, or a step fails.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let printer = session.printer();
    let progress = if args.follow { printer.followed() } else { printer.progress() };
    let platform = session.platform_shown(progress).await?;
    platform.project().notes.iter().for_each(|note| printer.note(note));
    known_steps(&platform, &args.steps)?;
    known_steps(&platform, &args.from)?;
    known_resources(&platform, &args.resources)?;
    let params = params(&platform, &args.params)?;
    let mut request = RunRequest {
        targets: args.steps.clone(),
        from: args.from,
        only: args.only,
        params,
        started_by: "user".to_owned(),
        force: args.force,
        locked: args.locked,
        keep_going: args.keep_going,
        jobs: args.jobs,
        resources: args.resources.into_iter().collect(),
        replay: args.follow,
        user: session.config().account(),
        ..RunRequest::default()
    };
    let steps: Vec<String> = args.steps.iter().map(|step| step_of(step).to_owned()).collect();
    if args.dry_run {
        tell_edited(&platform, &platform.pins(&platform.datasets_of(&steps)).await?, session).await;
        return super::pipeline::show::planned(&platform, &request, session).await;
    }
    request.pins = platform.ensure_datasets(&steps).await?;
    tell_edited(&platform, &request.pins, session).await;
    let report = Box::pin(platform.run(request, cancelled())).await?;
    let registered = match report.failure() {
        None if !platform.project().models.is_empty() => {
            let because = Because::new(session.config().user(), "registered by `rondo run`");
            Box::pin(platform.register_models(&report, PromotionRule::First, &because)).await?
        }
        None | Some(_) => Vec::new(),
    };
    let value = || {
        json!({
            "schema": 1, "run": report.run, "seconds": report.seconds, "steps": report.steps,
            "models": registered,
        })
    };
    match report.failure() {
        None => {
            session.printer().result_of(value, || text(&report, &registered));
            Ok(())
        }
        Some(first) => {
            let failed_steps = report.steps.iter().filter(|step| step.outcome == StepOutcome::Failed);
            let more = |step: &StepReport| {
                let run = step.run.map(|run| format!("rondo runs show {}", run.short()));
                step.hints.clone().into_iter().chain(run).collect::<Vec<_>>()
            };
            let hints = failed_steps.flat_map(more).collect();
            Err(Failure::from(Failed { first, hints }).shown(failed(&report), value()))
        }
    }
}

/// Says which data were edited since the version that is run on. A file that cannot be looked at is nothing that a
/// run needs.
async fn tell_edited(platform: &Platform, pins: &BTreeMap<String, Digest>, session: &Session) {
    for name in platform.edited(pins).await.unwrap_or_default() {
        let line = format!(
            "note: `{name}` has changed since the version that is run on; to run on what it is now: rondo data \
             add {name}"
        );
        session.printer().note(&line);
    }
}

/// Refuses steps that do not exist.
///
/// # Errors
/// When one does not.
pub fn known_steps(platform: &Platform, steps: &[String]) -> Outcome {
    for step in steps.iter().map(|step| step_of(step)) {
        if !platform.project().has_target(step) {
            let names: Vec<&str> = platform.project().steps.names().collect();
            let hint = offer(step, &names);
            return Err(Failure::hinted(Code::StepNotFound, format!("find step `{step}`"), hint));
        }
    }
    Ok(())
}

/// What is said to who names a step that there is not.
fn offer(step: &str, names: &[&str]) -> String {
    match suggest::nearest(step, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => {
            format!("no step can be read from `{PROJECT_FILE}`: see `rondo status`")
        }
        None => format!("the steps are {}", names.join(", ")),
    }
}

/// The step that a word means: `train` of `train[seed=1]`.
fn step_of(word: &str) -> &str {
    word.split('[').next().unwrap_or(word)
}

fn known_resources(platform: &Platform, given: &[(String, u32)]) -> Outcome {
    let steps = platform.project().steps.values();
    let known: BTreeSet<&str> = steps.flat_map(|step| step.resources.custom.names()).collect();
    let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let near = suggest::nearest(name, known.iter().copied());
    let hint = near.map_or_else(
        || "declare it under `resources: { custom: … }` of a step".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Failure::hinted(Code::ValueInvalid, format!("find resource `{name}`"), hint))
}

/// The parameters that are given on the command line, in the kinds that the project declares.
///
/// # Errors
/// When one is not declared, or of another kind.
pub fn params(platform: &Platform, given: &[String]) -> Outcome<BTreeMap<String, Value>> {
    let mut params = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::hinted(
                Code::Usage,
                format!("read parameter `{text}`"),
                "rondo run -p name=value",
            ));
        };
        let declared = platform.project().params.get(name);
        let Some(declared) = declared else {
            let near = suggest::nearest(name, platform.project().params.names());
            let hint = near.map_or_else(
                || "declare it under `params:` in rondo.yaml".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::hinted(Code::ValueInvalid, format!("find parameter `{name}`"), hint));
        };
        let read = match declared {
            Value::String(_) => Value::String(value.to_owned()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
            }
        };
        if !declared.is_null() && kind(declared) != kind(&read) {
            return Err(Failure::hinted(
                Code::ValueInvalid,
                format!("set parameter `{name}` to `{value}`: expected a {}", kind(declared)),
                format!("rondo run -p {name}={declared}"),
            ));
        }
        params.insert(name.to_owned(), read);
    }
    Ok(params)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "mapping",
    }
}

fn text(report: &RunReport, registered: &[Registered]) -> String {
    let (ran, cached) = (report.count(StepOutcome::Ran), report.count(StepOutcome::Cached));
    let skipped = match report.count(StepOutcome::Skipped) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    let mut text = sweeps(report);
    text += &format!(
        "run {}: {ran} ran, {cached} cached{skipped}, {:.1} s\n",
        report.run.short(),
        report.seconds
    );
    for one in registered {
        text.push_str(&format!("{}: {}\n", one.model, one.outcome));
        if !one.promoted && one.outcome.contains("waits") {
            text.push_str(&format!("hint: rondo models promote {} {}\n", one.model, one.version));
        }
    }
    text
}

/// The sweeps of a run: their trials, or where nothing was to be done what they came to.
fn sweeps(report: &RunReport) -> String {
    let swept = report.steps.iter().filter_map(|step| Some((step, step.sweep.as_deref()?)));
    let shown = swept.map(|(step, sweep)| match step.outcome {
        StepOutcome::Cached => sweep::summary(&step.name, sweep),
        StepOutcome::Ran | StepOutcome::Failed | StepOutcome::Skipped => {
            sweep::text(&step.name, sweep, super::pipeline::sweep::SHOWN) + "\n"
        }
    });
    shown.collect()
}

/// A run in which steps failed: the first of them is the error, and each has a hint.
#[derive(Debug, thiserror::Error)]
#[error("{first}")]
struct Failed {
    first: rondo_pipeline::Error,
    hints: Vec<String>,
}

impl Explain for Failed {
    fn code(&self) -> Code {
        self.first.code()
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

/// How many steps ran, and which did not, in a line.
fn summary(report: &RunReport) -> String {
    let count = |outcome| report.count(outcome);
    let mut parts = vec![format!("{} ran", count(StepOutcome::Ran))];
    for (outcome, word) in [(StepOutcome::Cached, "cached"), (StepOutcome::Failed, "failed")] {
        if count(outcome) > 0 {
            parts.push(format!("{} {word}", count(outcome)));
        }
    }
    let left = report.steps.iter().filter(|step| step.outcome == StepOutcome::Skipped);
    let left: Vec<&str> = left.map(|step| step.name.as_str()).collect();
    if !left.is_empty() {
        let more =
            if left.len() > NAMED { format!(" and {} more", left.len() - NAMED) } else { String::new() };
        let named = left.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        parts.push(format!("{} not run: {named}{more}", left.len()));
    }
    format!("run {}: {}\n", report.run.short(), parts.join(", "))
}

fn failed(report: &RunReport) -> String {
    let mut text = sweeps(report);
    for step in report.steps.iter().filter(|step| step.outcome == StepOutcome::Failed) {
        let cause = step.cause.as_deref().unwrap_or("no cause is known");
        text.push_str(&format!("error: step `{}` failed: {cause}\n", step.name));
        for line in &step.tail {
            text.push_str(&format!("  | {line}\n"));
        }
    }
    text + &summary(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_step_that_there_is_not_is_offered_what_there_is() {
        assert_eq!(offer("trian", &["prepare", "train"]), "did you mean `train`?");
        assert_eq!(offer("zzz", &["prepare", "train"]), "the steps are prepare, train");
        assert_eq!(offer("zzz", &[]), "no step can be read from `rondo.yaml`: see `rondo status`");
    }
}
