//! The step cache: which run made the outputs of a key.

use std::collections::HashMap;

use rondo_core::run::Link;
use rondo_core::{Code, Digest, RunId, Timestamp};
use sqlx::Row;

use super::{Meta, decode, encode};
use crate::Error;

/// What a key's run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The run.
    pub run: RunId,
    /// Its outputs.
    pub outputs: Vec<Link>,
    /// When.
    pub created: Timestamp,
}

impl Meta {
    /// What a key's run made, where one has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cached(&self, key: Digest) -> Result<Option<Cached>, Error> {
        let row = sqlx::query("SELECT run, outputs, created FROM step_cache WHERE key = $1")
            .bind(key.hex())
            .fetch_optional(self.readers())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let run: String = row.try_get("run")?;
        Ok(Some(Cached {
            run: parse_run(&run)?,
            outputs: decode("cache entry", &key.hex(), row.try_get("outputs")?)?,
            created: Timestamp(row.try_get("created")?),
        }))
    }

    /// What the runs of these keys made, of those that are known: one look for many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cached_of(&self, keys: &[Digest]) -> Result<HashMap<Digest, Cached>, Error> {
        let hex: Vec<String> = keys.iter().map(Digest::hex).collect();
        let rows = sqlx::query(
            "SELECT key, run, outputs, created FROM step_cache WHERE key IN (SELECT value FROM json_each($1))",
        )
        .bind(encode("cache entries", "list", &hex)?)
        .fetch_all(self.readers())
        .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let (key, run): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let Ok(digest) = key.parse() else { continue };
            let outputs = decode("cache entry", key, row.try_get(2)?)?;
            let created = Timestamp(row.try_get(3)?);
            found.insert(digest, Cached { run: parse_run(run)?, outputs, created });
        }
        Ok(found)
    }

    /// Keeps what a key's run made; a later run of the same key takes its place.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_cached(
        &self,
        key: Digest,
        step: &str,
        run: RunId,
        outputs: &[Link],
        at: Timestamp,
    ) -> Result<(), Error> {
        let outputs = encode("cache entry", step, &outputs)?;
        let step = step.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO step_cache (key, step, run, outputs, created) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (key) DO UPDATE SET run = excluded.run, outputs = excluded.outputs,
                     created = excluded.created",
                )
                .bind(key.hex())
                .bind(&step)
                .bind(run.hex())
                .bind(&outputs)
                .bind(at.millis())
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// A run id from its stored text.
pub(crate) fn parse_run(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| Error::NotFound { kind: "run", name: text.to_owned(), code: Code::RunNotFound })
}
