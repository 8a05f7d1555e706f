//! What a run leaves in the store: rows, tags, parameters, metrics, artifacts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, Event, PortError};
use rondo_core::run::{RunKind, RunState};
use rondo_core::{Code, Explain, Objection};
use rondo_pipeline::RunRequest;
use serde_json::Value;

use crate::lab::{Lab, all_good, outcomes};

/// A package in Rust that does as its `mode` says.
pub struct Fake;

#[derive(Debug, thiserror::Error)]
#[error("no such luck")]
struct Unlucky;

impl Explain for Unlucky {
    fn code(&self) -> Code {
        Code::StepFailed
    }

    fn hints(&self) -> Vec<String> {
        vec!["try again".to_owned()]
    }
}

#[async_trait]
impl Builtin for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["mode", "notebook", "parameters"]
    }

    fn code_files(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        with.get("notebook").and_then(Value::as_str).map(PathBuf::from).into_iter().collect()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let given = with.get("parameters").and_then(|given| given.get("whole"));
        given
            .filter(|given| given.is_f64())
            .map(|given| format!("{given} is not whole").into())
            .into_iter()
            .collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        match call.with.get("mode").and_then(Value::as_str) {
            Some("fail") => return Err(Box::new(Unlucky)),
            Some("panic") => panic!("as asked"),
            Some("hang") => std::future::pending().await,
            Some(_) | None => {}
        }
        call.progress.report(Event::Output { subject: "x".into(), line: "working".into() });
        let text = std::fs::read_to_string(&call.step.inputs["a"]).unwrap();
        std::fs::write(&call.step.outputs["b"], text.to_uppercase()).unwrap();
        let page = call.scratch.join("page.html");
        std::fs::write(&page, format!("{}", call.with["parameters"])).unwrap();
        Ok(BuiltinResult {
            metrics: [("auc".to_owned(), 0.75)].into(),
            artifacts: [("report/page.html".to_owned(), page)].into(),
        })
    }
}

