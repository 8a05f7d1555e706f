//! Webhooks and their outbox: who is told of changes in the registry, and what is still to be told.
//!
//! What is to be told is written in the transaction of the change itself, so that neither is there without
//! the other. Sending it is not done here: a sender takes what is due until a moment, and what it has not
//! settled by then is due again. A webhook's queue has a bound; what comes when it is full is left out.

use rondo_core::{Code, Digest, Timestamp};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Meta, decode, encode};
use crate::Error;

/// How many deliveries wait for one webhook at most.
pub const QUEUE: i64 = 1000;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Its name; not unique.
    pub name: String,
    /// What people say of it.
    pub description: String,
    /// Where it is told.
    pub url: String,
    /// The names of the events that it is told of, such as `model_version.created`.
    pub events: Vec<String>,
    /// Its secret as the caller sealed it.
    pub secret: Option<String>,
    /// Whether it is told anything.
    pub active: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// What changes in a webhook; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// The name.
    pub name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// Where it is told.
    pub url: Option<String>,
    /// What it is told of.
    pub events: Option<Vec<String>>,
    /// The sealed secret.
    pub secret: Option<String>,
    /// Whether it is told anything.
    pub active: Option<bool>,
}

/// Something that a webhook has to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Counted up over all webhooks.
    pub seq: i64,
    /// The same at each attempt, so that a receiver knows a repetition.
    pub id: String,
    /// To whom.
    pub webhook: Webhook,
    /// Of what.
    pub event: String,
    /// The event's data.
    pub data: Value,
    /// When it happened.
    pub at: Timestamp,
    /// How often it was tried before.
    pub attempts: u32,
}

