//! SQL that is asked by hand or by a check: one `SELECT` over named tables, answered by DuckDB.
//!
//! The engine is the one of `sql:` steps, in the same environment, made and locked in the same way. Each
//! question is a process of its own with a limit of memory, what does not fit goes to a folder beside it, and
//! the answer is a Parquet file. The statement reads the named tables and nothing else, and can write nothing.
//! It is no step: it has no key, no run and no cache.

mod names;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::ports::{Event, PortError, Progress, SqlEngine};
use rondo_core::signature::{Column, ColumnType};
use rondo_table::read::{self, Format, ReadOptions};
use rondo_table::write;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

use crate::Error;
use crate::environment::host::base_variables;
use crate::environment::{Environments, Making};
use crate::execute::process::{self, Command, Stopped};
use crate::packages::SQL;
use crate::run::machine::Amounts;
use crate::worktree::scratch;

pub use names::{Mention, mentioned};

/// The program that answers.
const PROGRAM: &str = include_str!("../../../packages/sql/query.py");

/// The least memory that the engine works with.
const LEAST_MEMORY: u64 = 128_000_000;

/// How a table's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// As Parquet, by the engine.
    Parquet,
    /// As delimited text, by the engine.
    Csv,
    /// As JSON, by the engine.
    Json,
    /// By Rondo, which hands it to the engine as Parquet.
    Other,
}

impl Reading {
    /// What the ending of a file's name says.
    pub fn of_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("parquet" | "pq") => Self::Parquet,
            Some("csv" | "tsv" | "tab") => Self::Csv,
            Some("json" | "jsonl" | "ndjson") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// A table that a statement may name.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its files, all of one form, in their order.
    pub files: Vec<PathBuf>,
    /// How they are read.
    pub reading: Reading,
    /// Its columns, where they are known: a text file's have these types.
    pub columns: Vec<Column>,
    /// How it was said to be laid out.
    pub options: ReadOptions,
}

impl Table {
    /// Files of one form. Those of delimited text have the types that a dataset of them would have, so that both
    /// give the same answer; where Rondo cannot read them alike, the engine sees for itself.
    pub fn of_files(files: Vec<PathBuf>, reading: Reading) -> Self {
        let options = ReadOptions::default();
        let mut columns = Vec::new();
        if reading == Reading::Csv {
            let read = files.iter().map(|file| Ok(read::open_with(file, &options)?.columns().to_vec()));
            let all: Vec<Vec<Column>> = read.collect::<rondo_table::Result<_>>().unwrap_or_default();
            columns = read::joint(&all).unwrap_or_default();
        }
        Self { files, reading, columns, options }
    }

    /// A file, or a folder of files; what it is is told by the names.
    ///
    /// # Errors
    /// When there is no such file, or no table in the folder.
    pub fn of_path(path: &Path) -> Result<Self, Error> {
        let options = ReadOptions::default();
        if !path.is_dir() {
            let reading = Reading::of_name(&path.to_string_lossy());
            return Ok(Self::of_files(vec![path.to_owned()], reading));
        }
        let mut files: Vec<PathBuf> = fs::read_dir(path)
            .map_err(Error::io("read", path))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| file.is_file() && !hidden(file))
            .collect();
        files.sort();
        let readings: Vec<Reading> =
            files.iter().map(|file| Reading::of_name(&file.to_string_lossy())).collect();
        match readings.first() {
            Some(first) if *first != Reading::Other && readings.iter().all(|reading| reading == first) => {
                Ok(Self::of_files(files, *first))
            }
            Some(_) | None => {
                let reading = Reading::Other;
                Ok(Self { files: vec![path.to_owned()], reading, columns: Vec::new(), options })
            }
        }
    }
}

fn hidden(file: &Path) -> bool {
    file.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']))
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// One `SELECT`.
    pub statement: String,
    /// The tables by the names that the statement may use.
    pub tables: BTreeMap<String, Table>,
    /// Where the rows go, as Parquet.
    pub output: PathBuf,
    /// Whether values that are no plain ones (lists, structures, dates without a time) become text.
    pub plain: bool,
    /// The most memory, in bytes; half of the machine's where none is named.
    pub memory: Option<u64>,
    /// Where relative names of files begin.
    pub folder: PathBuf,
}

/// A column of an answer, with the type that the engine gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredColumn {
    /// Its name.
    pub name: String,
    /// Its type, in the engine's words.
    #[serde(rename = "type")]
    pub column_type: String,
}

/// What the program says when it has ended.
#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    columns: Vec<AnsweredColumn>,
    error: Option<String>,
    #[serde(default)]
    message: String,
}

/// DuckDB, in the environment that the package `sql` brings along.
pub struct DuckDb {
    environments: Environments,
    host: BTreeMap<String, String>,
    progress: Arc<dyn Progress>,
    cancel: watch::Receiver<bool>,
    store: PathBuf,
}

