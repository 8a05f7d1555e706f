//! When steps run and when earlier runs stand for them.

use rondo_pipeline::request::{Forecast, Outcome, Place};
use rondo_pipeline::{RunReport, RunRequest};
use serde_json::json;

use crate::lab::{Lab, outcomes, params};

const CHAIN: &str = r#"
project: chain
params: { seed: 7, rate: 0.1 }
data: { flights: { source: flights.csv } }
steps:
  prepare:
    run: |
      echo x >> ../prepare; cut -c1 "${{ inputs.flights }}" > "${{ outputs.train }}"
    inputs: [data.flights]
    outputs: { train: work/train.csv }
  train:
    run: ./train.sh ${{ params.seed }} ${{ inputs.train }} ${{ outputs.model }}
    inputs: [prepare.train]
    outputs: { model: model.txt }
  report:
    run: echo x >> ../report; wc -c < $RONDO_INPUT_MODEL > $RONDO_OUTPUT_PAGE; echo $RONDO_PARAM_RATE >> $RONDO_OUTPUT_PAGE
    inputs: [train.model]
    outputs: { page: page.txt }
    params: [rate]
"#;

async fn chain() -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", CHAIN);
    script(&lab, "echo x >> ../train; (echo \"seed $1\"; cat \"$2\") > \"$3\"");
    lab.add_data("flights", "ab\ncd\n").await;
    lab
}

