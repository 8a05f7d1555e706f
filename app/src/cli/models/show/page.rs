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

#[cfg(test)]
mod tests {
    use rondo_core::evaluation::Task;
    use rondo_core::handoff::{Deployment, Lineage, ModelVersion};
    use rondo_core::journal::Because;
    use rondo_core::run::{Code, Link};
    use rondo_core::signature::{Column, ColumnType, Signature};
    use rondo_core::{Digest, RunId, Timestamp, reference};
    use rondo_store::Store;
    use rondo_store::meta::journal::{Expect, Target};
    use rondo_store::meta::registered::ClientVersion;

    use super::*;
    use crate::platform::dossier;

    const AT: Timestamp = Timestamp(1_700_000_000_000);

    async fn shown(store: &Store, wanted: &str) -> String {
        let version = dossier::find(store, "delay", Some(wanted)).await.unwrap();
        text(&dossier::dossier(store, version).await.unwrap())
    }

    fn link(name: &str) -> Link {
        Link {
            name: name.into(),
            reference: format!("data.{name}"),
            digest: Digest::of(name.as_bytes()),
            size: 1,
            folder: false,
            executable: false,
        }
    }

    fn trained(run: RunId) -> ModelVersion {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Number, nullable: false };
        ModelVersion {
            model: "delay".into(),
            version: 0,
            file: Digest::of(b"onnx"),
            run,
            pipeline_run: run,
            task: Task::Binary,
            target: "late".into(),
            positive: None,
            threshold: Some(0.5),
            signature: Signature { inputs: vec![column("distance"), column("hour")], outputs: vec![] },
            evaluation: Evaluation {
                rows: 900,
                metrics: vec![rondo_core::evaluation::Metric::with_interval("roc_auc", 0.71, 0.69, 0.73)],
                ..Evaluation::default()
            },
            verdicts: vec![],
            gate_passed: true,
            gate_reason: "all objectives hold (1 judged)".into(),
            reference: None,
            trained_until: Some(AT),
            lineage: Lineage {
                code: Code {
                    commit: Some("c0ffee".into()),
                    dirty: true,
                    files: [("train.ipynb".into(), Digest::of(b"nb"))].into(),
                },
                environment: Some(("default".into(), Digest::of(b"lock"))),
                params: [("seed".to_owned(), Value::from(7))].into(),
                datasets: vec![link("flights")],
                inputs: vec![],
            },
            created: AT,
        }
    }

    #[tokio::test]
    async fn a_version_shows_where_it_comes_from_and_where_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let meta = store.meta();
        let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let (digest, version) = meta.register_version(trained(run)).await.unwrap();
        let because = || Because::new("ada", "good");
        meta.move_ref(&reference::alias("delay", "champion"), Expect::Absent, Some(digest), because(), AT)
            .await
            .unwrap();
        rondo_registry::protect::protect(&store, ("delay", "champion"), because(), AT).await.unwrap();
        let deployment = Deployment {
            name: "live".into(),
            model: "delay".into(),
            version: version.version,
            file: version.file,
            alias: Some("champion".into()),
            since: AT,
        };
        let moves = vec![(reference::deployment("live"), Expect::Absent, Target::Record)];
        meta.decide("deployment", &deployment, moves, because(), AT).await.unwrap();
        insta::assert_snapshot!(shown(&store, "@champion").await);

        let said = ClientVersion {
            location: None,
            source: "mlflow-artifacts:/0/fedcba9876543210fedcba9876543210/artifacts/model".into(),
            run: None,
            model_id: None,
            run_link: None,
            user: None,
        };
        let owner = "fedcba9876543210fedcba9876543210";
        let mlmodel = b"signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"x\"}]'\n  outputs: '[{\"type\": \"long\"}]'\n";
        for (name, body) in [("MLmodel", mlmodel.as_slice()), ("requirements.txt", b"scikit-learn\n")] {
            let stored = store.objects().put_bytes(body).unwrap();
            meta.put_artifact(owner, &format!("model/{name}"), stored.digest, stored.size, AT).await.unwrap();
        }
        meta.create_client_version("delay", said, "by hand", vec![], AT).await.unwrap();
        insta::assert_snapshot!(shown(&store, "2").await);
    }
}
