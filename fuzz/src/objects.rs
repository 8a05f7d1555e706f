//! Objects of the store, which a remote may have sent.

use rondo_core::tree::{Listing, Tree};

/// The listing of a folder: what is read is written the same, since its digest is its name.
pub fn listing(bytes: &[u8]) {
    let _whole_or_parts = Listing::decode(bytes);
    if let Ok(tree) = Tree::decode(bytes) {
        assert_eq!(tree.encode(), bytes, "a folder has one form alone");
    }
}
