//! Sweeps: trials, what stands for them, what is stopped, what fails, what flows on.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rondo_core::run::{RunKind, RunRow, RunState};
use rondo_core::sweep::{Sweep, TrialState};
use rondo_core::{RunId, Timestamp};
use rondo_pipeline::again::Again;
use rondo_pipeline::git::Commit;
use rondo_pipeline::sweep::resume;
use rondo_pipeline::{Outcome, Place, RunReport, RunRequest};
use rondo_store::meta::metrics::{Batch, Point};
use serde_json::json;
use tokio::sync::watch;

use crate::lab::{Lab, outcomes};

/// A step that scores `x` and says so in a file of metrics; its counter tells how often it ran.
const STEP: &str = "steps:
  train:
    run: 'echo $RONDO_PARAM_X >> ../ran; echo model $RONDO_PARAM_X > $RONDO_OUTPUT_M;
      echo \"{\\\"score\\\": $(( 100 - ($RONDO_PARAM_X - 7) * ($RONDO_PARAM_X - 7) ))}\" > $RONDO_METRICS'
    outputs: { m: m.txt }
    metrics: m.json
    sweep: { SWEEP }
  after: { run: 'cp $RONDO_INPUT_M $RONDO_OUTPUT_O', inputs: [train.m], outputs: { o: o.txt } }
";

fn project(sweep: &str) -> String {
    format!("project: p\nparams: {{ x: 1, y: 0 }}\n{}", STEP.replace("SWEEP", sweep))
}

async fn lab(sweep: &str) -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", &project(sweep));
    lab
}

fn sweep(report: &RunReport) -> &Sweep {
    report.step("train").unwrap().sweep.as_deref().unwrap()
}

fn states(sweep: &Sweep) -> String {
    let states = sweep.trials.iter().map(|trial| trial.state.text().chars().next().unwrap());
    states.collect()
}

