//! Artifacts: which owner a path of the proxy belongs to, and what lies where.
//!
//! A path is never a path of the host: it names rows (owner, path), and the owner is a run or a logged
//! model that exists. There is nothing to leave. Where artifacts are plain files, the path is resolved
//! within the operator's folder by the store, and cannot leave that either. Even so a path that would
//! leave a folder is refused.
//!
//! [`roots`] has what the operator allows, [`keep`] what is done with a place.

pub mod keep;
pub mod roots;
mod sweep;

use rondo_core::RunId;

use crate::Error;

/// The owner of what is put through the proxy at a path that is no run's or model's.
pub const SHARED: &str = "shared";

const SCHEME: &str = "mlflow-artifacts:/";

/// A place among artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The run's or logged model's id, or [`SHARED`].
    pub owner: String,
    /// The path among the owner's artifacts, empty for their root: with slashes, without one at either
    /// end.
    pub path: String,
    /// The tree that it is in.
    pub tree: Tree,
    /// The whole path in that tree.
    pub full: String,
}

/// A tree that artifacts are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// What goes through this server's proxy.
    Proxy,
    /// The folder that clients reach themselves: it is read here, and written by a page's upload alone.
    Folder,
    /// Another server's, that clients reach themselves: nothing of it is known here.
    Elsewhere,
}

impl Place {
    /// A place below this one.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        Self { path: join(&self.path, path), full: join(&self.full, path), ..self.clone() }
    }
}

/// One path below another; either may be empty.
fn join(folder: &str, path: &str) -> String {
    match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}

/// Where a run's artifacts are.
pub fn run_root(location: &str, run: RunId) -> String {
    format!("{}/{run}/artifacts", location.trim_end_matches('/'))
}

/// Whether artifacts with this root are the server's to keep. What is not, it can neither vouch for nor take
/// away.
pub fn is_managed(root: &str) -> bool {
    root.starts_with(SCHEME)
}

/// Where a logged model's files are.
pub fn model_root(location: &str, model: &str) -> String {
    format!("{}/models/{model}/artifacts", location.trim_end_matches('/'))
}

/// Where a trace's files are.
pub fn trace_root(location: &str, trace: &str) -> String {
    format!("{}/traces/{trace}/artifacts", location.trim_end_matches('/'))
}

/// Where the files of a version that a pipeline registered are, by their owner.
pub fn version_root(owner: &str) -> String {
    format!("{SCHEME}models/{owner}/artifacts")
}

/// Whether an owner is a version that a pipeline registered: its files are made with it and stay as they are.
pub fn is_version(owner: &str) -> bool {
    owner.starts_with("v-")
}

