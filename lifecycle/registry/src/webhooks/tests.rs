//! What webhooks promise, against a receiver on this machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rondo_core::ports::{Clock, Event, Progress};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::courier::Courier;
use super::*;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis() as i64)
    }
}

struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: Event) {}
}

/// Answers each request with the next of these and keeps what it was sent.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(answers: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/hook", listener.local_addr().unwrap().port());
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = got.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                let mut part = [0; 4096];
                while !whole(&text) {
                    let read = socket.read(&mut part).await.unwrap();
                    text.push_str(&String::from_utf8_lossy(&part[..read]));
                }
                kept.lock().unwrap().push(text);
                let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, got }
    }

    async fn received(&self, count: usize) -> Vec<String> {
        for _ in 0..1000 {
            if self.got.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.got.lock().unwrap().clone()
    }
}

fn whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    header(head, "content-length").is_some_and(|length| body.len() >= length.parse().unwrap())
}

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

async fn house(allow: &[&str]) -> (tempfile::TempDir, Store, Webhooks) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let allow = Allow::new(allow.iter().map(|entry| entry.parse().unwrap()).collect());
    (folder, store.clone(), Webhooks::new(store, allow))
}

fn said(url: &str) -> Said {
    Said {
        name: Some("hook".into()),
        url: Some(url.into()),
        events: Some(vec!["registered_model.created".into()]),
        secret: Some("hush".into()),
        ..Said::default()
    }
}

#[tokio::test]
async fn a_change_is_told_with_a_signature_and_again_where_that_failed() {
    let receiver = Receiver::start(vec!["503 Busy", "200 OK"]).await;
    let (_folder, store, webhooks) = house(&["localhost"]).await;
    let made = webhooks.create(said(&receiver.url), Timestamp(1)).await.unwrap();
    assert!(!made.secret.unwrap().contains("hush"));
    let courier = Courier::start(webhooks, Arc::new(Wall), Arc::new(Quiet));
    let at = "2024-05-06T07:08:09Z".parse().unwrap();
    store.meta().create_model("m", "", vec![], at).await.unwrap();
    let got = receiver.received(2).await;
    let [first, second] = got.as_slice() else { panic!("{got:?}") };
    let (_, body) = second.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({
            "entity": "registered_model", "action": "created", "timestamp": "2024-05-06T07:08:09+00:00",
            "data": { "name": "m", "tags": {}, "description": "" },
        })
    );
    let (id, time) =
        (header(second, "x-mlflow-delivery-id").unwrap(), header(second, "x-mlflow-timestamp").unwrap());
    assert_eq!(header(first, "x-mlflow-delivery-id").unwrap(), id);
    let signed = secret::signature(b"hush", id, time, body);
    assert_eq!(header(second, "x-mlflow-signature").unwrap(), signed);
    for _ in 0..500 {
        if store.meta().waiting_deliveries().await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.meta().waiting_deliveries().await.unwrap(), 0);
    courier.stop().await;
}

#[tokio::test]
async fn what_was_not_told_before_a_restart_is_told_after_it() {
    let receiver = Receiver::start(vec!["204 No Content"]).await;
    let (folder, store, webhooks) = house(&["127.0.0.0/8", "::1"]).await;
    webhooks.create(said(&receiver.url.replace("localhost", "127.0.0.1")), Timestamp(1)).await.unwrap();
    store.meta().create_model("m", "", vec![], Timestamp(5)).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    let allow = Allow::new(vec!["127.0.0.1".parse().unwrap()]);
    let courier = Courier::start(Webhooks::new(store, allow), Arc::new(Wall), Arc::new(Quiet));
    assert_eq!(receiver.received(1).await.len(), 1);
    courier.stop().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_no_success() {
    let receiver =
        Receiver::start(vec!["302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/"]).await;
    let (_folder, _store, webhooks) = house(&["localhost"]).await;
    let made = webhooks.create(said(&receiver.url), Timestamp(1)).await.unwrap();
    let outcome = webhooks.test(&made.id, None, Timestamp(2)).await.unwrap();
    assert_eq!((outcome.status, outcome.ok()), (Some(302), false));
}

#[tokio::test]
async fn a_receiver_that_was_let_in_once_is_refused_when_it_no_longer_is() {
    let receiver = Receiver::start(vec!["200 OK"]).await;
    let (_folder, store, webhooks) = house(&["localhost"]).await;
    let made = webhooks.create(said(&receiver.url), Timestamp(1)).await.unwrap();
    // Another operator lets nobody in: neither the name nor, over https, what it leads to.
    let strict = Webhooks::new(store.clone(), Allow::default());
    let outcome = strict.test(&made.id, None, Timestamp(2)).await.unwrap();
    assert!(outcome.error.unwrap().contains("only https is taken"));
    let url = Some(receiver.url.replace("http:", "https:"));
    webhooks.update(&made.id, Said { url, ..Said::default() }, Timestamp(3)).await.unwrap();
    let outcome = strict.test(&made.id, None, Timestamp(4)).await.unwrap();
    let error = outcome.error.unwrap();
    assert!(error.contains("not a public address"), "{error}");
    assert!(receiver.got.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused() {
    let (_folder, store, webhooks) = house(&[]).await;
    for url in ["", "ftp://example.com", "https://127.0.0.1/", "https://localhost/", "https://[::1]:5000/"] {
        let refused = webhooks.create(said(url), Timestamp(1)).await;
        assert!(matches!(refused, Err(Error::WebhookUrl(_))), "{url}: {refused:?}");
    }
    let good = said("https://203.0.114.1/");
    for name in ["", "-a", "a-", "a b", "é", &"a".repeat(64)] {
        let refused = webhooks.create(Said { name: Some(name.into()), ..good.clone() }, Timestamp(1)).await;
        assert!(matches!(refused, Err(Error::WebhookName { .. })), "{name}");
    }
    for event in ["model_version.exploded", "", "x"] {
        let events = Some(vec![event.to_owned()]);
        let refused = webhooks.create(Said { events, ..good.clone() }, Timestamp(1)).await;
        assert!(matches!(refused, Err(Error::WebhookEvent { .. })), "{event}");
    }
    assert!(webhooks.create(good, Timestamp(1)).await.is_ok());
    assert_eq!(store.meta().webhooks(None, 9).await.unwrap().len(), 1);
    assert!(webhooks.update("nobody", Said::default(), Timestamp(1)).await.is_err());
}

#[test]
fn every_event_has_an_example_as_mlflow_shows_it() {
    for event in event::EVENTS {
        assert!(event::example(event).is_some(), "{event}");
    }
    insta::assert_json_snapshot!(
        event::EVENTS.map(|event| (event, event::example(event))).into_iter().collect::<Vec<_>>()
    );
}
