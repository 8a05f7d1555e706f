//! What serving does as a whole: models equal to scikit-learn, swaps under load, a log that survives.

#![allow(clippy::unwrap_used)]

mod deployments;
mod kill;
mod parity;
