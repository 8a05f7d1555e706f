//! SQLite, where a value has a type and its column only a wish. So the query is asked twice in one
//! transaction: first for the types of all values, then for the values. Integers among numbers are numbers,
//! numbers among texts are text; bytes beside anything else are a fault.

use std::path::Path;

use rondo_table::typed::{Cell, Kind};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Ask, Sink};
use crate::Error;
use crate::fetch::Fetcher;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    integer: bool,
    real: bool,
    text: bool,
    blob: bool,
    /// Whether an integer is neither 0 nor 1.
    other_integer: bool,
    /// Whether a text is no moment.
    other_text: bool,
}

pub(super) async fn ask(fetcher: &Fetcher, ask: &Ask<'_>, path: &Path) -> Result<(), Error> {
    // The file is on this machine and the library waits for it: other tasks have other threads.
    tokio::task::block_in_place(|| read(fetcher, ask, path))
}

fn read(fetcher: &Fetcher, ask: &Ask<'_>, path: &Path) -> Result<(), Error> {
    let file = Path::new(&ask.filled.text);
    if !file.is_file() {
        return Err(Error::SourceNotFound { what: ask.shown.to_owned(), near: None });
    }
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => ask.late(),
        _ => ask.failed(&error.to_string()),
    };
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    if let Some((end, _)) = ask.deadline.end {
        let end = end.into_std();
        connection
            .progress_handler(100_000, Some(move || std::time::Instant::now() > end))
            .map_err(failed)?;
    }
    connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(failed)?;
    connection.execute_batch("BEGIN").map_err(failed)?;
    let mut statement = connection.prepare(ask.sql).map_err(failed)?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(ask.failed("it is no query"));
    }
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let wishes: Vec<String> = statement
        .columns()
        .iter()
        .map(|column| column.decl_type().unwrap_or_default().to_uppercase())
        .collect();
    let mut seen = vec![Seen::default(); names.len()];
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        for (index, seen) in seen.iter_mut().enumerate() {
            look(seen, row.get_ref(index).map_err(failed)?);
        }
    }
    drop(rows);
    let mut columns = Vec::new();
    for ((name, wish), seen) in names.iter().zip(&wishes).zip(&seen) {
        let kind = kind(wish, *seen).ok_or_else(|| {
            ask.failed(&format!("`{name}` has bytes in some rows and other values in others"))
        })?;
        columns.push((name.clone(), kind));
    }
    let mut sink = Sink::create(fetcher, ask, path, &columns)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        for index in 0..columns.len() {
            let cell = match row.get_ref(index).map_err(failed)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Integer(value),
                ValueRef::Real(value) => Cell::Number(value),
                ValueRef::Text(text) => {
                    let text = std::str::from_utf8(text);
                    Cell::Text(text.map_err(|_| ask.failed("it gives text that is not UTF-8"))?)
                }
                ValueRef::Blob(bytes) => Cell::Bytes(bytes),
            };
            sink.push(index, cell)?;
        }
        sink.end_row()?;
    }
    sink.finish()
}

fn look(seen: &mut Seen, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => {}
        ValueRef::Integer(value) => {
            seen.integer = true;
            seen.other_integer |= !matches!(value, 0 | 1);
        }
        ValueRef::Real(_) => seen.real = true,
        ValueRef::Text(text) => {
            seen.text = true;
            let moment = std::str::from_utf8(text).ok().and_then(rondo_table::moment::parse);
            seen.other_text |= moment.is_none();
        }
        ValueRef::Blob(_) => seen.blob = true,
    }
}

fn kind(wish: &str, seen: Seen) -> Option<Kind> {
    let Seen { integer, real, text, blob, .. } = seen;
    let wants = |words: &[&str]| words.iter().any(|word| wish.contains(word));
    Some(match (integer, real, text, blob) {
        (false, false, false, false) => match wish {
            _ if wants(&["INT"]) => Kind::Integer,
            _ if wants(&["REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]) => Kind::Number,
            _ if wants(&["BOOL"]) => Kind::Boolean,
            _ if wants(&["BLOB"]) => Kind::Bytes,
            _ if wants(&["DATE", "TIMESTAMP"]) => Kind::Moment(false),
            _ => Kind::Text,
        },
        (true, false, false, false) if wants(&["BOOL"]) && !seen.other_integer => Kind::Boolean,
        (true, false, false, false) if wants(&["REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]) => Kind::Number,
        (true, false, false, false) => Kind::Integer,
        (_, true, false, false) => Kind::Number,
        (false, false, true, false) if wants(&["DATE", "TIMESTAMP"]) && !seen.other_text => {
            Kind::Moment(false)
        }
        (_, _, true, false) => Kind::Text,
        (false, false, false, true) => Kind::Bytes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_widen_and_bytes_stay_alone() {
        let of = |values: &[ValueRef<'_>], wish: &str| {
            let mut seen = Seen::default();
            values.iter().for_each(|value| look(&mut seen, *value));
            kind(wish, seen)
        };
        use ValueRef::{Blob, Integer, Null, Real, Text};
        assert_eq!(of(&[Integer(1), Null, Real(0.5)], "INTEGER"), Some(Kind::Number));
        assert_eq!(of(&[Integer(1), Text(b"x")], "INTEGER"), Some(Kind::Text));
        assert_eq!(of(&[Integer(1), Integer(0)], "BOOLEAN"), Some(Kind::Boolean));
        assert_eq!(of(&[Integer(2)], "BOOLEAN"), Some(Kind::Integer));
        assert_eq!(of(&[Text(b"2013-01-01 10:00:00")], "DATETIME"), Some(Kind::Moment(false)));
        assert_eq!(of(&[Text(b"soon")], "DATETIME"), Some(Kind::Text));
        assert_eq!(of(&[Blob(b"x"), Integer(1)], ""), None);
        assert_eq!(of(&[Null], "VARCHAR(10)"), Some(Kind::Text));
    }
}
