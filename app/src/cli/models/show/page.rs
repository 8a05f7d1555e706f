//! The dossier of a version for people.

use std::fmt::Write;

use rondo_core::evaluation::Evaluation;
use serde_json::Value;

use crate::platform::dossier::{Dossier, GateOf};

/// How many metrics of a client's version are shown.
const METRICS: usize = 40;

/// The page.
pub(super) fn text(known: &Dossier) -> String {
    let mut text = format!("model {} version {}\n", known.model, known.version);
    for (title, value) in facts(known) {
        let _ = writeln!(text, "  {title:<14} {value}");
    }
    if let Some(gate) = &known.gate {
        gate_of(&mut text, gate);
    }
    match &known.evaluation {
        Some(evaluation) => evaluated(&mut text, evaluation),
        None => logged(&mut text, known),
    }
    text
}

/// What is said in a line each.
fn facts(known: &Dossier) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(&str, String)> = vec![("made by", known.origin.to_owned())];
    let mut say =
        |title: &'static str, value: Option<String>| lines.extend(value.map(|value| (title, value)));
    say("file", known.file.map(|file| file.short()));
    say("source", known.source.clone());
    say("logged model", known.logged_model.clone());
    say("created", Some(known.created.rfc3339()));
    for alias in &known.aliases {
        let guarded = if known.protected.contains(alias) { ", protected" } else { "" };
        say("alias", Some(format!("{alias}{guarded}")));
    }
    say("stage", Some(known.stage.clone()).filter(|stage| stage != "None"));
    say("description", Some(known.description.clone()).filter(|text| !text.is_empty()));
    say(
        "run",
        known.run.as_ref().map(|run| {
            let gone = if run.deleted { ", deleted and kept" } else { "" };
            format!("{} {}{gone}", run.id, run.name)
        }),
    );
    say("pipeline run", known.pipeline_run.map(|run| run.hex()));
    say("trained until", known.trained_until.map(|until| until.rfc3339()));
    say(
        "commit",
        known.code.commit.as_ref().map(|commit| {
            format!(
                "{commit}{}",
                if known.code.dirty == Some(true) { ", with uncommitted changes" } else { "" }
            )
        }),
    );
    say("code", known.code.entry.clone());
    for (path, digest) in &known.code.files {
        say("code", Some(format!("{path} {}", digest.short())));
    }
    say("environment", known.environment.as_ref().map(|own| format!("{} {}", own.name, own.lock.short())));
    for data in &known.data {
        let short: String = data.digest.chars().take(12).collect();
        say("data", Some(format!("{} {short}", data.name)));
    }
    for (title, side) in [("inputs", "inputs"), ("outputs", "outputs")] {
        say(title, columns(known.signature.get(side)));
    }
    let params: Vec<String> =
        known.params.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    say("params", Some(params.join(" ")).filter(|params| !params.is_empty()));
    say(
        "approval",
        known.approval.as_ref().map(|approval| {
            format!("{} by {} at {}: {}", approval.decision.text(), approval.by, approval.at, approval.why)
        }),
    );
    for served in &known.deployments {
        let until = served.until.map_or_else(|| "still answers".to_owned(), |until| format!("until {until}"));
        say("deployed", Some(format!("{} since {}, {until}", served.endpoint, served.since)));
    }
    lines
}

fn gate_of(text: &mut String, gate: &GateOf) {
    let mark = if gate.passed { "passed" } else { "not passed" };
    let _ = writeln!(text, "\nobjectives at its gate ({mark}: {})", gate.reason);
    for verdict in &gate.verdicts {
        let mark = if verdict.passed { "holds" } else { "missed" };
        let slice = verdict.slice.as_ref().map_or_else(String::new, |slice| format!(" [{slice}]"));
        let value = verdict.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let note = verdict.note.as_ref().map_or_else(String::new, |note| format!("  ({note})"));
        let _ = writeln!(text, "  {mark:<7} {}{slice}: {value}{note}", verdict.text);
    }
}

fn evaluated(text: &mut String, evaluation: &Evaluation) {
    let _ = writeln!(text, "\nmetrics on {} rows", evaluation.rows);
    for metric in &evaluation.metrics {
        let value = metric.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let interval = metric
            .low
            .zip(metric.high)
            .map_or_else(String::new, |(low, high)| format!("  95 % interval {low:.4} to {high:.4}"));
        let _ = writeln!(text, "  {:<34} {value}{interval}", metric.name);
    }
}

fn logged(text: &mut String, known: &Dossier) {
    if known.metrics.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nmetrics that its run logged");
    for (name, value) in known.metrics.iter().take(METRICS) {
        let _ = writeln!(text, "  {name:<34} {value:.4}");
    }
    if let Some(more) = known.metrics.len().checked_sub(METRICS).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more (--json has them all)");
    }
}

/// Columns by name and type, a handful of them.
fn columns(side: Option<&Value>) -> Option<String> {
    const SHOWN: usize = 8;
    let columns = side?.as_array().filter(|columns| !columns.is_empty())?;
    let word =
        |column: &Value, key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown: Vec<String> = columns
        .iter()
        .take(SHOWN)
        .map(|column| format!("{} {}", word(column, "name"), word(column, "type")).trim().to_owned())
        .collect();
    let more = columns.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("{}{more}", shown.join(", ")))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
