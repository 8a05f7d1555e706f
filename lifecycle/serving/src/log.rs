//! The prediction log: what was answered, and what turned out to be true.
//!
//! A log is a folder:
//!
//! ```text
//! segments/0000000000000007.log                  predictions as they come, synced at least every 200 ms
//! predictions/deployment=delay/day=2013-04-01/   the same at rest, as Parquet
//! truths/0000000000000000.log                    ground truth, synced before it is acknowledged
//! lock                                           held by the one process that writes
//! ```
//!
//! **What can be lost.** An answered prediction is not an acknowledged write: a power cut or `kill -9`
//! loses at most what was answered since the last sync, [`Options::sync_every`] ago at most; with
//! `durable` the caller waits for a sync shared by all who wait. Predictions that cannot be written (full
//! disk, full buffer) are still answered, and counted as dropped. Ground truth is never acknowledged
//! before it is on disk. A segment is deleted only after its partitions are; a crash between the two
//! leaves records twice, and readers keep the first of an id.
//!
//! Everything here is blocking and made for threads. Nothing here knows of models or requests.

pub mod frame;
pub mod index;
pub mod partition;
pub mod reader;
pub mod record;
pub mod segments;
pub mod truths;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rondo_core::Timestamp;
use rondo_core::handoff::{Observation, Truth};

use crate::error::{Error, Result};
use index::{Index, Known, Lookup};
use reader::{Joined, Layout, LogReader, Query};
use record::{Fingerprint, Record};
use segments::Appender;
use truths::{KnownLabel, Recorded, Truths};

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long an answered prediction may wait for its sync.
    pub sync_every: Duration,
    /// Bytes of a segment from which the next one is begun.
    pub segment_bytes: u64,
    /// Bytes of closed segments from which they are compacted by themselves; never where zero.
    pub compact_bytes: u64,
    /// Prediction ids that are remembered for repeated requests; fewer of models of many classes.
    pub remembered_ids: usize,
    /// Bytes that may wait to be written before predictions are dropped.
    pub buffer_bytes: usize,
}

/// The folders of a log, in the order in which they can be copied while it is written: what leaves one of
/// them has come into a later one before.
pub const FOLDERS: [&str; 3] = ["segments", "truths", "predictions"];

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_every: Duration::from_millis(200),
            segment_bytes: 4 << 20,
            compact_bytes: 4 << 20,
            remembered_ids: 1_000_000,
            buffer_bytes: 64 << 20,
        }
    }
}

/// A prediction to log.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The record.
    pub record: Record,
    /// Whether it goes into the log; otherwise only its id is remembered.
    pub keep: bool,
}

/// What came of compacting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that are gone.
    pub segments: usize,
    /// Files that were written.
    pub files: usize,
    /// Records in them.
    pub records: usize,
}

