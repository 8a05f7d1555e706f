//! Finding the packages that a file uses: built in, in a folder, or at a Git address; each read once, with
//! those that use each other in a circle refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PACKAGE_FILE, Package, read};
use crate::builtins::{Builtins, Checkout, Refusal};
use crate::check::{normal, parts};
use crate::fault::Fault;
use crate::files::{Files, Folder};

/// Loads packages for one check.
pub struct Loader<'a> {
    /// What the caller knows.
    pub(crate) builtins: &'a Builtins,
    /// The packages read so far by their identity; nothing for those with faults.
    loaded: RefCell<BTreeMap<String, Option<Arc<Package>>>>,
    /// The identities of those that are being read just now, outermost first.
    open: RefCell<Vec<String>>,
    /// The faults found in their files.
    faults: RefCell<Vec<Fault>>,
}

/// Where the file stands that uses packages: its folder.
#[derive(Clone)]
pub struct Home<'a> {
    /// The files of the project, or of a package that lies elsewhere.
    pub files: &'a dyn Files,
    /// The folder within them, with a slash at the end; empty for their root.
    pub prefix: String,
    /// The commit that they are, where they are not the project's, and the address that it was found by.
    pub commit: Option<(Checkout, String)>,
}

impl<'a> Home<'a> {
    /// The project's own folder.
    pub fn project(files: &'a dyn Files) -> Self {
        Self { files, prefix: String::new(), commit: None }
    }

    /// The folder that a path from here leads to.
    ///
    /// # Errors
    /// Why it leads nowhere, to be read after the path itself.
    fn at(&self, path: &str) -> Result<Self, String> {
        let joined = format!("{}{path}", self.prefix);
        let prefix = match &self.commit {
            None => normal(&joined)?,
            // The root of a repository is a folder like any other.
            Some(_) => parts(&joined).map_err(|why| why.replace("project", "repository"))?.join("/"),
        };
        Ok(Self { files: self.files, prefix: within(&prefix), commit: self.commit.clone() })
    }

    /// The folder, relative to the project or absolute.
    pub fn folder(&self) -> PathBuf {
        let root = self.commit.as_ref().map(|(commit, _)| commit.root.clone()).unwrap_or_default();
        root.join(self.prefix.trim_end_matches('/'))
    }

    /// What a package here is pinned under.
    pub fn origin(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        match &self.commit {
            None => format!("./{prefix}"),
            Some((commit, address)) if commit.path == prefix => address.clone(),
            Some((_, address)) => {
                let repository = address.split('#').next().unwrap_or(address);
                if prefix.is_empty() { repository.to_owned() } else { format!("{repository}#{prefix}") }
            }
        }
    }

    fn file(&self) -> String {
        self.folder().join(PACKAGE_FILE).to_string_lossy().into_owned()
    }
}

impl Files for Home<'_> {
    fn exists(&self, path: &str) -> bool {
        self.files.exists(&format!("{}{path}", self.prefix))
    }

    fn text(&self, path: &str) -> Option<String> {
        self.files.text(&format!("{}{path}", self.prefix))
    }

    fn siblings(&self, path: &str) -> Vec<String> {
        let near = self.files.siblings(&format!("{}{path}", self.prefix));
        near.into_iter().filter_map(|path| path.strip_prefix(&self.prefix).map(str::to_owned)).collect()
    }
}

