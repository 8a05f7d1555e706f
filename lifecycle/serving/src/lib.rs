//! Serving: a registered model becomes an endpoint that answers, and every answer is kept.
//!
//! ```text
//! ModelVersion ─▶ deployment ◀─ request (JSON → batch by the signature)
//!                     │ engine (batch → scores) ◀─ onnx (a model's file)
//!                     ▼
//!                    log ─ Observation, Truth ─▶ monitoring
//! ```
//!
//! A model's file is read by a parser of our own ([`onnx`]) and run by an [`engine`]; [`request`] turns
//! what callers send into rows; [`deployment`] holds the endpoints, exchanges their models without a
//! failed request and answers every prediction id once; [`log`] keeps the answers and the ground truth
//! and hands them to monitoring; [`metrics`] counts; [`scorer`] scores whole files for evaluation and
//! the registry.
//!
//! This crate opens no port and reads no setting: `app` has the routes and passes folders and files. It
//! never runs code that comes with a model.

pub mod onnx;

pub mod engine;

pub mod request;

pub mod log;

pub mod deployment;

pub mod metrics;
pub mod scorer;

pub mod error;

pub use error::{Error, Result};