/// The log of a process that writes it.
#[derive(Debug)]
pub struct PredictionLog {
    inner: Arc<Inner>,
    compact: SyncSender<Task>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the compacting thread is told.
#[derive(Debug)]
enum Task {
    Compact,
    Stop,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    options: Options,
    predictions: Appender,
    truths: Truths,
    index: Mutex<Index>,
    compacting: Mutex<()>,
    dropped: AtomicU64,
    // Released by the system when the process ends, however it ends.
    _lock: File,
}

impl PredictionLog {
    /// Opens the log in a folder for writing, repairing torn ends and rebuilding the index of ids.
    ///
    /// # Errors
    /// When another process writes it, or the folder cannot be used.
    pub fn open(root: &Path, options: Options) -> Result<Self> {
        let layout = Layout::new(root);
        segments::make_folder(root)?;
        segments::make_folder(&layout.predictions())?;
        let lock = lock(root)?;
        // A part is named by its segments: a number that is in a part must not be given again.
        let parts = partition::list(&layout.predictions(), None)?;
        let last = parts.iter().filter_map(partition::Part::last_segment).max();
        let first = last.map_or(0, |last| last.saturating_add(1));
        let predictions =
            Appender::open(&layout.segments(), first, options.segment_bytes, options.buffer_bytes)?;
        let truths = Truths::open(&layout.truths())?;
        let mut index = Index::new(options.remembered_ids);
        let mut older = Vec::new();
        LogReader::new(root).latest(
            options.remembered_ids,
            |record| index.note(&record),
            |part| older.push((part.deployment.clone(), part.day.clone())),
        )?;
        for (deployment, day) in older {
            // Of what is not read, the day is known by its folder.
            if let Ok(day) = day.parse() {
                index.note_time(&deployment, day);
            }
        }
        let inner = Arc::new(Inner {
            layout,
            options,
            predictions,
            truths,
            index: Mutex::new(index),
            compacting: Mutex::new(()),
            dropped: AtomicU64::new(0),
            _lock: lock,
        });
        let (compact, tasks) = sync_channel(1);
        let threads = vec![
            spawn("log-sync", {
                let (inner, compact) = (Arc::clone(&inner), compact.clone());
                move || sync_loop(&inner, &compact)
            })?,
            spawn("log-compact", {
                let inner = Arc::clone(&inner);
                move || compact_loop(&inner, &tasks)
            })?,
        ];
        Ok(Self { inner, compact, threads: Mutex::new(threads) })
    }

    /// What is known of an id at an endpoint, for these inputs.
    ///
    /// # Errors
    /// When it was answered for other inputs.
    pub fn look_up(&self, deployment: &str, id: &str, inputs: Fingerprint) -> Result<Option<Known>> {
        match self.inner.index().look_up(Fingerprint::of_id(deployment, id), inputs) {
            Lookup::New => Ok(None),
            Lookup::Same(known) => Ok(Some(known)),
            Lookup::Other => Err(Error::PredictionConflict { id: id.chars().take(60).collect() }),
        }
    }

    /// Logs predictions, all of them or, where an id contradicts an earlier one, none. Gives back for each
    /// what was answered first for its id: the prediction itself, or what another request got before it.
    ///
    /// # Errors
    /// When an id was answered for other inputs; with `durable` also when the disk fails.
    pub fn record(&self, predictions: &[Prediction], durable: bool) -> Result<Vec<Option<Known>>> {
        let mut encoded = Vec::with_capacity(predictions.len());
        for prediction in predictions {
            encoded.push(if prediction.keep { encode(&prediction.record)? } else { Vec::new() });
        }
        let mut frames = Vec::new();
        let (mut known, mut kept) = (Vec::with_capacity(predictions.len()), 0);
        {
            let mut index = self.inner.index();
            let id = |record: &Record| {
                Fingerprint::of_id(&record.observation.deployment, &record.observation.prediction_id)
            };
            let mut own = std::collections::HashMap::new();
            for Prediction { record, .. } in predictions {
                let clash = index.look_up(id(record), record.inputs_digest) == Lookup::Other
                    || *own.entry(id(record)).or_insert(record.inputs_digest) != record.inputs_digest;
                if clash {
                    let id = record.observation.prediction_id.chars().take(60).collect();
                    return Err(Error::PredictionConflict { id });
                }
            }
            for (Prediction { record, keep }, encoded) in predictions.iter().zip(&encoded) {
                known.push(match index.look_up(id(record), record.inputs_digest) {
                    Lookup::Same(known) => Some(known),
                    Lookup::New | Lookup::Other => {
                        index.note(record);
                        frames.extend_from_slice(encoded);
                        kept += u64::from(*keep);
                        None
                    }
                });
            }
        }
        if !frames.is_empty() {
            match self.inner.predictions.append_counted(&frames, kept) {
                Some(group) if durable => self.inner.predictions.commit(&group)?,
                Some(_) => {}
                None => {
                    self.inner.dropped.fetch_add(kept, Ordering::Relaxed);
                }
            }
        }
        Ok(known)
    }

