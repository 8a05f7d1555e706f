//! Conda environments, by micromamba, mamba or conda, whichever the machine has. The lock is an explicit
//! list: the address and the MD5 sum of every package, from which the environment is made again without
//! choosing anything.

use std::fs;
use std::path::{Path, PathBuf};

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use super::uv::last_lines;
use crate::Error;
use crate::platform::platform;
use crate::worktree::scratch;

/// The programs, the quickest first.
pub const PROGRAMS: [&str; 3] = ["micromamba", "mamba", "conda"];

/// The text of an `environment.yml` that asks for these packages.
pub(super) fn environment_file(packages: &[String], channels: &[String]) -> String {
    // JSON texts are YAML too.
    let list = |items: &[String]| serde_json::to_string(items).unwrap_or_default();
    let usual = ["conda-forge".to_owned()];
    let channels = if channels.is_empty() { &usual[..] } else { channels };
    format!("channels: {}\ndependencies: {}\n", list(channels), list(packages))
}

impl Environments {
    /// The program that makes such environments.
    pub(super) fn conda(&self, name: &str) -> Result<PathBuf, Error> {
        let set =
            ["MAMBA_EXE", "CONDA_EXE"].iter().filter_map(|name| self.host.get(*name)).map(PathBuf::from);
        let found = PROGRAMS.iter().find_map(|program| self.host_program(program));
        found.or_else(|| set.into_iter().find(|place| place.is_file())).ok_or_else(|| Error::ToolMissing {
            environment: name.to_owned(),
            at: "conda".to_owned(),
            tool: "micromamba, mamba or conda".to_owned(),
            hint:
                "install micromamba: https://mamba.readthedocs.io; or declare `python:` with `requirements:`"
                    .to_owned(),
        })
    }

    /// Lets the program choose, by making the environment once in a place that is thrown away.
    pub(super) async fn resolve_conda(&self, wanted: &Wanted, file: &str) -> Result<EnvironmentLock, Error> {
        let (name, program) = (&wanted.name, self.conda(&wanted.name)?);
        self.started(name, "choosing package versions");
        let scratch = scratch(self.store.root())?;
        let folder = tempfile::tempdir_in(&scratch).map_err(Error::io("write in", &scratch))?;
        let (input, prefix) = (folder.path().join("environment.yml"), folder.path().join("made"));
        fs::write(&input, file).map_err(Error::io("write", &input))?;
        let (from, to) = (input.to_string_lossy(), prefix.to_string_lossy());
        let is_micro = program.file_name().is_some_and(|file| file == "micromamba");
        let create: &[&str] = if is_micro {
            &["create", "--yes", "--quiet", "--prefix", &to, "--file", &from]
        } else {
            &["env", "create", "--quiet", "--prefix", &to, "--file", &from]
        };
        let said = self.host_call(&program, create).await?;
        self.check(name, "lock", &said)?;
        let list: &[&str] = if is_micro {
            &["env", "export", "--explicit", "--prefix", &to]
        } else {
            &["list", "--explicit", "--md5", "--prefix", &to]
        };
        let said = self.host_call(&program, list).await?;
        self.check(name, "lock", &said)?;
        let lines: Vec<&str> =
            said.answer.lines().map(str::trim).filter(|line| line.contains("://")).collect();
        let lock = EnvironmentLock::new(wanted, &platform(), &format!("@EXPLICIT\n{}", lines.join("\n")));
        self.ended(name, &format!("locked: {} packages", lock.packages().len()));
        Ok(lock)
    }

    /// The environment, made where it is missing: first from the program's own cache, then with the network.
    pub(super) async fn make_conda(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let folder = self.once(lock, async |folder| self.fill_conda(lock, folder).await).await?;
        let bin = folder.join("bin");
        let python = Some(bin.join("python")).filter(|python| python.exists());
        let variables = [("CONDA_PREFIX".to_owned(), folder.to_string_lossy().into_owned())].into();
        Ok(Provisioned { bin: Some(bin), python, variables, ..Provisioned::of(lock, folder) })
    }

    async fn fill_conda(&self, lock: &EnvironmentLock, folder: &Path) -> Result<(), Error> {
        let (name, program) = (&lock.name, self.conda(&lock.name)?);
        self.started(name, &format!("making it: {} packages", lock.packages().len()));
        let scratch = scratch(self.store.root())?;
        let work = tempfile::tempdir_in(&scratch).map_err(Error::io("write in", &scratch))?;
        let list = work.path().join("explicit.txt");
        fs::write(&list, &lock.text).map_err(Error::io("write", &list))?;
        let (from, to) = (list.to_string_lossy(), folder.to_string_lossy());
        let create = ["create", "--yes", "--quiet", "--prefix", &to, "--file", &from];
        let cached = self.host_call(&program, &[&create[..], &["--offline"]].concat()).await?;
        if cached.ok {
            return Ok(());
        }
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
        }
        let said = self.host_call(&program, &create).await?;
        if said.ok {
            return Ok(());
        }
        let reason = format!("{}; from the cache: {}", last_lines(&said.text), last_lines(&cached.text));
        Err(self.failed(name, "provision", reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_packages_becomes_an_environment_file() {
        let text = environment_file(&["python=3.11".into(), "a \"b\"".into()], &[]);
        assert_eq!(text, "channels: [\"conda-forge\"]\ndependencies: [\"python=3.11\",\"a \\\"b\\\"\"]\n");
        assert!(environment_file(&[], &["c".into()]).starts_with("channels: [\"c\"]\n"));
    }
}
