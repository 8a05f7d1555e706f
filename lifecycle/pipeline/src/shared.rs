//! The cache that a team shares: what one machine has made stands for the others' steps too.
//!
//! An entry is a note of a [remote](rondo_remote) named by branch and key, which says what a run made and
//! was signed by who made it; the outputs are objects of the remote. A step whose key is not known here is
//! looked up in its own branch and in those that everybody may take from. An entry counts when its
//! signature is of a key that `rondo.yaml` trusts for that branch, and says itself that it is of that
//! branch and key: so neither who may write to the bucket nor a fork with a changed pipeline can put
//! something into another branch. The run comes along as a row, so that metrics, log and lineage are here.
//!
//! A remote that cannot be reached makes a run slower, never fail.

mod entry;
mod keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rondo_core::ports::{Event, Progress};
use rondo_core::run::Link;
use rondo_core::{Digest, RunId};
use rondo_project::project::SharedCache;
use rondo_remote::{Need, Remote};
use rondo_store::Store;
use rondo_store::meta::cache::Cached;

use crate::Error;
pub use crate::git::branch;
use entry::Entry;
pub use keys::{KeyPair, NotAKey};

/// The tag of a run that came from the shared cache: the branch that it came from.
pub const FROM: &str = "rondo.shared.from";

/// A shared cache, as one machine sees it.
pub struct Shared {
    remote: Remote,
    settings: SharedCache,
    /// The branch that runs here are of; nothing where it is not known.
    branch: Option<String>,
    key: Option<KeyPair>,
    progress: Arc<dyn Progress>,
    /// It could not be reached: it is not asked again in this run.
    away: AtomicBool,
}

impl Shared {
    /// The cache of a project. Without a key nothing is given to it.
    pub fn new(
        remote: Remote,
        settings: SharedCache,
        branch: Option<String>,
        key: Option<KeyPair>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self { remote, settings, branch, key, progress, away: AtomicBool::new(false) }
    }

    /// Looks for what a key gave elsewhere; where it is found, its objects and its run are here afterwards,
    /// and the key is in the cache of this store.
    ///
    /// # Errors
    /// When the store refuses. What is wrong with the remote is only told.
    pub async fn find(
        &self,
        store: &Store,
        experiment: i64,
        step: &str,
        key: Digest,
    ) -> Result<Option<Cached>, Error> {
        let own = self.branch.iter();
        let mut branches: Vec<&String> = Vec::new();
        for branch in own.chain(&self.settings.from) {
            if !branches.contains(&branch) {
                branches.push(branch);
            }
        }
        for branch in branches {
            if self.away.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let text = match self.remote.note(&place(branch, key)).await {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(error) => return Ok(self.gone(step, &error)),
            };
            let entry = match Entry::open(&text, &self.settings, branch, key) {
                Ok(entry) => entry,
                Err(why) => {
                    self.note(
                        step,
                        format!("an entry of the shared cache of `{branch}` is passed over: {why}"),
                    );
                    continue;
                }
            };
            if let Err(error) = self.remote.pull(store.objects(), &entry.needs(), &*self.progress).await {
                return Ok(self.gone(step, &error));
            }
            let cached = entry.bring(store, experiment, branch).await?;
            self.note(step, format!("from the shared cache of `{branch}`"));
            return Ok(Some(cached));
        }
        Ok(None)
    }

    /// Gives what runs have made, where there is a key for this branch; how many were given.
    ///
    /// # Errors
    /// When the store cannot be read. What is wrong with the remote is only told.
    pub async fn give(&self, store: &Store, runs: &[(Digest, RunId)]) -> Result<usize, Error> {
        let (Some(key), Some(branch)) = (&self.key, &self.branch) else { return Ok(0) };
        if runs.is_empty() || self.away.load(Ordering::Relaxed) {
            return Ok(0);
        }
        if !self.settings.trusts(&key.public(), branch) {
            self.note("cache", format!("the key of this machine is not trusted for the branch `{branch}`"));
            return Ok(0);
        }
        let keys: Vec<Digest> = runs.iter().map(|(key, _)| *key).collect();
        // What stands for no step here stands for none elsewhere.
        let kept = store.meta().cached_of(&keys).await?;
        let stands = |key: &Digest, run: RunId| kept.get(key).is_some_and(|cached| cached.run == run);
        let mut entries = Vec::new();
        for (step_key, run) in runs.iter().filter(|(key, run)| stands(key, *run)) {
            if let Some(entry) = Entry::of(store, branch, *step_key, *run).await? {
                entries.push(entry);
            }
        }
        let needs: Vec<Need> = entries.iter().flat_map(Entry::needs).collect();
        let signed = |entry: &Entry| Ok((place(branch, entry.key()), entry.signed(key)?.into()));
        let notes = entries.iter().map(signed).collect::<Result<_, Error>>()?;
        if let Err(error) = self.remote.push(store.objects(), &needs, notes, &*self.progress).await {
            self.gone("cache", &error);
            return Ok(0);
        }
        Ok(entries.len())
    }

    fn gone(&self, subject: &str, error: &rondo_remote::Error) -> Option<Cached> {
        self.away.store(true, Ordering::Relaxed);
        let causes = rondo_core::error::causes(error).join(": ");
        let why = if causes.is_empty() { error.to_string() } else { format!("{error}: {causes}") };
        self.note(subject, format!("the shared cache is not asked any more in this run: {why}"));
        None
    }

    fn note(&self, subject: &str, message: String) {
        self.progress.report(Event::Note { subject: subject.to_owned(), message });
    }
}

/// What objects an entry's outputs are.
fn needs(links: &[Link]) -> impl Iterator<Item = Need> + '_ {
    links.iter().map(|link| Need { digest: link.digest, folder: link.folder })
}

/// Where the entry of a key lies: branches are folders, whatever their names hold.
fn place(branch: &str, key: Digest) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let name: String = branch
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("={byte:02x}") })
        .collect();
    format!("cache/{name}/{}", key.hex())
}
