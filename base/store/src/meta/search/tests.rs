//! What searches of runs promise, against a plain reading of the same words in memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{RunId, Timestamp};

use super::*;
use crate::meta::listing::{Pick, Select};
use crate::meta::metrics::{Batch, Point};
use crate::meta::runs::RunChange;
use crate::{Error, Store};

/// A run as the plain reading has it.
#[derive(Debug, Clone)]
struct Plain {
    row: RunRow,
    metrics: BTreeMap<String, f64>,
    params: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

const KEYS: [&str; 3] = ["a", "b", "c d"];

fn plain() -> impl Strategy<Value = Plain> {
    let key = || prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
    let number = || prop_oneof![4 => (-3i32..4).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(0.1 + 0.2), 1 => Just(f64::MAX)];
    let text = || {
        prop::sample::select(
            &["", "x", "X", "xy", "7", "0.5", " 3 ", "1e2", "-0", "nan", "0x1", "a%b", "[x]*"][..],
        )
        .prop_map(str::to_owned)
    };
    (
        (0i64..3, "[ab]{1,2}", 0usize..5, 0i64..6, proptest::option::of(0i64..6), any::<bool>()),
        prop::collection::btree_map(key(), number(), 0..4),
        prop::collection::btree_map(key(), text(), 0..4),
        prop::collection::btree_map(key(), text(), 0..4),
    )
        .prop_map(|((experiment, name, state, started, ended, deleted), metrics, params, tags)| Plain {
            row: RunRow {
                id: RunId::random(),
                experiment,
                kind: RunKind::Client,
                parent: None,
                name,
                step: None,
                state: [
                    RunState::Scheduled,
                    RunState::Running,
                    RunState::Finished,
                    RunState::Failed,
                    RunState::Killed,
                ][state],
                user: "ada".into(),
                started: Timestamp(started),
                ended: ended.map(Timestamp),
                deleted,
                untagged: false,
                detail: RunDetail::default(),
            },
            metrics,
            params,
            tags,
        })
}

async fn log(store: &Store, plain: &Plain) {
    let living = RunRow { deleted: false, ..plain.row.clone() };
    store.meta().create_run(&living).await.unwrap();
    let point = |value: f64| Point { timestamp: 5, step: 0, value };
    let batch = Batch {
        metrics: plain.metrics.iter().map(|(key, value)| (key.clone(), point(*value))).collect(),
        params: plain.params.clone().into_iter().collect(),
        tags: plain.tags.clone().into_iter().collect(),
        ..Batch::default()
    };
    store.meta().log_batch(plain.row.id, batch).await.unwrap();
    if plain.row.deleted {
        store.meta().delete_run(plain.row.id, true, Timestamp(9)).await.unwrap();
    }
}

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    for name in ["one", "two"] {
        store.meta().ensure_experiment(name, Timestamp(1)).await.unwrap();
    }
    (folder, store)
}

fn value(
    test: &Test,
    comparison: impl Fn(&Scalar) -> Option<Ordering>,
    text: Option<&str>,
    nan: bool,
) -> bool {
    match test {
        Test::Compare(with, scalar) => match comparison(scalar) {
            None => nan && *with == Comparison::NotEqual,
            Some(order) => match with {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            },
        },
        Test::Like { pattern, ignore_case } => text.is_some_and(|text| like(pattern, text, *ignore_case)),
        Test::In(values) => values.iter().any(|scalar| comparison(scalar).is_some_and(Ordering::is_eq)),
        Test::NotIn(values) => {
            nan || values.iter().all(|scalar| comparison(scalar).is_some_and(Ordering::is_ne))
        }
        Test::Absent => false,
        Test::Present => true,
    }
}

fn like(pattern: &str, text: &str, ignore_case: bool) -> bool {
    fn go(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('%', rest)), _) => (0..=text.len()).any(|skip| go(rest, &text[skip..])),
            (Some((_, _)), None) => false,
            (Some((p, rest)), Some((t, tail))) => (*p == '_' || p == t) && go(rest, tail),
        }
    }
    let chars = |text: &str| {
        let text = if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        text.chars().collect::<Vec<_>>()
    };
    go(&chars(pattern), &chars(text))
}

/// A parameter as a number, if it reads as one.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if plain { text.parse().ok() } else { None }
}

