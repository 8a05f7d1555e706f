//! The Git commit that a run was made at, as the `git` command tells it. No answer is an answer: a project
//! need not be in Git.

use std::collections::BTreeMap;
use std::path::Path;
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

/// The commit of a folder. Never fails: where `git` is missing or says no, there is no commit.
pub async fn commit(root: &Path, host: &BTreeMap<String, String>) -> Commit {
    let Some(program) = find_program("git", search_path(host)) else { return Commit::default() };
    let mut variables = base_variables(host);
    variables.insert("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned());
    let ask = async |arguments: &[&str]| {
        let command = Command {
            program: program.clone(),
            arguments: arguments.iter().map(Into::into).collect(),
            folder: root.to_owned(),
            variables: variables.clone(),
            mark: None,
        };
        let mut said = Vec::new();
        let (_never, mut cancel) = watch::channel(false);
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let ended = process::run(&command, Some(LIMIT), &mut cancel, &mut take).await.ok()?;
        (ended.code == Some(0)).then(|| String::from_utf8_lossy(&said).into_owned())
    };
    let Some(head) = ask(&["rev-parse", "--verify", "--quiet", "HEAD"]).await else {
        return Commit::default();
    };
    let id = head.lines().map(str::trim).find(|line| line.len() >= 40).map(str::to_owned);
    let status =
        ask(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)rondo.lock"]).await;
    Commit { dirty: id.is_some() && status.is_some_and(|text| !text.trim().is_empty()), id }
}
