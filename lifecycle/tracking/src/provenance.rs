//! Where a run's outputs come from, in the words of other programs: OpenLineage events, a Workflow Run
//! RO-Crate, an in-toto statement with SLSA provenance.
//!
//! [`gather`] collects what the store knows of a run and its steps; each form is a function of that. Nothing
//! is sent anywhere and nothing is signed: the files are for whoever does that.

pub mod openlineage;
pub mod ro_crate;
pub mod slsa;

use std::collections::BTreeMap;

use rondo_core::handoff::DatasetVersion;
use rondo_core::run::{Link, RunKind, RunRow};
use rondo_core::signature::Column;
use rondo_core::{Digest, RunId};
use rondo_store::Store;

use crate::Error;

/// What names the program that wrote it, as a URI.
const PRODUCER: &str = concat!("urn:rondo:", env!("CARGO_PKG_VERSION"));

/// The version of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The project file among a pipeline run's code.
const PROJECT_FILE: &str = "rondo.yaml";

/// What is known of a run.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The project, which is the experiment of that name.
    pub project: String,
    /// The run.
    pub run: RunRow,
    /// The pipeline's run above it, where it is a step's.
    pub parent: Option<RunRow>,
    /// The runs that made its steps' outputs, in the order in which they began; of a step's run itself.
    pub steps: Vec<RunRow>,
    /// The dataset versions that they read.
    pub datasets: BTreeMap<Digest, DatasetVersion>,
    /// The columns of tables, by the file's digest.
    pub columns: BTreeMap<Digest, Vec<Column>>,
    /// What people say of it.
    pub description: Option<String>,
}

/// Collects what the store knows of a run.
///
/// # Errors
/// When the store cannot be read.
pub async fn gather(store: &Store, run: RunRow) -> Result<Provenance, Error> {
    let meta = store.meta();
    let experiment = meta.experiment(run.experiment).await?;
    let project = experiment.map_or_else(|| "Default".to_owned(), |experiment| experiment.name);
    let parent = match run.parent {
        Some(parent) if run.kind == RunKind::Step => meta.run(parent).await?,
        Some(_) | None => None,
    };
    let mut steps = Vec::new();
    match run.kind {
        RunKind::Step => steps.push(run.clone()),
        RunKind::Client => steps.push(with_artifacts(store, run.clone()).await?),
        RunKind::Pipeline => {
            for (step, outcome) in &run.detail.steps {
                let Some(id) = outcome.run else { continue };
                let row = meta.run(id).await?;
                steps.extend(row.map(|row| RunRow { step: Some(step.clone()), ..row }));
            }
        }
    }
    steps.sort_by_key(|row| (row.started, row.id.hex()));
    let mut datasets = BTreeMap::new();
    let mut columns = BTreeMap::new();
    for link in steps.iter().flat_map(|row| row.detail.inputs.iter().chain(&row.detail.outputs)) {
        if let Some(name) = link.reference.strip_prefix("data.")
            && let Some(version) = meta.dataset_version(name, link.digest).await?
        {
            datasets.insert(link.digest, version);
        } else if let Some(found) = table(store, link) {
            columns.insert(link.digest, found);
        }
    }
    let description = meta.run_tags(run.id).await?.remove("mlflow.note.content");
    Ok(Provenance { project, run, parent, steps, datasets, columns, description })
}

/// A client's run with its artifacts as what it made and its parameters as it logged them.
async fn with_artifacts(store: &Store, mut run: RunRow) -> Result<RunRow, Error> {
    for artifact in store.meta().artifacts(&run.id.hex()).await? {
        run.detail.outputs.push(Link {
            reference: format!("{}.{}", run.name, artifact.path),
            name: artifact.path,
            digest: artifact.digest,
            size: artifact.size,
            folder: false,
            executable: false,
        });
    }
    let params = store.meta().run_params(run.id).await?;
    run.detail.params = params.into_iter().map(|(name, value)| (name, value.into())).collect();
    Ok(run)
}

/// The columns of an output that is a Parquet file, the one kind of table that is known without its name.
fn table(store: &Store, link: &Link) -> Option<Vec<Column>> {
    let path = store.objects().sound(link.digest).ok().filter(|_| !link.folder)?;
    let mut start = [0; 4];
    std::io::Read::read_exact(&mut std::fs::File::open(&path).ok()?, &mut start).ok()?;
    if start != *b"PAR1" {
        return None;
    }
    rondo_table::columns::describe(&path).ok()
}

impl Provenance {
    /// The commit of the code, where there is one.
    fn commit(&self) -> Option<&str> {
        let rows = self.parent.iter().chain([&self.run]).chain(&self.steps);
        rows.filter_map(|row| row.detail.code.commit.as_deref()).next()
    }

    /// The code files of the run and its steps.
    fn code(&self) -> BTreeMap<&str, Digest> {
        let rows = self.parent.iter().chain([&self.run]).chain(&self.steps);
        rows.flat_map(|row| &row.detail.code.files).map(|(path, digest)| (path.as_str(), *digest)).collect()
    }

    /// What came in from outside of these steps.
    fn sources(&self) -> BTreeMap<&str, &Link> {
        let made = |link: &Link| {
            self.steps.iter().flat_map(|row| &row.detail.outputs).any(|output| output.digest == link.digest)
        };
        let inputs = self.steps.iter().flat_map(|row| &row.detail.inputs).filter(|link| !made(link));
        inputs.map(|link| (link.reference.as_str(), link)).collect()
    }

    /// The environments and the digests of their locks.
    fn environments(&self) -> BTreeMap<&str, Digest> {
        let known = self.steps.iter().filter_map(|row| row.detail.environment.as_ref());
        known.map(|(name, lock)| (name.as_str(), *lock)).collect()
    }
}

/// A run's id in the form of a UUID.
fn uuid(id: RunId) -> String {
    let hex = id.hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A text as part of a URI or of a path in one: what may not stand there is written by its number.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let each = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(each).collect()
}

/// A dataset's source as a URI: a path of the project is a `file:` one.
fn source_uri(source: &str) -> String {
    let is_scheme = |scheme: &str| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match source.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => {
            escaped(source).replace("%3F", "?").replace("%3D", "=").replace("%26", "&")
        }
        Some(_) | None => format!("file:{}", escaped(source)),
    }
}

#[cfg(test)]
mod tests;