impl DuckDb {
    /// Nothing is made yet.
    pub fn new(making: Making) -> Self {
        Self {
            host: making.host.clone(),
            progress: making.progress.clone(),
            cancel: making.cancel.clone(),
            store: making.store.root().to_owned(),
            environments: Environments::new(making),
        }
    }

    /// Answers.
    ///
    /// # Errors
    /// When the engine cannot be installed, or it refuses the statement or runs out of memory.
    pub async fn answer(&self, query: &Query) -> Result<Vec<AnsweredColumn>, Error> {
        let known = self.environments.known_package_lock(&SQL);
        if !known.is_some_and(|lock| self.environments.is_made(&lock)) {
            self.progress.report(Event::Note {
                subject: SQL.name.to_owned(),
                message: "its engine, DuckDB, is installed from the Python package index: once".to_owned(),
            });
        }
        let lock = self.environments.package_lock(&SQL).await?;
        let environment = self.environments.provision(&lock).await?;
        let missing =
            || Error::PythonMissing { environment: SQL.name.to_owned(), wanted: SQL.python.to_owned() };
        let python = environment.python.clone().ok_or_else(missing)?;

        let root = scratch(&self.store)?;
        let folder = tempfile::tempdir_in(&root).map_err(Error::io("write in", &root))?;
        let at = |name: &str| folder.path().join(name);
        let (program, order, out) = (at("query.py"), at("order.json"), at("out"));
        fs::create_dir(&out).map_err(Error::io("make", &out))?;
        let answer = out.join("answer.parquet");
        let (asked, given) = (query.clone(), at("given"));
        let tables = tokio::task::spawn_blocking(move || tables(&asked.tables, &given)).await??;
        let memory = query.memory.unwrap_or_else(|| Amounts::of_this_machine().memory / 2).max(LEAST_MEMORY);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let text = json!({
            "statement": query.statement, "tables": tables, "output": answer, "plain": query.plain,
            "memory": memory.min(1 << 50), "threads": threads, "temporary": at("spill"),
        });
        fs::write(&program, PROGRAM).map_err(Error::io("write", &program))?;
        fs::write(&order, text.to_string()).map_err(Error::io("write", &order))?;

        let mut variables = base_variables(&self.host);
        variables.extend(environment.variables.clone());
        let command = Command {
            program: python,
            // Nothing of the user's own Python gets in.
            arguments: vec!["-I".into(), program.into_os_string(), order.clone().into_os_string()],
            folder: query.folder.clone(),
            variables,
            mark: None,
        };
        let mut said = Vec::new();
        let mut take = |bytes: &[u8]| {
            said.extend_from_slice(bytes);
            let from = said.len().saturating_sub(1 << 16);
            said.drain(..from);
        };
        let ended = process::run(&command, None, &mut self.cancel.clone(), &mut take).await;
        let ended = ended.map_err(Error::io("start", &command.program))?;
        if ended.stopped == Some(Stopped::Cancelled) {
            return Err(Error::Interrupted);
        }
        let done: Option<Done> = fs::read(order.with_extension("done.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        let Some(done) = done else {
            let last = String::from_utf8_lossy(&said);
            let reason = match (ended.signal, last.trim()) {
                (Some(9), "") => {
                    "it was killed: the machine or its container has run out of memory".to_owned()
                }
                (Some(signal), "") => format!("it was ended by signal {signal}"),
                (_, said) => said.lines().last().unwrap_or("it said nothing").to_owned(),
            };
            return Err(Error::SqlFailed { reason, hint: None });
        };
        if let Some(kind) = done.error {
            return Err(refused(&kind, &done.message, query));
        }
        fs::rename(&answer, &query.output)
            .or_else(|_| fs::copy(&answer, &query.output).map(drop))
            .map_err(Error::io("write", &query.output))?;
        Ok(done.columns)
    }
}

#[async_trait]
impl SqlEngine for DuckDb {
    async fn query(
        &self,
        statement: &str,
        tables: &BTreeMap<String, PathBuf>,
        output: &Path,
    ) -> Result<(), PortError> {
        let boxed = |error: Error| Box::new(error) as PortError;
        let tables = tables
            .iter()
            .map(|(name, path)| Ok((name.clone(), Table::of_path(path)?)))
            .collect::<Result<BTreeMap<_, _>, Error>>()
            .map_err(boxed)?;
        let query = Query {
            statement: statement.to_owned(),
            tables,
            output: output.to_owned(),
            plain: true,
            memory: None,
            folder: self.store.clone(),
        };
        self.answer(&query).await.map(drop).map_err(boxed)
    }
}

/// The tables for the program. What the engine cannot read is written as Parquet first.
fn tables(tables: &BTreeMap<String, Table>, folder: &Path) -> Result<Value, Error> {
    let mut told = serde_json::Map::new();
    for (number, (name, table)) in tables.iter().enumerate() {
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let reading = match table.reading {
            // The engine reads UTF-8, and Excel's `sep=;` as a row.
            Reading::Csv
                if table.files.iter().any(|file| read::is_utf16(file) || read::says_delimiter(file)) =>
            {
                Reading::Other
            }
            reading => reading,
        };
        let value = match reading {
            Reading::Parquet | Reading::Json => {
                let files: Vec<PathBuf> = table.files.iter().map(absolute).collect();
                json!({ "files": files, "format": table.reading })
            }
            Reading::Csv => {
                let files: Vec<PathBuf> = table.files.iter().map(absolute).collect();
                let types: serde_json::Map<String, Value> = table
                    .columns
                    .iter()
                    .map(|column| (column.name.clone(), json!(column.column_type.text())))
                    .collect();
                let delimiter = table.options.delimiter.map(|byte| char::from(byte).to_string());
                json!({
                    "files": files, "format": table.reading, "types": types, "delimiter": delimiter,
                    "header": table.options.header, "null_words": table.options.null_words,
                })
            }
            Reading::Other => {
                fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
                let mut files = Vec::new();
                let mut options = table.options.clone();
                if table.reading == Reading::Csv {
                    // Every file of the table has the same types then.
                    let known = table.columns.iter().filter(|column| column.column_type != ColumnType::Other);
                    let types = known.map(|column| (column.name.clone(), column.column_type));
                    (options.format, options.types) = (Some(Format::Csv), types.collect());
                }
                for (part, file) in table.files.iter().enumerate() {
                    let place = folder.join(format!("{number}-{part}.parquet"));
                    let reader = read::open_with(file, &options)?;
                    write::parquet(&place, reader.schema(), reader)?;
                    files.push(place);
                }
                json!({ "files": files, "format": Reading::Parquet })
            }
        };
        told.insert(name.clone(), value);
    }
    Ok(Value::Object(told))
}

/// The engine's refusal in its own words, and what to do about it.
fn refused(kind: &str, message: &str, query: &Query) -> Error {
    let reason = message.trim().to_owned();
    match kind {
        "memory" => Error::SqlFailed { reason, hint: Some("give it more: --memory 8GB".to_owned()) },
        "permission" => Error::SqlRefused {
            reason,
            hint: Some(
                "a statement reads the datasets and files that it names, and writes nothing".to_owned(),
            ),
        },
        "engine" => Error::SqlFailed { reason, hint: None },
        _ => Error::SqlRefused { hint: names::unquoted(&query.statement), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_form_are_read_by_the_engine_and_mixed_ones_by_rondo() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.csv", "a.csv", "_SUCCESS", ".hidden.csv"] {
            fs::write(at(name), "x\n1\n").unwrap();
        }
        let table = Table::of_path(folder.path()).unwrap();
        assert_eq!((table.reading, table.files), (Reading::Csv, vec![at("a.csv"), at("b.csv")]));
        fs::write(at("c.json"), "{\"x\": 1}\n").unwrap();
        assert_eq!(Table::of_path(folder.path()).unwrap().reading, Reading::Other);
        assert_eq!(Reading::of_name("T.PARQUET"), Reading::Parquet);
        assert_eq!(Reading::of_name("0f3a"), Reading::Other);
    }

    #[test]
    fn text_that_the_engine_reads_otherwise_is_read_by_rondo() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.csv");
        let wide: Vec<u8> = "\u{feff}x,y\n1,ä\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let excel = b"\xef\xbb\xbfsep=;\r\nx;y\r\n1;b,c\r\n".to_vec();
        for bytes in [wide, excel, b"SEP=|\nx|y\n1|a\n".to_vec()] {
            fs::write(&file, bytes).unwrap();
            let given = BTreeMap::from([("t".to_owned(), Table::of_path(&file).unwrap())]);
            let told = tables(&given, &folder.path().join("given")).unwrap();
            assert_eq!(told["t"]["format"], "parquet");
            let reader = read::open(Path::new(told["t"]["files"][0].as_str().unwrap())).unwrap();
            let columns: Vec<_> = reader.columns().iter().map(|c| (c.name.as_str(), c.column_type)).collect();
            assert_eq!(columns, [("x", ColumnType::Integer), ("y", ColumnType::String)]);
            assert_eq!(reader.rows(), 1);
        }
        fs::write(&file, "sep=,y\n1,a\n").unwrap();
        let given = BTreeMap::from([("t".to_owned(), Table::of_path(&file).unwrap())]);
        assert_eq!(tables(&given, folder.path()).unwrap()["t"]["format"], "csv", "a column of that name");
    }

    #[test]
    fn what_the_engine_cannot_read_is_handed_to_it_as_parquet() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("object");
        fs::write(&file, "x,y\n1,a\nNA,b\n").unwrap();
        let table = Table::of_path(&file).unwrap();
        let told = tables(&BTreeMap::from([("t".to_owned(), table)]), &folder.path().join("given")).unwrap();
        let place = told["t"]["files"][0].as_str().unwrap();
        assert_eq!(told["t"]["format"], "parquet");
        assert_eq!(read::open(Path::new(place)).unwrap().rows(), 2);
    }
}
