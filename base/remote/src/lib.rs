//! Remotes: where objects are kept for a team, in a bucket or a folder that many machines reach.
//!
//! A remote holds the same objects as a store, by the same digests, in another form. Small objects travel
//! together in *packs*; large files are cut where their content says ([`chunk`]), so that a changed byte
//! sends one chunk; a *segment* of the index lists what a few packs hold, and is written after them. So
//! one listing and the segments that are new tell what a remote lacks, nothing is ever half there, and a
//! transfer that was stopped goes on after the last segment. Whatever arrives is compared with its digest.
//!
//! Objects are known here by digest alone. What they mean (a dataset version, the outputs of a step) lies
//! in [notes](Remote::keep), small named files beside them, and is the business of who writes them. This is
//! no store: nothing is read from a remote in place of a local object.

mod bucket;
mod chunk;
mod error;
mod index;
mod notes;
mod pack;
mod place;
mod pull;
mod push;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod turn;

pub use bucket::{Bucket, Found};
pub use error::Error;
pub use index::Index;
pub use place::Remote;
pub use pull::Pulled;
pub use push::Pushed;
pub use survey::{Fault, Spoilt, Survey};
pub use sweep::{Forgotten, Reaches, Swept};

use rondo_core::Digest;

/// An object that is wanted: of a folder, with all that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Need {
    /// Its address.
    pub digest: Digest,
    /// Whether it is a folder.
    pub folder: bool,
}

impl Need {
    /// A file.
    pub const fn file(digest: Digest) -> Self {
        Self { digest, folder: false }
    }

    /// A folder with all that it holds.
    pub const fn folder(digest: Digest) -> Self {
        Self { digest, folder: true }
    }
}
