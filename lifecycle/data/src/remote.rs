//! Versions that travel: to a remote, and from there to another machine.
//!
//! A version in a remote is a note with its record and the objects that it names; it may be that of any
//! machine, since its identity is its content. Which version is the latest is each store's own matter: what
//! is pulled becomes it, with a line in the journal that says from where, unless it was asked for by name.
//! Tags travel with the versions that they name; one that names another version there is said, not moved.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Code, Digest, Explain, id, suggest};
use rondo_remote::{Need, Pulled, Pushed, Remote};
use serde::Serialize;

use crate::tags::{Conflict, Tag, Taken, check_tag};
use crate::{Datasets, Error};

/// The notes of versions.
pub(crate) const VERSIONS: &str = "dataset/";

/// Which version of a dataset is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The newest that is there.
    Newest,
    /// The newest that is there, where there is one.
    Any,
    /// This one, which becomes the latest here.
    Pinned(Digest),
    /// The one of this tag or beginning of a digest; the latest here stays what it is.
    Called(String),
}

/// What goes beyond objects.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What becomes of tags that name another version.
    pub move_tags: bool,
    /// Look at objects that are here already, and fetch those anew that are damaged.
    pub verify: bool,
    /// Digests that lock files name: the remote is told that they are needed. Where they are not all known it
    /// is told nothing, so that what it was told before stays.
    pub named: Option<HashSet<Digest>>,
    /// Who asks.
    pub actor: String,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushReport {
    /// The remote.
    pub remote: String,
    /// The versions that are there now.
    pub versions: Vec<DatasetVersion>,
    /// Files and listings that it lacked.
    pub objects: u64,
    /// Their bytes.
    pub size: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Tags that went along.
    pub tags: Vec<Tag>,
    /// Tags that name another version there, and stayed.
    pub conflicts: Vec<Conflict>,
}

/// What became of a pull.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PullReport {
    /// The remote.
    pub remote: String,
    /// The versions that are here now, each with whether it was new here.
    pub versions: Vec<Arrived>,
    /// Files and listings that were lacking here.
    pub objects: u64,
    /// Bytes that came.
    pub received: u64,
    /// How many objects were damaged here and came anew.
    pub healed: usize,
    /// Tags that came along.
    pub tags: Vec<Tag>,
    /// Tags of versions that are not here: they can be asked for.
    pub elsewhere: Vec<Tag>,
    /// Tags that name another version here, and stayed.
    pub conflicts: Vec<Conflict>,
    /// What was asked for and could not come, while everything else did.
    pub lacking: Vec<Lacking>,
    /// Datasets that nobody has pushed there.
    pub unpushed: Vec<String>,
}

/// A version that a remote does not have, or not whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lacking {
    /// The dataset.
    pub dataset: String,
    /// The version, where it is known.
    pub version: Option<Digest>,
    /// What is wrong.
    pub why: String,
    /// The same as a code.
    #[serde(skip)]
    pub code: Code,
}

impl Lacking {
    fn of(dataset: &str, version: Option<Digest>, error: &Error) -> Self {
        Self { dataset: dataset.to_owned(), version, why: error.to_string(), code: error.code() }
    }
}

/// What is asked of a remote, as it is there.
struct Found<'a> {
    versions: Vec<(DatasetVersion, &'a Wanted)>,
    lacking: Vec<Lacking>,
    unpushed: Vec<String>,
}

/// A version after a pull.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrived {
    /// The version.
    pub version: DatasetVersion,
    /// Whether this store did not know it.
    pub new: bool,
}