async fn row(lab: &Lab, run: Option<RunId>) -> RunRow {
    lab.store.meta().require_run(run.unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_best_trial_flows_on_and_all_of_it_is_recorded() {
    let lab = lab("over: { x: { int: [1, 9] } }, maximize: score").await;
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "train:ran after:ran");
    assert_eq!((lab.read("m.txt"), lab.read("o.txt")), ("model 7\n".into(), "model 7\n".into()));
    let sweep = sweep(&report);
    assert_eq!((states(sweep).as_str(), sweep.best), ("fffffffff", Some(7)));
    assert_eq!(sweep.trial(3).unwrap().value, Some(84.0));

    let step = report.step("train").unwrap();
    let row = row(&lab, step.run).await;
    assert_eq!(
        (row.state, row.parent, row.step.as_deref()),
        (RunState::Finished, Some(report.run), Some("train"))
    );
    assert_eq!(row.detail.outputs, step.outputs);
    assert_eq!(row.detail.params["x"], json!(7));
    assert_eq!(step.outputs[0].reference, "train.m");
    let meta = lab.store.meta();
    assert_eq!(meta.run_params(row.id).await.unwrap()["x"], "7");
    assert_eq!(meta.latest_metrics(row.id).await.unwrap()[0].point.value, 100.0);
    let tags = meta.run_tags(row.id).await.unwrap();
    assert_eq!((tags["rondo.sweep.best"].as_str(), tags["rondo.sweep.goal"].as_str()), ("7", "maximize"));

    let children = meta.children(row.id).await.unwrap();
    assert_eq!(children.len(), 9);
    let third = children.iter().find(|child| child.name == "train@3").unwrap();
    assert_eq!((third.kind, third.detail.outputs[0].reference.as_str()), (RunKind::Step, "train.m"));
    assert_eq!(meta.run_params(third.id).await.unwrap(), BTreeMap::from([("x".to_owned(), "3".to_owned())]));
    let tags = meta.run_tags(third.id).await.unwrap();
    assert_eq!(tags["mlflow.parentRunId"], row.id.hex());
    assert_eq!((tags["rondo.trial"].as_str(), tags["rondo.trial.outcome"].as_str()), ("3", "finished"));

    // Nothing has changed: the sweep stands, and its record is told again.
    let again = lab.run().await;
    assert_eq!(outcomes(&again), "train:cached after:cached");
    assert_eq!(self::sweep(&again), sweep);
    // The default of what is searched is no part of what the step is; the range is, and known trials stand.
    let moved = project("over: { x: { int: [5, 11] } }, maximize: score").replace("x: 1", "x: 4");
    lab.write("rondo.yaml", &moved);
    let wider = lab.run().await;
    assert_eq!(outcomes(&wider), "train:ran after:cached");
    assert_eq!(states(self::sweep(&wider)), "cccccff");
    assert_eq!(lab.count("ran"), 11);
}

#[tokio::test]
async fn a_forecast_and_why_say_what_would_be_searched() {
    let lab =
        lab("strategy: tpe, trials: 12, over: { x: { int: [1, 9] } }, minimize: score, prune: true").await;
    let why = lab.runner().why("train").await.unwrap();
    let line = why[0].lines.join("\n");
    assert!(line.contains("sweep (tpe, pruned) of up to 12 trials over `x` to minimize `score`"), "{line}");
    let report = lab.run().await;
    let found = sweep(&report);
    assert_eq!((found.trials.len(), found.early.as_deref()), (9, Some("all 9 combinations were tried")));
    assert_eq!(found.best, found.trials.iter().find(|trial| trial.values["x"] == json!(1)).map(|t| t.number));
    lab.write(
        "rondo.yaml",
        &project("strategy: tpe, trials: 5, over: { x: { int: [1, 9] } }, minimize: score, prune: true"),
    );
    let why = lab.runner().why("train").await.unwrap().remove(0);
    let line = why.lines.join("\n");
    assert!(line.contains("5 of them done") && line.contains("`trials` of its sweep changed"), "{line}");
    assert_eq!(states(sweep(&lab.run().await)), "ccccc");
}

#[tokio::test]
async fn why_shows_ranges_as_the_project_file_has_them() {
    let lab = lab("over: { x: [1, 2] }, maximize: score").await;
    lab.run().await;
    for range in [
        "[1, 3]",
        "{ int: [1, 9] }",
        "{ int: [1, 64], step: 7 }",
        "{ float: [0.001, 1], log: true }",
        "{ float: [-0.5, 1], step: 0.25 }",
        "{ float: [1e-7, 1e30] }",
    ] {
        let strategy = if range.contains("float") { "strategy: random, trials: 2, " } else { "" };
        lab.write("rondo.yaml", &project(&format!("{strategy}over: {{ x: {range} }}, maximize: score")));
        let why = lab.runner().why("train").await.unwrap().remove(0);
        let line = why.lines.join("\n");
        assert!(line.contains("the range of `x` in its sweep changed"), "{line}");
        assert!(line.contains(&format!(": `[1, 2]` → `{range}`")), "{line}");
    }
}

#[tokio::test]
async fn failed_trials_are_tolerated_up_to_the_limit() {
    let failing = |most: &str| {
        project(&format!("over: {{ x: [1, 5, 6, 7] }}, maximize: score, max_failed: {most}"))
            .replace("echo model", "test $RONDO_PARAM_X -lt 6 || exit 3; echo model")
    };
    let lab = Lab::new().await;
    lab.write("rondo.yaml", &failing("2"));
    let report = lab.run().await;
    let sweep = sweep(&report);
    assert_eq!(sweep.best, Some(2));
    assert_eq!(sweep.count(TrialState::Failed), 2);
    assert!(sweep.trial(4).unwrap().cause.as_deref().unwrap().contains("exited with code 3"));

    lab.write("rondo.yaml", &failing("1").replace("echo model", "echo other"));
    let report = lab.run().await;
    let step = report.step("train").unwrap();
    assert_eq!(step.outcome, Outcome::Failed);
    let cause = step.cause.as_deref().unwrap();
    assert!(
        cause.starts_with("2 trials failed, and `max_failed` is 1; trial 4: it exited with code 3"),
        "{cause}"
    );
    // Raised, it goes on: what ended well is not repeated.
    let before = lab.count("ran");
    lab.write("rondo.yaml", &failing("2").replace("echo model", "echo other"));
    assert_eq!(outcomes(&lab.run().await), "train:ran after:ran");
    assert_eq!(lab.count("ran"), before + 2);
}

#[tokio::test]
async fn a_metric_that_no_trial_logs_is_said_with_those_that_are() {
    let lab = lab("over: { x: [1, 2] }, maximize: scores, max_failed: 9").await;
    let report = lab.run().await;
    let cause = report.step("train").unwrap().cause.clone().unwrap();
    assert!(cause.contains("no trial ended well (2 failed)"), "{cause}");
    assert!(cause.contains("no metric `scores`: did you mean `score`?"), "{cause}");
    // Its run has failed as the trial has, for the same cause, and stands for nothing.
    for trial in &sweep(&report).trials {
        let row = lab.store.meta().require_run(trial.run.unwrap()).await.unwrap();
        assert_eq!((trial.state, row.state), (TrialState::Failed, RunState::Failed));
        assert_eq!(row.detail.exit.unwrap().cause, trial.cause);
        assert_eq!(lab.store.meta().cached(trial.key.unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_trial_whose_metric_is_no_number_fails_and_so_does_its_run() {
    let lab = lab("over: { x: { int: [1, 3] } }, maximize: score, max_failed: 3").await;
    let text = project("over: { x: { int: [1, 3] } }, maximize: score, max_failed: 3");
    lab.write("rondo.yaml", &text.replace("score\\\": ", "score\\\": NaN, \\\"other\\\": "));
    let report = lab.run().await;
    let trial = sweep(&report).trial(2).unwrap();
    assert_eq!(trial.cause.as_deref(), Some("its `score` is not a number"));
    assert_eq!(serde_json::to_value(trial).unwrap()["value"], "NaN");
    let row = lab.store.meta().require_run(trial.run.unwrap()).await.unwrap();
    assert_eq!((trial.state, row.state), (TrialState::Failed, RunState::Failed));
}

#[tokio::test]
async fn each_combination_of_a_matrix_is_swept_by_itself() {
    let lab = Lab::new().await;
    let text = project("over: { x: { int: [5, 8] } }, maximize: score")
        .replace("    outputs: { m: m.txt }", "    matrix: { kind: [a, b] }\n    outputs: { m: m.txt }")
        .replace("cp $RONDO_INPUT_M", "cat $RONDO_INPUT_M/* >")
        .replace("echo model", "echo $RONDO_MATRIX_KIND");
    lab.write("rondo.yaml", &text);
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "train[kind=a]:ran train[kind=b]:ran after:ran");
    assert_eq!((lab.read("kind=b/m.txt"), lab.count("ran")), ("b 7\n".to_owned(), 8));
}

#[tokio::test]
async fn a_trial_that_falls_behind_is_stopped_and_stays_so() {
    let lab = Lab::new().await;
    // The trial hands its run to us, and goes on for ever unless we let it end.
    let text = project("over: { x: { int: [1, 3] } }, maximize: score, prune: { factor: 3 }")
        .replace("echo model", "echo $MLFLOW_RUN_ID > ../id$RONDO_PARAM_X; while ! test -e ../go$RONDO_PARAM_X; do sleep 0.05; done; echo model");
    lab.write("rondo.yaml", &text);
    let (root, store) = (lab.root.join(".."), lab.store.clone());
    let client = tokio::spawn(async move {
        for (x, score) in [(1, 5.0), (2, 4.0), (3, 6.0)] {
            let id: RunId = loop {
                let text = fs::read_to_string(root.join(format!("id{x}"))).unwrap_or_default();
                if let Ok(id) = text.trim().parse() {
                    break id;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let point = Point { timestamp: 1, step: 1, value: score };
            let batch = Batch { metrics: vec![("score".to_owned(), point)], ..Batch::default() };
            store.meta().log_batch(id, batch).await.unwrap();
            if x != 2 {
                fs::write(root.join(format!("go{x}")), "").unwrap();
            }
        }
    });
    let report = lab.run_with(RunRequest { jobs: Some(1), ..RunRequest::default() }).await;
    client.await.unwrap();
    let found = sweep(&report);
    assert_eq!(states(found), "fpf");
    let pruned = found.trial(2).unwrap();
    assert_eq!((pruned.value, pruned.step), (Some(4.0), Some(1)));
    let cause = pruned.cause.as_deref().unwrap();
    assert_eq!(cause, "pruned: at step 1 its `score` was 4.000000, of 2 trials one needs 5.000000 to go on");
    let row = row(&lab, pruned.run).await;
    assert_eq!(row.state, RunState::Killed);
    assert_eq!(row.detail.exit.unwrap().cause.as_deref(), Some(cause));
    let tags = lab.store.meta().run_tags(row.id).await.unwrap();
    assert_eq!(tags["rondo.trial.outcome"], "pruned");
    // One more trial: what was pruned is not tried again.
    lab.write("rondo.yaml", &text.replace("factor: 3 }", "factor: 3 }, trials: 3"));
    let again = lab.run_with(RunRequest { jobs: Some(1), ..RunRequest::default() }).await;
    assert_eq!((states(sweep(&again)).as_str(), lab.count("ran")), ("cpc", 3));
}

#[tokio::test]
async fn an_interrupted_sweep_goes_on_where_it_was() {
    let lab = Lab::new().await;
    let text = project("strategy: random, trials: 8, over: { x: { int: [1, 40] }, y: [0] }, maximize: score")
        .replace("echo model", "test $(wc -l < ../ran) -le 3 || test -e ../go || sleep 60; echo model");
    lab.write("rondo.yaml", &text);
    let (told, cancel) = watch::channel(false);
    let (runner, ran) = (lab.runner(), lab.root.join("../ran"));
    let run = tokio::spawn(async move {
        runner.run(RunRequest { jobs: Some(1), ..RunRequest::default() }, cancel).await
    });
    while fs::read_to_string(&ran).map_or(0, |text| text.lines().count()) < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The trial under way goes on for a minute: what its row says meanwhile does not wait for that.
    let shown = async || {
        let rows = lab.store.meta().runs_of_kind(RunKind::Step, Some("train"), 9).await.unwrap();
        states(rows[0].detail.sweep.as_deref().unwrap())
    };
    for _ in 0..1000 {
        if shown().await == "fffr" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown().await, "fffr");
    told.send(true).unwrap();
    assert!(run.await.unwrap().is_err());
    let killed = &lab.store.meta().runs_of_kind(RunKind::Step, Some("train"), 9).await.unwrap()[0];
    assert_eq!((killed.state, shown().await.as_str()), (RunState::Killed, "fffk"));
    assert!(killed.ended > Some(Timestamp(0)));
    fs::write(lab.root.join("../go"), "").unwrap();
    let report = lab.run().await;
    assert_eq!(states(sweep(&report)), "cccfffff");
    assert_eq!(lab.count("ran"), 9);
    // The trial that was under way is made again with the same values, and no other.
    let tried = lab.read("../ran");
    let tried: Vec<&str> = tried.lines().collect();
    assert_eq!(tried[3], tried[4]);
}

#[tokio::test]
async fn the_parameters_of_a_package_are_swept_like_any() {
    let lab = Lab::new().await;
    let package = "name: fit\nversion: 1.0.0\nsummary: Fits\noutputs: { m: { type: any } }\nparams:\n  depth: { type: int, default: 1 }\n  scale: { type: int, default: 1 }\nrun:\n  command: 'echo fit $RONDO_PARAM_DEPTH $RONDO_PARAM_SCALE > $RONDO_OUTPUT_M; echo \"{\\\"score\\\": $RONDO_PARAM_DEPTH}\" > $RONDO_METRICS'\n";
    lab.write("packages/fit/package.yaml", package);
    lab.write(
        "rondo.yaml",
        "project: p\nparams: { factor: 2 }\nsteps:\n  train:\n    uses: ./packages/fit\n    with: { scale: '${{ params.factor }}' }\n    outputs: { m: m.txt }\n    metrics: m.json\n    sweep: { over: { depth: { int: [1, 3] }, factor: [5] }, maximize: score }\n",
    );
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "train:ran");
    assert_eq!((lab.read("m.txt").as_str(), sweep(&report).trials.len()), ("fit 3 5\n", 3));
    assert_eq!(row(&lab, sweep(&report).trials[0].run).await.detail.params["scale"], json!(5));
}

#[tokio::test]
async fn a_sweep_made_again_runs_every_trial_and_stands_for_nothing() {
    let lab = lab("over: { x: { int: [1, 4] } }, maximize: score").await;
    let first = lab.run().await;
    let step = first.step("train").unwrap();
    let (key, before) = (step.key.unwrap(), row(&lab, step.run).await);
    let trials: Vec<_> = sweep(&first).trials.iter().map(|trial| trial.key.unwrap()).collect();
    let meta = lab.store.meta();
    let mut cached = vec![meta.cached(key).await.unwrap()];
    for key in &trials {
        cached.push(meta.cached(*key).await.unwrap());
    }
    assert!(cached.iter().all(Option::is_some));
    let again = Again {
        of: first.run,
        inputs: BTreeMap::from([("train".to_owned(), Vec::new())]),
        trials: BTreeMap::new(),
        variables: BTreeMap::new(),
        commit: Commit::default(),
    };
    let request = RunRequest {
        targets: vec!["train".to_owned()],
        only: true,
        started_by: Again::reason(first.run),
        place: Place::Detached,
        again: Some(again),
        ..RunRequest::default()
    };
    let (_never, cancel) = watch::channel(false);
    let made = lab.runner().run(request.clone(), cancel.clone()).await.unwrap();
    assert_eq!((states(sweep(&made)).as_str(), lab.count("ran")), ("ffff", 8));
    // One trial alone: with its number and values, and no other.
    let third = sweep(&first).trial(3).unwrap().clone();
    let mut request = request;
    let again = request.again.as_mut().unwrap();
    again.trials = BTreeMap::from([("train".to_owned(), vec![third.clone()])]);
    let alone = lab.runner().run(request, cancel).await.unwrap();
    let once = &sweep(&alone).trials;
    assert_eq!((once.len(), once[0].number, &once[0].values), (1, 3, &third.values));
    assert_eq!((once[0].key, lab.count("ran")), (third.key, 9));
    assert_eq!(made.step("train").unwrap().outputs, step.outputs);
    let mut after = vec![meta.cached(key).await.unwrap()];
    for key in &trials {
        after.push(meta.cached(*key).await.unwrap());
    }
    assert_eq!(after, cached);
    // A sweep that goes on goes on where the first one stopped.
    let study = before.detail.sweep.as_ref().unwrap().study.unwrap();
    let earlier = resume::earlier(&lab.store, before.experiment, "train", study).await.unwrap();
    let runs = |trials: &[rondo_core::sweep::Trial]| trials.iter().map(|trial| trial.run).collect::<Vec<_>>();
    assert_eq!(runs(&earlier), runs(&sweep(&first).trials));
}

#[tokio::test]
async fn a_cached_run_whose_metric_is_no_number_is_a_failed_trial() {
    let lab = lab("over: { x: { int: [1, 3] } }, maximize: score, max_failed: 3").await;
    let first = lab.run().await;
    let trial = sweep(&first).trial(2).unwrap().clone();
    let point = Point { timestamp: 1_800_000_000_000, step: 9, value: f64::NAN };
    let batch = Batch { metrics: vec![("score".to_owned(), point)], ..Batch::default() };
    lab.store.meta().log_batch(trial.run.unwrap(), batch).await.unwrap();
    let wider = "over: { x: { int: [1, 4] } }, maximize: score, max_failed: 3";
    lab.write("rondo.yaml", &project(wider));
    let next = lab.run().await;
    assert_eq!(states(sweep(&next)), "cfcf");
    let trial = sweep(&next).trial(2).unwrap();
    assert!(trial.state == TrialState::Failed && trial.value.is_some_and(f64::is_nan), "{trial:?}");
    assert_eq!(trial.cause.as_deref(), Some("its `score` is not a number"));
}
