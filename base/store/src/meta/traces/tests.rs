//! What traces promise, whatever the database under them.

use std::collections::BTreeMap;

use rondo_core::Timestamp;

use super::*;
use crate::Store;
use crate::meta::assessments::{Assessment, AssessmentRecord};
use crate::meta::search::{Comparison, Scalar, Test};

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    (folder, store)
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn trace(id: &str, started: i64) -> Trace {
    Trace {
        id: id.to_owned(),
        experiment: 0,
        started: Timestamp(started),
        duration: Some(10),
        state: "OK".to_owned(),
        client_request: None,
        request_preview: None,
        response_preview: None,
        tags: map(&[("name", id)]),
        metadata: BTreeMap::new(),
    }
}

fn export(id: &str, started: i64, tokens: f64, spans: &str) -> Export {
    let sums = BTreeMap::from([("usage".to_owned(), BTreeMap::from([("input".to_owned(), tokens)]))]);
    let trace = Trace { state: "IN_PROGRESS".to_owned(), ..trace(id, started) };
    Export { trace, ends: false, sums, spans: spans.to_owned() }
}

fn span(name: &str, status: &str) -> String {
    format!(
        r#"[{{"id":"1","name":"{name}","status":"{status}","attributes":{{"mlflow.spanType":"LLM","a":"x"}}}}]"#
    )
}

fn query(filter: Condition, limit: u32) -> Query {
    Query { experiments: vec![0], filter, order: Vec::new(), limit, after: None }
}

fn is(field: Field, value: &str) -> Condition {
    Condition::Test(field, Test::Compare(Comparison::Equal, Scalar::Text(value.to_owned())))
}

async fn found(store: &Store, filter: Condition) -> Vec<String> {
    let page = store.meta().search_traces(&query(filter, 100)).await.unwrap().unwrap();
    page.items.into_iter().map(|trace| trace.id).collect()
}

#[tokio::test]
async fn a_trace_grows_with_its_spans_until_its_client_has_told_it_whole() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    meta.put_spans(vec![export("a", 100, 3.0, "[1]")]).await.unwrap();
    let end = Export { ends: true, trace: trace("a", 90), ..export("a", 90, 4.0, "[2]") };
    meta.put_spans(vec![end]).await.unwrap();
    let grown = meta.trace("a").await.unwrap().unwrap();
    assert_eq!((grown.started, grown.duration, grown.state.as_str()), (Timestamp(90), Some(20), "OK"));
    assert_eq!(grown.metadata["usage"], r#"{"input": 7}"#);

    let told = Trace {
        duration: Some(5),
        metadata: map(&[(FINALIZED, "true"), ("usage", "mine")]),
        tags: map(&[("b", "c")]),
        ..trace("a", 95)
    };
    meta.put_trace(told).await.unwrap();
    meta.put_spans(vec![export("a", 1, 9.0, "[3]")]).await.unwrap();
    let told = meta.trace("a").await.unwrap().unwrap();
    assert_eq!((told.started, told.duration), (Timestamp(95), Some(5)));
    assert_eq!(told.metadata["usage"], "mine");
    assert_eq!(told.tags, map(&[("b", "c"), ("name", "a")]));
    assert_eq!(meta.spans(&["a".to_owned()]).await.unwrap()["a"], ["[1]", "[2]", "[3]"]);
}

#[tokio::test]
async fn an_export_is_kept_whole_or_not_at_all() {
    let (_folder, store) = store().await;
    let lost = Trace { experiment: 77, ..trace("b", 1) };
    let exports = vec![export("a", 1, 1.0, "[]"), Export { trace: lost, ..export("b", 1, 1.0, "[]") }];
    let refused = store.meta().put_spans(exports).await;
    assert!(matches!(refused, Err(Error::NotFound { kind: "experiment", .. })), "{refused:?}");
    assert!(store.meta().trace("a").await.unwrap().is_none());
}

