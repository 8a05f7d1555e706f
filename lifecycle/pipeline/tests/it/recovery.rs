//! After a process was killed: the next start needs no repair by hand.

use std::fs;
use std::time::Duration;

use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{RunId, Span, Timestamp};

use crate::lab::{Lab, outcomes};

async fn row(lab: &Lab, kind: RunKind, parent: Option<RunId>, started: i64) -> RunId {
    let id = RunId::random();
    let experiment = lab.store.meta().ensure_experiment("p", Timestamp(1)).await.unwrap();
    let row = RunRow {
        id,
        experiment,
        kind,
        parent,
        name: "train".into(),
        step: None,
        state: RunState::Running,
        user: "ada".into(),
        started: Timestamp(started),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    };
    lab.store.meta().create_run(&row).await.unwrap();
    id
}

async fn state(lab: &Lab, id: RunId) -> RunState {
    lab.store.meta().require_run(id).await.unwrap().state
}

#[tokio::test]
async fn runs_of_dead_processes_are_ended_and_those_of_living_ones_are_not() {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", "project: p\nsteps:\n  a: { run: 'true' }\n");
    // Dead: its work folder is there and nobody holds it.
    let dead = row(&lab, RunKind::Pipeline, None, 10).await;
    let step = row(&lab, RunKind::Step, Some(dead), 11).await;
    let nested = row(&lab, RunKind::Client, Some(step), 12).await;
    let work = lab.store.root().join("work").join(dead.hex());
    fs::create_dir_all(work.join("train/out")).unwrap();
    fs::write(work.join(".owner"), "").unwrap();
    // Alive: of another machine, with a lease that has not run out.
    let elsewhere = row(&lab, RunKind::Pipeline, None, 20).await;
    let lease = format!("run/{elsewhere}");
    let now = Timestamp(1_700_000_000_000);
    assert!(lab.store.meta().lease(&lease, "host b", now, Span::days(1)).await.unwrap());
    // Not ours at all.
    let client = row(&lab, RunKind::Client, None, 30).await;

    lab.run().await;
    for id in [dead, step, nested] {
        assert_eq!(state(&lab, id).await, RunState::Killed);
    }
    assert_eq!(state(&lab, elsewhere).await, RunState::Running);
    assert_eq!(state(&lab, client).await, RunState::Running);
    assert!(!work.exists());
    let ended = lab.store.meta().require_run(step).await.unwrap();
    assert_eq!(ended.detail.exit.unwrap().cause.as_deref(), Some("the process that ran it is gone"));
}

/// This test runs itself again as a process of its own, and kills that.
#[tokio::test]
async fn a_killed_run_leaves_nothing_that_stands_in_the_way() {
    const CHILD: &str = "RONDO_TEST_KILLED_PROJECT";
    if let Ok(root) = std::env::var(CHILD) {
        let lab = Lab::at(tempfile::tempdir().unwrap(), root.into()).await;
        lab.run().await;
        return;
    }
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nsteps:\n  \
         quick: { run: 'echo x >> ../quick; echo 1 > $RONDO_OUTPUT_O', outputs: { o: o } }\n  \
         slow: { run: 'setsid sleep 1000 & echo $! > ../pid; if test -e ../again; then echo 2 > $RONDO_OUTPUT_P; else touch ../up; sleep 1000; fi', inputs: [quick.o], outputs: { p: p } }\n",
    );
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::a_killed_run_leaves_nothing_that_stands_in_the_way"])
        .env(CHILD, &lab.root)
        .spawn()
        .unwrap();
    while !lab.root.join("../up").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let live = lab.store.meta().live_runs().await.unwrap();
    assert_eq!(live.len(), 2, "the rows were made before the process");
    let forgotten = fs::read_to_string(lab.root.join("../pid")).unwrap();

    lab.write("../again", "");
    let report = lab.run().await;
    // What was acknowledged before the kill is still known.
    assert_eq!(outcomes(&report), "quick:cached slow:ran");
    assert_eq!(lab.count("quick"), 1);
    for row in live {
        assert_eq!(state(&lab, row.id).await, RunState::Killed);
    }
    assert_eq!(fs::read_dir(lab.store.root().join("work")).unwrap().count(), 0);
    for _ in 0..100 {
        if !is_alive(forgotten.trim()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the killed run's process {forgotten} is still alive");
}

fn is_alive(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z')
}
