//! Whether all rows differ: an exact answer with a bound on memory.
//!
//! What is remembered of a row is 16 bytes: a single integer itself, else a 128-bit hash of its values,
//! of which two different rows share one with a chance below 10⁻²⁴ even at the limit.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde_json::Value;

use super::rows::{Tally, is_missing};
use crate::error::{Result, TableError};
use crate::records::value_of;

/// With more different rows than this the question is given up: they would take some 300 MB.
const LIMIT: usize = 10_000_000;

/// Remembers what has been seen.
#[derive(Debug)]
pub(super) struct UniqueCheck {
    columns: Vec<String>,
    seen: HashSet<u128>,
    limit: usize,
}

impl UniqueCheck {
    pub(super) fn new(columns: &[String]) -> Self {
        Self { columns: columns.to_vec(), seen: HashSet::new(), limit: LIMIT }
    }

    #[cfg(test)]
    pub(super) fn with_limit(columns: &[String], limit: usize) -> Self {
        Self { limit, ..Self::new(columns) }
    }

    /// Looks at the rows of one batch; the first of equal rows passes, each later one does not. Rows
    /// without any of the values are not looked at.
    pub(super) fn update(&mut self, batch: &RecordBatch, first: u64, tally: &mut Tally) -> Result<()> {
        let arrays: Vec<&ArrayRef> =
            self.columns.iter().filter_map(|column| batch.column_by_name(column)).collect();
        for row in 0..batch.num_rows() {
            if arrays.iter().all(|array| is_missing(array, row)) {
                continue;
            }
            tally.looked_at += 1;
            let key = match arrays.as_slice() {
                [array] if array.data_type() == &DataType::Int64 => {
                    u128::from(array.as_primitive::<Int64Type>().value(row).cast_unsigned())
                }
                arrays => u128::from(hash(arrays, row, 1)) << 64 | u128::from(hash(arrays, row, 2)),
            };
            if !self.seen.insert(key) {
                tally.fail(first + row as u64, || match arrays.as_slice() {
                    [array] => value_of(array, row),
                    arrays => Value::Array(arrays.iter().map(|array| value_of(array, row)).collect()),
                });
            } else if self.seen.len() > self.limit {
                return Err(TableError::TooManyDistinct {
                    column: self.columns.join(", "),
                    limit: self.limit,
                });
            }
        }
        Ok(())
    }
}

fn hash(arrays: &[&ArrayRef], row: usize, seed: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    for array in arrays {
        if is_missing(array, row) {
            0_u8.hash(&mut hasher);
            continue;
        }
        1_u8.hash(&mut hasher);
        match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).hash(&mut hasher),
            DataType::Float64 => {
                let value = array.as_primitive::<Float64Type>().value(row) + 0.0;
                value.to_bits().hash(&mut hasher);
            }
            DataType::Boolean => array.as_boolean().value(row).hash(&mut hasher),
            DataType::Utf8 => array.as_string::<i32>().value(row).hash(&mut hasher),
            DataType::Timestamp(_, _) => {
                array.as_primitive::<TimestampMillisecondType>().value(row).hash(&mut hasher);
            }
            _ => {}
        }
    }
    hasher.finish()
}
