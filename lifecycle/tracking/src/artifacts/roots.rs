//! Roots: where the operator lets artifacts be. Everything else that a request names is refused.
//!
//! What goes through the proxy is among the objects, or plain files in the destination. A root that
//! clients reach themselves (a folder, another server) comes from the operator alone: a request may name a
//! place within it, and never another. Where that root is a folder, a request may also name a place below
//! the folder that the server works in, as with MLflow: its clients find it there, and the server opens
//! nothing of it.

use std::path::{Path, PathBuf};

use rondo_store::Files;

use super::{Place, SCHEME, Tree, clean, join, place};
use crate::{Error, limits};

/// Where artifacts may be.
#[derive(Clone, Default)]
pub struct Roots {
    root: Root,
    destination: Option<Files>,
}

/// The root of what new experiments log.
#[derive(Clone)]
enum Root {
    /// A path within the proxy's tree.
    Proxy(String),
    /// A folder, and whether it is written as a URI; beside it the folder that the server works in.
    Folder(Files, bool, PathBuf),
    /// Another server's URL.
    Elsewhere(String),
}

impl Default for Root {
    fn default() -> Self {
        Self::Proxy(String::new())
    }
}

impl Roots {
    /// Reads the root that the operator gives: `mlflow-artifacts:/PATH`, a folder as a path or `file:` URI,
    /// or an `http(s):` URL. A folder is made where it is missing; a relative one is below `working`.
    ///
    /// # Errors
    /// When it is none of these, or the folder cannot be made.
    pub fn with_root(self, root: &str, working: &Path) -> Result<Self, Error> {
        let refuse = |reason: &str| limits::invalid("artifact root", root, reason);
        if root.contains(['?', '#']) {
            return Err(refuse("it must not have a query or a fragment"));
        }
        let trimmed = root.trim_end_matches('/');
        let read = match split_scheme(root) {
            Some(("mlflow-artifacts", rest)) => {
                let path = rest.trim_matches('/');
                if rest.starts_with("//") {
                    return Err(refuse("it names another host: give mlflow-artifacts:/PATH"));
                }
                Root::Proxy(clean(path).map_err(|_| refuse("its path leaves the root"))?)
            }
            Some(("http" | "https", rest)) => {
                let host = rest.strip_prefix("//").and_then(|rest| rest.split('/').next());
                let host = host.filter(|host| !host.is_empty()).ok_or_else(|| refuse("it has no host"))?;
                if host.contains('@') {
                    return Err(refuse("clients are told of it: it must not have a password in it"));
                }
                Root::Elsewhere(trimmed.to_owned())
            }
            Some(("file", _)) => {
                let path = file_path(root).ok_or_else(|| refuse("a file URI looks like file:///folder"))?;
                Root::Folder(Files::open_to_read(&path)?, true, working.to_owned())
            }
            Some(("s3" | "gs" | "wasbs" | "abfss" | "hdfs" | "dbfs" | "ftp" | "sftp", _)) => {
                return Err(refuse(BUCKET));
            }
            Some(_) => {
                return Err(refuse("it is no path, and no mlflow-artifacts:, file:, http: or https: URI"));
            }
            None => Root::Folder(Files::open_to_read(&working.join(root))?, false, working.to_owned()),
        };
        Ok(Self { root: read, ..self })
    }

    /// Keeps what goes through the proxy as plain files in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When it is no folder, or cannot be made.
    pub fn with_destination(self, destination: &str, working: &Path) -> Result<Self, Error> {
        let refuse = |reason: &str| limits::invalid("artifacts destination", destination, reason);
        let path = match split_scheme(destination) {
            None => working.join(destination),
            Some(("file", _)) => {
                file_path(destination).ok_or_else(|| refuse("a file URI looks like file:///folder"))?
            }
            Some(("s3" | "gs" | "wasbs" | "abfss" | "hdfs", _)) => return Err(refuse(BUCKET)),
            Some(_) => return Err(refuse("it is no folder")),
        };
        Ok(Self { destination: Some(Files::open(&path)?), ..self })
    }

    /// What an experiment's location begins with, before a slash and its id.
    pub fn base(&self) -> String {
        match &self.root {
            Root::Proxy(path) if path.is_empty() => SCHEME.trim_end_matches('/').to_owned(),
            Root::Proxy(path) => format!("{SCHEME}{path}"),
            Root::Folder(files, false, _) => files.root().to_string_lossy().trim_end_matches('/').to_owned(),
            Root::Folder(files, true, _) => file_uri(files.root()),
            Root::Elsewhere(url) => url.clone(),
        }
    }

