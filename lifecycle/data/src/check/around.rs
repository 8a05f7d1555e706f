//! What lies beyond a table that is checked: files beside the suite, other datasets of the project, an engine
//! for SQL. Rules ask for it through [`rondo_table::checks::Beyond`]; here it is found.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::ports::SqlEngine;
use rondo_table::checks::{Beyond, FileTable, Opened, Other};
use rondo_table::read::{Format, ReadOptions};
use tempfile::TempDir;

use crate::listing::Listing;
use crate::table;
use crate::versions::Datasets;

/// What the rules of a suite may ask for.
#[derive(Clone, Default)]
pub struct Around {
    /// Where paths in rules begin.
    root: PathBuf,
    datasets: Option<Datasets>,
    engine: Option<Arc<dyn SqlEngine>>,
}

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("root", &self.root)
            .field("datasets", &self.datasets.is_some())
            .field("engine", &self.engine.is_some())
            .finish()
    }
}

impl Around {
    /// Files from this folder on, and nothing else.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }

    /// The same with the latest versions of a project's datasets.
    #[must_use]
    pub fn with_datasets(self, datasets: Datasets) -> Self {
        Self { datasets: Some(datasets), ..self }
    }

    /// The same with an engine, where there is one.
    #[must_use]
    pub fn with_engine(self, engine: Option<Arc<dyn SqlEngine>>) -> Self {
        Self { engine, ..self }
    }

    /// As seen from one table.
    pub(super) fn from<'a>(&'a self, name: &'a str, path: &'a Path, options: &'a ReadOptions) -> Reach<'a> {
        Reach { around: self, name, path, options, written: Mutex::default(), folders: Mutex::default() }
    }
}

/// What a table's rules may ask for.
pub(super) struct Reach<'a> {
    around: &'a Around,
    name: &'a str,
    path: &'a Path,
    options: &'a ReadOptions,
    /// Tables that were written as Parquet for the engine.
    written: Mutex<BTreeMap<String, PathBuf>>,
    /// Folders that live as long as the check.
    folders: Mutex<Vec<TempDir>>,
}

/// A table's name, which tells its format, where it is, and how it is read.
type Found = (String, PathBuf, ReadOptions);

impl Reach<'_> {
    fn folder(&self) -> Result<PathBuf, String> {
        let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        Ok(self.keep(folder))
    }

    fn keep(&self, folder: TempDir) -> PathBuf {
        let path = folder.path().to_owned();
        if let Ok(mut folders) = self.folders.lock() {
            folders.push(folder);
        }
        path
    }

    fn find(&self, other: &Other) -> Result<Found, String> {
        match other {
            Other::Path(path) => {
                let full = self.around.root.join(path);
                if !full.exists() {
                    return Err(format!("there is no `{path}`"));
                }
                Ok((path.clone(), full, ReadOptions::default()))
            }
            Other::Dataset(name) => {
                let Some(datasets) = &self.around.datasets else {
                    return Err(format!("`{name}` is a dataset of a project, and there is none here"));
                };
                self.dataset(datasets, name)
            }
        }
    }

    fn dataset(&self, datasets: &Datasets, name: &str) -> Result<Found, String> {
        let version = waited(datasets.latest(name))?.map_err(|error| error.to_string())?;
        let version = version.ok_or_else(|| format!("the dataset `{name}` has no version yet"))?;
        let options = table::options_for_version(&version).map_err(|error| error.to_string())?;
        let objects = datasets.store.objects();
        let require = |digest| objects.sound(digest).map_err(|error| error.to_string());
        if !version.folder {
            let name = version.source.rsplit('/').next().unwrap_or(name).to_owned();
            return Ok((name, require(version.digest)?, options));
        }
        let listing = Listing::read(objects, version.digest).map_err(|error| error.to_string())?;
        let mut files = Vec::new();
        for (name, leaf) in listing.files() {
            if table::is_table(name, &options) {
                files.push((name.clone(), require(leaf.digest)?));
            }
        }
        let scratch = self.folder()?;
        let folder = table::folder_of_links(&files, &scratch).map_err(|error| error.to_string())?;
        Ok((name.to_owned(), self.keep(folder), options))
    }

    /// A path at which an engine finds the table as it is read here: what is no Parquet is written as such.
    fn queried(&self, found: Found) -> Result<PathBuf, String> {
        let key = format!("{found:?}");
        if let Some(path) = self.written.lock().ok().and_then(|written| written.get(&key).cloned()) {
            return Ok(path);
        }
        let (name, path, options) = found;
        let at = if path.is_dir() && options.format.is_none() && all_parquet(&path) {
            path
        } else {
            let at = self.folder()?.join("data.parquet");
            if path.is_file() && table::options_at(&name, &path, &options).format == Some(Format::Parquet) {
                let path = path.canonicalize().map_err(|error| error.to_string())?;
                std::os::unix::fs::symlink(&path, &at).map_err(|error| error.to_string())?;
            } else {
                let reader = table::open(&name, &path, &options).map_err(|error| error.to_string())?;
                let schema = reader.schema();
                rondo_table::write::parquet(&at, schema, reader).map_err(|error| error.to_string())?;
            }
            at
        };
        if let Ok(mut written) = self.written.lock() {
            written.insert(key, at.clone());
        }
        Ok(at)
    }
}

/// Whether the files of a folder are Parquet by their names.
fn all_parquet(folder: &Path) -> bool {
    let parquet = |name: &std::ffi::OsStr| {
        Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
    };
    std::fs::read_dir(folder)
        .is_ok_and(|entries| entries.into_iter().all(|entry| entry.is_ok_and(|e| parquet(&e.file_name()))))
}

impl Beyond for Reach<'_> {
    fn open(&self, other: &Other) -> Result<Opened, String> {
        let (name, path, options) = self.find(other)?;
        if let Some(profile) = super::stored_profile(&path) {
            return Ok(Opened::Profile(Box::new(profile)));
        }
        let reader = table::open(&name, &path, &options).map_err(|error| error.to_string())?;
        let table = FileTable::new(reader, table::options_at(&name, &path, &options));
        Ok(Opened::Table(Box::new(table)))
    }

    fn sql(&self, query: &str, tables: &BTreeMap<String, Other>) -> Result<Opened, String> {
        let Some(engine) = &self.around.engine else {
            return Err("a rule in SQL needs an engine, and there is none here".to_owned());
        };
        let mut named = BTreeMap::new();
        for (name, other) in tables {
            named.insert(name.clone(), self.queried(self.find(other)?)?);
        }
        let data = (self.name.to_owned(), self.path.to_owned(), self.options.clone());
        named.insert("data".to_owned(), self.queried(data)?);
        let output = self.folder()?.join("rows.parquet");
        // What Great Expectations calls the table.
        let query = query.replace("{batch}", "data");
        waited(engine.query(&query, &named, &output))?.map_err(|error| error.to_string())?;
        let table = FileTable::open(&output, &ReadOptions::default()).map_err(|error| error.to_string())?;
        Ok(Opened::Table(Box::new(table)))
    }
}

/// Waits for something of the run time's from a thread that may wait.
fn waited<F>(future: F) -> Result<F::Output, String>
where
    F: Future + Send,
    F::Output: Send,
{
    let none = || "it can be asked inside of a run time only".to_owned();
    let handle = tokio::runtime::Handle::try_current().map_err(|_| none())?;
    // On a thread of its own, since this one may belong to the run time.
    std::thread::scope(|scope| scope.spawn(|| handle.block_on(future)).join()).map_err(|_| none())
}
