//! The profile of a column of text or truth values: how often each value occurs, and how long texts are.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hash::FastMap;
use super::sketch::DistinctSketch;
use super::{Distinct, EXACT_VALUES};

/// Values are kept only while all of them together are no longer than this.
const EXACT_BYTES: usize = 4 * 1024 * 1024;

/// The profile of a column's texts.
#[derive(Debug, Clone)]
pub struct CategoryProfile {
    /// How many values.
    pub count: u64,
    /// How long they are.
    pub lengths: Lengths,
    values: Values,
}

/// Lengths in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lengths {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// All together.
    pub sum: u64,
}

#[derive(Debug, Clone)]
enum Values {
    Exact(BTreeMap<String, u64>),
    Sketched(DistinctSketch),
}

impl CategoryProfile {
    /// How many values differ.
    pub fn distinct(&self) -> Distinct {
        match &self.values {
            Values::Exact(values) => Distinct { count: values.len() as u64, exact: true },
            Values::Sketched(sketch) => Distinct { count: sketch.estimate().min(self.count), exact: false },
        }
    }

    /// How often each value occurs, while there are few enough to know them all.
    pub fn counts(&self) -> Option<&BTreeMap<String, u64>> {
        match &self.values {
            Values::Exact(values) => Some(values),
            Values::Sketched(_) => None,
        }
    }

    /// The most frequent values with their counts, most frequent first, equals by their text.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let Some(counts) = self.counts() else { return Vec::new() };
        let mut values: Vec<(&str, u64)> =
            counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values.truncate(most);
        values
    }

    /// The profile of both columns together.
    pub(super) fn merge(&self, other: &Self) -> Result<Self, String> {
        let count = self.count.checked_add(other.count).ok_or("too many values")?;
        let values = match (&self.values, &other.values) {
            (Values::Exact(a), Values::Exact(b)) => {
                let mut merged = a.clone();
                for (value, count) in b {
                    *merged.entry(value.clone()).or_insert(0) += count;
                }
                let bytes: usize = merged.keys().map(String::len).sum();
                if merged.len() > EXACT_VALUES || bytes > EXACT_BYTES {
                    Values::Sketched(sketch_of(merged.keys().map(String::as_str))?)
                } else {
                    Values::Exact(merged)
                }
            }
            (Values::Exact(few), Values::Sketched(sketch))
            | (Values::Sketched(sketch), Values::Exact(few)) => {
                Values::Sketched(sketch.merge(&sketch_of(few.keys().map(String::as_str))?)?)
            }
            (Values::Sketched(a), Values::Sketched(b)) => Values::Sketched(a.merge(b)?),
        };
        Ok(Self { count, lengths: self.lengths.merge(other.lengths, self.count, other.count), values })
    }
}

impl Lengths {
    /// Takes a value that occurs so many times.
    fn add(&mut self, value: &str, count: u64) {
        let length = value.chars().count() as u64;
        self.min = self.min.min(length);
        self.max = self.max.max(length);
        self.sum = self.sum.saturating_add(length.saturating_mul(count));
    }

    fn merge(self, other: Self, here: u64, there: u64) -> Self {
        match (here, there) {
            (_, 0) => self,
            (0, _) => other,
            _ => Self {
                min: self.min.min(other.min),
                max: self.max.max(other.max),
                sum: self.sum.saturating_add(other.sum),
            },
        }
    }
}

fn sketch_of<'a>(values: impl Iterator<Item = &'a str>) -> Result<DistinctSketch, String> {
    let mut sketch = DistinctSketch::new()?;
    for value in values {
        sketch.add_text(value);
    }
    Ok(sketch)
}

/// Takes a column's values as they come.
#[derive(Debug)]
pub(super) struct CategoryBuilder {
    count: u64,
    lengths: Lengths,
    bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Exact(FastMap<Box<str>, u64>),
    Live(DistinctSketch),
}

impl CategoryBuilder {
    pub(super) fn new() -> Self {
        let lengths = Lengths { min: u64::MAX, max: 0, sum: 0 };
        Self { count: 0, lengths, bytes: 0, state: State::Exact(FastMap::default()) }
    }

    pub(super) fn add(&mut self, value: &str) -> Result<(), String> {
        self.add_many(value, 1)
    }

    pub(super) fn add_many(&mut self, value: &str, count: u64) -> Result<(), String> {
        if count == 0 {
            return Ok(());
        }
        self.count += count;
        match &mut self.state {
            State::Exact(counts) => {
                if let Some(slot) = counts.get_mut(value) {
                    *slot += count;
                    return Ok(());
                }
                self.bytes += value.len();
                counts.insert(value.into(), count);
                if counts.len() > EXACT_VALUES || self.bytes > EXACT_BYTES {
                    // Lengths of counted values are taken once a value, when the counts are given up.
                    for (value, count) in counts.iter() {
                        self.lengths.add(value, *count);
                    }
                    self.state = State::Live(sketch_of(counts.keys().map(AsRef::as_ref))?);
                }
            }
            State::Live(sketch) => {
                self.lengths.add(value, count);
                sketch.add_text(value);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> CategoryProfile {
        let mut lengths = self.lengths;
        let values = match self.state {
            State::Exact(counts) => {
                for (value, count) in &counts {
                    lengths.add(value, *count);
                }
                Values::Exact(counts.into_iter().map(|(value, count)| (value.into(), count)).collect())
            }
            State::Live(sketch) => Values::Sketched(sketch),
        };
        let lengths = if self.count == 0 { Lengths::default() } else { lengths };
        CategoryProfile { count: self.count, lengths, values }
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    count: u64,
    lengths: Lengths,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    values: Option<BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hll: Option<String>,
}

impl Serialize for CategoryProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (values, hll) = match &self.values {
            Values::Exact(values) => (Some(values.clone()), None),
            Values::Sketched(sketch) => (None, Some(sketch.text())),
        };
        Stored { count: self.count, lengths: self.lengths, values, hll }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CategoryProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let values = match (stored.values, stored.hll) {
            (Some(values), None) => {
                let total = values.values().try_fold(0_u64, |sum, count| sum.checked_add(*count));
                if total != Some(stored.count) {
                    return Err(D::Error::custom("the values do not agree with the count"));
                }
                Values::Exact(values)
            }
            (None, Some(hll)) => Values::Sketched(DistinctSketch::read(&hll).map_err(D::Error::custom)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(D::Error::custom("a profile of texts has either values or a sketch"));
            }
        };
        Ok(Self { count: stored.count, lengths: stored.lengths, values })
    }
}
