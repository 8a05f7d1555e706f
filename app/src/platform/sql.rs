//! SQL meets datasets: names in a statement become versions, and the engine of `sql:` steps answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::handoff::DatasetVersion;
use rondo_core::id::is_name;
use rondo_core::ports::{PortError, Progress, SqlEngine};
use rondo_core::signature::ColumnType;
use rondo_core::{Code, Explain};
use rondo_pipeline::Runner;
use rondo_pipeline::environment::Making;
use rondo_pipeline::sql::{DuckDb, Mention, Reading, Table, mentioned};
use rondo_store::Store;
use rondo_table::read::{Format, ReadOptions};
use tokio::sync::watch;

use super::{Error, Platform};
use crate::config::Config;

impl Platform {
    /// What answers SQL, by the engine of the project's `sql:` steps.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn sql(&self, cancel: watch::Receiver<bool>) -> Result<DuckDb, Error> {
        Ok(self.idle_runner().sql(cancel)?)
    }

    /// The same as a port, for what may ask it about files.
    pub fn sql_engine(&self) -> Arc<dyn SqlEngine> {
        Arc::new(OnDemand { of: Of::Project(Box::new(self.bare_runner())), never: watch::Sender::new(false) })
    }

    /// The tables among the names of a statement: datasets (their latest version) and versions of datasets
    /// (`flights@2`).
    ///
    /// # Errors
    /// When a version does not exist or is not in the store.
    pub async fn tables_of(
        &self,
        statement: &str,
    ) -> Result<BTreeMap<String, (Table, DatasetVersion)>, Error> {
        let known = self.store().meta().datasets().await?;
        let mut tables = BTreeMap::new();
        for mention in mentioned(statement) {
            let Mention::Name(written) = mention else { continue };
            let (name, called) = written.split_once('@').unwrap_or((&written, "latest"));
            // Names of SQL are the same in capitals and without.
            let alike = || known.iter().find(|dataset| dataset.eq_ignore_ascii_case(name));
            let exact = known.iter().find(|dataset| **dataset == *name);
            let Some(dataset) = exact.or_else(alike).filter(|_| is_name(name)) else { continue };
            let version = self.datasets().version(dataset, called).await?;
            let table = match self.table_of(&version) {
                // A word like that may as well be a column's name.
                Err(error) if error.code() == Code::TableInvalid && *written == *name => continue,
                table => table?,
            };
            tables.insert(written, (table, version));
        }
        Ok(tables)
    }

    fn table_of(&self, version: &DatasetVersion) -> Result<Table, Error> {
        let options = rondo_data::table::options_for_version(version)?;
        let files = self.datasets().table_files(version, &options)?;
        let reading = |name: &str| match options.format {
            Some(Format::Parquet) => Reading::Parquet,
            Some(Format::Csv) => Reading::Csv,
            Some(Format::Json) => Reading::Json,
            #[allow(unreachable_patterns, reason = "formats may be added where tables are read")]
            Some(_) => Reading::Other,
            None => Reading::of_name(name),
        };
        let first = files.first().map_or(Reading::Other, |(name, _)| reading(name));
        let alike = files.iter().all(|(name, _)| reading(name) == first);
        let mut reading = if alike { first } else { Reading::Other };
        let mut options = options;
        if reading == Reading::Other && options.format.is_none() {
            // What lies in the store has no ending that says what it is.
            let format = |(name, _): &(String, PathBuf)| Format::of_ending(name.rsplit_once('.')?.1);
            let first = files.first().and_then(format);
            options.format = first.filter(|first| files.iter().all(|file| format(file) == Some(*first)));
        }
        if reading == Reading::Csv && !is_plain_csv(&options) {
            // The engine is not told of all that: it gets what Rondo reads.
            reading = Reading::Other;
            options.format = Some(Format::Csv);
            let known = version.columns.iter().filter(|_| files.len() > 1);
            for column in known.filter(|column| column.column_type != ColumnType::Other) {
                // Every file of the version has the same types then.
                options.types.entry(column.name.clone()).or_insert(column.column_type);
            }
        }
        Ok(Table {
            files: files.into_iter().map(|(_, path)| path).collect(),
            reading,
            columns: version.columns.clone(),
            options,
        })
    }
}

/// Whether delimited text is laid out so that the engine reads it as Rondo does.
fn is_plain_csv(options: &ReadOptions) -> bool {
    let plain = ReadOptions::default();
    options.quote == plain.quote
        && options.escape == plain.escape
        && options.comment == plain.comment
        && options.skip == plain.skip
        && options.decimal == plain.decimal
        && options.thousands == plain.thousands
        && options.encoding == plain.encoding
}

/// The engine of checks, made when one of them first asks: most never do.
struct OnDemand {
    of: Of,
    /// What would cancel it.
    never: watch::Sender<bool>,
}

enum Of {
    Project(Box<Runner>),
    NoProject(Arc<Config>, Arc<dyn Progress>),
}

#[async_trait]
impl SqlEngine for OnDemand {
    async fn query(
        &self,
        statement: &str,
        tables: &BTreeMap<String, PathBuf>,
        output: &Path,
    ) -> Result<(), PortError> {
        let cancel = self.never.subscribe();
        let engine = match &self.of {
            Of::Project(runner) => runner.sql(cancel).map_err(Error::from),
            Of::NoProject(config, progress) => outside(config, progress.clone(), cancel).await,
        };
        engine.map_err(|error| Box::new(error) as PortError)?.query(statement, tables, output).await
    }
}

/// The engine of checks outside of any project.
pub fn engine_outside(config: Arc<Config>, progress: Arc<dyn Progress>) -> Arc<dyn SqlEngine> {
    Arc::new(OnDemand { of: Of::NoProject(config, progress), never: watch::Sender::new(false) })
}

/// What answers SQL outside of any project.
///
/// # Errors
/// When its folder among the shared downloads cannot be made.
pub async fn outside(
    config: &Config,
    progress: Arc<dyn Progress>,
    cancel: watch::Receiver<bool>,
) -> Result<DuckDb, Error> {
    std::fs::create_dir_all(&config.cache).map_err(Error::io("make", &config.cache))?;
    let store = Store::open(&config.cache.join("outside")).await?;
    Ok(DuckDb::new(Making {
        root: store.root().to_owned(),
        store,
        tools: config.cache.join("tools"),
        host: config.environment.clone(),
        progress,
        pins: BTreeMap::new(),
        cancel,
    }))
}

/// The files among the texts of a statement, as tables of that name: `FROM 'x.parquet'`.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_of(statement: &str, here: &Path) -> Result<BTreeMap<String, Table>, Error> {
    let mut tables = BTreeMap::new();
    for mention in mentioned(statement) {
        let Mention::Text(text) = mention else { continue };
        if text.contains(['*', '?', '[']) {
            if let Ok(files) = rondo_data::fetch::glob_files(here, &text)
                && let Some((first, _)) = files.first()
            {
                let reading = Reading::of_name(first);
                let files = files.iter().map(|(_, path)| path.clone()).collect();
                tables.insert(text, Table::of_files(files, reading));
            }
            continue;
        }
        let path = here.join(&text);
        let known = path.is_dir() || Reading::of_name(&text) != Reading::Other;
        let looks_like_one = known || path.extension().is_some();
        if !text.is_empty() && looks_like_one && path.exists() {
            // What cannot be read as one is left to the engine, which says so where it is a table.
            tables.extend(Table::of_path(&path).ok().map(|table| (text, table)));
        }
    }
    Ok(tables)
}
