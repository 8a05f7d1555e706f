//! How many rows repeat an earlier one, without keeping rows.
//!
//! Each row is a hash. While there are few different ones all are counted; beyond that only those are
//! kept whose hash ends in enough zero bits (Gibbons' distinct sampling), which is a fair sample of the
//! *different* rows with every one of its repetitions. Which hashes are kept depends on the set of rows
//! alone, never on their order or on how they came in parts, so that merged samples are that of the whole.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::encode;
use super::hash::FastHasher;
use super::wide::wide;
use crate::exact::{self, Exact};
use crate::moment::MomentType;

/// Up to so many different rows the count is exact.
pub const EXACT_ROWS: usize = 262_144;

/// So many hashes are kept in a finished profile.
const KEPT: usize = 4096;
/// No more than so many bits must be zero.
const MAX_LEVEL: u32 = 31;

/// How many rows repeat an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Duplicates {
    /// Rows that are equal to an earlier row in all columns.
    pub rows: u64,
    /// Their share of all rows.
    pub share: f64,
    /// Whether it was counted, or estimated from a sample.
    pub exact: bool,
}

/// A sample of rows by their hash.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSample {
    /// All rows.
    rows: u64,
    /// Of which so many differ, where that was counted.
    distinct: Option<u64>,
    /// Hashes that end in so many zero bits are kept.
    level: u32,
    /// Ascending hashes with how many rows have them.
    hashes: Vec<(u64, u64)>,
}

impl RowSample {
    /// How many rows were compared.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// What it says.
    pub fn duplicates(&self) -> Duplicates {
        let sampled: u64 = self.hashes.iter().map(|(_, count)| count).sum();
        let share = match self.distinct {
            Some(distinct) if self.rows > 0 => {
                (self.rows - distinct.min(self.rows)) as f64 / self.rows as f64
            }
            None if sampled > 0 => (sampled - self.hashes.len() as u64) as f64 / sampled as f64,
            _ => 0.0,
        };
        let rows = match self.distinct {
            Some(distinct) => self.rows - distinct.min(self.rows),
            None => (share * self.rows as f64).round() as u64,
        };
        Duplicates { rows, share, exact: self.distinct.is_some() }
    }

    /// Of both tables together.
    pub(super) fn merge(&self, other: &Self) -> Result<Self, String> {
        let rows = self.rows.checked_add(other.rows).ok_or("too many rows")?;
        let level = self.level.max(other.level);
        let mut hashes: Vec<(u64, u64)> = self
            .hashes
            .iter()
            .chain(&other.hashes)
            .filter(|(hash, _)| is_kept(*hash, level))
            .copied()
            .collect();
        hashes.sort_unstable();
        hashes.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        Ok(Self { rows, distinct: (level == 0).then_some(hashes.len() as u64), level, hashes }.trimmed())
    }

    fn trimmed(mut self) -> Self {
        while self.hashes.len() > KEPT && self.level < MAX_LEVEL {
            self.level += 1;
            let level = self.level;
            self.hashes.retain(|(hash, _)| is_kept(*hash, level));
        }
        self
    }

    fn is_sound(&self) -> bool {
        let ascending = self.hashes.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let total = self.hashes.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        let counted = total.is_some_and(|total| total <= self.rows && (self.level > 0 || total == self.rows));
        let known = self.distinct.is_none_or(|distinct| distinct <= self.rows);
        ascending
            && counted
            && known
            && self.level <= MAX_LEVEL
            && self.hashes.iter().all(|(hash, count)| *count > 0 && is_kept(*hash, self.level))
    }
}

fn is_kept(hash: u64, level: u32) -> bool {
    // Neither the lowest nor the highest bits, by which hash tables find their places.
    (hash >> 32).trailing_zeros() >= level
}

/// A hash is its own hash.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Takes the hashes of rows as they come.
#[derive(Debug, Default)]
pub(super) struct RowSampler {
    rows: u64,
    level: u32,
    hashes: HashMap<u64, u64, BuildHasherDefault<Identity>>,
}

impl RowSampler {
    pub(super) fn add(&mut self, rows: &[u64]) {
        self.rows += rows.len() as u64;
        for row in rows {
            let hash = finished(*row);
            if !is_kept(hash, self.level) {
                continue;
            }
            *self.hashes.entry(hash).or_insert(0) += 1;
            while self.hashes.len() > EXACT_ROWS && self.level < MAX_LEVEL {
                self.level += 1;
                let level = self.level;
                self.hashes.retain(|hash, _| is_kept(*hash, level));
            }
        }
    }

    pub(super) fn finish(self) -> RowSample {
        let distinct = (self.level == 0).then_some(self.hashes.len() as u64);
        let mut hashes: Vec<(u64, u64)> = self.hashes.into_iter().collect();
        hashes.sort_unstable();
        RowSample { rows: self.rows, distinct, level: self.level, hashes }.trimmed()
    }
}

