//! Several statements that go to the database in one piece.
//!
//! A script is data: statements and their arguments, which share the first one, are sent one after the
//! other by the thread of the [`scribe`](super::scribe), and stand or fall together. It cannot look at what
//! one statement gave before the next: what must hold is put so that a statement fails where it does not.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::types::{FromSql, Value, ValueRef};
use rusqlite::{Connection, Statement};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::Error;

/// Beyond so many arguments a text is prepared for one use: it is unlikely to come again.
const KEPT: usize = 512;

/// Statements and their arguments.
pub(super) struct Script {
    first: Value,
    statements: Vec<Piece>,
}

#[derive(Default)]
struct Piece {
    text: String,
    /// From `$2` on.
    values: Vec<Value>,
}

impl Script {
    /// A script whose first argument, `$1` of every statement, is this.
    pub(super) fn on(first: impl Into<Value>) -> Self {
        Self { first: first.into(), statements: Vec::new() }
    }

    /// Begins a statement with text that this program has made.
    pub(super) fn statement(&mut self, text: &str) -> &mut Self {
        self.statements.push(Piece { text: text.to_owned(), values: Vec::new() });
        self
    }

    /// Goes on with the statement.
    pub(super) fn sql(&mut self, text: &str) -> &mut Self {
        self.last().text.push_str(text);
        self
    }

    /// Adds a value: a placeholder in the text, and its argument.
    pub(super) fn value(&mut self, value: impl Into<Value>) -> &mut Self {
        let piece = self.last();
        piece.values.push(value.into());
        // Writing to a text cannot fail.
        let _ = write!(piece.text, "${}", piece.values.len() + 1);
        self
    }

    /// Adds `($1, $n, $n), ...`: rows of keys and values that all begin with the first argument.
    pub(super) fn pairs(&mut self, pairs: &[(String, String)]) -> &mut Self {
        for (index, (key, value)) in pairs.iter().enumerate() {
            self.sql(if index == 0 { "($1, " } else { ", ($1, " });
            self.value(key.clone()).sql(", ").value(value.clone()).sql(")");
        }
        self
    }

    fn last(&mut self) -> &mut Piece {
        if self.statements.is_empty() {
            self.statements.push(Piece::default());
        }
        let last = self.statements.len() - 1;
        &mut self.statements[last]
    }

    /// Sends it; the rows of all its statements.
    pub(super) fn send(&self, connection: &Connection) -> rusqlite::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for piece in &self.statements {
            if piece.values.len() <= KEPT {
                self.step(piece, &mut *connection.prepare_cached(&piece.text)?, &mut rows)?;
            } else {
                self.step(piece, &mut connection.prepare(&piece.text)?, &mut rows)?;
            }
        }
        Ok(rows)
    }

    fn step(
        &self,
        piece: &Piece,
        statement: &mut Statement<'_>,
        into: &mut Vec<Row>,
    ) -> rusqlite::Result<()> {
        for index in 1..=statement.parameter_count() {
            // SQLite takes `$1` for a name, and counts names as they come.
            let number =
                statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
            let value = match number {
                Some(1) => Some(&self.first),
                Some(number) => number.checked_sub(2).and_then(|place| piece.values.get(place)),
                None => None,
            };
            statement.raw_bind_parameter(index, value)?;
        }
        if statement.column_count() == 0 {
            return statement.raw_execute().map(drop);
        }
        let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut found = statement.raw_query();
        while let Some(row) = found.next()? {
            let values = (0..columns.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            into.push(Row { columns: Arc::clone(&columns), values });
        }
        Ok(())
    }
}

/// A row that a statement gave.
#[derive(Debug)]
pub(super) struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// When there is no such column, or it holds another type.
    pub(super) fn get<T: FromSql>(&self, name: &str) -> Result<T, Error> {
        let place = self.columns.iter().position(|column| column == name);
        let value = place.and_then(|place| self.values.get(place));
        let value = value.ok_or_else(|| rusqlite::Error::InvalidColumnName(name.to_owned()))?;
        let wrong = |error| {
            let place = place.unwrap_or_default();
            rusqlite::Error::FromSqlConversionFailure(place, value.data_type(), Box::new(error))
        };
        Ok(T::column_result(ValueRef::from(value)).map_err(wrong)?)
    }
}

/// Columns by their names, whichever way the row came.
pub(super) trait Columns {
    /// A text.
    fn text(&self, name: &str) -> Result<String, Error>;
    /// A text, or nothing.
    fn text_if(&self, name: &str) -> Result<Option<String>, Error>;
    /// A whole number.
    fn number(&self, name: &str) -> Result<i64, Error>;
    /// A whole number, or nothing.
    fn number_if(&self, name: &str) -> Result<Option<i64>, Error>;
}

impl Columns for Row {
    fn text(&self, name: &str) -> Result<String, Error> {
        self.get(name)
    }

    fn text_if(&self, name: &str) -> Result<Option<String>, Error> {
        self.get(name)
    }

    fn number(&self, name: &str) -> Result<i64, Error> {
        self.get(name)
    }

    fn number_if(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name)
    }
}

impl Columns for SqliteRow {
    fn text(&self, name: &str) -> Result<String, Error> {
        Ok(self.try_get(name)?)
    }

    fn text_if(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.try_get(name)?)
    }

    fn number(&self, name: &str) -> Result<i64, Error> {
        Ok(self.try_get(name)?)
    }

    fn number_if(&self, name: &str) -> Result<Option<i64>, Error> {
        Ok(self.try_get(name)?)
    }
}
