//! Queries of databases: what one gives, as a Parquet file.
//!
//! Rows go from the connection into the file one by one, so that memory does not grow with them. A query is
//! asked in a transaction that only reads. The same rows give the same bytes, and so the same version; where
//! the query does not say their order, that is the database's choice and is said.

mod mysql;
mod postgres;
mod sqlite;

use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::ports::Event;
use rondo_table::typed::{Cell, Kind, Rows};

use super::secrets::Filled;
use super::{Bounds, Deadline, Fetcher, Held, blocking, download};
use crate::Error;
use crate::source::Database;

/// A database and what is asked of it.
pub(super) struct Ask<'a> {
    pub(super) database: Database,
    /// The address, as it may be shown.
    pub(super) shown: &'a str,
    /// The address with its secrets, or the path of a file.
    pub(super) filled: &'a Filled,
    /// The statement.
    pub(super) sql: &'a str,
    pub(super) bounds: Bounds,
    /// By when it is to be answered.
    pub(super) deadline: Deadline<'a>,
}

impl Fetcher {
    /// The SQL of a query: itself, or what the file says.
    ///
    /// # Errors
    /// When the file cannot be read, or there is nothing in it.
    pub async fn sql(&self, query: &str, root: &Path) -> Result<String, Error> {
        let query = query.trim();
        let is_file = query.to_lowercase().ends_with(".sql") && !query.contains(char::is_whitespace);
        let sql = if is_file {
            let path = root.join(query);
            blocking(move || std::fs::read_to_string(&path).map_err(Error::io("read", &path))).await?
        } else {
            query.to_owned()
        };
        let sql = sql.trim().trim_end_matches(';').trim_end().to_owned();
        if sql.is_empty() {
            let reason = "the query is empty".to_owned();
            return Err(Error::Query { what: query.to_owned(), reason });
        }
        Ok(sql)
    }

    /// The file with what a query gives now. To wait for another process that asks the same is a part of the
    /// time.
    pub(super) async fn query(&self, ask: &Ask<'_>) -> Result<(PathBuf, Held), Error> {
        if !ordered(ask.sql) {
            let message =
                "the query has no ORDER BY: where the database gives its rows in another order, that \
                           is another version"
                    .to_owned();
            self.progress.report(Event::Note { subject: ask.shown.to_owned(), message });
        }
        let key = Digest::of(format!("{}\0{}", ask.shown, ask.sql).as_bytes()).short();
        let slot = self.cache.join("queries").join(key);
        std::fs::create_dir_all(&slot).map_err(Error::io("make", &slot))?;
        let held = Held::by(ask.deadline.keep(download::lock(&slot)).await?);
        let path = slot.join("query.parquet");
        let asked = async {
            match ask.database {
                Database::Postgres => postgres::ask(self, ask, &path).await,
                Database::MySql => mysql::ask(self, ask, &path).await,
                Database::Sqlite => sqlite::ask(self, ask, &path).await,
            }
        };
        match ask.deadline.end {
            None => asked.await?,
            Some((end, _)) => tokio::time::timeout_at(end, asked).await.map_err(|_| ask.late())??,
        };
        Ok((path, held))
    }
}

impl Ask<'_> {
    /// What a database or its client said, without secrets.
    fn failed(&self, reason: &str) -> Error {
        Error::Query { what: self.shown.to_owned(), reason: self.filled.redact(reason) }
    }

    /// That it has taken too long.
    fn late(&self) -> Error {
        let time = self.bounds.time.unwrap_or_default();
        self.failed(&format!("it took longer than {} s", time.as_secs_f64()))
    }

    fn unreachable(&self, reason: &str) -> Error {
        let (what, reason) = (self.shown.to_owned(), self.filled.redact(reason));
        Error::SourceUnavailable { what, reason, hint: None }
    }

    /// An error of the client: of the way there, or of the question.
    fn client(&self, error: &sqlx::Error) -> Error {
        match error {
            sqlx::Error::Database(said) => self.failed(said.message()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                self.unreachable(&error.to_string())
            }
            other => self.failed(&other.to_string()),
        }
    }
}

/// A file that is being filled with rows, and the progress of it.
struct Sink<'a> {
    rows: Rows,
    fetcher: &'a Fetcher,
    subject: &'a str,
    columns: usize,
    path: PathBuf,
    /// The file may not have more bytes.
    bound: Option<u64>,
}

impl<'a> Sink<'a> {
    fn create(
        fetcher: &'a Fetcher,
        ask: &Ask<'a>,
        path: &Path,
        columns: &[(String, Kind)],
    ) -> Result<Self, Error> {
        if columns.is_empty() {
            return Err(ask.failed("it gives no columns"));
        }
        let rows = Rows::create(path, columns)?;
        let (path, bound) = (path.to_owned(), ask.bounds.size);
        Ok(Self { rows, fetcher, subject: ask.shown, columns: columns.len(), path, bound })
    }

    fn push(&mut self, column: usize, cell: Cell<'_>) -> Result<(), Error> {
        Ok(self.rows.push(column, cell)?)
    }

    fn end_row(&mut self) -> Result<(), Error> {
        self.rows.end_row()?;
        self.bounded(self.rows.written())?;
        let done = self.rows.rows();
        if done.is_multiple_of(50_000) {
            self.fetcher.progress.report(Event::Advanced {
                subject: self.subject.to_owned(),
                done,
                total: None,
                message: "rows".to_owned(),
            });
        }
        Ok(())
    }

    fn bounded(&self, size: u64) -> Result<(), Error> {
        match self.bound.filter(|bound| size > *bound) {
            Some(bound) => Err(Error::TooLarge { what: self.subject.to_owned(), size, bound }),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Error> {
        let Self { rows, subject, path, bound, .. } = self;
        rows.finish()?;
        let size = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        let Some(bound) = bound.filter(|bound| size > *bound) else { return Ok(()) };
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        Err(Error::TooLarge { what: subject.to_owned(), size, bound })
    }
}

/// Whether a query says the order of its rows; `ORDER BY` in what is quoted or said aside does not count.
fn ordered(sql: &str) -> bool {
    let mut words = Vec::new();
    let mut chars = sql.chars().peekable();
    let mut word = String::new();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            word.extend(c.to_lowercase());
            continue;
        }
        words.push(std::mem::take(&mut word));
        match c {
            '\'' | '"' | '`' => drop(chars.by_ref().find(|other| *other == c)),
            '-' if chars.peek() == Some(&'-') => drop(chars.by_ref().find(|other| *other == '\n')),
            _ => {}
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words.windows(2).any(|pair| pair == ["order", "by"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_seen_and_only_where_it_is_one() {
        assert!(ordered("SELECT * FROM t\nORDER   BY id"));
        assert!(ordered("select * from t order/**/by id"));
        for sql in
            ["SELECT * FROM t", "SELECT 'order by' FROM t", "SELECT 1 -- order by x", "SELECT \"order by\""]
        {
            assert!(!ordered(sql), "{sql}");
        }
    }
}