/// A path below an owner's root in one form. MLflow's clients and server decode paths until nothing is left
/// to decode, and so does this: names that differ in their encoding alone are one. What may not stand in a
/// name is encoded again.
///
/// # Errors
/// When it begins with a slash, has empty or dotted parts by any reading, or has control characters.
pub fn clean(path: &str) -> Result<String, Error> {
    let refuse = || Error::Path { path: path.chars().take(200).collect() };
    if path.len() > 4096 || path.chars().any(char::is_control) {
        return Err(refuse());
    }
    let plain = decoded(path).ok_or_else(refuse)?;
    // Clients name a root `.` and go on from there: `./model` is `model`.
    let here: Vec<&str> = plain.split('/').filter(|part| *part != ".").collect();
    let joined = here.join("/");
    let inner = joined.strip_suffix('/').unwrap_or(&joined);
    if inner.is_empty() && joined != "/" {
        return Ok(String::new());
    }
    let odd = |part: &str| part.chars().all(|c| c == '.');
    // A backslash parts folders for some readers and is a character for others.
    let drive = matches!(plain.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    if drive || inner.split('/').any(odd) || inner.split(['/', '\\']).any(|part| part == "..") {
        return Err(refuse());
    }
    let mut clean = String::with_capacity(inner.len());
    for c in inner.chars() {
        match c {
            c if c.is_control() || c == '\\' => clean.push_str(&format!("%{:02x}", u32::from(c))),
            c => clean.push(c),
        }
    }
    Ok(clean)
}

/// A text without percent encoding, however often it was encoded; nothing where that has no end.
pub fn decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..16 {
        let next = decode(&text);
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let pair = rest.as_slice().get(..2).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(coded) if byte == b'%' => {
                bytes.push(coded);
                rest.nth(1);
            }
            Some(_) | None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a part of a path is a run's, a logged model's, a version's or a trace's id.
fn is_owner(part: &str) -> bool {
    let prefixed = ["m-", "tr-", "v-"].iter().find_map(|prefix| part.strip_prefix(prefix));
    prefixed.unwrap_or(part).parse::<RunId>().is_ok()
}

/// The place that a path of a tree, such as `0/<run>/artifacts/model/MLmodel`, names. Nothing where it is
/// no owner's.
fn place(tree: Tree, path: &str) -> Result<Option<Place>, Error> {
    let full = clean(path)?;
    let parts: Vec<&str> = full.split('/').collect();
    for (index, pair) in parts.windows(2).enumerate() {
        let [owner, marker] = pair else { continue };
        if *marker == "artifacts" && is_owner(owner) {
            let below = parts.get(index + 2..).unwrap_or_default().join("/");
            return Ok(Some(Place { owner: (*owner).to_owned(), path: below, tree, full }));
        }
    }
    Ok(None)
}

/// The place that a path of the proxy names: one that is no run's or model's is in the tree that all share.
///
/// # Errors
/// When the path would leave its root.
pub fn proxied(path: &str) -> Result<Place, Error> {
    match place(Tree::Proxy, path)? {
        Some(place) => Ok(place),
        None => {
            let path = clean(path)?;
            Ok(Place { owner: SHARED.to_owned(), full: path.clone(), path, tree: Tree::Proxy })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn paths_name_an_owner_and_a_place() {
        let found = proxied(&format!("0/{RUN}/artifacts/model/MLmodel")).unwrap();
        assert_eq!((found.owner.as_str(), found.path.as_str()), (RUN, "model/MLmodel"));
        assert_eq!(found.full, format!("0/{RUN}/artifacts/model/MLmodel"));
        let found = proxied(&format!("7/models/m-{RUN}/artifacts")).unwrap();
        assert_eq!((found.owner.as_str(), found.path.as_str()), (format!("m-{RUN}").as_str(), ""));
        let below = found.join("a/b");
        assert_eq!((below.path.as_str(), below.full), ("a/b", format!("7/models/m-{RUN}/artifacts/a/b")));
        for path in ["", "0", "0/nobody/artifacts/x", RUN, "etc/passwd"] {
            let found = proxied(path).unwrap();
            assert_eq!((found.owner.as_str(), found.path.as_str()), (SHARED, path));
        }
    }

    #[test]
    fn paths_that_would_leave_are_refused() {
        for path in [
            "../x",
            "a/../b",
            "a//b",
            "/etc/passwd",
            "a\\..\\b",
            "%2e%2e/x",
            "a/%252e%252e%252fx",
            "a\0b",
            "...",
            "a/..",
            "/",
            "a%5c..%5cb",
            "%2fetc",
            "a%5c%2e%2e",
            "c:\\x",
            "c%3a/x",
        ] {
            assert!(clean(path).is_err(), "{path}");
        }
        // So clients before 3.0 name images by their steps.
        for (name, one) in [
            ("dog%step%25%timestamp%100", "dog%step%%timestamp%100"),
            ("dog%step%%timestamp%100", "dog%step%%timestamp%100"),
            ("100%", "100%"),
            ("a%20b", "a b"),
            ("a%2520b", "a b"),
            ("a%2fb", "a/b"),
            ("x%5c3f", "x%5c3f"),
            ("x\\3f", "x%5c3f"),
            ("x%00", "x%00"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(clean(name).unwrap(), one, "{name}");
        }
        assert_eq!(clean("a/b/").unwrap(), "a/b");
        assert_eq!(clean("").unwrap(), "");
        for (path, one) in
            [(".", ""), ("./", ""), ("./a", "a"), ("a/.", "a"), ("a/./", "a"), ("a/././b", "a/b")]
        {
            assert_eq!(clean(path).unwrap(), one, "{path}");
        }
        assert_eq!(clean("a b/c;d#e?.txt").unwrap(), "a b/c;d#e?.txt");
    }

    proptest! {
        #[test]
        fn a_clean_path_has_no_way_out_and_is_its_own_form(path in "[a./%2e5c\\\\]{0,16}") {
            if let Ok(one) = clean(&path) {
                prop_assert!(!one.starts_with('/') && !one.contains('\\'));
                prop_assert!(one.is_empty() || one.split('/').all(|part| !part.is_empty() && part != ".."));
                prop_assert_eq!(clean(&one).ok(), Some(one));
            }
        }
    }
}
