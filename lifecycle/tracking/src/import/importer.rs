//! From a source's records to the store: what is new, what has changed, what is here already.
//!
//! What is found unmarked at the next import is completed by comparing with what is here, so that nothing is
//! doubled. Each kind of record has a room of its own below.

mod experiments;
mod files;
mod models;
mod registered;
mod runs;
mod series;
mod traces;

use std::collections::HashMap;
use std::sync::Arc;

use rondo_core::ports::{Event, Progress};
use rondo_core::{Digest, RunId};
use rondo_store::Meta;
use rondo_store::foreign;
use serde::Serialize;

use super::Source;
use super::report::{Kind, Report};
use super::roots::Roots;
use crate::{Error, Tracking};
use files::Files;

/// How an import is done.
pub struct Options {
    /// Where artifacts may be.
    pub roots: Roots,
    /// Whether everything is looked at and nothing written.
    pub dry_run: bool,
    /// What the source is called in the journal.
    pub name: String,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
}

/// Brings in everything that a source holds.
///
/// # Errors
/// When the source as a whole cannot be read or the store refuses. What cannot be brought in of a source that
/// can be read is in the report instead.
pub async fn import<S: Source>(
    tracking: &Tracking,
    source: &mut S,
    options: Options,
) -> Result<Report, Error> {
    let mut importer = Importer {
        tracking,
        options,
        report: Report::default(),
        experiments: HashMap::new(),
        runs: HashMap::new(),
        models: HashMap::new(),
    };
    let outline = source.outline().await?;
    importer.experiments(source).await?;
    importer.runs(source, outline).await?;
    importer.logged_models(source).await?;
    importer.registered(source).await?;
    importer.traces(source, outline.traces).await?;
    importer.webhooks(source).await?;
    importer.faults(source);
    Ok(importer.report)
}

struct Importer<'a> {
    tracking: &'a Tracking,
    options: Options,
    report: Report,
    /// The experiments' ids there and here.
    experiments: HashMap<String, i64>,
    /// The experiments of what came with this source, by the ids here.
    runs: HashMap<RunId, i64>,
    models: HashMap<String, i64>,
}

/// What an import does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not here.
    New,
    /// It is here, but not all of it, or it has changed there since.
    Behind,
    /// It is here as it is there.
    Here,
}

/// A run on its way in.
struct Incoming {
    run: foreign::Run,
    id: RunId,
    experiment: i64,
    mark: String,
    state: State,
}

impl Importer<'_> {
    fn meta(&self) -> &Meta {
        self.tracking.meta()
    }

    fn faults<S: Source>(&mut self, source: &mut S) {
        for fault in source.faults() {
            self.report.of(fault.kind).found += 1;
            self.report.skip(fault.kind, 1, fault.name, fault.reason);
        }
    }

    fn started(&self, subject: &str, message: String) {
        self.options.progress.report(Event::Started { subject: subject.to_owned(), message });
    }

    fn ended(&self, subject: &str, kind: Kind) {
        let count = self.report.count(kind);
        let message = format!("{} found, {} imported", count.found, count.imported);
        self.options.progress.report(Event::Ended { subject: subject.to_owned(), ok: true, message });
    }

    fn count(&mut self, kind: Kind, state: State, found: u64, many: u64) {
        let count = self.report.of(kind);
        count.found += found;
        match state {
            State::New | State::Behind => count.imported += many,
            State::Here => count.already_there += many,
        }
    }
}

/// Where the artifacts of an experiment that is brought in are.
fn location(experiment: i64) -> String {
    format!("mlflow-artifacts:/{experiment}")
}

/// The id that a run has here: its own, or one made of it where that is none.
fn run_id(text: &str) -> RunId {
    text.parse().unwrap_or_else(|_| {
        let digest = Digest::of(format!("mlflow run {text}").as_bytes()).hex();
        let hex = digest.get(..32).unwrap_or_default();
        // Half of a digest's hex characters are 32 of those that an id is made of.
        hex.parse().unwrap_or_else(|_| RunId::random())
    })
}

fn fingerprint<T: Serialize>(record: &T) -> String {
    let text = serde_json::to_vec(record).unwrap_or_default();
    Digest::of(&text).hex()
}

/// MLflow's database keeps an infinity as the greatest finite number of its sign, and so does this store.
const fn finite(value: f64) -> f64 {
    if value == f64::INFINITY {
        f64::MAX
    } else if value == f64::NEG_INFINITY {
        f64::MIN
    } else {
        value
    }
}