fn of_text(text: &str) -> impl Fn(&Scalar) -> Option<Ordering> {
    move |scalar| match scalar {
        Scalar::Text(other) => Some(text.cmp(other.as_str())),
        Scalar::Real(other) => number(text)?.partial_cmp(other),
        Scalar::Int(_) => None,
    }
}

fn holds(condition: &Condition, run: &Plain) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| holds(part, run)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, run)),
        Condition::Not(inner) => !holds(inner, run),
        Condition::Test(field, test) => {
            let absent = *test == Test::Absent;
            match field {
                Field::Metric(key, _) => run.metrics.get(key).map_or(absent, |number| {
                    let compare = |scalar: &Scalar| match scalar {
                        Scalar::Real(other) => number.partial_cmp(other),
                        Scalar::Int(_) | Scalar::Text(_) => None,
                    };
                    value(test, compare, None, number.is_nan())
                }),
                Field::Param(key) => {
                    run.params.get(key).map_or(absent, |text| value(test, of_text(text), Some(text), false))
                }
                Field::Tag(key) => {
                    run.tags.get(key).map_or(absent, |text| value(test, of_text(text), Some(text), false))
                }
                Field::Attribute(Attribute::Name) => {
                    value(test, of_text(&run.row.name), Some(&run.row.name), false)
                }
                Field::Attribute(Attribute::Ended) => run.row.ended.map_or(absent, |ended| {
                    let compare = |scalar: &Scalar| match scalar {
                        Scalar::Int(other) => Some(ended.millis().cmp(other)),
                        Scalar::Real(_) | Scalar::Text(_) => None,
                    };
                    value(test, compare, None, false)
                }),
                Field::Attribute(_) | Field::Measured(_) | Field::Dataset(_) => unreachable!("not made here"),
            }
        }
    }
}

/// By one key: what lacks it comes last, NaN just before it, whatever the direction.
fn by(order: &Order, a: &Plain, b: &Plain) -> Ordering {
    fn ranked<T>(
        a: Option<T>,
        b: Option<T>,
        descending: bool,
        with: impl Fn(&T, &T) -> Ordering,
    ) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if descending => with(&b, &a),
            (Some(a), Some(b)) => with(&a, &b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
    let descending = order.descending;
    match &order.field {
        Field::Metric(key, _) => {
            let (a, b) = (a.metrics.get(key), b.metrics.get(key));
            let rank = |value: Option<&f64>| value.map_or(2, |value| i32::from(value.is_nan()));
            let number = |value: Option<&f64>| value.copied().filter(|value| !value.is_nan());
            rank(a).cmp(&rank(b)).then_with(|| {
                ranked(number(a), number(b), descending, |a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal))
            })
        }
        Field::Param(key) => ranked(a.params.get(key), b.params.get(key), descending, |a, b| a.cmp(b)),
        Field::Tag(key) => ranked(a.tags.get(key), b.tags.get(key), descending, |a, b| a.cmp(b)),
        Field::Attribute(Attribute::Started) => {
            ranked(Some(a.row.started), Some(b.row.started), descending, Ord::cmp)
        }
        Field::Attribute(Attribute::Ended) => ranked(a.row.ended, b.row.ended, descending, Ord::cmp),
        Field::Attribute(_) | Field::Measured(_) | Field::Dataset(_) => unreachable!("not made here"),
    }
}

fn expected(runs: &[Plain], query: &Query) -> Vec<String> {
    let mut found: Vec<&Plain> = runs
        .iter()
        .filter(|run| {
            let seen = match query.view {
                View::Active => !run.row.deleted,
                View::Deleted => run.row.deleted,
                View::All => true,
            };
            let filed = query.experiments.as_ref().is_none_or(|ids| ids.contains(&run.row.experiment));
            seen && filed && holds(&query.filter, run)
        })
        .collect();
    found.sort_by(|a, b| {
        let keys = query.order.iter().map(|order| by(order, a, b)).find(|order| order.is_ne());
        keys.unwrap_or(Ordering::Equal)
            .then_with(|| b.row.started.cmp(&a.row.started))
            .then_with(|| a.row.id.hex().cmp(&b.row.id.hex()))
    });
    found.into_iter().map(|run| run.row.id.hex()).collect()
}