/// The hash of a row from what its columns have added up to.
fn finished(sum: u64) -> u64 {
    let mut hasher = FastHasher::default();
    hasher.write_u64(sum);
    hasher.finish()
}

/// Of a column's name: what tells its values from equal ones of another column.
pub(super) fn seed(name: &str) -> u64 {
    let mut hasher = FastHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish() | 1
}

/// A column of a batch whose rows are compared.
pub(super) struct Compared<'a> {
    array: &'a ArrayRef,
    seed: u64,
    /// Of texts by keys: the hash of each text, which is looked at once however many rows have it.
    texts: Vec<u64>,
}

impl<'a> Compared<'a> {
    /// Of an array, with what tells its values from equal ones of another column.
    pub(super) fn new(array: &'a ArrayRef, seed: u64) -> Self {
        let keyed = array.as_any_dictionary_opt();
        let texts = keyed.and_then(|keyed| keyed.values().as_string_opt::<i32>());
        let hash = |value: Option<&str>| value.map_or(0, |value| text(value, seed));
        Self { array, seed, texts: texts.map_or_else(Vec::new, |texts| texts.iter().map(hash).collect()) }
    }

    /// Adds to the sums of rows, from the first on, what the values of the column are. Sums do not depend on
    /// the order of columns; integers and equal numbers are the same; a missing value is equal to a missing
    /// value.
    pub(super) fn add(&self, first: usize, sums: &mut [u64]) {
        let (array, seed) = (self.array, self.seed);
        match array.data_type() {
            DataType::Float64 => {
                let array = array.as_primitive::<Float64Type>();
                let values = array.values().get(first..).unwrap_or_default();
                match array.nulls() {
                    None => add_numbers(values, seed, sums),
                    nulls => add_each(values, nulls, first, sums, |value| number(*value, seed)),
                }
            }
            DataType::Int64 => {
                let array = array.as_primitive::<Int64Type>();
                let values = array.values().get(first..).unwrap_or_default();
                add_each(values, array.nulls(), first, sums, |value| whole(*value, seed));
            }
            DataType::Timestamp(_, _) => {
                let array = array.as_primitive::<MomentType>();
                let values = array.values().get(first..).unwrap_or_default();
                add_each(values, array.nulls(), first, sums, |value| moment(*value, seed));
            }
            DataType::Boolean => {
                let values = array.as_boolean();
                for (row, sum) in (first..).zip(sums.iter_mut()).filter(|(row, _)| values.is_valid(*row)) {
                    *sum = sum.wrapping_add(number(f64::from(u8::from(values.value(row))), seed));
                }
            }
            DataType::Utf8 => {
                let values = array.as_string::<i32>();
                for (row, sum) in (first..).zip(sums.iter_mut()).filter(|(row, _)| values.is_valid(*row)) {
                    *sum = sum.wrapping_add(text(values.value(row), seed));
                }
            }
            DataType::Dictionary(_, _) => {
                let Some(array) = array.as_any_dictionary_opt() else { return };
                let Some(keys) = array.keys().as_primitive_opt::<Int32Type>() else { return };
                let values = keys.values().get(first..).unwrap_or_default();
                add_each(values, keys.nulls(), first, sums, |key| {
                    self.texts.get(*key as usize).copied().unwrap_or(0)
                });
            }
            other if exact::is_exact(other) => {
                for (row, sum) in (first..).zip(sums.iter_mut()) {
                    let hash = exact::value(array, row).map_or(0, |value| match value {
                        Exact::Number(value) => number(value, seed),
                        Exact::Digits(digits) => text(&digits, seed),
                    });
                    *sum = sum.wrapping_add(hash);
                }
            }
            _ => {}
        }
    }
}

fn add_each<T>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    first: usize,
    sums: &mut [u64],
    of: impl Fn(&T) -> u64,
) {
    let length = values.len().min(sums.len());
    let pairs = sums.iter_mut().zip(values);
    match nulls {
        None => pairs.for_each(|(sum, value)| *sum = sum.wrapping_add(of(value))),
        Some(nulls) => {
            for ((sum, value), there) in pairs.zip(nulls.slice(first, length).iter()) {
                // Without a branch, of which could not be guessed where it goes.
                *sum = sum.wrapping_add(of(value) & u64::from(there).wrapping_neg());
            }
        }
    }
}

wide! {
    fn add_numbers(values: &[f64], seed: u64, sums: &mut [u64]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(number(*value, seed));
        }
    }
}

/// A whole number is equal to the floating-point number of the same value; where there is none, it is
/// itself, lest it be the same as its neighbours.
fn whole(value: i64, seed: u64) -> u64 {
    const EXACT: u64 = 1 << 53;
    let nearest = value as f64;
    if value.unsigned_abs() <= EXACT || nearest as i128 == i128::from(value) {
        number(nearest, seed)
    } else {
        folded((value as u64) ^ 0xd6e8_feb8_6659_fd93, seed)
    }
}

