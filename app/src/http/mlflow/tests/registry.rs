//! What the wire promises beyond MLflow: protected aliases, journalled stages, and that nothing which a
//! version needs is lost.

use rondo_registry::{approval, protect};

use super::*;

const CHAMPION: (&str, &str) = ("m", "champion");

impl House {
    /// A version of `m` whose files are a run's, as a client registers it; the run's id.
    async fn version(&self) -> String {
        let run = self.run().await;
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/MLmodel");
        let stored = self.send(self.request("PUT", &path).body(Body::from("signature: {}\n")).unwrap()).await;
        assert_eq!(stored.status(), StatusCode::OK);
        let source = format!("mlflow-artifacts:/0/{run}/artifacts/model");
        self.call("POST", "registered-models/create", json!({ "name": "m" })).await;
        let version = json!({ "name": "m", "source": source, "run_id": run });
        self.ok("POST", "model-versions/create", version).await;
        run
    }

    async fn alias(&self, version: &str) -> (StatusCode, Value) {
        let body = json!({ "name": "m", "alias": "champion", "version": version });
        self.call("POST", "registered-models/alias", body).await
    }
}

fn because() -> Because {
    Because::new("ada", "because")
}

#[tokio::test]
async fn a_protected_alias_is_refused_with_what_to_do_about_it() {
    let mut house = House::new(Mode::Open).await;
    house.version().await;
    assert_eq!(house.alias("1").await.0, StatusCode::OK);
    protect::protect(&house.store, CHAMPION, because(), Timestamp(9)).await.unwrap();
    house.version().await;
    let (status, answer) = house.alias("2").await;
    assert_eq!((status, &answer["error_code"]), (StatusCode::FORBIDDEN, &json!("PERMISSION_DENIED")));
    insta::assert_snapshot!(answer["message"].as_str().unwrap(), @"Alias `champion` of model `m` stays where it is: it is protected by ada, and version 2 has no gate's verdict and was not approved. Hint: rondo models approve m/2 --why \"…\"");
    let gone = json!({ "name": "m", "alias": "champion" });
    assert_eq!(house.call("DELETE", "registered-models/alias", gone).await.0, StatusCode::FORBIDDEN);
    let version = json!({ "name": "m", "version": "1" });
    assert_eq!(house.call("DELETE", "model-versions/delete", version).await.0, StatusCode::CONFLICT);
    assert_eq!(
        house.call("DELETE", "registered-models/delete", json!({ "name": "m" })).await.0,
        StatusCode::CONFLICT
    );
    approval::approve(&house.store, ("m", 2), "ada", "fine", false, Timestamp(9)).await.unwrap();
    assert_eq!(house.alias("2").await.0, StatusCode::OK);
    // What is judged must not judge itself.
    house.step().await;
    let (status, answer) = house.alias("1").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(answer["message"].as_str().unwrap().contains("the code of a step may not move it"));
}

#[tokio::test]
async fn an_alias_goes_with_its_version_where_nothing_protects_it() {
    let house = House::new(Mode::Open).await;
    house.version().await;
    assert_eq!(house.alias("1").await.0, StatusCode::OK);
    house.ok("DELETE", "model-versions/delete", json!({ "name": "m", "version": "1" })).await;
    assert!(house.store.meta().model_aliases("m").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stage_is_a_line_in_the_journal() {
    let house = House::new(Mode::Open).await;
    house.version().await;
    let stage = json!({ "name": "m", "version": "1", "stage": "production" });
    let shown = house.ok("POST", "model-versions/transition-stage", stage).await;
    assert_eq!(shown["model_version"]["current_stage"], "Production");
    let lines = rondo_registry::log::log(&house.store, "m").await.unwrap();
    assert_eq!((lines[0].to.as_deref(), lines[0].actor.as_str()), (Some("Production"), "mlflow client"));
}

#[tokio::test]
async fn what_a_version_needs_stays_when_its_run_and_experiment_are_deleted() {
    let house = House::new(Mode::Open).await;
    let made = house.ok("POST", "experiments/create", json!({ "name": "e" })).await;
    let experiment = made["experiment_id"].as_str().unwrap().to_owned();
    let logged = json!({ "experiment_id": experiment, "name": "clf" });
    let logged = house.ok("POST", "logged-models", logged).await["model"]["info"].clone();
    let (id, uri) = (logged["model_id"].as_str().unwrap(), logged["artifact_uri"].as_str().unwrap());
    let path =
        format!("/api/2.0/mlflow-artifacts/artifacts/{}", uri.trim_start_matches("mlflow-artifacts:/"));
    let file = format!("{path}/MLmodel");
    let stored = house.send(house.request("PUT", &file).body(Body::from("x: 1\n")).unwrap()).await;
    assert_eq!(stored.status(), StatusCode::OK);
    house.ok("POST", "registered-models/create", json!({ "name": "m" })).await;
    let version = json!({ "name": "m", "source": format!("models:/{id}") });
    house.ok("POST", "model-versions/create", version).await;

    // What would take files away for good is refused, and says what needs them.
    let refused = house.send(house.request("DELETE", &file).body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let answer = String::from_utf8(bytes(refused).await).unwrap();
    assert!(answer.contains("is needed by m/1") && answer.contains("rondo models delete m/1"), "{answer}");

    house.ok("DELETE", &format!("logged-models/{id}"), json!({})).await;
    house.ok("POST", "experiments/delete", json!({ "experiment_id": experiment })).await;
    let found = house.get("model-versions/get-download-uri?name=m&version=1").await;
    assert_eq!(found["artifact_uri"], uri);
    let loaded = house.send(house.request("GET", &file).body(Body::empty()).unwrap()).await;
    assert_eq!(bytes(loaded).await, b"x: 1\n");
    let purge = house.store.meta().purgeable(Timestamp(i64::MAX)).await.unwrap();
    assert_eq!((purge.logged_models, purge.needed), (vec![], vec![id.to_owned()]));

    house.ok("DELETE", "model-versions/delete", json!({ "name": "m", "version": "1" })).await;
    let gone = house.send(house.request("DELETE", &file).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status(), StatusCode::OK);
}
