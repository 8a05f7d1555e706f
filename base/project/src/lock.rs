//! The lock file `rondo.lock`: the digests of every dataset version, environment lock, package and step
//! output.
//!
//! It stands beside `rondo.yaml` in Git, so that one commit fixes code, data and model together. Its text
//! is the same for the same content: sorted by name, one fact a line, so that a diff shows what changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rondo_core::Digest;
use rondo_core::id::is_name;
use serde::Serialize;
use serde_json::Value as Json;

use crate::error::Error;
use crate::fault::{self, Fault};
use crate::place::{Lines, Place};
use crate::yaml::{self, Node, join};

/// The lock file's name.
pub const LOCK_FILE: &str = "rondo.lock";

/// The folder beside it that holds the text of each environment's lock: `NAME.txt`.
pub const LOCKS_FOLDER: &str = "rondo.locks";

/// The form of the file that is written.
const FORM: i64 = 1;

/// What a lock file pins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Dataset versions by dataset.
    pub datasets: BTreeMap<String, LockedDataset>,
    /// The digest of each environment's lock.
    pub environments: BTreeMap<String, Digest>,
    /// Packages of files by what stands after `uses:`.
    pub packages: BTreeMap<String, LockedPackage>,
    /// Steps.
    pub steps: BTreeMap<String, LockedStep>,
}

/// A pinned dataset version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockedDataset {
    /// Its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Rows, where it is a table.
    pub rows: Option<u64>,
}

/// A pinned package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockedPackage {
    /// The digest of its folder.
    pub digest: Digest,
    /// Of one at a Git address, the commit that its revision stands for.
    pub commit: Option<String>,
}

/// A pinned step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockedStep {
    /// The key it ran with.
    pub key: Digest,
    /// Its outputs by name.
    pub outputs: BTreeMap<String, Digest>,
}

impl Lock {
    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text =
            String::from("# Written by `rondo run` and `rondo data add`. Keep it in Git; do not edit it.\n");
        let _ = writeln!(text, "lock: {FORM}");
        section(&mut text, "datasets", &self.datasets, |text, name, dataset| {
            let _ = writeln!(text, "  {name}:\n    digest: {}\n    size: {}", dataset.digest, dataset.size);
            if let Some(rows) = dataset.rows {
                let _ = writeln!(text, "    rows: {rows}");
            }
        });
        section(&mut text, "environments", &self.environments, |text, name, digest| {
            let _ = writeln!(text, "  {name}: {digest}");
        });
        section(&mut text, "packages", &self.packages, |text, uses, package| {
            let _ = writeln!(text, "  {}:\n    digest: {}", Json::from(uses), package.digest);
            if let Some(commit) = &package.commit {
                let _ = writeln!(text, "    commit: {}", Json::from(commit.as_str()));
            }
        });
        section(&mut text, "steps", &self.steps, |text, name, step| {
            // One step of a matrix: `train[seed=1]`.
            let quoted =
                if name.split('/').all(is_name) { name.to_owned() } else { Json::from(name).to_string() };
            let _ = writeln!(text, "  {quoted}:\n    key: {}", step.key);
            section(text, "    outputs", &step.outputs, |text, name, digest| {
                let _ = writeln!(text, "      {name}: {digest}");
            });
        });
        text
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every fault: a lock is all right or not used.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parsed = yaml::parse(text);
        let mut reader = Reader { faults: parsed.faults };
        let start = Lines::new(text).place(0, 0);
        let lock = match &parsed.root {
            Some(root) => reader.lock(root),
            None => {
                reader.wrong("", start, "the file is empty");
                Self::default()
            }
        };
        let mut faults = reader.faults;
        if faults.is_empty() {
            return Ok(lock);
        }
        fault::sort(&mut faults);
        Err(Error::Invalid { file: LOCK_FILE.to_owned(), source_text: text.to_owned(), faults })
    }
}

fn section<T>(
    text: &mut String,
    name: &str,
    entries: &BTreeMap<String, T>,
    write: impl Fn(&mut String, &str, &T),
) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "{name}:");
    for (name, entry) in entries {
        write(text, name, entry);
    }
}