impl Meta {
    /// Makes a webhook.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn create_webhook(&self, webhook: Webhook) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO webhook (id, name, description, url, secret, active, created, updated)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(&webhook.id)
                .bind(&webhook.name)
                .bind(&webhook.description)
                .bind(&webhook.url)
                .bind(&webhook.secret)
                .bind(webhook.active)
                .bind(webhook.created.millis())
                .bind(webhook.updated.millis())
                .execute(&mut *conn)
                .await?;
                set_events(conn, &webhook.id, &webhook.events).await
            })
        })
        .await
    }

    /// A webhook.
    ///
    /// # Errors
    /// When there is none or the database cannot be read.
    pub async fn webhook(&self, id: &str) -> Result<Webhook, Error> {
        let row = sqlx::query("SELECT * FROM webhook WHERE id = $1")
            .bind(id)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| missing(id))?;
        let mut webhooks = self.with_events(vec![read(&row)?]).await?;
        webhooks.pop().ok_or_else(|| missing(id))
    }

    /// Webhooks, newest first, those after the one of this age and id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhooks(&self, after: Option<(i64, String)>, limit: u32) -> Result<Vec<Webhook>, Error> {
        let (created, id) = after.unwrap_or((i64::MAX, String::new()));
        let rows = sqlx::query(
            "SELECT * FROM webhook WHERE created < $1 OR (created = $1 AND id > $2)
             ORDER BY created DESC, id LIMIT $3",
        )
        .bind(created)
        .bind(&id)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        self.with_events(rows.iter().map(read).collect::<Result<_, _>>()?).await
    }

    /// Changes a webhook. One that is switched off is told nothing more, also not what was waiting.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn update_webhook(&self, id: &str, change: WebhookChange, at: Timestamp) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query(
                    "UPDATE webhook SET name = COALESCE($2, name), description = COALESCE($3, description),
                     url = COALESCE($4, url), secret = COALESCE($5, secret), active = COALESCE($6, active),
                     updated = CASE WHEN updated < $7 THEN $7 ELSE updated + 1 END WHERE id = $1",
                )
                .bind(&id)
                .bind(&change.name)
                .bind(&change.description)
                .bind(&change.url)
                .bind(&change.secret)
                .bind(change.active)
                .bind(at.millis())
                .execute(&mut *conn)
                .await?;
                if updated.rows_affected() == 0 {
                    return Err(missing(&id));
                }
                if change.active == Some(false) {
                    sqlx::query("DELETE FROM webhook_delivery WHERE webhook = $1")
                        .bind(&id)
                        .execute(&mut *conn)
                        .await?;
                }
                match change.events {
                    Some(events) => set_events(conn, &id, &events).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    /// Deletes a webhook with what it was still to be told.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM webhook WHERE id = $1").bind(&id).execute(conn).await?;
                if gone.rows_affected() == 1 { Ok(()) } else { Err(missing(&id)) }
            })
        })
        .await
    }

    /// Takes what is due, until a moment: no other sender gets it before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn take_deliveries(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error> {
        let any = sqlx::query("SELECT 1 FROM webhook_delivery WHERE due <= $1 LIMIT 1").bind(now.millis());
        if any.fetch_optional(self.readers()).await?.is_none() {
            return Ok(Vec::new());
        }
        let rows = self
            .write(move |conn| {
                Box::pin(async move {
                    let taken = sqlx::query(
                        "UPDATE webhook_delivery SET due = $2, attempts = attempts + 1 WHERE seq IN
                         (SELECT seq FROM webhook_delivery WHERE due <= $1 ORDER BY due, seq LIMIT $3)
                         RETURNING seq, webhook, event, data, created, attempts",
                    )
                    .bind(now.millis())
                    .bind(until.millis())
                    .bind(limit)
                    .fetch_all(conn)
                    .await?;
                    Ok(taken)
                })
            })
            .await?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in &rows {
            let (seq, id): (i64, String) = (row.try_get("seq")?, row.try_get("webhook")?);
            // It may have been deleted just now, and its deliveries with it.
            let Ok(webhook) = self.webhook(&id).await else { continue };
            let created: i64 = row.try_get("created")?;
            let attempts: i64 = row.try_get("attempts")?;
            deliveries.push(Delivery {
                seq,
                id: Digest::of(format!("{id} {seq} {created}").as_bytes()).hex().chars().take(32).collect(),
                webhook,
                event: row.try_get("event")?,
                data: decode("webhook delivery", &id, row.try_get("data")?)?,
                at: Timestamp(created),
                attempts: u32::try_from(attempts - 1).unwrap_or(u32::MAX),
            });
        }
        deliveries.sort_by_key(|delivery| delivery.seq);
        Ok(deliveries)
    }

    /// Gives back what was taken until a moment and neither sent nor settled: it is due at once, as if it had
    /// not been taken.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn return_deliveries(&self, taken: Vec<(i64, Timestamp)>, now: Timestamp) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for (seq, until) in taken {
                    // What another sender has taken since is that one's.
                    sqlx::query(
                        "UPDATE webhook_delivery SET due = $3, attempts = attempts - 1
                         WHERE seq = $1 AND due = $2 AND attempts > 0",
                    )
                    .bind(seq)
                    .bind(until.millis())
                    .bind(now.millis())
                    .execute(&mut *conn)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Settles a delivery: it is due again at a moment, or done with.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn settle_delivery(&self, seq: i64, again: Option<Timestamp>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                match again {
                    Some(due) => sqlx::query("UPDATE webhook_delivery SET due = $2 WHERE seq = $1")
                        .bind(seq)
                        .bind(due.millis())
                        .execute(conn),
                    None => {
                        sqlx::query("DELETE FROM webhook_delivery WHERE seq = $1").bind(seq).execute(conn)
                    }
                }
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// How many deliveries wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_deliveries(&self) -> Result<i64, Error> {
        let row = sqlx::query("SELECT COUNT(*) FROM webhook_delivery").fetch_one(self.readers()).await?;
        Ok(row.try_get(0)?)
    }

    /// Comes back once something may have to be told: written by this process since the last time. What
    /// another process wrote is found by looking.
    pub async fn announced(&self) {
        self.bell.notified().await;
    }

    async fn with_events(&self, mut webhooks: Vec<Webhook>) -> Result<Vec<Webhook>, Error> {
        for webhook in &mut webhooks {
            let rows = sqlx::query("SELECT event FROM webhook_event WHERE webhook = $1 ORDER BY place")
                .bind(&webhook.id)
                .fetch_all(self.readers())
                .await?;
            webhook.events = rows.iter().map(|row| row.try_get("event")).collect::<Result<_, _>>()?;
        }
        Ok(webhooks)
    }
}

