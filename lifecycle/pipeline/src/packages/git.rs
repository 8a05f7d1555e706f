//! Packages at a Git address: `https://host/team/steps.git@v1.2#packages/clean`.
//!
//! The `git` command fetches them, so that whoever can clone a repository can use it, with the same keys.
//! What a revision stands for is pinned in `rondo.lock`; a commit is fetched once and kept in a folder of
//! its own, so that a pinned package needs no network. No hook runs, no submodule is fetched, no terminal
//! is asked for a password.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rondo_core::Digest;
use rondo_project::builtins::{Checkout, Refusal, Remote};

use crate::environment::host::{find_program, search_path};
use crate::lock;

/// The ways to a repository that are taken.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "file"];

/// Gets packages by their Git address.
#[derive(Debug, Clone)]
pub struct GitPackages {
    /// Where fetched commits are kept; may be shared by projects.
    pub cache: PathBuf,
    /// The project's folder, whose `rondo.lock` pins what revisions stand for.
    pub project: PathBuf,
    /// The environment variables that Rondo was started with.
    pub host: BTreeMap<String, String>,
}

/// An address in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The repository.
    pub url: String,
    /// A tag, branch or whole commit.
    pub revision: String,
    /// The package's folder in the repository; empty for its root.
    pub path: String,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// What is the matter with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |message: String, hint: &str| Refusal { message, hint: Some(hint.to_owned()) };
        let plain = text.strip_prefix("git+").unwrap_or(text);
        let (repository, path) = plain.split_once('#').unwrap_or((plain, ""));
        let (scheme, rest) = repository.split_once("://").unwrap_or(("", repository));
        if !SCHEMES.contains(&scheme) {
            return Err(refuse(
                format!("`{text}` is no address of a Git repository"),
                "begin with `https://`, `ssh://` or `file://`",
            ));
        }
        let host = rest.find('/').unwrap_or(rest.len());
        let (before, after) = rest.split_at(host);
        let hint = "name a tag, a branch or a commit: `…/steps.git@v1.0`";
        let Some((place, revision)) = after.rsplit_once('@') else {
            return Err(refuse(format!("`{text}` names no revision"), hint));
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
        if revision.is_empty()
            || revision.starts_with('-')
            || revision.contains("..")
            || revision.contains(odd)
        {
            return Err(refuse(format!("`{revision}` cannot be a revision"), hint));
        }
        let inside = path.split('/').all(|part| !matches!(part, ".." | ".git"));
        if !inside || path.starts_with('/') || path.contains(['\\', '\0']) {
            return Err(refuse(
                format!("`{path}` is no folder of the repository"),
                "write what follows `#` relative to the repository's root",
            ));
        }
        Ok(Self {
            url: format!("{scheme}://{before}{place}"),
            revision: revision.to_owned(),
            path: path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/"),
        })
    }
}