    /// The folder of plain files behind the proxy.
    pub(crate) const fn destination(&self) -> Option<&Files> {
        self.destination.as_ref()
    }

    /// The folder that clients reach themselves.
    pub(crate) const fn folder(&self) -> Option<&Files> {
        match &self.root {
            Root::Folder(files, ..) => Some(files),
            Root::Proxy(_) | Root::Elsewhere(_) => None,
        }
    }

    /// The URL of the other server, where artifacts are at one.
    pub fn elsewhere(&self) -> Option<&str> {
        match &self.root {
            Root::Elsewhere(url) => Some(url),
            Root::Proxy(_) | Root::Folder(..) => None,
        }
    }

    /// The tree that a URI is in and its path there; nothing for what is outside of every root.
    fn resolve(&self, uri: &str) -> Option<(Tree, String)> {
        // Parameters and fragments are read in many ways: no way is good enough for a root.
        if uri.contains(['?', '#', ';']) {
            return None;
        }
        if let Some(path) = uri.strip_prefix(SCHEME) {
            // Two slashes would be another host, a colon another scheme within.
            return (!path.starts_with('/') && !path.contains(':')).then(|| (Tree::Proxy, path.to_owned()));
        }
        match &self.root {
            Root::Proxy(_) => None,
            Root::Folder(files, ..) => {
                let path = match split_scheme(uri) {
                    None if uri.starts_with('/') => PathBuf::from(uri),
                    Some(("file", _)) => file_path(uri)?,
                    None | Some(_) => return None,
                };
                let below = path.to_str()?.strip_prefix(files.root().to_str()?)?;
                let below = if below.is_empty() { below } else { below.strip_prefix('/')? };
                Some((Tree::Folder, below.to_owned()))
            }
            Root::Elsewhere(url) => {
                let below = uri.strip_prefix(url.as_str())?;
                let below = if below.is_empty() { below } else { below.strip_prefix('/')? };
                Some((Tree::Elsewhere, below.to_owned()))
            }
        }
    }

    /// The location that a request gives, as it is kept: one that is in none of the roots is refused.
    ///
    /// # Errors
    /// When it has another scheme, a host, parameters, or leaves its root.
    pub fn location(&self, location: &str) -> Result<String, Error> {
        let reason = "Artifacts are kept by this server: leave it out, or give mlflow-artifacts:/PATH or a \
                      place in the root that the server was started with";
        let refuse = || limits::invalid("artifact_location", location, reason);
        if let (Root::Folder(_, _, working), Some(path)) = (&self.root, relative(location)) {
            return Ok(working.join(path).to_string_lossy().into_owned());
        }
        let (_, path) = self.resolve(location).ok_or_else(refuse)?;
        clean(&path).map_err(|_| refuse())?;
        Ok(location.to_owned())
    }

    /// The place of an owner's artifacts whose root is this URI.
    ///
    /// # Errors
    /// When it is in none of the roots: the server was started with others before.
    pub fn owned(&self, owner: &str, root: &str, path: &str) -> Result<Place, Error> {
        let outside = || Error::OutsideRoots { uri: root.to_owned() };
        let (tree, full) = self.resolve(root).ok_or_else(outside)?;
        let full = join(&clean(&full).map_err(|_| outside())?, path);
        Ok(Place { owner: owner.to_owned(), path: path.to_owned(), tree, full })
    }

    /// The place that an artifact URI names; nothing where it is in none of the roots or no owner's.
    ///
    /// # Errors
    /// When its path would leave the root.
    pub fn find(&self, uri: &str) -> Result<Option<Place>, Error> {
        match self.resolve(uri) {
            Some((tree, path)) => place(tree, &path),
            None => Ok(None),
        }
    }
}

const BUCKET: &str = "object stores are not supported yet: give a folder, or mount the bucket as one";

/// A URI's scheme and what follows the colon; nothing for a path.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let sound = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    sound.then_some((scheme, rest))
}

/// A relative path in which nothing can be read in two ways; nothing for any other text.
fn relative(text: &str) -> Option<&str> {
    let plain = |c: char| c.is_alphanumeric() || "/-._ ".contains(c);
    let sound = |part: &str| part.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    (text.chars().all(plain) && text.split('/').all(sound)).then_some(text)
}