impl Datasets {
    /// Sends versions, with their profiles and tags, to a remote.
    ///
    /// # Errors
    /// When an object of one is not here, or the remote refuses.
    pub async fn push(
        &self,
        remote: &Remote,
        versions: &[DatasetVersion],
        beside: &Beside,
    ) -> Result<PushReport, Error> {
        let needs: Vec<Need> = versions.iter().flat_map(needs).collect();
        let record = |version: &DatasetVersion| {
            let text = serde_json::json!(version).to_string();
            (place(&version.dataset, version.digest), Bytes::from(text))
        };
        let notes = versions.iter().map(record).collect();
        let Pushed { objects, size, sent, .. } =
            remote.push(self.store.objects(), &needs, notes, &*self.progress).await?;
        let sent_ids: HashSet<(&str, Digest)> =
            versions.iter().map(|version| (version.dataset.as_str(), version.digest)).collect();
        let (mut tags, mut conflicts) = (Vec::new(), Vec::new());
        for tag in self.tags(None).await? {
            if !sent_ids.contains(&(tag.dataset.as_str(), tag.digest)) {
                continue;
            }
            match self.push_tag(remote, &tag, beside.move_tags).await? {
                None => tags.push(tag),
                Some(there) => {
                    let Tag { dataset, tag, digest: here } = tag;
                    conflicts.push(Conflict { dataset, tag, here: there, there: here });
                }
            }
        }
        if let Some(named) = &beside.named {
            self.tell_needs(remote, named, &beside.actor).await?;
        }
        let versions = versions.to_vec();
        Ok(PushReport { remote: remote.address(), versions, objects, size, sent, tags, conflicts })
    }

    /// Sends a tag; the version that it names there, where that is another and it stays.
    async fn push_tag(&self, remote: &Remote, tag: &Tag, may_move: bool) -> Result<Option<Digest>, Error> {
        let (name, text) = (tag_place(tag), serde_json::json!(tag).to_string());
        if may_move {
            remote.keep(&name, text).await?;
            return Ok(None);
        }
        if remote.keep_new(&name, text).await? {
            return Ok(None);
        }
        let there = remote.note(&name).await?.and_then(|text| read_tag(&text, &tag.dataset, &tag.tag));
        let there = there.ok_or_else(|| remote.corrupt(name, "it is no record of that tag"))?;
        Ok(Some(there.digest).filter(|there| *there != tag.digest))
    }

    /// Fetches versions of a remote, with their profiles and tags.
    ///
    /// # Errors
    /// When there is no remote, it cannot be reached, or it has nothing whole of what is wanted. Where only
    /// some of it is lacking, the rest comes, and the report names what did not.
    pub async fn pull(
        &self,
        remote: &Remote,
        wanted: &[(String, Wanted)],
        beside: &Beside,
    ) -> Result<PullReport, Error> {
        remote.exists().await?;
        let mut asked = self.asked_of(remote, wanted).await?;
        let mut pulled = self.pull_each(remote, &mut asked).await?;
        let Found { versions: found, lacking, unpushed } = asked;
        let needs: Vec<Need> = found.iter().flat_map(|(version, _)| needs(version)).collect();
        let mut healed = 0;
        if beside.verify {
            let versions = found.iter().map(|(version, _)| version.clone()).collect();
            let again = self.pull_damaged(remote, versions, &needs).await?;
            healed = again.objects as usize;
            pulled.received += again.received;
        }
        let because = Because::new(&beside.actor, &format!("pulled from {}", remote.address()));
        let mut versions = Vec::new();
        for (version, which) in found {
            let known = self.store.meta().dataset_version(&version.dataset, version.digest).await?;
            let latest = self.latest(&version.dataset).await?.map(|latest| latest.digest);
            let aside = matches!(which, Wanted::Called(_)) && latest.is_some();
            if aside {
                if known.is_none() {
                    self.store.meta().add_dataset_version_aside(&version).await?;
                }
            } else if known.is_none() || latest != Some(version.digest) {
                self.store.meta().add_dataset_version_at(&version, because.clone(), self.clock.now()).await?;
            }
            versions.push(Arrived { new: known.is_none(), version });
        }
        let datasets: BTreeSet<&str> = wanted.iter().map(|(dataset, _)| dataset.as_str()).collect();
        let mut report = PullReport {
            remote: remote.address(),
            versions,
            objects: pulled.objects,
            received: pulled.received,
            healed,
            tags: Vec::new(),
            elsewhere: Vec::new(),
            conflicts: Vec::new(),
            lacking,
            unpushed,
        };
        for dataset in datasets {
            self.pull_tags(remote, dataset, beside, &because, &mut report).await?;
        }
        if let Some(named) = &beside.named {
            self.tell_needs(remote, named, &beside.actor).await?;
        }
        Ok(report)
    }

