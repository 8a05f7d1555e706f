//! Several statements that go to the database in one piece.
//!
//! Each statement that the driver is given is a trip to another thread and back, which costs more than a
//! small write itself. A script is a list of statements that share their arguments, go in one trip, and
//! stand or fall together. It cannot look at what one statement gave before the next: what must hold is
//! put so that a statement fails where it does not. (PostgreSQL takes no arguments with a list of
//! statements; there the same statements are sent one by one.)

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Encode, Sqlite, SqliteConnection, Type};

/// Beyond so many arguments a text is prepared for one use: it is unlikely to come again.
const KEPT: usize = 512;

/// Statements and their arguments.
#[derive(Default)]
pub(super) struct Script {
    text: String,
    arguments: SqliteArguments,
}

impl Script {
    /// A script whose first argument, `$1`, is this.
    pub(super) fn on<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(first: T) -> Result<Self, sqlx::Error> {
        let mut script = Self::default();
        script.arguments.add(first).map_err(sqlx::Error::Encode)?;
        Ok(script)
    }

    /// Adds text that this program has made.
    pub(super) fn sql(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value: a placeholder in the text, and its argument.
    pub(super) fn value<'t, T>(&mut self, value: T) -> Result<&mut Self, sqlx::Error>
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        // Writing to a text cannot fail.
        let _ = write!(self.text, "${}", self.arguments.len());
        Ok(self)
    }

    /// Adds `($1, $n, $n), ...`: rows of keys and values that all begin with the first argument.
    pub(super) fn pairs(&mut self, pairs: &[(String, String)]) -> Result<&mut Self, sqlx::Error> {
        for (index, (key, value)) in pairs.iter().enumerate() {
            self.sql(if index == 0 { "($1, " } else { ", ($1, " });
            self.value(key.as_str())?.sql(", ").value(value.as_str())?.sql(")");
        }
        Ok(self)
    }

    /// Sends it between two other statements; the rows of all its statements. A script is sent once.
    pub(super) async fn send(
        &mut self,
        connection: &mut SqliteConnection,
        before: &str,
        after: &str,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let arguments = std::mem::take(&mut self.arguments);
        let kept = arguments.len() <= KEPT;
        // What users wrote is bound; the text is this crate's own.
        let text = sqlx::AssertSqlSafe(format!("{before}{}{after}", self.text));
        sqlx::query_with(text, arguments).persistent(kept).fetch_all(connection).await
    }
}