    /// Records ground truth of an endpoint: on disk when this returns, all of it or none.
    ///
    /// # Errors
    /// When a truth contradicts a known one or is no label, or the disk fails.
    pub fn truth(&self, deployment: &str, truths: &[Truth]) -> Result<Recorded> {
        self.inner.truths.record(deployment, truths, |id| {
            let index = self.inner.index();
            let mut others =
                index.deployments().filter(|name| !reader::is_shadow(name) && *name != deployment);
            others.any(|name| index.event_time(Fingerprint::of_id(name, id)).is_some())
        })
    }

    /// The label of a prediction of an endpoint, where it is known.
    pub fn label(&self, deployment: &str, prediction_id: &str) -> Option<KnownLabel> {
        self.inner.truths.get(deployment, prediction_id)
    }

    /// The observations of a query, by event time, each id once.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn observations(&self, query: &Query) -> Result<Vec<Observation>> {
        self.reader()?.observations(query)
    }

    /// The observations of a query, each with the label that was known by a moment of event time.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn joined(&self, query: &Query, known_by: Timestamp) -> Result<Vec<Joined>> {
        let observations = self.observations(query)?;
        Ok(reader::join(observations, known_by, |id| self.inner.truths.get(&query.deployment, id)))
    }

    /// The highest event time that was seen at an endpoint.
    pub fn watermark(&self, deployment: &str) -> Option<Timestamp> {
        self.inner.index().watermark(deployment)
    }

    /// The endpoints that have observations, shadows among them.
    pub fn deployments(&self) -> Vec<String> {
        let mut names: Vec<String> = self.inner.index().deployments().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// How many predictions were answered and could not be logged.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed) + self.inner.predictions.lost()
    }

    /// How many prediction ids are remembered.
    pub fn remembered(&self) -> usize {
        self.inner.index().len()
    }

    /// How many truths there are.
    pub fn truth_count(&self) -> usize {
        self.inner.truths.len()
    }

    /// Brings every answered prediction to disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.inner.predictions.sync()
    }

    /// Brings every answered prediction into its partition.
    ///
    /// # Errors
    /// When the disk fails; then the segments stay.
    pub fn compact(&self) -> Result<Compacted> {
        self.inner.predictions.sync()?;
        self.inner.predictions.close_segment();
        self.inner.compact()
    }

    /// A reader that sees everything answered so far.
    fn reader(&self) -> Result<LogReader> {
        self.inner.predictions.sync()?;
        Ok(LogReader::new(self.inner.layout.root()))
    }
}

impl Drop for PredictionLog {
    fn drop(&mut self) {
        self.inner.predictions.stop();
        let _ = self.compact.send(Task::Stop);
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns closed segments into partitions, a bounded number of bytes at a time.
    fn compact(&self) -> Result<Compacted> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Compacted::default();
        let closed = self.predictions.closed()?;
        let mut rest = closed.as_slice();
        while let Some((first, ..)) = rest.first() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take_while(|(_, _, length)| {
                    let fits = bytes == 0 || bytes + length <= self.options.segment_bytes.saturating_mul(4);
                    bytes += length;
                    fits
                })
                .count();
            let (group, after) = rest.split_at(count.max(1).min(rest.len()));
            let last = group.last().map_or(*first, |(number, ..)| *number);
            let mut records = Vec::new();
            for (_, path, _) in group {
                let Some(bytes) = segments::read(path)? else { continue };
                for content in segments::frames(path, &bytes)? {
                    records.push(decode(path, content)?);
                }
            }
            all.records += records.len();
            all.files +=
                partition::write(&self.layout.predictions(), &partition::part_name(*first, last), records)?;
            for (_, path, _) in group {
                std::fs::remove_file(path).map_err(|error| Error::io("remove", path, error))?;
            }
            all.segments += group.len();
            rest = after;
        }
        Ok(all)
    }
}

