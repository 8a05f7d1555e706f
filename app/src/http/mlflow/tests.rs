//! What the wire promises, request by request. The real client's flows are under `e2e/clients`.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use futures::stream;
use rondo_core::evaluation::{Evaluation, Metric, Task};
use rondo_core::handoff::{Lineage, ModelVersion};
use rondo_core::journal::Because;
use rondo_core::ports::TrackingAccess;
use rondo_core::run::{RunDetail, RunRow, RunState};
use rondo_core::signature::Signature;
use rondo_core::{Digest, RunId, Timestamp};
use rondo_store::meta::journal::Expect;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::http::access::{Admission, Mode};

mod artifacts;
mod registry;
mod traces;
mod webhooks;
mod wire;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

struct House {
    _folder: tempfile::TempDir,
    store: Store,
    state: MlflowState,
    router: Router,
    token: Option<String>,
}

impl House {
    async fn new(mode: Mode) -> Self {
        Self::with_roots(mode, Roots::default()).await
    }

    async fn with_roots(mode: Mode, roots: Roots) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().ensure_default_experiment_under(&roots.base(), Timestamp(1)).await.unwrap();
        let door = Door::new(&store, Arc::new(Wall), Admission::new(mode));
        let state = MlflowState::new(store.clone(), Arc::new(Wall), door).with_roots(roots);
        let router = router(state.clone());
        Self { _folder: folder, store, state, router, token: None }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:5000");
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends JSON to a path below the prefix; the status and the JSON that comes back.
    async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/2.0/mlflow/{path}") };
        let request = self.request(method, &path).header(header::CONTENT_TYPE, "application/json");
        let response = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        let status = response.status();
        (status, serde_json::from_slice(&bytes(response).await).unwrap_or(Value::Null))
    }

    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, Value::Null).await
    }

    async fn run(&self) -> String {
        let made = self.ok("POST", "runs/create", json!({ "experiment_id": "0", "start_time": 5 })).await;
        made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
    }

    /// A step that is under way, whose token all requests carry from now on.
    async fn step(&mut self) -> RunRow {
        let experiment = self.store.meta().ensure_experiment("project", Timestamp(1)).await.unwrap();
        let row = RunRow {
            id: RunId::random(),
            experiment,
            kind: rondo_core::run::RunKind::Step,
            parent: None,
            name: "train".into(),
            step: Some("train".into()),
            state: RunState::Running,
            user: "ada".into(),
            started: Timestamp(7),
            ended: None,
            deleted: false,
            untagged: false,
            detail: RunDetail::default(),
        };
        self.store.meta().create_run(&row).await.unwrap();
        let variables = self.state.door.steps("http://127.0.0.1:9/").admit(row.id, "project");
        assert_eq!(variables["MLFLOW_TRACKING_URI"], "http://127.0.0.1:9");
        assert_eq!(variables["MLFLOW_RUN_ID"], row.id.hex());
        assert_eq!(variables["MLFLOW_EXPERIMENT_NAME"], "project");
        self.token = Some(variables["MLFLOW_TRACKING_TOKEN"].clone());
        row
    }
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[tokio::test]
async fn every_route_has_its_twin_and_unknown_ones_are_plainly_missing() {
    let house = House::new(Mode::Open).await;
    for prefix in ["/api", "/ajax-api"] {
        let path = format!("{prefix}/2.0/mlflow/experiments/get?experiment_id=0");
        assert_eq!(house.get(&path.replace("/ajax-api", "/api")).await["experiment"]["name"], "Default");
        let response = house.send(house.request("GET", &path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[header::X_FRAME_OPTIONS], "SAMEORIGIN");
    }
    let missing =
        house.send(house.request("GET", "/api/2.0/mlflow/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    // By this code clients know what a server cannot do, and do without.
    let answer: Value = serde_json::from_slice(&bytes(missing).await).unwrap();
    assert_eq!(answer["error_code"], "ENDPOINT_NOT_FOUND");
    let (status, answer) = house.call("DELETE", "runs/get", json!({})).await;
    assert_eq!(
        (status, &answer["error_code"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("ENDPOINT_NOT_FOUND"))
    );
}

#[tokio::test]
async fn refusals_have_the_codes_and_words_that_clients_look_for() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    for (method, path, body, status, code, message) in [
        (
            "GET",
            "runs/get",
            json!(null),
            400,
            "INVALID_PARAMETER_VALUE",
            "Missing value for required parameter 'run_id'",
        ),
        ("GET", "runs/get?run_id=x", json!(null), 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=x not found"),
        (
            "GET",
            "experiments/get?experiment_id=77",
            json!(null),
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "No Experiment with id=77 exists",
        ),
        (
            "GET",
            "experiments/get-by-name?experiment_name=no",
            json!(null),
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "'no'",
        ),
        (
            "POST",
            "experiments/create",
            json!({ "name": "Default" }),
            400,
            "RESOURCE_ALREADY_EXISTS",
            "Experiment(name=Default) already exists",
        ),
        (
            "POST",
            "experiments/create",
            json!({ "name": 5 }),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid value 5 for parameter 'name' supplied",
        ),
        (
            "POST",
            "runs/log-metric",
            json!({ "run_id": run, "key": "m", "value": "x", "timestamp": 1 }),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid value \"x\" for parameter 'value' supplied",
        ),
        (
            "POST",
            "runs/log-metric",
            json!({ "run_id": run, "key": "m", "value": 1 }),
            400,
            "INVALID_PARAMETER_VALUE",
            "Missing value for required parameter 'timestamp'",
        ),
        (
            "POST",
            "runs/update",
            json!({ "run_id": run, "status": "SLEEPING" }),
            400,
            "INVALID_PARAMETER_VALUE",
            "parameter 'status'",
        ),
        (
            "POST",
            "runs/search",
            json!({ "experiment_ids": ["0"], "page_token": "?" }),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid page token, could not base64-decode",
        ),
        (
            "POST",
            "runs/search",
            json!({ "experiment_ids": ["0"], "filter": "params.a > '1'" }),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid filter",
        ),
        (
            "POST",
            "runs/search",
            json!({ "experiment_ids": ["0"], "max_results": 0 }),
            400,
            "INVALID_PARAMETER_VALUE",
            "max_results",
        ),
        (
            "GET",
            "registered-models/get?name=no",
            json!(null),
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "Registered Model with name=no not found",
        ),
        ("GET", "logged-models/m-no", json!(null), 404, "RESOURCE_DOES_NOT_EXIST", "m-no"),
        (
            "GET",
            "artifacts/list?run_id=x&path=../y",
            json!(null),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid path",
        ),
    ] {
        let (found, answer) = house.call(method, path, body).await;
        assert_eq!((found.as_u16(), answer["error_code"].as_str()), (status, Some(code)), "{path}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{path}: {answer}");
    }
    let form =
        house.request("POST", "/api/2.0/mlflow/runs/create").header(header::CONTENT_TYPE, "text/plain");
    let response = house.send(form.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(String::from_utf8(bytes(response).await).unwrap().contains("Content-Type must be one of"));
    let broken = house.request("POST", "/api/2.0/mlflow/experiments/create");
    let broken =
        broken.header(header::CONTENT_TYPE, "application/json").body(Body::from("{\"name\":")).unwrap();
    assert!(
        String::from_utf8(bytes(house.send(broken).await).await)
            .unwrap()
            .contains("required parameter 'name'")
    );
}

#[tokio::test]
async fn a_run_is_shown_with_both_ids_and_without_what_is_unset() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let metrics = json!([{ "key": "a", "value": "NaN", "timestamp": 1 }, { "key": "b", "value": "-Infinity", "timestamp": 1, "step": 3 }]);
    house.ok("POST", "runs/log-batch", json!({ "run_id": run, "metrics": metrics })).await;
    let found = house.get(&format!("runs/get?run_uuid={run}")).await;
    let shown = &found["run"];
    assert_eq!((&shown["info"]["run_id"], &shown["info"]["run_uuid"]), (&json!(run), &json!(run)));
    assert_eq!(shown["info"]["artifact_uri"], format!("mlflow-artifacts:/0/{run}/artifacts"));
    assert!(shown["info"].get("end_time").is_none() && shown["data"].get("params").is_none());
    assert_eq!((&shown["inputs"], &shown["outputs"]), (&json!({}), &json!({})));
    assert_eq!(
        shown["data"]["metrics"],
        json!([
            { "key": "a", "value": "NaN", "timestamp": 1, "step": 0 },
            { "key": "b", "value": f64::MIN, "timestamp": 1, "step": 3 },
        ])
    );
    let updated = house
        .ok("POST", "runs/update", json!({ "run_id": run, "status": "FINISHED", "end_time": "9" }))
        .await;
    assert_eq!(
        (&updated["run_info"]["status"], &updated["run_info"]["end_time"]),
        (&json!("FINISHED"), &json!(9))
    );
}

#[tokio::test]
async fn only_our_names_our_origin_and_known_tokens_come_in() {
    let house = House::new(Mode::Open).await;
    let status = async |host: &str, extra: &[(&str, &str)], path: &str| {
        let mut request = Request::builder().uri(path).header(header::HOST, host);
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        house.send(request.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    let path = "/api/2.0/mlflow/experiments/get?experiment_id=0";
    for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000", "192.168.0.7:80"] {
        assert_eq!(status(host, &[], path).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil.example", ""]
    {
        assert_eq!(status(host, &[], path).await, 403, "{host}");
        assert_eq!(status(host, &[], "/health").await, 200, "{host}");
        assert_eq!(status(host, &[], "/nothing").await, 403, "{host}");
    }
    for (origin, expected) in [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:5000", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1.evil.example", 403),
    ] {
        assert_eq!(status("127.0.0.1:5000", &[("origin", origin)], path).await, expected, "{origin}");
    }
    assert_eq!(status("localhost", &[("authorization", "Bearer nobody")], path).await, 401);
    assert_eq!(status("localhost", &[("authorization", "Basic YTpi")], path).await, 200);
}

#[tokio::test]
async fn only_steps_come_in_where_only_steps_are_let_in_and_only_while_they_run() {
    let mut house = House::new(Mode::StepsOnly).await;
    let (status, answer) = house.call("GET", "experiments/get?experiment_id=0", Value::Null).await;
    assert_eq!((status.as_u16(), &answer["error_code"]), (401, &json!("UNAUTHENTICATED")));
    for path in
        ["/get-artifact", "/api/2.0/mlflow-artifacts/artifacts/x", "/api/3.0/mlflow/server-info", "/nothing"]
    {
        let response = house.send(house.request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let step = house.step().await;
    house.get("experiments/get?experiment_id=0").await;
    house.state.door.steps("http://127.0.0.1:9").dismiss(step.id);
    let (status, _) = house.call("GET", "experiments/get?experiment_id=0", Value::Null).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_steps_client_ends_its_run_in_its_own_eyes_only() {
    let mut house = House::new(Mode::StepsOnly).await;
    let step = house.step().await;
    let id = step.id.hex();
    let ended = json!({ "run_id": id, "status": "FAILED", "end_time": 99 });
    let answer = house.ok("POST", "runs/update", ended).await;
    assert_eq!(
        (&answer["run_info"]["status"], &answer["run_info"]["end_time"]),
        (&json!("FAILED"), &json!(99))
    );
    let row = house.store.meta().require_run(step.id).await.unwrap();
    assert_eq!((row.state, row.ended), (RunState::Running, None));
    let child = house.run().await;
    let child = house.store.meta().require_run(child.parse().unwrap()).await.unwrap();
    assert_eq!(child.parent, Some(step.id));
    let (status, _) = house.call("POST", "runs/delete", json!({ "run_id": id })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_steps_run_follows_its_client_to_another_experiment_when_it_is_opened() {
    let mut house = House::new(Mode::StepsOnly).await;
    let step = house.step().await;
    let id = step.id.hex();
    let other = house.ok("POST", "experiments/create", json!({ "name": "other" })).await;
    let other = &other["experiment_id"];
    let seen = house.get(&format!("runs/get?run_id={id}")).await;
    assert_eq!(seen["run"]["info"]["experiment_id"], *other);
    assert_eq!(house.store.meta().require_run(step.id).await.unwrap().experiment, step.experiment);
    let answer = house.ok("POST", "runs/update", json!({ "run_id": id, "status": "RUNNING" })).await;
    assert_eq!(answer["run_info"]["experiment_id"], *other);
    let filed = house.store.meta().require_run(step.id).await.unwrap().experiment;
    assert_eq!(json!(filed.to_string()), *other);
    house.get("experiments/get-by-name?experiment_name=project").await;
    let seen = house.get(&format!("runs/get?run_id={id}")).await;
    assert_eq!(seen["run"]["info"]["experiment_id"], step.experiment.to_string());
}

#[tokio::test]
async fn artifacts_go_in_and_out_whole_in_part_and_by_folder() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let root = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts");
    let big: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
    for (path, content) in
        [("model/MLmodel", b"flavors".to_vec()), ("model/data/w.bin", big.clone()), ("a%20b.html", vec![])]
    {
        let request = house.request("PUT", &format!("{root}/{path}")).body(Body::from(content)).unwrap();
        assert_eq!(house.send(request).await.status(), StatusCode::OK);
    }
    let listed = house.get(&format!("artifacts/list?run_id={run}")).await;
    assert_eq!(listed["root_uri"], format!("mlflow-artifacts:/0/{run}/artifacts"));
    assert_eq!(
        listed["files"],
        json!([
            { "path": "a b.html", "is_dir": false, "file_size": 0 }, { "path": "model", "is_dir": true },
        ])
    );
    let listed =
        house.get(&format!("/api/2.0/mlflow-artifacts/artifacts?path=0/{run}/artifacts/model")).await;
    assert_eq!(
        listed["files"],
        json!([{ "path": "MLmodel", "is_dir": false, "file_size": 7 }, { "path": "data", "is_dir": true }])
    );
    assert_eq!(
        house.get(&format!("artifacts/list?run_id={run}&path=model/MLmodel")).await.get("files"),
        None
    );

    let get = async |path: &str, range: Option<&str>| {
        let mut request = house.request("GET", &format!("{root}/{path}"));
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        house.send(request.body(Body::empty()).unwrap()).await
    };
    let whole = get("model/data/w.bin", None).await;
    assert_eq!(whole.headers()[header::CONTENT_DISPOSITION], "attachment; filename=w.bin");
    assert_eq!(whole.headers()[header::CONTENT_LENGTH], "700000");
    assert_eq!(bytes(whole).await, big);
    let part = get("model/data/w.bin", Some("bytes=300000-599999")).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 300000-599999/700000");
    assert_eq!(bytes(part).await, big[300_000..600_000]);
    assert_eq!(get("a%20b.html", Some("bytes=0-")).await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    for missing in ["model", "nothing", "model/MLmodel/x"] {
        let response = get(missing, None).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{missing}");
        let answer: Value = serde_json::from_slice(&bytes(response).await).unwrap();
        assert_eq!(answer["error_code"], "RESOURCE_DOES_NOT_EXIST");
    }
    let upload =
        house.request("POST", &format!("/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=up/x.txt"));
    assert_eq!(house.send(upload.body(Body::from("up")).unwrap()).await.status(), StatusCode::OK);
    assert_eq!(bytes(get("up/x.txt", None).await).await, b"up");
    let request = house.request("DELETE", &format!("{root}/model")).body(Body::empty()).unwrap();
    assert_eq!(house.send(request).await.status(), StatusCode::OK);
    let response = house.send(
        house
            .request("GET", &format!("/get-artifact?run_uuid={run}&path=model/MLmodel"))
            .body(Body::empty())
            .unwrap(),
    );
    assert_eq!(response.await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_belongs_to_nobody_leaves_nothing() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let root = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts");
    let parts = [Ok("half"), Err(std::io::Error::other("gone"))];
    let broken =
        house.request("PUT", &format!("{root}/x.txt")).body(Body::from_stream(stream::iter(parts))).unwrap();
    assert_eq!(house.send(broken).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(house.get(&format!("artifacts/list?run_id={run}")).await.get("files"), None);
    assert!(house.store.objects().path(Digest::of(b"half")).is_none());
    for path in [
        format!("{root}/../../x"),
        format!("{root}/%2e%2e/x"),
        format!("{root}/a%5c..%5cx"),
        format!("{root}/%252e%252e%252fx"),
        format!("{root}//etc/passwd"),
        format!("/api/2.0/mlflow-artifacts/artifacts/0/{}/artifacts/x", "f".repeat(32)),
        format!("/api/2.0/mlflow-artifacts/artifacts/models/m-{}/artifacts/x", "f".repeat(32)),
        root.clone(),
    ] {
        let response = house.send(house.request("PUT", &path).body(Body::from("x")).unwrap()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert!(house.store.objects().path(Digest::of(b"x")).is_none());
    let shared = "/api/2.0/mlflow-artifacts/artifacts/etc/passwd";
    let before = house.send(house.request("GET", shared).body(Body::empty()).unwrap()).await;
    assert_eq!(before.status(), StatusCode::NOT_FOUND);
    house.send(house.request("PUT", shared).body(Body::from("mine")).unwrap()).await;
    let after = house.send(house.request("GET", shared).body(Body::empty()).unwrap()).await;
    assert_eq!(bytes(after).await, b"mine");
}

#[tokio::test]
async fn a_logged_model_goes_from_pending_to_ready_and_is_found_by_its_metrics() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let new = json!({ "experiment_id": "0", "name": "delay", "source_run_id": run, "tags": [{ "key": "a", "value": "b" }] });
    let made = house.ok("POST", "logged-models", new).await;
    let info = &made["model"]["info"];
    let id = info["model_id"].as_str().unwrap();
    assert_eq!(
        (&info["status"], &info["artifact_uri"]),
        (&json!("LOGGED_MODEL_PENDING"), &json!(format!("mlflow-artifacts:/0/models/{id}/artifacts")),)
    );
    let done =
        house.ok("PATCH", &format!("logged-models/{id}"), json!({ "status": "LOGGED_MODEL_READY" })).await;
    assert_eq!(done["model"]["info"]["status"], "LOGGED_MODEL_READY");
    let metric = json!({ "run_id": run, "key": "auc", "value": 0.7, "timestamp": 1, "model_id": id, "dataset_name": "may" });
    house.ok("POST", "runs/log-metric", metric).await;
    let search = async |filter: &str, dataset: &str| {
        let datasets = json!([{ "dataset_name": dataset }]);
        let body = json!({ "experiment_ids": ["0"], "filter": filter, "datasets": datasets });
        let found = house.ok("POST", "/api/3.0/mlflow/logged-models/search", body).await;
        found["models"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(search("metrics.auc > 0.6 AND tags.a = 'b'", "may").await, 1);
    assert_eq!(search("metrics.auc > 0.6", "june").await, 0);
    assert_eq!(search("metrics.auc > 0.8", "may").await, 0);
    let (status, _) = house.call("DELETE", &format!("logged-models/{id}"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = house.call("GET", &format!("logged-models/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

fn pipelines_version(run: RunId) -> ModelVersion {
    ModelVersion {
        model: "delay".into(),
        version: 0,
        file: Digest::of(b"onnx"),
        run,
        pipeline_run: run,
        task: Task::Binary,
        target: "late".into(),
        positive: None,
        threshold: Some(0.5),
        signature: Signature::default(),
        evaluation: Evaluation { metrics: vec![Metric::plain("roc_auc", 0.71)], ..Evaluation::default() },
        verdicts: vec![],
        gate_passed: true,
        gate_reason: String::new(),
        reference: None,
        trained_until: None,
        lineage: Lineage::default(),
        created: Timestamp(50),
    }
}

#[tokio::test]
async fn what_a_pipeline_registers_is_a_registered_model_for_clients_and_stays_the_pipelines() {
    let house = House::new(Mode::Open).await;
    let meta = house.store.meta();
    let run = house.run().await;
    let (digest, _) = meta.register_version(pipelines_version(run.parse().unwrap())).await.unwrap();
    let champion = rondo_core::reference::alias("delay", "champion");
    meta.move_ref(&champion, Expect::Absent, Some(digest), Because::new("ada", "first"), Timestamp(60))
        .await
        .unwrap();

    let shown = house.get("registered-models/alias?name=delay&alias=champion").await["model_version"].clone();
    assert_eq!(
        (&shown["version"], &shown["aliases"], &shown["run_id"]),
        (&json!("1"), &json!(["champion"]), &json!(run))
    );
    assert_eq!(shown["model_metrics"][0]["key"], "roc_auc");
    let uri = house.get("model-versions/get-download-uri?name=delay&version=1").await;
    assert_eq!(uri["artifact_uri"], format!("mlflow-artifacts:/0/{run}/artifacts"));
    house
        .ok(
            "POST",
            "model-versions/set-tag",
            json!({ "name": "delay", "version": "1", "key": "k", "value": "v" }),
        )
        .await;

    // A client's version of the same model stands beside it and takes nothing from it.
    let source = format!("mlflow-artifacts:/0/{run}/artifacts/model");
    let made = house
        .ok("POST", "model-versions/create", json!({ "name": "delay", "source": source, "run_id": run }))
        .await;
    assert_eq!(made["model_version"]["version"], "2");
    assert_eq!(meta.model_versions("delay").await.unwrap().len(), 1);
    assert!(meta.model_version("delay", 2).await.is_err());
    let again = meta.register_version(pipelines_version(run.parse().unwrap())).await.unwrap();
    assert_eq!((again.0, again.1.version), (digest, 1));
    let moved = json!({ "name": "delay", "alias": "champion", "version": "2" });
    let (status, answer) = house.call("POST", "registered-models/alias", moved).await;
    assert_eq!((status, &answer["error_code"]), (StatusCode::FORBIDDEN, &json!("PERMISSION_DENIED")));
    for (method, path, body) in [
        ("DELETE", "model-versions/delete", json!({ "name": "delay", "version": "1" })),
        ("DELETE", "registered-models/delete", json!({ "name": "delay" })),
        ("POST", "registered-models/rename", json!({ "name": "delay", "new_name": "late" })),
    ] {
        let (status, answer) = house.call(method, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
    }
    house
        .ok("POST", "registered-models/alias", json!({ "name": "delay", "alias": "mine", "version": "2" }))
        .await;
    assert_eq!(meta.aliased_version("delay", "mine").await.unwrap(), None);
    assert_eq!(meta.aliased_version("delay", "champion").await.unwrap().unwrap().0, digest);
    let journal = meta.journal("model/delay@mine", 10).await.unwrap();
    assert_eq!(journal[0].because.actor, "mlflow client");
    let latest = house.ok("POST", "registered-models/get-latest-versions", json!({ "name": "delay" })).await;
    assert_eq!(latest["model_versions"][0]["version"], "2");
}

#[tokio::test]
async fn a_version_is_made_from_nothing_but_what_is_here() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    house.ok("POST", "registered-models/create", json!({ "name": "m" })).await;
    for source in [
        "/etc/passwd".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("mlflow-artifacts:/0/{}/artifacts/x", "f".repeat(32)),
        format!("mlflow-artifacts:/0/{run}/artifacts/../../x"),
        format!("mlflow-artifacts:/0/{run}/artifacts/x;y/../z"),
        format!("mlflow-artifacts:/0/{run}/artifacts/x#y"),
        "models:/m".to_owned(),
        "https://evil.example/x".to_owned(),
        "s3://bucket/x".to_owned(),
    ] {
        let (status, answer) =
            house.call("POST", "model-versions/create", json!({ "name": "m", "source": source })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{source}: {answer}");
    }
    let (status, _) =
        house.call("POST", "model-versions/create", json!({ "name": "m", "source": "models:/m/1" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_chart_gets_both_ends_of_a_long_series() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let metrics: Vec<Value> =
        (0..900).map(|i| json!({ "key": "m", "value": i, "timestamp": i, "step": i })).collect();
    house.ok("POST", "runs/log-batch", json!({ "run_id": run, "metrics": metrics })).await;
    let path = format!("metrics/get-history-bulk-interval?run_ids={run}&metric_key=m&max_results=5");
    let found = house.get(&path).await;
    let steps: Vec<i64> =
        found["metrics"].as_array().unwrap().iter().map(|m| m["step"].as_i64().unwrap()).collect();
    assert_eq!((steps.len(), steps[0], steps[5]), (6, 0, 899));
    let whole = house.get(&format!("metrics/get-history?run_id={run}&metric_key=m")).await;
    assert_eq!(whole["metrics"].as_array().unwrap().len(), 900);
}

#[tokio::test]
async fn a_series_comes_in_pages_that_join_to_the_whole_and_keep_every_number() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let empty = house.get(&format!("metrics/get-history?run_id={run}&metric_key=a%22b")).await;
    assert_eq!(empty, json!({}));
    let values = json!([0.1, "NaN", "Infinity", -1e300, 3, "4.5"]);
    let metric = |(i, value): (usize, &Value)| {
        // A number as text is read as well, in the slower way.
        let step = if i == 5 { json!("5") } else { json!(i) };
        json!({ "key": "a b", "value": value, "timestamp": 10 + i, "step": step })
    };
    let metrics: Vec<Value> = values.as_array().unwrap().iter().enumerate().map(metric).collect();
    house.ok("POST", "runs/log-batch", json!({ "run_id": run, "metrics": metrics[..5] })).await;
    house.ok("POST", "runs/log-batch", json!({ "run_uuid": run, "metrics": metrics[3..] })).await;
    let path = format!("metrics/get-history?run_id={run}&metric_key=a%20b");
    let whole = house.get(&path).await["metrics"].clone();
    let shown: Vec<&Value> = whole.as_array().unwrap().iter().map(|metric| &metric["value"]).collect();
    assert_eq!(json!(shown), json!([0.1, "NaN", f64::MAX, -1e300, 3.0, 4.5]));
    let (mut joined, mut token) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("{path}&max_results=2&page_token={token}")).await;
        joined.extend(page["metrics"].as_array().unwrap().clone());
        match page["next_page_token"].as_str() {
            Some(next) => token = next.replace('=', "%3D").replace('+', "%2B"),
            None => break,
        }
    }
    assert_eq!(json!(joined), whole);
}

#[tokio::test]
async fn a_metric_says_what_it_was_measured_of_wherever_it_is_shown() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let made = house.ok("POST", "logged-models", json!({ "experiment_id": "0", "name": "m" })).await;
    let model = made["model"]["info"]["model_id"].as_str().unwrap().to_owned();
    let metric = |model: &str| {
        json!({ "run_id": run, "key": "auc", "value": 0.5, "timestamp": 1, "step": 0, "model_id": model,
                "dataset_name": "flights", "dataset_digest": "d1" })
    };
    let (status, answer) = house.call("POST", "runs/log-metric", metric("m-nothing")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    house.ok("POST", "runs/log-metric", metric(&model)).await;
    let found = house.get(&format!("runs/get?run_id={run}")).await;
    let history = house.get(&format!("metrics/get-history?run_id={run}&metric_key=auc")).await;
    let of_model = house.get(&format!("logged-models/{model}")).await;
    let shown = [
        &found["run"]["data"]["metrics"][0],
        &history["metrics"][0],
        &of_model["model"]["data"]["metrics"][0],
    ];
    for metric in shown {
        assert_eq!(metric["model_id"], json!(model), "{metric}");
        assert_eq!((&metric["dataset_name"], &metric["dataset_digest"]), (&json!("flights"), &json!("d1")));
    }
}

mod search;

#[tokio::test]
async fn a_query_is_answered_as_the_routes_would() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    for (key, value) in [("a", json!(1.5)), ("nan", json!("NaN"))] {
        house
            .ok(
                "POST",
                "runs/log-metric",
                json!({ "run_id": run, "key": key, "value": value, "timestamp": 7 }),
            )
            .await;
    }
    house.ok("POST", "registered-models/create", json!({ "name": "m" })).await;
    let version = json!({ "name": "m", "source": format!("runs:/{run}/x"), "run_id": run });
    house.ok("POST", "model-versions/create", version).await;
    let ask = async |query: &str| house.ok("POST", "/graphql", json!({ "query": query })).await;
    let found = ask(&format!(
        "query q {{ mlflowGetRun(input: {{runId: \"{run}\"}}) {{ run {{ info {{ status }} experiment {{ name }} \
         modelVersions {{ name }} data {{ metrics {{ key value timestamp }} params {{ key }} }} }} }} }}"
    ))
    .await;
    assert_eq!(
        found,
        json!({ "errors": null, "data": { "mlflowGetRun": { "run": {
        "info": { "status": "RUNNING" }, "experiment": { "name": "Default" }, "modelVersions": [{ "name": "m" }],
        "data": { "params": [], "metrics": [
            { "key": "a", "value": 1.5, "timestamp": "7" }, { "key": "nan", "value": null, "timestamp": "7" },
        ] },
    } } } })
    );
    let found =
        ask("mutation { x: mlflowSearchRuns(input: {experimentIds: [\"0\"]}) { runs { info { runId } } } }")
            .await;
    assert_eq!(found["data"]["x"]["runs"], json!([{ "info": { "runId": run } }]));
    let found =
        ask("{ mlflowGetExperiment(input: {experimentId: \"77\"}) { experiment { name } } nothing }").await;
    assert_eq!(found["data"], json!({ "mlflowGetExperiment": null, "nothing": null }));
    assert_eq!(found["errors"][0], "No Experiment with id=77 exists");
    assert!(ask("{ ...all }").await["errors"][0].as_str().unwrap().starts_with("Syntax Error"));
}
