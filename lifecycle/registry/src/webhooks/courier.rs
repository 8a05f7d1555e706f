//! The courier: sends what is in the outbox, at least once, and again where that fails.
//!
//! Any number of processes may have one: what one has taken the others leave alone until its time is up. One
//! that is stopped gives back what it has not sent; one that is killed cannot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::redirect::Policy;
use rondo_core::error::causes;
use rondo_core::ports::{Clock, Event, Progress};
use rondo_core::{Span, Timestamp};
use rondo_store::meta::webhooks::{Delivery, Webhook};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Webhooks;
use super::secret::{Vault, signature};
use super::target::Allow;
use crate::error::Error;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what was taken is this courier's: longer than all attempts of one turn together.
const HELD: Span = Span(60_000);
/// How many are taken at once.
const TURN: u32 = 32;
/// How many are under way at once.
const ABREAST: usize = 8;
/// How often one is tried.
const ATTEMPTS: u32 = 7;
/// The pause after the first attempt that failed; it doubles with each.
const PAUSE: i64 = 1_000;
/// The longest pause.
const PAUSE_MAX: i64 = 300_000;
/// How often it is looked whether another process has announced something, or a pause is over.
const LOOK: Duration = Duration::from_millis(500);
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER: usize = 16 << 10;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer's status, where there was an answer.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub body: String,
    /// Why there was none.
    pub error: Option<String>,
    /// The time that the receiver asks for before the next attempt, in seconds.
    pub after: Option<i64>,
}

impl Outcome {
    /// Whether it was taken.
    pub fn ok(&self) -> bool {
        self.status.is_some_and(|status| status < 300)
    }

    /// Whether another attempt makes sense: not where the receiver says that it never will.
    fn retryable(&self) -> bool {
        self.status.is_none_or(|status| status >= 500 || status == 408 || status == 429)
    }

    fn failed(error: String) -> Self {
        Self { status: None, body: String::new(), error: Some(error), after: None }
    }
}

/// Sends single deliveries.
pub struct Sender {
    http: reqwest::Client,
    allow: Allow,
    vault: Vault,
}

impl Sender {
    /// A sender that reaches public receivers and those that are let in.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allow: Allow, vault: Vault) -> Result<Self, Error> {
        // Fails when the process has a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("rondo/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(allow.clone()))
            .pool_max_idle_per_host(1)
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .build()
            .map_err(Error::WebhookClient)?;
        Ok(Self { http, allow, vault })
    }

    /// Tells a webhook of an event, once.
    pub async fn send(
        &self,
        webhook: &Webhook,
        id: &str,
        event: &str,
        data: &Value,
        at: Timestamp,
        now: Timestamp,
    ) -> Outcome {
        let url = match self.allow.read(&webhook.url) {
            Ok(url) => url,
            Err(fault) => return Outcome::failed(fault.to_string()),
        };
        let (entity, action) = event.split_once('.').unwrap_or((event, ""));
        // Readers of Python 3.10 and older know no Z.
        let moment = at.rfc3339().replace('Z', "+00:00");
        let body =
            json!({ "entity": entity, "action": action, "timestamp": moment, "data": data }).to_string();
        let time = (now.millis() / 1000).to_string();
        let mut request = self
            .http
            .post(url)
            .header("Content-Type", "application/json")
            .header("X-MLflow-Delivery-Id", id)
            .header("X-MLflow-Timestamp", &time);
        if let Some(sealed) = &webhook.secret {
            match self.vault.unseal(sealed) {
                Ok(secret) => {
                    request = request.header("X-MLflow-Signature", signature(&secret, id, &time, &body));
                }
                Err(error) => return Outcome::failed(error.to_string()),
            }
        }
        match request.body(body).send().await {
            Ok(answer) => read(answer).await,
            // The URL may have a token in it: it is not repeated.
            Err(error) => {
                let error = error.without_url();
                let whole = std::iter::once(error.to_string()).chain(causes(&error));
                Outcome::failed(whole.collect::<Vec<_>>().join(": "))
            }
        }
    }
}

