//! Leases: what only one process may do at a time, without a lock that a dead process would leave behind.

use std::time::Duration;

use rondo_core::{Span, Timestamp};
use sqlx::Row;

use super::Meta;
use super::scribe::Later;
use super::script::Script;
use crate::Error;

/// A lease that is taken or given back with the next change of a run.
#[must_use]
pub struct Leasing(Later);

impl Leasing {
    /// Waits until it is on the disk; whether there was such a lease to take or to give back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn written(self) -> Result<bool, Error> {
        Ok(!self.0.written(Duration::ZERO).await?.is_empty())
    }
}

impl Meta {
    /// Takes or renews a lease until `now + span`. Whether it is ours.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn lease(&self, name: &str, holder: &str, now: Timestamp, span: Span) -> Result<bool, Error> {
        Ok(!self.script(taking(name, holder, now, span)).await?.is_empty())
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        self.script(giving_back(name, holder)).await.map(drop)
    }

    /// As [`Meta::lease`], in one commit with the row of a run that is made or changed next.
    pub fn lease_with_next(&self, name: &str, holder: &str, now: Timestamp, span: Span) -> Leasing {
        Leasing(self.scribe.later(taking(name, holder, now, span)))
    }

    /// As [`Meta::release`], in one commit with the row of a run that is made or changed next.
    pub fn release_with_next(&self, name: &str, holder: &str) -> Leasing {
        Leasing(self.scribe.later(giving_back(name, holder)))
    }

    /// A small value that processes share, such as the replay's event time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        let row = sqlx::query("SELECT value FROM setting WHERE name = $1")
            .bind(name)
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| row.try_get("value").map_err(Error::from)).transpose()
    }

    /// Sets such a value.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO setting (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(&name)
                .bind(&value)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// Gives a row where the lease is ours then.
fn taking(name: &str, holder: &str, now: Timestamp, span: Span) -> Script {
    let mut script = Script::on(name.to_owned());
    script.statement("INSERT INTO lease (name, holder, until) VALUES ($1, ").value(holder.to_owned());
    script.sql(", ").value((now + span).millis());
    script.sql(
        ") ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
         WHERE lease.holder = excluded.holder OR lease.until <= ",
    );
    script.value(now.millis()).sql(" RETURNING name");
    script
}

fn giving_back(name: &str, holder: &str) -> Script {
    let mut script = Script::on(name.to_owned());
    script.statement("DELETE FROM lease WHERE name = $1 AND holder = ").value(holder.to_owned());
    script.sql(" RETURNING name");
    script
}
