//! What Git still needs: the digests that any `rondo.lock` of a project's history names.
//!
//! A commit fixes code, data and models together through the lock file that lies in it. So what is cleaned
//! up asks for all of them: of every commit that a branch, a tag, a stash or a reflog reaches, of the index,
//! and of the work tree. `git` is asked three times, however long the history is. Where a project lies in
//! Git and Git cannot answer, nothing may be concluded: that is an error.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rondo_core::{Code, Digest};
use rondo_project::lock::LOCK_FILE;
use rondo_store::Store;
use rondo_store::meta::marks::digests;

use crate::platform::{Error, PROJECT_FILE};

/// The lock files of a work tree, wherever the project lies in it or lay before.
const LOCKS: &str = ":(top,glob)**/rondo.lock";

/// What the lock files name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locked {
    /// The digests in all of them.
    pub named: HashSet<Digest>,
    /// How many different lock files there were.
    pub locks: usize,
    /// Whether older commits exist that are not here.
    pub shallow: bool,
}

/// What the lock files name of the project that a store lies in, and of the one that it is used from, whose
/// `.rondo` may be a link to it; nothing where there is none.
///
/// # Errors
/// When a project lies in Git and Git cannot be asked.
pub async fn locked(store: &Store, root: Option<&Path>) -> Result<Locked, Error> {
    let around = store.root().parent().map(Path::to_owned);
    let from = root.map(Path::to_owned);
    let asked = tokio::task::spawn_blocking(move || of_projects([from, around].into_iter().flatten()));
    asked.await.map_err(|_| failed("it was stopped"))?
}

/// What the lock files of all these folders name. One that is there twice is asked once.
fn of_projects(roots: impl Iterator<Item = PathBuf>) -> Result<Locked, Error> {
    let (mut all, mut seen) = (Locked::default(), HashSet::new());
    for root in roots {
        if !seen.insert(root.canonicalize().unwrap_or_else(|_| root.clone())) {
            continue;
        }
        let locked = of_project(&root)?;
        all.named.extend(locked.named);
        all.locks += locked.locks;
        all.shallow |= locked.shallow;
    }
    Ok(all)
}

/// The same for a project's folder. Waits for Git.
///
/// # Errors
/// As [`locked`].
pub fn of_project(root: &Path) -> Result<Locked, Error> {
    let lock = root.join(LOCK_FILE);
    if !lock.exists() && !root.join(PROJECT_FILE).exists() {
        return Ok(Locked::default());
    }
    let text = match std::fs::read_to_string(&lock) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(Error::io("read", &lock))?,
    };
    let mut locked = Locked { named: digests(&text).collect(), locks: 0, shallow: false };
    let root = root.canonicalize().map_err(Error::io("open", root))?;
    if root.ancestors().any(|folder| folder.join(".git").exists()) {
        let blobs = blobs(&root)?;
        locked.locks = blobs.len();
        locked.shallow = ask(&root, &["rev-parse", "--is-shallow-repository"])?.trim() == "true";
        read_blobs(&root, blobs, &mut locked.named)?;
    }
    Ok(locked)
}

/// The lock files of every commit and of the index, each once.
fn blobs(root: &Path) -> Result<Vec<String>, Error> {
    let mut blobs = HashSet::new();
    // All sides of all merges, so that no branch is passed over because another one says the same.
    let log = [
        "log",
        "--all",
        "--reflog",
        "--full-history",
        "-m",
        "--root",
        "--raw",
        "--no-abbrev",
        "--no-renames",
        "--format=",
        "--",
        LOCKS,
    ];
    // :100644 100644 <before> <after> M	path
    for line in ask(root, &log)?.lines().filter_map(|line| line.strip_prefix(':')) {
        blobs.extend(line.split_ascii_whitespace().skip(2).take(2).map(str::to_owned));
    }
    // 100644 <blob> <stage>	path
    for line in ask(root, &["ls-files", "--stage", "--", LOCKS])?.lines() {
        blobs.extend(line.split_ascii_whitespace().nth(1).map(str::to_owned));
    }
    let mut blobs: Vec<String> = blobs.into_iter().filter(|id| id.bytes().any(|byte| byte != b'0')).collect();
    blobs.sort();
    Ok(blobs)
}

/// Reads blobs and takes up the digests in them.
fn read_blobs(root: &Path, blobs: Vec<String>, named: &mut HashSet<Digest>) -> Result<(), Error> {
    let mut child = git(root, &["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("it gives no answer"));
    };
    let asking = std::thread::spawn(move || {
        // Git has gone where it cannot be written to, and that shows in what it says.
        blobs.iter().try_for_each(|blob| writeln!(stdin, "{blob}")).is_ok()
    });
    let mut answers = BufReader::new(stdout);
    let read = take_up(&mut answers, named);
    drop(answers);
    let asked = asking.join().unwrap_or(false);
    let ended = child.wait().map_err(|error| failed(&error.to_string()))?;
    read?;
    if asked && ended.success() { Ok(()) } else { Err(failed("`git cat-file` ended too early")) }
}

fn take_up(answers: &mut impl BufRead, named: &mut HashSet<Digest>) -> Result<(), Error> {
    let mut line = String::new();
    loop {
        line.clear();
        if answers.read_line(&mut line).map_err(|error| failed(&error.to_string()))? == 0 {
            return Ok(());
        }
        // <blob> blob <size>
        let Some(size) = line.split_ascii_whitespace().nth(2).and_then(|size| size.parse::<u64>().ok())
        else {
            return Err(failed(&format!("a `rondo.lock` of its history is not here: {}", line.trim())));
        };
        let mut bytes = Vec::new();
        let read = answers.take(size.saturating_add(1)).read_to_end(&mut bytes);
        if read.map_err(|error| failed(&error.to_string()))? as u64 != size.saturating_add(1) {
            return Err(failed("`git cat-file` ended too early"));
        }
        named.extend(digests(&String::from_utf8_lossy(&bytes)));
    }
}

fn ask(root: &Path, arguments: &[&str]) -> Result<String, Error> {
    let said =
        git(root, arguments).stdin(Stdio::null()).output().map_err(|error| failed(&error.to_string()))?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&said.stderr);
    Err(failed(why.lines().next().unwrap_or("it says nothing")))
}

