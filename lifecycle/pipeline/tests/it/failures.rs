//! Steps that fail, are stopped, or misbehave.

use std::time::Duration;

use rondo_core::run::RunState;
use rondo_core::{Code, Explain};
use rondo_pipeline::request::Outcome;
use rondo_pipeline::{Error, RunRequest};
use serde_json::json;
use tokio::sync::watch;

use crate::lab::{Lab, all_good, outcomes, params};

async fn lab(steps: &str) -> Lab {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", &format!("project: p\nparams: {{ name: x }}\nsteps:\n{steps}"));
    lab
}

#[tokio::test]
async fn a_failing_step_keeps_its_log_and_exit_and_nothing_downstream_starts() {
    let lab = lab("  bad: { run: 'echo before; echo cause >&2; exit 3', outputs: { o: o } }\n  \
           next: { run: 'cp $RONDO_INPUT_O $RONDO_OUTPUT_P', inputs: [bad.o], outputs: { p: p } }\n")
    .await;
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "bad:failed next:skipped");
    let bad = report.step("bad").unwrap();
    assert_eq!(bad.cause.as_deref(), Some("it exited with code 3"));
    assert_eq!(bad.tail, ["before", "cause"]);
    let error = report.failure().unwrap();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::StepFailed, "step `bad` failed: it exited with code 3")
    );
    let row = lab.store.meta().require_run(bad.run.unwrap()).await.unwrap();
    assert_eq!(row.state, RunState::Failed);
    let exit = row.detail.exit.unwrap();
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    assert!(exit.peak_memory.unwrap() > 0 && exit.cpu_seconds.is_some());
    assert_eq!(lab.store.objects().read(row.detail.log.unwrap()).unwrap(), b"before\ncause\n");
    let parent = lab.store.meta().require_run(report.run).await.unwrap();
    assert_eq!(parent.state, RunState::Failed);
    assert_eq!(parent.detail.steps["next"].outcome, "skipped");
}

#[tokio::test]
async fn a_missing_output_is_a_failure_that_names_it() {
    let lab = lab("  quiet: { run: 'true', outputs: { model: model.onnx } }\n").await;
    let report = lab.run().await;
    let cause = report.step("quiet").unwrap().cause.clone().unwrap();
    assert!(
        cause.contains("did not make its output `model`") && cause.contains("$RONDO_OUTPUT_MODEL"),
        "{cause}"
    );
    // A failure is no answer that the cache may give.
    assert_eq!(outcomes(&lab.run().await), "quiet:failed");
}

#[tokio::test]
async fn retries_are_runs_of_their_own() {
    let lab = lab(
        "  flaky: { run: 'echo x >> ../tries; test $(wc -l < ../tries) -ge 3 && echo ok > $RONDO_OUTPUT_O', outputs: { o: o }, retries: 3 }\n",
    )
    .await;
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "flaky:ran");
    let tries = lab.store.meta().children(report.run).await.unwrap();
    let seen: Vec<_> = tries.iter().map(|row| (row.detail.attempt, row.state)).collect();
    assert_eq!(seen, [(1, RunState::Failed), (2, RunState::Failed), (3, RunState::Finished)]);
    assert_eq!(report.step("flaky").unwrap().run, Some(tries[2].id));
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_stopped() {
    let lab = lab("  slow: { run: 'sleep 1000', timeout: 300ms }\n").await;
    let report = lab.run().await;
    assert_eq!(report.step("slow").unwrap().cause.as_deref(), Some("it took longer than 300ms"));
}

#[tokio::test]
async fn a_daemon_does_not_keep_the_run_waiting() {
    let lab = lab(
        "  fork: { run: 'sleep 1000 & setsid sleep 20 & echo x > $RONDO_OUTPUT_O', outputs: { o: o } }\n",
    )
    .await;
    let run = tokio::time::timeout(Duration::from_secs(15), lab.run()).await.expect("it hangs");
    assert_eq!(outcomes(&run), "fork:ran");
}

