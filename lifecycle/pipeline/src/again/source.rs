//! A project's files as they were when a run was made.
//!
//! They come from three places, each file from the first that has it as it was recorded: the commit, the
//! store (where every run puts its project file and declared code), and the work tree of today. Nothing is
//! written to the work tree. What no place has is named; files that no step declares as code come as they
//! are in the commit, or as they are today.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::{Digest, RunId};
use rondo_project::lock::{LOCK_FILE, Lock};
use rondo_store::objects::Take;
use rondo_store::{Objects, Store};

use crate::code::{NOT_CODE, inside};
use crate::git::Git;
use crate::run::recover::WorkFolder;
use crate::{Error, lock};

/// The name of the project file, as it stands among a pipeline run's code.
pub const PROJECT_FILE: &str = "rondo.yaml";

/// How long Git may take to lay out a commit.
const LIMIT: Duration = Duration::from_secs(600);

/// Files of the work tree that are greater than this are linked and not copied.
const COPIED: u64 = 64 << 20;

/// Puts a step's code into the store.
///
/// # Errors
/// When a file cannot be read or the disk refuses.
pub(crate) fn keep(objects: &Objects, root: &Path, code: &BTreeMap<String, Digest>) -> Result<(), Error> {
    for path in code.keys() {
        // The files of a package lie elsewhere, under their own path.
        if let Some(place) = inside(root, path).filter(|place| place.is_file()) {
            objects.put_path(&place, Take::Keep)?;
        }
    }
    Ok(())
}

/// What is wanted back.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The commit, where there was one.
    pub commit: Option<String>,
    /// The files whose content is known, by path relative to the project.
    pub files: BTreeMap<String, Digest>,
    /// The locks of the environments.
    pub environments: BTreeMap<String, Digest>,
}

/// A project's folder as it was. It lives as long as this does, or as this process.
pub struct Source {
    bench: WorkFolder,
    /// Files whose recorded content is nowhere to be had, by path.
    pub missing: Vec<String>,
    /// Whether what no step declares comes from the commit; else it is as it is today.
    pub from_commit: bool,
}

impl Source {
    /// Lays it out.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn lay_out(
        store: &Store,
        root: &Path,
        host: &BTreeMap<String, String>,
        wanted: &Wanted,
    ) -> Result<Self, Error> {
        let bench = WorkFolder::make(store, RunId::random())?;
        let folder = bench.path().join("project");
        fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        let from_commit = match &wanted.commit {
            Some(commit) => check_out(root, &bench.path().join("index"), &folder, commit, host).await,
            None => false,
        };
        if !from_commit {
            // What Git may have written before it gave up is not to be mixed in.
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
            copy(root, &folder)?;
        }
        let missing = restore(store.objects(), root, &folder, &wanted.files)?;
        pin(root, &folder, &wanted.environments)?;
        Ok(Self { bench, missing, from_commit })
    }

    /// Where the project is.
    pub fn folder(&self) -> PathBuf {
        self.bench.path().join("project")
    }

    /// The same files at another path: longer, with a blank and a letter beyond ASCII.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn elsewhere(&self) -> Result<PathBuf, Error> {
        let folder = self.bench.path().join("another, längere folder").join("quite elsewhere");
        if !folder.exists() {
            copy(&self.folder(), &folder)?;
        }
        Ok(folder)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.bench.remove();
    }
}

/// Lays out a commit's files of the project's folder by way of an index of its own; whether it could.
async fn check_out(
    root: &Path,
    index: &Path,
    folder: &Path,
    commit: &str,
    host: &BTreeMap<String, String>,
) -> bool {
    let Some(git) = Git::find(root, host).map(|git| git.with_index(index, LIMIT)) else { return false };
    // Empty where the project is the repository's own folder, else `its/folder/`.
    let Some(prefix) = git.ask(&["rev-parse", "--show-prefix"]).await else { return false };
    let tree = format!("{commit}:{}", prefix.trim_end_matches(['\n', '/']));
    if git.ask(&["read-tree", &tree]).await.is_none() {
        return false;
    }
    let Some(top) = git.ask(&["rev-parse", "--show-toplevel"]).await else { return false };
    // `checkout-index` takes the index's paths as the repository's own: it is asked from its top.
    let to = format!("--prefix={}/", folder.display());
    git.ask(&["-C", top.trim_end_matches('\n'), "checkout-index", "--all", "--force", "--quiet", &to])
        .await
        .is_some()
}

