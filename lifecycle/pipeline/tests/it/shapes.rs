//! Matrices, conditions, and the parts of a pipeline that a run may be asked for.

use rondo_core::{Code, Explain};
use rondo_pipeline::RunRequest;
use rondo_pipeline::request::Forecast;
use serde_json::json;

use crate::lab::{Lab, outcomes, params};

const MATRIX: &str = r#"
project: p
params: { full: false, least: 3 }
steps:
  base: { run: 'echo b > $RONDO_OUTPUT_O', outputs: { o: base.txt } }
  fit:
    matrix: { seed: [1, 2], kind: [a, "b c"] }
    run: 'echo x >> ../fits; echo ${{ matrix.seed }} ${{ matrix.kind }} > ${{ outputs.m }}'
    inputs: [base.o]
    outputs: { m: models/m.txt }
  score:
    matrix: { seed: [1, 2] }
    run: 'echo x >> ../scores; cat $RONDO_INPUT_M/*.txt | wc -l > $RONDO_OUTPUT_S'
    inputs: [fit.m]
    outputs: { s: s.txt }
  all:
    run: 'sort $RONDO_INPUT_M/* > $RONDO_OUTPUT_O'
    inputs: [fit.m]
    outputs: { o: all.txt }
  small: { run: 'true', inputs: [all.o], when: 'inputs.o.size < params.least' }
  report: { run: 'true', inputs: [all.o], when: '${{ params.full }} && inputs.o.size > 0' }
"#;

async fn matrix() -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", MATRIX);
    lab
}

fn full() -> RunRequest {
    RunRequest { params: params(&[("full", json!(true))]), ..RunRequest::default() }
}

#[tokio::test]
async fn combinations_have_keys_of_their_own_and_equal_outputs_cut_off_what_follows() {
    let lab = matrix().await;
    let first = lab.run_with(full()).await;
    assert_eq!(
        outcomes(&first),
        "base:ran fit[seed=1,kind=a]:ran fit[seed=1,kind=\"b c\"]:ran fit[seed=2,kind=a]:ran \
         fit[seed=2,kind=\"b c\"]:ran score[seed=1]:ran score[seed=2]:ran all:ran small:skipped report:ran"
    );
    assert_eq!(lab.read("all.txt"), "1 a\n1 b c\n2 a\n2 b c\n");
    assert_eq!(lab.read("models/seed=1,kind=a/m.txt"), "1 a\n");
    let keys: std::collections::BTreeSet<_> = first.steps.iter().filter_map(|step| step.key).collect();
    assert_eq!(keys.len(), 9, "`small` was left out before it had one");
    // Another command, the same bytes: nothing below runs.
    lab.write("rondo.yaml", &MATRIX.replace("echo x >> ../fits", "echo y >> ../fits"));
    let again = lab.run_with(full()).await;
    assert!(
        outcomes(&again)
            .ends_with("score[seed=1]:cached score[seed=2]:cached all:cached small:skipped report:cached")
    );
    assert_eq!((lab.count("fits"), lab.count("scores")), (8, 2));
    let lock = lab.read("rondo.lock");
    assert!(lock.contains("\n  \"fit[seed=1,kind=\\\"b c\\\"]\":\n"), "{lock}");
    let row =
        lab.store.meta().require_run(first.step("fit[seed=2,kind=a]").unwrap().run.unwrap()).await.unwrap();
    assert_eq!(row.detail.key_parts["matrix.seed"], "2");
    let logged = lab.store.meta().run_params(row.id).await.unwrap();
    assert_eq!((logged["seed"].as_str(), logged["kind"].as_str()), ("2", "a"));
}

#[tokio::test]
async fn a_failed_combination_holds_back_what_needs_it_and_nothing_else() {
    let lab = matrix().await;
    lab.write("rondo.yaml", &MATRIX.replace("echo x >> ../fits;", "test $RONDO_MATRIX_SEED = 1 || exit 1;"));
    let report = lab.run_with(RunRequest { keep_going: true, ..full() }).await;
    let of = |name: &str| report.step(name).unwrap().outcome.text();
    assert_eq!(
        (of("score[seed=1]"), of("score[seed=2]"), of("all"), of("report")),
        ("ran", "skipped", "skipped", "skipped")
    );
}

#[tokio::test]
async fn words_mean_combinations_and_conditions_wait_for_what_they_ask() {
    let lab = matrix().await;
    let with = |targets: &[&str]| RunRequest {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        ..RunRequest::default()
    };
    let plan = lab.runner().plan(&full()).await.unwrap();
    let of = |name: &str| plan.steps.iter().find(|step| step.name == name).unwrap();
    assert_eq!(of("base").forecast, Forecast::Runs);
    assert_eq!(of("report").forecast, Forecast::Waits);
    assert!(of("report").reason.contains("`inputs.o.size`"), "{}", of("report").reason);
    assert_eq!(of("all").needs.len(), 4);
    let report = lab.run_with(with(&["fit[kind=a]"])).await;
    assert_eq!(outcomes(&report), "base:ran fit[seed=1,kind=a]:ran fit[seed=2,kind=a]:ran");
    let error = lab.try_run(with(&["fit[kind=z]"])).await.unwrap_err();
    assert_eq!(
        (error.code(), error.hints()),
        (Code::StepNotFound, vec!["did you mean `fit[seed=1,kind=a]`?".to_owned()])
    );
    let whys = lab.runner().why("fit").await.unwrap();
    let would: Vec<bool> = whys.iter().map(rondo_pipeline::Why::would_run).collect();
    assert_eq!(would, [false, true, false, true]);
}

