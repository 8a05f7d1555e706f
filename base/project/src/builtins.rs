//! What the caller tells the checker of the packages that steps may use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

mod packages;

pub use self::packages::Packages;
pub use crate::package::{Field, FieldKind, Package};

/// Judges one entry of `checks:`; the error says what is wrong with it.
pub type DataCheck = fn(&Value) -> Result<(), String>;

/// Judges a check of live inputs; the refusal says why it cannot be one.
pub type LiveCheck = fn(&Value) -> Result<(), Refusal>;

/// Judges the ways of reading of a dataset; the error says what is wrong with them.
pub type DataRead = fn(&serde_json::Map<String, Value>) -> Result<(), String>;

/// Judges the arguments of a package that is built in, by its name, when each by itself is as it should be:
/// all that is wrong with them together.
pub type Arguments = Arc<dyn Fn(&str, &BTreeMap<String, Value>) -> Vec<String> + Send + Sync>;

/// Gets packages that lie elsewhere.
pub trait Remote: Send + Sync {
    /// What a Git address at a revision stands for.
    ///
    /// # Errors
    /// Why there is nothing, and what to do about it.
    fn fetch(&self, address: &str) -> Result<Checkout, Refusal>;
}

/// A commit's files on disk, and the folder in them that an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The folder of the repository's files.
    pub root: PathBuf,
    /// The folder that is named, relative to it; empty for the root.
    pub path: String,
}

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The known packages, and the meaning of data checks.
#[derive(Clone, Default)]
pub struct Builtins {
    /// The packages.
    pub packages: Packages,
    /// The names of environments that packages in Rust bring along: no other may have them.
    pub environments: Vec<&'static str>,
    /// The keys that a check may have, for editors: what they mean is known to the judges alone.
    pub checks: Vec<&'static str>,
    /// The judge of data checks; absent: they are taken as they are.
    pub data_check: Option<DataCheck>,
    /// The judge of checks of live inputs; absent: they are taken as they are.
    pub live_check: Option<LiveCheck>,
    /// The judge of `read:`; absent: it is taken as it is.
    pub data_read: Option<DataRead>,
    /// The judge of arguments taken together; absent: they are taken as they are.
    pub arguments: Option<Arguments>,
    /// What gets packages by their Git address; absent: there are none.
    pub remote: Option<Arc<dyn Remote>>,
}

impl fmt::Debug for Builtins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.packages.names().collect();
        f.debug_struct("Builtins").field("packages", &names).finish_non_exhaustive()
    }
}
