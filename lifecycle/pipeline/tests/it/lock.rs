//! `rondo.lock`: written by a run that a person starts, held by `--locked`.

use rondo_core::{Code, Explain};
use rondo_pipeline::{Error, RunRequest};
use serde_json::json;

use crate::lab::{Lab, outcomes, params};

const PROJECT: &str = r#"
project: p
params: { seed: 1 }
data: { flights: { source: flights.csv } }
steps:
  copy: { run: "cp ${{ inputs.flights }} ${{ outputs.c }}; echo ${{ params.seed }} >> ${{ outputs.c }}", inputs: [data.flights], outputs: { c: c.csv } }
  other: { run: "echo 1 > ${{ outputs.o }}", outputs: { o: o } }
"#;

async fn lab() -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", PROJECT);
    lab.add_data("flights", "one\n").await;
    lab
}

fn locked() -> RunRequest {
    RunRequest { locked: true, ..RunRequest::default() }
}

#[tokio::test]
async fn a_run_writes_what_it_used_and_made_and_keeps_the_rest() {
    let lab = lab().await;
    let report = lab.run().await;
    let text = lab.read("rondo.lock");
    for digest in [report.datasets[0].digest, report.steps[0].outputs[0].digest, report.steps[0].key.unwrap()]
    {
        assert!(text.contains(&digest.hex()), "{digest}");
    }
    let before = std::fs::metadata(lab.root.join("rondo.lock")).unwrap().modified().unwrap();
    lab.run().await;
    assert_eq!(std::fs::metadata(lab.root.join("rondo.lock")).unwrap().modified().unwrap(), before);
    let request = RunRequest {
        targets: vec!["copy".into()],
        params: params(&[("seed", json!(2))]),
        ..RunRequest::default()
    };
    let report = lab.run_with(request).await;
    let changed = lab.read("rondo.lock");
    assert!(changed.contains(&report.steps[0].outputs[0].digest.hex()) && changed.contains("  other:"));
}

#[tokio::test]
async fn a_locked_run_uses_the_pinned_data_and_refuses_a_change() {
    let lab = lab().await;
    let error = lab.try_run(locked()).await.unwrap_err();
    assert_eq!(error.code(), Code::LockChanged);
    assert!(error.to_string().contains("dataset `flights` is not locked"), "{error}");
    lab.run().await;
    let text = lab.read("rondo.lock");
    lab.add_data("flights", "two\n").await;
    assert_eq!(outcomes(&lab.run_with(locked()).await), "copy:cached other:cached");
    let changed = RunRequest { params: params(&[("seed", json!(2))]), ..locked() };
    let error = lab.try_run(changed).await.unwrap_err();
    assert!(
        matches!(&error, Error::LockChanged { differences } if differences[0].starts_with("output `copy.c` is ")),
        "{error}"
    );
    assert_eq!(lab.read("rondo.lock"), text);
}

#[tokio::test]
async fn a_spoilt_lock_is_refused_before_anything_runs() {
    let lab = lab().await;
    lab.write("rondo.lock", "<<<<<<< HEAD\nlock: 1\n");
    let error = lab.try_run(RunRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::LockFile { .. }), "{error}");
    assert!(!lab.root.join("c.csv").exists());
}

#[tokio::test]
async fn data_that_is_added_while_a_run_goes_on_stays_pinned() {
    let lab = Lab::new().await;
    let old = lab.add_data("flights", "one\n").await;
    let project = |command: &str| {
        format!(
            "project: p\nisolation: none\ndata: {{ flights: {{ source: flights.csv }} }}\nsteps:\n  \
             copy: {{ run: '{command}; cp ${{{{ inputs.flights }}}} ${{{{ outputs.c }}}}', inputs: [data.flights], outputs: {{ c: c.csv }} }}\n"
        )
    };
    lab.write("rondo.yaml", &project("true"));
    lab.run().await;
    let new = lab.add_data("flights", "two\n").await;
    let lock = lab.root.join("rondo.lock");
    let pin = format!("sed -i s/{}/{}/ {}", old.hex(), new.hex(), lock.display());
    lab.write("rondo.yaml", &project(&pin));
    let report = lab.run().await;
    assert_eq!(report.datasets[0].digest, old);
    let text = lab.read("rondo.lock");
    assert!(text.contains(&format!("flights:\n    digest: {}", new.hex())), "{text}");
}
