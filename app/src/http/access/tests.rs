//! The whole table of routes, walked: nobody, somebody without permissions, a viewer, an administrator; and
//! what users may, request by request.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_core::access::{Permission, Role, Scope};
use rondo_core::journal::Because;
use rondo_core::{Span, Timestamp};
use rondo_store::meta::access::Subject;
use rondo_tracking::Tracking;
use rondo_tracking::runs::NewRun;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::http::mlflow::{self, MlflowState};
use crate::http::{experiments, models, of_tracking, runs};

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

/// A server with users, and one of everything that is nobody's but root's.
struct House {
    _folder: tempfile::TempDir,
    store: Store,
    router: Router,
    experiment: String,
    run: String,
    model: String,
    assessment: String,
}

/// A trace of the secret experiment, as OpenTelemetry has its id.
const TRACE: &str = "0123456789abcdef0123456789abcdef";

const PASSWORD: &str = "correct horse";

fn why() -> Because {
    Because::new("root", "test")
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let (meta, at) = (store.meta(), Timestamp(1));
        meta.ensure_default_experiment(at).await.unwrap();
        meta.set_default_permission(Permission::None, why(), at).await.unwrap();
        let hash = keeper::hashed("root", PASSWORD.to_owned()).await.unwrap();
        meta.create_account("root", Some(hash), Role::Admin, why(), at).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(Wall);
        let tracking = Tracking::new(store.clone(), clock.clone());
        let experiment =
            tracking.create_experiment("secret", None, BTreeMap::new()).await.unwrap().to_string();
        let new = NewRun { experiment: experiment.clone(), name: Some("secret".into()), ..NewRun::default() };
        let run = tracking.create_run(new).await.unwrap().row.id.hex();
        let new = rondo_tracking::logged_models::NewModel {
            experiment: experiment.clone(),
            name: Some("secret".into()),
            run: Some(run.clone()),
            ..Default::default()
        };
        let model = tracking.create_logged_model(new).await.unwrap().row.id;
        let trace = format!("tr-{TRACE}");
        let new = rondo_tracking::traces::NewTrace {
            id: trace.clone(),
            experiment: experiment.clone(),
            request_preview: Some("secret".into()),
            ..Default::default()
        };
        tracking.start_trace(new, Vec::new()).await.unwrap();
        let said = rondo_tracking::assessments::NewAssessment {
            name: "secret".into(),
            kind: "feedback".into(),
            ..Default::default()
        };
        let assessment = tracking.assess(&trace, said).await.unwrap().id;
        meta.create_model("secret", "", Vec::new(), at).await.unwrap();
        let said = rondo_store::meta::registered::ClientVersion {
            source: format!("models:/{model}"),
            location: None,
            run: Some(run.clone()),
            model_id: Some(model.clone()),
            run_link: None,
            user: None,
        };
        meta.create_client_version("secret", said, "", Vec::new(), at).await.unwrap();
        for owner in [&run, &model, &trace] {
            let stored = store.objects().put_bytes(b"secret").unwrap();
            meta.put_artifact(owner, "secret.txt", stored.digest, stored.size, at).await.unwrap();
        }
        let door = Door::new(&store, clock.clone(), Admission::new(Mode::Users));
        let state = MlflowState::new(store.clone(), clock, door.clone());
        let router = routes::closed(of_tracking(state), &door);
        Self { _folder: folder, store, router, experiment, run, model, assessment }
    }

    /// The header of a new user with a token.
    async fn user(&self, name: &str, role: Role, scope: Scope) -> String {
        let id = self.store.meta().create_account(name, None, role, why(), Timestamp(2)).await.unwrap();
        self.token(id, scope, None, None).await
    }

    async fn token(&self, id: i64, scope: Scope, only: Option<Subject>, ends: Option<Timestamp>) -> String {
        let (text, mut token) = keeper::new_token(id, "", scope, only, Wall.now());
        token.expires = ends;
        self.store.meta().create_token(token, why()).await.unwrap();
        format!("Bearer {text}")
    }

    async fn give(&self, name: &str, subject: Subject, permission: Permission) {
        let given = self.store.meta().set_permission(name, subject, Some(permission), why(), Timestamp(3));
        given.await.unwrap();
        // A server sees what another process changed within a second: here at once.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        who: Option<&str>,
        body: &Value,
    ) -> (StatusCode, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:5000")
            .header("x-mlflow-experiment-id", &self.experiment)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(who) = who {
            request = request.header(header::AUTHORIZATION, who);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let route = path.split('?').next().unwrap_or(path);
        let streams = ["/events", "/log", "/outputs"].iter().any(|end| route.ends_with(end));
        if status == StatusCode::OK && streams {
            // It goes on for as long as the run does.
            return (status, String::new());
        }
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn call(&self, method: Method, path: &str, who: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, text) = self.send(&method, &path, Some(who), &body).await;
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Every route with its rules, and a request to it that names the secret things.
    fn walk(&self) -> Vec<(Method, Rule, String, Value)> {
        let mut all = Vec::new();
        let tables = [experiments::routes(), models::routes(), runs::routes()];
        let tables =
            tables.iter().flat_map(Routes::table).map(|(path, rules)| (path.to_owned(), rules.to_vec()));
        let wire = mlflow::routes();
        let wire = wire.table().map(|(path, rules)| (path.to_owned(), rules.to_vec()));
        for (path, rules) in tables.chain(wire) {
            for (method, rule) in rules {
                let (path, body) = self.request(&path);
                all.push((method, rule, path, body));
            }
        }
        // What takes things away comes last.
        all.sort_by_key(|(method, rule, ..)| {
            (*method == Method::DELETE, rule.right(), method != Method::GET)
        });
        all
    }

    /// What a route is asked with: all that any of them looks at.
    fn request(&self, path: &str) -> (String, Value) {
        let Self { experiment, run, model, assessment, .. } = self;
        let (id, api) =
            (if path.contains("experiments") { experiment } else { run }, path.contains("/api/v1/"));
        let (below, trace) = (format!("{experiment}/{run}/artifacts"), format!("tr-{TRACE}"));
        let filled = path
            .replace("{model_id}", model)
            .replace("{id}", id)
            .replace("{trace_id}", &trace)
            .replace("{assessment_id}", assessment)
            .replace("{name}", "secret")
            .replace("{version}", "1")
            .replace("{token}", "guessed")
            .replace("{key}", "k")
            .replace("{*path}", &format!("{below}/secret.txt"));
        assert!(!filled.contains('{'), "the walk does not know what {path} names");
        if api {
            let query = match path {
                "/api/v1/runs" => format!("experiment={experiment}"),
                "/api/v1/runs/compare" => format!("run={run}"),
                "/api/v1/runs/{id}/series" => "metric=m".to_owned(),
                "/api/v1/experiments/{id}/columns" => "kind=metric".to_owned(),
                _ => String::new(),
            };
            return (format!("{filled}?{query}"), Value::Null);
        }
        let at = if path.ends_with("mlflow-artifacts/artifacts") { &below } else { "secret.txt" };
        // One of the two is what a permission is on.
        let on = if path.contains("registered-models/permissions") { "" } else { "experiment_id" };
        let query = format!(
            "run_id={run}&run_uuid={run}&run_ids={run}&{on}={experiment}&experiment_ids={experiment}\
             &experiment_name=secret&name=secret&version=1&alias=a&key=k&value=1&metric_key=m&path={at}\
             &artifact_file_path=secret.txt&username=root&trace_id={trace}&trace_ids={trace}&request_id={trace}"
        );
        let mut body = json!({
            "run_id": run, "run_ids": [run], "experiment_ids": [experiment], "experiment_name": "secret",
            "name": "secret", "new_name": "secret2", "version": "1", "alias": "a", "stage": "Staging",
            "key": "k", "value": "1", "timestamp": 1, "status": "LOGGED_MODEL_READY", "description": "d",
            "source": format!("mlflow-artifacts:/{below}"), "model_id": model, "model_json": "{}",
            "username": "root", "password": PASSWORD, "permission": "READ", "is_admin": true,
            "path": "secret.txt", "upload_id": "none", "trace_id": trace, "trace_ids": [trace],
            "request_id": trace, "request_ids": [trace], "update_mask": "rationale",
            "locations": [{ "mlflow_experiment": { "experiment_id": experiment } }],
            "assessment": { "assessment_name": "a", "feedback": { "value": true } },
            "prompt_versions": [{ "name": "p", "version": "1" }],
            "trace": { "trace_info": {
                "trace_id": trace, "trace_location": { "mlflow_experiment": { "experiment_id": experiment } },
            } },
            "resourceSpans": [{ "scopeSpans": [{ "spans": [span()] }] }],
        });
        let more = json!({
            // Traces here, and the living of experiments there.
            "view_type": 1,
            "metric_name": "trace_count",
            "aggregations": [{ "aggregation_type": "COUNT" }],
            "dimensions": ["trace_name"],
            "filter_string1": "status = 'OK'",
            "filter_string2": "name = 'ask'",
            "query": format!(
                "query {{ mlflowGetRun(input: {{runId: \"{run}\"}}) {{ run {{ info {{ runId }} }} }} \
                 mlflowGetExperiment(input: {{experimentId: \"{experiment}\"}}) {{ experiment {{ name }} }} \
                 mlflowListArtifacts(input: {{runId: \"{run}\"}}) {{ files {{ path }} }} \
                 mlflowSearchRuns(input: {{experimentIds: [\"{experiment}\"]}}) {{ runs {{ info {{ runId }} }} }} \
                 mlflowSearchModelVersions(input: {{}}) {{ modelVersions {{ name }} }} }}"
            ),
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if !on.is_empty() {
            body["experiment_id"] = json!(experiment);
        }
        (format!("{filled}?{query}"), body)
    }
}

/// A span of the secret trace.
fn span() -> Value {
    json!({ "traceId": TRACE, "spanId": "0123456789abcdef", "name": "s", "startTimeUnixNano": "1" })
}

#[tokio::test]
async fn without_credentials_every_route_but_health_and_version_is_closed() {
    let house = House::new().await;
    let mut public = Vec::new();
    for (method, rule, path, body) in house.walk() {
        let (status, _) = house.send(&method, &path, None, &body).await;
        let wrong = house.send(&method, &path, Some("Bearer rondo-token-of-nobody"), &body).await.0;
        if rule == Rule::Public {
            assert_eq!(status, StatusCode::OK, "{method} {path}");
            public.push(path.split('?').next().unwrap_or_default().to_owned());
        } else if rule == Rule::Signed {
            assert_eq!((status, wrong), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN), "{method} {path}");
        } else {
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert!(matches!(wrong.as_u16(), 401 | 429), "{method} {path}: {wrong}");
        }
    }
    assert_eq!(public, ["/health", "/version"]);
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::POST, "/api/2.0/mlflow/nothing"),
        (Method::PUT, "/api/2.0/mlflow/runs/get"),
        (Method::POST, "/v1/traces"),
        (Method::POST, "/graphql"),
        (Method::GET, "/ajax-api/3.0/jobs/"),
    ] {
        let (status, _) = house.send(&method, path, None, &Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn without_permissions_nothing_of_others_is_seen_or_touched_by_any_route() {
    let house = House::new().await;
    let eve = house.user("eve", Role::Member, Scope::Admin).await;
    for (method, rule, path, body) in house.walk() {
        let (status, text) = house.send(&method, &path, Some(&eve), &body).await;
        let own = |of: &str| path.contains(of);
        match rule {
            Rule::Public => assert_eq!(status, StatusCode::OK, "{method} {path}"),
            Rule::Known if own("artifacts/presigned-") => {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path}: {text}");
            }
            Rule::Known if own("server-info") => assert_eq!(status, StatusCode::OK, "{method} {path}"),
            // A member makes things of its own; these are there already.
            Rule::Make(_) => assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path}: {text}"),
            Rule::Listed(_) => {
                assert_eq!(status, StatusCode::OK, "{method} {path}: {text}");
                let tells = ["secret", &house.run, &house.model].iter().any(|word| text.contains(*word));
                assert!(!tells, "{method} {path} tells {text}");
            }
            _ => assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {text}"),
        }
    }
    let lines = house.store.meta().journal("denied/forbidden", 10).await.unwrap();
    assert_eq!(lines.len(), 1, "a flood is one line: {lines:?}");
    assert_eq!(lines[0].because.actor, "eve");
}

#[tokio::test]
async fn a_metrics_history_does_not_tell_which_runs_there_are() {
    let house = House::new().await;
    let asked = async |who: &str, run: &str| {
        let path = format!("metrics/get-history?run_id={run}&metric_key=m");
        house.call(Method::GET, &path, who, Value::Null).await
    };
    let none = "0123456789abcdef0123456789abcdef".to_owned();
    let eve = house.user("eve", Role::Member, Scope::Admin).await;
    let vera = house.user("vera", Role::Viewer, Scope::Admin).await;
    assert_eq!(asked(&eve, &none).await, asked(&eve, &house.run).await);
    assert_eq!(asked(&eve, &none).await.0, 403);
    assert_eq!(asked(&vera, &none).await, (200, json!({})));
    let secret = Subject::Experiment(house.experiment.parse().unwrap());
    house.give("vera", secret, Permission::None).await;
    assert_eq!(asked(&vera, &none).await, asked(&vera, &house.run).await);
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let house = House::new().await;
    let viewer = house.user("vera", Role::Viewer, Scope::Admin).await;
    let before = house.store.meta().journal("", 1000).await.unwrap().len();
    for (method, rule, path, body) in house.walk() {
        let (status, text) = house.send(&method, &path, Some(&viewer), &body).await;
        match rule {
            Rule::Public | Rule::Signed | Rule::Known => {}
            Rule::Listed(_) | Rule::Read(_) => assert!(
                status.is_success() || matches!(status.as_u16(), 400 | 404),
                "{method} {path}: {status} {text}"
            ),
            Rule::Make(_) | Rule::Edit(_) | Rule::Delete(_) | Rule::Manage(_) | Rule::Admin => {
                assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {text}");
            }
        }
    }
    let after = house.store.meta().journal("", 1000).await.unwrap();
    let denials = after.iter().filter(|line| line.name.starts_with("denied/")).count();
    assert_eq!(after.len() - denials, before, "only refusals were written down");
}

#[tokio::test]
async fn every_handler_asks_its_caller_before_it_answers() {
    let house = House::new().await;
    let root = format!("Basic {}", STANDARD.encode(format!("root:{PASSWORD}")));
    for (method, rule, path, body) in house.walk() {
        if rule == Rule::Signed {
            // It asks nobody: its right is in its address, and this one is guessed.
            continue;
        }
        let (status, text) = house.send(&method, &path, Some(&root), &body).await;
        assert!(!matches!(status.as_u16(), 401 | 403 | 500..), "{method} {path}: {status} {text}");
    }
}

#[tokio::test]
async fn who_makes_something_manages_it_and_may_let_others_in() {
    let house = House::new().await;
    let ada = house.user("ada", Role::Member, Scope::Admin).await;
    let bob = house.user("bob", Role::Member, Scope::Admin).await;
    let (status, made) =
        house.call(Method::POST, "experiments/create", &ada, json!({ "name": "mine" })).await;
    assert_eq!(status, 200, "{made}");
    let id = made["experiment_id"].as_str().unwrap().to_owned();
    let path = format!("experiments/get?experiment_id={id}");
    assert_eq!(house.call(Method::GET, &path, &ada, Value::Null).await.0, 200);
    assert_eq!(house.call(Method::GET, &path, &bob, Value::Null).await.0, 403);
    let give = json!({ "experiment_id": id, "username": "bob", "permission": "READ" });
    assert_eq!(house.call(Method::POST, "experiments/permissions/create", &bob, give.clone()).await.0, 403);
    assert_eq!(house.call(Method::POST, "experiments/permissions/create", &ada, give).await.0, 200);
    assert_eq!(house.call(Method::GET, &path, &bob, Value::Null).await.0, 200);
    let create = json!({ "experiment_id": id });
    assert_eq!(house.call(Method::POST, "runs/create", &bob, create.clone()).await.0, 403);
    let more = json!({ "experiment_id": id, "username": "bob", "permission": "EDIT" });
    assert_eq!(house.call(Method::PATCH, "experiments/permissions/update", &ada, more).await.0, 200);
    let (status, run) = house.call(Method::POST, "runs/create", &bob, create).await;
    assert_eq!(status, 200);
    // Whoever may edit deletes nothing.
    let run = json!({ "run_id": run["run"]["info"]["run_id"] });
    assert_eq!(house.call(Method::POST, "runs/delete", &bob, run.clone()).await.0, 403);
    assert_eq!(house.call(Method::POST, "runs/delete", &ada, run).await.0, 200);
    let search = json!({ "max_results": 100 });
    let names = async |who: &str| {
        let (_, found) = house.call(Method::POST, "experiments/search", who, search.clone()).await;
        let names = found["experiments"].as_array().cloned().unwrap_or_default();
        names.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ada).await, ["mine"]);
    assert_eq!(names(&bob).await, ["mine"]);
    // A version must not carry off what its maker may not see.
    let (status, _) =
        house.call(Method::POST, "registered-models/create", &bob, json!({ "name": "b" })).await;
    assert_eq!(status, 200);
    for source in [
        format!("mlflow-artifacts:/{}/{}/artifacts", house.experiment, house.run),
        format!("runs:/{}/model", house.run),
        format!("http://127.0.0.1:5000/api/2.0/mlflow-artifacts/artifacts/0/{}/artifacts", house.run),
        format!("models:/{}", house.model),
        "models:/secret/1".to_owned(),
    ] {
        let version = json!({ "name": "b", "source": source });
        let (status, answer) = house.call(Method::POST, "model-versions/create", &bob, version).await;
        assert_eq!(status, 403, "{source}: {answer}");
    }
    let lines = house.store.meta().journal("registry/", 10).await.unwrap();
    assert!(lines.iter().all(|line| line.because.actor == "bob") && !lines.is_empty(), "{lines:?}");
    // What was given goes with the name.
    let rename = json!({ "name": "b", "new_name": "c" });
    assert_eq!(house.call(Method::POST, "registered-models/rename", &bob, rename).await.0, 200);
    assert_eq!(house.call(Method::GET, "registered-models/get?name=c", &bob, Value::Null).await.0, 200);
    assert_eq!(house.call(Method::GET, "registered-models/get?name=c", &ada, Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_token_opens_no_more_than_its_scope_its_subject_and_its_time() {
    let house = House::new().await;
    let meta = house.store.meta();
    let root = meta.access_book().await.unwrap().account("root").unwrap().id;
    let experiment = Subject::Experiment(house.experiment.parse().unwrap());
    let read = house.token(root, Scope::Read, None, None).await;
    let write = house.token(root, Scope::Write, None, None).await;
    let only = house.token(root, Scope::Admin, Some(experiment), None).await;
    let ended = house.token(root, Scope::Admin, None, Some(Wall.now())).await;
    let open = house.token(root, Scope::Admin, None, Some(Wall.now() + Span::days(1))).await;
    let mine = format!("experiments/get?experiment_id={}", house.experiment);
    let tag = json!({ "experiment_id": house.experiment, "key": "k", "value": "v" });
    let new = |name: &str| json!({ "username": name, "password": "a long password" });
    for (who, get, other, set, user) in [
        (&read, 200, 200, 403, 403),
        (&write, 200, 200, 200, 403),
        (&only, 200, 403, 200, 403),
        (&open, 200, 200, 200, 200),
        (&ended, 401, 401, 401, 401),
    ] {
        let got = house.call(Method::GET, &mine, who, Value::Null).await.0;
        let others = house.call(Method::GET, "experiments/get?experiment_id=0", who, Value::Null).await.0;
        let tagged = house.call(Method::POST, "experiments/set-experiment-tag", who, tag.clone()).await.0;
        let made = house.call(Method::POST, "users/create", who, new("new")).await.0;
        assert_eq!((got, others, tagged, made), (get, other, set, user));
    }
    // As a password it goes with its user's name.
    let text = read.strip_prefix("Bearer ").unwrap();
    for (name, status) in [("root", 200), ("token", 200), ("eve", 401)] {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{text}")));
        assert_eq!(house.call(Method::GET, &mine, &basic, Value::Null).await.0, status, "{name}");
    }
}

#[tokio::test]
async fn changes_hold_at_once_here_and_within_a_second_from_beside() {
    let house = House::new().await;
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("root:{password}")));
    let get = "experiments/get?experiment_id=0";
    assert_eq!(house.call(Method::GET, get, &basic(PASSWORD), Value::Null).await.0, 200);
    let change = json!({ "username": "root", "password": "another password" });
    let (status, _) = house.call(Method::PATCH, "users/update-password", &basic(PASSWORD), change).await;
    assert_eq!(status, 200);
    assert_eq!(house.call(Method::GET, get, &basic(PASSWORD), Value::Null).await.0, 401);
    assert_eq!(house.call(Method::GET, get, &basic("another password"), Value::Null).await.0, 200);
    let vera = house.user("vera", Role::Viewer, Scope::Read).await;
    house.give("vera", Subject::Experiment(0), Permission::None).await;
    assert_eq!(house.call(Method::GET, get, &vera, Value::Null).await.0, 403, "given beside the server");
    let weak = json!({ "username": "x", "password": "short" });
    let (status, answer) = house.call(Method::POST, "users/create", &basic("another password"), weak).await;
    assert_eq!((status, &answer["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")));
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down() {
    let house = House::new().await;
    let wrong = format!("Basic {}", STANDARD.encode("root:wrong password"));
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses
            .push(house.call(Method::GET, "experiments/get?experiment_id=0", &wrong, Value::Null).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    let lines = house.store.meta().journal("denied/", 10).await.unwrap();
    let classes: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    assert!(classes.contains(&"denied/password"), "{classes:?}");
}

#[tokio::test]
async fn a_signed_address_opens_what_is_in_it_to_anyone_and_nothing_else() {
    let house = House::new().await;
    let root = format!("Basic {}", STANDARD.encode(format!("root:{PASSWORD}")));
    let below = format!("{}/{}/artifacts", house.experiment, house.run);
    let ask = format!("/api/2.0/mlflow-artifacts/presigned/{below}/secret.txt");
    let (status, text) = house.send(&Method::GET, &ask, Some(&root), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let url = answer["url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:5000").unwrap().to_owned();
    // Whoever holds it, also with a token that is nobody's.
    for who in [None, Some("Bearer rondo-token-of-nobody")] {
        let (status, text) = house.send(&Method::GET, &path, who, &Value::Null).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "secret"));
    }
    let request = Request::get(&path).header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    let status = house.router.clone().oneshot(request).await.unwrap().status();
    assert_eq!(status, StatusCode::FORBIDDEN, "another site's name");
}

#[tokio::test]
async fn a_trace_is_taken_neither_by_its_spans_nor_by_its_client_from_where_it_is_filed() {
    let house = House::new().await;
    let bob = house.user("bob", Role::Member, Scope::Admin).await;
    let (_, made) = house.call(Method::POST, "experiments/create", &bob, json!({ "name": "mine" })).await;
    let mine = made["experiment_id"].as_str().unwrap().to_owned();
    let export = async |id: &str| {
        let mut span = span();
        span["traceId"] = json!(id);
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
        let request = Request::post("/v1/traces")
            .header(header::HOST, "127.0.0.1:5000")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, &bob)
            .header("x-mlflow-experiment-id", &mine)
            .body(Body::from(body.to_string()))
            .unwrap();
        house.router.clone().oneshot(request).await.unwrap().status()
    };
    let own = "fedcba9876543210fedcba9876543210";
    assert_eq!(export(own).await, StatusCode::OK);
    assert_eq!(export(TRACE).await, StatusCode::FORBIDDEN, "the header names his own experiment");
    let spans = house.store.meta().spans(&[format!("tr-{TRACE}")]).await.unwrap();
    assert!(spans.is_empty(), "{spans:?}");
    let location = json!({ "mlflow_experiment": { "experiment_id": mine } });
    for (id, run, expected) in [
        (TRACE, "", StatusCode::FORBIDDEN),
        (own, &house.run, StatusCode::FORBIDDEN),
        (own, "", StatusCode::OK),
    ] {
        let metadata = if run.is_empty() { json!({}) } else { json!({ "mlflow.sourceRun": run }) };
        let info = json!({
            "trace_id": format!("tr-{id}"), "trace_location": location, "trace_metadata": metadata,
        });
        let body = json!({ "trace": { "trace_info": info } });
        let (status, text) = house.send(&Method::POST, "/api/3.0/mlflow/traces", Some(&bob), &body).await;
        assert_eq!(status, expected, "{id} {run}: {text}");
    }
    let filed = house.store.meta().trace(&format!("tr-{TRACE}")).await.unwrap().unwrap();
    assert_eq!(filed.experiment.to_string(), house.experiment);
    let both = json!({ "locations": [
        { "mlflow_experiment": { "experiment_id": mine } },
        { "mlflow_experiment": { "experiment_id": house.experiment } },
    ] });
    let (_, text) = house.send(&Method::POST, "/api/3.0/mlflow/traces/search", Some(&bob), &both).await;
    assert!(text.contains(own) && !text.contains(TRACE), "{text}");
}

#[tokio::test]
async fn a_search_of_runs_counts_and_lists_only_what_the_caller_sees() {
    let house = House::new().await;
    let eve = house.user("eve", Role::Member, Scope::Admin).await;
    let vera = house.user("vera", Role::Viewer, Scope::Admin).await;
    for (who, count) in [(&eve, 0), (&vera, 1)] {
        let mut ask = json!({ "experiment_ids": [house.experiment], "count_only": true });
        let (status, answer) = house.call(Method::POST, "runs/search", who, ask.clone()).await;
        assert_eq!((status, &answer["count"]), (200, &json!(count)));
        ask["count_only"] = json!(false);
        let (_, answer) = house.call(Method::POST, "runs/search", who, ask).await;
        assert_eq!(answer["runs"].as_array().map_or(0, Vec::len), count, "{answer}");
        let table = format!("/api/v1/runs?experiment={}", house.experiment);
        let (_, text) = house.send(&Method::GET, &table, Some(who), &Value::Null).await;
        assert_eq!(text.contains(&house.run), count > 0, "{text}");
    }
}
