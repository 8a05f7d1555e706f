//! Series against a model: whatever is logged, in whatever pieces, is there once and in order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{RunId, Timestamp};

use super::*;
use crate::Store;

fn run(id: RunId) -> RunRow {
    RunRow {
        id,
        experiment: 0,
        kind: RunKind::Client,
        parent: None,
        name: "r".into(),
        step: None,
        state: RunState::Running,
        user: String::new(),
        started: Timestamp(1),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    }
}

async fn opened(folder: &std::path::Path, id: RunId) -> Store {
    let store = Store::open(folder).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    store.meta().create_run(&run(id)).await.unwrap();
    store
}

#[derive(Debug, Clone)]
enum Deed {
    Log(Vec<(u8, Point)>),
    /// One key, so many points on end: several chunks.
    Burst(u8, i64, u16),
    Read,
    Reopen,
}

/// Few different numbers, so that many points are equal.
fn any_point() -> impl Strategy<Value = Point> {
    let number = prop_oneof![
        4 => (0..4i32).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::MIN),
        1 => any::<f64>(),
    ];
    let count = prop_oneof![6 => 0..4i64, 1 => any::<i64>()];
    (count.clone(), count, number).prop_map(|(timestamp, step, value)| Point { timestamp, step, value })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => prop::collection::vec((0..3u8, any_point()), 1..12).prop_map(Deed::Log),
        2 => (0..3u8, -50..50i64, 1..400u16).prop_map(|(key, from, count)| Deed::Burst(key, from, count)),
        2 => Just(Deed::Read),
        1 => Just(Deed::Reopen),
    ]
}

fn burst(from: i64, count: u16) -> impl Iterator<Item = Point> {
    (0..i64::from(count)).map(move |i| Point { timestamp: from, step: from + i, value: i as f64 })
}

/// Bits, since NaN is not equal to itself.
fn bits(point: &Point) -> (i64, i64, u64) {
    (point.timestamp, point.step, point.value.to_bits())
}

/// All points in the order of arrival, by key.
type Model = BTreeMap<String, Vec<Point>>;

async fn agree(store: &Store, id: RunId, model: &Model) {
    for (key, logged) in model {
        let mut expected = logged.clone();
        expected.sort_by(Point::order);
        let mut expected: Vec<_> = expected.iter().map(bits).collect();
        expected.dedup();
        let found = store.meta().metric_history(id, key).await.unwrap();
        assert_eq!(found.iter().map(bits).collect::<Vec<_>>(), expected);
    }
    let latest = store.meta().latest_metrics(id).await.unwrap();
    assert_eq!(latest.len(), model.len());
    for (latest, (key, logged)) in latest.iter().zip(model) {
        // NaN ranks as 0, so of several such either may stand: their ranks are what counts.
        let rank = |p: &Point| (p.step, p.timestamp, stored(p.value));
        let newest = logged.iter().map(rank).reduce(|a, b| if b > a { b } else { a }).unwrap();
        assert_eq!((&latest.key, rank(&latest.point)), (key, newest));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn series_are_what_was_logged(deeds in prop::collection::vec(deed(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let id = RunId::random();
            let mut store = opened(folder.path(), id).await;
            let mut model = Model::new();
            for deed in deeds {
                let points: Vec<(u8, Point)> = match deed {
                    Deed::Log(points) => points,
                    Deed::Burst(key, from, count) => burst(from, count).map(|point| (key, point)).collect(),
                    Deed::Read => {
                        agree(&store, id, &model).await;
                        continue;
                    }
                    Deed::Reopen => {
                        store.close().await;
                        store = Store::open(folder.path()).await.unwrap();
                        continue;
                    }
                };
                let metrics: Vec<_> = points.into_iter().map(|(key, p)| (format!("m{key}"), p)).collect();
                for (key, point) in &metrics {
                    model.entry(key.clone()).or_default().push(*point);
                }
                store.meta().log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
            }
            agree(&store, id, &model).await;
        });
    }
}

#[tokio::test]
async fn a_series_that_grows_point_by_point_is_kept_in_chunks_of_a_bounded_size() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    for step in 0..400 {
        let point = Point { timestamp: 1_700_000_000_000 + step, step, value: 0.5 };
        let metrics = vec![("loss".to_owned(), point)];
        store.meta().log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
    }
    let rows = sqlx::query("SELECT length(points) FROM metric_chunk ORDER BY seq")
        .fetch_all(store.meta().readers())
        .await
        .unwrap();
    let sizes: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size < 1100), "{sizes:?}");
    assert!(sizes.iter().sum::<i64>() < 400 * 20, "{sizes:?}");
}

