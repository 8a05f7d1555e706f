//! The words of Rondo: digests, ids, times, names, the records that the stages of the lifecycle hand
//! to each other, and the one table of error codes.
//!
//! Read [`handoff`] first: it is the lifecycle, one record a stage, in order.
//!
//! This crate does no I/O, knows no SQL, HTTP, terminal or environment variable, and needs no async
//! run time. Whoever wants to *do* something implements a trait of [`ports`] further out.

pub mod handoff;

pub mod access;
pub mod canonical;
pub mod digest;
pub mod error;
pub mod evaluation;
pub mod id;
pub mod journal;
pub mod label;
pub mod mask;
pub mod metric;
pub mod number;
pub mod objective;
pub mod ports;
pub mod reference;
pub mod run;
pub mod signature;
pub mod suggest;
pub mod sweep;
pub mod time;
pub mod tree;

pub use digest::Digest;
pub use error::{Code, Explain, Kind, Objection};
pub use id::RunId;
pub use time::{Span, Timestamp};
