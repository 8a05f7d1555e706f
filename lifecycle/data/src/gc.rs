//! Cleaning up: objects that nothing names, and, where that is wanted, versions that nothing reaches; here,
//! and in a remote.
//!
//! Here it is the store's one sweep (see [`rondo_store::upkeep`]), asked to leave what was deleted elsewhere
//! in peace. In a remote the notes are what reaches: the versions and tags that were pushed, the cache of
//! steps, and what each clone that has used the remote says its Git history needs. So nobody has to know the
//! others' branches. A clone that has not been heard of for long, as those of CI machines, is forgotten.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::ports::Clock;
use rondo_core::{Digest, Span, Timestamp};
use rondo_remote::{Forgotten, Remote, Swept};
use rondo_store::meta::marks::{Versions, digests, held_by};
use rondo_store::meta::outdated::Outdated;
use rondo_store::upkeep::{Outdating, Report, Retention};
use serde::Serialize;
use serde_json::Value;

use crate::remote::{VERSIONS, read};
use crate::{Datasets, Error};

/// Longer than any store is old: what was deleted elsewhere is not this clean-up's.
const FOR_EVER: Span = Span::days(1_000_000);

/// What is to be cleaned up.
#[derive(Debug, Clone)]
pub struct Request {
    /// Versions go too that nothing reaches, but for so many of the newest of each dataset.
    pub versions: Option<usize>,
    /// What is younger stays in any case.
    pub grace: Span,
    /// Of a remote: what a clone has said that it needs is forgotten when it has not said so for so long.
    pub silent: Span,
    /// Do it; otherwise only say what would go.
    pub apply: bool,
    /// Digests that lock files name.
    pub named: HashSet<Digest>,
    /// Who asks.
    pub actor: String,
}

/// What went from a remote, or would go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemoteReport {
    /// The remote.
    pub remote: String,
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Versions that nobody reaches.
    pub versions: Vec<Outdated>,
    /// Clones that have said what their history needs.
    pub consumers: usize,
    /// Those of them that have not been heard of for too long: what they need is needed no more.
    pub forgotten: Vec<Silent>,
    /// Its packs.
    #[serde(flatten)]
    pub swept: Swept,
}

/// A clone that has not been heard of for long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Silent {
    /// Its name in the remote.
    pub id: String,
    /// Who it was, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it pushed or pulled last, by its clock or the remote's, whichever is later.
    pub at: Timestamp,
    /// How many versions it needs.
    pub needs: usize,
}

impl Silent {
    /// What a clone's note says; nothing where it says no time, so that it never grows old.
    fn read(name: &str, text: &[u8]) -> Option<Self> {
        let id = name.strip_prefix(CONSUMERS)?.to_owned();
        let said: Value = serde_json::from_slice(text).ok()?;
        let at = said.get("at")?.as_str()?.parse().ok()?;
        let by = said.get("by").and_then(Value::as_str).map(str::to_owned);
        let needs = said.get("needs").and_then(Value::as_array).map_or(0, Vec::len);
        Some(Self { id, by, at, needs })
    }
}

impl Datasets {
    /// Cleans up the store.
    ///
    /// # Errors
    /// When another process is at it, or the store cannot be read or written.
    pub async fn gc(&self, request: &Request) -> Result<Report, Error> {
        let because = Because::new(&request.actor, "nothing reaches it");
        let retention = Retention {
            deleted: FOR_EVER,
            unnamed: request.grace,
            dry_run: !request.apply,
            also_named: request.named.clone(),
            versions: request.versions.map(|keep| Outdating { keep, because }),
        };
        Ok(self.store.tidy(&retention, self.clock.now()).await?)
    }