fn script(lab: &Lab, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    lab.write("train.sh", &format!("#!/bin/sh\n{body}\n"));
    let place = lab.root.join("train.sh");
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn digest(report: &RunReport, step: &str, output: &str) -> rondo_core::Digest {
    report.step(step).unwrap().output(output).unwrap().digest
}

#[tokio::test]
async fn a_second_run_does_nothing_and_a_changed_parameter_reruns_only_what_depends_on_it() {
    let lab = chain().await;
    let first = lab.run().await;
    assert_eq!(outcomes(&first), "prepare:ran train:ran report:ran");
    assert_eq!(lab.read("model.txt"), "seed 7\na\nc\n");
    assert_eq!(lab.read("work/train.csv"), "a\nc\n");
    let again = lab.run().await;
    assert_eq!(outcomes(&again), "prepare:cached train:cached report:cached");
    assert_eq!(again.step("train").unwrap().run, first.step("train").unwrap().run);
    let other =
        lab.run_with(RunRequest { params: params(&[("rate", json!(0.2))]), ..RunRequest::default() }).await;
    assert_eq!(outcomes(&other), "prepare:cached train:cached report:ran");
    let seed =
        lab.run_with(RunRequest { params: params(&[("seed", json!(8))]), ..RunRequest::default() }).await;
    // `seed 8` is as long as `seed 7`, but the report's input has other bytes.
    assert_eq!(outcomes(&seed), "prepare:cached train:ran report:ran");
    assert_eq!(digest(&seed, "report", "page"), digest(&first, "report", "page"));
    // Back to what was: every earlier run still stands for its key, and the work tree follows.
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:cached report:cached");
    assert_eq!(lab.read("model.txt"), "seed 7\na\nc\n");
    assert_eq!((lab.count("prepare"), lab.count("train"), lab.count("report")), (1, 2, 3));
}

#[tokio::test]
async fn equal_outputs_cut_off_everything_downstream() {
    let lab = chain().await;
    lab.run().await;
    // Other bytes in the data, the same after `prepare`.
    let new = lab.add_data("flights", "ax\ncy\n").await;
    // What arrives does not move what `rondo.lock` pins; whoever adds data pins them.
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:cached report:cached");
    let request = RunRequest { pins: [("flights".to_owned(), new)].into(), ..RunRequest::default() };
    assert_eq!(outcomes(&lab.run_with(request).await), "prepare:ran train:cached report:cached");
    // Other code, the same model.
    script(&lab, "echo x >> ../train; (echo \"seed $1\"; cat \"$2\") > \"$3\" # the same");
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:ran report:cached");
}

#[tokio::test]
async fn a_lost_or_changed_file_in_the_work_tree_is_put_back_without_a_run() {
    let lab = chain().await;
    lab.run().await;
    std::fs::remove_file(lab.root.join("model.txt")).unwrap();
    std::fs::remove_file(lab.root.join("page.txt")).unwrap();
    lab.write("page.txt", "scribble");
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:cached report:cached");
    assert_eq!(lab.read("model.txt"), "seed 7\na\nc\n");
    assert_ne!(lab.read("page.txt"), "scribble");
    // Only what was written by hand is told of: what a run has made is in the store.
    let notes = lab.events.notes();
    let aside = notes[0].strip_prefix("`page.txt` was not as a run had left it: what was there is in `");
    let aside = aside.and_then(|rest| rest.strip_suffix("` now")).unwrap();
    assert_eq!((notes.len(), lab.read(aside).as_str()), (1, "scribble"));
    lab.run_with(RunRequest { params: params(&[("seed", json!(8))]), ..RunRequest::default() }).await;
    assert_eq!(lab.read("model.txt"), "seed 8\na\nc\n");
    assert_eq!(lab.events.notes().len(), 1);
}

#[tokio::test]
async fn an_output_that_left_the_store_is_made_again() {
    let lab = chain().await;
    let first = lab.run().await;
    let model = digest(&first, "train", "model");
    std::fs::remove_file(lab.store.objects().require(model).unwrap()).unwrap();
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:ran report:cached");
    assert!(lab.store.objects().holds(model, false));
}

#[tokio::test]
async fn targets_bring_what_they_need_and_force_runs_them_anyway() {
    let lab = chain().await;
    let only = RunRequest { targets: vec!["train".into()], ..RunRequest::default() };
    assert_eq!(outcomes(&lab.run_with(only.clone()).await), "prepare:ran train:ran");
    let forced = lab.run_with(RunRequest { force: true, ..only }).await;
    assert_eq!(outcomes(&forced), "prepare:cached train:ran");
    assert_eq!(
        outcomes(&lab.run_with(RunRequest { force: true, ..RunRequest::default() }).await),
        "prepare:ran train:ran report:ran"
    );
}

#[tokio::test]
async fn a_step_that_is_not_deterministic_is_named() {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", "project: p\nsteps:\n  dice: { run: 'echo $$ > ${{ outputs.o }}; echo 1 > ${{ outputs.e }}', outputs: { o: o, e: e } }\n");
    assert!(lab.run().await.steps[0].unequal.is_empty());
    let again = lab.run_with(RunRequest { force: true, ..RunRequest::default() }).await;
    assert_eq!(again.steps[0].unequal, ["o"]);
    // A clone knows it from `rondo.lock`.
    let clone = Lab::new().await;
    for file in ["rondo.yaml", "rondo.lock"] {
        clone.write(file, &lab.read(file));
    }
    assert_eq!(clone.run().await.steps[0].unequal, ["o"]);
}

#[tokio::test]
async fn a_detached_run_touches_neither_the_work_tree_nor_the_lock() {
    let lab = chain().await;
    let old = lab.add_data("flights", "xx\n").await;
    lab.add_data("flights", "yy\n").await;
    let request = RunRequest {
        place: Place::Detached,
        params: params(&[("seed", json!(99))]),
        pins: [("flights".to_owned(), old)].into(),
        ..RunRequest::default()
    };
    let report = lab.run_with(request).await;
    assert_eq!(outcomes(&report), "prepare:ran train:ran report:ran");
    assert_eq!(report.datasets[0].digest, old);
    let model = lab.store.objects().read(digest(&report, "train", "model")).unwrap();
    assert_eq!(model, b"seed 99\nx\n");
    for path in ["model.txt", "page.txt", "work", "rondo.lock"] {
        assert!(!lab.root.join(path).exists(), "{path}");
    }
}

#[tokio::test]
async fn plan_and_why_say_what_would_happen_and_what_changed() {
    let lab = chain().await;
    let plan = lab.runner().plan(&RunRequest::default()).await.unwrap();
    let forecasts: Vec<_> = plan.steps.iter().map(|step| step.forecast).collect();
    assert_eq!(forecasts, [Forecast::Runs, Forecast::Waits, Forecast::Waits]);
    assert_eq!(plan.steps[0].reason, "it has not run before");
    let why = lab.runner().why("prepare").await.unwrap().remove(0);
    assert!(why.would_run() && why.last.is_none());
    assert_eq!(why.lines, ["`prepare` would run: no earlier run has this key", "it has not run before"]);
    let first = lab.run().await;

    let why = lab.runner().why("train").await.unwrap().remove(0);
    assert_eq!(why.forecast, Forecast::Cached(first.step("train").unwrap().run.unwrap()));
    assert!(why.lines[1].starts_with("nothing that it depends on has changed since run"), "{:?}", why.lines);

    lab.write("rondo.yaml", &CHAIN.replace("seed: 7", "seed: 8"));
    script(&lab, "echo new; cp \"$2\" \"$3\"");
    let why = lab.runner().why("train").await.unwrap().remove(0);
    assert!(why.would_run());
    let parts: Vec<&str> = why.changes.iter().map(|change| change.part.as_str()).collect();
    assert_eq!(parts, ["code.train.sh", "param.seed"]);
    assert!(
        why.lines
            .iter()
            .any(|line| line.starts_with("parameter `seed` changed") && line.ends_with("`7` → `8`"))
    );
    let plan = lab.runner().plan(&RunRequest::default()).await.unwrap();
    let reason = &plan.steps[1].reason;
    assert!(
        reason.starts_with("code `train.sh` changed: ")
            && reason.ends_with("; parameter `seed` changed: `7` → `8`"),
        "{reason}"
    );
    assert_eq!(plan.steps[2].reason, "it depends on `train.model`, which would be made anew");
    let all = lab.runner().why_with(None, params(&[("seed", json!(9))])).await.unwrap();
    let steps: Vec<&str> = all.iter().map(|why| why.step.as_str()).collect();
    assert_eq!(steps, ["prepare", "train", "report"]);
    assert!(all[1].reason.ends_with("; parameter `seed` changed: `7` → `9`"), "{}", all[1].reason);
    assert!(lab.runner().why_with(None, params(&[("sed", json!(9))])).await.is_err());
    let why = lab.runner().why("report").await.unwrap().remove(0);
    assert_eq!(why.forecast, Forecast::Waits);
    assert!(
        why.lines.iter().any(|line| line == "input `model` is not known before `train.model` is made"),
        "{:?}",
        why.lines
    );
    assert!(lab.runner().why("trian").await.unwrap_err().to_string().contains("no step `trian`"));
}

#[tokio::test]
async fn plan_and_why_name_the_run_that_failed() {
    let lab = Lab::new().await;
    let file = |command: &str| format!("project: p\nsteps:\n  a: {{ run: '{command}' }}\n");
    lab.write("rondo.yaml", &file("exit 3"));
    let failed = lab.run().await.step("a").unwrap().run.unwrap().short();
    let plan = lab.runner().plan(&RunRequest::default()).await.unwrap();
    assert_eq!(plan.steps[0].reason, format!("run {failed} has this key and did not end well"));
    let why = lab.runner().why("a").await.unwrap().remove(0);
    assert!(why.lines[1].starts_with(&format!("run {failed} of ")), "{:?}", why.lines);
    assert!(why.lines[1].ends_with("failed: it exited with code 3"), "{:?}", why.lines);
    assert_eq!(why.lines[2], "it has not ended well before");
    lab.write("rondo.yaml", &file("true"));
    lab.run().await;
    let why = lab.runner().why("a").await.unwrap().remove(0);
    assert!(!why.would_run() && !why.lines.iter().any(|line| line.contains("failed")), "{:?}", why.lines);
    lab.write("rondo.yaml", &file("true #"));
    let why = lab.runner().why("a").await.unwrap().remove(0);
    assert!(why.would_run() && !why.lines.iter().any(|line| line.contains("failed")), "{:?}", why.lines);
}

#[tokio::test]
async fn the_key_does_not_depend_on_where_the_project_lies() {
    let (one, two) = (chain().await, chain().await);
    let (first, second) = (one.run().await, two.run().await);
    for (a, b) in first.steps.iter().zip(&second.steps) {
        assert_eq!((a.key, &a.outputs), (b.key, &b.outputs), "{}", a.name);
    }
    assert_eq!(one.read("rondo.lock"), two.read("rondo.lock"));
}

#[tokio::test]
async fn what_does_not_change_a_result_is_no_part_of_the_key() {
    let lab = chain().await;
    lab.run().await;
    let same = CHAIN
        .replace("outputs: { model: model.txt }", "outputs: { model: moved/model.txt }\n    retries: 2\n    timeout: 1h\n    description: the same\n    resources: { cpus: 2 }");
    lab.write("rondo.yaml", &same);
    assert_eq!(outcomes(&lab.run().await), "prepare:cached train:cached report:cached");
    assert_eq!(lab.read("moved/model.txt"), "seed 7\na\nc\n");
}

#[tokio::test]
async fn a_step_that_is_not_cached_runs_each_time_and_one_whose_condition_fails_never() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        r#"
project: p
params: { full: false }
steps:
  now: { run: "date > ${{ outputs.at }}", outputs: { at: at }, cache: false }
  rare: { run: "echo x > ${{ outputs.o }}", outputs: { o: o }, when: "${{ params.full }}" }
  after: { run: "cp ${{ inputs.o }} ${{ outputs.p }}", inputs: [rare.o], outputs: { p: p } }
"#,
    );
    for _ in 0..2 {
        let report = lab.run().await;
        assert_eq!(outcomes(&report), "now:ran rare:skipped after:skipped");
        assert!(report.failure().is_none());
    }
    let request = RunRequest { params: params(&[("full", json!(true))]), ..RunRequest::default() };
    let report = lab.run_with(request).await;
    assert_eq!((report.count(Outcome::Ran), report.count(Outcome::Skipped)), (3, 0));
}

