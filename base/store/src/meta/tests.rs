//! What the metadata promise, whatever the database under them.

use rondo_core::journal::Because;
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{Digest, RunId, Span, Timestamp};

use super::batch::Batch;
use super::journal::Expect;
use super::metrics::Point;
use super::runs::RunChange;
use super::script::Script;
use crate::{Error, Store};

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    (folder, store)
}

fn run(id: RunId) -> RunRow {
    RunRow {
        id,
        experiment: 0,
        kind: RunKind::Step,
        parent: None,
        name: "train".into(),
        step: Some("train".into()),
        state: RunState::Running,
        user: "ada".into(),
        started: Timestamp(10),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    }
}

#[tokio::test]
async fn a_ref_moves_with_its_line_in_the_journal_or_not_at_all() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let why = || Because::new("ada", "because");
    let name = "model/delay@champion";
    assert!(meta.move_ref(name, Expect::Absent, Some(a), why(), Timestamp(1)).await.unwrap().changed);
    assert!(!meta.move_ref(name, Expect::Anything, Some(a), why(), Timestamp(2)).await.unwrap().changed);
    let lost = meta.move_ref(name, Expect::At(b), Some(b), why(), Timestamp(3)).await;
    assert!(matches!(lost, Err(Error::RefMoved { .. })));
    assert_eq!(meta.move_ref(name, Expect::At(a), Some(b), why(), Timestamp(4)).await.unwrap().from, Some(a));
    let journal = meta.journal("model/delay", 10).await.unwrap();
    assert_eq!(
        journal.iter().map(|e| (e.from, e.to)).collect::<Vec<_>>(),
        [(Some(a), Some(b)), (None, Some(a))]
    );
    assert_eq!(meta.target(name).await.unwrap(), Some(b));
}

#[tokio::test]
async fn many_writers_share_commits_and_a_failing_one_undoes_only_itself() {
    let (_folder, store) = store().await;
    let id = RunId::random();
    store.meta().create_run(&run(id)).await.unwrap();
    store.meta().log_params(id, vec![("taken".into(), "1".into())]).await.unwrap();
    let writes = (0..200).map(|i| {
        let meta = store.meta().clone();
        async move {
            let bad = i % 10 == 0;
            let params = vec![
                (format!("p{i}"), "x".to_owned()),
                (if bad { "taken".to_owned() } else { format!("q{i}") }, "2".to_owned()),
            ];
            meta.log_params(id, params).await.is_ok()
        }
    });
    let written = futures::future::join_all(writes).await;
    assert_eq!(written.iter().filter(|ok| **ok).count(), 180);
    let params = store.meta().run_params(id).await.unwrap();
    assert_eq!(params.len(), 1 + 2 * 180);
    assert!(!params.contains_key("p0"));
}

#[tokio::test]
async fn the_end_of_a_run_waits_for_the_next_write_and_fails_alone() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let [first, second, third] = std::array::from_fn(|_| RunId::random());
    meta.create_run(&run(first)).await.unwrap();
    let end = |id| {
        let change = RunChange { state: Some(RunState::Finished), ..RunChange::default() };
        meta.end_run_with(id, change, Digest::of(id.hex().as_bytes()), "step", &[], Timestamp(7)).unwrap()
    };
    let state = async |id| meta.run(id).await.unwrap().map(|row| row.state);
    let long = std::time::Duration::from_secs(3600);
    let (ending, lost) = (end(first), end(RunId::random()));
    assert_eq!(state(first).await, Some(RunState::Running));
    // In the order in which they were given, in one transaction with the next.
    meta.create_run(&run(second)).await.unwrap();
    assert_eq!(state(first).await, Some(RunState::Finished));
    ending.written(long).await.unwrap();
    assert!(matches!(lost.written(long).await, Err(Error::NotFound { kind: "run", .. })));
    assert_eq!(state(second).await, Some(RunState::Running));
    // Nobody writes anything else; and nobody waits for it.
    end(second).written(std::time::Duration::from_millis(1)).await.unwrap();
    assert_eq!(state(second).await, Some(RunState::Finished));
    meta.create_run(&run(third)).await.unwrap();
    drop(end(third));
    meta.set_run_tags(second, vec![("a".into(), "b".into())]).await.unwrap();
    assert_eq!(state(third).await, Some(RunState::Finished));
    assert!(meta.cached(Digest::of(third.hex().as_bytes())).await.unwrap().is_some());
}

