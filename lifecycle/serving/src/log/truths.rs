//! The ground truth: labels that became known after their predictions were given.
//!
//! A truth belongs to an id at an endpoint, as the prediction does. An earlier release kept the id alone: such
//! a truth is *unplaced*, and counts at every endpoint that has no truth of its own for the id.
//!
//! A truth is acknowledged: it is on disk before [`Truths::record`] returns, in one sync shared by all who
//! wait at that moment. All of them are also held in memory, about 110 bytes each, for joins and so that a
//! second truth for an id is either the same or a conflict. A truth may come before its prediction is
//! found, or for one that was lost: it is kept all the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rondo_core::Timestamp;
use rondo_core::handoff::Truth;
use rondo_core::label::Label;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::log::frame;
use crate::log::reader::shadowed;
use crate::log::record::Fingerprint;
use crate::log::segments::{self, Appender, Group};

/// Bytes of a segment from which the next one is begun.
const ROLL_AT: u64 = 1 << 26;
/// Bytes that may wait to be written.
const BUFFER: usize = 1 << 26;
/// Bytes that a prediction's id may have, and the text of a label.
pub const MAX_ID: usize = 512;
/// What a frame with an endpoint begins with: no label of an unplaced truth has these bits, which are no
/// number.
const PLACED: [u8; 8] = 0x7ff8_0000_0072_6f6e_u64.to_le_bytes();

