//! What runs promise.

use rondo_core::{Code, Explain};

use super::*;
use crate::tracking::fixture::tracking;

fn new(tags: &[(&str, &str)]) -> NewRun {
    NewRun {
        experiment: "0".into(),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..NewRun::default()
    }
}

fn point(step: i64, value: f64) -> Point {
    Point { timestamp: 1, step, value }
}

async fn step_run(tracking: &Tracking) -> RunRow {
    let row = RunRow {
        id: RunId::random(),
        experiment: 0,
        kind: RunKind::Step,
        parent: None,
        name: "train".into(),
        step: Some("train".into()),
        state: RunState::Running,
        user: "ada".into(),
        started: Timestamp(5),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    };
    tracking.meta().create_run(&row).await.unwrap();
    row
}

#[tokio::test]
async fn a_run_has_a_name_and_the_tag_and_the_column_are_one() {
    let (_folder, tracking) = tracking().await;
    let run = tracking.create_run(new(&[])).await.unwrap();
    assert_eq!(run.facts.tags[RUN_NAME], run.row.name);
    let named = tracking.create_run(new(&[(RUN_NAME, "mine"), ("x", "")])).await.unwrap();
    let id = named.row.id.hex();
    assert_eq!((named.row.name.as_str(), named.facts.tags["x"].as_str()), ("mine", ""));
    let tags = vec![(RUN_NAME.to_owned(), "other".to_owned())];
    tracking.log_batch(&id, Batch { tags, ..Batch::default() }).await.unwrap();
    assert_eq!(tracking.run(&id).await.unwrap().row.name, "other");
    let search = Search { filter: "tags.mlflow.runName = 'other'".into(), ..Search::default() };
    assert_eq!(tracking.search_runs(&["0".into()], &search).await.unwrap().items.len(), 1);
    let both = NewRun { name: Some("a".into()), ..new(&[(RUN_NAME, "b")]) };
    assert!(tracking.create_run(both).await.is_err());
}

#[tokio::test]
async fn a_client_cannot_end_or_delete_a_step_that_is_under_way() {
    let (_folder, tracking) = tracking().await;
    let step = step_run(&tracking).await;
    let id = step.id.hex();
    let update = RunUpdate {
        status: Some(RunState::Finished),
        ended: Some(9),
        name: Some("renamed".into()),
        experiment: None,
    };
    let (row, _) = tracking.update_run(&id, update).await.unwrap();
    assert_eq!((row.state, row.ended, row.name.as_str()), (RunState::Running, None, "renamed"));
    assert!(matches!(tracking.delete_run(&id, true).await, Err(Error::StepRun { .. })));
}

#[tokio::test]
async fn a_step_adopts_the_runs_its_code_starts_unless_they_have_a_parent() {
    let (_folder, tracking) = tracking().await;
    let step = step_run(&tracking).await;
    let adopted = NewRun { adopted_by: Some(step.id), ..new(&[]) };
    let child = tracking.create_run(adopted.clone()).await.unwrap();
    assert_eq!(child.row.parent, Some(step.id));
    assert_eq!(child.facts.tags[PARENT], step.id.hex());
    let nested = NewRun { tags: vec![(PARENT.into(), child.row.id.hex())], ..adopted.clone() };
    assert_eq!(tracking.create_run(nested).await.unwrap().row.parent, Some(child.row.id));
    let lost = NewRun { tags: vec![(PARENT.into(), "nobody".into())], ..adopted };
    assert_eq!(tracking.create_run(lost).await.unwrap().facts.tags[PARENT], step.id.hex());
}

#[tokio::test]
async fn a_parameter_is_written_once() {
    let (_folder, tracking) = tracking().await;
    let id = tracking.create_run(new(&[])).await.unwrap().row.id.hex();
    let param = |value: &str| Batch { params: vec![("a".into(), value.into())], ..Batch::default() };
    tracking.log_batch(&id, param("1")).await.unwrap();
    tracking.log_batch(&id, param("1")).await.unwrap();
    assert_eq!(tracking.log_batch(&id, param("2")).await.unwrap_err().code(), Code::ParameterChanged);
    let twice =
        Batch { params: vec![("b".into(), "1".into()), ("b".into(), "2".into())], ..Batch::default() };
    assert!(tracking.log_batch(&id, twice).await.is_err());
    tracking
        .log_batch(&id, Batch { params: vec![("e".into(), String::new())], ..Batch::default() })
        .await
        .unwrap();
    assert_eq!(tracking.run(&id).await.unwrap().facts.params["e"], "");
}