/// Copies a project's files, but not what running makes.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("make", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let name = entry.file_name();
        if NOT_CODE.contains(&name.to_string_lossy().as_ref()) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        let known = entry.metadata().map_err(Error::io("read", &source))?;
        if known.is_dir() {
            copy(&source, &target)?;
        } else if known.is_symlink() {
            let leads = fs::read_link(&source).map_err(Error::io("read", &source))?;
            std::os::unix::fs::symlink(leads, &target).map_err(Error::io("make", &target))?;
        } else if known.len() > COPIED {
            std::os::unix::fs::symlink(&source, &target).map_err(Error::io("make", &target))?;
        } else if known.is_file() {
            fs::copy(&source, &target).map_err(Error::io("copy", &source))?;
        }
    }
    Ok(())
}

/// Makes files what they were; those that are nowhere to be had.
fn restore(
    objects: &Objects,
    root: &Path,
    folder: &Path,
    files: &BTreeMap<String, Digest>,
) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for (path, wanted) in files {
        let Some(place) = inside(folder, path) else { continue };
        let is = |place: &Path| {
            place.is_file() && Objects::digest_path(place).is_ok_and(|found| found.digest == *wanted)
        };
        if is(&place) {
            continue;
        }
        let today = inside(root, path).filter(|today| is(today));
        match objects.sound(*wanted).ok().or(today) {
            Some(found) => {
                own_folders(folder, path)?;
                put(&found, &place)?;
            }
            // What a package's own files were is known when its folder is.
            None if path.starts_with("package/") => {}
            None => missing.push(path.clone()),
        }
    }
    Ok(missing)
}

/// Makes the folders that a file of the copy lies in, each the copy's own. Where a link leads elsewhere, a
/// folder takes its place that holds links to what is there: what is written is written to the copy alone.
fn own_folders(folder: &Path, path: &str) -> Result<(), Error> {
    let mut place = folder.to_owned();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        place.push(part);
        if fs::symlink_metadata(&place).is_ok_and(|known| known.is_symlink()) {
            // A link that leads nowhere leads to nothing.
            let leads = fs::canonicalize(&place).ok();
            let held = leads.and_then(|leads| fs::read_dir(leads).ok()).into_iter().flatten().flatten();
            let held: Vec<fs::DirEntry> = held.collect();
            fs::remove_file(&place).map_err(Error::io("replace", &place))?;
            fs::create_dir(&place).map_err(Error::io("make", &place))?;
            for entry in held {
                let target = place.join(entry.file_name());
                std::os::unix::fs::symlink(entry.path(), &target).map_err(Error::io("make", &target))?;
            }
        }
    }
    fs::create_dir_all(place.as_path()).map_err(Error::io("make", &place))
}

/// Takes a link away, so that what is written takes its place and not that of what it leads to.
fn unlink(place: &Path) -> Result<(), Error> {
    if fs::symlink_metadata(place).is_ok_and(|known| known.is_symlink()) {
        fs::remove_file(place).map_err(Error::io("replace", place))?;
    }
    Ok(())
}

fn put(found: &Path, place: &Path) -> Result<(), Error> {
    let bytes = fs::read(found).map_err(Error::io("read", found))?;
    // Of code in the store it is not known whether it may be executed; what names its interpreter may be.
    let may = bytes.starts_with(b"#!")
        || fs::metadata(place).is_ok_and(|known| known.permissions().mode() & 0o111 != 0);
    unlink(place)?;
    // What is left of another file is written over, unless that may not be written.
    let _ = fs::remove_file(place);
    fs::write(place, &bytes).map_err(Error::io("write", place))?;
    let mode = fs::Permissions::from_mode(if may { 0o755 } else { 0o644 });
    fs::set_permissions(place, mode).map_err(Error::io("write", place))
}