    /// What is wanted, as it is there; an error where nothing of it is.
    async fn asked_of<'a>(
        &self,
        remote: &Remote,
        wanted: &'a [(String, Wanted)],
    ) -> Result<Found<'a>, Error> {
        let mut found = Found { versions: Vec::new(), lacking: Vec::new(), unpushed: Vec::new() };
        let mut first = None;
        for (dataset, which) in wanted {
            let version = match which {
                Wanted::Pinned(digest) => self.noted(remote, dataset, *digest).await,
                Wanted::Newest | Wanted::Any => self.newest(remote, dataset).await,
                Wanted::Called(called) => self.called(remote, dataset, called).await,
            };
            match version {
                Ok(version) => {
                    found.versions.push((version, which));
                    continue;
                }
                Err(error) if !is_lacking(&error) => return Err(error),
                Err(error) => {
                    if matches!((&error, which), (Error::DatasetNotFound { .. }, Wanted::Any)) {
                        found.unpushed.push(dataset.clone());
                    } else {
                        let version = match which {
                            Wanted::Pinned(digest) => Some(*digest),
                            Wanted::Newest | Wanted::Any | Wanted::Called(_) => None,
                        };
                        found.lacking.push(Lacking::of(dataset, version, &error));
                    }
                    first.get_or_insert(error);
                }
            }
        }
        match first.filter(|_| found.versions.is_empty()) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// Fetches versions: all at once, and where something of one is lacking there, one by one, so that the
    /// others come.
    async fn pull_each(&self, remote: &Remote, asked: &mut Found<'_>) -> Result<Pulled, Error> {
        let objects = self.store.objects();
        let all: Vec<Need> = asked.versions.iter().flat_map(|(version, _)| needs(version)).collect();
        match remote.pull(objects, &all, &*self.progress).await {
            Err(error) if error.is_spoilt() && asked.versions.len() > 1 => {}
            pulled => return Ok(pulled?),
        }
        let mut sum = Pulled::default();
        let mut first = None;
        for (version, which) in std::mem::take(&mut asked.versions) {
            let needs: Vec<Need> = needs(&version).collect();
            match remote.pull(objects, &needs, &*self.progress).await {
                Ok(pulled) => {
                    sum.objects += pulled.objects;
                    sum.received += pulled.received;
                    asked.versions.push((version, which));
                }
                Err(error) if error.is_spoilt() => {
                    let error = Error::Remote(error);
                    asked.lacking.push(Lacking::of(&version.dataset, Some(version.digest), &error));
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match first.filter(|_| asked.versions.is_empty()) {
            Some(error) => Err(error),
            None => Ok(sum),
        }
    }

    /// Fetches what is here and damaged of some versions.
    async fn pull_damaged(
        &self,
        remote: &Remote,
        versions: Vec<DatasetVersion>,
        needs: &[Need],
    ) -> Result<Pulled, Error> {
        let damaged = self.damaged(versions).await?;
        if damaged.is_empty() {
            return Ok(Pulled::default());
        }
        let view = self.store.objects().doubting(damaged);
        Ok(remote.pull(&view, needs, &*self.progress).await?)
    }

    async fn pull_tags(
        &self,
        remote: &Remote,
        dataset: &str,
        beside: &Beside,
        because: &Because,
        report: &mut PullReport,
    ) -> Result<(), Error> {
        for name in remote.notes(&format!("tag/{dataset}")).await? {
            let Some(tag) = self.noted_tag(remote, dataset, &name).await? else { continue };
            if self.store.meta().dataset_version(dataset, tag.digest).await?.is_none() {
                report.elsewhere.push(tag);
                continue;
            }
            let taken = if beside.move_tags { Taken::Move } else { Taken::Refuse };
            match self.tag(&tag, taken, because.clone()).await {
                Ok(true) => report.tags.push(tag),
                Ok(false) => {}
                Err(Error::TagTaken { tags, .. }) => report.conflicts.extend(tags),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn noted_tag(&self, remote: &Remote, dataset: &str, tag: &str) -> Result<Option<Tag>, Error> {
        let name = format!("tag/{dataset}/{tag}");
        match remote.note(&name).await? {
            Some(text) => read_tag(&text, dataset, tag)
                .map(Some)
                .ok_or_else(|| remote.corrupt(name, "it is no record of that tag").into()),
            None => Ok(None),
        }
    }

    /// The version of a tag, or of the beginning of a digest.
    async fn called(&self, remote: &Remote, dataset: &str, called: &str) -> Result<DatasetVersion, Error> {
        if called == "latest" {
            return self.newest(remote, dataset).await;
        }
        if check_tag(called).is_ok()
            && let Some(tag) = self.noted_tag(remote, dataset, called).await?
        {
            return self.noted(remote, dataset, tag.digest).await;
        }
        let names = remote.notes(&format!("dataset/{dataset}")).await?;
        let lower = called.to_lowercase();
        let mut matching = names.iter().filter(|name| called.len() >= 6 && name.starts_with(&lower));
        match (matching.next().and_then(|name| name.parse().ok()), matching.next()) {
            (Some(digest), None) => self.noted(remote, dataset, digest).await,
            (_, _) => Err(Error::VersionNotFound { dataset: dataset.to_owned(), version: called.to_owned() }),
        }
    }

    pub(crate) async fn noted(
        &self,
        remote: &Remote,
        dataset: &str,
        digest: Digest,
    ) -> Result<DatasetVersion, Error> {
        let name = place(dataset, digest);
        match remote.note(&name).await? {
            Some(text) => read(&text, dataset, digest)
                .ok_or_else(|| remote.corrupt(name, "it is no record of that version").into()),
            None => Err(Error::VersionNotFound { dataset: dataset.to_owned(), version: digest.short() }),
        }
    }

    async fn newest(&self, remote: &Remote, dataset: &str) -> Result<DatasetVersion, Error> {
        let mut newest: Option<DatasetVersion> = None;
        for name in remote.notes(&format!("dataset/{dataset}")).await? {
            let Ok(digest) = name.parse() else { continue };
            let version = self.noted(remote, dataset, digest).await?;
            if newest.as_ref().is_none_or(|known| known.added <= version.added) {
                newest = Some(version);
            }
        }
        match newest {
            Some(version) => Ok(version),
            None => {
                let names = remote.notes("dataset").await?;
                let names = names.iter().filter_map(|name| name.split('/').next());
                let near = suggest::nearest(dataset, names).map(str::to_owned);
                Err(Error::DatasetNotFound { name: dataset.to_owned(), near })
            }
        }
    }
}

/// Whether a remote has not what was asked for, while it answers.
fn is_lacking(error: &Error) -> bool {
    match error {
        Error::DatasetNotFound { .. } | Error::VersionNotFound { .. } => true,
        Error::Remote(error) => error.is_spoilt(),
        _ => false,
    }
}

pub(crate) fn needs(version: &DatasetVersion) -> impl Iterator<Item = Need> + use<> {
    let content = Need { digest: version.digest, folder: version.folder };
    [content].into_iter().chain(version.profile.map(Need::file))
}

pub(crate) fn place(dataset: &str, digest: Digest) -> String {
    format!("{VERSIONS}{dataset}/{}", digest.hex())
}

fn tag_place(tag: &Tag) -> String {
    format!("tag/{}/{}", tag.dataset, tag.tag)
}

/// The tag in a note, where it is that one.
fn read_tag(text: &Bytes, dataset: &str, called: &str) -> Option<Tag> {
    let tag: Tag = serde_json::from_slice(text).ok()?;
    (tag.dataset == dataset && tag.tag == called && check_tag(called).is_ok()).then_some(tag)
}

/// The record in a note, where it is of this version.
pub(crate) fn read(text: &Bytes, dataset: &str, digest: Digest) -> Option<DatasetVersion> {
    let version: DatasetVersion = serde_json::from_slice(text).ok()?;
    (version.dataset == dataset && version.digest == digest && id::is_name(dataset)).then_some(version)
}
