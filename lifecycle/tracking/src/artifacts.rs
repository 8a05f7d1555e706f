//! Artifacts: which owner a path of the proxy belongs to, and what lies where.
//!
//! A path is never a path of the host: it names rows (owner, path), and the owner is a run or a logged
//! model that exists. There is nothing to leave. Even so a path that would leave a folder is refused.

use std::collections::BTreeMap;

use rondo_core::{Digest, RunId};
use rondo_store::meta::runs::Artifact;

use crate::{Error, Tracking};

/// The owner of what is put through the proxy at a path that is no run's or model's.
pub const SHARED: &str = "shared";

const SCHEME: &str = "mlflow-artifacts:/";

/// An owner of artifacts and a path among them (empty for the root).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The run's or logged model's id, or [`SHARED`].
    pub owner: String,
    /// With slashes, without one at either end.
    pub path: String,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path from the owner's root.
    pub path: String,
    /// Bytes; nothing for a folder.
    pub size: Option<u64>,
}

/// Where a run's artifacts are.
pub fn run_root(location: &str, run: RunId) -> String {
    format!("{}/{run}/artifacts", location.trim_end_matches('/'))
}

/// Where a logged model's files are.
pub fn model_root(location: &str, model: &str) -> String {
    format!("{}/models/{model}/artifacts", location.trim_end_matches('/'))
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

/// Refuses a root of artifacts that is not the server's own.
///
/// # Errors
/// When it has another scheme, a host, parameters, or leaves its root.
pub fn check_location(location: &str) -> Result<(), Error> {
    let reason = "Artifacts are kept by this server: leave it out, or give mlflow-artifacts:/PATH";
    let refuse = || crate::limits::invalid("artifact_location", location, reason);
    let path = location.strip_prefix(SCHEME).ok_or_else(refuse)?;
    if path.contains(['?', '#', ';', ':']) {
        return Err(refuse());
    }
    clean(path).map_err(|_| refuse()).map(drop)
}

/// The place that a path of the proxy, such as `0/<run>/artifacts/model/MLmodel`, names. Nothing where it
/// is no owner's.
///
/// # Errors
/// When the path would leave its root.
pub fn place(path: &str) -> Result<Option<Place>, Error> {
    let path = clean(path)?;
    let parts: Vec<&str> = path.split('/').collect();
    for (index, pair) in parts.windows(2).enumerate() {
        let [owner, marker] = pair else { continue };
        let is_run = owner.parse::<RunId>().is_ok();
        let is_model = owner.strip_prefix("m-").is_some_and(|id| id.parse::<RunId>().is_ok());
        if *marker == "artifacts" && (is_run || is_model) {
            let below = parts.get(index + 2..).unwrap_or_default().join("/");
            return Ok(Some(Place { owner: (*owner).to_owned(), path: below }));
        }
    }
    Ok(None)
}

/// The place that a path of the proxy names: one that is no run's or model's is in the tree that all share.
///
/// # Errors
/// When the path would leave its root.
pub fn proxied(path: &str) -> Result<Place, Error> {
    match place(path)? {
        Some(place) => Ok(place),
        None => Ok(Place { owner: SHARED.to_owned(), path: clean(path)? }),
    }
}

/// The place that an artifact URI names; nothing where it is not one of this server's.
///
/// # Errors
/// When the path would leave its root.
pub fn uri(uri: &str) -> Result<Option<Place>, Error> {
    match uri.strip_prefix(SCHEME) {
        // Two slashes would be another host.
        Some(path) if !path.starts_with('/') => place(path),
        Some(_) | None => Ok(None),
    }
}

impl Tracking {
    /// Whether an owner exists and is not deleted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn owns_artifacts(&self, owner: &str) -> Result<bool, Error> {
        if owner == SHARED {
            return Ok(true);
        }
        if owner.starts_with("m-") {
            return Ok(self.meta().logged_model(owner).await?.is_some_and(|model| !model.deleted));
        }
        match owner.parse() {
            Ok(id) => Ok(self.meta().run(id).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// The files and folders directly below a path. Nothing below a file or where there is nothing.
    ///
    /// # Errors
    /// When the path leaves its root or the database cannot be read.
    pub async fn list_artifacts(&self, place: &Place) -> Result<Vec<Listed>, Error> {
        let artifacts = self.meta().artifacts(&place.owner).await?;
        Ok(below(&artifacts, &place.path))
    }

    /// A file among an owner's artifacts.
    ///
    /// # Errors
    /// When there is none.
    pub async fn artifact(&self, place: &Place) -> Result<Artifact, Error> {
        let found = self.meta().artifact(&place.owner, &place.path).await?;
        found.ok_or_else(|| Error::ArtifactNotFound { path: place.path.clone() })
    }

    /// Names a stored object as a file among an owner's artifacts.
    ///
    /// # Errors
    /// When the owner does not exist or the path is its root.
    pub async fn put_artifact(&self, place: &Place, digest: Digest, size: u64) -> Result<(), Error> {
        if place.path.is_empty() || !self.owns_artifacts(&place.owner).await? {
            return Err(Error::Path { path: format!("{}/artifacts/{}", place.owner, place.path) });
        }
        Ok(self.meta().put_artifact(&place.owner, &place.path, digest, size, self.now()).await?)
    }

    /// Takes a file or folder away from an owner's artifacts; how many files there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_artifacts(&self, place: &Place) -> Result<usize, Error> {
        Ok(self.meta().delete_artifacts(&place.owner, &place.path, self.now()).await?)
    }
}

fn below(artifacts: &[Artifact], folder: &str) -> Vec<Listed> {
    let mut listed = BTreeMap::new();
    for artifact in artifacts {
        let rest = match folder {
            "" => artifact.path.as_str(),
            folder => match artifact.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => rest,
                None => continue,
            },
        };
        let (name, size) = match rest.split_once('/') {
            Some((name, _)) => (name, None),
            None => (rest, Some(artifact.size)),
        };
        listed.entry(name).or_insert(size);
    }
    let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    listed.into_iter().map(|(name, size)| Listed { path: path(name), size }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use rondo_core::Timestamp;

    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn paths_name_an_owner_and_a_place() {
        let found = place(&format!("0/{RUN}/artifacts/model/MLmodel")).unwrap().unwrap();
        assert_eq!((found.owner.as_str(), found.path.as_str()), (RUN, "model/MLmodel"));
        let found = place(&format!("7/models/m-{RUN}/artifacts")).unwrap().unwrap();
        assert_eq!((found.owner, found.path), (format!("m-{RUN}"), String::new()));
        assert_eq!(uri(&format!("mlflow-artifacts:/0/{RUN}/artifacts")).unwrap().unwrap().owner, RUN);
        for path in ["", "0", "0/nobody/artifacts/x", RUN, "etc/passwd"] {
            assert_eq!(place(path).unwrap(), None, "{path}");
        }
        for elsewhere in ["file:///etc/passwd", &format!("mlflow-artifacts://host/0/{RUN}/artifacts")] {
            assert_eq!(uri(elsewhere).unwrap(), None);
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

    #[test]
    fn listings_are_one_level_deep() {
        let file =
            |path: &str| Artifact { path: path.into(), digest: Digest::of(b""), size: 3, at: Timestamp(1) };
        let all = ["a-b/x", "a/x", "a/y/z", "ab", "b.txt"].map(file);
        let show = |folder: &str| {
            let of = |listed: Listed| (listed.path, listed.size);
            below(&all, folder).into_iter().map(of).collect::<Vec<_>>()
        };
        let entry = |path: &str, size| (path.to_owned(), size);
        assert_eq!(
            show(""),
            [entry("a", None), entry("a-b", None), entry("ab", Some(3)), entry("b.txt", Some(3))]
        );
        assert_eq!(show("a"), [entry("a/x", Some(3)), entry("a/y", None)]);
        assert!(show("ab").is_empty() && show("b.txt").is_empty() && show("nothing").is_empty());
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
