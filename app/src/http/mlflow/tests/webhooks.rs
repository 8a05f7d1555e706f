//! What the wire promises of webhooks. What is sent, and to where, is tested where it is done.

use super::*;

fn asked(url: &str) -> Value {
    json!({
        "name": "hook", "url": url, "secret": "hush",
        "events": [{ "entity": "MODEL_VERSION", "action": "CREATED" }],
    })
}

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_deleted_and_its_secret_never_comes_back() {
    let house = House::new(Mode::Open).await;
    let made = house.ok("POST", "webhooks", asked("https://203.0.114.1/x")).await["webhook"].clone();
    let id = made["webhook_id"].as_str().unwrap().to_owned();
    insta::assert_json_snapshot!(made, { ".webhook_id" => "[id]" });
    assert_eq!(house.get(&format!("webhooks/{id}")).await["webhook"], made);
    let path = format!("/ajax-api/2.0/mlflow/webhooks/{id}");
    let events = json!([
        { "entity": "PROMPT_ALIAS", "action": "DELETED" }, { "entity": "MODEL_VERSION", "action": "CREATED" },
    ]);
    let change = json!({ "description": "why", "events": events, "status": "DISABLED", "secret": "other" });
    let changed = house.ok("PATCH", &format!("webhooks/{id}"), change).await["webhook"].clone();
    assert_eq!((&changed["events"], &changed["status"]), (&events, &json!("DISABLED")));
    assert_eq!(changed["name"], "hook");
    assert!(changed["last_updated_timestamp"].as_i64() > made["last_updated_timestamp"].as_i64());
    assert!(!house.get("webhooks").await.to_string().contains("secret"));
    assert!(!house.store.meta().webhook(&id).await.unwrap().secret.unwrap().contains("other"));
    let gone = house.send(house.request("DELETE", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status(), StatusCode::OK);
    for (method, path) in
        [("GET", id.clone()), ("PATCH", id.clone()), ("DELETE", id.clone()), ("POST", format!("{id}/test"))]
    {
        let (status, answer) = house.call(method, &format!("webhooks/{path}"), json!({})).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::NOT_FOUND, &json!("RESOURCE_DOES_NOT_EXIST"))
        );
        assert_eq!(answer["message"], format!("Webhook with ID {id} not found."));
    }
}

#[tokio::test]
async fn a_list_goes_page_by_page() {
    let house = House::new(Mode::Open).await;
    for _ in 0..5 {
        house.ok("POST", "webhooks", asked("https://203.0.114.1/x")).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut path = "webhooks?max_results=2".to_owned();
    loop {
        let page = house.get(&path).await;
        for webhook in page["webhooks"].as_array().unwrap() {
            assert!(seen.insert(webhook["webhook_id"].as_str().unwrap().to_owned()));
        }
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("webhooks?max_results=2&page_token={}", token.replace('=', "%3D").replace('+', "%2B"));
    }
    assert_eq!(seen.len(), 5);
    for odd in ["webhooks?max_results=1001", "webhooks?max_results=-1", "webhooks?page_token=x"] {
        assert_eq!(house.call("GET", odd, Value::Null).await.0, StatusCode::BAD_REQUEST, "{odd}");
    }
}

#[tokio::test]
async fn a_webhook_is_no_way_into_the_servers_own_network() {
    let house = House::new(Mode::Open).await;
    for (url, message) in [
        ("   ", "Webhook URL cannot be empty or just whitespace"),
        ("ftp://example.com", "Invalid webhook URL scheme: 'ftp'"),
        ("http://example.com", "Invalid webhook URL scheme: 'http'"),
        ("http://[invalid", "Invalid webhook URL"),
        ("https://127.0.0.1:5000/", "must not resolve to a non-public IP address"),
        ("https://localhost/", "must not resolve to a non-public IP address"),
        ("https://169.254.169.254/latest/meta-data/", "must not resolve to a non-public IP address"),
        ("https://[::ffff:10.0.0.1]/", "must not resolve to a non-public IP address"),
    ] {
        let (status, answer) = house.call("POST", "webhooks", asked(url)).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::BAD_REQUEST, &json!("INVALID_PARAMETER_VALUE"))
        );
        assert!(answer["message"].as_str().unwrap().contains(message), "{url}: {answer}");
    }
    assert_eq!(house.get("webhooks").await, json!({}));
}

#[tokio::test]
async fn bad_arguments_are_the_clients_fault() {
    let mut house = House::new(Mode::Open).await;
    let good = asked("https://203.0.114.1/x");
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("no spaces")),
        ("name", json!(7)),
        ("events", json!([])),
        ("events", json!([{ "entity": "MODEL_VERSION", "action": "SET" }])),
        ("events", json!([{ "entity": "NOTHING", "action": "CREATED" }])),
        ("events", json!("x")),
        ("status", json!("ASLEEP")),
        ("url", json!(null)),
    ] {
        let mut asked = good.clone();
        asked[field] = value.clone();
        let (status, answer) = house.call("POST", "webhooks", asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field} {value}: {answer}");
    }
    house.ok("POST", "webhooks", good.clone()).await;
    // A step's code gets its token for its run alone.
    house.step().await;
    for (method, path) in [("GET", "webhooks"), ("POST", "webhooks")] {
        assert_eq!(house.call(method, path, good.clone()).await.0, StatusCode::FORBIDDEN);
    }
}
