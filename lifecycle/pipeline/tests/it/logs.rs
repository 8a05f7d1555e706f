//! What steps say is read by others while they say it, and in the same places afterwards.

use std::time::Duration;

use rondo_core::run::RunKind;
use rondo_core::{Code, Explain};
use rondo_pipeline::RunRequest;
use rondo_pipeline::logs::{Follower, Mark, Said};
use rondo_store::Store;

use crate::lab::{Lab, outcomes};

/// Reads on until something is met or nothing more comes.
async fn until(follower: &mut Follower, wanted: &str) -> (String, Option<Mark>) {
    let (mut text, mut after) = (String::new(), None);
    for _ in 0..3000 {
        match follower.next().await.unwrap() {
            Said::Begins { name, .. } => text.push_str(&format!("<{name}>")),
            Said::Bytes { from, bytes } => {
                after = Some(Mark { at: from.at + bytes.len() as u64, ..from });
                text.push_str(&String::from_utf8(bytes).unwrap());
            }
            Said::LeftOut { .. } => panic!("nothing is left out"),
            Said::Waits => tokio::time::sleep(Duration::from_millis(10)).await,
            Said::Ends => return (text, after),
        }
        if !wanted.is_empty() && text.contains(wanted) {
            return (text, after);
        }
    }
    panic!("it did not come to `{wanted}`: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_read_by_another_process_while_it_runs_and_on_from_there_afterwards() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        r#"
project: talk
steps:
  talk:
    run: echo first; while [ ! -e ../go ]; do sleep 0.02; done; echo second; echo last >&2; printf end
  after: { run: echo after, outputs: {} , matrix: { n: [1, 2] } }
"#,
    );
    let elsewhere = Store::open(&lab.root.join(".rondo")).await.unwrap();
    let looks = async {
        let row = loop {
            let rows = elsewhere.meta().runs_of_kind(RunKind::Step, Some("talk"), 1).await.unwrap();
            match rows.into_iter().next() {
                Some(row) => break row,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let mut follower = Follower::open(&elsewhere, &row, None).await.unwrap();
        let (text, after) = until(&mut follower, "first\n").await;
        assert_eq!(text, "first\n");
        std::fs::write(lab.root.join("../go"), "").unwrap();
        let (text, end) = until(&mut follower, "").await;
        assert_eq!(text, "second\nlast\nend");
        (row, after, end)
    };
    let (report, (row, after, end)) = tokio::join!(lab.run(), looks);
    assert_eq!(outcomes(&report).matches(":ran").count(), 3);
    // From the places of before, when it has ended.
    for (from, expected) in [(None, "first\nsecond\nlast\nend"), (after, "second\nlast\nend"), (end, "")] {
        let mut follower = Follower::open(&elsewhere, &row, from).await.unwrap();
        assert_eq!(until(&mut follower, "").await.0, expected);
    }

    // The pipeline's run is its steps, in the order in which they began.
    let whole = elsewhere.meta().require_run(report.run).await.unwrap();
    let all = until(&mut Follower::open(&elsewhere, &whole, None).await.unwrap(), "").await.0;
    assert!(all.contains("<talk>first\nsecond\nlast\nend") && all.matches(">after\n").count() == 2, "{all}");
    let rest = until(&mut Follower::open(&elsewhere, &whole, after).await.unwrap(), "").await.0;
    assert!(rest.starts_with("second\n") && all.ends_with(&rest), "{rest}");
    let foreign = Follower::open(&elsewhere, &row, Some(Mark { run: report.run, at: 0 })).await;
    assert!(foreign.is_err());
}

#[tokio::test]
async fn the_log_of_a_sweep_is_that_of_its_trials() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        r#"
project: talk
params: { n: 1 }
steps:
  t:
    run: echo said $RONDO_PARAM_N; echo "{\"m\":$RONDO_PARAM_N}" > $RONDO_METRICS
    metrics: m.json
    sweep: { over: { n: [1, 2] }, maximize: m }
"#,
    );
    let report = lab.run_with(RunRequest { jobs: Some(1), ..RunRequest::default() }).await;
    let whole = lab.store.meta().require_run(report.run).await.unwrap();
    let text = until(&mut Follower::open(&lab.store, &whole, None).await.unwrap(), "").await.0;
    assert!(text.contains("<t@1>said ") && text.contains("<t@2>said "), "{text}");
    let trial = lab.store.meta().runs_of_kind(RunKind::Step, Some("t@2"), 1).await.unwrap().remove(0);
    let from = Some(Mark { run: trial.id, at: 0 });
    let text = until(&mut Follower::open(&lab.store, &whole, from).await.unwrap(), "").await.0;
    assert!(text == "said 1\n" || text == "said 2\n", "{text}");
}

#[tokio::test]
async fn a_damaged_log_is_refused_before_any_of_it_is_shown() {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", "project: talk\nsteps: { talk: { run: echo said } }\n");
    let report = lab.run().await;
    let run = report.step("talk").unwrap().run.unwrap();
    let row = lab.store.meta().run(run).await.unwrap().unwrap();
    let object = lab.store.objects().require(row.detail.log.unwrap()).unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "sand\n").unwrap();
    let mut follower = Follower::open(&lab.store, &row, None).await.unwrap();
    let refused = follower.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::Corrupt, "{refused}");
    assert_eq!(refused.code().kind().exit_code(), 6);
}
