//! What the wire promises of searches.

use super::*;

/// Five runs with a metric `m` and a parameter `depth` of 0 to 4, newest last; the last has not ended.
async fn five(house: &House) -> Vec<String> {
    let mut ids = Vec::new();
    for i in 0..5 {
        let tags = json!([{ "key": "parity", "value": if i % 2 == 0 { "even" } else { "odd" } }]);
        let new =
            json!({ "experiment_id": "0", "start_time": i + 1, "run_name": format!("r{i}"), "tags": tags });
        let made = house.ok("POST", "runs/create", new).await;
        let id = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let batch = json!({
            "run_id": id,
            "metrics": [
                { "key": "m", "value": f64::from(i), "timestamp": 1, "step": 0 },
                { "key": "val_m", "value": "NaN", "timestamp": 1, "step": 0 },
            ],
            "params": [{ "key": "depth", "value": i.to_string() }, { "key": "kind", "value": "tree" }],
        });
        house.ok("POST", "runs/log-batch", batch).await;
        if i < 4 {
            let end = json!({ "run_id": id, "status": "FINISHED", "end_time": 9 });
            house.ok("POST", "runs/update", end).await;
        }
        ids.push(id);
    }
    ids
}

async fn names(house: &House, filter: &str) -> Vec<String> {
    let found = house.ok("POST", "runs/search", json!({ "experiment_ids": ["0"], "filter": filter })).await;
    let runs = found["runs"].as_array().cloned().unwrap_or_default();
    runs.iter().map(|run| run["info"]["run_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_grammar_is_mlflows_and_more() {
    let house = House::new(Mode::Open).await;
    five(&house).await;
    for (filter, found) in [
        ("metrics.m > 2.5 and params.kind = 'tree'", vec!["r4", "r3"]),
        ("params.depth > 2", vec!["r4", "r3"]),
        ("params.depth IN (0, 3.0)", vec!["r3", "r0"]),
        ("params.depth = '3'", vec!["r3"]),
        ("params.kind > 1", vec![]),
        ("metrics.m < 1 OR (metrics.m > 3 AND NOT tags.parity = 'odd')", vec!["r4", "r0"]),
        ("metrics.m IN (1, 2)", vec!["r2", "r1"]),
        ("tags.parity NOT IN ('odd')", vec!["r4", "r2", "r0"]),
        ("status = 'RUNNING'", vec!["r4"]),
    ] {
        assert_eq!(names(&house, filter).await, found, "{filter}");
    }
    for filter in ["params.depth > '2'", "metrics.m = 'x'", "tags.parity > 1", "nonsense", "m > 1 AND"] {
        let search = json!({ "experiment_ids": ["0"], "filter": filter });
        let (status, answer) = house.call("POST", "runs/search", search).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::BAD_REQUEST, &"INVALID_PARAMETER_VALUE".into())
        );
    }
}

#[tokio::test]
async fn a_list_of_runs_is_what_each_of_them_is_alone() {
    let house = House::new(Mode::Open).await;
    let ids = five(&house).await;
    let data = json!({ "digest": "d", "name": "n", "source_type": "t", "source": "s" });
    let tags = json!([{ "key": "mlflow.data.context", "value": "training" }]);
    let inputs = json!({ "run_id": ids[0], "datasets": [{ "dataset": data, "tags": tags }] });
    house.ok("POST", "runs/log-inputs", inputs).await;
    let found = house.ok("POST", "runs/search", json!({ "experiment_ids": ["0"] })).await;
    let found = found["runs"].as_array().unwrap();
    assert_eq!(found.len(), 5);
    for listed in found {
        let id = listed["info"]["run_id"].as_str().unwrap();
        let alone = house.get(&format!("runs/get?run_id={id}")).await;
        let sorted = |run: &Value| {
            let mut run = run.clone();
            for list in ["metrics", "params", "tags"] {
                let pairs = run["data"][list].as_array_mut().unwrap();
                pairs.sort_by_key(|pair| pair["key"].as_str().unwrap().to_owned());
            }
            run
        };
        assert_eq!(sorted(listed), sorted(&alone["run"]));
    }
    assert_eq!(house.ok("POST", "runs/search", json!({ "experiment_ids": ["7"] })).await, json!({}));
}

#[tokio::test]
async fn a_list_ships_what_was_selected_and_a_count_nothing() {
    let house = House::new(Mode::Open).await;
    five(&house).await;
    let search = json!({
        "experiment_ids": ["0"], "max_results": 2, "order_by": ["metrics.m DESC"],
        "select": ["metrics.val_*", "params.depth"],
    });
    let found = house.ok("POST", "runs/search", search).await;
    let run = &found["runs"][0];
    assert_eq!(run["info"]["run_name"], "r4");
    assert_eq!(
        run["data"]["metrics"],
        json!([{ "key": "val_m", "value": "NaN", "timestamp": 1, "step": 0 }])
    );
    assert_eq!(run["data"]["params"], json!([{ "key": "depth", "value": "4" }]));
    assert!(run["data"].get("tags").is_none());
    let token = found["next_page_token"].as_str().unwrap();
    let other = json!({ "experiment_ids": ["0"], "order_by": ["params.depth"], "page_token": token });
    assert_eq!(house.call("POST", "runs/search", other).await.0, StatusCode::BAD_REQUEST);
    let count = json!({ "experiment_ids": ["0"], "filter": "tags.parity = 'even'", "count_only": true });
    assert_eq!(house.ok("POST", "runs/search", count).await, json!({ "count": 3 }));
    let wrong = json!({ "experiment_ids": ["0"], "select": ["flavours.x"] });
    assert_eq!(house.call("POST", "runs/search", wrong).await.0, StatusCode::BAD_REQUEST);
}