#[tokio::test]
async fn only_takes_what_was_made_and_from_takes_what_follows() {
    let lab = Lab::new().await;
    let text = "project: p\nparams: { x: 1 }\nsteps:\n  \
                a: { run: 'echo ${{ params.x }} > $RONDO_OUTPUT_O', outputs: { o: a } }\n  \
                b: { run: 'cat $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [a.o], outputs: { o: b } }\n  \
                c: { run: 'cat $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [b.o], outputs: { o: c } }\n  \
                d: { run: 'true' }\n";
    lab.write("rondo.yaml", text);
    let only = || RunRequest { targets: vec!["c".into()], only: true, ..RunRequest::default() };
    let report = lab.run_with(only()).await;
    assert_eq!(outcomes(&report), "b:failed c:skipped");
    assert!(report.step("b").unwrap().cause.as_ref().unwrap().contains("has not run before"));
    assert_eq!(outcomes(&lab.run().await), "a:ran b:ran c:ran d:ran");
    let from = RunRequest { from: vec!["b".into()], force: true, ..RunRequest::default() };
    assert_eq!(outcomes(&lab.run_with(from).await), "a:cached b:ran c:ran");
    let between = RunRequest { from: vec!["b".into()], targets: vec!["b".into()], ..RunRequest::default() };
    assert_eq!(outcomes(&lab.run_with(between).await), "a:cached b:cached");
    let apart = |targets: &[&str]| {
        let targets = targets.iter().map(ToString::to_string).collect();
        RunRequest { from: vec!["b".into()], targets, ..RunRequest::default() }
    };
    let error = lab.try_run(apart(&["d"])).await.unwrap_err();
    assert_eq!(error.to_string(), "`d` does not depend on `b` (`--from b`)");
    assert_eq!(error.hints(), ["ask for one of both: rondo run d, or rondo run --from b"]);
    let error = lab.try_run(apart(&["a", "d"])).await.unwrap_err();
    assert_eq!(error.to_string(), "none of `a`, `d` depends on `b` (`--from b`)");
    lab.write("rondo.yaml", &text.replace("x: 1", "x: 2"));
    let before = lab.read("rondo.lock");
    let report = lab.run_with(only()).await;
    assert_eq!((outcomes(&report).as_str(), lab.read("c").as_str()), ("b:cached c:cached", "1\n"));
    assert!(report.step("b").unwrap().cause.as_ref().unwrap().starts_with("kept as run"));
    assert_eq!(lab.read("rondo.lock"), before, "what was only kept is not locked anew");
    assert_eq!(outcomes(&lab.run().await), "a:ran b:ran c:ran d:cached");
}

#[tokio::test]
async fn a_wide_pipeline_runs_each_step_once_and_counts_them() {
    let lab = Lab::new().await;
    let layer = |layer: usize| {
        (0..20).map(move |i| {
            let input = if layer == 0 { String::new() } else { format!(", inputs: [s{}-{i}.o]", layer - 1) };
            format!("  s{layer}-{i}: {{ run: 'echo {layer}-{i} > $RONDO_OUTPUT_O', outputs: {{ o: o{layer}-{i} }}{input}, resources: {{ cpus: 0.1 }} }}\n")
        })
    };
    let steps: String = (0..3).flat_map(layer).collect();
    lab.write("rondo.yaml", &format!("project: p\nsteps:\n{steps}"));
    let report = lab.run_with(RunRequest { jobs: Some(1), ..RunRequest::default() }).await;
    assert_eq!(report.count(rondo_pipeline::Outcome::Ran), 60);
    let row = lab.store.meta().require_run(report.run).await.unwrap();
    assert_eq!(row.detail.steps.len(), 60);
    assert_eq!(lab.store.meta().children(report.run).await.unwrap().len(), 60);
    assert_eq!(lab.run().await.count(rondo_pipeline::Outcome::Cached), 60);
}

#[tokio::test]
async fn what_a_step_made_executable_the_next_one_executes() {
    let lab = Lab::new().await;
    let text = r#"
project: p
steps:
  build:
    run: |
      printf '#!/bin/sh\necho %s\n' ran > ${{ outputs.x }}
      chmod 755 ${{ outputs.x }}
      mkdir -p ${{ outputs.d }}
      cp -p ${{ outputs.x }} ${{ outputs.d }}/t
    outputs: { x: bin/tool, d: bin/d/ }
  use: { run: '${{ inputs.x }} > ${{ outputs.o }}', inputs: [build.x], outputs: { o: x.txt } }
  used: { run: '${{ inputs.d }}/t > ${{ outputs.o }}', inputs: [build.d], outputs: { o: d.txt } }
"#;
    lab.write("rondo.yaml", text);
    assert_eq!(outcomes(&lab.run().await), "build:ran use:ran used:ran");
    assert_eq!((lab.read("x.txt"), lab.read("d.txt")), ("ran\n".to_owned(), "ran\n".to_owned()));
    // Out of the cache into the work tree.
    std::fs::remove_file(lab.root.join("bin/tool")).unwrap();
    assert_eq!(outcomes(&lab.run().await), "build:cached use:cached used:cached");
    assert!(std::process::Command::new(lab.root.join("bin/tool")).status().unwrap().success());
}
