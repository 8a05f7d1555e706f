//! Shadows: models that score the same rows beside the one that answers, on a thread of their own.
//!
//! Nobody waits for them and nobody sees their answers but the log, where they stand under
//! `<name>.shadow`. What comes faster than they can score is dropped and counted.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rondo_core::Timestamp;
use rondo_core::ports::Clock;
use serde_json::Value;

use crate::deployment::Endpoint;
use crate::deployment::answer::{Identified, prediction};
use crate::deployment::live::LiveModel;
use crate::error::{Error, Result};
use crate::log::PredictionLog;
use crate::log::reader::shadow_of;

/// Requests that may wait for the shadows.
const QUEUE: usize = 1024;

/// Rows for a shadow.
pub(super) struct ShadowWork {
    /// The endpoint that answered them.
    pub endpoint: Arc<Endpoint>,
    /// The shadow.
    pub model: Arc<LiveModel>,
    /// The rows.
    pub rows: Vec<Identified>,
    /// When they were answered.
    pub received: Timestamp,
}

/// The thread that the shadows score on.
pub(super) struct Shadows {
    queue: Option<SyncSender<ShadowWork>>,
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
}

/// How much work the shadows have before them.
#[derive(Default)]
struct Waiting {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shadows {
    /// Starts the thread.
    pub fn start(log: Arc<PredictionLog>, clock: Arc<dyn Clock>) -> Result<Self> {
        let (queue, work) = sync_channel(QUEUE);
        let waiting = Arc::new(Waiting::default());
        let thread = std::thread::Builder::new()
            .name("shadows".to_owned())
            .spawn({
                let waiting = Arc::clone(&waiting);
                move || shadow_loop(&work, &log, clock.as_ref(), &waiting)
            })
            .map_err(|error| Error::Internal { reason: format!("cannot start a thread: {error}") })?;
        Ok(Self { queue: Some(queue), waiting, thread: Some(thread) })
    }

    /// Leaves work for the thread; false where too much waits already.
    pub fn hand_over(&self, work: ShadowWork) -> bool {
        let Some(queue) = &self.queue else { return false };
        *self.waiting.lock() += 1;
        match queue.try_send(work) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                *self.waiting.lock() -= 1;
                self.waiting.changed.notify_all();
                false
            }
        }
    }

    /// Waits until nothing waits.
    pub fn drain(&self) {
        let mut count = self.waiting.lock();
        while *count > 0 {
            count = self.waiting.changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Shadows {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn shadow_loop(work: &Receiver<ShadowWork>, log: &PredictionLog, clock: &dyn Clock, waiting: &Waiting) {
    while let Ok(work) = work.recv() {
        let count = work.rows.len() as u64;
        let counters = &work.endpoint.counters;
        let counter = match shadow_score(&work, log, clock) {
            Ok(()) => &counters.shadow_rows,
            // A shadow that cannot score some rows is no reason to stop; how many is counted.
            Err(_) => &counters.shadow_dropped,
        };
        counter.fetch_add(count, Ordering::Relaxed);
        *waiting.lock() -= 1;
        waiting.changed.notify_all();
    }
}

fn shadow_score(work: &ShadowWork, log: &PredictionLog, clock: &dyn Clock) -> Result<()> {
    let started = Instant::now();
    let live = &work.model;
    let records: Vec<Value> = work.rows.iter().map(|row| Value::Object(row.inputs.clone())).collect();
    let request = live.read(Value::Array(records))?;
    let predictions = live.engine.predict(&request.batch)?;
    let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
    let name = shadow_of(&live.deployment.name);
    let mut all = Vec::with_capacity(work.rows.len());
    for (place, (row, score)) in work.rows.iter().zip(&predictions.scores).enumerate() {
        if !score.is_finite() {
            return Err(Error::NoScore { row: place });
        }
        let said = live.said(&predictions, place, *score);
        let mut one = prediction(live, row, said, clock.now(), latency_ms);
        one.record.observation.deployment.clone_from(&name);
        one.record.observation.event_time = row.event_time.unwrap_or(work.received);
        all.push(one);
    }
    log.record(&all, false).map(|_| ())
}