    /// Cleans up a remote.
    ///
    /// # Errors
    /// When somebody pushes or cleans up at the moment, or the remote refuses or cannot be reached.
    pub async fn gc_remote(&self, remote: &Remote, request: &Request) -> Result<RemoteReport, Error> {
        let notes = remote.all_notes().await?;
        let said = notes.iter().filter(|(name, _)| name.starts_with(CONSUMERS));
        let consumers = said.clone().count();
        let said = said.filter_map(|(name, text)| Silent::read(name, text)).collect();
        let mut forgotten = self.silent(remote, said, self.clock.now() - request.silent).await?;
        forgotten.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let silent: HashSet<String> = forgotten.iter().map(|one| format!("{CONSUMERS}{}", one.id)).collect();
        let mut versions = match request.versions {
            Some(keep) => self.outdated_in(remote, &notes, &silent, keep, request).await?,
            None => Vec::new(),
        };
        let place = |version: &Outdated| crate::remote::place(&version.dataset, version.digest);
        let places: HashSet<String> = versions.iter().map(place).collect();
        let mut forget: Vec<Forgotten> = notes
            .into_iter()
            .filter(|(name, _)| silent.contains(name) || places.contains(name))
            .map(|(name, text)| Forgotten { name, text })
            .collect();
        let grace = Duration::from_millis(request.grace.millis().unsigned_abs());
        let swept = remote.sweep(&mut forget, reaches, grace, request.apply, &*self.progress).await?;
        // Not what was pushed or named again meanwhile.
        let gone: HashSet<String> = forget.into_iter().map(|note| note.name).collect();
        versions.retain(|version| gone.contains(&place(version)));
        forgotten.retain(|one| gone.contains(&format!("{CONSUMERS}{}", one.id)));
        let (remote, dry_run) = (remote.address(), !request.apply);
        Ok(RemoteReport { remote, dry_run, versions, consumers, forgotten, swept })
    }

    /// Which of these clones have not been heard of since a moment. Not this one, which asks; and a clone's own
    /// clock may be far behind: when the remote got its note counts as much.
    async fn silent(
        &self,
        remote: &Remote,
        mut clones: Vec<Silent>,
        before: Timestamp,
    ) -> Result<Vec<Silent>, Error> {
        let own = self.store.meta().setting(CONSUMER).await?;
        clones.retain(|clone| clone.at < before && own.as_ref() != Some(&clone.id));
        if clones.is_empty() {
            return Ok(clones);
        }
        let written = remote.written(CONSUMERS.trim_end_matches('/')).await?;
        for clone in &mut clones {
            let written = written.get(&format!("{CONSUMERS}{}", clone.id));
            clone.at = written.map_or(clone.at, |written| clone.at.max(moment(*written)));
        }
        clones.retain(|clone| clone.at < before);
        Ok(clones)
    }

    /// The versions of a remote that neither its other notes, but for those of silent clones, nor this machine
    /// reach.
    async fn outdated_in(
        &self,
        remote: &Remote,
        notes: &[(String, Bytes)],
        silent: &HashSet<String>,
        keep: usize,
        request: &Request,
    ) -> Result<Vec<Outdated>, Error> {
        let mut reached = self.store.meta().marks(|_| false, Versions::None).await?;
        reached.extend(&request.named);
        let mut versions: BTreeMap<String, Vec<DatasetVersion>> = BTreeMap::new();
        for (name, text) in notes.iter().filter(|(name, _)| !silent.contains(name)) {
            let Some((dataset, digest)) = name.strip_prefix(VERSIONS).and_then(|name| name.split_once('/'))
            else {
                reached.extend(digests(&String::from_utf8_lossy(text)));
                continue;
            };
            let version = digest.parse().ok().and_then(|digest| read(text, dataset, digest));
            let version = version.ok_or_else(|| remote.corrupt(name, "it is no record of a version"))?;
            versions.entry(dataset.to_owned()).or_default().push(version);
        }
        let before = self.clock.now() - request.grace;
        let mut outdated = Vec::new();
        for (dataset, mut versions) in versions {
            versions.sort_by_key(|version| std::cmp::Reverse((version.added, version.digest)));
            for version in versions.into_iter().skip(keep.max(1)) {
                let DatasetVersion { digest, size, added, .. } = version;
                if !reached.contains(&digest) && added <= before {
                    outdated.push(Outdated { dataset: dataset.clone(), number: 0, digest, size, added });
                }
            }
        }
        Ok(outdated)
    }

