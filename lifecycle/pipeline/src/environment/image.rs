//! Container images as environments: podman or docker has them, and the lock is the image's digest.

use std::path::{Path, PathBuf};

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use super::uv::last_lines;
use crate::Error;

/// The engines, the one that needs no daemon first.
pub const ENGINES: [&str; 2] = ["podman", "docker"];

impl Environments {
    /// The program that has images.
    pub(super) fn engine(&self, name: &str) -> Result<PathBuf, Error> {
        let found = ENGINES.iter().find_map(|engine| self.host_program(engine));
        found.ok_or_else(|| Error::ToolMissing {
            environment: name.to_owned(),
            at: "image".to_owned(),
            tool: "podman or docker".to_owned(),
            hint:
                "install podman: `apt-get install podman`; or declare a root file system: `rootfs: box.tar`"
                    .to_owned(),
        })
    }

    /// The image's digest: by it, the same image is got again whatever its tag means then.
    pub(super) async fn resolve_image(&self, wanted: &Wanted, image: &str) -> Result<EnvironmentLock, Error> {
        let (name, engine) = (&wanted.name, self.engine(&wanted.name)?);
        if image.contains("@sha256:") {
            return Ok(EnvironmentLock::new(wanted, image, ""));
        }
        self.started(name, &format!("looking at the image `{image}`"));
        if self.image_reference(&engine, image).await?.is_none() {
            let said = self.host_call(&engine, &["pull", "--quiet", image]).await?;
            self.check(name, "lock", &said)?;
        }
        let reference = self.image_reference(&engine, image).await?;
        let reference = reference
            .ok_or_else(|| self.failed(name, "lock", format!("the image `{image}` has no digest")))?;
        self.ended(name, &format!("locked: {reference}"));
        Ok(EnvironmentLock::new(wanted, &reference, ""))
    }

    /// What an image is called by its content; nothing where the engine does not have it.
    async fn image_reference(&self, engine: &Path, image: &str) -> Result<Option<String>, Error> {
        let form = "{{range .RepoDigests}}{{.}} {{end}}{{.Id}}";
        let said = self.host_call(engine, &["image", "inspect", "--format", form, image]).await?;
        let words: Vec<&str> = said.answer.split_whitespace().filter(|_| said.ok).collect();
        let by_digest = words.iter().find(|word| word.contains("@sha256:"));
        // An image that was made here and never pushed is known by its id alone.
        let id = words.last().map(|id| format!("sha256:{}", id.trim_start_matches("sha256:")));
        Ok(by_digest.map(|word| (*word).to_owned()).or(id))
    }

    /// The image, fetched where it is missing.
    pub(super) async fn make_image(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let (name, engine) = (&lock.name, self.engine(&lock.name)?);
        let there = self.host_call(&engine, &["image", "inspect", &lock.version]).await?;
        if !there.ok {
            self.started(name, &format!("fetching `{}`", lock.version));
            let said = self.host_call(&engine, &["pull", "--quiet", &lock.version]).await?;
            if !said.ok {
                let reason = format!(
                    "the image `{}` is not on this machine and cannot be fetched: {}",
                    lock.version,
                    last_lines(&said.text)
                );
                return Err(self.failed(name, "provision", reason));
            }
            self.ended(name, "ready");
        }
        Ok(Provisioned { places: vec![engine], ..Provisioned::of(lock, self.folder(lock)) })
    }
}