/// A folder as what stands before the paths within it.
fn within(folder: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

/// Why there is no package to go on with.
pub(crate) enum Miss {
    /// Its own file has faults, which are told already.
    Faulty,
    /// It is not to be had.
    Refused(Refusal),
}

impl Miss {
    fn of(message: String, hint: Option<String>) -> Self {
        Self::Refused(Refusal { message, hint })
    }
}

/// Whether a text after `uses:` is a path.
pub fn is_path(uses: &str) -> bool {
    uses.starts_with("./") || uses.starts_with("../")
}

/// Whether a text after `uses:` is an address.
pub fn is_address(uses: &str) -> bool {
    uses.contains("://")
}

impl<'a> Loader<'a> {
    /// One that has loaded nothing yet.
    pub fn new(builtins: &'a Builtins) -> Self {
        Self { builtins, loaded: RefCell::default(), open: RefCell::default(), faults: RefCell::default() }
    }

    /// The faults found in packages' files.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    /// The packages that lie in folders, as they were found.
    pub(crate) fn find(&self, home: &Home<'_>, uses: &str) -> Result<Arc<Package>, Miss> {
        if let Some(package) = self.builtins.packages.get(uses) {
            return Ok(package.clone());
        }
        if is_path(uses) {
            return self.in_folder(home, uses);
        }
        let Some(remote) = self.builtins.remote.as_ref().filter(|_| is_address(uses)) else {
            return Err(Miss::of(format!("no package is called `{uses}`"), None));
        };
        let commit = remote.fetch(uses).map_err(Miss::Refused)?;
        let files = Folder::new(&commit.root);
        let prefix = within(&commit.path);
        let inside = Home { files: &files, prefix, commit: Some((commit, uses.to_owned())) };
        if !inside.exists(PACKAGE_FILE) {
            return Err(Miss::of(
                format!("`{uses}` holds no `{PACKAGE_FILE}`"),
                Some("name its folder after a `#`: `…@v1#packages/x`".to_owned()),
            ));
        }
        self.once(&inside)
    }

    fn in_folder(&self, home: &Home<'_>, uses: &str) -> Result<Arc<Package>, Miss> {
        let inside = home.at(uses).map_err(|why| Miss::of(format!("`{uses}` {why}"), None))?;
        if !inside.exists(PACKAGE_FILE) {
            let path = inside.prefix.trim_end_matches('/');
            let siblings = home.files.siblings(path);
            let near = rondo_core::suggest::nearest(path, siblings.iter().map(String::as_str));
            let near = near.map(|near| {
                let (before, _) = uses.trim_end_matches('/').rsplit_once('/').unwrap_or((".", ""));
                format!("did you mean `{before}/{}`?", near.rsplit('/').next().unwrap_or(near))
            });
            let make = || home.commit.is_none().then(|| format!("make one: `rondo package new {uses}`"));
            let file = format!("{}{PACKAGE_FILE}", inside.prefix);
            return Err(Miss::of(
                format!("no package at `{uses}`: there is no file `{file}`"),
                near.or_else(make),
            ));
        }
        self.once(&inside)
    }

    /// Reads a package unless that has been done.
    fn once(&self, home: &Home<'_>) -> Result<Arc<Package>, Miss> {
        let origin = home.origin();
        let identity = origin.as_str();
        if let Some(known) = self.loaded.borrow().get(identity) {
            return known.clone().ok_or(Miss::Faulty);
        }
        let ring = {
            let open = self.open.borrow();
            let from = open.iter().position(|known| known == identity);
            from.map(|from| open.iter().skip(from).cloned().collect::<Vec<_>>())
        };
        if let Some(mut ring) = ring {
            ring.push(identity.to_owned());
            let names: Vec<String> = ring.iter().map(|name| format!("`{name}`")).collect();
            return Err(Miss::of(
                format!("packages use each other in a circle: {}", names.join(" → ")),
                Some("take one of these uses out".to_owned()),
            ));
        }
        self.open.borrow_mut().push(identity.to_owned());
        let file = home.file();
        let (package, faults) = match home.text(PACKAGE_FILE) {
            Some(text) => read::within(&text, &file, home, self),
            None => (None, Vec::new()),
        };
        self.open.borrow_mut().pop();
        let package = package.map(Arc::new);
        self.faults.borrow_mut().extend(faults);
        self.loaded.borrow_mut().insert(identity.to_owned(), package.clone());
        package.ok_or(Miss::Faulty)
    }
}

/// Why a package that was asked for by itself cannot be had.
#[derive(Debug)]
pub enum Unreadable {
    /// Its file, or that of one it uses, has faults.
    Faults(Vec<Fault>),
    /// It is not to be had.
    Refused(Refusal),
}

/// The package that a `uses:` in a folder would mean.
///
/// # Errors
/// All faults of its file, or why there is none.
pub fn alone(root: &Path, uses: &str, builtins: &Builtins) -> Result<Arc<Package>, Unreadable> {
    let files = Folder::new(root);
    let loader = Loader::new(builtins);
    let found = loader.find(&Home::project(&files), uses);
    let mut faults = loader.into_faults();
    crate::fault::sort(&mut faults);
    match found {
        _ if !faults.is_empty() => Err(Unreadable::Faults(faults)),
        Ok(package) => Ok(package),
        Err(Miss::Refused(refusal)) => Err(Unreadable::Refused(refusal)),
        Err(Miss::Faulty) => Err(Unreadable::Faults(faults)),
    }
}