#[tokio::test]
async fn tags_come_and_go_one_by_one() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    meta.put_trace(trace("a", 1)).await.unwrap();
    let odd = "a \"b\" $.c'";
    assert!(!meta.tag_trace("a", odd, Some("1")).await.unwrap());
    assert_eq!(meta.trace("a").await.unwrap().unwrap().tags[odd], "1");
    assert!(meta.tag_trace("a", odd, None).await.unwrap());
    assert!(!meta.tag_trace("a", odd, None).await.unwrap());
    assert!(matches!(meta.tag_trace("x", "k", Some("v")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_others_write() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    // Many begin at once: the id decides.
    for index in 0..25 {
        meta.put_trace(trace(&format!("t{index:02}"), 100 + index / 10)).await.unwrap();
    }
    let by_tag = Order { field: Field::Tag("name".to_owned()), descending: true };
    for order in [vec![], vec![by_tag]] {
        let mut seen = Vec::new();
        let mut query = Query { order, ..query(Condition::All(Vec::new()), 4) };
        loop {
            let page = meta.search_traces(&query).await.unwrap().unwrap();
            seen.extend(page.items.into_iter().map(|trace| trace.id));
            let late = format!("t99-{}-{}", seen.len(), query.order.len());
            meta.put_trace(trace(&late, 9_999)).await.unwrap();
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let mut old: Vec<&String> = seen.iter().filter(|id| !id.contains('-')).collect();
        old.sort();
        old.dedup();
        assert_eq!(old.len(), 25, "{seen:?}");
        let mut all = seen.clone();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), seen.len(), "{seen:?}");
    }
    let foreign = Query { after: Some(vec![Scalar::Int(1)]), ..query(Condition::All(Vec::new()), 4) };
    assert!(meta.search_traces(&foreign).await.unwrap().is_none());
}

#[tokio::test]
async fn a_filter_of_spans_wants_one_span_of_which_all_holds() {
    let (_folder, store) = store().await;
    let exports = vec![
        export("a", 1, 1.0, &span("find", "OK")),
        export("a", 1, 1.0, &span("call", "ERROR")),
        export("b", 2, 1.0, &span("find", "ERROR")),
    ];
    store.meta().put_spans(exports).await.unwrap();
    let span = |parts: Vec<Condition>| Condition::Span(Box::new(Condition::All(parts)));
    let (find, error) = (is(Field::SpanName, "find"), is(Field::SpanStatus, "ERROR"));
    assert_eq!(found(&store, span(vec![find.clone()])).await, ["b", "a"]);
    assert_eq!(found(&store, span(vec![find, error])).await, ["b"]);
    assert_eq!(found(&store, span(vec![is(Field::SpanType, "LLM")])).await, ["b", "a"]);
    assert_eq!(found(&store, span(vec![is(Field::SpanAttribute("a".to_owned()), "x")])).await, ["b", "a"]);
    let text = Condition::Test(Field::SpanText, Test::Like { pattern: "%call%".into(), ignore_case: false });
    assert_eq!(found(&store, span(vec![text])).await, ["a"]);
}

fn assessment(id: &str, trace: &str, text: &str) -> Assessment {
    Assessment {
        id: id.to_owned(),
        trace: trace.to_owned(),
        kind: "feedback".to_owned(),
        name: "good".to_owned(),
        text: text.to_owned(),
        session: None,
        valid: true,
        created: Timestamp(1),
        updated: Timestamp(1),
        record: AssessmentRecord::default(),
    }
}

#[tokio::test]
async fn what_is_overridden_does_not_count_until_what_overrides_it_is_gone() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    meta.put_trace(trace("a", 1)).await.unwrap();
    meta.create_assessments(vec![assessment("a-1", "a", "yes")]).await.unwrap();
    let mut over = assessment("a-2", "a", "no");
    over.record.overrides = Some("a-1".to_owned());
    meta.create_assessments(vec![over]).await.unwrap();
    let good = |value: &str| is(Field::Assessment { kind: "feedback", name: "good".to_owned() }, value);
    assert!(found(&store, good("yes")).await.is_empty());
    assert_eq!(found(&store, good("no")).await, ["a"]);
    meta.delete_assessment("a", "a-2").await.unwrap();
    assert_eq!(found(&store, good("yes")).await, ["a"]);
    let again = meta.create_assessments(vec![assessment("a-1", "a", "yes")]).await;
    assert!(matches!(again, Err(Error::Exists { .. })));
    let nowhere = meta.create_assessments(vec![assessment("a-3", "x", "yes")]).await;
    assert!(matches!(nowhere, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn an_assessment_of_a_session_is_of_each_of_its_traces() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    for (id, session) in [("a", "s"), ("b", "s"), ("c", "other")] {
        let metadata = map(&[("mlflow.trace.session", session)]);
        meta.put_trace(Trace { metadata, ..trace(id, 1) }).await.unwrap();
    }
    let said = Assessment { session: Some("s".to_owned()), ..assessment("a-1", "a", "yes") };
    meta.create_assessments(vec![said]).await.unwrap();
    let good = || Field::Assessment { kind: "feedback", name: "good".to_owned() };
    assert_eq!(found(&store, is(good(), "yes")).await, ["a", "b"]);
    assert_eq!(found(&store, Condition::Test(good(), Test::Absent)).await, ["c"]);
}

#[tokio::test]
async fn a_deleted_trace_leaves_nothing_behind() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    meta.put_spans(vec![export("a", 1, 1.0, "[]"), export("b", 2, 1.0, "[]")]).await.unwrap();
    meta.create_assessments(vec![assessment("a-1", "a", "yes")]).await.unwrap();
    let run = RunId::random();
    meta.link_traces(run, vec!["a".to_owned(), "nobody".to_owned()]).await.unwrap();
    meta.link_prompts("a", vec![("p".to_owned(), "1".to_owned())]).await.unwrap();
    meta.put_artifact("a", "traces.json", rondo_core::Digest::of(b"x"), 1, Timestamp(1)).await.unwrap();
    assert_eq!(found(&store, is(Field::Run, &run.hex())).await, ["a"]);
    assert_eq!(found(&store, is(Field::Prompt, "p/1")).await, ["a"]);
    assert_eq!(meta.delete_traces(7, Some(&["a".to_owned()]), None, 10).await.unwrap(), 0);
    assert_eq!(meta.delete_traces(0, None, Some(Timestamp(1)), 10).await.unwrap(), 1);
    assert!(meta.assessment("a", "a-1").await.unwrap().is_none());
    assert!(meta.artifact("a", "traces.json").await.unwrap().is_none());
    for table in ["trace_spans", "trace_run", "trace_prompt", "trace_assessment"] {
        let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table} WHERE trace = 'a'"));
        let row = sqlx::query(text).fetch_one(meta.readers()).await.unwrap();
        assert_eq!(row.get::<i64, _>("n"), 0, "{table}");
    }
    assert_eq!(found(&store, Condition::All(Vec::new())).await, ["b"]);
}

#[tokio::test]
async fn an_experiment_that_is_purged_takes_its_traces_along() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let id = meta.ensure_experiment("gone", Timestamp(1)).await.unwrap();
    for index in 0..250 {
        let mut export = export(&format!("t{index}"), index, 1.0, "[]");
        export.trace.experiment = id;
        meta.put_spans(vec![export]).await.unwrap();
    }
    meta.put_trace(trace("stays", 1)).await.unwrap();
    meta.delete_experiment(id, true, Timestamp(5)).await.unwrap();
    assert!(meta.trace("t0").await.unwrap().is_some(), "deleting is soft");
    let purge = meta.purgeable(Timestamp(9)).await.unwrap();
    assert_eq!(purge.experiments, [id]);
    meta.purge(&purge).await.unwrap();
    assert!(meta.experiment(id).await.unwrap().is_none());
    assert!(meta.trace("t0").await.unwrap().is_none() && meta.trace("t249").await.unwrap().is_none());
    assert!(meta.trace("stays").await.unwrap().is_some());
}
