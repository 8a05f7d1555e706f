//! Webhooks: others are told of changes in the registry, in MLflow's words and with MLflow's signature.
//!
//! [`event`] knows what can be told; the store writes it into an outbox together with the change. The
//! [`courier`] sends what is in the outbox, again where that fails, and only to where [`target`] lets it: a
//! webhook must not be a way into the network that the server stands in. [`secret`] keeps what signs it.

pub mod courier;
pub mod event;
pub mod secret;
pub mod target;

use rondo_core::{RunId, Timestamp};
use rondo_store::Store;
use rondo_store::meta::webhooks::{Webhook, WebhookChange};

use crate::error::Error;
use courier::{Outcome, Sender};
use secret::Vault;
use target::Allow;

/// Webhooks over one store. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    store: Store,
    allow: Allow,
}

/// What somebody says of a webhook; what is `None` is not said.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// A name: letters, digits, dots, underscores, hyphens.
    pub name: Option<String>,
    /// Where it is told.
    pub url: Option<String>,
    /// Names of events.
    pub events: Option<Vec<String>>,
    /// For people.
    pub description: Option<String>,
    /// What its deliveries are signed with.
    pub secret: Option<String>,
    /// Whether it is told anything.
    pub active: Option<bool>,
}

impl Webhooks {
    /// Webhooks over a store, with the private receivers that the operator lets in.
    pub const fn new(store: Store, allow: Allow) -> Self {
        Self { store, allow }
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// When a name, URL or event cannot be taken, or the store refuses.
    pub async fn create(&self, said: Said, at: Timestamp) -> Result<Webhook, Error> {
        self.check(&said).await?;
        let webhook = Webhook {
            id: RunId::random().hex(),
            name: said.name.unwrap_or_default(),
            description: said.description.unwrap_or_default(),
            url: said.url.unwrap_or_default(),
            events: said.events.unwrap_or_default(),
            secret: self.seal(said.secret).await?,
            active: said.active.unwrap_or(true),
            created: at,
            updated: at,
        };
        self.store.meta().create_webhook(webhook.clone()).await?;
        Ok(webhook)
    }

    /// Changes a webhook.
    ///
    /// # Errors
    /// When there is none, something cannot be taken, or the store refuses.
    pub async fn update(&self, id: &str, said: Said, at: Timestamp) -> Result<Webhook, Error> {
        self.store.meta().webhook(id).await?;
        self.check(&said).await?;
        let change = WebhookChange {
            name: said.name,
            description: said.description,
            url: said.url,
            events: said.events,
            secret: self.seal(said.secret).await?,
            active: said.active,
        };
        self.store.meta().update_webhook(id, change, at).await?;
        Ok(self.store.meta().webhook(id).await?)
    }

    /// Sends an example to a webhook, once, and answers what came of it. Without an event it is the first
    /// that the webhook is told of.
    ///
    /// # Errors
    /// When there is no such webhook or event, or the store refuses.
    pub async fn test(&self, id: &str, event: Option<&str>, at: Timestamp) -> Result<Outcome, Error> {
        let webhook = self.store.meta().webhook(id).await?;
        let event = event.or(webhook.events.first().map(String::as_str)).unwrap_or_default();
        let data = event::example(event).ok_or_else(|| Error::WebhookEvent { event: event.to_owned() })?;
        let sender = Sender::new(self.allow.clone(), self.vault().await?)?;
        Ok(sender.send(&webhook, &RunId::random().hex(), event, &data, at, at).await)
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn sender(&self) -> Result<Sender, Error> {
        Sender::new(self.allow.clone(), self.vault().await?)
    }

    async fn check(&self, said: &Said) -> Result<(), Error> {
        if let Some(name) = said.name.as_ref().filter(|name| !is_name(name)) {
            return Err(Error::WebhookName { name: name.chars().take(200).collect() });
        }
        if let Some(url) = &said.url {
            self.allow.check(url).await?;
        }
        if let Some(events) = &said.events {
            for event in events {
                if event::example(event).is_none() {
                    return Err(Error::WebhookEvent { event: event.clone() });
                }
            }
        }
        Ok(())
    }

    async fn seal(&self, secret: Option<String>) -> Result<Option<String>, Error> {
        match secret {
            Some(secret) => Ok(Some(self.vault().await?.seal(&secret)?)),
            None => Ok(None),
        }
    }

    async fn vault(&self) -> Result<Vault, Error> {
        let root = self.store.root().to_owned();
        let opened = tokio::task::spawn_blocking(move || Vault::open(&root)).await;
        opened.map_err(|_| Error::WebhookSecret)?
    }
}

/// At most 63 letters, digits, dots, underscores and hyphens, with a letter or digit at either end.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63 && name.chars().all(inner) && end(name.chars().next()) && end(name.chars().last())
}

#[cfg(test)]
mod tests;
