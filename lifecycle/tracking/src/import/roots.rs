//! Where artifacts of another store may be read: below the folders that the operator names, nowhere else.
//!
//! An artifact URI comes from the source and is not to be trusted: what it names is looked for, followed to
//! its real place and read only when that is inside one of the roots. Symbolic links on the way down are not
//! followed. A store that was moved is still found: by the end of the URI, `EXPERIMENT/RUN/artifacts`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::artifacts::clean;

/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 100;

/// The folders below which artifacts may be.
#[derive(Debug, Clone)]
pub struct Roots {
    folders: Vec<PathBuf>,
    /// What relative URIs start from.
    base: PathBuf,
}

/// Where the artifacts of a run or logged model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// Nowhere: there are none, or they are gone.
    Missing,
    /// Not to be read from here, for this reason.
    Elsewhere(String),
}

/// What lies in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files: path below the folder with slashes, place, bytes.
    pub files: Vec<(String, PathBuf, u64)>,
    /// What is not read, and why not.
    pub refused: Vec<(String, String)>,
}

impl Roots {
    /// The roots that are there among these folders; relative URIs start from `base`.
    pub fn new(folders: &[PathBuf], base: &Path) -> Self {
        let folders = folders.iter().filter_map(|folder| folder.canonicalize().ok());
        Self { folders: folders.filter(|folder| folder.is_dir()).collect(), base: base.to_owned() }
    }

    /// Where the artifacts with this URI are. `own` is a folder of the source's own in which they may be;
    /// `tail` is what such a URI ends with.
    pub fn find(&self, uri: &str, own: Option<&Path>, tail: &str) -> Place {
        let own = own.and_then(|own| self.inside(own));
        if let Some(own) = own.as_ref().filter(|own| has_entries(own)) {
            return Place::Folder(own.clone());
        }
        let (scheme, path) = split(uri);
        let mut elsewhere = None;
        let candidates: Vec<PathBuf> = match scheme {
            "mlflow-artifacts" => {
                let path = path.trim_start_matches('/');
                if self.folders.is_empty() {
                    elsewhere = Some(format!("no folder of artifacts is known for `{}`", short(uri)));
                }
                self.below(path)
            }
            "" | "file" => {
                let path = Path::new(&path);
                let named = if path.is_absolute() { path.to_owned() } else { self.base.join(path) };
                if self.inside(&named).is_none() && named.exists() {
                    elsewhere = Some(format!("`{}` is outside of the folders that may be read", short(uri)));
                }
                [vec![named], self.below(tail)].concat()
            }
            _ => {
                elsewhere = Some(format!("`{}` is not on this machine", short(uri)));
                self.below(tail)
            }
        };
        let there: Vec<PathBuf> = candidates.iter().filter_map(|place| self.inside(place)).collect();
        // An empty folder tells nothing while there may be another.
        let filled = there.iter().find(|folder| has_entries(folder)).cloned();
        match (filled, elsewhere, there.into_iter().next().or(own)) {
            (Some(folder), ..) | (None, None, Some(folder)) => Place::Folder(folder),
            (None, Some(reason), _) => Place::Elsewhere(reason),
            (None, None, None) => Place::Missing,
        }
    }

    fn below(&self, path: &str) -> Vec<PathBuf> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain {
            return Vec::new();
        }
        self.folders.iter().map(|root| root.join(path)).collect()
    }

    /// The real place of a folder, where it is inside a root.
    fn inside(&self, folder: &Path) -> Option<PathBuf> {
        let real = folder.canonicalize().ok()?;
        (real.is_dir() && self.folders.iter().any(|root| real.starts_with(root))).then_some(real)
    }
}

/// Everything in a folder, without following symbolic links.
pub fn list(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    walk(folder, "", 0, &mut listing);
    listing.files.sort();
    listing
}

fn walk(folder: &Path, prefix: &str, depth: usize, listing: &mut Listing) {
    let mut refuse = |name: String, reason: String| listing.refused.push((name, reason));
    if depth > MAX_DEPTH {
        refuse(prefix.to_owned(), "folders lie too deep in each other".to_owned());
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            refuse(prefix.to_owned(), error.to_string());
            return;
        }
    };
    for entry in entries {
        let mut refuse = |name: String, reason: String| listing.refused.push((name, reason));
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                refuse(prefix.to_owned(), error.to_string());
                continue;
            }
        };
        let Ok(name) = entry.file_name().into_string() else {
            refuse(format!("{prefix}{}", entry.file_name().display()), "its name is not UTF-8".to_owned());
            continue;
        };
        let path = format!("{prefix}{name}");
        // Neither of these follows a link.
        match (entry.file_type(), entry.metadata()) {
            (Ok(kind), _) if kind.is_symlink() => {
                refuse(path, "it is a symbolic link, which is not followed".to_owned());
            }
            (Ok(kind), _) if kind.is_dir() => {
                walk(&entry.path(), &format!("{path}/"), depth + 1, listing);
            }
            (Ok(kind), Ok(metadata)) if kind.is_file() => {
                if clean(&path).is_ok() {
                    listing.files.push((path, entry.path(), metadata.len()));
                } else {
                    refuse(path, "its name cannot be an artifact's".to_owned());
                }
            }
            (Ok(_), Ok(_)) => refuse(path, "it is neither a file nor a folder".to_owned()),
            (Err(error), _) | (_, Err(error)) => refuse(path, error.to_string()),
        }
    }
}