#[tokio::test]
async fn others_go_on_only_when_asked_to() {
    let steps = "  bad: { run: 'exit 1' }\n  \
                   good: { run: 'while ! test -e ../go; do sleep 0.02; done; echo x > $RONDO_OUTPUT_O', outputs: { o: o }, resources: { cpus: 0.1 } }\n  \
                   more: { run: 'cp $RONDO_INPUT_O $RONDO_OUTPUT_P', inputs: [good.o], outputs: { p: p } }\n";
    let lab = lab(steps).await;
    let opened = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        lab.write("../go", "");
    };
    let (stopped, ()) = tokio::join!(lab.run(), opened);
    assert_eq!(outcomes(&stopped), "bad:failed good:ran more:skipped");
    let on = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    assert_eq!(outcomes(&on), "bad:failed good:cached more:ran");
}

#[tokio::test]
async fn steps_run_side_by_side() {
    // Each waits for the other's sign: one after the other they would wait for ever.
    let meet = |own: &str, other: &str| {
        format!(
            "  {own}: {{ run: 'touch ../{own}; while ! test -e ../{other}; do sleep 0.02; done', timeout: 20s, resources: {{ cpus: 0.5 }} }}\n"
        )
    };
    let lab = lab(&format!("{}{}", meet("left", "right"), meet("right", "left"))).await;
    assert_eq!(outcomes(&lab.run().await), "left:ran right:ran");
}