/// A label and when it became known in the world.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownLabel {
    /// The label.
    pub label: Label,
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
    known: KnownLabel,
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
        scan(folder, |id, known| {
            entries.entry(id).or_insert(Entry { known, pending: None });
        })?;
        Ok(Self { appender, entries: Mutex::new(entries) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records truths of an endpoint, all of them or none. They are on disk when this returns. `is_shared`
    /// tells whether another endpoint has answered with an id too: then an unplaced truth may be that one's.
    ///
    /// # Errors
    /// When one contradicts a known truth or is neither finite nor a short text, or the disk fails.
    pub fn record(
        &self,
        deployment: &str,
        truths: &[Truth],
        is_shared: impl Fn(&str) -> bool,
    ) -> Result<Recorded> {
        for truth in truths {
            let is_label = match &truth.label {
                Label::Number(number) => number.is_finite(),
                Label::Text(text) => text.len() <= MAX_ID,
            };
            if !is_label {
                let reason = format!("is neither a finite number nor a text of at most {MAX_ID} bytes");
                return Err(Error::TruthInvalid { id: shown(&truth.prediction_id), reason });
            }
            if truth.prediction_id.is_empty() || truth.prediction_id.len() > MAX_ID {
                return Err(Error::PredictionId { found: truth.prediction_id.len(), limit: MAX_ID });
            }
        }
        let (added, groups) = self.stage(deployment, truths, is_shared)?;
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
    fn stage(
        &self,
        deployment: &str,
        truths: &[Truth],
        is_shared: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Fingerprint>, Vec<Arc<Group>>)> {
        let mut entries = self.lock();
        let mut fresh: HashMap<Fingerprint, KnownLabel> = HashMap::new();
        let mut groups: Vec<Arc<Group>> = Vec::new();
        let mut frames = Vec::new();
        for truth in truths {
            let id = Fingerprint::of_id(deployment, &truth.prediction_id);
            let own = entries.get(&id).map(|entry| &entry.known).or_else(|| fresh.get(&id));
            let known = own.or_else(|| {
                let unplaced = &entries.get(&unplaced(&truth.prediction_id))?.known;
                (unplaced.label == truth.label || !is_shared(&truth.prediction_id)).then_some(unplaced)
            });
            match known {
                Some(known) if known.label == truth.label => {
                    groups.extend(entries.get(&id).and_then(|entry| entry.pending.clone()));
                }
                Some(known) => {
                    return Err(Error::TruthConflict {
                        id: shown(&truth.prediction_id),
                        known: known.label.clone(),
                        given: truth.label.clone(),
                    });
                }
                None => {
                    let known = KnownLabel { label: truth.label.clone(), event_time: truth.event_time };
                    fresh.insert(id, known);
                    frame::encode(&encode(deployment, truth)?, &mut frames);
                }
            }
        }
        if !fresh.is_empty() {
            let group = self.appender.append(&frames).ok_or_else(|| Error::Internal {
                reason: "too much ground truth waits to be written".to_owned(),
            })?;
            let added = fresh.keys().copied().collect();
            for (id, known) in fresh {
                entries.insert(id, Entry { known, pending: Some(Arc::clone(&group)) });
            }
            groups.push(group);
            return Ok((added, groups));
        }
        Ok((Vec::new(), groups))
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

    /// The truth of a prediction of an endpoint.
    pub fn get(&self, deployment: &str, prediction_id: &str) -> Option<KnownLabel> {
        let entries = self.lock();
        find(deployment, prediction_id, |id| entries.get(id).map(|entry| &entry.known)).cloned()
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

/// The truth of a prediction of an endpoint among those that are known: its own, else the unplaced one of its
/// id. A shadow's are those of the endpoint that it stands beside.
pub(crate) fn find<'a>(
    deployment: &str,
    prediction_id: &str,
    known: impl Fn(&Fingerprint) -> Option<&'a KnownLabel>,
) -> Option<&'a KnownLabel> {
    let own = Fingerprint::of_id(shadowed(deployment), prediction_id);
    known(&own).or_else(|| known(&unplaced(prediction_id)))
}

/// What an unplaced truth is known by.
fn unplaced(prediction_id: &str) -> Fingerprint {
    Fingerprint::of(prediction_id.as_bytes())
}

/// Hands out every truth of a folder with what it is known by, in the order in which they came: the first of
/// several is the one that counts.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn scan(folder: &Path, mut take: impl FnMut(Fingerprint, KnownLabel)) -> Result<()> {
    for (_, path) in segments::list(folder)? {
        let Some(bytes) = segments::read(&path)? else { continue };
        for content in segments::frames(&path, &bytes)? {
            let (id, known) =
                decode(content).ok_or_else(|| Error::NotASegment { path: PathBuf::from(&path) })?;
            take(id, known);
        }
    }
    Ok(())
}

/// A truth with its endpoint, as it is written behind [`PLACED`].
#[derive(Serialize, Deserialize)]
struct Placed {
    deployment: String,
    #[serde(flatten)]
    truth: Truth,
}

fn encode(deployment: &str, truth: &Truth) -> Result<Vec<u8>> {
    let mut bytes = PLACED.to_vec();
    let placed = Placed { deployment: deployment.to_owned(), truth: truth.clone() };
    serde_json::to_writer(&mut bytes, &placed)
        .map_err(|error| Error::Internal { reason: format!("a truth cannot be written: {error}") })?;
    Ok(bytes)
}

/// A placed truth, or an unplaced one: label, moment, id.
fn decode(bytes: &[u8]) -> Option<(Fingerprint, KnownLabel)> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    if *head == PLACED {
        let Placed { deployment, truth } = serde_json::from_slice(rest).ok()?;
        let id = Fingerprint::of_id(&deployment, &truth.prediction_id);
        return Some((id, KnownLabel { label: truth.label, event_time: truth.event_time }));
    }
    let (moment, id) = rest.split_first_chunk::<8>()?;
    let label = Label::Number(f64::from_bits(u64::from_le_bytes(*head)));
    let event_time = Timestamp(i64::from_le_bytes(*moment));
    Some((unplaced(std::str::from_utf8(id).ok()?), KnownLabel { label, event_time }))
}

fn shown(id: &str) -> String {
    id.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use rondo_core::{Code, Explain};

    use super::*;

    fn truth(id: &str, label: impl Into<Label>) -> Truth {
        Truth { prediction_id: id.to_owned(), label: label.into(), event_time: Timestamp(1000) }
    }

    fn record(truths: &Truths, of: &[Truth]) -> Result<Recorded> {
        truths.record("delay", of, |_| false)
    }

    fn label(truths: &Truths, deployment: &str, id: &str) -> Option<Label> {
        truths.get(deployment, id).map(|known| known.label)
    }

    #[test]
    fn truths_are_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        let both = [truth("a", 1.0), truth("b", "late")];
        assert_eq!(record(&truths, &both).unwrap(), Recorded { new: 2, known: 0 });
        drop(truths);
        let truths = Truths::open(folder.path()).unwrap();
        assert_eq!(truths.len(), 2);
        let known = KnownLabel { label: Label::Number(1.0), event_time: Timestamp(1000) };
        assert_eq!(truths.get("delay", "a"), Some(known));
        assert_eq!(label(&truths, "delay", "b"), Some(Label::from("late")));
        assert_eq!(truths.get("delay", "c"), None);
    }

    #[test]
    fn the_same_label_again_is_fine_and_another_one_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        record(&truths, &[truth("a", 1.0)]).unwrap();
        let again = record(&truths, &[truth("a", 1.0), truth("b", 0.0)]).unwrap();
        assert_eq!(again, Recorded { new: 1, known: 1 });
        let error = record(&truths, &[truth("c", 1.0), truth("a", 0.0)]).unwrap_err();
        assert_eq!(error.code(), Code::PredictionConflict);
        assert_eq!(truths.get("delay", "c"), None, "all of them or none");
        assert!(record(&truths, &[truth("d", 1.0), truth("d", "1")]).is_err());
        assert!(record(&truths, &[truth("e", f64::NAN)]).is_err());
        assert!(record(&truths, &[truth("e", "e".repeat(MAX_ID + 1).as_str())]).is_err());
        assert!(record(&truths, &[truth("", 1.0)]).is_err());
    }

    #[test]
    fn an_id_has_a_truth_of_its_own_at_each_endpoint_and_its_shadow() {
        let folder = tempfile::tempdir().unwrap();
        let truths = Truths::open(folder.path()).unwrap();
        truths.record("delay", &[truth("1", 1.0)], |_| true).unwrap();
        truths.record("price", &[truth("1", 250.0)], |_| true).unwrap();
        let check = |truths: &Truths| {
            assert_eq!(label(truths, "delay", "1"), Some(Label::Number(1.0)));
            assert_eq!(label(truths, "delay.shadow", "1"), Some(Label::Number(1.0)));
            assert_eq!(label(truths, "price", "1"), Some(Label::Number(250.0)));
            assert_eq!(label(truths, "other", "1"), None);
        };
        check(&truths);
        drop(truths);
        check(&Truths::open(folder.path()).unwrap());
    }

    /// A truth as releases wrote it that kept the id alone.
    fn unplaced_on_disk(folder: &Path, id: &str, label: f64) {
        let appender = Appender::open(folder, 0, ROLL_AT, BUFFER).unwrap();
        let content = [&label.to_le_bytes()[..], &7_i64.to_le_bytes(), id.as_bytes()].concat();
        let mut frames = Vec::new();
        assert!(frame::encode(&content, &mut frames));
        appender.commit(&appender.append(&frames).unwrap()).unwrap();
    }

    #[test]
    fn what_was_kept_by_the_id_alone_counts_until_the_endpoint_has_a_truth_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        unplaced_on_disk(folder.path(), "1", 1.0);
        let truths = Truths::open(folder.path()).unwrap();
        let old = KnownLabel { label: Label::Number(1.0), event_time: Timestamp(7) };
        assert_eq!(truths.get("delay", "1"), Some(old.clone()));
        let same = truths.record("delay", &[truth("1", 1.0)], |_| false).unwrap();
        assert_eq!(same, Recorded { new: 0, known: 1 });
        let error = truths.record("delay", &[truth("1", 0.0)], |_| false).unwrap_err();
        assert_eq!(error.code(), Code::PredictionConflict);
        truths.record("price", &[truth("1", 250.0)], |id| id == "1").unwrap();
        drop(truths);
        let truths = Truths::open(folder.path()).unwrap();
        assert_eq!(truths.get("delay", "1"), Some(old));
        assert_eq!(label(&truths, "price", "1"), Some(Label::Number(250.0)));
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
                        record(truths, &[truth(&id, 1.0)]).unwrap();
                        let (mut found, own) = (false, Fingerprint::of_id("delay", &id));
                        scan(folder, |id, _| found |= id == own).unwrap();
                        assert!(found, "{id} is acknowledged and not on disk");
                    }
                });
            }
        });
        assert_eq!(truths.len(), 6 * 10 + 5);
    }
}