    /// Tells a remote what this clone's history needs of it, so that no clean-up by others takes it. That it
    /// cannot be told, where one may only read, takes nothing back.
    pub(crate) async fn tell_needs(
        &self,
        remote: &Remote,
        named: &HashSet<Digest>,
        by: &str,
    ) -> Result<(), Error> {
        let meta = self.store.meta();
        let mut needs = named.clone();
        for prefix in ["dataset/", "tag/"] {
            needs.extend(meta.refs(prefix).await?.into_iter().map(|(_, digest)| digest));
        }
        let mut needs: Vec<Digest> = needs.into_iter().collect();
        needs.sort_unstable();
        let id = match meta.setting(CONSUMER).await? {
            Some(id) => id,
            None => {
                let id = rondo_core::RunId::random().hex();
                meta.set_setting(CONSUMER, &id).await?;
                id
            }
        };
        let at = Clock::now(&*self.clock).rfc3339();
        let text = serde_json::json!({ "at": at, "by": by, "needs": needs });
        let kept = remote.keep(&format!("{CONSUMERS}{id}"), text.to_string()).await;
        if let Err(error) = kept {
            let message = format!("the remote does not know what this clone needs of it: {error}");
            let subject = "remote".to_owned();
            self.progress.report(rondo_core::ports::Event::Note { subject, message });
        }
        Ok(())
    }
}

/// A moment of a remote's clock; one before 1970 is that of 1970.
fn moment(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What a note of a remote reaches: a version holds its content and profile, any other what it names.
fn reaches(name: &str, text: &str) -> Vec<Digest> {
    if name.starts_with(VERSIONS) { held_by(text) } else { digests(text).collect() }
}

/// The notes of clones. Each push and pull of a clone writes its own anew, with the time.
const CONSUMERS: &str = "consumer/";

/// The setting with this clone's name there.
const CONSUMER: &str = "remote/consumer";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondo_core::ports::Unwatched;
    use rondo_store::Store;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    struct Fixed(Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[tokio::test]
    async fn a_clone_that_was_not_heard_of_for_long_is_forgotten_by_name() {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join(".rondo")).await.unwrap();
        let clock = Arc::new(Fixed("2026-06-01T00:00:00Z".parse().unwrap()));
        let datasets = Datasets::new(store, clock, Arc::new(Unwatched));
        let place = folder.path().join("remote").to_string_lossy().into_owned();
        let remote = Remote::open(&place, &[], &folder.path().join("cache")).unwrap();
        let needs = [Digest::of(b"a"), Digest::of(b"b")];
        let said = |at: &str| json!({ "at": at, "by": "ci", "needs": needs }).to_string();
        remote.keep("consumer/old", said("2025-05-31T00:00:00Z")).await.unwrap();
        remote.keep("consumer/younger", said("2026-02-01T00:00:00Z")).await.unwrap();
        remote.keep("consumer/silent", json!({ "needs": needs }).to_string()).await.unwrap();
        // One whose clock is years behind.
        remote.keep("consumer/behind", said("2020-01-01T00:00:00Z")).await.unwrap();
        let written = |name: &str, at: &str| {
            let at: Timestamp = at.parse().unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs());
            let path = folder.path().join("remote/notes/consumer").join(name);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        };
        written("old", "2025-05-31T00:00:00Z");
        written("younger", "2026-01-01T00:00:00Z");
        written("behind", "2026-05-01T00:00:00Z");
        datasets.tell_needs(&remote, &HashSet::new(), "ann").await.unwrap();
        // This clone does not forget itself.
        let own = datasets.store.meta().setting(CONSUMER).await.unwrap().unwrap();
        remote.keep(&format!("consumer/{own}"), said("2020-01-01T00:00:00Z")).await.unwrap();
        written(&own, "2020-01-01T00:00:00Z");
        let request = |days: i64, apply: bool| Request {
            versions: None,
            grace: Span::days(0),
            silent: Span::days(days),
            apply,
            named: HashSet::new(),
            actor: "ann".to_owned(),
        };
        let ids =
            |report: &RemoteReport| report.forgotten.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let counted = datasets.gc_remote(&remote, &request(365, false)).await.unwrap();
        assert_eq!((counted.consumers, ids(&counted)), (5, vec!["old".to_owned()]));
        assert_eq!((counted.forgotten[0].by.as_deref(), counted.forgotten[0].needs), (Some("ci"), 2));
        assert!(remote.note("consumer/old").await.unwrap().is_some(), "only counted");
        let counted = datasets.gc_remote(&remote, &request(90, false)).await.unwrap();
        assert_eq!(ids(&counted), ["old", "younger"]);
        datasets.gc_remote(&remote, &request(365, true)).await.unwrap();
        assert!(remote.note("consumer/old").await.unwrap().is_none());
        let left = datasets.gc_remote(&remote, &request(365, false)).await.unwrap();
        assert_eq!((left.consumers, ids(&left)), (4, Vec::<String>::new()));
    }
}
