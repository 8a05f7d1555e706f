//! MySQL and MariaDB. Values come as text and go into the file by the type that their column has; the scale
//! of decimals, which the client does not tell, is that of the first one that comes: within a column the
//! server writes all with the same.

use std::path::Path;

use futures::StreamExt;
use rondo_table::typed::{Cell, Kind};
use sqlx::mysql::{MySqlColumn, MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, MySql, Row, SqlSafeStr, Statement, Type, TypeInfo};

use super::{Ask, Sink};
use crate::Error;
use crate::fetch::Fetcher;

/// Rows that are held until the scale of every decimal is known.
const HELD: usize = 10_000;
/// The scale of decimals of which none has come by then.
const SCALE: u8 = 10;

pub(super) async fn ask(fetcher: &Fetcher, ask: &Ask<'_>, path: &Path) -> Result<(), Error> {
    let address = ask.filled.text.replacen("mariadb:", "mysql:", 1);
    let mut options: MySqlConnectOptions =
        address.parse().map_err(|error: sqlx::Error| ask.unreachable(&error.to_string()))?;
    let has_password = reqwest::Url::parse(&address).is_ok_and(|url| url.password().is_some());
    if let Some(password) = fetcher.environment.get("MYSQL_PWD").filter(|_| !has_password) {
        options = options.password(password);
    }
    let connected = MySqlConnection::connect_with(&options).await;
    let mut connection = connected.map_err(|error| match &error {
        sqlx::Error::Database(said) => ask.unreachable(said.message()),
        other => ask.unreachable(&other.to_string()),
    })?;
    for manners in [
        "SET time_zone = '+00:00'",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION READ ONLY",
    ] {
        sqlx::raw_sql(manners).execute(&mut connection).await.map_err(|error| ask.client(&error))?;
    }
    let statement = (&mut connection).prepare(AssertSqlSafe(ask.sql.to_owned()).into_sql_str()).await;
    let statement = statement.map_err(|error| ask.client(&error))?;
    let described: Vec<MySqlColumn> = statement.columns().to_vec();
    drop(statement);
    let mut columns: Vec<(String, Kind)> =
        described.iter().map(|column| (column.name().to_owned(), kind_of(column))).collect();
    let decimals: Vec<usize> = (0..described.len())
        .filter(|index| described.get(*index).is_some_and(|column| column.type_info().name() == "DECIMAL"))
        .collect();
    let mut scales: Vec<Option<u8>> = vec![None; described.len()];
    let mut held: Vec<MySqlRow> = Vec::new();
    let mut sink = None;
    {
        let mut rows = sqlx::raw_sql(AssertSqlSafe(ask.sql.to_owned())).fetch(&mut connection);
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| ask.client(&error))?;
            if row.len() != columns.len() {
                return Err(ask.failed("it is more than one statement"));
            }
            if let Some(sink) = &mut sink {
                push(sink, &row, &columns, ask)?;
                continue;
            }
            for index in &decimals {
                if let (Some(scale), Some(text)) = (scales.get_mut(*index), text(&row, *index, ask)?) {
                    scale.get_or_insert_with(|| scale_of(text));
                }
            }
            held.push(row);
            if held.len() >= HELD
                || decimals.iter().all(|index| scales.get(*index).is_some_and(Option::is_some))
            {
                let begun = begin(fetcher, ask, path, &mut columns, &decimals, &scales);
                let sink = sink.insert(begun?);
                for row in held.drain(..) {
                    push(sink, &row, &columns, ask)?;
                }
            }
        }
    }
    let mut sink = match sink {
        Some(sink) => sink,
        None => begin(fetcher, ask, path, &mut columns, &decimals, &scales)?,
    };
    for row in held.drain(..) {
        push(&mut sink, &row, &columns, ask)?;
    }
    sink.finish()?;
    // It has only read: nothing is lost where the server is gone by now.
    let _ = connection.close().await;
    Ok(())
}

fn begin<'a>(
    fetcher: &'a Fetcher,
    ask: &Ask<'a>,
    path: &Path,
    columns: &mut [(String, Kind)],
    decimals: &[usize],
    scales: &[Option<u8>],
) -> Result<Sink<'a>, Error> {
    for index in decimals {
        if let Some((_, kind)) = columns.get_mut(*index) {
            *kind = Kind::Decimal(38, scales.get(*index).copied().flatten().unwrap_or(SCALE));
        }
    }
    Sink::create(fetcher, ask, path, columns)
}

fn push(sink: &mut Sink<'_>, row: &MySqlRow, columns: &[(String, Kind)], ask: &Ask<'_>) -> Result<(), Error> {
    for (index, (name, kind)) in columns.iter().enumerate() {
        if *kind == Kind::Bytes {
            let bytes = bytes(row, index, ask)?;
            sink.push(index, bytes.map_or(Cell::Null, Cell::Bytes))?;
            continue;
        }
        match text(row, index, ask)? {
            None => sink.push(index, Cell::Null)?,
            // The calendar has no such day: the server writes it where a moment is missing.
            Some(text) if matches!(kind, Kind::Date | Kind::Moment(_)) && text.starts_with("0000-00-00") => {
                return Err(ask.failed(&format!(
                    "`{name}` has the day 0000-00-00, which is none: NULLIF({name}, '0000-00-00')"
                )));
            }
            Some(text) => sink.push(index, Cell::Text(text))?,
        }
    }
    sink.end_row()
}

fn bytes<'r>(row: &'r MySqlRow, index: usize, ask: &Ask<'_>) -> Result<Option<&'r [u8]>, Error> {
    row.try_get_unchecked(index).map_err(|error| ask.client(&error))
}

fn text<'r>(row: &'r MySqlRow, index: usize, ask: &Ask<'_>) -> Result<Option<&'r str>, Error> {
    let text = bytes(row, index, ask)?.map(std::str::from_utf8).transpose();
    text.map_err(|_| ask.failed("it gives text that is not UTF-8"))
}

fn scale_of(text: &str) -> u8 {
    text.split_once('.').map_or(0, |(_, digits)| u8::try_from(digits.len()).unwrap_or(u8::MAX))
}

/// The name of a type says bytes too of a text that is compared by its bytes (MariaDB's JSON is one).
fn kind_of(column: &MySqlColumn) -> Kind {
    match kind(column.type_info().name()) {
        Kind::Bytes if <str as Type<MySql>>::compatible(column.type_info()) => Kind::Text,
        kind => kind,
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "YEAR" | "TINYINT UNSIGNED"
        | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" => Kind::Integer,
        "BIGINT UNSIGNED" => Kind::Unsigned,
        "FLOAT" | "DOUBLE" => Kind::Number,
        "DATE" => Kind::Date,
        "DATETIME" => Kind::Moment(false),
        "TIMESTAMP" => Kind::Moment(true),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "BIT" | "GEOMETRY" => {
            Kind::Bytes
        }
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_scales_are_told() {
        assert_eq!((scale_of("12.50"), scale_of("7")), (2, 0));
        assert_eq!(
            [kind("BIGINT UNSIGNED"), kind("JSON"), kind("TIMESTAMP")],
            [Kind::Unsigned, Kind::Text, Kind::Moment(true)]
        );
    }
}
