//! What is kept of a try beside its outputs: its log, its metrics, its artifacts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::ports::Event;
use rondo_project::project::Step;
use rondo_store::objects::Take;

use super::bench::Bench;
use super::outputs::{self, chain};
use crate::Error;
use crate::graph::Node;
use crate::run::record;
use crate::run::session::Session;

/// Takes the log into the store. What could not be written of it is said; it is no reason to fail.
pub(super) fn log(session: &Session, node: &Node, bench: &Bench) -> Option<(Digest, Vec<String>)> {
    let written = bench.log.finish();
    let note = |message: String| {
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    };
    if let Some(error) = &written.broken {
        note(format!("its log is not whole: {error}"));
    }
    if written.dropped > 0 {
        note(format!("its log is long: {} bytes in its middle were left out", written.dropped));
    }
    let objects = session.store.objects();
    let stored = match &written.path {
        Some(path) => objects.put_path(path, Take::Move),
        None => session.nothing(),
    };
    match stored {
        Ok(stored) => Some((stored.digest, written.tail)),
        Err(error) => {
            note(format!("its log cannot be kept: {}", chain(&error)));
            None
        }
    }
}

/// Keeps what a step has measured: what a package in Rust says, and the file of metrics that is declared.
///
/// # Errors
/// Why they cannot be kept, in words.
pub(super) async fn metrics(
    session: &Session,
    step: &Step,
    bench: &Bench,
    mut metrics: BTreeMap<String, f64>,
) -> Result<(), String> {
    if let (Some(place), Some(declared)) = (&bench.contract.metrics, &step.metrics) {
        metrics.extend(outputs::metrics(place, declared)?);
        let stored = session.store.objects().put_path(place, Take::Keep).map_err(|error| chain(&error))?;
        let kept = record::artifact(
            session,
            bench.contract.run,
            outputs::file_name(declared),
            stored.digest,
            stored.size,
        );
        kept.await.map_err(|error| chain(&error))?;
    }
    record::metrics(session, bench.contract.run, metrics).await.map_err(|error| chain(&error))
}

/// The files in a folder and below, by their paths in it. Isolated code may write there: no link is followed.
fn files_below(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((path, place)) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&place) else { continue };
        if metadata.is_file() {
            files.insert(path, place);
        } else if metadata.is_dir() {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                open.push((below, entry.path()));
            }
        }
    }
    files
}

/// Keeps what a package in Rust wants kept however it ends: all files in a folder.
///
/// # Errors
/// When the disk or the store refuses.
pub(super) async fn left(session: &Session, bench: &Bench, folder: &Path) -> Result<(), Error> {
    artifacts(session, bench, files_below(folder)).await
}

/// Puts what a package in Rust measured before it failed on the run. That it failed is worth more than what
/// cannot be read or kept of it.
pub(super) async fn measured(session: &Session, bench: &Bench, place: &Path) {
    let Some(metrics) = fs::read(place).ok().and_then(|text| serde_json::from_slice(&text).ok()) else {
        return;
    };
    if let Err(error) = record::metrics(session, bench.contract.run, metrics).await {
        let message = format!("what it measured cannot be kept: {}", chain(&error));
        session.progress.report(Event::Note { subject: bench.contract.step.clone(), message });
    }
}

/// Keeps files, and all that is in folders, as artifacts of the run.
///
/// # Errors
/// When the disk or the store refuses.
pub(super) async fn artifacts(
    session: &Session,
    bench: &Bench,
    artifacts: BTreeMap<String, PathBuf>,
) -> Result<(), Error> {
    let mut open: Vec<(String, PathBuf)> = artifacts.into_iter().collect();
    while let Some((path, place)) = open.pop() {
        if place.is_dir() {
            for entry in fs::read_dir(&place).map_err(Error::io("read", &place))? {
                let entry = entry.map_err(Error::io("read", &place))?;
                open.push((format!("{path}/{}", entry.file_name().to_string_lossy()), entry.path()));
            }
            continue;
        }
        let stored = session.store.objects().put_path(&place, Take::Keep)?;
        record::artifact(session, bench.contract.run, &path, stored.digest, stored.size).await?;
    }
    Ok(())
}
