//! Engines: what runs a model.
//!
//! An [`Engine`] takes a [`Batch`] of typed columns and gives a score for each row. The first one, and so
//! far the only one, is [`tabular`]: an interpreter of ONNX graphs as scikit-learn's converter writes
//! them. Whatever comes later (neural networks, worker processes) stands behind the same trait. An engine
//! knows nothing of requests, endpoints or logs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rondo_core::evaluation::Task;
use rondo_core::signature::{Column, ColumnType, Signature};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

pub mod forest;
pub mod ops;
pub mod tabular;
pub mod tensor;
pub mod transform;

/// The values of one column, as an engine takes them.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN where a value is missing.
    Number(Vec<f64>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Truth values.
    Boolean(Vec<bool>),
    /// Texts; empty where a value is missing.
    Text(Vec<Arc<str>>),
}

impl Values {
    /// An empty column for values of a type; numbers where the type has no form of its own.
    pub fn empty(column_type: ColumnType, rows: usize) -> Self {
        match column_type {
            ColumnType::Integer => Self::Integer(Vec::with_capacity(rows)),
            ColumnType::Boolean => Self::Boolean(Vec::with_capacity(rows)),
            ColumnType::String => Self::Text(Vec::with_capacity(rows)),
            ColumnType::Number | ColumnType::Timestamp | ColumnType::Other => {
                Self::Number(Vec::with_capacity(rows))
            }
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Number(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the values.
    pub const fn column_type(&self) -> ColumnType {
        match self {
            Self::Number(_) => ColumnType::Number,
            Self::Integer(_) => ColumnType::Integer,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Text(_) => ColumnType::String,
        }
    }
}

/// Rows to score: the columns of a signature's inputs, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    rows: usize,
    columns: Vec<Values>,
}

impl Batch {
    /// A batch of columns of one length.
    ///
    /// # Errors
    /// When their lengths differ.
    pub fn new(rows: usize, columns: Vec<Values>) -> Result<Self> {
        match columns.iter().find(|column| column.len() != rows) {
            Some(column) => Err(Error::Internal {
                reason: format!("a column of a batch of {rows} rows has {} values", column.len()),
            }),
            None => Ok(Self { rows, columns }),
        }
    }

    /// How many rows there are.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &[Values] {
        &self.columns
    }

    /// A batch with the rows at these places, in this order; places beyond the end are left out.
    pub fn select(&self, places: &[usize]) -> Self {
        fn pick<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
            places.iter().filter_map(|place| values.get(*place).cloned()).collect()
        }
        let columns = self.columns.iter().map(|column| match column {
            Values::Number(values) => Values::Number(pick(values, places)),
            Values::Integer(values) => Values::Integer(pick(values, places)),
            Values::Boolean(values) => Values::Boolean(pick(values, places)),
            Values::Text(values) => Values::Text(pick(values, places)),
        });
        let rows = places.iter().filter(|place| **place < self.rows).count();
        Self { rows, columns: columns.collect() }
    }

    /// Some rows that fit a signature: what a model is warmed up and tried with.
    pub fn example(signature: &Signature, rows: usize) -> Self {
        let columns = signature.inputs.iter().map(|column| match column.column_type {
            ColumnType::Integer => Values::Integer(vec![0; rows]),
            ColumnType::Boolean => Values::Boolean(vec![false; rows]),
            ColumnType::String => Values::Text(vec![Arc::from(""); rows]),
            ColumnType::Number | ColumnType::Timestamp | ColumnType::Other => {
                Values::Number((0..rows).map(|row| row as f64).collect())
            }
        });
        Self { rows, columns: columns.collect() }
    }

