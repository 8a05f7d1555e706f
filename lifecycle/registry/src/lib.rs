//! The registry: candidates become versions, gates decide, aliases move.
//!
//! A run hands over a [`rondo_core::handoff::ModelCandidate`]; [`evaluate`] has scored it, [`gate`] says
//! whether it may serve and why, [`register`] makes it a version for ever, [`mlmodel`] a folder that MLflow's
//! clients load, and [`promote`] moves an alias
//! with its line in the journal. [`approval`] waits for somebody's word where a gate asks for it, [`protect`]
//! keeps clients from what a gate stands before, and [`webhooks`] tell others. The registry loads no model and answers no request: it asks a
//! [`rondo_core::ports::Scorer`].

pub mod evaluate;
pub mod gate;
pub mod mlmodel;
pub mod package_model;
pub mod register;

pub mod approval;
pub mod log;
pub mod promote;
pub mod protect;

pub mod webhooks;

pub mod error;

pub use error::Error;
