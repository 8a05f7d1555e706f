//! Values as keys of 88 bits, so that equal values have equal keys and others hardly ever have.
//!
//! Numbers, truth values and moments are their own key: no two share one. A text or several values together
//! are hashed to 80 bits, seeded anew in each process: that any two of a billion rows share one has a chance
//! below one in a million, and nobody can prepare texts that do. An integer and the same number with a
//! point have one key, so that columns of two tables can be compared.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use rondo_core::signature::ColumnType;
use serde_json::Value;

use super::rows::is_missing;
use crate::exact::{self, Exact};
use crate::moment::MomentType;
use crate::{moment, word};

/// See the module; less than 2⁸⁸.
pub(super) type Key = u128;

const INTEGER: u128 = 1 << 80;
const NUMBER: u128 = 2 << 80;
const TRUTH: u128 = 3 << 80;
const MOMENT: u128 = 4 << 80;
const TEXT: u128 = 5 << 80;
const SEVERAL: u128 = 6 << 80;
/// The key of a missing value, inside of several.
const MISSING: u128 = 7 << 80;
const PAYLOAD: u128 = (1 << 80) - 1;

static SEEDS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    let word = |_| RandomState::new().build_hasher().finish() | 1;
    [0, 1, 2, 3].map(word)
});

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// 128 bits of hash: two folded products a word, each with seeds of its own.
struct Mixer {
    low: u64,
    high: u64,
}

impl Mixer {
    #[inline]
    fn new(length: usize) -> Self {
        let [a, _, c, _] = *SEEDS;
        Self { low: a ^ length as u64, high: c.rotate_left(17) ^ length as u64 }
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        let [_, b, _, d] = *SEEDS;
        self.low = fold(self.low ^ word, b) ^ self.low.rotate_left(23);
        self.high = fold(self.high.rotate_left(31) ^ word, d) ^ self.high;
    }

    #[inline]
    fn finish(self) -> u128 {
        let [a, _, c, _] = *SEEDS;
        u128::from(fold(self.low, c)) | (u128::from(fold(self.high, a)) << 64)
    }
}

/// The key of a text.
#[inline]
pub(super) fn text(value: &str) -> Key {
    let mut mixer = Mixer::new(value.len());
    let mut chunks = value.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        mixer.mix(u64::from_le_bytes(word));
    }
    // The last byte of the rest is free for the length, so that zeros at the end count.
    mixer.mix(word::rest(value.as_bytes()) ^ ((value.len() as u64) << 56));
    TEXT | (mixer.finish() & PAYLOAD)
}

/// The key of a whole number.
pub(super) fn integer(value: i64) -> Key {
    INTEGER | u128::from(value.cast_unsigned())
}

/// The key of a number that is not NaN.
pub(super) fn number(value: f64) -> Key {
    let whole = value as i64;
    // Beyond 2⁵³ a number with a point is only near to the integer; it still equals what it converts to.
    if whole as f64 == value && value.abs() < 9.2e18 {
        integer(whole)
    } else {
        NUMBER | u128::from((value + 0.0).to_bits())
    }
}

/// The key of a number that may not be told from its neighbours by floating point.
fn told(value: Exact) -> Key {
    match value {
        Exact::Number(value) => number(value),
        Exact::Digits(digits) => digits.parse().map_or_else(|_| text(&digits), integer),
    }
}

fn truth(value: bool) -> Key {
    TRUTH | u128::from(value)
}

fn moment_key(micros: i64) -> Key {
    MOMENT | u128::from(micros.cast_unsigned())
}

/// The key of several values together.
pub(super) fn several(keys: impl Iterator<Item = Option<Key>>) -> Key {
    let mut mixer = Mixer::new(0);
    let mut count = 0;
    for key in keys {
        let key = key.unwrap_or(MISSING);
        mixer.mix(key as u64);
        mixer.mix((key >> 64) as u64);
        count += 1;
    }
    mixer.mix(count);
    SEVERAL | (mixer.finish() & PAYLOAD)
}

/// The keys of all rows; nothing for an array of a type that is only carried.
pub(super) fn column(array: &ArrayRef) -> Option<Vec<Option<Key>>> {
    let known = matches!(
        array.data_type(),
        DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8 | DataType::Timestamp(_, _)
    ) || exact::is_exact(array.data_type());
    known.then(|| {
        let mut keys = vec![None; array.len()];
        visit(array, |row, key| {
            if let Some(slot) = keys.get_mut(row) {
                *slot = Some(key);
            }
        });
        keys
    })
}

