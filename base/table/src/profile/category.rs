//! The profile of a column of text or truth values: how often each value occurs, and how long texts are.

use std::collections::BTreeMap;

use arrow_array::{Array, Int32Array, StringArray};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::forms::{FormsBuilder, TextForms};
use super::frequent::{Frequent, FrequentBuilder};
use super::hash::FastMap;
use super::sketch::DistinctSketch;
use super::{Distinct, EXACT_VALUES};

/// Values are kept only while all of them together are no longer than this.
const EXACT_BYTES: usize = 4 * 1024 * 1024;

/// After so many texts it is told whether they are keys, of which more than half differ.
const KEYS_TOLD: u64 = 65_536;

/// The profile of a column's texts.
#[derive(Debug, Clone)]
pub struct CategoryProfile {
    /// How many values.
    pub count: u64,
    /// How long they are.
    pub lengths: Lengths,
    /// What they look like, where that was asked for.
    pub forms: Option<TextForms>,
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
    Sketched(DistinctSketch, Option<Frequent>),
}

impl CategoryProfile {
    /// How many values differ.
    pub fn distinct(&self) -> Distinct {
        match &self.values {
            Values::Exact(values) => Distinct { count: values.len() as u64, exact: true },
            Values::Sketched(sketch, _) => {
                Distinct { count: sketch.estimate().min(self.count), exact: false }
            }
        }
    }

    /// How often each value occurs, while there are few enough to know them all.
    pub fn counts(&self) -> Option<&BTreeMap<String, u64>> {
        match &self.values {
            Values::Exact(values) => Some(values),
            Values::Sketched(..) => None,
        }
    }

    /// The most frequent values with their counts, most frequent first, equals by their text. Where there
    /// are too many values to know them all, a count is the least that it may be (see [`Self::top_error`]),
    /// and nothing is known unless it was asked for.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut values: Vec<(&str, u64)> = match &self.values {
            Values::Exact(counts) => counts.iter().map(|(value, count)| (value.as_str(), *count)).collect(),
            Values::Sketched(_, frequent) => frequent
                .iter()
                .flat_map(|frequent| &frequent.items)
                .map(|(value, count)| (value.as_str(), *count))
                .collect(),
        };
        values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values.truncate(most);
        values
    }

    /// By how much the counts of the most frequent values may be too low.
    pub fn top_error(&self) -> u64 {
        match &self.values {
            Values::Exact(_) | Values::Sketched(_, None) => 0,
            Values::Sketched(_, Some(frequent)) => frequent.error,
        }
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
                    let wanted = self.forms.is_some() && other.forms.is_some();
                    Values::Sketched(
                        sketch_of(merged.keys().map(String::as_str))?,
                        wanted.then(|| frequent(&merged)),
                    )
                } else {
                    Values::Exact(merged)
                }
            }
            (Values::Exact(few), Values::Sketched(sketch, known))
            | (Values::Sketched(sketch, known), Values::Exact(few)) => {
                let sketch = sketch.merge(&sketch_of(few.keys().map(String::as_str))?)?;
                Values::Sketched(sketch, known.as_ref().map(|known| known.merge(&frequent(few))))
            }
            (Values::Sketched(a, here), Values::Sketched(b, there)) => {
                let known = here.as_ref().zip(there.as_ref()).map(|(here, there)| here.merge(there));
                Values::Sketched(a.merge(b)?, known)
            }
        };
        let forms = match (&self.forms, &other.forms) {
            (Some(here), Some(there)) => Some(here.merge(there)),
            (Some(forms), None) if other.count == 0 => Some(forms.clone()),
            (None, Some(forms)) if self.count == 0 => Some(forms.clone()),
            _ => None,
        };
        Ok(Self { count, lengths: self.lengths.merge(other.lengths, self.count, other.count), forms, values })
    }
}

