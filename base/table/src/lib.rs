//! Tables on Arrow: what the stages that look at data compute, and the one home of the arrow crates.
//!
//! [`read`] turns Parquet, CSV, TSV and JSON files (or folders of them) into a stream of record batches
//! with a small fixed set of types; [`mod@columns`] and [`records`] hand out single columns and rows,
//! [`rows`] makes batches of rows, [`mod@write`] writes Parquet, [`typed`] cell by cell. On top of the stream stand three
//! computations, each in one pass with memory that does not grow with the rows: [`profile`] (what a table
//! looks like), [`checks`] (whether it is as expected), and, between two profiles, [`drift`] (what has
//! moved). [`metrics`] needs no table: it scores predictions against the truth.
//!
//! This crate is not a query engine and not a data frame: it has no expressions, joins or group-bys, and
//! it never holds a whole table. It reads and writes files that it is given the path of; it knows no
//! store, project or network.

pub mod read;

pub mod columns;
pub mod decimal;
mod exact;
pub mod records;
pub mod rows;
pub mod select;
pub mod split;
mod strata;
pub mod typed;
mod word;
pub mod write;

pub mod profile;

pub mod difference;
pub mod drift;
pub mod duplicates;
pub mod likeness;
pub mod rowdiff;

pub mod leakage;

pub mod checks;

pub mod metrics;

pub mod error;
pub mod moment;

pub use error::{Result, TableError};
