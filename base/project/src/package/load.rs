//! Finding the packages that a file uses: built in, in a folder, or at a Git address; each read once, with
//! those that use each other in a circle refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PACKAGE_FILE, Package, read};
use crate::builtins::{Builtins, Refusal};
use crate::check::normal;
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
    /// Where they lie, where that is not the project, and the address that they come from.
    pub root: Option<(PathBuf, String)>,
}

impl<'a> Home<'a> {
    /// The project's own folder.
    pub fn project(files: &'a dyn Files) -> Self {
        Self { files, prefix: String::new(), root: None }
    }

    fn below(&self, path: &str) -> Self {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        Self { files: self.files, prefix, root: self.root.clone() }
    }

    /// The folder, relative to the project or absolute.
    pub fn folder(&self) -> PathBuf {
        let root = self.root.as_ref().map_or(Path::new(""), |(root, _)| root);
        root.join(self.prefix.trim_end_matches('/'))
    }

    /// What a package here is pinned under.
    pub fn origin(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        match &self.root {
            None => format!("./{prefix}"),
            Some((_, address)) if prefix.is_empty() => address.clone(),
            Some((_, address)) => format!("{address}/{prefix}"),
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
        let place = remote.folder(uses).map_err(Miss::Refused)?;
        let files = Folder::new(&place);
        let inside =
            Home { files: &files, prefix: String::new(), root: Some((place.clone(), uses.to_owned())) };
        if !inside.exists(PACKAGE_FILE) {
            return Err(Miss::of(
                format!("`{uses}` holds no `{PACKAGE_FILE}`"),
                Some("name its folder after a `#`: `…@v1#packages/x`".to_owned()),
            ));
        }
        self.once(&inside)
    }

    fn in_folder(&self, home: &Home<'_>, uses: &str) -> Result<Arc<Package>, Miss> {
        let joined = format!("{}{uses}", home.prefix);
        let path = normal(&joined).map_err(|why| Miss::of(format!("`{uses}` {why}"), None))?;
        let inside = home.below(&path);
        if !inside.exists(PACKAGE_FILE) {
            let siblings = home.files.siblings(path.trim_end_matches('/'));
            let near =
                rondo_core::suggest::nearest(path.trim_end_matches('/'), siblings.iter().map(String::as_str));
            let hint = near.map_or_else(
                || format!("make one: `rondo package new {uses}`"),
                |near| format!("did you mean `./{}`?", near.strip_prefix(&home.prefix).unwrap_or(near)),
            );
            let file = format!("{}/{PACKAGE_FILE}", path.trim_end_matches('/'));
            return Err(Miss::of(format!("no package at `{uses}`: there is no file `{file}`"), Some(hint)));
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