impl Lengths {
    /// Takes a value that occurs so many times.
    fn add(&mut self, length: u64, count: u64) {
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

fn frequent(counts: &BTreeMap<String, u64>) -> Frequent {
    Frequent::of(counts.iter().map(|(value, count)| (value.as_str(), *count)))
}

/// Takes a column's values as they come.
#[derive(Debug)]
pub(super) struct CategoryBuilder {
    count: u64,
    looks: Looks,
    bytes: usize,
    state: State,
}

/// What is known of texts one by one.
#[derive(Debug)]
struct Looks {
    lengths: Lengths,
    forms: Option<FormsBuilder>,
}

impl Looks {
    fn add(&mut self, value: &str, count: u64) {
        let length = if value.is_ascii() { value.len() } else { value.chars().count() } as u64;
        self.lengths.add(length, count);
        if let Some(forms) = &mut self.forms {
            forms.add(value, length, count);
        }
    }
}

#[derive(Debug)]
enum State {
    Exact(FastMap<Box<str>, u64>),
    Live(DistinctSketch, Option<Box<FrequentBuilder>>),
}

impl CategoryBuilder {
    /// For a column whose forms are asked for, or not.
    pub(super) fn new(forms: bool) -> Self {
        let lengths = Lengths { min: u64::MAX, max: 0, sum: 0 };
        let looks = Looks { lengths, forms: forms.then(FormsBuilder::default) };
        Self { count: 0, looks, bytes: 0, state: State::Exact(FastMap::default()) }
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
                    self.give_up()?;
                }
            }
            State::Live(sketch, frequent) => {
                self.looks.add(value, count);
                sketch.add_text(value);
                if let Some(known) = frequent {
                    known.add(value, count);
                    // A column of keys has no commonest values.
                    if self.count == KEYS_TOLD && sketch.estimate() * 2 > self.count {
                        *frequent = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes texts by keys, the places of each in a list. The same as taking them one by one, but each is
    /// looked up once.
    pub(super) fn add_keys(&mut self, texts: &StringArray, keys: &Int32Array) -> Result<(), String> {
        let few = match &self.state {
            State::Exact(counts) => {
                let bytes = texts.value_data().len();
                counts.len() + texts.len() <= EXACT_VALUES && self.bytes + bytes <= EXACT_BYTES
            }
            State::Live(..) => false,
        };
        if !few {
            let places = keys.iter().flatten().filter_map(|key| usize::try_from(key).ok());
            let mut known = places.filter(|key| *key < texts.len() && texts.is_valid(*key));
            return known.try_for_each(|key| self.add(texts.value(key)));
        }
        let mut counts = vec![0_u64; texts.len()];
        for (row, key) in keys.values().iter().enumerate() {
            // A missing value has a key too, which means nothing.
            if keys.nulls().is_none_or(|nulls| nulls.is_valid(row))
                && let Some(count) = counts.get_mut(*key as usize)
            {
                *count += 1;
            }
        }
        let mut found = texts.iter().zip(counts).filter_map(|(text, count)| Some((text?, count)));
        found.try_for_each(|(text, count)| self.add_many(text, count))
    }

    /// Counts no longer every value: there are too many.
    fn give_up(&mut self) -> Result<(), String> {
        let State::Exact(counts) = &self.state else { return Ok(()) };
        let sketch = sketch_of(counts.keys().map(AsRef::as_ref))?;
        let mut frequent = self.looks.forms.is_some().then(Box::<FrequentBuilder>::default);
        // What a counted value looks like is taken once a value, when the counts are given up.
        for (value, count) in counts {
            self.looks.add(value, *count);
        }
        if let Some(frequent) = &mut frequent {
            let mut values: Vec<(&str, u64)> =
                counts.iter().map(|(value, count)| (value.as_ref(), *count)).collect();
            values.sort_unstable();
            values.into_iter().for_each(|(value, count)| frequent.add(value, count));
        }
        self.state = State::Live(sketch, frequent);
        Ok(())
    }

    pub(super) fn finish(mut self) -> CategoryProfile {
        let values = match self.state {
            State::Exact(counts) => {
                for (value, count) in &counts {
                    self.looks.add(value, *count);
                }
                Values::Exact(counts.into_iter().map(|(value, count)| (value.into(), count)).collect())
            }
            State::Live(sketch, frequent) => {
                Values::Sketched(sketch, frequent.map(|frequent| frequent.finish()))
            }
        };
        let Looks { lengths, forms } = self.looks;
        let lengths = if self.count == 0 { Lengths::default() } else { lengths };
        CategoryProfile { count: self.count, lengths, forms: forms.map(FormsBuilder::finish), values }
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
    #[serde(skip_serializing_if = "Option::is_none", default)]
    frequent: Option<Frequent>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    forms: Option<TextForms>,
}

impl Serialize for CategoryProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (values, hll, frequent) = match &self.values {
            Values::Exact(values) => (Some(values.clone()), None, None),
            Values::Sketched(sketch, frequent) => (None, Some(sketch.text()), frequent.clone()),
        };
        let forms = self.forms.clone();
        Stored { count: self.count, lengths: self.lengths, values, hll, frequent, forms }
            .serialize(serializer)
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
            (None, Some(hll)) => {
                if stored.frequent.as_ref().is_some_and(|frequent| !frequent.is_sound(stored.count)) {
                    return Err(D::Error::custom("the commonest values do not agree with the count"));
                }
                Values::Sketched(DistinctSketch::read(&hll).map_err(D::Error::custom)?, stored.frequent)
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(D::Error::custom("a profile of texts has either values or a sketch"));
            }
        };
        if stored.forms.as_ref().is_some_and(|forms| !forms.is_sound(stored.count)) {
            return Err(D::Error::custom("the forms of texts do not agree with the count"));
        }
        Ok(Self { count: stored.count, lengths: stored.lengths, forms: stored.forms, values })
    }
}