/// A step's name: that of a workflow's step has the workflow's before it, that of one step of a matrix its
/// combination behind it, such as `tune/train[seed=1]`.
fn is_step(text: &str) -> bool {
    let name = match text.strip_suffix(']') {
        Some(rest) => rest.split_once('[').map_or(text, |(name, _)| name),
        None => text,
    };
    name.split('/').all(is_name)
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn wrong(&mut self, path: &str, place: Place, message: impl Into<String>) {
        let fault = Fault::new(path, place, message);
        self.faults.push(
            fault.hint(format!(
                "delete `{LOCK_FILE}` and let `rondo run` write it again, or take it from Git"
            )),
        );
    }

    fn lock(&mut self, root: &Node) -> Lock {
        match root.get("lock").and_then(Node::int) {
            Some(FORM) => {}
            Some(other) => {
                self.wrong("lock", root.find("lock"), format!("form {other} of the file is not known here"))
            }
            None => self.wrong("lock", root.place, "this is no lock file: the key `lock` is missing"),
        }
        self.keys(root, "", &["lock", "datasets", "environments", "packages", "steps"]);
        Lock {
            datasets: self.map(root, "", "datasets", is_name, Self::dataset),
            environments: self.map(root, "", "environments", is_name, Self::digest),
            packages: self.map(root, "", "packages", |_| true, Self::package),
            steps: self.map(root, "", "steps", is_step, Self::step),
        }
    }

    fn map<T>(
        &mut self,
        node: &Node,
        path: &str,
        key: &str,
        is_key: impl Fn(&str) -> bool,
        read: impl Fn(&mut Self, &Node, &str) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(node) = node.get(key) else { return BTreeMap::new() };
        let path = join(path, key);
        let Some(entries) = node.map() else {
            self.wrong(&path, node.place, format!("`{key}` has to be a mapping"));
            return BTreeMap::new();
        };
        let mut map = BTreeMap::new();
        for entry in entries {
            let path = join(&path, &entry.key);
            if !is_key(&entry.key) {
                self.wrong(&path, entry.place, format!("`{}` cannot be a name", entry.key));
            } else if let Some(value) = read(self, &entry.value, &path) {
                map.insert(entry.key.clone(), value);
            }
        }
        map
    }

    fn keys(&mut self, node: &Node, path: &str, known: &[&str]) {
        for entry in node.map().unwrap_or_default() {
            if !known.contains(&entry.key.as_str()) {
                self.wrong(&join(path, &entry.key), entry.place, format!("unknown key `{}`", entry.key));
            }
        }
    }

    fn digest(&mut self, node: &Node, path: &str) -> Option<Digest> {
        match node.raw.parse() {
            Ok(digest) => Some(digest),
            Err(error) => {
                self.wrong(path, node.place, error.to_string());
                None
            }
        }
    }

    fn digest_at(&mut self, node: &Node, path: &str, key: &str) -> Option<Digest> {
        match node.get(key) {
            Some(value) => self.digest(value, &join(path, key)),
            None => {
                self.wrong(path, node.place, format!("the key `{key}` is missing"));
                None
            }
        }
    }

    fn count(&mut self, node: &Node, path: &str, key: &str) -> Option<u64> {
        let value = node.get(key)?;
        let count = value.int().and_then(|count| u64::try_from(count).ok());
        if count.is_none() {
            self.wrong(&join(path, key), value.place, format!("`{key}` has to be a number"));
        }
        count
    }

    fn dataset(&mut self, node: &Node, path: &str) -> Option<LockedDataset> {
        self.keys(node, path, &["digest", "size", "rows"]);
        let digest = self.digest_at(node, path, "digest")?;
        let size = self.count(node, path, "size").unwrap_or(0);
        Some(LockedDataset { digest, size, rows: self.count(node, path, "rows") })
    }

    fn package(&mut self, node: &Node, path: &str) -> Option<LockedPackage> {
        self.keys(node, path, &["digest", "commit"]);
        let digest = self.digest_at(node, path, "digest")?;
        let commit = node.get("commit").and_then(Node::text).map(str::to_owned);
        Some(LockedPackage { digest, commit })
    }

    fn step(&mut self, node: &Node, path: &str) -> Option<LockedStep> {
        self.keys(node, path, &["key", "outputs"]);
        let key = self.digest_at(node, path, "key")?;
        Some(LockedStep { key, outputs: self.map(node, path, "outputs", is_name, Self::digest) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u8; 32]>().prop_map(Digest::from_bytes)
    }

    fn names<T: Strategy>(values: T) -> impl Strategy<Value = BTreeMap<String, T::Value>> {
        prop::collection::btree_map("[a-z][a-zA-Z0-9_-]{0,6}|null|true|no", values, 0..4)
    }

    fn step_names<T: Strategy>(values: T) -> impl Strategy<Value = BTreeMap<String, T::Value>> {
        prop::collection::btree_map("[a-z][a-z]{0,3}(/[a-z]{1,3})?(\\[[a-z]=[ -~é]{0,6}\\])?", values, 0..4)
    }

    prop_compose! {
        fn locks()(
            datasets in names((digest(), 0..i64::MAX as u64, prop::option::of(0..1_000_000_u64))
                .prop_map(|(digest, size, rows)| LockedDataset { digest, size, rows })),
            environments in names(digest()),
            packages in prop::collection::btree_map(
                "[ -~é]{1,30}",
                (digest(), prop::option::of("[0-9a-f]{40}"))
                    .prop_map(|(digest, commit)| LockedPackage { digest, commit }),
                0..3,
            ),
            steps in step_names((digest(), names(digest())).prop_map(|(key, outputs)| LockedStep { key, outputs })),
        ) -> Lock {
            Lock { datasets, environments, packages, steps }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(lock in locks()) {
            prop_assert_eq!(Lock::parse(&lock.text()).unwrap(), lock);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z:\\n {}0-9]{0,80}") {
            let _ = Lock::parse(&text);
        }
    }

    #[test]
    fn the_text_is_pinned() {
        let digest = Digest::of(b"hello");
        let dataset = LockedDataset { digest, size: 5, rows: Some(1) };
        let step = LockedStep { key: digest, outputs: [("train".to_owned(), digest)].into() };
        let lock = Lock {
            datasets: [("flights".to_owned(), dataset)].into(),
            environments: [("py".to_owned(), digest)].into(),
            packages: BTreeMap::new(),
            steps: [("prepare".to_owned(), step)].into(),
        };
        insta::assert_snapshot!(lock.text());
    }

    #[test]
    fn a_spoilt_lock_says_where() {
        let error = Lock::parse("lock: 1\nsteps:\n  a:\n    key: xyz\n  b: {}\nmore: 1\n").unwrap_err();
        assert_eq!(error.to_string(), "`rondo.lock` has 3 faults");
        insta::assert_snapshot!(error.report());
        assert!(Lock::parse("").is_err());
        assert!(Lock::parse("lock: 2\n").is_err());
    }
}
