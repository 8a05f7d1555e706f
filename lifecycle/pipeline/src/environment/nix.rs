//! Environments that Nix builds: a flake, or an expression for `nix-build`. The lock is the path in Nix's
//! store, which is the digest of all that went into it.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use super::uv::last_lines;
use crate::Error;
use crate::worktree::scratch;

/// What an expression is: its text and, of a flake, its lock's.
pub(super) fn digest(file: &Path) -> Result<Digest, Error> {
    let mut text = fs::read(file).map_err(Error::io("read", file))?;
    if is_flake(file) {
        // A flake without inputs has no lock.
        text.extend(fs::read(file.with_file_name("flake.lock")).unwrap_or_default());
    }
    Ok(Digest::of(&text))
}

fn is_flake(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "flake.nix")
}

impl Environments {
    /// The program that builds a file.
    pub(super) fn nix(&self, name: &str, file: &Path) -> Result<PathBuf, Error> {
        let program = if is_flake(file) { "nix" } else { "nix-build" };
        self.host_program(program).ok_or_else(|| Error::ToolMissing {
            environment: name.to_owned(),
            at: "nix".to_owned(),
            tool: format!("`{program}`"),
            hint: "install Nix: https://nixos.org/download".to_owned(),
        })
    }

    /// Builds an expression; the result is linked to, so that it is not collected.
    async fn nix_build(&self, name: &str, file: &Path, link: &Path) -> Result<PathBuf, Error> {
        let (at, to) = (file.to_string_lossy(), link.to_string_lossy());
        let folder = file.parent().unwrap_or(&self.root);
        let flake = format!("path:{}", folder.display());
        let said = if is_flake(file) {
            let features = ["--extra-experimental-features", "nix-command flakes"];
            let build = ["build", "--out-link", &to, &flake];
            self.host_call(&self.nix(name, file)?, &[&features[..], &build].concat()).await?
        } else {
            self.host_call(&self.nix(name, file)?, &["--out-link", &to, &at]).await?
        };
        if !said.ok {
            return Err(self.failed(name, "lock", last_lines(&said.text)));
        }
        fs::read_link(link).map_err(Error::io("read", link))
    }

    /// The path that the expression is built to.
    pub(super) async fn resolve_nix(&self, wanted: &Wanted, file: &Path) -> Result<EnvironmentLock, Error> {
        let name = &wanted.name;
        self.started(name, "building it with Nix");
        let scratch = scratch(self.store.root())?;
        let folder = tempfile::tempdir_in(&scratch).map_err(Error::io("write in", &scratch))?;
        let built = self.nix_build(name, file, &folder.path().join("result")).await?;
        let lock = EnvironmentLock::new(
            wanted,
            &built.to_string_lossy(),
            &format!("file: {}", file.strip_prefix(&self.root).unwrap_or(file).display()),
        );
        self.ended(name, &format!("locked: {}", built.display()));
        Ok(lock)
    }

    /// The built path, built again where it is gone.
    pub(super) async fn make_nix(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let built = PathBuf::from(&lock.version);
        if !built.exists() {
            // It was collected: what stands in the folder is a link to nothing.
            let _ = fs::remove_file(self.stamp(lock));
        }
        let folder = self
            .once(lock, async |folder| {
                fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
                let file = lock.body().find_map(|line| line.strip_prefix("file: ")).unwrap_or_default();
                let now = self.nix_build(&lock.name, &self.root.join(file), &folder.join("result")).await?;
                if now == built {
                    return Ok(());
                }
                let reason = format!("Nix builds `{}` now, not `{}`", now.display(), built.display());
                Err(self.failed(&lock.name, "provision", reason))
            })
            .await?;
        let bin = Some(built.join("bin"));
        let python = bin.as_ref().map(|bin| bin.join("python3")).filter(|python| python.exists());
        Ok(Provisioned { bin, python, places: vec!["/nix".into()], ..Provisioned::of(lock, folder) })
    }
}
