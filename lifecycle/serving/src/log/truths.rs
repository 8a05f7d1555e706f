//! The ground truth: labels that became known after their predictions were given.
//!
//! A truth is acknowledged: it is on disk before [`Truths::record`] returns, in one sync shared by all who
//! wait at that moment. All of them are also held in memory, about 90 bytes each, for joins and so that a
//! second truth for an id is either the same or a conflict. A truth may come before its prediction is
//! found, or for one that was lost: it is kept all the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rondo_core::Timestamp;
use rondo_core::handoff::Truth;

use crate::error::{Error, Result};
use crate::log::frame;
use crate::log::record::Fingerprint;
use crate::log::segments::{self, Appender, Group};

/// Bytes of a segment from which the next one is begun.
const ROLL_AT: u64 = 1 << 26;
/// Bytes that may wait to be written.
const BUFFER: usize = 1 << 26;
/// Bytes that a prediction's id may have.
pub const MAX_ID: usize = 512;

/// A label and when it became known in the world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// The label.
    pub label: f64,
    /// When it became known.
    pub event_time: Timestamp,
}

/// What came of recording truths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many are new.
    pub new: usize,
    /// How many were known already, with the same label.
    pub known: usize,
}

#[derive(Debug)]
struct Entry {
    label: Label,
    /// Its group as long as nobody knows that it is on disk.
    pending: Option<Arc<Group>>,
}

/// The ground truth of a log.
#[derive(Debug)]
pub struct Truths {
    appender: Appender,
    entries: Mutex<HashMap<Fingerprint, Entry>>,
}

