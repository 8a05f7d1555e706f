//! The Git commit that a run was made at, as the `git` command tells it. No answer is an answer: a project
//! need not be in Git.

use std::collections::BTreeMap;
use std::fs::File;
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
pub(crate) struct Git<'a> {
    program: PathBuf,
    root: &'a Path,
    variables: BTreeMap<String, String>,
    limit: Duration,
}

impl<'a> Git<'a> {
    pub fn find(root: &'a Path, host: &BTreeMap<String, String>) -> Option<Self> {
        let program = find_program("git", search_path(host))?;
        let mut variables = base_variables(host);
        variables.insert("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned());
        Some(Self { program, root, variables, limit: LIMIT })
    }

    /// The same with an index of its own, for what takes its time.
    pub fn with_index(mut self, index: &Path, limit: Duration) -> Self {
        self.variables.insert("GIT_INDEX_FILE".to_owned(), index.to_string_lossy().into_owned());
        Self { limit, ..self }
    }

    /// What it answers. What it warns of is no part of that.
    pub async fn ask(&self, arguments: &[&str]) -> Option<String> {
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
        let unheard = File::options().write(true).open("/dev/null").ok()?;
        let limit = Some(self.limit);
        let ended = process::run_apart(&command, unheard, limit, &mut cancel, &mut take).await.ok()?;
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
    let id = Some(head.trim().to_owned()).filter(|id| !id.is_empty());
    let status =
        git.ask(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)rondo.lock"]).await;
    Commit { dirty: id.is_some() && status.is_some_and(|text| !text.trim().is_empty()), id }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_git_warns_of_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join("git");
        let id = "3f2c9d6b1e0a4c5d8f7b6a5948372615f0e1d2c3";
        let warning = "warning: unable to access '/home/ada/.config/git/config': Permission denied";
        let script = format!(
            "#!/bin/sh\necho \"{warning}\" >&2\n\
             case $1 in rev-parse) echo {id} ;; symbolic-ref) echo main ;; esac\n"
        );
        fs::write(&git, script).unwrap();
        fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let host = BTreeMap::from([("PATH".to_owned(), path)]);
        assert_eq!(commit(folder.path(), &host).await, Commit { id: Some(id.to_owned()), dirty: false });
        assert_eq!(branch(folder.path(), &host).await.as_deref(), Some("main"));
    }
}
