//! Refs and the journal: every mutable name, and every move of one.
//!
//! A ref is only ever moved together with a line of the journal, in one transaction.

use rondo_core::journal::{Because, JournalEntry};
use rondo_core::{Code, Digest, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::registered::events::moved;
use super::{Meta, decode, encode};
use crate::Error;

/// What the caller takes a ref to be before it moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    /// Not there yet.
    Absent,
    /// Exactly this.
    At(Digest),
}

/// Where a ref goes when it is moved together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the record that is stored with the move.
    Record,
    /// To this.
    At(Digest),
}

/// The result of a conditional move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// What it pointed to before.
    pub from: Option<Digest>,
    /// Whether anything changed: a ref that is there already is not moved again, and not journalled.
    pub changed: bool,
}

impl Meta {
    /// What a ref points to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn target(&self, name: &str) -> Result<Option<Digest>, Error> {
        let row = sqlx::query("SELECT target FROM ref WHERE name = $1")
            .bind(name)
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| digest(&row, "target")).transpose()
    }

    /// All refs whose name begins so, with their targets, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn refs(&self, prefix: &str) -> Result<Vec<(String, Digest)>, Error> {
        let rows = sqlx::query("SELECT name, target FROM ref WHERE substr(name, 1, $2) = $1 ORDER BY name")
            .bind(prefix)
            .bind(prefix.chars().count() as i64)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, digest(row, "target")?))).collect()
    }

    /// Moves a ref, with its line in the journal.
    ///
    /// # Errors
    /// When it is not what the caller took it to be, or the database refuses.
    pub async fn move_ref(
        &self,
        name: &str,
        expect: Expect,
        to: Option<Digest>,
        because: Because,
        at: Timestamp,
    ) -> Result<Moved, Error> {
        let name = name.to_owned();
        let moved = self.write(move |conn| {
            Box::pin(async move { move_ref(conn, &name, expect, to, &because, at).await })
        });
        moved.await.inspect(|_| self.ring())
    }

    /// Stores a record and moves refs, all of it or nothing: each ref to where it is sent, or to the record.
    ///
    /// # Errors
    /// When one is not what the caller took it to be, or the database refuses.
    pub async fn decide<T: Serialize>(
        &self,
        kind: &'static str,
        record: &T,
        moves: Vec<(String, Expect, Target)>,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let body = canonical(kind, record)?;
        let work = self.write(move |conn| {
            Box::pin(async move {
                let own = put_record(conn, kind, &body).await?;
                for (name, expect, target) in moves {
                    let to = match target {
                        Target::Record => own,
                        Target::At(to) => to,
                    };
                    move_ref(conn, &name, expect, Some(to), &because, at).await?;
                }
                Ok(())
            })
        });
        work.await.inspect(|()| self.ring())
    }

    /// A line of the journal by its number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn journal_line(&self, seq: i64) -> Result<Option<JournalEntry>, Error> {
        let row = sqlx::query(
            "SELECT seq, at, name, from_target, to_target, actor, why, run, evidence FROM journal
             WHERE seq = $1",
        )
        .bind(seq)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(entry).transpose()
    }

    /// Writes a line about what is no ref: it has no targets.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note(&self, name: &str, because: Because, at: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| Box::pin(async move { note(conn, &name, &because, at).await })).await
    }

    /// The journal, newest first, of refs whose name begins so.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn journal(&self, prefix: &str, limit: i64) -> Result<Vec<JournalEntry>, Error> {
        let rows = sqlx::query(
            "SELECT seq, at, name, from_target, to_target, actor, why, run, evidence FROM journal
             WHERE substr(name, 1, $2) = $1 ORDER BY seq DESC LIMIT $3",
        )
        .bind(prefix)
        .bind(prefix.chars().count() as i64)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(entry).collect()
    }

    /// Stores an immutable record under the digest of its canonical JSON.
    ///
    /// # Errors
    /// When it has no JSON form or the database refuses.
    pub async fn put_record<T: Serialize>(&self, kind: &'static str, record: &T) -> Result<Digest, Error> {
        let body = canonical(kind, record)?;
        let address = Digest::of(body.as_bytes());
        self.write(move |conn| Box::pin(async move { put_record(conn, kind, &body).await })).await?;
        Ok(address)
    }

    /// A record by its digest.
    ///
    /// # Errors
    /// When it is not there or of another form.
    pub async fn record<T: DeserializeOwned>(&self, kind: &'static str, address: Digest) -> Result<T, Error> {
        let row = sqlx::query("SELECT body FROM record WHERE digest = $1")
            .bind(address.hex())
            .fetch_optional(self.readers())
            .await?
            .ok_or(Error::ObjectNotFound(address))?;
        decode(kind, &address.hex(), row.try_get("body")?)
    }
}

