//! The data stage: ingest, version, profile, check, diff.
//!
//! ```text
//! source ─ fetch ─▶ files ─ check, profile ─▶ objects ─ one transaction ─▶ DatasetVersion + ref + journal
//! ```
//!
//! Read in this order: [`source`] is the text after `source:` as a type; [`fetch`] brings it to this
//! machine; [`place`] looks at what lies here already without reading what has not changed; [`parts`] splits
//! a big table by time; [`ingest`] makes a version of it, if it passes its
//! [`check`]s; [`diff`] tells two versions apart, [`status`] says whether a source has changed since;
//! [`get`] puts a version into a work tree and [`verify`] looks whether it is all there.
//! [`versions::Datasets`] is the door: every verb is a method of it.
//!
//! Content is kept as it was given: a CSV file stays one. What a table is and what its rules mean is the
//! business of `rondo-table`; what is remembered where, of `rondo-store`. This crate reads no
//! environment variable and prints nothing.

pub mod source;

pub mod fetch;

pub mod parts;

pub mod place;

pub mod versions;

pub mod tags;

pub mod ingest;

pub mod check;
pub mod profile;

pub mod diff;

pub mod packages;

pub mod status;

pub mod gc;
pub mod get;
pub mod heal;
pub mod verify;

pub mod remote;
pub mod survey;

pub mod labels;
pub mod listing;
pub mod rows;
pub mod table;

pub mod error;

pub use error::Error;
pub use ingest::{Added, Intake, Outcome};
pub use source::Source;
pub use versions::Datasets;
