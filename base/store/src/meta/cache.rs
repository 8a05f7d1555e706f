//! The step cache: which run made the outputs of a key.

use std::collections::HashMap;
use std::time::Duration;

use rondo_core::run::Link;
use rondo_core::{Code, Digest, RunId, Timestamp};
use rusqlite::OptionalExtension;

use super::runs::{RunChange, missing, set};
use super::scribe::Later;
use super::script::Script;
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

/// The end of a run, which is written with what is written next.
#[must_use]
pub struct Ending {
    run: RunId,
    later: Later,
}

impl Ending {
    /// Waits until it is on the disk: so long for something else that is written, then no more.
    ///
    /// # Errors
    /// When there is no such run or the database refuses; then nothing of it stands.
    pub async fn written(self, within: Duration) -> Result<(), Error> {
        match self.later.written(within).await {
            Err(Error::Database(error)) if error.misses_a_value() => Err(missing(self.run)),
            done => done.map(drop),
        }
    }
}

impl Meta {
    /// What a key's run made, where one has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cached(&self, key: Digest) -> Result<Option<Cached>, Error> {
        let hex = key.hex();
        let found = self.finder().glance(|connection| {
            connection
                .prepare_cached("SELECT run, outputs, created FROM step_cache WHERE key = ?1")?
                .query_row([&hex], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        let Some((run, outputs, created)) = found else { return Ok(None) };
        let (run, outputs): (String, String) = (run, outputs);
        let outputs = decode("cache entry", &hex, &outputs)?;
        Ok(Some(Cached { run: parse_run(&run)?, outputs, created: Timestamp(created) }))
    }

    /// What the runs of these keys made, of those that are known: one look for many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cached_of(&self, keys: &[Digest]) -> Result<HashMap<Digest, Cached>, Error> {
        let hex: Vec<String> = keys.iter().map(Digest::hex).collect();
        let hex = encode("cache entries", "list", &hex)?;
        let rows: Vec<(String, String, String, i64)> = self.finder().glance(|connection| {
            connection
                .prepare_cached(
                    "SELECT key, run, outputs, created FROM step_cache
                     WHERE key IN (SELECT value FROM json_each(?1))",
                )?
                .query_map([&hex], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect()
        })?;
        let mut found = HashMap::with_capacity(rows.len());
        for (key, run, outputs, created) in rows {
            let Ok(digest) = key.parse() else { continue };
            let outputs = decode("cache entry", &key, &outputs)?;
            found.insert(digest, Cached { run: parse_run(&run)?, outputs, created: Timestamp(created) });
        }
        Ok(found)
    }

    /// Ends a run and keeps what it made for its key, in one commit; a later run of the same key takes its
    /// place. It is not on the disk yet, but will be before any row of a run that is made or changed from now on.
    /// The run gets its card when a list first shows it: few look at the runs of steps.
    ///
    /// # Errors
    /// When it cannot be put into words.
    pub fn end_run_with(
        &self,
        id: RunId,
        change: RunChange,
        key: Digest,
        step: &str,
        outputs: &[Link],
        at: Timestamp,
    ) -> Result<Ending, Error> {
        let (mut script, _) = set(id, &change)?;
        // Where the run is not there, the column refuses to be nothing.
        keep(&mut script, "(SELECT id FROM run WHERE id = $1), ", key, step, outputs, at)?;
        Ok(Ending { run: id, later: self.scribe.later(script) })
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
        let mut script = Script::on(run.hex());
        keep(&mut script, "$1, ", key, step, outputs, at)?;
        self.script(script).await.map(drop)
    }
}

/// Adds to a script on a run that it made these outputs of a key.
fn keep(
    script: &mut Script,
    run: &str,
    key: Digest,
    step: &str,
    outputs: &[Link],
    at: Timestamp,
) -> Result<(), Error> {
    script
        .statement("INSERT INTO step_cache (run, key, step, outputs, created) VALUES (")
        .sql(run)
        .value(key.hex())
        .sql(", ")
        .value(step.to_owned())
        .sql(", ")
        .value(encode("cache entry", step, &outputs)?)
        .sql(", ")
        .value(at.millis())
        .sql(
            ") ON CONFLICT (key) DO UPDATE SET run = excluded.run, outputs = excluded.outputs,
             created = excluded.created",
        );
    Ok(())
}

/// A run id from its stored text.
pub(crate) fn parse_run(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| Error::NotFound { kind: "run", name: text.to_owned(), code: Code::RunNotFound })
}