#[tokio::test]
async fn a_module_that_a_script_imports_is_in_its_key_and_why_names_it() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nsteps:\n  t: { run: 'python3 -u -X dev src/t.py', outputs: { x: src/made.py } }\n  m: { run: python3 -m tool }\n  \
         alone: { run: python3 alone.py }\n",
    );
    let t = "import os\nfrom pathlib import Path\nimport feat; Path(os.environ['RONDO_OUTPUT_X']).write_text(feat.V)\n\
             if False:\n    import made\n";
    lab.write("src/t.py", t);
    lab.write("src/feat.py", "from deep import V");
    lab.write("src/deep.py", "V = 'one'");
    lab.write("src/unused.py", "");
    lab.write("tool/__init__.py", "");
    lab.write("tool/__main__.py", "import tool.inner");
    lab.write("tool/inner.py", "");
    lab.write("alone.py", "print()");
    let first = lab.run().await;
    assert_eq!(outcomes(&first), "t:ran m:ran alone:ran");
    let run = first.step("t").unwrap().run.unwrap();
    let files = lab.store.meta().run(run).await.unwrap().unwrap().detail.code.files;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["src/deep.py", "src/feat.py", "src/t.py"]);
    lab.write("src/unused.py", "V = 'two'");
    assert_eq!(outcomes(&lab.run().await), "t:cached m:cached alone:cached");
    lab.write("src/deep.py", "V = 'two'");
    lab.write("tool/inner.py", "print()");
    let why = lab.runner().why("t").await.unwrap().remove(0);
    assert!(why.lines.iter().any(|line| line.starts_with("code `src/deep.py` changed")), "{:?}", why.lines);
    assert_eq!(outcomes(&lab.run().await), "t:ran m:ran alone:cached");
    assert_eq!(lab.read("src/made.py"), "two");
}

