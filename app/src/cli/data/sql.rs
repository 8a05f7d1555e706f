//! `rondo data sql`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rondo_core::handoff::DatasetVersion;
use rondo_core::{Code, Explain};
use rondo_pipeline::sql::{AnsweredColumn, DuckDb, Mention, Query, Table, mentioned};
use rondo_table::read::{self, TableReader};
use rondo_table::{records, select};
use serde_json::{Value, json};

use super::check::files::has_folder;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::notebook::kernel::memory;
use crate::cli::output::{Printer, plain, table};
use crate::cli::signals::cancelled;
use crate::platform::{Error, sql};

/// So many rows are shown on a terminal.
const SHOWN: u64 = 40;
/// So many rows go into JSON.
const IN_JSON: u64 = 100_000;

/// Ask datasets, their versions and files in SQL: one SELECT, answered by DuckDB
///
/// Datasets are tables by their names, versions by quoted ones ("flights@2", "flights@previous"), files by
/// their paths in single quotes ('x.parquet', 'parts/*.csv'). The statement reads these and nothing else, and
/// writes nothing. Results may be larger than memory.
#[derive(clap::Args)]
pub struct Args {
    /// The statement; `-` reads it from standard input
    #[arg(required_unless_present = "file")]
    statement: Option<String>,
    /// Read the statement from this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "statement")]
    file: Option<PathBuf>,
    /// Print every row as CSV
    #[arg(long, conflicts_with = "out")]
    csv: bool,
    /// Write every row to this file: Parquet, CSV or TSV by its ending
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show at most so many rows; 0 shows all [40 on a terminal, 100000 in JSON]
    #[arg(short = 'n', long, value_name = "ROWS")]
    limit: Option<u64>,
    /// The most memory that the engine takes, such as `2GB`; half of the machine's otherwise
    #[arg(long, value_parser = memory)]
    memory: Option<u64>,
}

/// Answers it.
///
/// # Errors
/// When the engine cannot be installed or refuses the statement, or a table is not there.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    if let Some(out) = &args.out {
        is_known(out)?;
        has_folder(session, out)?;
    }
    let statement = statement(args, session)?;
    let asked = Box::pin(asked(session, &statement)).await?;
    let folder = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
    let native = args.out.as_deref().is_some_and(is_parquet);
    let output = match args.out.as_deref().filter(|_| native) {
        Some(out) => session.path(out),
        None => folder.path().join("answer.parquet"),
    };
    let query = Query {
        statement,
        tables: asked.tables,
        output: output.clone(),
        plain: !native,
        memory: args.memory,
        folder: std::path::absolute(session.here()).map_err(Error::io("find", &session.here()))?,
    };
    let engine = match asked.engine {
        Some(engine) => engine,
        None => sql::outside(session.config(), session.printer().progress(), cancelled()).await?,
    };
    let columns = match (engine.answer(&query).await, asked.empty) {
        (Err(error), Some(empty)) if error.code() == Code::SqlInvalid => {
            return Err(Failure::hinted(error.code(), error.to_string(), format!("rondo data add {empty}")));
        }
        (Err(error), None) if error.code() == Code::SqlInvalid => {
            return Err(match misspelt(&error.to_string(), &asked.known) {
                Some((message, hint)) => Failure::hinted(error.code(), message, hint),
                None => error.into(),
            });
        }
        (answered, _) => answered?,
    };
    let versions = asked.versions;
    tokio::task::block_in_place(|| show(args, session, &output, &columns, &versions))
}

/// Whether the ending of a file's name says how it is to be written.
fn is_known(out: &Path) -> Outcome {
    const ENDINGS: [&str; 4] = ["parquet", "pq", "csv", "tsv"];
    let ending = out.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ENDINGS.contains(&ending.as_str()) {
        return Ok(());
    }
    let what = if ending.is_empty() { "no ending" } else { "an ending for which there is no writer" };
    Err(Failure::hinted(
        Code::Usage,
        format!("write `{}`: it has {what}; known are .parquet, .pq, .csv and .tsv", out.display()),
        format!("-o {}", out.with_extension("parquet").display()),
    ))
}

fn is_parquet(out: &Path) -> bool {
    let name = out.to_string_lossy().to_lowercase();
    !name.ends_with(".csv") && !name.ends_with(".tsv")
}

