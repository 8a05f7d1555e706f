//! Rondo's memory: immutable objects, and the metadata that names them.
//!
//! ```text
//! .rondo/
//!   objects/ab/cdef…     whole files, addressed by the BLAKE3 of their bytes; folders by their listing
//!   uploads/             files that come in parts, until they are whole
//!   stat/                what was seen of files outside, so that unchanged ones are not read again
//!   metadata.db          runs, metrics, refs, journal, cache, queue (SQLite, WAL, synchronous=FULL)
//!   upkeep.lock          empty; locked by who cleans up or backs up, one process at a time
//! ```
//!
//! This is the only crate that knows the metadata's SQL. It knows nothing of what a stage means by its
//! records: the stages give it the records of `rondo-core` and get them back. What it promises: an
//! acknowledged write is on the disk, nothing half-written is ever visible, and two processes on one
//! store wait for each other instead of failing.

pub mod store;

pub mod files;
pub mod meta;
pub mod objects;
pub mod parts;
pub mod scan;

mod incoming;
mod lock;
mod scratch;

pub mod backup;
pub mod foreign;
pub mod upkeep;

pub mod error;

pub use error::Error;
pub use files::Files;
pub use meta::Meta;
pub use objects::Objects;
pub use parts::Parts;
pub use store::Store;