fn encode(record: &Record) -> Result<Vec<u8>> {
    let refuse =
        |reason: String| Error::Internal { reason: format!("a prediction cannot be logged: {reason}") };
    let content = serde_json::to_vec(record).map_err(|error| refuse(error.to_string()))?;
    let mut framed = Vec::new();
    if frame::encode(&content, &mut framed) { Ok(framed) } else { Err(refuse("it is too large".to_owned())) }
}

/// Compaction must never lose what it does not understand.
fn decode(path: &Path, content: &[u8]) -> Result<Record> {
    serde_json::from_slice(content).map_err(|error| Error::Table {
        path: path.to_owned(),
        reason: format!("a prediction in it was written by another release: {error}"),
    })
}

/// Syncs what has waited long enough, and has segments compacted that have gathered.
fn sync_loop(inner: &Inner, compact: &SyncSender<Task>) {
    let log = &inner.predictions;
    while log.wait_due(inner.options.sync_every) {
        // What the disk refuses is counted by the appender as lost.
        let _ = log.sync();
        let gathered = || Ok::<u64, Error>(log.closed()?.iter().map(|(_, _, length)| length).sum());
        if inner.options.compact_bytes > 0
            && gathered().is_ok_and(|bytes| bytes >= inner.options.compact_bytes)
        {
            // A task that waits already will find these segments too.
            let _ = compact.try_send(Task::Compact);
        }
    }
    let _ = log.sync();
}

