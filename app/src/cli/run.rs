//! `rondo run`: the steps that are not up to date, and what follows from them.

use std::collections::BTreeMap;

use rondo_core::journal::Because;
use rondo_core::{Code, suggest};
use rondo_pipeline::{Outcome as StepOutcome, RunReport, RunRequest};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Session;
use super::failure::{Failure, Outcome};
use crate::platform::Platform;
use crate::platform::models::{PromotionRule, Registered};

/// Run the pipeline: the steps that are not up to date, or the ones named
#[derive(clap::Args)]
pub struct Args {
    /// The steps wanted; what they need runs with them
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
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
    /// Say what would run and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// When a step is unknown, a dataset is refused, or a step fails.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    known_steps(&platform, &args.steps)?;
    let params = params(&platform, &args.params)?;
    let mut request = RunRequest {
        targets: args.steps.clone(),
        params,
        started_by: "user".to_owned(),
        force: args.force,
        locked: args.locked,
        keep_going: args.keep_going,
        user: session.config().user.clone(),
        ..RunRequest::default()
    };
    if args.dry_run {
        return super::pipeline::show::planned(&platform, &request, session).await;
    }
    request.pins = platform.ensure_datasets(&args.steps).await?;
    let report = Box::pin(platform.run(request, cancelled())).await?;
    let registered = match report.failure() {
        None => {
            let because = Because::new(&session.config().user, "registered by `rondo run`");
            Box::pin(platform.register_models(&report, PromotionRule::First, &because)).await?
        }
        Some(_) => Vec::new(),
    };
    let value = json!({
        "schema": 1, "run": report.run, "seconds": report.seconds, "steps": report.steps,
        "models": registered,
    });
    match report.failure() {
        None => {
            session.printer().result(&value, &text(&report, &registered));
            Ok(())
        }
        Some(failure) => Err(Failure::from(failure).shown(failed(&report), value)),
    }
}

/// Becomes true at Ctrl-C or SIGTERM.
pub fn cancelled() -> watch::Receiver<bool> {
    let (cancel, receiver) = watch::channel(false);
    tokio::spawn(async move {
        super::up::stopped().await;
        // Nobody listening any more is as good.
        let _ = cancel.send(true);
        cancel.closed().await;
    });
    receiver
}

/// Refuses steps that do not exist.
///
/// # Errors
/// When one does not.
pub fn known_steps(platform: &Platform, steps: &[String]) -> Outcome {
    for step in steps {
        if !platform.project().has_target(step) {
            let near = suggest::nearest(step, platform.project().steps.names());
            let hint = near.map_or_else(
                || {
                    format!(
                        "the steps are {}",
                        platform.project().steps.names().collect::<Vec<_>>().join(", ")
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::hinted(Code::StepNotFound, format!("find step `{step}`"), hint));
        }
    }
    Ok(())
}

fn params(platform: &Platform, given: &[String]) -> Outcome<BTreeMap<String, Value>> {
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
    let mut text =
        format!("run {}: {ran} ran, {cached} cached, {:.1} s\n", report.run.short(), report.seconds);
    for one in registered {
        text.push_str(&format!("{}: {}\n", one.model, one.outcome));
        if !one.promoted && one.outcome.contains("waits") {
            text.push_str(&format!("hint: rondo models promote {} {}\n", one.model, one.version));
        }
    }
    text
}

fn failed(report: &RunReport) -> String {
    let mut text = String::new();
    for step in report.steps.iter().filter(|step| step.outcome == StepOutcome::Failed) {
        let cause = step.cause.as_deref().unwrap_or("no cause is known");
        text.push_str(&format!("error: step `{}` failed: {cause}\n", step.name));
        for line in &step.tail {
            text.push_str(&format!("  | {line}\n"));
        }
    }
    text
}
