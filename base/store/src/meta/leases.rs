//! Leases: what only one process may do at a time, without a lock that a dead process would leave behind.

use rondo_core::{Span, Timestamp};
use sqlx::Row;

use super::Meta;
use crate::Error;

impl Meta {
    /// Takes or renews a lease until `now + span`. Whether it is ours.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn lease(&self, name: &str, holder: &str, now: Timestamp, span: Span) -> Result<bool, Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let taken = sqlx::query(
                    "INSERT INTO lease (name, holder, until) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                     WHERE lease.holder = excluded.holder OR lease.until <= $4",
                )
                .bind(&name)
                .bind(&holder)
                .bind((now + span).millis())
                .bind(now.millis())
                .execute(conn)
                .await?;
                Ok(taken.rows_affected() == 1)
            })
        })
        .await
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM lease WHERE name = $1 AND holder = $2")
                    .bind(&name)
                    .bind(&holder)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
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
