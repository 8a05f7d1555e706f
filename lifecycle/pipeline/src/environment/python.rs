//! Python environments, by `uv`: a lock with hashes for one minor version of an interpreter that is on the
//! machine, and a virtual environment made from it.
//!
//! What uv has in its cache is not asked for again: an environment is made without the network where that
//! goes, and only else with it.

use std::fs;
use std::path::Path;

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use super::uv::{Said, Uv};
use crate::Error;
use crate::worktree::scratch;

impl Environments {
    /// Whether an environment is made, or could be with what is on this machine. Asks `uv` only where
    /// there is one already: a lock whose steps are all cached needs no environment at all.
    pub(super) async fn is_usable(&self, lock: &EnvironmentLock) -> bool {
        if self.stamp(lock).exists() || !Uv::is_present(&self.tools, &self.host) {
            return true;
        }
        match self.uv().await {
            Ok(uv) => interpreter(uv, self, &lock.version).await.is_ok_and(|found| found.is_some()),
            Err(_) => true,
        }
    }

    /// Refuses a version of which no interpreter is on this machine.
    pub(super) async fn require_interpreter(&self, name: &str, wanted: &str) -> Result<(), Error> {
        let found = interpreter(self.uv().await?, self, wanted).await?;
        let missing = || Error::PythonMissing { environment: name.to_owned(), wanted: wanted.to_owned() };
        found.map(drop).ok_or_else(missing)
    }

    /// Resolves requirements against the package index.
    pub(super) async fn resolve_python(
        &self,
        wanted: &Wanted,
        python: &str,
        requirements: &str,
        project: Option<&Path>,
    ) -> Result<EnvironmentLock, Error> {
        let uv = self.uv().await?;
        let name = &wanted.name;
        self.started(name, "choosing package versions");
        let missing = || Error::PythonMissing { environment: name.clone(), wanted: python.to_owned() };
        let python = interpreter(uv, self, python).await?.ok_or_else(missing)?;
        let version = minor_version(uv, self, &python).await?.ok_or_else(missing)?;
        let resolved = if requirements.is_empty() {
            String::new()
        } else {
            let scratch = scratch(self.store.root())?;
            let folder = tempfile::tempdir_in(&scratch).map_err(Error::io("write in", &scratch))?;
            let (input, output) = (folder.path().join("requirements.txt"), folder.path().join("lock.txt"));
            fs::write(&input, format!("{requirements}\n")).map_err(Error::io("write", &input))?;
            // A project's own file is read where it lies: it may name others beside it.
            let (from, to) = (project.unwrap_or(&input).to_string_lossy(), output.to_string_lossy());
            let arguments = [
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--python",
                &python,
                "--python-version",
                &version,
                "--output-file",
                &to,
                &from,
            ];
            let said = uv.call(&self.root, &arguments).await?;
            self.check(name, "lock", &said)?;
            fs::read_to_string(&output).map_err(Error::io("read", &output))?
        };
        let lock = EnvironmentLock::new(wanted, &version, &resolved);
        self.ended(name, &format!("locked: {} packages for Python {version}", lock.packages().len()));
        Ok(lock)
    }

    /// The virtual environment, made where it is missing.
    pub(super) async fn make_python(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let folder = self.once(lock, async |folder| self.fill_python(lock, folder).await).await?;
        let (bin, python) = (folder.join("bin"), folder.join("bin/python"));
        // The interpreter itself and its standard library lie elsewhere.
        let real = python.canonicalize().ok();
        let places = real.and_then(|real| Some(real.parent()?.parent()?.to_owned())).into_iter().collect();
        let variables = [("VIRTUAL_ENV".to_owned(), folder.to_string_lossy().into_owned())].into();
        Ok(Provisioned {
            bin: Some(bin),
            python: Some(python),
            variables,
            places,
            ..Provisioned::of(lock, folder)
        })
    }

