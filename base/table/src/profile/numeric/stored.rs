//! The profile of numbers as it is kept: packed values, or sketches.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{NumericProfile, Sketched, Values};
use crate::profile::encode;
use crate::profile::histogram::Histogram;
use crate::profile::moments::Moments;
use crate::profile::order::{Calendar, Order};
use crate::profile::sketch::{DistinctSketch, QuantileSketch};
use crate::profile::told::{StoredTold, Told};

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    moments: Moments,
    infinite: u64,
    zeros: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    calendar: Option<Calendar>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    rounded: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    told: Option<StoredTold>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    exact: Option<StoredExact>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sketches: Option<StoredSketches>,
}

#[derive(Serialize, Deserialize)]
struct StoredExact {
    values: String,
    counts: String,
}

#[derive(Serialize, Deserialize)]
struct StoredSketches {
    hll: String,
    tdigest: String,
    histogram: Histogram,
}

impl Serialize for NumericProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (exact, sketches) = match &self.values {
            Values::Exact(values) => {
                let exact = StoredExact {
                    values: encode::numbers(values.iter().map(|(value, _)| *value)),
                    counts: encode::counts(values.iter().map(|(_, count)| *count)),
                };
                (Some(exact), None)
            }
            Values::Sketched(sketched) => {
                let sketches = StoredSketches {
                    hll: sketched.distinct.text(),
                    tdigest: sketched.quantiles.text(),
                    histogram: sketched.histogram.clone(),
                };
                (None, Some(sketches))
            }
        };
        Stored {
            moments: self.moments,
            infinite: self.infinite,
            zeros: self.zeros,
            order: self.order,
            calendar: self.calendar,
            rounded: self.rounded,
            told: self.told.as_ref().map(Told::stored),
            exact,
            sketches,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NumericProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let moments = stored.moments;
        let values = match (stored.exact, stored.sketches) {
            (Some(exact), None) => Values::Exact(read_exact(&exact, &moments).map_err(D::Error::custom)?),
            (None, Some(sketches)) => {
                Values::Sketched(Box::new(read_sketches(&sketches, &moments).map_err(D::Error::custom)?))
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(D::Error::custom("a numeric profile has either exact values or sketches"));
            }
        };
        let told = stored.told.map(|told| Told::read(&told, moments.count).map_err(D::Error::custom));
        let told = told.transpose()?;
        let Stored { infinite, zeros, order, calendar, rounded, .. } = stored;
        if calendar.is_some_and(|calendar| !calendar.is_sound(moments.count)) {
            return Err(D::Error::custom("the days and hours do not agree with the count"));
        }
        Ok(Self { moments, infinite, zeros, order, calendar, rounded, told, values })
    }
}

fn read_exact(stored: &StoredExact, moments: &Moments) -> Result<Vec<(f64, u64)>, String> {
    let values = encode::read_numbers(&stored.values)?;
    let counts = encode::read_counts(&stored.counts)?;
    let ascending = values.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let finite = values.iter().all(|value| value.is_finite());
    let total = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    if values.len() != counts.len() || !ascending || !finite || total != Some(moments.count) {
        return Err("the exact values do not agree with the count".into());
    }
    Ok(values.into_iter().zip(counts).collect())
}

fn read_sketches(stored: &StoredSketches, moments: &Moments) -> Result<Sketched, String> {
    let quantiles = QuantileSketch::read(&stored.tdigest)?;
    if quantiles.weight() != moments.count || !stored.histogram.is_sound(moments.count) {
        return Err("the sketches do not agree with the count".into());
    }
    let distinct = DistinctSketch::read(&stored.hll)?;
    Ok(Sketched { distinct, quantiles, histogram: stored.histogram.clone() })
}
