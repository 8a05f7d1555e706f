//! What lies beyond a table that is checked: files beside the suite, other datasets of the project, an engine
//! for SQL. Rules ask for it through [`rondo_table::checks::Beyond`]; here it is found.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::ports::SqlEngine;
use rondo_table::checks::{Beyond, FileTable, Opened, Other};
use rondo_table::read::ReadOptions;
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
        Reach { around: self, name, path, options, folders: Mutex::default() }
    }
}

/// What a table's rules may ask for.
pub(super) struct Reach<'a> {
    around: &'a Around,
    name: &'a str,
    path: &'a Path,
    options: &'a ReadOptions,
    /// Folders that live as long as the check.
    folders: Mutex<Vec<TempDir>>,
}

/// A table's name, which tells its format, and where it is.
type Found = (String, PathBuf);

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
                if full.exists() { Ok((path.clone(), full)) } else { Err(format!("there is no `{path}`")) }
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
        let objects = datasets.store.objects();
        let require = |digest| objects.require(digest).map_err(|error| error.to_string());
        if !version.folder {
            let name = version.source.rsplit('/').next().unwrap_or(name).to_owned();
            return Ok((name, require(version.digest)?));
        }
        let listing = Listing::read(objects, version.digest).map_err(|error| error.to_string())?;
        let mut files = Vec::new();
        for (name, leaf) in listing.files() {
            if table::is_table(name, &ReadOptions::default()) {
                files.push((name.clone(), require(leaf.digest)?));
            }
        }
        let scratch = self.folder()?;
        let folder = table::folder_of_links(&files, &scratch).map_err(|error| error.to_string())?;
        Ok((name.to_owned(), self.keep(folder)))
    }

    /// A path by which an engine can tell the format.
    fn named(&self, (name, path): Found) -> Result<PathBuf, String> {
        if path.is_dir() || path.extension().is_some() {
            return Ok(path);
        }
        let ending = name.rsplit('/').next().unwrap_or(&name);
        let link = self.folder()?.join(ending);
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        std::os::unix::fs::symlink(&path, &link).map_err(|error| error.to_string())?;
        Ok(link)
    }
}

impl Beyond for Reach<'_> {
    fn open(&self, other: &Other) -> Result<Opened, String> {
        let (name, path) = self.find(other)?;
        if let Some(profile) = super::stored_profile(&path) {
            return Ok(Opened::Profile(Box::new(profile)));
        }
        let options = ReadOptions::default();
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
            named.insert(name.clone(), self.named(self.find(other)?)?);
        }
        if self.options.delimiter.is_some_and(|delimiter| delimiter != b',') {
            return Err("a rule in SQL cannot be asked of a table with this delimiter".to_owned());
        }
        named.insert("data".to_owned(), self.named((self.name.to_owned(), self.path.to_owned()))?);
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