/// The canonical JSON of a record.
pub(crate) fn canonical<T: Serialize>(kind: &'static str, record: &T) -> Result<String, Error> {
    rondo_core::canonical::to_string(record).map_err(|source| Error::Record {
        kind,
        name: "new".to_owned(),
        source,
    })
}

/// Stores the canonical JSON of a record within a transaction.
pub(crate) async fn put_record(
    conn: &mut SqliteConnection,
    kind: &'static str,
    body: &str,
) -> Result<Digest, Error> {
    let address = Digest::of(body.as_bytes());
    sqlx::query(
        "INSERT INTO record (digest, kind, body) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
    )
    .bind(address.hex())
    .bind(kind)
    .bind(body)
    .execute(conn)
    .await?;
    Ok(address)
}

/// Writes a line of the journal within a transaction about what is no ref and so has no targets.
pub(crate) async fn note(
    conn: &mut SqliteConnection,
    name: &str,
    because: &Because,
    at: Timestamp,
) -> Result<(), Error> {
    write_line(conn, name, (None, None), because, at).await
}

/// Moves a ref within a transaction.
pub(crate) async fn move_ref(
    conn: &mut SqliteConnection,
    name: &str,
    expect: Expect,
    to: Option<Digest>,
    because: &Because,
    at: Timestamp,
) -> Result<Moved, Error> {
    let row =
        sqlx::query("SELECT target FROM ref WHERE name = $1").bind(name).fetch_optional(&mut *conn).await?;
    let from = row.map(|row| digest(&row, "target")).transpose()?;
    let show = |target: Option<Digest>| target.map_or_else(|| "nothing".to_owned(), |d| d.short());
    let refuse = |expected: Option<Digest>| Error::RefMoved {
        name: name.to_owned(),
        expected: show(expected),
        found: show(from),
    };
    match expect {
        Expect::Anything => {}
        Expect::Absent if from.is_some() => return Err(refuse(None)),
        Expect::At(expected) if from != Some(expected) => return Err(refuse(Some(expected))),
        Expect::Absent | Expect::At(_) => {}
    }
    if from == to {
        return Ok(Moved { from, changed: false });
    }
    match to {
        Some(to) => {
            sqlx::query(
                "INSERT INTO ref (name, target, moved) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET target = excluded.target, moved = excluded.moved",
            )
            .bind(name)
            .bind(to.hex())
            .bind(at.millis())
            .execute(&mut *conn)
            .await?;
        }
        None => {
            sqlx::query("DELETE FROM ref WHERE name = $1").bind(name).execute(&mut *conn).await?;
        }
    }
    write_line(conn, name, (from, to), because, at).await?;
    moved(conn, name, to, at).await?;
    Ok(Moved { from, changed: true })
}

async fn write_line(
    conn: &mut SqliteConnection,
    name: &str,
    (from, to): (Option<Digest>, Option<Digest>),
    because: &Because,
    at: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO journal (at, name, from_target, to_target, actor, why, run, evidence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(at.millis())
    .bind(name)
    .bind(from.map(|d| d.hex()))
    .bind(to.map(|d| d.hex()))
    .bind(&because.actor)
    .bind(&because.why)
    .bind(because.run.map(|run| run.hex()))
    .bind(encode("evidence", name, &because.evidence)?)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn digest(row: &SqliteRow, column: &str) -> Result<Digest, Error> {
    let text: String = row.try_get(column)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| Error::NotFound { kind: "object", name: text.to_owned(), code: Code::Corrupt })
}

fn entry(row: &SqliteRow) -> Result<JournalEntry, Error> {
    let optional = |column: &str| -> Result<Option<Digest>, Error> {
        row.try_get::<Option<String>, _>(column)?.map(|text| parse(&text)).transpose()
    };
    let run: Option<String> = row.try_get("run")?;
    Ok(JournalEntry {
        seq: row.try_get("seq")?,
        at: Timestamp(row.try_get("at")?),
        name: row.try_get("name")?,
        from: optional("from_target")?,
        to: optional("to_target")?,
        because: Because {
            actor: row.try_get("actor")?,
            why: row.try_get("why")?,
            run: run.and_then(|text| text.parse().ok()),
            evidence: decode("evidence", "journal", row.try_get("evidence")?)?,
        },
    })
}
