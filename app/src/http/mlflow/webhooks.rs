//! `webhooks`, `webhooks/{id}`, `webhooks/{id}/test`
//!
//! A secret goes in and never comes out. Webhooks are an administrator's, as their routes say; what a step's
//! code may do ends before them.

use axum::Json;
use axum::extract::State;
use rondo_registry::Error;
use rondo_registry::webhooks::courier::Outcome;
use rondo_registry::webhooks::target::UrlFault;
use rondo_registry::webhooks::{Said, event::EVENTS};
use rondo_store::meta::search::Scalar;
use rondo_store::meta::webhooks::Webhook;
use rondo_tracking::page;
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, InPath, wrong};
use super::refusal::{Answer, Refusal};

const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

#[derive(Serialize)]
struct EventShown {
    entity: String,
    action: String,
}

#[derive(Serialize)]
pub(super) struct Shown {
    webhook_id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    url: String,
    events: Vec<EventShown>,
    status: &'static str,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
}

impl From<Webhook> for Shown {
    fn from(webhook: Webhook) -> Self {
        let event = |event: &String| {
            let (entity, action) = event.split_once('.')?;
            Some(EventShown { entity: entity.to_uppercase(), action: action.to_uppercase() })
        };
        Self {
            webhook_id: webhook.id,
            name: webhook.name,
            description: webhook.description,
            url: webhook.url,
            events: webhook.events.iter().filter_map(event).collect(),
            status: if webhook.active { "ACTIVE" } else { "DISABLED" },
            creation_timestamp: webhook.created.millis(),
            last_updated_timestamp: webhook.updated.millis(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct One {
    webhook: Shown,
}

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhooks: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct Result {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "String::is_empty")]
    response_body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Tested {
    result: Result,
}

impl From<Outcome> for Tested {
    fn from(outcome: Outcome) -> Self {
        let error_message = outcome.error.as_ref().map(|error| format!("Failed to test webhook: {error}"));
        Self {
            result: Result {
                success: outcome.ok(),
                response_status: outcome.status,
                response_body: outcome.body,
                error_message,
            },
        }
    }
}

pub(super) async fn create(State(state): State<MlflowState>, args: Args) -> Answer<Json<One>> {
    args.required("name")?;
    let url = args.required("url")?;
    let mut said = said(&args)?;
    if said.events.is_none() {
        return Err(Refusal::invalid("Webhook events must be a non-empty list of WebhookEvent objects: []."));
    }
    said.url = Some(url.clone());
    let made = state.webhooks.create(said, state.tracking.now()).await;
    Ok(Json(One { webhook: made.map_err(|error| refusal(error, &url))?.into() }))
}

pub(super) async fn list(State(state): State<MlflowState>, args: Args) -> Answer<Json<Many>> {
    // A client that says nothing sends 0.
    let asked = args.int("max_results")?.filter(|asked| *asked != 0);
    let size = page::size(asked, PAGE, PAGE_MAX)?;
    let after = match page::place(&args.text("page_token")?.unwrap_or_default())?.as_deref() {
        None => None,
        Some([Scalar::Int(created), Scalar::Text(id)]) => Some((*created, id.clone())),
        Some(_) => return Err(page::foreign().into()),
    };
    let mut found = state.tracking.meta().webhooks(after, size + 1).await?;
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let last = found.last().filter(|_| more);
    let token =
        last.map(|last| page::token(&[Scalar::Int(last.created.millis()), Scalar::Text(last.id.clone())]));
    Ok(Json(Many { webhooks: found.into_iter().map(Shown::from).collect(), next_page_token: token }))
}

pub(super) async fn get(State(state): State<MlflowState>, InPath(id): InPath<String>) -> Answer<Json<One>> {
    let found = state.tracking.meta().webhook(&id).await;
    Ok(Json(One { webhook: found.map_err(|error| missing(error, &id))?.into() }))
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<One>> {
    let said = said(&args)?;
    let url = said.url.clone().unwrap_or_default();
    let updated = state.webhooks.update(&id, said, state.tracking.now()).await;
    let updated = updated.map_err(|error| match error {
        Error::Store(error) => missing(error, &id),
        other => refusal(other, &url),
    });
    Ok(Json(One { webhook: updated?.into() }))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    state.tracking.meta().delete_webhook(&id).await.map_err(|error| missing(error, &id))?;
    Ok(Json(json!({})))
}

pub(super) async fn test(
    State(state): State<MlflowState>,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Tested>> {
    let asked = args.object("event")?.map(|event| event_of(&event)).transpose()?;
    let outcome = state.webhooks.test(&id, asked.as_deref(), state.tracking.now()).await;
    let outcome = outcome.map_err(|error| match error {
        Error::Store(error) => missing(error, &id),
        other => refusal(other, ""),
    })?;
    Ok(Json(outcome.into()))
}

/// What a request says of a webhook. As for MLflow, what is empty is not said.
fn said(args: &Args) -> Answer<Said> {
    let given = |field: &str| Ok::<_, Refusal>(args.text(field)?.filter(|text| !text.is_empty()));
    let mut events = Vec::new();
    for event in args.objects("events")? {
        let event = event_of(&event)?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    let active = match given("status")?.as_deref() {
        None => None,
        Some("ACTIVE") => Some(true),
        Some("DISABLED") => Some(false),
        Some(other) => return Err(wrong("status", &Value::String(other.to_owned()))),
    };
    Ok(Said {
        name: given("name")?,
        url: given("url")?,
        events: Some(events).filter(|events| !events.is_empty()),
        description: given("description")?,
        secret: given("secret")?,
        active,
    })
}

/// The name of an event that is given as entity and action.
fn event_of(event: &Args) -> Answer<String> {
    let (entity, action) =
        (event.required("entity")?.to_lowercase(), event.required("action")?.to_lowercase());
    let name = format!("{entity}.{action}");
    if EVENTS.contains(&name.as_str()) {
        return Ok(name);
    }
    let prefix = format!("{entity}.");
    let valid: Vec<&str> = EVENTS.iter().filter_map(|event| event.strip_prefix(&prefix)).collect();
    Err(Refusal::invalid(format!(
        "Invalid action '{action}' for entity '{entity}'. Valid actions are: {valid:?}"
    )))
}

fn missing(error: rondo_store::Error, id: &str) -> Refusal {
    match error {
        rondo_store::Error::NotFound { .. } => Refusal::missing(format!("Webhook with ID {id} not found.")),
        other => other.into(),
    }
}

/// An error in the words that MLflow's tests look for.
fn refusal(error: Error, url: &str) -> Refusal {
    let url: String = url.chars().take(200).collect();
    match error {
        Error::WebhookName { name } => Refusal::invalid(format!(
            "Webhook name '{name}' is invalid. It must start and end with a letter or digit, be less than 63 \
             characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
        )),
        Error::WebhookUrl(UrlFault::Empty) => {
            Refusal::invalid(format!("Webhook URL cannot be empty or just whitespace: '{url}'"))
        }
        Error::WebhookUrl(UrlFault::Invalid { reason, .. }) => {
            Refusal::invalid(format!("Invalid webhook URL '{url}': {reason}"))
        }
        Error::WebhookUrl(UrlFault::Scheme { scheme }) => {
            Refusal::invalid(format!("Invalid webhook URL scheme: '{scheme}'. Allowed schemes are: https."))
        }
        Error::WebhookUrl(UrlFault::NotPublic { host, address }) => Refusal::invalid(format!(
            "Webhook URL must not resolve to a non-public IP address. '{host}' resolves to {address}."
        )),
        Error::WebhookEvent { event } => Refusal::invalid(format!("Invalid event string: {event}")),
        other => other.into(),
    }
}