fn statement(args: &Args, session: &Session) -> Outcome<String> {
    let text = match (&args.file, args.statement.as_deref()) {
        (Some(file), _) => {
            let path = session.existing("statement", file)?;
            std::fs::read_to_string(&path).map_err(Error::io("read", &path))?
        }
        (None, Some("-")) => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(Error::io("read", Path::new("standard input")))?;
            text
        }
        (None, given) => given.unwrap_or_default().to_owned(),
    };
    match text.trim() {
        "" => Err(Failure::hinted(
            Code::Usage,
            "answer an empty statement",
            "rondo data sql \"select count(*) from 'x.parquet'\"",
        )),
        statement => Ok(statement.to_owned()),
    }
}

/// What is asked of which engine.
struct Asked {
    /// The project's, where there is one.
    engine: Option<DuckDb>,
    tables: BTreeMap<String, Table>,
    versions: BTreeMap<String, DatasetVersion>,
    /// A dataset that is mentioned and has no version yet.
    empty: Option<String>,
    /// The names of the datasets.
    known: Vec<String>,
}

async fn asked(session: &Session, statement: &str) -> Outcome<Asked> {
    let mut tables = sql::files_of(statement, &session.here())?;
    let mut asked = Asked {
        engine: None,
        tables: BTreeMap::new(),
        versions: BTreeMap::new(),
        empty: None,
        known: Vec::new(),
    };
    if session.project_root().is_some() {
        let platform = session.platform().await?;
        for (name, (table, version)) in platform.tables_of(statement).await? {
            tables.insert(name.clone(), table);
            asked.versions.insert(name, version);
        }
        asked.known = platform.store().meta().datasets().await?;
        asked.empty = platform.project().data.names().map(str::to_owned).find(|declared| {
            mentioned(statement).contains(&Mention::Name(declared.clone()))
                && !asked.versions.contains_key(declared)
        });
        asked.engine = Some(platform.sql(cancelled())?);
    }
    Ok(Asked { tables, ..asked })
}

/// What to say of a table that is not there: the engine knows its own tables, and no dataset that the statement
/// does not name.
fn misspelt(message: &str, known: &[String]) -> Option<(String, String)> {
    let (_, rest) = message.split_once("Table with name ")?;
    let (name, _) = rest.split_once(" does not exist")?;
    let message = message.lines().filter(|line| !line.starts_with("Did you mean ")).collect::<Vec<_>>();
    let near = rondo_core::suggest::nearest(name, known.iter().map(String::as_str));
    let hint = match (near, known) {
        (Some(near), _) => format!("did you mean the dataset `{near}`?"),
        (None, []) => "there is no dataset yet: rondo data add FILE, or name a file: from 'x.csv'".to_owned(),
        (None, known) => {
            let names: Vec<String> = known.iter().take(8).map(|name| format!("`{name}`")).collect();
            format!("datasets are {}; a file is named in single quotes", names.join(", "))
        }
    };
    Some((message.join("\n"), hint))
}

fn show(
    args: &Args,
    session: &Session,
    answer: &Path,
    columns: &[AnsweredColumn],
    versions: &BTreeMap<String, DatasetVersion>,
) -> Outcome {
    let printer = session.printer();
    if let Some(out) = &args.out {
        let rows = read::open(answer)?.rows();
        if !is_parquet(out) {
            select::copy(answer, &session.path(out))?;
        }
        let value = json!({ "schema": 1, "rows_total": rows, "columns": columns, "out": out });
        printer.result(&value, &format!("wrote {rows} rows to `{}`\n", out.display()));
        return Ok(());
    }
    let reader = read::open(answer)?;
    let total = reader.rows();
    if args.csv && !printer.json() {
        return Ok(select::csv(reader, &mut Lines::new(printer), b',').map(drop)?);
    }
    let most = match (args.limit, printer.json()) {
        (Some(0), _) => u64::MAX,
        (Some(limit), _) => limit,
        (None, true) => IN_JSON,
        (None, false) => SHOWN,
    };
    let rows = first_rows(reader, most)?;
    let used: BTreeMap<&String, Value> = versions
        .iter()
        .map(|(name, version)| (name, json!({ "dataset": version.dataset, "digest": version.digest })))
        .collect();
    let value = json!({
        "schema": 1, "columns": columns, "rows": rows, "rows_total": total,
        "complete": rows.len() as u64 == total, "tables": used,
    });
    printer.result(&value, &page(columns, &rows, total));
    Ok(())
}

