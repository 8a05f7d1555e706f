//! Several statements that go to the database in one piece.
//!
//! A script is data: statements and their arguments, which share the first one, are sent one after the
//! other by the thread of the [`scribe`](super::scribe), and stand or fall together. It cannot look at what
//! one statement gave before the next: what must hold is put so that a statement fails where it does not.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::types::{FromSql, Value, ValueRef};
use rusqlite::{Connection, Params, Statement};
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
    /// How many of the values stand before `$1`, where that is in the text.
    before_first: Option<usize>,
}

impl Piece {
    fn add(&mut self, text: &str) {
        if self.before_first.is_none() && text.contains("$1") {
            self.before_first = Some(self.values.len());
        }
        self.text.push_str(text);
    }
}

impl Script {
    /// A script whose first argument, `$1` of every statement, is this.
    pub(super) fn on(first: impl Into<Value>) -> Self {
        Self { first: first.into(), statements: Vec::new() }
    }

    /// Begins a statement with text that this program has made.
    pub(super) fn statement(&mut self, text: &str) -> &mut Self {
        self.statements.push(Piece::default());
        self.sql(text)
    }

    /// Goes on with the statement. Of placeholders the text may have `$1` alone.
    pub(super) fn sql(&mut self, text: &str) -> &mut Self {
        self.last().add(text);
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
        // SQLite takes `$1` for a name, and counts names as they come: the values in their order, and the
        // first argument where it stands first.
        let (before, after) = match piece.before_first {
            Some(before) => piece.values.split_at_checked(before).unwrap_or_default(),
            None => (piece.values.as_slice(), &[][..]),
        };
        let first = piece.before_first.map(|_| &self.first);
        for (index, value) in before.iter().chain(first).chain(after).enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        if statement.column_count() == 0 {
            return statement.raw_execute().map(drop);
        }
        let columns = columns(statement);
        let mut found = statement.raw_query();
        while let Some(row) = found.next()? {
            into.push(Row::of(row, &columns)?);
        }
        Ok(())
    }
}

fn columns(statement: &Statement<'_>) -> Arc<[String]> {
    statement.column_names().into_iter().map(str::to_owned).collect()
}

/// The rows that a statement gives for its arguments.
pub(super) fn rows(statement: &mut Statement<'_>, arguments: impl Params) -> rusqlite::Result<Vec<Row>> {
    let columns = columns(statement);
    let mut found = statement.query(arguments)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(Row::of(row, &columns)?);
    }
    Ok(rows)
}

/// A row that a statement gave.
#[derive(Debug)]
pub(super) struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    fn of(row: &rusqlite::Row<'_>, columns: &Arc<[String]>) -> rusqlite::Result<Self> {
        let values = (0..columns.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        Ok(Self { columns: Arc::clone(columns), values })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_may_stand_anywhere_and_twice_or_not_at_all() {
        let mut script = Script::on("first".to_owned());
        script.statement("SELECT ").value("a".to_owned()).sql(" || $1 || ").value("b".to_owned());
        script.sql(" || $1 AS x");
        script.statement("SELECT $1 || ").value("c".to_owned()).sql(" AS x");
        script.statement("SELECT ").value("d".to_owned()).sql(" AS x");
        script.statement("SELECT 'none' AS x");
        let rows = script.send(&Connection::open_in_memory().unwrap()).unwrap();
        let texts: Vec<String> = rows.iter().map(|row| row.get("x").unwrap()).collect();
        assert_eq!(texts, ["afirstbfirst", "firstc", "d", "none"]);
    }
}