fn has_entries(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// A URI's scheme and path; a plain path has none. Percent codes are resolved in URIs alone.
fn split(uri: &str) -> (&str, String) {
    let Some((scheme, rest)) = uri.split_once(':') else { return ("", uri.to_owned()) };
    let plain = scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if plain {
        return ("", uri.to_owned());
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |slash| rest.get(slash..).unwrap_or_default()),
        None => rest,
    };
    (scheme, decode(path))
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.as_bytes().get(at) {
        let hex = path.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

fn short(uri: &str) -> String {
    if uri.chars().count() <= 160 {
        return uri.to_owned();
    }
    uri.chars().take(159).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house() -> (tempfile::TempDir, Roots) {
        let house = tempfile::tempdir().unwrap();
        let at = |path: &str| house.path().join(path);
        for folder in ["store/mlruns/1/aa/artifacts/model", "store/mlartifacts/1/bb/artifacts", "secret"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("store/mlruns/1/aa/artifacts/model/MLmodel"), "m").unwrap();
        fs::write(at("store/mlartifacts/1/bb/artifacts/x"), "x").unwrap();
        fs::write(at("secret/passwd"), "root").unwrap();
        let roots =
            Roots::new(&[at("store/mlruns"), at("store/mlartifacts"), at("store/nothing")], &at("store"));
        (house, roots)
    }

    fn folder(place: Place) -> PathBuf {
        match place {
            Place::Folder(folder) => folder,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_uri_that_mlflow_writes_is_found() {
        let (house, roots) = house();
        let real = house.path().canonicalize().unwrap();
        let runs = real.join("store/mlruns/1/aa/artifacts");
        for uri in [
            runs.display().to_string(),
            format!("file://{}", runs.display()),
            format!("file:{}", runs.display()),
            "./mlruns/1/aa/artifacts".to_owned(),
            "mlruns/1/aa/artifacts".to_owned(),
            "file:///somewhere/else/mlruns/1/aa/artifacts".to_owned(),
            "mlflow-artifacts:/1/aa/artifacts".to_owned(),
        ] {
            assert_eq!(folder(roots.find(&uri, None, "1/aa/artifacts")), runs, "{uri}");
        }
        let proxied = roots.find("mlflow-artifacts://host:5000/1/bb/artifacts", None, "1/bb/artifacts");
        assert_eq!(folder(proxied), real.join("store/mlartifacts/1/bb/artifacts"));
    }

    #[test]
    fn nothing_outside_of_the_roots_is_a_place() {
        let (house, roots) = house();
        let secret = house.path().join("secret");
        std::os::unix::fs::symlink(&secret, house.path().join("store/mlruns/1/link")).unwrap();
        for uri in [
            secret.display().to_string(),
            format!("file://{}", secret.display()),
            format!("file://{}/store/mlruns/../../secret", house.path().display()),
            "../secret".to_owned(),
            "file:%2e%2e/secret".to_owned(),
            "mlruns/1/link".to_owned(),
            "mlflow-artifacts:/../../secret".to_owned(),
            "mlflow-artifacts:/1/link".to_owned(),
            "mlflow-artifacts:/%2e%2e/%2e%2e/secret".to_owned(),
            "/etc".to_owned(),
            "s3://bucket/1/cc/artifacts".to_owned(),
            String::new(),
            "/".to_owned(),
        ] {
            let place = roots.find(&uri, Some(&secret), "1/cc/artifacts");
            assert!(!matches!(place, Place::Folder(_)), "{uri}: {place:?}");
        }
        assert!(!matches!(roots.find("s3://b/x", None, "../../secret"), Place::Folder(_)));
    }

    #[test]
    fn links_in_a_folder_are_told_and_not_followed() {
        let (house, _) = house();
        let folder = house.path().join("store/mlruns/1/aa/artifacts");
        std::os::unix::fs::symlink(house.path().join("secret"), folder.join("folder")).unwrap();
        std::os::unix::fs::symlink(house.path().join("secret/passwd"), folder.join("model/file")).unwrap();
        fs::write(folder.join("model/%2e%2e"), "odd").unwrap();
        let listing = list(&folder);
        assert_eq!(
            listing.files.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(),
            ["model/MLmodel"]
        );
        let mut refused: Vec<_> = listing.refused.into_iter().map(|(path, _)| path).collect();
        refused.sort();
        assert_eq!(refused, ["folder", "model/%2e%2e", "model/file"]);
    }

    static HOUSE: std::sync::LazyLock<(tempfile::TempDir, Roots)> = std::sync::LazyLock::new(house);

    proptest::proptest! {
        #[test]
        fn no_uri_leads_out(uri in "(file:|mlflow-artifacts:|)[/.%2eas]{0,24}") {
            let (house, roots) = &*HOUSE;
            if let Place::Folder(found) = roots.find(&uri, None, &uri) {
                proptest::prop_assert!(found.starts_with(house.path().canonicalize().unwrap().join("store")));
            }
        }
    }
}
