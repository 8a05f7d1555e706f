//! Settings: what the environment says, read once, in one place.
//!
//! Below this crate nothing reads an environment variable: what a stage needs of it is given to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::{Uid, User};

/// What a process was started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// Who is at the keyboard, once that was asked.
    user: OnceLock<String>,
    /// Where the command works, if not in the current folder.
    here: Option<PathBuf>,
    /// Where downloads and tools are shared between projects.
    pub cache: PathBuf,
}

impl Config {
    /// Reads the process's environment; `here` is the folder that the command is told to work in.
    pub fn read(here: Option<PathBuf>) -> Self {
        let readable =
            |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
        Self::of(std::env::vars_os().filter_map(readable).collect(), here)
    }

    /// What these variables say.
    pub fn of(environment: BTreeMap<String, String>, here: Option<PathBuf>) -> Self {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let cache = set("RONDO_CACHE_DIR").map(PathBuf::from).or_else(|| {
            set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
                .map(|folder| folder.join("rondo"))
        });
        Self {
            user: OnceLock::new(),
            here,
            cache: cache.unwrap_or_else(|| PathBuf::from(".rondo/cache")),
            environment,
        }
    }

    /// Who is at the keyboard, the journal's actor: as the environment says (`RONDO_USER`, `USER`,
    /// `LOGNAME`), else Git's `user.name` in the folder that the command works in, else the name of the
    /// account.
    pub fn user(&self) -> &str {
        self.user.get_or_init(|| {
            let here = self.here.as_deref().unwrap_or_else(|| Path::new("."));
            let git = || said(&mut crate::history::git(here, &["config", "user.name"]));
            self.named().or_else(git).unwrap_or_else(account)
        })
    }

    /// Whose runs are those of this process: as the environment says, else the name of the account, as the
    /// `mlflow` client names it. No program is asked, for runs are many.
    pub fn account(&self) -> String {
        self.named().unwrap_or_else(account)
    }

    fn named(&self) -> Option<String> {
        let set = |name: &&str| self.environment.get(*name).filter(|value| !value.trim().is_empty());
        ["RONDO_USER", "USER", "LOGNAME"].iter().find_map(set).cloned()
    }

    /// The folders in which Jupyter keeps the kernels of other languages, the user's before the system's.
    pub fn kernel_folders(&self) -> Vec<PathBuf> {
        let set = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        let mut folders: Vec<PathBuf> =
            set("JUPYTER_PATH").map(std::env::split_paths).into_iter().flatten().collect();
        let own = set("JUPYTER_DATA_DIR").map(PathBuf::from).or_else(|| {
            set("XDG_DATA_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(home).join(".local/share")))
                .map(|folder| folder.join("jupyter"))
        });
        folders.extend(own);
        folders.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
        folders
    }
}

/// The name of the account that this process runs under.
fn account() -> String {
    let known = User::from_uid(Uid::current()).ok().flatten();
    known.map_or_else(|| "unknown".to_owned(), |user| user.name)
}

/// What a program says in a line; nothing where it fails or says nothing.
fn said(command: &mut Command) -> Option<String> {
    let said = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8_lossy(&said.stdout).lines().next()?.trim().to_owned();
    (said.status.success() && !line.is_empty()).then_some(line)
}

/// The project file of a folder or of one above it, wherever a relative path stands.
pub fn find_project(from: &Path) -> Option<PathBuf> {
    let from = from.canonicalize().ok()?;
    from.ancestors().map(|folder| folder.join("rondo.yaml")).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_below_and_not_from_above() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("project/code")).unwrap();
        let file = top.join("project/rondo.yaml");
        std::fs::write(&file, "project: p\n").unwrap();
        assert_eq!(find_project(&top.join("project/code")), Some(file.clone()));
        assert_eq!(find_project(&top.join("project/code/..")), Some(file));
        assert_eq!(find_project(&top.join("project/..")), None);
        assert_eq!(find_project(&top.join("nowhere")), None);
    }
}
