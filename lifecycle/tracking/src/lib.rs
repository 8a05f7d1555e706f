//! Experiments, runs, metrics and searches: the meaning of the tracking protocol, without its wire.
//!
//! [`Tracking`] is the way in: typed calls that check what a client gives (MLflow's own limits), name what
//! has no name, and keep it in the store. It knows no HTTP and no JSON of the protocol's (that is the
//! binary's), does not decide who may call (that neither), and makes no SQL (that is the store's): a
//! filter's text becomes the store's [`Condition`](rondo_store::meta::search::Condition).
//!
//! ```text
//! text ─ filter ─▶ Condition ─ store ─▶ rows ─▶ Run, Experiment, LoggedModel
//! ```

pub mod tracking;

pub mod artifacts;
pub mod experiments;
pub mod history;
pub mod listing;
pub mod logged_models;
pub mod runs;

pub mod columns;
pub mod compare;
pub mod series;
pub mod table;

pub mod assessments;
pub mod traces;

pub mod filter;
pub mod page;

pub mod export;
pub mod import;
pub mod provenance;

pub mod limits;
pub mod naming;

pub mod error;

pub use error::Error;
pub use tracking::Tracking;
