//! Evaluation: predictions beside the truth.
//!
//! Plain functions of slices, one entry a row, each documented with its source; [`evaluate`] puts them
//! together into the record that gates, monitors and reports judge. Values that cannot be computed (one
//! class only, no rows) are undefined and say why; they are never 0 or NaN. Intervals are at 95 %.
//!
//! The names are those of [`rondo_core::metric`]. It is not a place for the metrics that a training step
//! logs for itself.

pub mod classes;
pub mod evaluate;

pub mod fairness;
pub mod interval;
pub mod probability;
pub mod regression;
pub mod roc;
pub mod threshold;

mod slices;

pub use classes::{Classified, evaluate_multiclass, likeliest};
pub use evaluate::{Pooling, evaluate_binary, evaluate_regression};
pub use rondo_core::metric::{Direction, KnownMetric, find, known};

#[cfg(test)]
mod tests;