#[tokio::test]
async fn a_run_is_a_parent_with_a_child_for_each_executed_step() {
    let mut lab = Lab::new().await;
    lab.builtins.push(Arc::new(Fake));
    lab.write("nb.ipynb", "{}");
    lab.write(
        "rondo.yaml",
        r#"
project: flights
params: { seed: 7, fast: true }
steps:
  make: { run: "echo hello > ${{ outputs.a }}; echo '{\"rows\": 3}' > $RONDO_METRICS; env > ../env", outputs: { a: a.txt }, metrics: m.json, params: [fast] }
  fit:
    uses: fake
    with: { notebook: nb.ipynb, parameters: { depth: 6, seed: "${{ params.seed }}", data: "${{ inputs.a }}" } }
    inputs: [make.a]
    outputs: { b: b.txt }
"#,
    );
    let report = lab.run().await;
    assert!(all_good(&report), "{report:#?}");
    let meta = lab.store.meta();
    let parent = meta.require_run(report.run).await.unwrap();
    assert_eq!(
        (parent.kind, parent.state, parent.user.as_str()),
        (RunKind::Pipeline, RunState::Finished, "ada")
    );
    assert_eq!(parent.detail.started_by, "user");
    let experiment = meta.experiment_by_name("flights").await.unwrap().unwrap();
    assert_eq!(parent.experiment, experiment.id);

    let fit = report.step("fit").unwrap().run.unwrap();
    let row = meta.require_run(fit).await.unwrap();
    assert_eq!((row.parent, row.kind, row.state), (Some(report.run), RunKind::Step, RunState::Finished));
    assert_eq!(row.detail.outputs[0].reference, "fit.b");
    assert_eq!(row.detail.inputs[0].reference, "make.a");
    assert!(row.detail.code.files.contains_key("nb.ipynb"));
    assert_eq!(lab.store.objects().read(row.detail.log.unwrap()).unwrap(), b"working\n");
    let tags = meta.run_tags(fit).await.unwrap();
    assert_eq!(tags["mlflow.parentRunId"], report.run.hex());
    assert_eq!((tags["mlflow.runName"].as_str(), tags["mlflow.user"].as_str()), ("fit", "ada"));
    let params = meta.run_params(fit).await.unwrap();
    assert_eq!(
        params.into_iter().collect::<Vec<_>>(),
        [("depth".into(), "6".into()), ("seed".to_owned(), "7".to_owned())]
    );
    assert_eq!(meta.latest_metrics(fit).await.unwrap()[0].point.value, 0.75);
    let artifact = meta.artifact(&fit.hex(), "report/page.html").await.unwrap().unwrap();
    let page = String::from_utf8(lab.store.objects().read(artifact.digest).unwrap()).unwrap();
    assert!(page.starts_with(r#"{"depth":6,"seed":7,"data":"/"#), "{page}");

    let make = report.step("make").unwrap().run.unwrap();
    assert_eq!(meta.latest_metrics(make).await.unwrap()[0].key, "rows");
    assert_eq!(meta.run_params(make).await.unwrap()["fast"], "True");
    assert!(lab.tracking.0.lock().unwrap().values().all(|admitted| !admitted));
    assert_eq!(std::fs::read_dir(lab.store.root().join("work")).unwrap().count(), 0);

    let env = std::fs::read_to_string(lab.root.join("../env")).unwrap();
    for line in [
        "TZ=UTC",
        "PYTHONHASHSEED=0",
        "RONDO_PARAM_FAST=true",
        "MLFLOW_EXPERIMENT_NAME=flights",
        &format!("MLFLOW_RUN_ID={make}"),
    ] {
        assert!(env.lines().any(|known| known == line), "{line} is missing");
    }
    assert!(!env.contains("CARGO_MANIFEST_DIR"));

    // A cache hit makes no run: the parent names the one that is used.
    let again = lab.run().await;
    assert_eq!(outcomes(&again), "make:cached fit:cached");
    let second = meta.require_run(again.run).await.unwrap();
    assert_eq!(
        (second.detail.steps["fit"].run, second.detail.steps["fit"].outcome.as_str()),
        (Some(fit), "cached")
    );
    assert!(meta.children(again.run).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_commit_is_recorded_where_there_is_one() {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", "project: p\nsteps:\n  a: { run: 'true' }\n");
    let git = |arguments: &[&str]| {
        let command = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
            .args(arguments)
            .current_dir(&lab.root)
            .output();
        command.is_ok_and(|output| output.status.success())
    };
    if !(git(&["init", "--quiet"])
        && git(&["add", "rondo.yaml"])
        && git(&["commit", "--quiet", "-m", "first"]))
    {
        eprintln!("skipped: there is no `git` here that can commit");
        return;
    }
    let report = lab.run().await;
    let code =
        lab.store.meta().require_run(report.step("a").unwrap().run.unwrap()).await.unwrap().detail.code;
    assert_eq!(code.commit.as_deref().map(str::len), Some(40));
    assert!(!code.dirty);
    lab.write("rondo.yaml", "project: p\nsteps:\n  a: { run: 'true; true' }\n");
    let report = lab.run().await;
    let parent = lab.store.meta().require_run(report.run).await.unwrap().detail.code;
    assert!(parent.dirty && parent.commit == code.commit);
}

#[tokio::test]
async fn inputs_have_the_endings_of_what_they_come_from() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        r#"
project: p
data: { flights: { source: "https://example.org/f/flights.csv.zip?x=1" } }
steps:
  raw: { run: "mkdir ${{ outputs.r }}; echo 1 > ${{ outputs.r }}/one", outputs: { r: raw/ } }
  see:
    run: "ls $RONDO_INPUT_R > $RONDO_OUTPUT_O; basename $RONDO_INPUT_F $RONDO_INPUT_R >> $RONDO_OUTPUT_O; echo ${RONDO_INPUT_F##*/} ${RONDO_OUTPUT_O##*/} >> $RONDO_OUTPUT_O; sh -c 'echo x > $RONDO_INPUT_F' || echo refused >> $RONDO_OUTPUT_O"
    inputs: { f: data.flights, r: raw.r }
    outputs: { o: deep/o.txt }
"#,
    );
    lab.add_data("flights", "a\n").await;
    let report = lab.run().await;
    assert!(all_good(&report), "{report:#?}");
    assert!(lab.read("deep/o.txt").contains("f.csv o.txt\n"), "{}", lab.read("deep/o.txt"));
}

#[tokio::test]
async fn what_a_package_is_given_is_checked_with_the_parameters_of_the_run_before_anything_runs() {
    let mut lab = Lab::new().await;
    lab.builtins.push(Arc::new(Fake));
    lab.write(
        "rondo.yaml",
        "project: p\nparams: { depth: 2 }\nsteps:\n  first: { run: 'echo x > ${{ outputs.a }}', outputs: { a: a } }\n  \
         n:\n    uses: fake\n    with: { parameters: { whole: '${{ params.depth }}', of: '${{ inputs.a }}' } }\n    \
         inputs: [first.a]\n    outputs: { b: b }\n",
    );
    let request =
        |depth: Value| RunRequest { params: [("depth".to_owned(), depth)].into(), ..RunRequest::default() };
    let error = lab.try_run(request(2.5.into())).await.unwrap_err();
    assert_eq!(error.code(), Code::PackageInvalid);
    assert!(lab.store.meta().runs_of_kind(RunKind::Step, None, 10).await.unwrap().is_empty());
    assert!(lab.run_with(request(3.into())).await.failure().is_none());
}

#[tokio::test]
async fn a_step_is_told_to_begin_after_the_ends_of_all_that_it_needs() {
    let lab = Lab::new().await;
    let mut file = "project: p\nsteps:\n".to_owned();
    for at in 0..8 {
        file += &format!("  s{at}: {{ run: 'echo {at} > ${{{{ outputs.o }}}}', outputs: {{ o: o{at} }} }}\n");
    }
    let inputs: Vec<String> = (0..8).map(|at| format!("i{at}: s{at}.o")).collect();
    file += &format!("  fin: {{ run: 'true', inputs: {{ {} }} }}\n", inputs.join(", "));
    lab.write("rondo.yaml", &file);
    lab.run().await;
    let events = lab.events.0.lock().unwrap();
    let begun = |event: &Event| matches!(event, Event::Started { subject, .. } if subject == "fin");
    let begun = events.iter().position(begun).unwrap();
    let ended = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
    assert_eq!((ended(&events[..begun]), ended(&events[begun..])), (8, 1));
}

#[tokio::test]
async fn a_run_keeps_the_project_file_that_it_was_checked_with() {
    let lab = Lab::new().await;
    let before = "project: p\nsteps: { a: { run: 'true' } }\n";
    lab.write("rondo.yaml", before);
    let runner = lab.runner();
    lab.write("rondo.yaml", "project: p\nsteps: { a: { run: 'false' } }\n");
    let (_never, cancel) = tokio::sync::watch::channel(false);
    let report = runner.run(RunRequest::default(), cancel).await.unwrap();
    let row = lab.store.meta().run(report.run).await.unwrap().unwrap();
    let kept = lab.store.objects().read(row.detail.code.files["rondo.yaml"]).unwrap();
    assert_eq!(String::from_utf8(kept).unwrap(), before);
    // So does one in which all was cached.
    lab.write("rondo.yaml", before);
    let again = lab.run().await;
    assert_eq!(outcomes(&again), "a:cached");
    let again = lab.store.meta().run(again.run).await.unwrap().unwrap();
    assert_eq!(again.detail.code.files, row.detail.code.files);
}
