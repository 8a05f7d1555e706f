//! The index of answered predictions: what makes an id idempotent.
//!
//! It is held in memory, about 120 bytes for each id and 16 for each class of several, and bounded: beyond its
//! limit the oldest ids are forgotten. A request with a forgotten id is answered anew and logged again; readers
//! keep the first record of an id.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rondo_core::Timestamp;
use serde_json::{Map, Value};

use crate::log::record::{Fingerprint, Record};

/// What was answered for an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The score.
    pub score: f64,
    /// The label, of a classifier.
    pub label: Option<Arc<str>>,
    /// Of several classes the probability of each.
    pub probabilities: Map<String, Value>,
    /// The model.
    pub model: Arc<str>,
    /// The version that answered.
    pub version: u32,
}

/// What came of looking an id up.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// Nobody asked with it so far.
    New,
    /// It was answered, for the same inputs.
    Same(Known),
    /// It was answered, for other inputs.
    Other,
}

#[derive(Debug, Clone)]
struct Entry {
    inputs: Fingerprint,
    score: f64,
    event_time: Timestamp,
    version: u32,
    model: u32,
    label: u32,
    /// Classes with their probabilities.
    probabilities: Box<[(u32, f64)]>,
}

impl Entry {
    /// How much room it takes, in ids of a model without several classes.
    fn weight(&self) -> usize {
        1 + self.probabilities.len() / CLASSES
    }
}

/// No label.
const NONE: u32 = u32::MAX;
/// The probabilities of so many classes take as much room as an id.
const CLASSES: usize = 8;

/// The index.
#[derive(Debug)]
pub struct Index {
    entries: HashMap<Fingerprint, Entry>,
    order: VecDeque<Fingerprint>,
    words: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    watermarks: HashMap<String, Timestamp>,
    weight: usize,
    limit: usize,
}

