//! Where MLflow's own server was asked and answered otherwise than one would think: datasets that are known,
//! models' metrics, absent values, tokens, times, messages.

use super::*;

impl House {
    async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::BAD_REQUEST, &json!("INVALID_PARAMETER_VALUE")),
            "{path}: {answer}"
        );
        answer["message"].as_str().unwrap().to_owned()
    }

    /// A logged model.
    async fn logged(&self, name: &str, more: Value) -> String {
        let mut body = json!({ "experiment_id": "0", "name": name });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let made = self.ok("POST", "logged-models", body).await;
        made["model"]["info"]["model_id"].as_str().unwrap().to_owned()
    }

    /// A point of a model's metric, measured on a dataset of that digest.
    async fn measured(&self, run: &str, model: &str, key: &str, at: (i64, i64), value: f64, digest: &str) {
        let mut point = json!({ "run_id": run, "key": key, "value": value, "timestamp": at.0, "step": at.1 });
        point["model_id"] = json!(model);
        if !digest.is_empty() {
            point["dataset_name"] = json!("d");
            point["dataset_digest"] = json!(digest);
        }
        self.ok("POST", "runs/log-metric", point).await;
    }

    /// The names of the logged models that a search finds.
    async fn models(&self, more: Value) -> Vec<String> {
        let mut body = json!({ "experiment_ids": ["0"] });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let found = self.ok("POST", "logged-models/search", body).await;
        let found = found["models"].as_array().cloned().unwrap_or_default();
        found.iter().map(|model| model["info"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A version of a registered model, which is made where there is none.
    async fn registered(&self, model: &str, more: Value) {
        self.call("POST", "registered-models/create", json!({ "name": model })).await;
        let mut body = json!({ "name": model, "source": "mlflow-artifacts:/a" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.ok("POST", "model-versions/create", body).await;
    }

    /// What a search of versions finds, as `name/number`.
    async fn versions(&self, filter: &str) -> Vec<String> {
        let path = format!("model-versions/search?filter={}", encoded(filter));
        let found = self.get(&path).await["model_versions"].as_array().cloned().unwrap_or_default();
        let shown = |version: &Value| {
            format!("{}/{}", version["name"].as_str().unwrap(), version["version"].as_str().unwrap())
        };
        found.iter().map(shown).collect()
    }

    async fn registered_names(&self, filter: &str) -> Vec<String> {
        let path = format!("registered-models/search?filter={}", encoded(filter));
        let found = self.get(&path).await["registered_models"].as_array().cloned().unwrap_or_default();
        found.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_dataset_is_what_was_logged_first() {
    let house = House::new(Mode::Open).await;
    let (one, two) = (house.run().await, house.run().await);
    let input = |source: &str, tag: &str| {
        let dataset = json!({ "name": "n", "digest": "d", "source_type": "s", "source": source });
        json!({ "dataset": dataset, "tags": [{ "key": tag, "value": "v" }] })
    };
    for (run, inputs) in [
        (&one, json!([input("first", "a"), input("second", "b")])),
        (&one, json!([input("third", "c")])),
        (&two, json!([input("fourth", "d")])),
    ] {
        house.ok("POST", "runs/log-inputs", json!({ "run_id": run, "datasets": inputs })).await;
    }
    for (run, tag) in [(&one, "a"), (&two, "d")] {
        let found = house.get(&format!("runs/get?run_id={run}")).await;
        let inputs = found["run"]["inputs"]["dataset_inputs"].as_array().unwrap().clone();
        assert_eq!(inputs.len(), 1);
        assert_eq!(inputs[0]["dataset"]["source"], "first");
        assert_eq!(inputs[0]["tags"][0]["key"], tag);
    }
}

#[tokio::test]
async fn every_point_of_a_models_metric_is_kept_and_found_and_the_newest_in_time_orders() {
    let house = House::new(Mode::Open).await;
    let (run, other) = (house.run().await, house.run().await);
    let (p, q) = (house.logged("P", json!({})).await, house.logged("Q", json!({})).await);
    for (at, value) in [((3, 1), 3.0), ((1, 9), 1.0), ((2, 2), 2.0), ((2, 2), 2.0)] {
        house.measured(&run, &p, "loss", at, value, "").await;
    }
    house.measured(&other, &q, "loss", (1, 1), 2.5, "").await;
    let shown = house.get(&format!("logged-models/{p}")).await;
    let points = shown["model"]["data"]["metrics"].as_array().unwrap().clone();
    let values: Vec<f64> = points.iter().map(|point| point["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [3.0, 1.0, 2.0]);
    assert_eq!(points[0]["run_id"], json!(run));
    assert_eq!(house.models(json!({ "filter": "metrics.loss < 2" })).await, ["P"]);
    assert_eq!(house.models(json!({ "filter": "metrics.loss = 3" })).await, ["P"]);
    for (ascending, order) in [(true, ["Q", "P"]), (false, ["P", "Q"])] {
        let order_by = json!([{ "field_name": "metrics.loss", "ascending": ascending }]);
        assert_eq!(house.models(json!({ "order_by": order_by })).await, order);
    }
}

#[tokio::test]
async fn models_are_ordered_by_what_was_measured_on_a_digest() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let (a, b) = (house.logged("A", json!({})).await, house.logged("B", json!({})).await);
    house.measured(&run, &a, "acc", (1, 0), 0.9, "1").await;
    house.measured(&run, &a, "acc", (2, 0), 0.8, "2").await;
    house.measured(&run, &b, "acc", (3, 0), 0.8, "1").await;
    house.measured(&run, &b, "acc", (4, 0), 0.9, "2").await;
    for (digest, order) in [("1", ["B", "A"]), ("2", ["A", "B"])] {
        for name in [json!(null), json!("d")] {
            let key = json!({ "field_name": "metrics.acc", "dataset_name": name, "dataset_digest": digest });
            assert_eq!(house.models(json!({ "order_by": [key] })).await, order, "{digest} {name}");
        }
    }
    let unnamed = json!({ "experiment_ids": ["0"], "datasets": [{ "dataset_digest": "1" }] });
    let message = house.refused("POST", "logged-models/search", unnamed).await;
    assert_eq!(message, "`dataset_name` in the `datasets` clause must be specified.");
}

#[tokio::test]
async fn pages_of_logged_models_have_fifty_and_their_tokens_are_their_searches() {
    let house = House::new(Mode::Open).await;
    for i in 0..51 {
        house.logged(&format!("m{i}"), json!({})).await;
    }
    assert_eq!(house.models(json!({})).await.len(), 50);
    assert_eq!(house.models(json!({ "max_results": 50_000 })).await.len(), 51);
    let too_many = json!({ "experiment_ids": ["0"], "max_results": 50_001 });
    house.refused("POST", "logged-models/search", too_many).await;
    let first = json!({ "experiment_ids": ["0"], "filter": "name != 'x'", "max_results": 2 });
    let token = house.ok("POST", "logged-models/search", first).await["next_page_token"].clone();
    assert_eq!(house.models(json!({ "filter": "name != 'x'", "page_token": token })).await.len(), 49);
    let other = json!({ "experiment_ids": ["0"], "filter": "name = 'x'", "page_token": token });
    assert_eq!(
        house.refused("POST", "logged-models/search", other).await,
        "Filter string in the page token does not match the requested filter string. Expected: name = 'x'. Found: \
         name != 'x'"
    );
    let other = json!({ "experiment_ids": ["1"], "filter": "name != 'x'", "page_token": token });
    assert_eq!(
        house.refused("POST", "logged-models/search", other).await,
        "Experiment IDs in the page token do not match the requested experiment IDs. Expected: ['1']. Found: ['0']"
    );
}

#[tokio::test]
async fn what_a_logged_model_lacks_is_the_empty_text() {
    let house = House::new(Mode::Open).await;
    house.logged("bare", json!({})).await;
    house.logged("typed", json!({ "model_type": "t", "source_run_id": "r" })).await;
    for (filter, found) in [
        ("model_type != 't'", vec!["bare"]),
        ("model_type = ''", vec!["bare"]),
        ("source_run_id != 'r'", vec!["bare"]),
        ("source_run_id = 'r'", vec!["typed"]),
        ("source_run_id NOT IN ('r',)", vec!["bare"]),
        ("name IN ('bare',)", vec!["bare"]),
        ("creation_timestamp_ms < 0", vec![]),
        ("last_updated_timestamp_ms > 0 AND name = 'typed'", vec!["typed"]),
    ] {
        assert_eq!(house.models(json!({ "filter": filter })).await, found, "{filter}");
    }
    for field in ["model_type", "source_run_id"] {
        let order = |ascending| json!({ "order_by": [{ "field_name": field, "ascending": ascending }] });
        assert_eq!(house.models(order(true)).await, ["bare", "typed"], "{field}");
        assert_eq!(house.models(order(false)).await, ["typed", "bare"], "{field}");
    }
}

#[tokio::test]
async fn a_logged_models_parameter_is_written_once_and_a_deleted_model_takes_what_is_said_of_it() {
    let house = House::new(Mode::Open).await;
    let id = house.logged("m", json!({ "params": [{ "key": "a", "value": "1" }] })).await;
    let path = format!("logged-models/{id}/params");
    house.ok("POST", &path, json!({ "params": [{ "key": "a", "value": "1" }] })).await;
    let both = json!({ "params": [{ "key": "b", "value": "1" }, { "key": "a", "value": "2" }] });
    let message = house.refused("POST", &path, both).await;
    assert!(message.starts_with("Changing param values is not allowed. Param with key='a'"), "{message}");
    let shown = house.get(&format!("logged-models/{id}")).await;
    assert_eq!(shown["model"]["data"]["params"], json!([{ "key": "a", "value": "1" }]));
    let path = format!("logged-models/{id}");
    for _ in 0..2 {
        house.ok("DELETE", &path, Value::Null).await;
    }
    let ready = json!({ "model_id": id, "status": "LOGGED_MODEL_READY" });
    let done = house.ok("PATCH", &path, ready).await;
    assert_eq!(done["model"]["info"]["status"], "LOGGED_MODEL_READY");
    let tags = json!({ "tags": [{ "key": "a", "value": "b" }] });
    house.ok("PATCH", &format!("{path}/tags"), tags).await;
    assert_eq!(house.call("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn versions_are_found_by_quoted_numbers_and_by_runs_that_they_lack() {
    let house = House::new(Mode::Open).await;
    house.registered("m", json!({ "run_id": "r" })).await;
    house.registered("m", json!({})).await;
    for (filter, found) in [
        ("version_number = '2'", vec!["m/2"]),
        ("version_number < \"2\"", vec!["m/1"]),
        ("run_id != 'r'", vec!["m/2"]),
        ("run_id = 'r'", vec!["m/1"]),
        ("run_id IN ('r',)", vec!["m/1"]),
    ] {
        assert_eq!(house.versions(filter).await, found, "{filter}");
    }
    for filter in ["version_number = 'x'", "creation_timestamp > '1'", "run_id IN ('r',,)", "run_id IN (,)"] {
        house.refused("GET", &format!("model-versions/search?filter={}", encoded(filter)), Value::Null).await;
    }
}

#[tokio::test]
async fn what_is_no_prompt_has_no_such_tag() {
    let house = House::new(Mode::Open).await;
    let tag = json!([{ "key": "mlflow.prompt.is_prompt", "value": "true" }]);
    house.registered("model", json!({})).await;
    house.ok("POST", "registered-models/create", json!({ "name": "prompt", "tags": tag })).await;
    let version = json!({ "name": "prompt", "source": "dummy", "tags": tag });
    house.ok("POST", "model-versions/create", version).await;
    for (test, models, versions) in [
        ("= 'false'", "model", "model/1"),
        ("!= 'true'", "model", "model/1"),
        ("= 'true'", "prompt", "prompt/1"),
        ("!= 'false'", "prompt", "prompt/1"),
    ] {
        let filter = format!("tags.`mlflow.prompt.is_prompt` {test}");
        assert_eq!(house.registered_names(&filter).await, [models], "{test}");
        assert_eq!(house.versions(&filter).await, [versions], "{test}");
    }
    for (name, tags, message) in [
        ("prompt", tag.clone(), "Prompt (name=prompt) already exists."),
        ("model", json!([]), "Registered Model (name=model) already exists."),
        (
            "model",
            tag,
            "Tried to create a prompt with name 'model', but the name is already taken by a registered model. MLflow \
             does not allow creating a model and a prompt with the same name.",
        ),
        (
            "prompt",
            json!([]),
            "Tried to create a registered model with name 'prompt', but the name is already taken by a prompt. MLflow \
             does not allow creating a model and a prompt with the same name.",
        ),
    ] {
        let new = json!({ "name": name, "tags": tags });
        let (status, answer) = house.call("POST", "registered-models/create", new).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::BAD_REQUEST, &json!("RESOURCE_ALREADY_EXISTS"))
        );
        assert_eq!(answer["message"], message);
    }
    let long = json!([{ "key": "mlflow.prompt.text", "value": "x".repeat(100_001) }]);
    let version = json!({ "name": "prompt", "source": "dummy", "tags": long });
    let message = house.refused("POST", "model-versions/create", version).await;
    assert_eq!(message, "Prompt text exceeds max length of 100000 characters.");
}

#[tokio::test]
async fn a_model_may_be_given_its_own_name() {
    let house = House::new(Mode::Open).await;
    house.registered("m", json!({})).await;
    let same = house.ok("POST", "registered-models/rename", json!({ "name": "m", "new_name": "m" })).await;
    assert_eq!(same["registered_model"]["name"], "m");
    house.registered("n", json!({})).await;
    let taken = house.call("POST", "registered-models/rename", json!({ "name": "m", "new_name": "n" })).await;
    assert_eq!(taken.1["error_code"], "RESOURCE_ALREADY_EXISTS");
}

#[tokio::test]
async fn the_newest_of_each_stage_come_in_the_order_of_the_stages_oldest_versions() {
    let house = House::new(Mode::Open).await;
    for _ in 0..3 {
        house.registered("m", json!({})).await;
    }
    for (version, stage) in [("1", "Staging"), ("2", "Production"), ("3", "Staging")] {
        let to = json!({ "name": "m", "version": version, "stage": stage });
        house.ok("POST", "model-versions/transition-stage", to).await;
    }
    let numbers = |versions: &Value| {
        let versions = versions.as_array().unwrap().clone();
        versions.iter().map(|version| version["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let latest = house.ok("POST", "registered-models/get-latest-versions", json!({ "name": "m" })).await;
    assert_eq!(numbers(&latest["model_versions"]), ["3", "2"]);
    let listed = house.get("registered-models/search").await;
    assert_eq!(numbers(&listed["registered_models"][0]["latest_versions"]), ["2", "3"]);
}

#[tokio::test]
async fn a_run_keeps_its_name_without_its_tag_and_a_start_of_zero() {
    let house = House::new(Mode::Open).await;
    let new = json!({ "experiment_id": "0", "start_time": 0, "run_name": "q" });
    let made = house.ok("POST", "runs/create", new).await["run"]["info"].clone();
    assert_eq!(made["start_time"], 0);
    let id = made["run_id"].as_str().unwrap().to_owned();
    let gone = json!({ "run_id": id, "key": "mlflow.runName" });
    house.ok("POST", "runs/delete-tag", gone.clone()).await;
    assert_eq!(house.call("POST", "runs/delete-tag", gone).await.0, StatusCode::NOT_FOUND);
    let seen = async || {
        let one = house.get(&format!("runs/get?run_id={id}")).await["run"].clone();
        let search = json!({ "experiment_ids": ["0"], "filter": "run_name = 'q' OR run_name = 'p'" });
        let listed = house.ok("POST", "runs/search", search).await["runs"][0].clone();
        assert_eq!((&one["info"]["run_name"], &one["data"]), (&listed["info"]["run_name"], &listed["data"]));
        (one["info"]["run_name"].clone(), one["data"]["tags"].clone())
    };
    assert_eq!(seen().await, (json!("q"), Value::Null));
    for (name, path, body) in [
        ("p", "runs/update", json!({ "run_id": id, "run_name": "p" })),
        ("q", "runs/set-tag", json!({ "run_id": id, "key": "mlflow.runName", "value": "q" })),
    ] {
        house.ok("POST", path, body).await;
        assert_eq!(seen().await, (json!(name), json!([{ "key": "mlflow.runName", "value": name }])));
        house.ok("POST", "runs/delete-tag", json!({ "run_id": id, "key": "mlflow.runName" })).await;
    }
}

#[tokio::test]
async fn a_run_that_is_not_here_has_an_empty_history() {
    let house = House::new(Mode::Open).await;
    assert_eq!(house.get("metrics/get-history?run_id=nope&metric_key=m").await, json!({}));
    let id = RunId::random().hex();
    assert_eq!(house.get(&format!("metrics/get-history?run_id={id}&metric_key=m")).await, json!({}));
}

#[tokio::test]
async fn ids_of_experiments_are_numbers_however_they_are_written() {
    let house = House::new(Mode::Open).await;
    house.run().await;
    house.logged("m", json!({})).await;
    let search = json!({ "filter_string1": "name = 'a'", "filter_string2": "name = 'b'" });
    for path in [
        "runs/search",
        "logged-models/search",
        "experiments/search-datasets",
        "/api/3.0/mlflow/traces/calculate-filter-correlation",
    ] {
        let asked = |ids: Value| {
            let mut body = search.clone();
            body["experiment_ids"] = ids;
            body
        };
        let message = house.refused("POST", path, asked(json!(["0", "abc"]))).await;
        assert_eq!(message, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.", "{path}");
        let by_number = house.ok("POST", path, asked(json!([0]))).await;
        assert_eq!(by_number, house.ok("POST", path, asked(json!(["0"]))).await, "{path}");
    }
}

#[tokio::test]
async fn a_trace_stays_in_its_experiment_as_it_is() {
    let house = House::new(Mode::Open).await;
    let elsewhere = house.ok("POST", "experiments/create", json!({ "name": "e" })).await;
    let start = |experiment: &Value, state: &str| {
        let location =
            json!({ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": experiment } });
        let info = json!({ "trace_id": "tr-1", "trace_location": location, "state": state });
        json!({ "trace": { "trace_info": info } })
    };
    let path = "/api/3.0/mlflow/traces";
    house.ok("POST", path, start(&json!("0"), "OK")).await;
    let message = house.refused("POST", path, start(&elsewhere["experiment_id"], "ERROR")).await;
    assert_eq!(message, "Trace with ID 'tr-1' already exists in another experiment.");
    let kept = house.get(&format!("{path}/tr-1")).await["trace"]["trace_info"].clone();
    assert_eq!(kept["state"], "OK");
    assert_eq!(kept["trace_location"]["mlflow_experiment"]["experiment_id"], "0");
    house.ok("POST", path, start(&json!("0"), "ERROR")).await;
}

#[tokio::test]
async fn of_prompts_a_filter_of_traces_takes_one_version() {
    let house = House::new(Mode::Open).await;
    let location = json!({ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } });
    let search = |filter: &str| json!({ "locations": [location], "filter": filter });
    let path = "/api/3.0/mlflow/traces/search";
    house.ok("POST", path, search("prompt = 'qa/4' AND status IN ('OK',)")).await;
    let only = "Only '=' is supported with format: prompt = \"name/version\"";
    for (filter, message) in [
        ("prompt LIKE '%qa%'", format!("Invalid comparator 'LIKE' for prompts filter. {only}")),
        ("prompt != 'qa/1'", format!("Invalid comparator '!=' for prompts filter. {only}")),
        ("prompt NOT IN ('qa/1')", format!("Invalid comparator 'NOT IN' for prompts filter. {only}")),
        (
            "prompt = 'qa'",
            "Invalid prompts filter value 'qa'. Expected format: prompt = \"name/version\"".to_owned(),
        ),
        (
            "prompt = 'foo/1/baz'",
            "Invalid prompts filter value 'foo/1/baz'. Expected format: prompt = \"name/version\"".to_owned(),
        ),
    ] {
        assert_eq!(house.refused("POST", path, search(filter)).await, message);
    }
}
