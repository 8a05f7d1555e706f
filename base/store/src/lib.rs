//! Rondo's memory: immutable objects, and the metadata that names them.
//!
//! ```text
//! .rondo/
//!   objects/ab/cdef…     whole files, addressed by the BLAKE3 of their bytes; folders by their listing
//!   metadata.db          runs, metrics, refs, journal, cache, queue (SQLite, WAL, synchronous=FULL)
//! ```
//!
//! This is the only crate that knows the metadata's SQL. It knows nothing of what a stage means by its
//! records: the stages give it the records of `rondo-core` and get them back. What it promises: an
//! acknowledged write is on the disk, nothing half-written is ever visible, and two processes on one
//! store wait for each other instead of failing.

pub mod store;

pub mod meta;
pub mod objects;

pub mod backup;
pub mod foreign;
pub mod upkeep;

pub mod error;

pub use error::Error;
pub use meta::Meta;
pub use objects::Objects;
pub use store::Store;
