//! Monitoring: what live traffic says about the model, and when to make it again.
//!
//! ```text
//! observations ─▶ window ─▶ assess (against the reference) ─▶ alert ─▶ retrain ─▶ RetrainRequest
//! ```
//!
//! Windows, delays and drift go by event time. The stage answers no request, reads no log of its own and
//! starts no pipeline: it is handed observations and writes a request; whoever works off the requests
//! closes the loop.

pub mod window;

pub mod reference;

pub mod inputs;

pub mod quality;

pub mod score;

pub mod assess;

pub mod alert;

pub mod retrain;

pub mod exposition;

pub mod error;

pub use error::Error;