fn compact_loop(inner: &Inner, tasks: &Receiver<Task>) {
    while let Ok(Task::Compact) = tasks.recv() {
        // What fails now is tried again when more has gathered; nothing is lost meanwhile.
        let _ = inner.compact();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let failed = |error| Error::Internal { reason: format!("cannot start a thread: {error}") };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(failed)
}

/// Takes the lock of the one process that writes.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Error::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::LogBusy { path: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::label::Label;
    use rondo_core::{Code, Explain};

    use super::*;
    use crate::log::index::tests::record as example;

    const DAY: i64 = 86_400_000;

    fn one(deployment: &str, id: &str, time: i64, x: f64) -> Prediction {
        Prediction { record: example(deployment, id, time, x), keep: true }
    }

    fn open(root: &Path) -> PredictionLog {
        PredictionLog::open(root, Options::default()).unwrap()
    }

    fn ids(observations: &[Observation]) -> Vec<&str> {
        observations.iter().map(|observation| observation.prediction_id.as_str()).collect()
    }

    #[test]
    fn what_is_answered_is_read_back_before_and_after_compaction_and_reopening() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        let all = [one("delay", "b", DAY + 5, 2.0), one("delay", "a", 5, 1.0), one("other", "c", 5, 1.0)];
        assert_eq!(log.record(&all, false).unwrap(), [None, None, None]);
        let query = Query::all("delay");
        let before = log.observations(&query).unwrap();
        assert_eq!(ids(&before), ["a", "b"]);
        assert_eq!(log.compact().unwrap(), Compacted { segments: 1, files: 3, records: 3 });
        assert_eq!(log.observations(&query).unwrap(), before);
        log.record(&[one("delay", "d", 6, 1.0)], true).unwrap();
        drop(log);
        let log = open(root.path());
        assert_eq!(ids(&log.observations(&query).unwrap()), ["a", "d", "b"]);
        assert_eq!(
            ids(&log.observations(&Query::new("delay", Timestamp(6), Timestamp(DAY + 5))).unwrap()),
            ["d"]
        );
        assert_eq!(log.watermark("delay"), Some(Timestamp(DAY + 5)));
        assert_eq!(LogReader::new(root.path()).watermark("delay").unwrap(), Some(Timestamp(DAY + 5)));
        assert_eq!(log.deployments(), ["delay", "other"]);
        assert_eq!(LogReader::new(root.path()).deployments().unwrap(), ["delay", "other"]);
        assert_eq!(log.remembered(), 4);
    }

    #[test]
    fn an_id_is_answered_from_the_first_even_after_compaction_and_reopening() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        let first = one("delay", "a", 5, 1.0);
        log.record(std::slice::from_ref(&first), false).unwrap();
        let mut again = first.clone();
        again.record.observation.score = 0.9;
        again.record.observation.version = 4;
        let check = |log: &PredictionLog| {
            let known = log.record(std::slice::from_ref(&again), false).unwrap().remove(0).unwrap();
            assert_eq!((known.score, known.version), (first.record.observation.score, 3));
            assert_eq!(known.label.as_deref(), Some("1"));
            let error =
                log.record(&[one("delay", "new", 5, 1.0), one("delay", "a", 5, 2.0)], false).unwrap_err();
            assert_eq!(error.code(), Code::PredictionConflict);
            assert_eq!(
                log.observations(&Query::all("delay")).unwrap().len(),
                1,
                "nothing of a refused request is logged"
            );
        };
        check(&log);
        log.compact().unwrap();
        check(&log);
        drop(log);
        check(&open(root.path()));
    }

    #[test]
    fn two_rows_of_one_request_may_not_contradict_each_other() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        assert!(log.record(&[one("delay", "a", 5, 1.0), one("delay", "a", 5, 2.0)], false).is_err());
        let twice = log.record(&[one("delay", "a", 5, 1.0), one("delay", "a", 5, 1.0)], false).unwrap();
        assert!(twice[0].is_none() && twice[1].is_some());
    }

    #[test]
    fn labels_are_joined_as_far_as_they_were_known() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        log.record(&[one("delay", "a", 5, 1.0), one("delay", "b", 6, 1.0), one("delay", "c", 7, 1.0)], false)
            .unwrap();
        let truth = |id: &str, time| Truth {
            prediction_id: id.to_owned(),
            label: "late".into(),
            event_time: Timestamp(time),
        };
        let told = [truth("a", 100), truth("b", 200), truth("lost", 1)];
        assert_eq!(log.truth("delay", &told).unwrap().new, 3);
        assert_eq!(log.truth("other", &[truth("c", 1)]).unwrap().new, 1, "of another endpoint");
        let late = || Some(Label::from("late"));
        let labels = |joined: Vec<Joined>| joined.into_iter().map(|one| one.label).collect::<Vec<_>>();
        let query = Query::all("delay");
        assert_eq!(labels(log.joined(&query, Timestamp(150)).unwrap()), [late(), None, None]);
        assert_eq!(labels(log.joined(&query, Timestamp(200)).unwrap()), [late(), late(), None]);
        let reader = LogReader::new(root.path());
        assert_eq!(
            reader.joined(&query, Timestamp(200)).unwrap(),
            log.joined(&query, Timestamp(200)).unwrap()
        );
        let other = Query { version: Some(9), ..query };
        assert!(log.observations(&other).unwrap().is_empty());
    }

    #[test]
    fn a_prediction_is_found_by_its_id_wherever_it_rests() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        log.record(&[one("delay.shadow", "a", 5, 9.0), one("delay", "a", 5, 1.0)], false).unwrap();
        let expected = one("delay", "a", 5, 1.0).record.observation;
        let reader = log.reader().unwrap();
        assert_eq!(reader.find("a", None).unwrap(), std::slice::from_ref(&expected));
        log.compact().unwrap();
        assert_eq!(reader.find("a", None).unwrap(), [expected]);
        assert_eq!(reader.find("z", None).unwrap(), []);
    }

    #[test]
    fn a_prediction_is_found_at_each_endpoint_that_has_its_id() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        log.record(&[one("second", "a", 5, 1.0), one("first", "a", 9 * DAY, 2.0)], false).unwrap();
        let reader = log.reader().unwrap();
        for _ in 0..2 {
            let found = reader.find("a", None).unwrap();
            let endpoints: Vec<&str> = found.iter().map(|one| one.deployment.as_str()).collect();
            assert_eq!(endpoints, ["first", "second"]);
            assert_eq!(reader.find("a", Some("second")).unwrap(), found[1..]);
            assert_eq!(reader.find("a", Some("third")).unwrap(), []);
            log.compact().unwrap();
        }
    }

    #[test]
    fn a_crash_between_partition_and_deletion_shows_nothing_twice() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        log.record(&[one("delay", "a", 5, 1.0), one("delay", "b", 5, 1.0)], true).unwrap();
        let segment = segments::list(&root.path().join("segments")).unwrap().remove(0).1;
        let kept = std::fs::read(&segment).unwrap();
        log.compact().unwrap();
        drop(log);
        std::fs::write(&segment, kept).unwrap();
        let log = open(root.path());
        assert_eq!(ids(&log.observations(&Query::all("delay")).unwrap()), ["a", "b"]);
        assert_eq!(log.compact().unwrap().records, 2);
        assert_eq!(ids(&log.observations(&Query::all("delay")).unwrap()), ["a", "b"]);
    }

    #[test]
    fn one_process_writes_and_others_read() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        let error = PredictionLog::open(root.path(), Options::default()).unwrap_err();
        assert_eq!(error.code(), Code::Busy);
        log.record(&[one("delay", "a", 5, 1.0)], true).unwrap();
        assert_eq!(LogReader::new(root.path()).observations(&Query::all("delay")).unwrap().len(), 1);
        drop(log);
        drop(open(root.path()));
    }

    #[test]
    fn segments_that_gather_are_compacted_by_themselves() {
        let root = tempfile::tempdir().unwrap();
        // Nothing ever waits so long: the segments alone must bring the compaction about.
        let options = Options {
            sync_every: Duration::from_secs(3600),
            segment_bytes: 2_000,
            compact_bytes: 4_000,
            ..Options::default()
        };
        let log = PredictionLog::open(root.path(), options).unwrap();
        let mut count = 0;
        // Ends as soon as a partition has appeared, however slow the machine is.
        while partition::list(&root.path().join("predictions"), None).unwrap().is_empty() {
            log.record(&[one("delay", &format!("id-{count:06}"), count, 1.0)], true).unwrap();
            count += 1;
        }
        assert_eq!(log.observations(&Query::all("delay")).unwrap().len() as i64, count);
    }

    #[test]
    fn only_the_latest_ids_are_read_at_the_start() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        for step in 0..3 {
            log.record(&[one("delay", &format!("id-{step}"), step * DAY + 9, 1.0)], false).unwrap();
            log.compact().unwrap();
        }
        log.record(&[one("old", "id-9", 3 * DAY, 1.0)], false).unwrap();
        drop(log);
        let few = Options { remembered_ids: 2, ..Options::default() };
        let log = PredictionLog::open(root.path(), few).unwrap();
        let inputs = example("delay", "id-2", 0, 1.0).inputs_digest;
        assert!(log.look_up("delay", "id-2", inputs).unwrap().is_some());
        assert!(log.look_up("delay", "id-1", inputs).unwrap().is_none());
        assert_eq!(log.watermark("delay"), Some(Timestamp(2 * DAY + 9)));
        let found = LogReader::new(root.path()).find("id-0", None).unwrap();
        assert_eq!(found[0].prediction_id, "id-0", "it is looked for in every part");
    }

    #[test]
    fn what_is_not_kept_is_remembered_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        let mut unsampled = one("delay", "a", 5, 1.0);
        unsampled.keep = false;
        log.record(&[unsampled.clone()], false).unwrap();
        assert!(log.record(&[unsampled], false).unwrap()[0].is_some());
        assert!(log.observations(&Query::all("delay")).unwrap().is_empty());
    }
}
