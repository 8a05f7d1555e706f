//! PostgreSQL. Values come as text, in which every type can be told, and go into the file by the type that
//! their column has; what has no counterpart there (arrays, ranges, intervals, JSON) stays text.

use std::path::Path;

use futures::StreamExt;
use rondo_core::ports::Event;
use rondo_table::typed::{Cell, Kind};
use sqlx::postgres::{PgColumn, PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::{Ask, Sink};
use crate::Error;
use crate::fetch::Fetcher;

/// Texts are to mean the same whatever the server's settings are, and nothing is to be changed.
const MANNERS: &str = "SET TIME ZONE 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; \
     SET bytea_output = 'hex'; SET extra_float_digits = 1";
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) async fn ask(fetcher: &Fetcher, ask: &Ask<'_>, path: &Path) -> Result<(), Error> {
    let options: PgConnectOptions =
        ask.filled.text.parse().map_err(|error: sqlx::Error| ask.unreachable(&error.to_string()))?;
    let mut options = options.application_name("rondo");
    let has_password = reqwest::Url::parse(&ask.filled.text).is_ok_and(|url| url.password().is_some());
    if let Some(password) = fetcher.environment.get("PGPASSWORD").filter(|_| !has_password) {
        options = options.password(password);
    }
    let mut connection = PgConnection::connect_with(&options).await.map_err(|error| reached(ask, &error))?;
    sqlx::raw_sql(MANNERS).execute(&mut connection).await.map_err(|error| ask.client(&error))?;
    let statement = (&mut connection).prepare(AssertSqlSafe(ask.sql.to_owned()).into_sql_str()).await;
    let statement = statement.map_err(|error| ask.client(&error))?;
    let described: Vec<PgColumn> = statement.columns().to_vec();
    drop(statement);
    let digits = if described.iter().any(is_numeric) {
        digits(&mut connection, ask.sql, described.len()).await
    } else {
        Vec::new()
    };
    let mut columns = Vec::new();
    for (index, column) in described.iter().enumerate() {
        let kind = kind(column, digits.get(index).copied());
        if is_numeric(column) && kind == Kind::Number {
            let message = format!(
                "`{0}` is a numeric without a scale and is read as floating point; for exact decimals: \
                 CAST({0} AS numeric(20, 4))",
                column.name()
            );
            fetcher.progress.report(Event::Note { subject: ask.shown.to_owned(), message });
        }
        columns.push((column.name().to_owned(), kind));
    }
    sqlx::raw_sql(BEGIN).execute(&mut connection).await.map_err(|error| ask.client(&error))?;
    let mut sink = Sink::create(fetcher, ask, path, &columns)?;
    {
        let mut rows = sqlx::raw_sql(AssertSqlSafe(ask.sql.to_owned())).fetch(&mut connection);
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| ask.client(&error))?;
            push(&mut sink, &row, &columns, ask)?;
        }
    }
    sink.finish()?;
    // It has only read: nothing is lost where the server is gone by now.
    let _ = connection.close().await;
    Ok(())
}

fn reached(ask: &Ask<'_>, error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(said) => ask.unreachable(said.message()),
        other => ask.unreachable(&other.to_string()),
    }
}

fn push(sink: &mut Sink<'_>, row: &PgRow, columns: &[(String, Kind)], ask: &Ask<'_>) -> Result<(), Error> {
    if row.len() != sink.columns {
        return Err(ask.failed("it is more than one statement"));
    }
    for (index, (_, kind)) in columns.iter().enumerate() {
        let value = row.try_get_raw(index).map_err(|error| ask.client(&error))?;
        if value.is_null() {
            sink.push(index, Cell::Null)?;
            continue;
        }
        let text = value.as_str().map_err(|_| ask.failed("it gives text that is not UTF-8"))?;
        match kind {
            Kind::Bytes => sink.push(index, Cell::Bytes(&unhex(text)))?,
            _ => sink.push(index, Cell::Text(text))?,
        }
    }
    sink.end_row()
}

fn is_numeric(column: &PgColumn) -> bool {
    column.type_info().name() == "NUMERIC"
}

fn kind(column: &PgColumn, digits: Option<i32>) -> Kind {
    match column.type_info().name() {
        "BOOL" => Kind::Boolean,
        "INT2" | "INT4" | "INT8" | "OID" => Kind::Integer,
        "FLOAT4" | "FLOAT8" => Kind::Number,
        "NUMERIC" => digits.and_then(decimal).unwrap_or(Kind::Number),
        "BYTEA" => Kind::Bytes,
        "DATE" => Kind::Date,
        "TIMESTAMP" => Kind::Moment(false),
        "TIMESTAMPTZ" => Kind::Moment(true),
        _ => Kind::Text,
    }
}

/// The digits of a numeric, as the catalogue packs them; nothing for one that has any number of them.
fn decimal(packed: i32) -> Option<Kind> {
    let packed = u32::try_from(packed.checked_sub(4)?).ok()?;
    let (precision, scale) = (packed >> 16, packed & 0xffff);
    let fits = precision <= 38 && scale <= precision;
    fits.then(|| Some(Kind::Decimal(u8::try_from(precision).ok()?, u8::try_from(scale).ok()?)))?
}

/// The digits of the columns, as the catalogue packs them: those of a view that is the query and goes with
/// this connection. Where that cannot be made (a server that is only read, a user who may not) none are known.
async fn digits(connection: &mut PgConnection, sql: &str, columns: usize) -> Vec<i32> {
    // One statement by its protocol: whatever the query is, nothing else is done outside of the transaction.
    let view = AssertSqlSafe(format!("CREATE TEMPORARY VIEW rondo_query AS {sql}"));
    if sqlx::query(view).execute(&mut *connection).await.is_err() {
        return Vec::new();
    }
    let sql = "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'pg_temp.rondo_query'::regclass AND attnum > 0 \
               ORDER BY attnum";
    let digits = sqlx::query_scalar(sql).fetch_all(connection).await.unwrap_or_default();
    if digits.len() == columns { digits } else { Vec::new() }
}

/// The bytes of `\x0aff`.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap_or_default().as_bytes();
    let value =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_digits_and_bytes_are_read() {
        assert_eq!(decimal((10 << 16 | 2) + 4), Some(Kind::Decimal(10, 2)));
        assert_eq!(decimal(-1), None);
        assert_eq!(decimal((60 << 16 | 2) + 4), None);
        assert_eq!(unhex("\\x00ff1A"), [0, 255, 26]);
        assert!(unhex("\\x").is_empty());
    }
}
