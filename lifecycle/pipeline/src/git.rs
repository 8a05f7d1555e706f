//! The Git commit that a run was made at, as the `git` command tells it. No answer is an answer: a project
//! need not be in Git.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::environment::host::{base_variables, find_program, search_path};
use crate::execute::process::{self, Command};

const LIMIT: Duration = Duration::from_secs(20);

/// A commit and whether the work tree differs from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The commit; nothing where there is none.
    pub id: Option<String>,
    /// Whether a file that Git knows has changed; `rondo.lock`, which a run may write itself, does not
    /// count.
    pub dirty: bool,
}

/// Asks `git` in a folder; nothing where it is missing or says no.
struct Git<'a> {
    program: PathBuf,
    root: &'a Path,
    variables: BTreeMap<String, String>,
}

impl<'a> Git<'a> {
    fn find(root: &'a Path, host: &BTreeMap<String, String>) -> Option<Self> {
        let program = find_program("git", search_path(host))?;
        let mut variables = base_variables(host);
        variables.insert("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned());
        Some(Self { program, root, variables })
    }

    async fn ask(&self, arguments: &[&str]) -> Option<String> {
        let command = Command {
            program: self.program.clone(),
            arguments: arguments.iter().map(Into::into).collect(),
            folder: self.root.to_owned(),
            variables: self.variables.clone(),
            mark: None,
        };
        let mut said = Vec::new();
        let (_never, mut cancel) = watch::channel(false);
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let ended = process::run(&command, Some(LIMIT), &mut cancel, &mut take).await.ok()?;
        (ended.code == Some(0)).then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

/// The branch that is checked out in a folder; nothing where there is none.
pub async fn branch(root: &Path, host: &BTreeMap<String, String>) -> Option<String> {
    let said = Git::find(root, host)?.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await?;
    Some(said.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The commit of a folder. Never fails: where `git` is missing or says no, there is no commit.
pub async fn commit(root: &Path, host: &BTreeMap<String, String>) -> Commit {
    let Some(git) = Git::find(root, host) else { return Commit::default() };
    let Some(head) = git.ask(&["rev-parse", "--verify", "--quiet", "HEAD"]).await else {
        return Commit::default();
    };
    let id = head.lines().map(str::trim).find(|line| line.len() >= 40).map(str::to_owned);
    let status =
        git.ask(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)rondo.lock"]).await;
    Commit { dirty: id.is_some() && status.is_some_and(|text| !text.trim().is_empty()), id }
}