#[tokio::test]
async fn cancelling_ends_everything_as_killed() {
    let lab =
        lab("  long: { run: 'touch ../up; sleep 1000' }\n  next: { run: 'true' , when: 'true' }\n").await;
    let (cancel, watched) = watch::channel(false);
    let runner = lab.runner();
    let stopper = async {
        while !lab.root.join("../up").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.send(true).unwrap();
    };
    let request = RunRequest { targets: vec!["long".into()], ..RunRequest::default() };
    let (result, ()) = tokio::join!(runner.run(request, watched), stopper);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    assert_eq!(error.code().kind().exit_code(), 130);
    assert!(lab.store.meta().live_runs().await.unwrap().is_empty());
    let rows = lab.store.meta().runs_of_kind(rondo_core::run::RunKind::Step, Some("long"), 5).await.unwrap();
    assert_eq!(rows[0].state, RunState::Killed);
    assert_eq!(std::fs::read_dir(lab.store.root().join("work")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_planned_runs_nothing_and_writes_nothing() {
    let lab = lab("  a: { run: 'touch ../ran' }\n").await;
    let with = |request: RunRequest| lab.try_run(request);
    let error = with(RunRequest { targets: vec!["b".into()], ..RunRequest::default() }).await.unwrap_err();
    assert_eq!(error.code(), Code::StepNotFound);
    let error = with(RunRequest { params: params(&[("nam", json!("y"))]), ..RunRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(error.hints(), ["did you mean `name`?"]);
    lab.write("rondo.yaml", "project: p\ndata: { f: { source: f.csv } }\nsteps:\n  a: { run: 'touch ../ran', inputs: [data.f] }\n");
    let error = with(RunRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), error.hints()), (Code::DatasetNotFound, vec!["rondo data add f".to_owned()]));
    assert_eq!(lab.count("ran"), 0);
    assert!(
        lab.store.meta().runs_of_kind(rondo_core::run::RunKind::Pipeline, None, 9).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn values_with_blanks_and_quotes_reach_the_step_whole() {
    let lab = lab("  say: { run: 'printf %s ${{ params.name }} > ${{ outputs.o }}; printf %s \"$RONDO_PARAM_NAME\" >> ${{ outputs.o }}', outputs: { o: o } }\n").await;
    let name = "it's $HOME; rm -rf \"x\"";
    lab.run_with(RunRequest { params: params(&[("name", json!(name))]), ..RunRequest::default() }).await;
    assert_eq!(lab.read("o"), format!("{name}{name}"));
}

#[tokio::test]
async fn a_package_that_fails_or_panics_fails_its_step() {
    use crate::records::Fake;
    let mut lab = lab("  a: { uses: fake, with: { mode: fail } }\n  b: { uses: fake, with: { mode: panic } }\n  c: { uses: fake, with: { mode: hang }, timeout: 200ms }\n").await;
    lab.builtins.push(std::sync::Arc::new(Fake));
    let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    let cause = |step: &str| report.step(step).unwrap().cause.clone().unwrap();
    assert_eq!(report.count(Outcome::Failed), 3);
    assert_eq!(cause("a"), "no such luck");
    let a = report.step("a").unwrap();
    assert_eq!(a.hints, ["try again"]);
    let row = lab.store.meta().run(a.run.unwrap()).await.unwrap().unwrap();
    assert_eq!(row.detail.exit.unwrap().hints, ["try again"]);
    assert!(cause("b").starts_with("the package ended unexpectedly"), "{}", cause("b"));
    assert_eq!(cause("c"), "it took longer than 200ms");
}

#[tokio::test]
async fn a_step_that_asks_for_a_parameter_that_it_does_not_take_is_told_how_to_take_it() {
    let lab = lab("  bad: { run: 'echo \"KeyError: RONDO_PARAM_NAME\"; exit 1' }\n  \
           taken: { run: 'echo $RONDO_PARAM_NAME RONDO_PARAM_NAME; exit 1', params: [name] }\n  \
           other: { run: 'echo RONDO_PARAM_NAMES; exit 1' }\n")
    .await;
    let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    assert_eq!(report.step("bad").unwrap().hints, ["add `params: [name]` to step `bad`"]);
    assert!(report.step("taken").unwrap().hints.is_empty() && report.step("other").unwrap().hints.is_empty());
}

#[tokio::test]
async fn what_this_machine_lacks_is_told_before_anything_runs() {
    let first = "  first: { run: 'echo x > ${{ outputs.a }}', outputs: { a: a } }\n";
    let last = "  last: { run: 'no-such-program --now', when: params.name == 'x' }\n";
    let plain = lab(&format!("{first}  bad: {{ run: 'no-such-program --now' }}\n")).await;
    let error = plain.try_run(RunRequest::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::ProgramMissing { step, program } if step == "bad" && program == "no-such-program")
    );
    assert!(!plain.root.join("a").exists());
    let keep_going = RunRequest { keep_going: true, ..RunRequest::default() };
    assert_eq!(outcomes(&plain.run_with(keep_going).await), "first:ran bad:failed");
    // What may not be asked for in the end is left to its turn.
    assert_eq!(outcomes(&lab(&format!("{first}{last}")).await.run().await), "first:ran last:failed");
    let tools = lab(first).await;
    let file = tools.read("rondo.yaml")
        + "  bad: { run: 'true', environment: e }\nenvironments: { e: { host: [no-such-tool] } }\n";
    tools.write("rondo.yaml", &file);
    assert!(matches!(tools.try_run(RunRequest::default()).await, Err(Error::ToolMissing { .. })));
    assert!(!tools.root.join("a").exists());
}

#[tokio::test]
async fn a_secret_that_is_not_set_is_missed_early_and_one_that_is_set_stays_out_of_the_log() {
    let steps = "  first: { run: 'echo x > ${{ outputs.a }}', outputs: { a: a } }\n  \
           last: { uses: ./packages/tell, with: { token: { from_env: LAB_TOKEN } }, inputs: { a: first.a } }\n";
    let lab = lab(steps).await;
    let package = "name: tell\nversion: 1.0.0\nsummary: Tells\ninputs: { a: any }\n\
         params: { token: { type: secret } }\nrun: 'echo it is $RONDO_PARAM_TOKEN'\n";
    lab.write("packages/tell/package.yaml", package);
    let error = lab.try_run(RunRequest::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::SecretMissing { step, variable, .. } if step == "last" && variable == "LAB_TOKEN"),
        "{error}"
    );
    assert!(!lab.root.join("a").exists());
    let mut runner = lab.runner();
    runner.host_env.insert("LAB_TOKEN".to_owned(), "hunter22".to_owned());
    let (_never, cancel) = watch::channel(false);
    let report = runner.run(RunRequest::default(), cancel).await.unwrap();
    assert_eq!(outcomes(&report), "first:ran last:ran");
    let run = lab.store.meta().require_run(report.step("last").unwrap().run.unwrap()).await.unwrap();
    assert_eq!(lab.store.objects().read(run.detail.log.unwrap()).unwrap(), b"it is [secret token]\n");
    assert_eq!(outcomes(&lab.run().await), "first:cached last:cached");
    // One that is set and empty is set.
    lab.write("rondo.yaml", &lab.read("rondo.yaml").replace("LAB_TOKEN", "LAB_EMPTY"));
    let mut runner = lab.runner();
    runner.host_env.insert("LAB_EMPTY".to_owned(), String::new());
    let (_never, cancel) = watch::channel(false);
    assert_eq!(outcomes(&runner.run(RunRequest::default(), cancel).await.unwrap()), "first:cached last:ran");
}

#[tokio::test]
async fn what_many_steps_lack_is_told_of_each_step_and_of_a_matrix_once() {
    let steps = "  many: { run: no-such-program, matrix: { seed: [1, 2, 3] } }\n  \
           other: { run: no-such-program }\n";
    let error = lab(steps).await.try_run(RunRequest::default()).await.unwrap_err();
    let told: Vec<String> = error.objections().into_iter().map(|told| told.path).collect();
    assert_eq!(told, ["steps.many.run", "steps.other.run"], "{error}");
}

#[tokio::test]
async fn all_that_is_missing_is_told_at_once() {
    use crate::records::Fake;
    let mut lab = lab("  first: { run: ': > ${{ outputs.a }}', outputs: { a: a } }\n  \
           kernel: { uses: fake, with: { parameters: { whole: 1.5 } } }\n  \
           tools: { run: 'true', environment: tools }\n  again: { run: 'true', environment: tools }\n  \
           image: { run: 'true', environment: image }\n  \
           program: { run: 'no-such-program --now', inputs: [first.a] }\n")
    .await;
    lab.builtins.push(std::sync::Arc::new(Fake));
    let environments =
        "environments: { tools: { host: [no-such-tool, sh, nor-this] }, image: { image: i } }\n";
    lab.write("rondo.yaml", &(lab.read("rondo.yaml") + environments));
    let mut runner = lab.runner();
    std::fs::create_dir(lab.root.join("../empty")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", lab.root.join("../empty/sh")).unwrap();
    let path = lab.root.join("../empty").to_string_lossy().into_owned();
    runner.host_env.insert("PATH".to_owned(), path);
    let (_never, cancel) = watch::channel(false);
    let error = runner.run(RunRequest::default(), cancel).await.unwrap_err();
    let paths: Vec<String> = error.objections().into_iter().map(|told| told.path).collect();
    let expected = [
        "steps.kernel.uses",
        "environments.tools.host[0]",
        "environments.tools.host[2]",
        "environments.image.image",
        "steps.program.run",
    ];
    assert_eq!(paths, expected, "{error}");
    assert!(error.objections().iter().all(|told| told.hint.is_some() || told.path == expected[0]));
    assert_eq!(error.hints().len(), 4, "{:?}", error.hints());
    assert!(!lab.root.join("a").exists());
}

#[tokio::test]
async fn a_program_that_is_wanted_late_is_missed_early_unless_the_cache_may_stand_for_it() {
    use std::os::unix::fs::PermissionsExt;
    let lab = lab("  first: { run: 'echo ${{ params.name }} > /dev/null; echo x > ${{ outputs.a }}', outputs: { a: a } }\n  \
           last: { run: 'rondo-test-tool ${{ inputs.a }}', inputs: [first.a] }\n")
    .await;
    let program = lab.root.join("../bin/rondo-test-tool");
    let run = async |name: &str| {
        let mut runner = lab.runner();
        let path = format!("{}:{}", lab.root.join("../bin").display(), runner.host_env["PATH"]);
        runner.host_env.insert("PATH".to_owned(), path);
        let (_never, cancel) = watch::channel(false);
        let params = params(&[("name", json!(name))]);
        runner.run(RunRequest { params, ..RunRequest::default() }, cancel).await
    };
    assert!(matches!(run("x").await, Err(Error::ProgramMissing { step, .. }) if step == "last"));
    assert!(!lab.root.join("a").exists());
    lab.write("../bin/rondo-test-tool", "#!/bin/sh\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(outcomes(&run("x").await.unwrap()), "first:ran last:ran");
    std::fs::remove_file(program).unwrap();
    assert_eq!(outcomes(&run("y").await.unwrap()), "first:ran last:cached");
}

#[tokio::test]
async fn what_helps_a_step_that_could_not_begin_stands_apart_from_its_cause() {
    let lab = lab("  bad: { run: 'true', environment: e }\n").await;
    lab.write("rondo.yaml", &(lab.read("rondo.yaml") + "environments: { e: { host: [no-such-tool] } }\n"));
    let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    let bad = report.step("bad").unwrap();
    assert!(!bad.cause.as_deref().unwrap().contains("hint"), "{bad:?}");
    assert_eq!(bad.hints, ["install `no-such-tool` and put it in the PATH"]);
}

#[tokio::test]
async fn an_output_does_not_replace_the_steps_own_code() {
    let lab = Lab::new().await;
    lab.write("t.py", "print(1)");
    lab.write("src/u.py", "print(2)");
    lab.write("lib/v.py", "print(3)");
    lab.write(
        "rondo.yaml",
        "project: p\nsteps:\n  \
         script: { run: 'python3 t.py > ${{ outputs.x }}', outputs: { x: ./t.py } }\n  \
         folder: { run: 'mkdir ${{ outputs.x }}; echo 1 > ${{ outputs.x }}/a', code: [src/], outputs: { x: src/ } }\n  \
         beside: { run: 'echo 1 > ${{ outputs.x }}', code: [lib], outputs: { x: lib/made.csv } }\n",
    );
    let request = || RunRequest { keep_going: true, ..RunRequest::default() };
    let report = lab.run_with(request()).await;
    for (step, said) in [
        ("script", "output `t.py` of step `script` would replace `t.py`, which is its own code"),
        ("folder", "output `src/` of step `folder` would replace `src`, which is its own code"),
    ] {
        let step = report.step(step).unwrap();
        assert_eq!(step.cause.as_deref(), Some(said));
        assert_eq!(step.hints, ["give the output a path of its own, as `out/NAME`"]);
    }
    assert_eq!((lab.read("t.py"), lab.read("src/u.py")), ("print(1)".into(), "print(2)".into()));
    // What a step makes in a folder of its code is not its code: it is cached the next time.
    let again = lab.run_with(request()).await;
    assert_eq!(again.step("beside").unwrap().outcome, Outcome::Cached);
}

#[tokio::test]
async fn what_lies_where_an_output_goes_is_set_aside_and_named() {
    let lab = Lab::new().await;
    lab.write("reports/mine.md", "mine");
    lab.write(
        "rondo.yaml",
        "project: p\nsteps: { rep: { run: 'mkdir ${{ outputs.x }}; echo 1 > ${{ outputs.x }}/auto', outputs: { x: reports/ } } }\n",
    );
    assert!(all_good(&lab.run().await));
    assert!(!lab.root.join("reports/mine.md").exists());
    let notes = lab.events.notes();
    let note = notes.iter().find(|note| note.starts_with("`reports/` was not as a run had left it")).unwrap();
    let aside = note.split('`').nth(3).unwrap();
    assert_eq!(lab.read(&format!("{aside}/mine.md")), "mine");
}