/// Writes a lock that pins the environments as they were, and packages as the commit has them.
fn pin(root: &Path, folder: &Path, environments: &BTreeMap<String, Digest>) -> Result<(), Error> {
    let was = lock::read(folder).unwrap_or_default();
    let packages =
        if was.packages.is_empty() { lock::read(root).unwrap_or_default().packages } else { was.packages };
    let lock = Lock { environments: environments.clone(), packages, ..Lock::default() };
    let place = folder.join(LOCK_FILE);
    unlink(&place)?;
    fs::write(&place, lock.text()).map_err(Error::io("write", &place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_from_the_store_where_the_work_tree_has_changed_and_what_is_gone_is_named() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join(".rondo")).await.unwrap();
        fs::write(root.path().join("rondo.yaml"), "project: p\n").unwrap();
        fs::write(root.path().join("kept.sh"), "#!/bin/sh\necho now\n").unwrap();
        fs::write(root.path().join("beside.txt"), "as it is").unwrap();
        let then = store.objects().put_bytes(b"#!/bin/sh\necho then\n").unwrap().digest;
        let files = [
            ("kept.sh".to_owned(), then),
            ("gone.py".to_owned(), Digest::of(b"never stored")),
            ("rondo.yaml".to_owned(), Digest::of(b"project: p\n")),
        ];
        let wanted = Wanted { files: files.into(), ..Wanted::default() };
        let source = Source::lay_out(&store, root.path(), &BTreeMap::new(), &wanted).await.unwrap();
        let folder = source.folder();
        assert_eq!(fs::read_to_string(folder.join("kept.sh")).unwrap(), "#!/bin/sh\necho then\n");
        assert!(fs::metadata(folder.join("kept.sh")).unwrap().permissions().mode() & 0o100 != 0);
        assert_eq!(fs::read_to_string(folder.join("beside.txt")).unwrap(), "as it is");
        assert_eq!((source.missing.as_slice(), source.from_commit), (&["gone.py".to_owned()][..], false));
        assert!(!folder.join(".rondo").exists());
        let elsewhere = source.elsewhere().unwrap();
        assert!(elsewhere.join("kept.sh").exists() && elsewhere != folder);
        drop(source);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn nothing_is_written_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let real = tempfile::tempdir().unwrap();
        let project = root.path().join("project");
        fs::create_dir_all(&project).unwrap();
        let store = Store::open(&project.join(".rondo")).await.unwrap();
        fs::create_dir_all(real.path().join("deep")).unwrap();
        for path in ["a.py", "beside.py", "deep/b.py", "leaf.py"] {
            fs::write(real.path().join(path), "now").unwrap();
        }
        fs::write(real.path().join("lock"), "version: 1\n").unwrap();
        let link = |from: &Path, name: &str| std::os::unix::fs::symlink(from, project.join(name)).unwrap();
        link(real.path(), "lib");
        link(&real.path().join("leaf.py"), "leaf.py");
        link(&real.path().join("lock"), LOCK_FILE);
        link(Path::new("nowhere"), "lost");
        let then = store.objects().put_bytes(b"then").unwrap().digest;
        let paths = ["lib/a.py", "lib/deep/b.py", "leaf.py", "lost/c.py"];
        let files = paths.map(|path| (path.to_owned(), then));
        let wanted = Wanted { files: files.into(), ..Wanted::default() };
        let source = Source::lay_out(&store, &project, &BTreeMap::new(), &wanted).await.unwrap();
        for path in paths {
            assert_eq!(fs::read_to_string(source.folder().join(path)).unwrap(), "then", "{path}");
        }
        assert_eq!(fs::read_to_string(source.folder().join("lib/beside.py")).unwrap(), "now");
        assert!(!source.folder().join(LOCK_FILE).is_symlink());
        for path in ["a.py", "beside.py", "deep/b.py", "leaf.py"] {
            assert_eq!(fs::read_to_string(real.path().join(path)).unwrap(), "now", "{path}");
        }
        assert_eq!(fs::read_to_string(real.path().join("lock")).unwrap(), "version: 1\n");
    }
}