    /// The bytes of one row, the same for the same values however they were sent.
    pub fn row_bytes(&self, row: usize, bytes: &mut Vec<u8>) {
        for column in &self.columns {
            match column {
                Values::Number(values) => {
                    let value = values.get(row).copied().unwrap_or(f64::NAN);
                    // One zero and one NaN, so that equal inputs have equal bytes.
                    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
                    bytes.extend(value.to_bits().to_le_bytes());
                }
                Values::Integer(values) => {
                    bytes.extend(values.get(row).copied().unwrap_or_default().to_le_bytes());
                }
                Values::Boolean(values) => bytes.push(u8::from(values.get(row).copied().unwrap_or_default())),
                Values::Text(values) => {
                    let text = values.get(row).map_or("", |text| text);
                    bytes.extend((text.len() as u64).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
    }
}

/// What an engine says of the rows of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// One number a row. Of a binary task the probability of the positive class, of a multi-class task
    /// that of the likeliest one, of a regression the value itself. NaN where the model has no answer.
    pub scores: Vec<f64>,
    /// The probabilities of all classes, row after row, in the order of [`Engine::classes`]; empty for a
    /// regression.
    pub probabilities: Vec<f64>,
}

impl Predictions {
    /// The probabilities of a row among so many classes.
    fn of_row(&self, row: usize, classes: usize) -> Option<&[f64]> {
        let start = row.checked_mul(classes)?;
        self.probabilities.get(start..start.checked_add(classes)?)
    }

    /// The place of the likeliest class of a row among so many classes.
    pub fn likeliest(&self, row: usize, classes: usize) -> Option<usize> {
        let row = self.of_row(row, classes)?;
        let first = (0, row.first().copied()?);
        Some(
            row.iter()
                .copied()
                .enumerate()
                .fold(first, |best, one| if one.1 > best.1 { one } else { best })
                .0,
        )
    }

    /// The probability of each of these classes for a row, in their order.
    pub fn by_class(&self, row: usize, classes: &[String]) -> Map<String, Value> {
        let values = self.of_row(row, classes.len()).unwrap_or_default();
        classes.iter().cloned().zip(values.iter().map(|value| Value::from(*value))).collect()
    }
}

/// Runs one model. Safe to share: a prediction changes nothing.
pub trait Engine: Send + Sync + fmt::Debug {
    /// The engine's name, as it is shown and recorded.
    fn name(&self) -> &'static str;

    /// What goes in, in the order of a [`Batch`]'s columns, and what comes out.
    fn signature(&self) -> &Signature;

    /// What the model predicts.
    fn task(&self) -> Task;

    /// The labels of the classes, in the model's order; empty for a regression.
    fn classes(&self) -> &[String];

    /// The place of the positive class; none but for a binary task or where one was declared.
    fn positive(&self) -> Option<usize>;

    /// Scores every row. The score of a row does not depend on the rows beside it.
    ///
    /// # Errors
    /// When the batch does not fit the signature or an operator cannot take the values.
    fn predict(&self, batch: &Batch) -> Result<Predictions>;
}

/// What is known of a model beside its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The names of the features, in order: for models that take one matrix and do not name its columns.
    pub columns: Vec<String>,
    /// The label of the positive class; the last one of two where it is not given.
    pub positive: Option<String>,
    /// What the model is declared to predict; where it is not given, what its outputs look like.
    pub task: Option<Task>,
}

/// Loads a model with the engine that can run it, and tries it once.
///
/// # Errors
/// When no engine can.
pub fn load(bytes: &[u8], options: &LoadOptions) -> Result<Box<dyn Engine>> {
    if let Some(kind) = other_kind(bytes) {
        return Err(Error::not_a_model(format!("it is {kind}")));
    }
    Ok(Box::new(tabular::Tabular::load(bytes, options)?))
}

/// What else a file is by its first bytes, where people take it for a model.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("empty"),
        // No ONNX file begins with the end-of-group tag that this byte would be.
        [0x80, 2..=5, ..] => Some("a Python pickle, which is code: convert the model to ONNX"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
        [b'{', ..] => Some("JSON"),
        [0x1f, 0x8b, ..] => Some("compressed with gzip"),
        _ => None,
    }
}

/// Loads a model's file; see [`load`].
///
/// # Errors
/// When the file cannot be read or no engine can run it.
pub fn load_file(path: &Path, options: &LoadOptions) -> Result<Box<dyn Engine>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    load(&bytes, options)
}

/// The engine's signature with what a registered one knows better: whether a value may be missing.
pub fn refine(own: &Signature, registered: &Signature) -> Signature {
    let inputs = own.inputs.iter().map(|column| {
        let known = registered.inputs.iter().find(|other| other.name == column.name);
        let nullable = column.nullable && known.is_none_or(|other| other.nullable);
        Column { nullable, ..column.clone() }
    });
    Signature { inputs: inputs.collect(), outputs: own.outputs.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_called_by_their_name() {
        for (bytes, word) in [(&b"\x80\x04\x95"[..], "pickle"), (b"PK\x03\x04", "ZIP"), (b"", "empty")] {
            let error = load(bytes, &LoadOptions::default()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn equal_rows_have_equal_bytes() {
        let batch = Batch::new(
            3,
            vec![
                Values::Number(vec![0.0, -0.0, f64::NAN]),
                Values::Text(vec!["a".into(), "a".into(), "a".into()]),
            ],
        )
        .unwrap();
        let bytes = |row| {
            let mut bytes = Vec::new();
            batch.row_bytes(row, &mut bytes);
            bytes
        };
        assert_eq!(bytes(0), bytes(1));
        assert_ne!(bytes(0), bytes(2));
    }

    #[test]
    fn columns_of_another_length_are_refused() {
        assert!(Batch::new(2, vec![Values::Integer(vec![1])]).is_err());
    }

    #[test]
    fn the_likeliest_class_is_the_first_of_the_largest() {
        let predictions =
            Predictions { scores: vec![0.4, 0.5], probabilities: vec![0.3, 0.4, 0.3, 0.5, 0.5, 0.0] };
        assert_eq!(predictions.likeliest(0, 3), Some(1));
        assert_eq!(predictions.likeliest(1, 3), Some(0));
        assert_eq!(predictions.likeliest(2, 3), None);
    }
}