impl Truths {
    /// Opens the truths in a folder, repairing a torn end.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self> {
        let appender = Appender::open(folder, 0, ROLL_AT, BUFFER)?;
        let mut entries = HashMap::new();
        scan(folder, |truth| {
            let label = Label { label: truth.label, event_time: truth.event_time };
            entries
                .entry(Fingerprint::of(truth.prediction_id.as_bytes()))
                .or_insert(Entry { label, pending: None });
        })?;
        Ok(Self { appender, entries: Mutex::new(entries) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records truths, all of them or none. They are on disk when this returns.
    ///
    /// # Errors
    /// When one contradicts a known truth or is no number, or the disk fails.
    pub fn record(&self, truths: &[Truth]) -> Result<Recorded> {
        for truth in truths {
            if !truth.label.is_finite() {
                return Err(Error::TruthInvalid { id: shown(&truth.prediction_id) });
            }
            if truth.prediction_id.is_empty() || truth.prediction_id.len() > MAX_ID {
                return Err(Error::PredictionId { found: truth.prediction_id.len(), limit: MAX_ID });
            }
        }
        let (added, groups) = self.stage(truths)?;
        for group in &groups {
            if let Err(error) = self.appender.commit(group) {
                self.forget(&added, group);
                return Err(error);
            }
        }
        let mut entries = self.lock();
        for id in &added {
            if let Some(entry) = entries.get_mut(id) {
                entry.pending = None;
            }
        }
        Ok(Recorded { new: added.len(), known: truths.len() - added.len() })
    }

    /// Checks truths against what is known and leaves the new ones to be written. Gives back the ids of
    /// the new ones, and the groups that have to be on disk for all of them to be.
    fn stage(&self, truths: &[Truth]) -> Result<(Vec<Fingerprint>, Vec<Arc<Group>>)> {
        let mut entries = self.lock();
        let mut fresh: HashMap<Fingerprint, Label> = HashMap::new();
        let mut groups: Vec<Arc<Group>> = Vec::new();
        let mut frames = Vec::new();
        for truth in truths {
            let id = Fingerprint::of(truth.prediction_id.as_bytes());
            let known = entries.get(&id).map(|entry| entry.label).or_else(|| fresh.get(&id).copied());
            match known {
                Some(known) if known.label == truth.label => {
                    groups.extend(entries.get(&id).and_then(|entry| entry.pending.clone()));
                }
                Some(known) => {
                    return Err(Error::TruthConflict {
                        id: shown(&truth.prediction_id),
                        known: known.label,
                        given: truth.label,
                    });
                }
                None => {
                    fresh.insert(id, Label { label: truth.label, event_time: truth.event_time });
                    frame::encode(&encode(truth), &mut frames);
                }
            }
        }
        if !fresh.is_empty() {
            let group = self.appender.append(&frames).ok_or_else(|| Error::Internal {
                reason: "too much ground truth waits to be written".to_owned(),
            })?;
            for (id, label) in &fresh {
                entries.insert(*id, Entry { label: *label, pending: Some(Arc::clone(&group)) });
            }
            groups.push(group);
        }
        Ok((fresh.into_keys().collect(), groups))
    }

    /// Takes back what a failed group was to hold.
    fn forget(&self, added: &[Fingerprint], group: &Arc<Group>) {
        let mut entries = self.lock();
        for id in added {
            let is_lost = entries
                .get(id)
                .and_then(|entry| entry.pending.as_ref())
                .is_some_and(|own| Arc::ptr_eq(own, group));
            if is_lost {
                entries.remove(id);
            }
        }
    }

    /// The truth of a prediction.
    pub fn get(&self, prediction_id: &str) -> Option<Label> {
        self.lock().get(&Fingerprint::of(prediction_id.as_bytes())).map(|entry| entry.label)
    }

    /// How many truths there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// Hands out every truth of a folder, in the order in which they came.
///
/// # Errors
/// When a segment cannot be read.
pub fn scan(folder: &Path, mut take: impl FnMut(Truth)) -> Result<()> {
    for (_, path) in segments::list(folder)? {
        let Some(bytes) = segments::read(&path)? else { continue };
        for content in segments::frames(&path, &bytes)? {
            take(decode(content).ok_or_else(|| Error::NotASegment { path: PathBuf::from(&path) })?);
        }
    }
    Ok(())
}

/// A truth as bytes: label, moment, id.
fn encode(truth: &Truth) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + truth.prediction_id.len());
    bytes.extend(truth.label.to_bits().to_le_bytes());
    bytes.extend(truth.event_time.0.to_le_bytes());
    bytes.extend_from_slice(truth.prediction_id.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Truth> {
    let (label, rest) = bytes.split_first_chunk::<8>()?;
    let (moment, id) = rest.split_first_chunk::<8>()?;
    Some(Truth {
        prediction_id: std::str::from_utf8(id).ok()?.to_owned(),
        label: f64::from_bits(u64::from_le_bytes(*label)),
        event_time: Timestamp(i64::from_le_bytes(*moment)),
    })
}

fn shown(id: &str) -> String {
    id.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use rondo_core::{Code, Explain};

    use super::*;

    fn truth(id: &str, label: f64) -> Truth {
        Truth { prediction_id: id.to_owned(), label, event_time: Timestamp(1000) }
    }

    #[test]
    fn truths_are_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        assert_eq!(
            truths.record(&[truth("a", 1.0), truth("b", 0.0)]).unwrap(),
            Recorded { new: 2, known: 0 }
        );
        drop(truths);
        let truths = Truths::open(folder.path()).unwrap();
        assert_eq!(truths.len(), 2);
        assert_eq!(truths.get("a"), Some(Label { label: 1.0, event_time: Timestamp(1000) }));
        assert_eq!(truths.get("c"), None);
    }

    #[test]
    fn the_same_label_again_is_fine_and_another_one_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        truths.record(&[truth("a", 1.0)]).unwrap();
        assert_eq!(
            truths.record(&[truth("a", 1.0), truth("b", 0.0)]).unwrap(),
            Recorded { new: 1, known: 1 }
        );
        let error = truths.record(&[truth("c", 1.0), truth("a", 0.0)]).unwrap_err();
        assert_eq!(error.code(), Code::PredictionConflict);
        assert_eq!(truths.get("c"), None, "all of them or none");
        assert!(truths.record(&[truth("d", 1.0), truth("d", 0.0)]).is_err());
        assert!(truths.record(&[truth("e", f64::NAN)]).is_err());
        assert!(truths.record(&[truth("", 1.0)]).is_err());
    }

    #[test]
    fn many_callers_at_once_all_get_their_truth_to_disk() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (truths, folder) = (&truths, folder.path());
                scope.spawn(move || {
                    for step in 0..15 {
                        // Every third id is shared by all threads.
                        let id =
                            if step % 3 == 0 { format!("all-{step}") } else { format!("{thread}-{step}") };
                        truths.record(&[truth(&id, 1.0)]).unwrap();
                        let mut found = false;
                        scan(folder, |truth| found |= truth.prediction_id == id).unwrap();
                        assert!(found, "{id} is acknowledged and not on disk");
                    }
                });
            }
        });
        assert_eq!(truths.len(), 6 * 10 + 5);
    }
}