/// The path of a `file:` URI on this machine.
fn file_path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    // Two slashes more would be a host again.
    if !path.starts_with('/') || path.starts_with("//") {
        return None;
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

/// The `file:` URI of a path.
fn file_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    for byte in path.to_string_lossy().trim_end_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+@:,=!$&'()*".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_roots_that_an_operator_may_give_are_mlflows() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let shown = at.display().to_string();
        let base = |root: &str| Roots::default().with_root(root, &at).map(|roots| roots.base());
        assert_eq!(Roots::default().base(), "mlflow-artifacts:");
        assert_eq!(base("mlflow-artifacts:/").unwrap(), "mlflow-artifacts:");
        assert_eq!(base("mlflow-artifacts:/team/a/").unwrap(), "mlflow-artifacts:/team/a");
        assert_eq!(base("./mlruns").unwrap(), format!("{shown}/mlruns"));
        assert_eq!(base(&format!("{shown}/x/")).unwrap(), format!("{shown}/x"));
        assert_eq!(
            base(&format!("file://{shown}/with%20space")).unwrap(),
            format!("file://{shown}/with%20space")
        );
        assert!(at.join("with space").is_dir());
        assert_eq!(base("https://art.example/api/").unwrap(), "https://art.example/api");
        for odd in [
            "s3://bucket/x",
            "ssh://host/x",
            "file://host/x",
            "file:relative",
            "mlflow-artifacts://host/x",
            "mlflow-artifacts:/../x",
            "http://",
            "http://user:secret@host/x",
            "/x?y",
            "/x#y",
        ] {
            assert!(base(odd).is_err(), "{odd}");
        }
        assert!(Roots::default().with_destination("s3://bucket", &at).is_err());
    }

    #[test]
    fn a_request_names_nothing_outside_of_the_roots() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let root = at.join("root");
        let shown = root.display().to_string();
        let open = Roots::default();
        let own = Roots::default().with_root(&shown, &at).unwrap();
        let http = Roots::default().with_root("http://art.example/root", &at).unwrap();
        let outside = [
            "/etc".to_owned(),
            "file:///etc".to_owned(),
            "s3://bucket/x".to_owned(),
            "ftp://host/x".to_owned(),
            "C:/x".to_owned(),
            "relative".to_owned(),
            String::new(),
            "mlflow-artifacts:/../x".to_owned(),
            "mlflow-artifacts:/a/%2e%2e/x".to_owned(),
            "mlflow-artifacts:/a#b".to_owned(),
            "mlflow-artifacts:/a;b".to_owned(),
            "mlflow-artifacts:/file:///etc".to_owned(),
            "mlflow-artifacts://host/x".to_owned(),
            "http://art.example/rootless".to_owned(),
            "http://art.example.evil/root".to_owned(),
            "http://evil.example/root/x".to_owned(),
            "http://art.example/root/../x".to_owned(),
            format!("{shown}/../canary"),
            format!("{shown}less/x"),
            format!("file://{shown}/%2e%2e/canary"),
            format!("file://{shown}/..%2fcanary"),
            format!("file://evil{shown}/x"),
            format!("{shown}/a\\..\\b"),
            format!("{shown}/a;b"),
        ];
        for location in &outside {
            for roots in [&open, &own, &http] {
                let named = location == "relative" && roots.folder().is_some();
                assert_eq!(roots.location(location).is_ok(), named, "{location}");
                assert!(!matches!(roots.find(location), Ok(Some(_))), "{location}");
            }
        }
        for location in [shown.clone(), format!("{shown}/mine"), format!("file://{shown}/mine")] {
            assert!(own.location(&location).is_ok(), "{location}");
            assert!(open.location(&location).is_err(), "{location}");
        }
        assert!(http.location("http://art.example/root/mine").is_ok());
        assert!(open.location("mlflow-artifacts:/mine").is_ok());

        let found = own.find(&format!("file://{shown}/1/{RUN}/artifacts/model")).unwrap().unwrap();
        assert_eq!((found.owner.as_str(), found.path.as_str(), found.tree), (RUN, "model", Tree::Folder));
        let found = own.owned(RUN, &format!("{shown}/1/{RUN}/artifacts"), "a/b").unwrap();
        assert_eq!(found.full, format!("1/{RUN}/artifacts/a/b"));
        let gone = open.owned(RUN, &format!("{shown}/1/{RUN}/artifacts"), "a/b");
        assert!(matches!(gone, Err(Error::OutsideRoots { .. })));
    }
}