fn first_rows(reader: TableReader, most: u64) -> Outcome<Vec<serde_json::Map<String, Value>>> {
    let mut rows = Vec::new();
    for row in records::Records::new(reader) {
        if rows.len() as u64 >= most {
            break;
        }
        rows.push(row?);
    }
    Ok(rows)
}

/// The rows in columns, and how many there are.
fn page(columns: &[AnsweredColumn], rows: &[serde_json::Map<String, Value>], total: u64) -> String {
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| shortened(&column.name)).collect()];
    for row in rows {
        lines.push(columns.iter().map(|column| cell(row.get(&column.name))).collect());
    }
    let mut text = table(&lines);
    let shown = rows.len() as u64;
    let plural = if total == 1 { "row" } else { "rows" };
    if shown == total {
        text.push_str(&format!("{total} {plural}\n"));
    } else {
        text.push_str(&format!("the first {shown} of {total} {plural} (all: --limit 0, --csv or -o FILE)\n"));
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(Value::String(text)) => shortened(text),
        Some(other) => other.to_string(),
    }
}

/// A text in one line of bounded length that no terminal obeys.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = plain(text);
    if line.chars().count() <= MOST {
        return line.to_string();
    }
    line.chars().take(MOST - 1).chain(['…']).collect()
}

/// Standard output, for a writer of lines.
struct Lines<'a> {
    printer: &'a Printer,
    whole: Whole,
}

impl<'a> Lines<'a> {
    fn new(printer: &'a Printer) -> Self {
        Self { printer, whole: Whole::default() }
    }
}

/// Puts characters together that come in pieces.
#[derive(Default)]
struct Whole(Vec<u8>);

impl Whole {
    /// The text that is whole with these bytes; the beginning of a character waits for its end.
    fn take(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let end = match std::str::from_utf8(&self.0) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.0.len(),
        };
        let rest = self.0.split_off(end);
        String::from_utf8_lossy(&std::mem::replace(&mut self.0, rest)).into_owned()
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.printer.out(&self.whole.take(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> AnsweredColumn {
        AnsweredColumn { name: name.to_owned(), column_type: "BIGINT".to_owned() }
    }

    #[test]
    fn a_character_in_two_pieces_is_one() {
        let (mut whole, text) = (Whole::default(), "aé→😀b");
        let pieces = text.as_bytes().iter().map(|byte| whole.take(&[*byte]));
        assert_eq!(pieces.collect::<String>(), text);
        assert_eq!(whole.take(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn a_table_that_is_not_there_is_near_a_dataset_and_none_of_the_engines_own() {
        let said = "refused: Catalog Error: Table with name flihts does not exist!\nDid you mean \"pg_class\"?\n\n                    LINE 1: select * from flihts";
        let known = ["flights".to_owned(), "weather".to_owned()];
        let (message, hint) = misspelt(said, &known).unwrap();
        assert_eq!(hint, "did you mean the dataset `flights`?");
        assert!(!message.contains("pg_class") && message.contains("LINE 1"), "{message}");
        assert!(
            misspelt(&said.replace("flihts", "xyzzy"), &known).unwrap().1.contains("`flights`, `weather`")
        );
        assert!(misspelt(said, &[]).unwrap().1.contains("no dataset yet"));
        assert!(misspelt("refused: Parser Error", &known).is_none());
    }

    #[test]
    fn an_ending_that_nobody_writes_is_refused() {
        for name in ["a.parquet", "a.CSV", "b.tsv", "x.pq"] {
            assert!(is_known(Path::new(name)).is_ok(), "{name}");
        }
        for name in ["out.xyz", "out", "out.json"] {
            assert!(is_known(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_page_says_how_many_rows_there_are() {
        let row = |n: i64| serde_json::Map::from_iter([("n".to_owned(), json!(n))]);
        assert_eq!(page(&[column("n")], &[row(1), row(2)], 2), "n\n1\n2\n2 rows\n");
        let text = page(&[column("n"), column("gone")], &[row(1)], 7);
        assert!(text.contains("1  NULL") && text.contains("the first 1 of 7 rows"), "{text}");
    }
}