async fn read(mut answer: reqwest::Response) -> Outcome {
    let after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Ok(Some(part)) = answer.chunk().await {
        body.extend_from_slice(&part);
        if body.len() >= ANSWER {
            body.truncate(ANSWER);
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Outcome { status: Some(answer.status().as_u16()), body, error: None, after }
}

/// A courier in the background.
pub struct Courier {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Courier {
    /// Starts it.
    pub fn start(webhooks: Webhooks, clock: Arc<dyn Clock>, progress: Arc<dyn Progress>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(webhooks, clock, progress, stopped));
        Self { stop, task }
    }

    /// Stops it. What was under way stays in the outbox, and is due at the next start.
    pub async fn stop(self) {
        // No receiver means that it has ended.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// What a courier has taken and not settled, with the moment until which it is its own.
#[derive(Default)]
struct Bag(Mutex<BTreeMap<i64, Timestamp>>);

impl Bag {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<i64, Timestamp>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn work(
    webhooks: Webhooks,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
    stopped: watch::Receiver<bool>,
) {
    let bag = Bag::default();
    go_round(&webhooks, clock.as_ref(), progress.as_ref(), &bag, stopped).await;
    let left: Vec<_> = bag.with(std::mem::take).into_iter().collect();
    if !left.is_empty()
        && let Err(error) = webhooks.store().meta().return_deliveries(left, clock.now()).await
    {
        note(progress.as_ref(), format!("what was not sent waits for a minute: {error}"));
    }
}

async fn go_round(
    webhooks: &Webhooks,
    clock: &dyn Clock,
    progress: &dyn Progress,
    bag: &Bag,
    mut stopped: watch::Receiver<bool>,
) {
    // Made when there is something to send: most servers have no webhooks.
    let mut sender: Option<Sender> = None;
    loop {
        let turn = async {
            let due = take(webhooks, clock, bag).await?;
            if due.is_empty() {
                return Ok(());
            }
            let sender = match &mut sender {
                Some(sender) => sender,
                none => none.insert(webhooks.sender().await?),
            };
            deliver(webhooks, sender, (clock, progress), bag, due).await
        };
        let turned = tokio::select! {
            turned = turn => turned,
            _ = stopped.changed() => return,
        };
        let pause = match turned {
            Ok(()) => LOOK,
            Err(error) => {
                note(progress, format!("goes on after an error: {error}"));
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = webhooks.store().meta().announced() => {}
            _ = stopped.changed() => return,
        }
    }
}

async fn take(webhooks: &Webhooks, clock: &dyn Clock, bag: &Bag) -> Result<Vec<Delivery>, Error> {
    let now = clock.now();
    let until = now + HELD;
    let taken = webhooks.store().meta().take_deliveries(now, until, TURN).await?;
    bag.with(|bag| bag.extend(taken.iter().map(|delivery| (delivery.seq, until))));
    Ok(taken)
}

async fn deliver(
    webhooks: &Webhooks,
    sender: &Sender,
    (clock, progress): (&dyn Clock, &dyn Progress),
    bag: &Bag,
    mut due: Vec<Delivery>,
) -> Result<(), Error> {
    while !due.is_empty() {
        let mut under_way = stream::iter(due)
            .map(|delivery| async move {
                let Delivery { webhook, id, event, data, at, .. } = &delivery;
                let outcome = sender.send(webhook, id, event, data, *at, clock.now()).await;
                (delivery, outcome)
            })
            .buffer_unordered(ABREAST);
        while let Some((delivery, outcome)) = under_way.next().await {
            let again = next(&delivery, &outcome, clock.now());
            if again.is_none() && !outcome.ok() {
                let why = outcome.error.unwrap_or_else(|| match outcome.status {
                    Some(status) => format!("it answered {status}"),
                    None => "it did not answer".to_owned(),
                });
                let name = &delivery.webhook.name;
                note(progress, format!("`{name}` was not told of {}: {why}", delivery.event));
            }
            webhooks.store().meta().settle_delivery(delivery.seq, again).await?;
            bag.with(|bag| bag.remove(&delivery.seq));
        }
        due = take(webhooks, clock, bag).await?;
    }
    Ok(())
}

/// When to try again; nothing where it is done with.
fn next(delivery: &Delivery, outcome: &Outcome, now: Timestamp) -> Option<Timestamp> {
    if outcome.ok() || !outcome.retryable() || delivery.attempts + 1 >= ATTEMPTS {
        return None;
    }
    let pause = PAUSE.saturating_mul(1 << delivery.attempts.min(20)).min(PAUSE_MAX);
    let asked = outcome.after.unwrap_or(0).clamp(0, PAUSE_MAX / 1000) * 1000;
    // Jitter keeps those that failed together from coming back together.
    let jitter = rand::random_range(0..=pause / 2);
    Some(now + Span(pause.max(asked) + jitter))
}

fn note(progress: &dyn Progress, message: String) {
    progress.report(Event::Note { subject: "webhook".to_owned(), message });
}
