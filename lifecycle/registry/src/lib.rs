//! The registry: candidates become versions, gates decide, aliases move.
//!
//! A run hands over a [`rondo_core::handoff::ModelCandidate`]; [`evaluate`] has scored it, [`gate`] says
//! whether it may serve and why, [`register`] makes it a version for ever, and [`promote`] moves an alias
//! with its line in the journal. The registry loads no model and answers no request: it asks a
//! [`rondo_core::ports::Scorer`].

pub mod evaluate;
pub mod gate;
pub mod promote;
pub mod register;

pub mod webhooks;

pub mod error;

pub use error::Error;
