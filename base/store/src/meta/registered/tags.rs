//! Tags of registered models and versions.

use rondo_core::Timestamp;
use sqlx::SqliteConnection;

use super::versions::no_version;
use super::{Tagged, events, missing};
use crate::Error;
use crate::meta::Meta;

impl Meta {
    /// Sets a tag of a model or version, or takes it away. As MLflow has it that changes no model's or
    /// version's time.
    ///
    /// # Errors
    /// When there is no such model or version, or the database refuses.
    pub async fn tag_registered(
        &self,
        what: Tagged,
        key: &str,
        value: Option<&str>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.write(move |conn| {
            Box::pin(async move {
                match &value {
                    Some(value) => set_tag(conn, &what, &key, value).await?,
                    None => unset_tag(conn, &what, &key).await?,
                }
                events::tagged(conn, &what, &key, value.as_deref(), at).await
            })
        })
        .await?;
        self.ring();
        Ok(())
    }
}

pub(super) async fn set_tag(
    conn: &mut SqliteConnection,
    what: &Tagged,
    key: &str,
    value: &str,
) -> Result<(), Error> {
    let set = match what {
        Tagged::Model(model) => sqlx::query(
            "INSERT INTO model_tag (model, key, value) VALUES ($1, $2, $3)
             ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
        )
        .bind(model)
        .bind(key)
        .bind(value),
        Tagged::Version(model, number) => sqlx::query(
            "INSERT INTO model_version_tag (model, key, value, version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (model, version, key) DO UPDATE SET value = excluded.value",
        )
        .bind(model)
        .bind(key)
        .bind(value)
        .bind(number),
    };
    set.execute(conn).await.map_err(|error| {
        let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
        match what {
            Tagged::Model(model) if foreign => missing(model),
            Tagged::Version(model, number) if foreign => no_version(model, *number),
            Tagged::Model(_) | Tagged::Version(..) => error.into(),
        }
    })?;
    Ok(())
}

async fn unset_tag(conn: &mut SqliteConnection, what: &Tagged, key: &str) -> Result<(), Error> {
    match what {
        Tagged::Model(model) => sqlx::query("DELETE FROM model_tag WHERE model = $1 AND key = $2")
            .bind(model)
            .bind(key)
            .execute(conn),
        Tagged::Version(model, number) => {
            sqlx::query("DELETE FROM model_version_tag WHERE model = $1 AND key = $2 AND version = $3")
                .bind(model)
                .bind(key)
                .bind(number)
                .execute(conn)
        }
    }
    .await?;
    Ok(())
}