/// The key of one value of an array of a canonical type; nothing for a missing value.
pub(super) fn key_at(array: &ArrayRef, row: usize) -> Option<Key> {
    if is_missing(array, row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(integer(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => Some(number(array.as_primitive::<Float64Type>().value(row))),
        DataType::Boolean => Some(truth(array.as_boolean().value(row))),
        DataType::Utf8 => Some(text(array.as_string::<i32>().value(row))),
        DataType::Timestamp(_, _) => Some(moment_key(array.as_primitive::<MomentType>().value(row))),
        _ => exact::value(array, row).map(told),
    }
}

/// Hands each value that is there on as its key, with its row.
pub(super) fn visit(array: &ArrayRef, mut take: impl FnMut(usize, Key)) {
    match array.data_type() {
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            for (row, value) in array.iter().enumerate() {
                if let Some(value) = value {
                    take(row, integer(value));
                }
            }
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            for (row, value) in array.iter().enumerate() {
                if let Some(value) = value.filter(|value| !value.is_nan()) {
                    take(row, number(value));
                }
            }
        }
        DataType::Utf8 => {
            for (row, value) in array.as_string::<i32>().iter().enumerate() {
                if let Some(value) = value {
                    take(row, text(value));
                }
            }
        }
        _ => {
            for row in 0..array.len() {
                if let Some(key) = key_at(array, row) {
                    take(row, key);
                }
            }
        }
    }
}

/// The key of a value as a rule writes it, in a column of this type; nothing when it is none of the column's.
pub(super) fn of_value(value: &Value, column_type: ColumnType) -> Option<Key> {
    match column_type {
        ColumnType::Integer | ColumnType::Number => match value {
            Value::Number(written) => written
                .as_i64()
                .map(integer)
                .or_else(|| written.as_u64().map(|whole| told(exact::whole(whole.into()))))
                .or_else(|| written.as_f64().map(number)),
            _ => None,
        },
        ColumnType::Boolean => match value {
            Value::Bool(value) => Some(truth(*value)),
            Value::String(word) if word == "true" => Some(truth(true)),
            Value::String(word) if word == "false" => Some(truth(false)),
            _ => None,
        },
        ColumnType::Timestamp => value.as_str().and_then(moment::parse).map(moment_key),
        ColumnType::String => Some(match value.as_str() {
            Some(word) => text(word),
            None => text(&value.to_string()),
        }),
        ColumnType::Other => None,
    }
}

/// A hash map by keys, which are spread well enough as they are once folded.
pub(super) type KeyMap<T> = std::collections::HashMap<Key, T, KeyHasher>;
/// A set of keys.
pub(super) type KeySet = std::collections::HashSet<Key, KeyHasher>;

/// Hashes keys by one folded product with a seed of this process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeyHasher;

/// See [`KeyHasher`].
#[derive(Debug, Default)]
pub(super) struct Folded(u64);

impl BuildHasher for KeyHasher {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(0)
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = fold(self.0 ^ u64::from(*byte), SEEDS[0]);
        }
    }

    fn write_u128(&mut self, key: u128) {
        let [a, b, ..] = *SEEDS;
        self.0 = fold((key as u64) ^ a, ((key >> 64) as u64) ^ b);
        self.0 = fold(self.0, a);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equal_values_and_no_others_have_equal_keys(texts in prop::collection::vec(".{0,20}", 0..40), whole in any::<i32>(), part in any::<f64>()) {
            let different: HashSet<&String> = texts.iter().collect();
            let keys: HashSet<Key> = texts.iter().map(|value| text(value)).collect();
            prop_assert_eq!(different.len(), keys.len());
            prop_assert_eq!(number(f64::from(whole)), integer(i64::from(whole)));
            if part.is_finite() && part.fract() != 0.0 {
                prop_assert_ne!(number(part), number(-part));
            }
            prop_assert!(keys.iter().all(|key| *key < 1 << 88));
        }
    }

    #[test]
    fn where_values_stand_matters() {
        let (a, b) = (text("a"), text("b"));
        let of = |keys: &[Option<Key>]| several(keys.iter().copied());
        let all =
            [of(&[Some(a), Some(b)]), of(&[Some(b), Some(a)]), of(&[Some(a), None]), of(&[None, Some(a)])];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(number(-0.0), number(0.0));
    }
}