/// A moment of whole milliseconds is their number, which is what stored samples have of it.
fn moment(micros: i64, seed: u64) -> u64 {
    if micros.rem_euclid(1000) == 0 {
        whole(micros.div_euclid(1000), seed)
    } else {
        folded((micros as u64) ^ 0x9e6c_63d0_876a_3f6b, seed)
    }
}

/// NaN is a missing value.
#[inline(always)]
fn number(value: f64, seed: u64) -> u64 {
    let hash = folded((value + 0.0).to_bits(), seed);
    if value.is_nan() { 0 } else { hash }
}

fn text(value: &str, seed: u64) -> u64 {
    let mut hasher = FastHasher::default();
    hasher.write(value.as_bytes());
    folded(hasher.finish(), seed)
}

/// Mixed before it is added: a sum of products alone would be the same for values that are exchanged by
/// the same difference.
#[inline(always)]
fn folded(bits: u64, seed: u64) -> u64 {
    let mut mixed = (bits ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(seed);
    mixed ^ (mixed >> 29)
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    rows: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    distinct: Option<u64>,
    level: u32,
    /// Differences between ascending hashes.
    hashes: String,
    counts: String,
}

impl Serialize for RowSample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut last = 0;
        let steps = self.hashes.iter().map(|(hash, _)| hash - std::mem::replace(&mut last, *hash));
        Stored {
            rows: self.rows,
            distinct: self.distinct,
            level: self.level,
            hashes: encode::counts(steps),
            counts: encode::counts(self.hashes.iter().map(|(_, count)| *count)),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowSample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let steps = encode::read_counts(&stored.hashes).map_err(D::Error::custom)?;
        let counts = encode::read_counts(&stored.counts).map_err(D::Error::custom)?;
        let mut hash = 0_u64;
        let hashes: Vec<(u64, u64)> = steps
            .iter()
            .zip(&counts)
            .map(|(step, count)| {
                hash = hash.wrapping_add(*step);
                (hash, *count)
            })
            .collect();
        let sample = Self { rows: stored.rows, distinct: stored.distinct, level: stored.level, hashes };
        if steps.len() == counts.len() && sample.is_sound() {
            Ok(sample)
        } else {
            Err(D::Error::custom("the sample of rows does not agree with itself"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: impl Iterator<Item = u64>) -> RowSample {
        let mut sampler = RowSampler::default();
        sampler.add(&rows.collect::<Vec<_>>());
        sampler.finish()
    }

    #[test]
    fn few_rows_are_counted_and_many_estimated() {
        let few = of((0..1000).map(|row| row % 900));
        assert_eq!(few.duplicates(), Duplicates { rows: 100, share: 0.1, exact: true });
        let counted = of((0..200_000).map(|row| row % 150_000));
        assert_eq!(counted.duplicates(), Duplicates { rows: 50_000, share: 0.25, exact: true });
        let many = of((0..1_000_000).map(|row| row % 900_000)).duplicates();
        assert!(!many.exact && (many.share - 0.1).abs() < 0.02, "{many:?}");
    }

    #[test]
    fn large_whole_numbers_differ_from_their_neighbours() {
        let sum = |array: ArrayRef| {
            let mut sums = vec![0; array.len()];
            Compared::new(&array, seed("id")).add(0, &mut sums);
            sums
        };
        let first = (1_i64 << 60) - 100;
        let mut all =
            sum(std::sync::Arc::new(arrow_array::Int64Array::from_iter_values(first..first + 1000)));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
        let whole = sum(std::sync::Arc::new(arrow_array::Int64Array::from(vec![7, 1 << 60, i64::MIN])));
        let numbers = vec![7.0, (1_i64 << 60) as f64, i64::MIN as f64];
        assert_eq!(whole, sum(std::sync::Arc::new(arrow_array::Float64Array::from(numbers))));
    }

    #[test]
    fn parts_and_order_do_not_matter() {
        let whole = of(0..600_000);
        let reversed = of((0..600_000).rev());
        assert_eq!(whole, reversed);
        let merged = of(0..300_000).merge(&of(300_000..600_000)).unwrap();
        assert_eq!((merged.level, &merged.hashes), (whole.level, &whole.hashes));
        let small = of(0..1000).merge(&of(500..1500)).unwrap();
        assert_eq!(small.duplicates(), Duplicates { rows: 500, share: 0.25, exact: true });
    }

    #[test]
    fn a_sample_round_trips_and_a_false_one_is_refused() {
        for sample in [of(0..50_000), of((0..10).map(|row| row % 3)), of(0..0)] {
            let json = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<RowSample>(&json).unwrap(), sample);
        }
        let json = serde_json::to_string(&of(0..10)).unwrap();
        assert!(serde_json::from_str::<RowSample>(&json.replace("\"rows\":10", "\"rows\":11")).is_err());
    }
}