#[tokio::test]
async fn deleted_runs_take_nothing_until_they_are_restored() {
    let (_folder, tracking) = tracking().await;
    let id = tracking.create_run(new(&[])).await.unwrap().row.id.hex();
    tracking.delete_run(&id, true).await.unwrap();
    let logged = tracking.log_metric(&id, "m".into(), point(0, 1.0)).await;
    assert!(matches!(logged, Err(Error::RunDeleted { .. })));
    tracking.delete_run(&id, false).await.unwrap();
    tracking.log_metric(&id, "m".into(), point(0, f64::INFINITY)).await.unwrap();
    assert_eq!(tracking.run(&id).await.unwrap().facts.metrics[0].point.value, f64::MAX);
}

/// Twelve runs: `loss` is 11 down to 0 but NaN on run 3 and missing on run 4; `kind` is `even` or `odd`.
async fn dozen(tracking: &Tracking) {
    for i in 0..12 {
        let kind = if i % 2 == 0 { "even" } else { "odd" };
        let new = NewRun { name: Some(format!("r{i}")), started: Some(100), ..new(&[("kind", kind)]) };
        let id = tracking.create_run(new).await.unwrap().row.id.hex();
        let params = vec![("i".to_owned(), i.to_string())];
        tracking.log_batch(&id, Batch { params, ..Batch::default() }).await.unwrap();
        let loss = if i == 3 { f64::NAN } else { 11.0 - f64::from(i) };
        if i != 4 {
            tracking.log_metric(&id, "loss".into(), point(0, loss)).await.unwrap();
        }
    }
}

async fn names(tracking: &Tracking, filter: &str, order: &[&str], size: i64) -> Vec<String> {
    let mut search = Search {
        filter: filter.to_owned(),
        order_by: order.iter().map(|key| (*key).to_owned()).collect(),
        max_results: Some(size),
        ..Search::default()
    };
    let mut names = Vec::new();
    loop {
        let found = tracking.search_runs(&["0".into(), "77".into()], &search).await.unwrap();
        names.extend(found.items.into_iter().map(|run| run.row.name));
        match found.next_page_token {
            Some(token) => search.page_token = token,
            None => return names,
        }
    }
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let (_folder, tracking) = tracking().await;
    dozen(&tracking).await;
    for (filter, expected) in [
        ("metrics.loss < 2", vec!["r10", "r11"]),
        ("metrics.loss < 2 AND tags.kind = 'even'", vec!["r10"]),
        ("metrics.loss < 1 OR params.i = '0'", vec!["r0", "r11"]),
        ("NOT metrics.loss >= 0", vec!["r3", "r4"]),
        ("metrics.loss IS NULL", vec!["r4"]),
        ("tags.kind != 'even' AND params.i IN ('1', '2', '3')", vec!["r1", "r3"]),
        ("params.i LIKE '1%' AND NOT (params.i = '1')", vec!["r10", "r11"]),
        ("tags.kind LIKE 'EVEN'", vec![]),
        ("tags.kind ILIKE 'EV__' AND run_name = 'r2'", vec!["r2"]),
        ("tags.missing != 'x'", vec![]),
        ("tags.missing IS NULL AND run_name IN ('r5')", vec!["r5"]),
        ("start_time = 100 AND status = 'RUNNING' AND run_name ILIKE 'R7'", vec!["r7"]),
        ("end_time > 5", vec![]),
        ("NOT end_time > 5 AND run_name = 'r1'", vec!["r1"]),
        ("tags.kind = 'x'' OR 1=1 --'", vec![]),
        ("artifact_uri LIKE 'mlflow-artifacts:/0/%/artifacts' AND run_name = 'r6'", vec!["r6"]),
    ] {
        let mut found = names(&tracking, filter, &[], 100).await;
        found.sort();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn pages_join_to_the_whole_in_order_with_nan_and_missing_last() {
    let (_folder, tracking) = tracking().await;
    dozen(&tracking).await;
    let up = ["r11", "r10", "r9", "r8", "r7", "r6", "r5", "r2", "r1", "r0", "r3", "r4"];
    let down = ["r0", "r1", "r2", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r3", "r4"];
    for size in [1, 5, 12, 100] {
        assert_eq!(names(&tracking, "", &["metrics.loss"], size).await, up, "{size}");
        assert_eq!(names(&tracking, "", &["metrics.loss DESC"], size).await, down, "{size}");
        let by_kind =
            names(&tracking, "metrics.loss < 4", &["tags.kind DESC", "metrics.loss ASC"], size).await;
        assert_eq!(by_kind, ["r11", "r9", "r10", "r8"], "{size}");
        let mut all = names(&tracking, "", &[], size).await;
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
    }
}