/// Whether anybody is told of anything: what is to be told need not be put together where nobody is.
pub(super) async fn anybody(conn: &mut SqliteConnection) -> Result<bool, Error> {
    let row = sqlx::query("SELECT 1 FROM webhook_event LIMIT 1").fetch_optional(conn).await?;
    Ok(row.is_some())
}

/// Writes an event into the outbox of all who are told of it, within the transaction of the change.
pub(super) async fn announce(
    conn: &mut SqliteConnection,
    event: &str,
    data: &Value,
    at: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO webhook_delivery (webhook, event, data, created, due)
         SELECT webhook.id, $1, $2, $3, $3 FROM webhook
         JOIN webhook_event ON webhook_event.webhook = webhook.id
         WHERE webhook_event.event = $1 AND webhook.active
         AND (SELECT COUNT(*) FROM webhook_delivery AS waiting WHERE waiting.webhook = webhook.id) < $4",
    )
    .bind(event)
    .bind(encode("webhook delivery", event, data)?)
    .bind(at.millis())
    .bind(QUEUE)
    .execute(conn)
    .await?;
    Ok(())
}

async fn set_events(conn: &mut SqliteConnection, id: &str, events: &[String]) -> Result<(), Error> {
    sqlx::query("DELETE FROM webhook_event WHERE webhook = $1").bind(id).execute(&mut *conn).await?;
    for (place, event) in events.iter().enumerate() {
        sqlx::query(
            "INSERT INTO webhook_event (webhook, event, place) VALUES ($1, $2, $3)
             ON CONFLICT (event, webhook) DO NOTHING",
        )
        .bind(id)
        .bind(event)
        .bind(i64::try_from(place).unwrap_or(i64::MAX))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn missing(id: &str) -> Error {
    Error::NotFound { kind: "webhook", name: id.to_owned(), code: Code::WebhookNotFound }
}

fn read(row: &SqliteRow) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        url: row.try_get("url")?,
        events: Vec::new(),
        secret: row.try_get("secret")?,
        active: row.try_get("active")?,
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn webhook(id: &str, events: &[&str], at: i64) -> Webhook {
        Webhook {
            id: id.into(),
            name: id.into(),
            description: String::new(),
            url: "https://example.com".into(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            secret: None,
            active: true,
            created: Timestamp(at),
            updated: Timestamp(at),
        }
    }

    async fn house() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn a_change_and_what_is_told_of_it_are_written_together() {
        let (folder, store) = house().await;
        let meta = store.meta();
        meta.create_webhook(webhook("a", &["registered_model.created"], 1)).await.unwrap();
        meta.create_webhook(webhook("b", &["model_version.created"], 2)).await.unwrap();
        meta.create_model("m", "text", vec![("k".into(), "v".into())], Timestamp(5)).await.unwrap();
        assert!(meta.create_model("m", "", vec![], Timestamp(6)).await.is_err());
        store.close().await;
        // It outlives the process.
        let store = Store::open(folder.path()).await.unwrap();
        let taken = store.meta().take_deliveries(Timestamp(10), Timestamp(20), 9).await.unwrap();
        let [only] = taken.as_slice() else { panic!("{taken:?}") };
        assert_eq!((only.webhook.id.as_str(), only.event.as_str()), ("a", "registered_model.created"));
        assert_eq!(
            only.data,
            serde_json::json!({ "name": "m", "tags": { "k": "v" }, "description": "text" })
        );
        assert_eq!((only.at, only.attempts), (Timestamp(5), 0));
    }

    #[tokio::test]
    async fn what_a_sender_has_taken_is_due_again_when_its_time_is_up() {
        let (_folder, store) = house().await;
        let meta = store.meta();
        meta.create_webhook(webhook("a", &["registered_model.created"], 1)).await.unwrap();
        meta.create_model("m", "", vec![], Timestamp(5)).await.unwrap();
        let first = meta.take_deliveries(Timestamp(10), Timestamp(20), 9).await.unwrap();
        assert!(meta.take_deliveries(Timestamp(19), Timestamp(30), 9).await.unwrap().is_empty());
        let again = meta.take_deliveries(Timestamp(20), Timestamp(30), 9).await.unwrap();
        assert_eq!((again[0].id.as_str(), again[0].attempts), (first[0].id.as_str(), 1));
        meta.settle_delivery(again[0].seq, Some(Timestamp(40))).await.unwrap();
        assert!(meta.take_deliveries(Timestamp(39), Timestamp(50), 9).await.unwrap().is_empty());
        let last = meta.take_deliveries(Timestamp(40), Timestamp(50), 9).await.unwrap();
        meta.settle_delivery(last[0].seq, None).await.unwrap();
        assert_eq!(meta.waiting_deliveries().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_given_back_is_due_at_once_unless_another_has_it() {
        let (_folder, store) = house().await;
        let meta = store.meta();
        meta.create_webhook(webhook("a", &["registered_model.created"], 1)).await.unwrap();
        meta.create_model("m", "", vec![], Timestamp(5)).await.unwrap();
        let first = meta.take_deliveries(Timestamp(10), Timestamp(20), 9).await.unwrap();
        meta.return_deliveries(vec![(first[0].seq, Timestamp(20))], Timestamp(11)).await.unwrap();
        let again = meta.take_deliveries(Timestamp(11), Timestamp(30), 9).await.unwrap();
        assert_eq!((again[0].seq, again[0].attempts), (first[0].seq, 0));
        meta.return_deliveries(vec![(first[0].seq, Timestamp(20))], Timestamp(12)).await.unwrap();
        assert!(meta.take_deliveries(Timestamp(12), Timestamp(40), 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_webhook_that_is_off_or_gone_is_told_nothing() {
        let (_folder, store) = house().await;
        let meta = store.meta();
        for id in ["off", "gone"] {
            meta.create_webhook(webhook(id, &["registered_model.created"], 1)).await.unwrap();
        }
        meta.create_model("m", "", vec![], Timestamp(5)).await.unwrap();
        assert_eq!(meta.waiting_deliveries().await.unwrap(), 2);
        let off = WebhookChange { active: Some(false), ..WebhookChange::default() };
        meta.update_webhook("off", off, Timestamp(6)).await.unwrap();
        meta.delete_webhook("gone").await.unwrap();
        meta.create_model("n", "", vec![], Timestamp(7)).await.unwrap();
        assert_eq!(meta.waiting_deliveries().await.unwrap(), 0);
        assert!(meta.webhook("gone").await.is_err());
    }

    #[tokio::test]
    async fn a_queue_has_a_bound() {
        let (_folder, store) = house().await;
        let meta = store.meta();
        meta.create_webhook(webhook("a", &["e"], 1)).await.unwrap();
        meta.write(|conn| {
            Box::pin(async move {
                for _ in 0..QUEUE + 5 {
                    announce(conn, "e", &Value::Null, Timestamp(1)).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
        assert_eq!(meta.waiting_deliveries().await.unwrap(), QUEUE);
    }

    #[tokio::test]
    async fn pages_go_on_where_they_ended() {
        let (_folder, store) = house().await;
        let meta = store.meta();
        for (id, at) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
            meta.create_webhook(webhook(id, &["y", "x"], at)).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = meta.webhooks(after.take(), 1).await.unwrap();
            let Some(last) = page.last() else { break };
            assert_eq!(last.events, ["y", "x"]);
            after = Some((last.created.millis(), last.id.clone()));
            seen.push(last.id.clone());
        }
        assert_eq!(seen, ["d", "b", "c", "a"]);
    }
}