/// A script that is edited after its step's key was made and before it is read.
#[tokio::test]
async fn what_a_script_made_that_was_edited_meanwhile_stands_for_nothing() {
    let run =
        "test ! -e ../edit || cp ../edit t.sh; sh t.sh > $RONDO_OUTPUT_O; echo '{\"s\": 1}' > $RONDO_METRICS";
    let step = format!("run: '{run}'\n    outputs: {{ o: o.txt }}\n    code: [t.sh]\n    metrics: m.json");
    let step = step.replace("'{\"s\": 1}'", "''{\"s\": 1}''");
    let swept = format!("{step}\n    sweep: {{ over: {{ x: [1] }}, maximize: s }}");
    for step in [step, swept] {
        let lab = Lab::new().await;
        lab.write("rondo.yaml", &format!("project: p\nparams: {{ x: 1 }}\nsteps:\n  t:\n    {step}\n"));
        lab.write("t.sh", "echo one");
        lab.write("../edit", "echo two");
        assert_eq!(outcomes(&lab.run().await), "t:ran");
        assert_eq!(lab.read("o.txt"), "two\n");
        let told = "`t.sh` was edited while it ran: no later run takes what it made";
        assert!(lab.events.notes().iter().any(|note| note == told), "{:?}", lab.events.notes());
        std::fs::remove_file(lab.root.join("../edit")).unwrap();
        lab.write("t.sh", "echo one");
        assert_eq!(outcomes(&lab.run().await), "t:ran");
        assert_eq!(lab.read("o.txt"), "one\n");
        assert!(!lab.events.notes().iter().any(|note| note.contains("not deterministic")));
        assert_eq!(outcomes(&lab.run().await), "t:cached");
    }
}

/// A package's files are copied when its step begins, which may be long after its key was made.
#[tokio::test]
async fn what_a_package_made_that_was_edited_meanwhile_stands_for_nothing() {
    let lab = Lab::new().await;
    let (edit, own) = (lab.root.join("../edit"), lab.root.join("packages/tell/t.sh"));
    let run =
        format!("test ! -e {0} || cp {0} {1}; sh t.sh > $RONDO_OUTPUT_O", edit.display(), own.display());
    let head = "name: tell\nversion: 1.0.0\nsummary: Tells\noutputs: { o: any }\n";
    lab.write("packages/tell/package.yaml", &format!("{head}run: '{run}'\n"));
    lab.write("rondo.yaml", "project: p\nsteps:\n  t: { uses: ./packages/tell, outputs: { o: o.txt } }\n");
    lab.write("packages/tell/t.sh", "echo one");
    lab.write("../edit", "echo two");
    assert_eq!(outcomes(&lab.run().await), "t:ran");
    let told = "`package/t.sh` was edited while it ran: no later run takes what it made";
    assert!(lab.events.notes().iter().any(|note| note == told), "{:?}", lab.events.notes());
    std::fs::remove_file(edit).unwrap();
    lab.write("packages/tell/t.sh", "echo one");
    assert_eq!(outcomes(&lab.run().await), "t:ran");
    assert_eq!(outcomes(&lab.run().await), "t:cached");
}