impl Index {
    /// An empty index for so many ids; for fewer where each has the probabilities of many classes.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            words: Vec::new(),
            numbers: HashMap::new(),
            watermarks: HashMap::new(),
            weight: 0,
            limit: limit.max(1),
        }
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of an id at an endpoint, for these inputs.
    pub fn look_up(&self, id: Fingerprint, inputs: Fingerprint) -> Lookup {
        match self.entries.get(&id) {
            None => Lookup::New,
            Some(entry) if entry.inputs == inputs => Lookup::Same(self.known(entry)),
            Some(_) => Lookup::Other,
        }
    }

    /// When the event behind an id at an endpoint happened.
    pub fn event_time(&self, id: Fingerprint) -> Option<Timestamp> {
        self.entries.get(&id).map(|entry| entry.event_time)
    }

    fn known(&self, entry: &Entry) -> Known {
        let word = |number: u32| self.words.get(number as usize).cloned();
        Known {
            score: entry.score,
            label: word(entry.label),
            probabilities: entry
                .probabilities
                .iter()
                .filter_map(|(class, share)| Some((word(*class)?.as_ref().to_owned(), (*share).into())))
                .collect(),
            model: word(entry.model).unwrap_or_else(|| Arc::from("")),
            version: entry.version,
        }
    }

    /// Notes an answer. The first one of an id stays.
    pub fn note(&mut self, record: &Record) {
        let observation = &record.observation;
        let id = Fingerprint::of_id(&observation.deployment, &observation.prediction_id);
        let entry = Entry {
            inputs: record.inputs_digest,
            score: observation.score,
            event_time: observation.event_time,
            version: observation.version,
            model: self.number(&observation.model),
            label: observation.label.as_ref().map_or(NONE, |label| self.number(label)),
            probabilities: observation
                .probabilities
                .iter()
                .filter_map(|(class, share)| Some((self.number(class), share.as_f64()?)))
                .collect(),
        };
        self.note_time(&observation.deployment, observation.event_time);
        if let std::collections::hash_map::Entry::Vacant(slot) = self.entries.entry(id) {
            self.weight += entry.weight();
            slot.insert(entry);
            self.order.push_back(id);
        }
        // The newest stays, however much room it takes.
        while self.weight > self.limit && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.weight -= self.entries.remove(&oldest).map_or(0, |entry| entry.weight());
        }
    }

    /// Notes that an endpoint has seen an event of some time.
    pub fn note_time(&mut self, deployment: &str, event_time: Timestamp) {
        match self.watermarks.get_mut(deployment) {
            Some(watermark) => *watermark = (*watermark).max(event_time),
            None => {
                self.watermarks.insert(deployment.to_owned(), event_time);
            }
        }
    }

    /// The number that stands for a word: models and labels are few.
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let Some(number) = u32::try_from(self.words.len()).ok().filter(|number| *number != NONE) else {
            return NONE;
        };
        let word: Arc<str> = Arc::from(word);
        self.words.push(Arc::clone(&word));
        self.numbers.insert(word, number);
        number
    }

    /// The highest event time that was seen at an endpoint.
    pub fn watermark(&self, deployment: &str) -> Option<Timestamp> {
        self.watermarks.get(deployment).copied()
    }

    /// The endpoints that have answered.
    pub fn deployments(&self) -> impl Iterator<Item = &str> {
        self.watermarks.keys().map(String::as_str)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rondo_core::handoff::Observation;
    use serde_json::{Map, json};

    use super::*;

    /// A record for tests.
    pub(crate) fn record(deployment: &str, id: &str, event_time: i64, x: f64) -> Record {
        let inputs = json!({"x": x, "word": "a", "flag": true, "count": 3});
        Record {
            inputs_digest: Fingerprint::of_inputs(inputs.as_object().unwrap()),
            observation: Observation {
                prediction_id: id.to_owned(),
                deployment: deployment.to_owned(),
                model: "late".to_owned(),
                version: 3,
                event_time: Timestamp(event_time),
                received: Timestamp(event_time + 5),
                inputs,
                score: 0.1 + x / 7.0,
                label: Some("1".to_owned()),
                probabilities: Map::new(),
                latency_ms: 0.25,
            },
        }
    }

    #[test]
    fn an_id_is_known_for_its_inputs_and_endpoint() {
        let mut index = Index::new(10);
        let one = record("delay", "a", 1000, 1.0);
        index.note(&one);
        let id = Fingerprint::of_id("delay", "a");
        let Lookup::Same(known) = index.look_up(id, one.inputs_digest) else { panic!("it is known") };
        assert_eq!(known.score, one.observation.score);
        assert_eq!((known.label.as_deref(), &*known.model, known.version), (Some("1"), "late", 3));
        assert_eq!(index.look_up(id, Fingerprint(0)), Lookup::Other);
        assert_eq!(index.look_up(Fingerprint::of_id("other", "a"), one.inputs_digest), Lookup::New);
        assert_eq!(index.watermark("delay"), Some(Timestamp(1000)));
    }

    #[test]
    fn the_probabilities_of_an_id_are_known_in_their_order_and_take_their_room() {
        let mut index = Index::new(4);
        let classes = |id: &str, count: usize| {
            let mut record = record("kind", id, 0, 1.0);
            let shares =
                (0..count).rev().map(|class| (format!("c{class}"), (1.0 / (class + 1) as f64).into()));
            record.observation.probabilities = shares.collect();
            record
        };
        let few = classes("few", 3);
        index.note(&few);
        let of = |index: &Index, record: &Record| {
            let observation = &record.observation;
            index.look_up(
                Fingerprint::of_id(&observation.deployment, &observation.prediction_id),
                record.inputs_digest,
            )
        };
        let Lookup::Same(known) = of(&index, &few) else { panic!("it is known") };
        assert!(known.probabilities.iter().eq(few.observation.probabilities.iter()));
        let many = classes("many", 24);
        index.note(&many);
        assert_eq!((of(&index, &few), index.len()), (Lookup::New, 1), "1 + 4 are beyond 4");
        index.note(&classes("more", 800));
        assert_eq!(index.len(), 1, "the newest stays");
    }

    #[test]
    fn beyond_its_limit_the_oldest_is_forgotten() {
        let mut index = Index::new(2);
        for (step, id) in ["a", "b", "c"].iter().enumerate() {
            index.note(&record("delay", id, step as i64, 1.0));
        }
        let inputs = record("delay", "a", 0, 1.0).inputs_digest;
        assert_eq!(index.len(), 2);
        assert_eq!(index.look_up(Fingerprint::of_id("delay", "a"), inputs), Lookup::New);
        assert!(matches!(index.look_up(Fingerprint::of_id("delay", "c"), inputs), Lookup::Same(_)));
    }
}