#[tokio::test]
async fn clients_of_one_run_that_log_at_once_lose_no_point() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    let logs = (0..300i64).map(|step| {
        let meta = store.meta().clone();
        async move {
            let metrics = vec![("m".to_owned(), Point { timestamp: 5, step, value: 1.0 })];
            meta.log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
        }
    });
    futures::future::join_all(logs).await;
    let steps: Vec<i64> =
        store.meta().metric_history(id, "m").await.unwrap().iter().map(|point| point.step).collect();
    assert_eq!(steps, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_point_was_measured_of_is_known_also_when_it_is_said_later() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    let meta = store.meta();
    let point = |step| Point { timestamp: 7, step, value: 0.25 };
    let metrics = vec![("auc".to_owned(), point(0)), ("auc".to_owned(), point(1))];
    meta.log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
    let context = Context { dataset_name: "flights".into(), ..Context::default() };
    let measured = vec![(context.clone(), "auc".to_owned(), point(1))];
    meta.log_batch(id, Batch { measured, ..Batch::default() }).await.unwrap();
    let series = meta.metric_series(id, "auc").await.unwrap();
    assert_eq!(series.points, [point(0), point(1)]);
    let said: Vec<_> = series.contexts.iter().map(|context| context.as_deref()).collect();
    assert_eq!(said, [None, Some(&context)]);
    let latest = meta.latest_metrics(id).await.unwrap();
    assert_eq!(latest[0].context.as_deref(), Some(&context));
    let facts = meta.facts(&[id]).await.unwrap();
    assert_eq!(facts[&id].metrics, latest);
}

#[tokio::test]
async fn a_point_of_a_model_that_is_not_there_logs_nothing_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    let point = Point { timestamp: 7, step: 0, value: 0.25 };
    let batch = Batch {
        metrics: vec![("loss".to_owned(), point)],
        measured: vec![(Context { model: "m-0".into(), ..Context::default() }, "auc".to_owned(), point)],
        params: vec![("depth".to_owned(), "6".to_owned())],
        ..Batch::default()
    };
    assert!(matches!(store.meta().log_batch(id, batch).await, Err(Error::NotFound { .. })));
    assert!(store.meta().latest_metrics(id).await.unwrap().is_empty());
    assert!(store.meta().run_params(id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_too_long_for_one_statement_is_logged_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    let point = Point { timestamp: 7, step: 0, value: 0.25 };
    let metrics: Vec<_> = (0..5000).map(|i| (format!("m{i}"), point)).collect();
    let params: Vec<_> = (0..3000).map(|i| (format!("p{i}"), "1".to_owned())).collect();
    let batch = Batch { metrics, params, ..Batch::default() };
    store.meta().log_batch(id, batch.clone()).await.unwrap();
    assert_eq!(store.meta().latest_metrics(id).await.unwrap().len(), 5000);
    let mut params = batch.params.clone();
    params.insert(0, ("new".into(), "1".into()));
    params[2500].1 = "2".into();
    let refused = store.meta().log_batch(id, Batch { params, ..batch }).await;
    assert!(matches!(refused, Err(Error::ParameterChanged { key, .. }) if key == "p2499"));
    assert_eq!(store.meta().run_params(id).await.unwrap().len(), 3000);
}

#[tokio::test]
async fn a_deleted_run_and_one_that_is_not_there_take_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let id = RunId::random();
    let store = opened(folder.path(), id).await;
    let batches = || {
        let pair = vec![("a".to_owned(), "1".to_owned())];
        let metrics = vec![("m".to_owned(), Point { timestamp: 1, step: 1, value: 1.0 })];
        [
            Batch::default(),
            Batch { metrics, ..Batch::default() },
            Batch { params: pair.clone(), ..Batch::default() },
            Batch { tags: pair, ..Batch::default() },
            Batch { name: Some("x".into()), ..Batch::default() },
        ]
    };
    for batch in batches() {
        let lost = store.meta().log_batch(RunId::random(), batch).await;
        assert!(matches!(lost, Err(Error::NotFound { kind: "run", .. })), "{lost:?}");
    }
    store.meta().delete_run(id, true, Timestamp(2)).await.unwrap();
    for batch in batches() {
        let refused = store.meta().log_batch(id, batch).await;
        assert!(matches!(refused, Err(Error::Deleted { kind: "run", .. })), "{refused:?}");
    }
    assert_eq!(store.meta().require_run(id).await.unwrap().name, "r");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_join_to_the_whole_however_it_came_and_while_more_comes(
        bursts in prop::collection::vec((-50..50i64, 1..300u16), 1..12),
        even in any::<bool>(),
        late in prop::collection::vec((0usize..6, any_point()), 0..6),
        size in 1usize..400,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let id = RunId::random();
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
            let store = opened(folder.path(), id).await;
            let log = async |points: Vec<Point>| {
                let metrics = points.into_iter().map(|point| ("m".to_owned(), point)).collect();
                store.meta().log_batch(id, Batch { metrics, ..Batch::default() }).await.unwrap();
            };
            for (number, (from, count)) in bursts.into_iter().enumerate() {
                let from = if even { number as i64 * 1000 } else { from };
                log(burst(from, count).collect()).await;
            }
            let whole = store.meta().metric_history(id, "m").await.unwrap();
            let (mut joined, mut place, mut number) = (Vec::new(), None, 0);
            let mut expected = whole;
            loop {
                let page = store.meta().metric_page(id, "m", place, size).await.unwrap();
                assert!(page.series.points.len() <= size);
                joined.extend(page.series.points);
                place = page.next;
                let Some(next) = place else { break };
                for (_, point) in late.iter().filter(|(at, _)| *at == number) {
                    // What comes while pages are read is on a later page or on none.
                    log(vec![*point]).await;
                    if point.order(&next.point).is_gt() {
                        expected.push(*point);
                    }
                }
                number += 1;
            }
            expected.sort_by(Point::order);
            expected.dedup_by(|b, a| a.order(b).is_eq());
            assert_eq!(joined.iter().map(bits).collect::<Vec<_>>(), expected.iter().map(bits).collect::<Vec<_>>());
        });
    }
}