fn condition() -> impl Strategy<Value = Condition> {
    let key = || prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
    let comparison = || {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        prop::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
    };
    let real = || (-3i32..4).prop_map(|value| Scalar::Real(f64::from(value)));
    let text = || {
        prop::sample::select(&["", "x", "X", "xy", "7", "a", "ab"][..])
            .prop_map(|text| Scalar::Text(text.into()))
    };
    let numbers = move || {
        prop_oneof![
            4 => (comparison(), real()).prop_map(|(comparison, value)| Test::Compare(comparison, value)),
            1 => prop::collection::vec(real(), 1..3).prop_map(Test::In),
            1 => prop::collection::vec(real(), 1..3).prop_map(Test::NotIn),
            1 => Just(Test::Absent),
            1 => Just(Test::Present),
        ]
    };
    let texts = move || {
        prop_oneof![
            2 => text().prop_map(|value| Test::Compare(Comparison::Equal, value)),
            2 => text().prop_map(|value| Test::Compare(Comparison::NotEqual, value)),
            1 => prop::collection::vec(text(), 1..3).prop_map(Test::In),
            1 => prop::collection::vec(text(), 1..3).prop_map(Test::NotIn),
            1 => ("[xa%_*\\[]{0,4}", any::<bool>())
                .prop_map(|(pattern, ignore_case)| Test::Like { pattern, ignore_case }),
            1 => Just(Test::Absent),
            1 => Just(Test::Present),
        ]
    };
    let whole =
        (comparison(), 0i64..6).prop_map(|(comparison, value)| Test::Compare(comparison, Scalar::Int(value)));
    let leaf = prop_oneof![
        3 => (key(), numbers()).prop_map(|(key, test)| Condition::Test(Field::Metric(key, Vec::new()), test)),
        2 => (key(), prop_oneof![numbers(), texts()])
            .prop_map(|(key, test)| Condition::Test(Field::Param(key), test)),
        2 => (key(), texts()).prop_map(|(key, test)| Condition::Test(Field::Tag(key), test)),
        1 => texts().prop_filter("columns are never absent", |test| !matches!(test, Test::Absent | Test::Present))
            .prop_map(|test| Condition::Test(Field::Attribute(Attribute::Name), test)),
        1 => whole.prop_map(|test| Condition::Test(Field::Attribute(Attribute::Ended), test)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            1 => inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn query() -> impl Strategy<Value = Query> {
    let key = || prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
    let field = prop_oneof![
        4 => key().prop_map(|key| Field::Metric(key, Vec::new())),
        1 => key().prop_map(Field::Param),
        1 => key().prop_map(Field::Tag),
        1 => Just(Field::Attribute(Attribute::Started)),
        1 => Just(Field::Attribute(Attribute::Ended)),
    ];
    let order = (field, any::<bool>()).prop_map(|(field, descending)| Order { field, descending });
    (
        prop_oneof![1 => Just(Condition::All(Vec::new())), 3 => condition()],
        prop::collection::vec(order, 0..3),
        prop_oneof![Just(View::Active), Just(View::Deleted), Just(View::All)],
        proptest::option::weighted(0.9, prop::collection::vec(0i64..4, 0..4)),
        1u32..9,
    )
        .prop_map(|(filter, order, view, experiments, limit)| Query {
            experiments,
            view,
            filter,
            order,
            ..Query::all(Room::Runs, limit)
        })
}

async fn pages(store: &Store, mut query: Query) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = store.meta().list_runs(&query, &Select::default()).await.unwrap().unwrap();
        assert!(page.items.len() <= query.limit as usize);
        found.extend(page.items.into_iter().map(|run| run.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_search_finds_what_its_words_say_in_the_order_they_say() {
    let (_folder, store) = store().await;
    let mut runner = TestRunner::deterministic();
    let mut runs = Vec::new();
    for _ in 0..70 {
        let run = plain().new_tree(&mut runner).unwrap().current();
        log(&store, &run).await;
        runs.push(run);
    }
    for _ in 0..400 {
        let query = query().new_tree(&mut runner).unwrap().current();
        let expected = expected(&runs, &query);
        assert_eq!(pages(&store, query.clone()).await, expected, "{query:?}");
        assert_eq!(store.meta().count_runs(&query).await.unwrap(), expected.len() as u64, "{query:?}");
    }
}

fn run(number: i64) -> Plain {
    let mut run = plain().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    run.row = RunRow {
        experiment: 0,
        started: Timestamp(number),
        deleted: false,
        state: RunState::Running,
        ..run.row
    };
    run.row.id = RunId::random();
    run.metrics = BTreeMap::from([("a".to_owned(), (number % 5) as f64)]);
    run
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_others_write() {
    let (_folder, store) = store().await;
    let mut known = Vec::new();
    for number in 0..40 {
        let run = run(number);
        log(&store, &run).await;
        known.push(run);
    }
    let metric = Order { field: Field::Metric("a".into(), Vec::new()), descending: true };
    for order in [vec![], vec![metric]] {
        let mut query = Query { experiments: Some(vec![0]), order, ..Query::all(Room::Runs, 3) };
        let mut seen = Vec::new();
        let mut number = 0;
        loop {
            let page = store.meta().list_runs(&query, &Select::default()).await.unwrap().unwrap();
            seen.extend(page.items.into_iter().map(|run| run.id));
            let Some(next) = page.next else { break };
            query.after = Some(next);
            // Between two pages runs begin before and after the place, one is deleted and one is tagged.
            for started in [number * 7 % 40, 100 + number] {
                log(&store, &run(started)).await;
            }
            let gone = run(number * 11 % 40);
            log(&store, &gone).await;
            store.meta().delete_run(gone.row.id, true, Timestamp(1)).await.unwrap();
            let tagged = known[number as usize % 40].row.id;
            store.meta().set_run_tags(tagged, vec![("t".into(), number.to_string())]).await.unwrap();
            number += 1;
        }
        for run in &known {
            let times = seen.iter().filter(|id| **id == run.row.id.hex()).count();
            assert_eq!(times, 1, "{}", run.row.id.hex());
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len());
    }
}

async fn listed(store: &Store, select: &Select) -> super::super::listing::Listed {
    let query = Query { experiments: Some(vec![0]), ..Query::all(Room::Runs, 1) };
    store.meta().list_runs(&query, select).await.unwrap().unwrap().items.remove(0)
}

fn of(json: &str) -> Vec<(String, serde_json::Value)> {
    let list: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    list.into_iter().map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone())).collect()
}

#[tokio::test]
async fn a_list_shows_what_was_logged_last_also_after_the_run_has_ended() {
    let (_folder, store) = store().await;
    let mut plain = run(1);
    plain.metrics = BTreeMap::from([("a".into(), 0.1 + 0.2), ("b".into(), f64::NAN), ("c".into(), f64::MAX)]);
    plain.params = BTreeMap::from([("quote\"d".into(), "line\nbreak \u{1} é".into())]);
    plain.tags = BTreeMap::from([("t".into(), String::new())]);
    log(&store, &plain).await;
    let id = plain.row.id;
    let check = async |state: &str| {
        let run = listed(&store, &Select::default()).await;
        assert_eq!(run.status, state);
        let metrics = [("a", 0.1 + 0.2), ("c", f64::MAX)];
        let read = of(&run.metrics);
        for (key, value) in metrics {
            let found = read.iter().find(|(known, _)| known == key).unwrap();
            assert_eq!(found.1.as_f64().unwrap().to_bits(), f64::to_bits(value));
        }
        assert_eq!(read.iter().find(|(key, _)| key == "b").unwrap().1, "NaN");
        assert_eq!(of(&run.params), [("quote\"d".to_owned(), "line\nbreak \u{1} é".into())]);
        run
    };
    assert_eq!(of(&check("RUNNING").await.tags), [("t".to_owned(), "".into())]);
    let end =
        RunChange { state: Some(RunState::Finished), ended: Some(Timestamp(9)), ..RunChange::default() };
    store.meta().update_run(id, end).await.unwrap();
    assert_eq!(of(&check("FINISHED").await.tags), [("t".to_owned(), "".into())]);
    // What is changed later is seen at once, and what is taken away is gone.
    store.meta().set_run_tags(id, vec![("t".into(), "new".into())]).await.unwrap();
    assert_eq!(of(&check("FINISHED").await.tags), [("t".to_owned(), "new".into())]);
    store.meta().delete_run_tag(id, "t").await.unwrap();
    assert_eq!(of(&check("FINISHED").await.tags), []);
    let point = Point { timestamp: 6, step: 1, value: -1.5 };
    store
        .meta()
        .log_batch(id, Batch { metrics: vec![("d".into(), point)], ..Batch::default() })
        .await
        .unwrap();
    assert!(of(&check("FINISHED").await.metrics).contains(&("d".to_owned(), (-1.5).into())));
    store.close().await;
}

#[tokio::test]
async fn a_list_ships_what_was_asked_for() {
    let (_folder, store) = store().await;
    let mut plain = run(1);
    plain.metrics = ["acc", "val_a", "val_b"].map(|key| (key.to_owned(), 1.0)).into();
    plain.params = ["p", "q"].map(|key| (key.to_owned(), "1".to_owned())).into();
    log(&store, &plain).await;
    let keys = |keys: &[&str]| Pick::Keys(keys.iter().map(|key| (*key).to_owned()).collect());
    let select =
        Select { metrics: keys(&["val_*", "none"]), params: keys(&["q"]), tags: keys(&[]), inputs: false };
    for end in [false, true] {
        if end {
            let change = RunChange { state: Some(RunState::Failed), ..RunChange::default() };
            store.meta().update_run(plain.row.id, change).await.unwrap();
        }
        let run = listed(&store, &select).await;
        let mut metrics: Vec<String> = of(&run.metrics).into_iter().map(|(key, _)| key).collect();
        metrics.sort();
        assert_eq!(metrics, ["val_a", "val_b"]);
        assert_eq!((of(&run.params).len(), run.tags.as_str()), (1, "[]"));
    }
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_given_up_and_the_next_one_works() {
    let (_folder, store) = store().await;
    for number in 0..30 {
        log(&store, &run(number)).await;
    }
    let mut query = Query::all(Room::Runs, 10);
    query.patience = Duration::ZERO;
    query.filter = Condition::Any(vec![
        Condition::Test(
            Field::Tag("a".into()),
            Test::Like { pattern: "%a%".repeat(50), ignore_case: true }
        );
        50
    ]);
    let late = store.meta().list_runs(&query, &Select::default()).await;
    assert!(matches!(late, Err(Error::TooLong { .. })), "{late:?}");
    let late = store.meta().count_runs(&query).await;
    assert!(matches!(late, Err(Error::TooLong { .. })), "{late:?}");
    query.patience = PATIENCE;
    assert!(store.meta().list_runs(&query, &Select::default()).await.is_ok());
}

#[tokio::test]
async fn packs_hide_nothing_also_of_runs_that_change_after_they_were_packed() {
    let (_folder, store) = store().await;
    let mut runner = TestRunner::deterministic();
    let mut runs = Vec::new();
    for _ in 0..150 {
        let mut run = plain().new_tree(&mut runner).unwrap().current();
        run.row.experiment = i64::from(runs.len() % 10 == 0);
        if runs.len() % 6 > 0 {
            run.row.state = RunState::Finished;
        }
        log(&store, &run).await;
        runs.push(run);
    }
    let experiments = Some(vec![0, 1]);
    let mut among = 0;
    for round in 0..200usize {
        if round % 20 == 0 {
            while store.meta().make_pack(0, 4).await.unwrap() {}
        }
        // What is changed leaves its pack, whatever was changed and however.
        let changed = round * 37 % runs.len();
        let run = &mut runs[changed];
        let (id, value) = (run.row.id, ["x", "7", "new"][round % 3].to_owned());
        match round % 4 {
            _ if run.row.deleted => {}
            0 => {
                run.tags.insert("a".into(), value.clone());
                store.meta().set_run_tags(id, vec![("a".into(), value)]).await.unwrap();
            }
            1 if !run.params.contains_key("b") => {
                run.params.insert("b".into(), value.clone());
                store.meta().log_params(id, vec![("b".into(), value)]).await.unwrap();
            }
            2 => {
                run.row.name.clone_from(&value);
                let change = RunChange { name: Some(value), ..RunChange::default() };
                store.meta().update_run(id, change).await.unwrap();
            }
            _ => {
                run.row.experiment = 1 - run.row.experiment;
                let change = RunChange { experiment: Some(run.row.experiment), ..RunChange::default() };
                store.meta().update_run(id, change).await.unwrap();
            }
        }
        let query =
            Query { experiments: experiments.clone(), ..query().new_tree(&mut runner).unwrap().current() };
        let asked = query.clone();
        let read = move |connection: &rusqlite::Connection| narrow::narrow(connection, &asked, false);
        among += usize::from(store.meta().finder().read(PATIENCE, read).await.unwrap().among.is_some());
        let expected = expected(&runs, &query);
        assert_eq!(pages(&store, query.clone()).await, expected, "{query:?}");
        assert_eq!(store.meta().count_runs(&query).await.unwrap(), expected.len() as u64, "{query:?}");
    }
    assert!(among > 20, "packs were of use {among} times");
}