pub fn git(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(root)
        // What a user has set for their own eyes changes no answer.
        .args(["-c", "log.diffMerges=separate", "-c", "diff.relative=false"])
        .args(arguments)
        // Nothing is fetched, nothing is locked, nothing is taken for another.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C");
    for variable in [
        "GIT_DIR",
        "GIT_COMMON_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_NAMESPACE",
        "GIT_SHALLOW_FILE",
        "GIT_LITERAL_PATHSPECS",
        "GIT_GLOB_PATHSPECS",
    ] {
        command.env_remove(variable);
    }
    command
}

fn failed(why: &str) -> Error {
    Error::Invalid {
        code: Code::SourceUnavailable,
        message: format!("ask Git which versions its history needs, without which nothing is removed: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Repository(tempfile::TempDir);

    impl Repository {
        fn new() -> Self {
            let made = Self(tempfile::tempdir().unwrap());
            std::fs::write(made.0.path().join(PROJECT_FILE), "project: p\n").unwrap();
            made.git(&["init", "-q", "-b", "main"]);
            made
        }

        fn git(&self, arguments: &[&str]) {
            let mut command = git(self.0.path(), &["-c", "user.name=t", "-c", "user.email=t@localhost"]);
            let done = command.args(arguments).output().unwrap();
            assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        }

        fn lock(&self, what: &str) -> Digest {
            let digest = Digest::of(what.as_bytes());
            std::fs::write(self.0.path().join(LOCK_FILE), format!("digest: {digest}\n")).unwrap();
            digest
        }

        fn commit(&self, what: &str) -> Digest {
            let digest = self.lock(what);
            self.git(&["add", "-A"]);
            self.git(&["commit", "-q", "-m", what]);
            digest
        }
    }

    #[test]
    fn every_commit_that_something_reaches_counts_and_so_do_index_stash_and_work_tree() {
        let repository = Repository::new();
        let mut wanted = vec![repository.commit("first"), repository.commit("second")];
        repository.git(&["checkout", "-q", "-b", "idea"]);
        wanted.push(repository.commit("on a branch"));
        repository.git(&["checkout", "-q", "main"]);
        repository.git(&["merge", "-q", "--no-ff", "-s", "ours", "-m", "merged away", "idea"]);
        repository.git(&["branch", "-q", "-D", "idea"]);
        wanted.push(repository.commit("tagged"));
        repository.git(&["tag", "v1"]);
        repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
        wanted.push(repository.lock("older stash"));
        repository.git(&["stash", "-q"]);
        wanted.push(repository.lock("stashed"));
        repository.git(&["stash", "-q"]);
        repository.git(&["mv", "rondo.lock", "elsewhere.lock"]);
        std::fs::create_dir(repository.0.path().join("moved")).unwrap();
        repository.git(&["mv", "elsewhere.lock", "moved/rondo.lock"]);
        repository.git(&["commit", "-q", "-m", "moved"]);
        wanted.push(repository.lock("staged"));
        repository.git(&["add", "rondo.lock"]);
        wanted.push(repository.lock("in the work tree"));
        repository.git(&["config", "log.diffMerges", "off"]);
        let locked = of_project(repository.0.path()).unwrap();
        for (index, digest) in wanted.iter().enumerate() {
            assert!(locked.named.contains(digest), "number {index}");
        }
        assert!(!locked.shallow && locked.named.len() == wanted.len());
    }

    #[tokio::test]
    async fn a_store_that_a_project_only_links_to_keeps_what_its_history_needs() {
        let (repository, elsewhere) = (Repository::new(), tempfile::tempdir().unwrap());
        let (before, now) = (repository.commit("before"), repository.commit("now"));
        let link = repository.0.path().join(".rondo");
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let store = Store::open(&link).await.unwrap();
        let locked = locked(&store, Some(repository.0.path())).await.unwrap();
        assert_eq!(locked.named, HashSet::from([before, now]));
    }

    #[test]
    fn without_git_the_lock_counts_and_a_broken_repository_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_project(folder.path()).unwrap(), Locked::default());
        let digest = Digest::of(b"x");
        std::fs::write(folder.path().join(LOCK_FILE), format!("digest: {digest}\n")).unwrap();
        assert_eq!(of_project(folder.path()).unwrap().named, HashSet::from([digest]));
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        let error = of_project(folder.path()).unwrap_err();
        assert!(error.to_string().contains("nothing is removed"), "{error}");
    }
}