    async fn fill_python(&self, lock: &EnvironmentLock, folder: &Path) -> Result<(), Error> {
        let uv = self.uv().await?;
        let name = &lock.name;
        let packages = lock.packages().len();
        self.started(name, &format!("making it: {packages} packages, Python {}", lock.version));
        let missing = || Error::PythonMissing { environment: name.clone(), wanted: lock.version.clone() };
        let python = interpreter(uv, self, &lock.version).await?.ok_or_else(missing)?;
        let place = folder.to_string_lossy();
        let said =
            uv.call(&self.root, &["venv", "--quiet", "--no-project", "--python", &python, &place]).await?;
        self.check(name, "provision", &said)?;
        if packages == 0 {
            return Ok(());
        }
        let text = folder.join("rondo.lock.txt");
        fs::write(&text, &lock.text).map_err(Error::io("write", &text))?;
        let (of, from) = (folder.join("bin/python"), text.to_string_lossy());
        let of = of.to_string_lossy();
        let sync = ["pip", "sync", "--quiet", "--require-hashes", "--python", &of, &from];
        let cached = uv.call(&self.root, &[&sync[..], &["--offline"]].concat()).await?;
        if cached.ok {
            return Ok(());
        }
        let said = uv.call(&self.root, &sync).await?;
        if said.ok {
            return Ok(());
        }
        Err(self.failed(name, "provision", why_not(&cached, &said)))
    }

    async fn uv(&self) -> Result<&Uv, Error> {
        self.uv
            .get_or_try_init(|| {
                Uv::locate(&self.tools, &self.host, self.progress.as_ref(), self.cancel.clone())
            })
            .await
    }
}

/// Why packages could not be installed: what the index said, and which file is not in the cache.
fn why_not(cached: &Said, said: &Said) -> String {
    let reason = super::uv::last_lines(&said.text);
    match not_cached(&cached.text) {
        Some(file) if !reason.contains(&file) => format!("`{file}` is not in the cache of uv; {reason}"),
        Some(_) | None => reason,
    }
}

/// The file or package that uv misses in its cache, as it says without the network.
fn not_cached(text: &str) -> Option<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let file = quoted.filter(|word| !word.contains(char::is_whitespace)).find_map(|word| {
        let name = word.rsplit('/').next()?.split('#').next()?;
        (name.ends_with(".whl") || name.ends_with(".tar.gz")).then(|| name.to_owned())
    });
    file.or_else(|| {
        let (before, _) = text.split_once(" was not found in the cache")?;
        before.split_whitespace().last().map(str::to_owned)
    })
}

/// An interpreter on this machine of a wanted version; nothing where there is none.
async fn interpreter(uv: &Uv, environments: &Environments, wanted: &str) -> Result<Option<String>, Error> {
    let said = uv.call(&environments.root, &["python", "find", "--no-project", "--system", wanted]).await?;
    let path = said.answer.lines().map(str::trim).find(|line| line.starts_with('/')).map(str::to_owned);
    Ok(path.filter(|_| said.ok))
}

/// The minor version of an interpreter, such as `3.11`.
async fn minor_version(uv: &Uv, environments: &Environments, python: &str) -> Result<Option<String>, Error> {
    let program = "import sys; print('%d.%d' % sys.version_info[:2])";
    let said = uv.call_program(Path::new(python), &environments.root, &["-c", program]).await?;
    let version = said.answer.lines().map(str::trim).find(|line| is_version(line)).map(str::to_owned);
    Ok(version.filter(|_| said.ok))
}

fn is_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uv_misses_in_its_cache_is_named() {
        let text = "error: Failed to download `six==1.16.0`\n  Caused by: Network connectivity is disabled, but the requested data wasn't found in the cache for: `https://x.example/six-1.16.0-py2.py3-none-any.whl`";
        assert_eq!(not_cached(text).unwrap(), "six-1.16.0-py2.py3-none-any.whl");
        let text = "Because iniconfig was not found in the cache and you require iniconfig==2.0.0";
        assert_eq!(not_cached(text).unwrap(), "iniconfig");
        assert_eq!(not_cached("something else"), None);
    }
}