/// The commit that a fetched package's folder belongs to.
pub fn commit_of(folder: &Path) -> Option<String> {
    let mut names = folder.components().map(|part| part.as_os_str().to_string_lossy());
    names.rfind(|name| folder.is_absolute() && is_commit(name)).map(String::from)
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

impl Remote for GitPackages {
    fn fetch(&self, address: &str) -> Result<Checkout, Refusal> {
        let parsed = Address::parse(address)?;
        let home = self.cache.join("packages").join(Digest::of(parsed.url.as_bytes()).short());
        let locked =
            lock::read(&self.project).map_err(|error| Refusal { message: error.to_string(), hint: None })?;
        let pinned = locked.packages.get(address).and_then(|package| package.commit.clone());
        let commit = match pinned.filter(|commit| is_commit(commit)) {
            Some(commit) => commit,
            None if is_commit(&parsed.revision) => parsed.revision.clone(),
            None => self.resolve(&parsed, &home)?,
        };
        let place = home.join(&commit);
        if !place.is_dir() {
            self.fetch_commit(&parsed, &commit, &home)?;
        }
        if !place.join(&parsed.path).is_dir() {
            let message =
                format!("`{}` has no folder `{}` at `{}`", parsed.url, parsed.path, parsed.revision);
            return Err(Refusal { message, hint: None });
        }
        Ok(Checkout { root: place, path: parsed.path })
    }
}

impl GitPackages {
    /// The commit that a tag or branch stands for now; where the repository cannot be reached, the one that
    /// it stood for when it last could.
    fn resolve(&self, address: &Address, home: &Path) -> Result<String, Refusal> {
        let remembered = home.join(format!("{}.revision", Digest::of(address.revision.as_bytes()).short()));
        let asked = self.git(None, &["ls-remote", "--", &address.url]);
        let listing = match asked {
            Ok(listing) => listing,
            Err(refusal) => {
                let known = fs::read_to_string(&remembered).ok().filter(|known| is_commit(known));
                return known.ok_or(refusal);
            }
        };
        let revision = &address.revision;
        let wanted = [
            format!("refs/tags/{revision}^{{}}"),
            format!("refs/tags/{revision}"),
            format!("refs/heads/{revision}"),
            revision.clone(),
        ];
        let lines: Vec<(&str, &str)> = listing.lines().filter_map(|line| line.split_once('\t')).collect();
        let found = wanted.iter().find_map(|name| lines.iter().find(|(_, known)| known == name));
        let Some((commit, _)) = found.filter(|(commit, _)| is_commit(commit)) else {
            let names = lines.iter().filter_map(|(_, name)| {
                name.strip_prefix("refs/tags/").or_else(|| name.strip_prefix("refs/heads/"))
            });
            let near = rondo_core::suggest::nearest(revision, names.filter(|name| !name.ends_with("^{}")));
            return Err(Refusal {
                message: format!("`{}` has no tag or branch `{revision}`", address.url),
                hint: Some(near.map_or_else(
                    || "a commit is named in full, with all its 40 digits".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                )),
            });
        };
        // Only a help for when there is no network.
        let _ = fs::create_dir_all(home).and_then(|()| fs::write(&remembered, commit));
        Ok((*commit).to_owned())
    }

    /// Fetches a commit into the cache. It appears there whole or not at all.
    fn fetch_commit(&self, address: &Address, commit: &str, home: &Path) -> Result<(), Refusal> {
        let disk = |error: std::io::Error| Refusal {
            message: format!("keep `{}` in `{}`: {error}", address.url, home.display()),
            hint: None,
        };
        fs::create_dir_all(home).map_err(disk)?;
        let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(home).map_err(disk)?;
        let inside = Some(work.path());
        self.git(inside, &["init", "--quiet"])?;
        let fetch = |what: &[&str]| {
            let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
            arguments.extend(what);
            self.git(inside, &arguments)
        };
        // A server may refuse to give a commit by its id; then by its name, then everything.
        let shallow = ["--depth=1", "--", address.url.as_str(), commit];
        let named = ["--depth=1", "--", address.url.as_str(), address.revision.as_str()];
        let all = ["--", address.url.as_str(), "+refs/*:refs/fetched/*"];
        let has = || self.git(inside, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok();
        let mut last = fetch(&shallow);
        for other in [named.as_slice(), all.as_slice()] {
            if last.is_ok() && has() {
                break;
            }
            last = fetch(other);
        }
        last?;
        if !has() {
            let message = format!("`{}` has no commit `{commit}`", address.url);
            return Err(Refusal { message, hint: None });
        }
        self.git(inside, &["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit])?;
        fs::remove_dir_all(work.path().join(".git")).map_err(disk)?;
        let place = home.join(commit);
        match fs::rename(work.path(), &place) {
            Ok(()) => Ok(()),
            // Somebody else was faster.
            Err(_) if place.is_dir() => Ok(()),
            Err(error) => Err(disk(error)),
        }
    }

    fn git(&self, folder: Option<&Path>, arguments: &[&str]) -> Result<String, Refusal> {
        let Some(program) = find_program("git", search_path(&self.host)) else {
            return Err(Refusal {
                message: "the command `git`, which fetches packages, is not there".to_owned(),
                hint: Some("install `git`, or copy the package into the project".to_owned()),
            });
        };
        let mut command = Command::new(program);
        command
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.symlinks=false",
                "-c",
                "protocol.ext.allow=never",
            ])
            .args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", SCHEMES.join(":"))
            // The repository that Rondo itself was started in, by a hook say, is none of this one's business.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null());
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let said = command
            .output()
            .map_err(|error| Refusal { message: format!("`git` cannot be started: {error}"), hint: None })?;
        if said.status.success() {
            return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        let line = text.lines().rev().find(|line| line.starts_with("fatal:")).or(text.lines().next());
        let line = line.unwrap_or("it gave no reason").trim_start_matches("fatal: ");
        Err(Refusal { message: format!("`git {}`: {line}", arguments.first().unwrap_or(&"")), hint: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_repository_a_revision_and_perhaps_a_folder() {
        let parse = |text: &str| Address::parse(text).map(|a| (a.url, a.revision, a.path));
        let three = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(parse("https://h/t/s.git@v1"), three("https://h/t/s.git", "v1", ""));
        assert_eq!(
            parse("git+ssh://git@h/s.git@feature/x#a/b/"),
            three("ssh://git@h/s.git", "feature/x", "a/b")
        );
        for bad in [
            "https://h/s.git",
            "ext://sh -c x@v1",
            "https://h/s@-x",
            "https://h/s@a b",
            "https://h/s@v1#../x",
            "https://h/s@v1#/etc",
            "https://h/s@",
            "ssh://git@h/s.git",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            commit_of(Path::new("/c/packages/ab/0123456789012345678901234567890123456789/x")).as_deref(),
            Some("0123456789012345678901234567890123456789")
        );
        assert_eq!(commit_of(Path::new("packages/x")), None);
    }
}
