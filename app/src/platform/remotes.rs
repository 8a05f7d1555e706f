//! The project's remotes, with the credentials that the environment holds, and the cache in one of them.

use std::collections::HashSet;
use std::sync::Arc;

use rondo_core::error::causes;
use rondo_core::ports::Event;
use rondo_core::{Code, Explain};
use rondo_data::remote::{Beside, Wanted};
use rondo_pipeline::run::heal::Remotes;
use rondo_pipeline::shared::{self, KeyPair, Shared};
use rondo_remote::Remote;

use super::{Error, Platform};
use crate::config::Config;
use crate::history;

/// Variables of the environment that are settings of object stores.
const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The variable with the secret key of this machine.
const KEY: &str = "RONDO_CACHE_KEY";

/// Variables that name the branch where a service checks out a commit without one.
const BRANCHES: [&str; 3] = ["RONDO_BRANCH", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME"];

/// What the environment says of object stores.
pub fn store_settings(config: &Config) -> Vec<(String, String)> {
    let settings = config.environment.iter();
    let settings = settings.filter(|(name, _)| SETTINGS.iter().any(|lead| name.starts_with(lead)));
    settings.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Platform {
    /// A remote: by its name in `remotes:`, by an address, or the first one that is declared.
    ///
    /// # Errors
    /// When there is none, or its address is none.
    pub fn remote(&self, called: Option<&str>) -> Result<Remote, Error> {
        let (address, settings) = (self.address_of(called)?, store_settings(self.config()));
        Ok(Remote::open(&address, &settings, &self.config().cache.join("remotes"))?)
    }

    /// The same, to read from: a folder is not made.
    ///
    /// # Errors
    /// As [`Platform::remote`], and when there is no such folder.
    pub fn remote_there(&self, called: Option<&str>) -> Result<Remote, Error> {
        let (address, settings) = (self.address_of(called)?, store_settings(self.config()));
        Ok(Remote::open_there(&address, &settings, &self.config().cache.join("remotes"))?)
    }

    fn address_of(&self, called: Option<&str>) -> Result<String, Error> {
        let remotes = &self.project().remotes;
        let address = match called {
            Some(called) if called.contains("://") || called.contains('/') => called.to_owned(),
            Some(called) => remotes
                .get(called)
                .cloned()
                .ok_or_else(|| Error::not_found("remote", called, Code::RemoteInvalid))?,
            None => remotes.iter().next().map(|(_, address)| address.clone()).ok_or_else(|| Error::Invalid {
                code: Code::RemoteInvalid,
                message: "the project has no remote: declare one, such as `remotes: { team: s3://bucket/prefix }`"
                    .to_owned(),
            })?,
        };
        let address =
            if address.contains("://") { address } else { self.root().join(address).display().to_string() };
        Ok(address)
    }

    /// Sends versions of datasets: `NAME` for the latest or all of them, `NAME@VERSION` for one; of no
    /// names, of every dataset of the project that has one.
    ///
    /// # Errors
    /// When there is no such dataset, version or remote, or the remote refuses.
    pub async fn push(
        &self,
        names: &[String],
        all: bool,
        remote: Option<&str>,
        move_tags: bool,
    ) -> Result<rondo_data::remote::PushReport, Error> {
        let (datasets, remote) = (self.datasets(), self.remote(remote)?);
        let mut versions = Vec::new();
        let named = if names.is_empty() { self.store().meta().datasets().await? } else { names.to_vec() };
        for name in &named {
            let (name, called) = name.split_once('@').unwrap_or((name, ""));
            versions.push(datasets.version(name, called).await?);
            if all && called.is_empty() {
                versions.extend(self.store().meta().dataset_versions(name).await?);
            }
        }
        let mut seen = HashSet::new();
        versions.retain(|version| seen.insert((version.dataset.clone(), version.digest)));
        let beside = Beside { move_tags, ..self.beside().await };
        Ok(datasets.push(&remote, &versions, &beside).await?)
    }

    /// What a remote is told and asked beside objects.
    async fn beside(&self) -> Beside {
        let named = match history::locked(self.store(), Some(self.root())).await {
            Ok(locked) => (!locked.shallow).then_some(locked.named),
            // Then what the remote was told before stays as it is.
            Err(error) => {
                let message = error.to_string();
                self.progress().report(Event::Note { subject: "remote".to_owned(), message });
                None
            }
        };
        Beside { named, actor: self.config().user().to_owned(), ..Beside::default() }
    }

    /// Fetches versions of datasets: those that `rondo.lock` pins, else, or if wanted, the newest;
    /// `NAME@TAG` or `NAME@DIGEST` for one that is called so there.
    ///
    /// # Errors
    /// When a dataset is not declared, or the remote lacks it or cannot be reached.
    pub async fn pull(
        &self,
        names: &[String],
        newest: bool,
        remote: Option<&str>,
        (move_tags, verify): (bool, bool),
    ) -> Result<rondo_data::remote::PullReport, Error> {
        let (datasets, remote) = (self.datasets(), self.remote_there(remote)?);
        let lock = rondo_pipeline::lock::read(self.root())?;
        let declared = || self.project().data.names().map(str::to_owned).collect();
        let named: Vec<String> = if names.is_empty() { declared() } else { names.to_vec() };
        let pin = |name: &str| lock.datasets.get(name).map(|locked| locked.digest).filter(|_| !newest);
        // What nobody has pushed is only lacking where it was asked for.
        let newest_there = || if names.is_empty() { Wanted::Any } else { Wanted::Newest };
        let which = |name: &String| match name.split_once('@') {
            Some((name, called)) => (name.to_owned(), Wanted::Called(called.to_owned())),
            None => (name.clone(), pin(name).map_or_else(newest_there, Wanted::Pinned)),
        };
        let mut wanted: Vec<(String, Wanted)> = named.iter().map(which).collect();
        let mut seen = HashSet::new();
        wanted.retain(|wanted| seen.insert(wanted.clone()));
        let beside = Beside { move_tags, verify, ..self.beside().await };
        Ok(datasets.pull(&remote, &wanted, &beside).await?)
    }

    /// What opens the project's remotes once something is damaged here. One that cannot be opened has nothing.
    pub(super) fn healers(&self) -> Remotes {
        let names = self.project().remotes.names();
        let addresses: Vec<String> = names.filter_map(|name| self.address_of(Some(name)).ok()).collect();
        let config = self.config.clone();
        Arc::new(move || {
            let (settings, caches) = (store_settings(&config), config.cache.join("remotes"));
            let open = |address: &String| Remote::open_there(address, &settings, &caches).ok();
            addresses.iter().filter_map(open).collect()
        })
    }

    /// The cache that the project shares, where it does.
    ///
    /// # Errors
    /// When its remote has no address, or the key of this machine is none.
    pub(super) async fn shared(&self) -> Result<Option<Arc<Shared>>, Error> {
        let Some(settings) = &self.project().cache else { return Ok(None) };
        let set = |name: &str| self.config().environment.get(name).filter(|value| !value.is_empty());
        let key = set(KEY).map(|text| KeyPair::read(text)).transpose().map_err(|error| Error::Invalid {
            code: Code::ValueInvalid,
            message: format!("`{KEY}`: {error}"),
        })?;
        let remote = match self.remote(Some(&settings.remote)) {
            Ok(remote) => remote,
            // A folder that is not there today, of a disk that is not mounted, say.
            Err(error) if error.code() == Code::Io => {
                let message = format!("the shared cache is not asked: {}", causes(&error).join(": "));
                self.progress().report(Event::Note { subject: settings.remote.clone(), message });
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let branch = match BRANCHES.iter().find_map(|name| set(name)) {
            Some(branch) => Some(branch.clone()),
            None => shared::branch(self.root(), &self.config().environment).await,
        };
        Ok(Some(Arc::new(Shared::new(remote, settings.clone(), branch, key, self.progress().clone()))))
    }
}