#[tokio::test]
async fn a_run_that_is_begun_here_takes_with_it_what_was_given_before_and_waits_for_its_turn() {
    let (folder, store) = store().await;
    let meta = store.meta();
    let [first, second, third] = std::array::from_fn(|_| RunId::random());
    meta.begin_run(&run(first), &[]).await.unwrap();
    let change = RunChange { state: Some(RunState::Finished), ..RunChange::default() };
    let end = |id, key: &[u8]| {
        meta.end_run_with(id, change.clone(), Digest::of(key), "step", &[], Timestamp(7)).unwrap()
    };
    let (ending, lost) = (end(first, b"a"), end(RunId::random(), b"b"));
    meta.begin_run(&run(second), &[("a".into(), "b".into())]).await.unwrap();
    assert_eq!(meta.run(first).await.unwrap().map(|row| row.state), Some(RunState::Finished));
    let at_once = std::time::Duration::from_secs(3600);
    ending.written(at_once).await.unwrap();
    assert!(matches!(lost.written(at_once).await, Err(Error::NotFound { kind: "run", .. })));
    // The end that was undone with the run that it stood before is done again; what fails is refused alone.
    let again = end(second, b"c");
    assert!(meta.begin_run(&run(second), &[]).await.is_err());
    again.written(at_once).await.unwrap();

    let other = rusqlite::Connection::open(folder.path().join("metadata.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held_up = tokio::spawn({
        let meta = meta.clone();
        async move { meta.begin_run(&run(third), &[]).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!held_up.is_finished());
    other.execute_batch("COMMIT").unwrap();
    held_up.await.unwrap().unwrap();
    assert!(meta.run(third).await.unwrap().is_some());

    let ids: Vec<RunId> = (0..100).map(|_| RunId::random()).collect();
    let begun = futures::future::join_all(ids.iter().enumerate().map(async |(index, id)| {
        let row = run(*id);
        if index % 2 == 0 { meta.begin_run(&row, &[]).await } else { meta.create_tagged_run(&row, &[]).await }
    }));
    assert!(begun.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_parameter_is_written_once() {
    let (_folder, store) = store().await;
    let id = RunId::random();
    store.meta().create_run(&run(id)).await.unwrap();
    let log = |value: &str| store.meta().log_params(id, vec![("depth".into(), value.into())]);
    log("6").await.unwrap();
    log("6").await.unwrap();
    assert!(matches!(log("7").await, Err(Error::ParameterChanged { .. })));
}

#[tokio::test]
async fn a_long_series_comes_back_whole_and_in_order() {
    let (_folder, store) = store().await;
    let id = RunId::random();
    store.meta().create_run(&run(id)).await.unwrap();
    for part in 0..5i64 {
        let metrics = (0..700)
            .map(|i| {
                let step = part * 700 + i;
                let value = if step == 3 { f64::NAN } else { step as f64 / 7.0 };
                ("loss".to_owned(), Point { timestamp: 1000 + step, step, value })
            })
            .collect();
        store.meta().log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
    }
    let series = store.meta().metric_history(id, "loss").await.unwrap();
    assert_eq!(series.len(), 3500);
    assert!(series.windows(2).all(|pair| pair[0].step < pair[1].step));
    assert!(series[3].value.is_nan());
    let latest = store.meta().latest_metrics(id).await.unwrap();
    assert_eq!((latest.len(), latest[0].point.step), (1, 3499));
}

#[tokio::test]
async fn logging_on_a_run_that_is_not_there_is_not_found() {
    let (_folder, store) = store().await;
    let point = Point { timestamp: 0, step: 0, value: 1.0 };
    let batch = Batch { metrics: vec![("m".into(), point)], ..Batch::default() };
    let lost = store.meta().log_batch(RunId::random(), batch).await;
    assert!(matches!(lost, Err(Error::NotFound { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_run_grows_and_is_frozen_by_its_end() {
    let (_folder, store) = store().await;
    let id = RunId::random();
    store.meta().create_run(&run(id)).await.unwrap();
    let change =
        RunChange { state: Some(RunState::Finished), ended: Some(Timestamp(99)), ..RunChange::default() };
    store.meta().update_run(id, change).await.unwrap();
    let row = store.meta().require_run(id).await.unwrap();
    assert_eq!((row.state, row.ended, row.name.as_str()), (RunState::Finished, Some(Timestamp(99)), "train"));
    assert!(store.meta().live_runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn experiments_have_one_name_each() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let id = meta.ensure_experiment("flights", Timestamp(5)).await.unwrap();
    assert_eq!(id, 1);
    assert_eq!(meta.ensure_experiment("flights", Timestamp(6)).await.unwrap(), id);
    let again = meta.create_experiment("flights", None, Default::default(), Timestamp(7)).await;
    assert!(matches!(again, Err(Error::Exists { .. })));
    assert_eq!(meta.experiment(id).await.unwrap().unwrap().artifact_location, "mlflow-artifacts:/1");
}

#[tokio::test]
async fn a_lease_is_taken_and_given_back_with_the_row_of_a_run() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let lease = |holder: &str, now| meta.lease_with_next("run/1", holder, Timestamp(now), Span(100));
    let mine = lease("a", 0);
    let run = run(RunId::random());
    meta.begin_run(&run, &[]).await.unwrap();
    assert!(mine.written().await.unwrap());
    let (theirs, given) = (lease("b", 50), meta.release_with_next("run/1", "b"));
    meta.end_run(run.id, RunChange { ended: Some(Timestamp(60)), ..RunChange::default() }).await.unwrap();
    assert_eq!((theirs.written().await.unwrap(), given.written().await.unwrap()), (false, false));
    // By themselves they do not wait for a run for ever.
    assert!(meta.release_with_next("run/1", "a").written().await.unwrap());
    assert!(lease("b", 70).written().await.unwrap());
    assert!(meta.end_run(RunId::random(), RunChange::default()).await.is_err());
}

/// Opening a database again that is up to date makes no connection that writes; the first write does.
#[tokio::test]
async fn a_store_that_is_opened_again_reads_and_writes_in_any_order() {
    let (folder, store) = store().await;
    let kept = run(RunId::random());
    store.meta().create_run(&kept).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.meta().require_run(kept.id).await.unwrap().id, kept.id);
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().set_setting("a", "b").await.unwrap();
    assert_eq!(store.meta().setting("a").await.unwrap().as_deref(), Some("b"));
    store.close().await;
    // One that is lost is not taken for a new one as long as there is an object; what is no database of ours is
    // refused as it was.
    std::fs::write(folder.path().join("metadata.db"), "").unwrap();
    Store::open(folder.path()).await.unwrap().close().await;
    let objects = crate::Objects::open(&folder.path().join("objects")).unwrap();
    objects.put_bytes(b"kept").unwrap();
    for lost in [Some(""), None] {
        std::fs::remove_file(folder.path().join("metadata.db")).unwrap();
        if let Some(text) = lost {
            std::fs::write(folder.path().join("metadata.db"), text).unwrap();
        }
        let refused = Store::open(folder.path()).await.err().unwrap();
        assert!(refused.to_string().contains("missing or empty"), "{refused}");
        assert!(rondo_core::Explain::hints(&refused)[0].contains("admin restore"), "{refused}");
    }
    std::fs::write(folder.path().join("metadata.db"), "no database at all, and longer than a header of one")
        .unwrap();
    assert!(Store::open(folder.path()).await.is_err());
}

#[tokio::test]
async fn a_lease_is_held_by_one_until_it_runs_out() {
    let (_folder, store) = store().await;
    let lease = |holder: &'static str, now| store.meta().lease("worker", holder, Timestamp(now), Span(100));
    assert!(lease("a", 0).await.unwrap());
    assert!(lease("a", 50).await.unwrap());
    assert!(!lease("b", 100).await.unwrap());
    assert!(lease("b", 150).await.unwrap());
}

#[tokio::test]
async fn what_was_written_is_there_when_the_store_is_opened_again() {
    let (folder, store) = store().await;
    let id = RunId::random();
    store.meta().create_run(&run(id)).await.unwrap();
    // A second process's view while the first is still open.
    let second = Store::open(folder.path()).await.unwrap();
    assert!(second.meta().run(id).await.unwrap().is_some());
    store.close().await;
    second.close().await;
    let third = Store::open(folder.path()).await.unwrap();
    assert!(third.meta().run(id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_last_writes_the_log_back() {
    let (folder, store) = store().await;
    let second = Store::open(folder.path()).await.unwrap();
    for one in [&store, &second] {
        // By all ways to the database.
        let id = RunId::random();
        one.meta().create_run(&run(id)).await.unwrap();
        one.meta().ensure_experiment("another", Timestamp(1)).await.unwrap();
        assert!(one.meta().run(id).await.unwrap().is_some());
        assert!(one.meta().journal("run", 10).await.unwrap().is_empty());
    }
    let log = folder.path().join("metadata.db-wal");
    store.close().await;
    assert!(log.exists());
    second.close().await;
    assert!(!log.exists());
}

#[tokio::test]
async fn a_run_is_not_made_in_an_experiment_that_is_deleted_or_not_there() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let lost = meta.create_run(&RunRow { experiment: 77, ..run(RunId::random()) }).await;
    assert!(matches!(lost, Err(Error::NotFound { kind: "experiment", .. })), "{lost:?}");
    let experiment = meta.ensure_experiment("gone", Timestamp(1)).await.unwrap();
    meta.delete_experiment(experiment, true, Timestamp(2)).await.unwrap();
    let row = RunRow { experiment, ..run(RunId::random()) };
    let refused = meta.create_tagged_run(&row, &[("a".into(), "1".into())]).await;
    assert!(matches!(refused, Err(Error::Deleted { kind: "experiment", .. })), "{refused:?}");
    assert!(meta.run(row.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so_with_its_own_code() {
    use rondo_core::{Code, Explain};
    let (_folder, store) = store().await;
    // No page more: the database's own word for a full disk.
    let mut full = Script::on(0);
    full.statement("PRAGMA max_page_count = 1");
    store.meta().script(full).await.unwrap();
    let id = RunId::random();
    let tags: Vec<_> = (0..50).map(|i| (format!("t{i}"), "x".repeat(4000))).collect();
    let refused = store.meta().create_tagged_run(&run(id), &tags).await.unwrap_err();
    assert_eq!(refused.code(), Code::DiskFull, "{refused:?}");
    assert!(!refused.hints().is_empty());
    // And everyone of a group is told the same.
    let meta = store.meta();
    let writes = (0..4).map(|_| meta.create_tagged_run(&*Box::leak(Box::new(run(RunId::random()))), &tags));
    for refused in futures::future::join_all(writes).await {
        assert_eq!(refused.unwrap_err().code(), Code::DiskFull);
    }
    assert!(meta.run(id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_may_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let opened = (0..8).map(|_| {
            let root = folder.path().to_owned();
            tokio::spawn(async move { Store::open(&root).await.map(drop) })
        });
        for opened in futures::future::join_all(opened).await {
            opened.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_other_work_take_turns_and_all_of_it_stands() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let id = RunId::random();
    meta.create_run(&run(id)).await.unwrap();
    let scripts = (0..200).map(|i| meta.set_run_tags(id, vec![(format!("script {i}"), String::new())]));
    let works = (0..200).map(|i| {
        meta.write(move |conn| {
            Box::pin(async move {
                let insert = "INSERT INTO run_tag (run, key, value) VALUES ($1, $2, '')";
                sqlx::query(insert).bind(id.hex()).bind(format!("work {i}")).execute(conn).await?;
                Ok(())
            })
        })
    });
    let both = (futures::future::join_all(scripts), futures::future::join_all(works));
    let (scripts, works) = futures::join!(both.0, both.1);
    assert!(scripts.into_iter().chain(works).all(|done| done.is_ok()));
    assert_eq!(meta.run_tags(id).await.unwrap().len(), 400);
}

#[tokio::test]
async fn what_an_older_format_knows_of_datasets_and_of_models_metrics_stays() {
    let folder = tempfile::tempdir().unwrap();
    let older = rusqlite::Connection::open(folder.path().join("metadata.db")).unwrap();
    for migration in &super::MIGRATIONS[..9] {
        older.execute_batch(migration).unwrap();
    }
    let (one, two) = (RunId::random(), RunId::random());
    let detail = serde_json::to_string(&RunDetail::default()).unwrap();
    older
        .execute_batch(&format!(
            "INSERT INTO experiment VALUES (0, 'Default', 'a', 0, 1, 1);
             INSERT INTO run (id, experiment, kind, name, state, user_name, started, detail)
             VALUES ('{one}', 0, 'client', 'n', 'RUNNING', '', 1, '{detail}'),
             ('{two}', 0, 'client', 'n', 'RUNNING', '', 1, '{detail}');
             INSERT INTO run_input VALUES ('{one}', 'dataset', 'd/n', '{{\"dataset\":{{\"source\":\"first\"}}}}'),
             ('{two}', 'dataset', 'd/n', '{{\"dataset\":{{\"source\":\"second\"}}}}');
             INSERT INTO logged_model VALUES ('m-1', 0, NULL, 'n', 'READY', 1, 1, 0, '{{}}');
             INSERT INTO logged_model_metric VALUES ('m-1', '{one}', 'b', 'd', 'x', 0.5, 0, 7, 2),
             ('m-1', '{one}', 'a', '', '', 0.0, 1, 3, 1);
             PRAGMA user_version = 9;"
        ))
        .unwrap();
    drop(older);
    let store = Store::open(folder.path()).await.unwrap();
    let meta = store.meta();
    let facts = meta.model_facts(&["m-1".to_owned()]).await.unwrap();
    let kept: Vec<_> = facts["m-1"].metrics.iter().map(|m| (m.key.as_str(), m.point.timestamp)).collect();
    assert_eq!(kept, [("a", 3), ("b", 7)]);
    assert!(facts["m-1"].metrics[0].point.value.is_nan() && facts["m-1"].metrics[1].dataset_digest == "x");
    assert!(!meta.require_run(one).await.unwrap().untagged);
    // What differed before stays as it was logged; from now on the first one counts.
    let three = RunRow { id: RunId::random(), experiment: 0, ..run(one) };
    meta.create_run(&three).await.unwrap();
    let input = serde_json::json!({ "dataset": { "source": "third" } });
    meta.put_run_inputs(three.id, vec![("dataset", "d/n".to_owned(), input)]).await.unwrap();
    for (run, source) in [(one, "first"), (two, "second"), (three.id, "first")] {
        assert_eq!(meta.run_inputs(run, "dataset").await.unwrap()[0]["dataset"]["source"], source);
    }
}

#[tokio::test]
async fn steps_are_paged_as_their_rows_came_whenever_they_began() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let parent = RunId::random();
    meta.create_run(&RunRow { kind: RunKind::Pipeline, ..run(parent) }).await.unwrap();
    let step = |started| RunRow { parent: Some(parent), started: Timestamp(started), ..run(RunId::random()) };
    let (late, early, last) = (step(20), step(15), step(20));
    meta.create_run(&late).await.unwrap();
    assert_eq!(meta.step_runs_after(parent, 0, None, 9).await.unwrap(), [late.id]);
    for row in [&early, &last] {
        meta.create_run(row).await.unwrap();
    }
    assert_eq!(meta.step_runs_after(parent, 0, Some(late.id), 9).await.unwrap(), [early.id, last.id]);
    assert_eq!(meta.step_runs_after(parent, 0, None, 2).await.unwrap(), [late.id, early.id]);
}
