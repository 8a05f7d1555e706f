//! Jupyter notebooks as steps: read, parameterised, run by Rondo's own kernel client, kept.
//!
//! One call does the job: [`execute::execute`] takes a notebook and parameters, starts a kernel of the
//! step's environment, runs the cells in order, and leaves an executed copy with its outputs, also when a
//! cell fails. [`builtin::Papermill`] is the same as a package for `uses: papermill`.
//!
//! It speaks the Jupyter messaging protocol itself ([`wire`], [`kernel`]), so that neither Jupyter nor
//! papermill has to be installed: only a kernel. It is not a notebook server, keeps no kernel alive between
//! runs (hidden state breaks reproduction), and knows nothing of lineage or where files are kept; [`cache`] says only what a run alone depends on.

pub mod document;
pub mod fenced;
pub mod percent;
mod upgrade;

pub mod parameters;

pub mod wire;

pub mod kernel;

pub mod outputs;

pub mod lines;

pub mod metrics;

pub mod execute;

pub mod grid;

pub mod cache;

pub mod diff;

pub mod views;

pub mod html;

pub mod builtin;

pub mod error;

pub use error::Error;
