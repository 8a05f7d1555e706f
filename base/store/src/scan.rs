//! Files and folders outside of the store, looked at: what they are now, without reading what has not
//! changed.
//!
//! ```text
//! walk (one lstat a file, beside the index of the last time) ─▶ hash or store what is new ─▶ listings
//! ```
//!
//! The [`Index`] holds, for every file below a root, the stamp under which its digest was found. It is a
//! hint that saves reading and never a reason to believe: a stamp that is too young to tell two writes
//! apart is not trusted, a damaged index is none, and that an object is in the store is taken from an
//! index only while the version that it was written for is there. What is in the index and what a dataset
//! is called is not known here.

mod changes;
mod compose;
mod index;
mod resume;
mod settle;
mod walk;

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use rondo_core::Digest;

use crate::objects::Stamp;
pub use changes::Difference;
pub use compose::SeenFile;
pub use index::Index;
pub use resume::Resume;
pub use settle::How;
pub use walk::{Pick, Request, walk};

/// What was found at a root.
pub struct Scan {
    /// The path that was looked at.
    pub root: PathBuf,
    /// When the looking began, in nanoseconds.
    pub taken: i64,
    /// Whether it is a single file.
    pub single: bool,
    /// What there is to read.
    pub unread: Unread,
    node: Node,
}

/// Files whose content is not known, or not known to be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Scan {
    /// Whether everything is as the index says.
    pub const fn is_unchanged(&self) -> bool {
        matches!(self.node, Node::Same(_))
    }
}

/// A folder: as the index has it, or looked at anew.
enum Node {
    Same(Section),
    New(Box<Folder>),
}

/// A folder of the index.
#[derive(Debug, Clone, Copy)]
struct Section {
    at: usize,
}

/// A folder with what is in it, in the order in which the system names it.
#[derive(Default)]
struct Folder {
    /// What the index has of it.
    old: Option<Section>,
    /// The names, each ended by a zero byte.
    names: Vec<u8>,
    items: Vec<Item>,
    /// What it is in all, once that is known.
    sum: Option<index::Sum>,
}

struct Item {
    name: usize,
    what: What,
}

enum What {
    File(FileItem),
    Folder(Node),
}

#[derive(Clone, Copy)]
struct FileItem {
    stamp: Stamp,
    executable: bool,
    digest: Option<Digest>,
    /// Whether the object is known to be in the store.
    stored: bool,
    /// What the index had here, with a file of the same length, and whether that is in the store.
    before: Option<(Digest, bool)>,
}

impl Folder {
    fn name(&self, item: &Item) -> &str {
        // Names are looked at when they are taken up.
        self.cstr(item).to_str().unwrap_or_default()
    }

    fn cstr(&self, item: &Item) -> &CStr {
        let rest = self.names.get(item.name..).unwrap_or_default();
        CStr::from_bytes_until_nul(rest).unwrap_or_default()
    }

    /// The places of the items in the order of their names.
    fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.items.len()).unwrap_or(u32::MAX)).collect();
        let name = |at: &u32| self.items.get(*at as usize).map(|item| self.cstr(item).to_bytes());
        order.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
        order
    }
}

fn below(path: &Path, name: &CStr) -> PathBuf {
    path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// The threads that look at files: folders in folders want more stack than threads usually have.
fn threads() -> Option<&'static ThreadPool> {
    static THREADS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    THREADS.get_or_init(|| ThreadPoolBuilder::new().stack_size(64 << 20).build().ok()).as_ref()
}

/// Runs work on those threads.
fn on_threads<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match threads() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

#[cfg(test)]
mod tests;
