//! Which rows, keys, groups and values were seen: hashes in a sorted list, eight bytes each.

use std::hash::{DefaultHasher, Hasher};

/// A set of things by their hashes: eight bytes for each that is different, and as many again at most while
/// it grows. Two different things have the same one about once in 10¹⁹ pairs.
#[derive(Debug, Default)]
pub(super) struct Known {
    hashes: Vec<u64>,
    /// How many were left when it was last looked for those that are there twice.
    different: usize,
}

impl Known {
    pub(super) fn add(&mut self, hash: u64) {
        self.hashes.push(hash);
        if self.hashes.len() >= 2 * self.different.max(1 << 19) {
            self.hashes.sort_unstable();
            self.hashes.dedup();
            self.different = self.hashes.len();
        }
    }

    /// To be called once, before anything is looked up.
    pub(super) fn ready(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self.hashes.shrink_to_fit();
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }
}

pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
