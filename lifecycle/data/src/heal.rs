//! Healing: what is missing or damaged is stored anew from wherever whole bytes of it are to be had: the
//! files in the work tree, another copy of the store, a remote.
//!
//! Nothing is taken for whole by its name: whatever comes is hashed, and a damaged object keeps its place
//! until its own bytes take it. What could not be healed stays in the report, by name.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::Event;
use rondo_remote::Remote;
use rondo_store::Objects;
use rondo_store::scan::{self, How, Index, Resume};
use serde::Serialize;

use crate::ingest::Intake;
use crate::place::Place;
use crate::verify::{Broken, Report};
use crate::{Datasets, Error};

/// Where whole bytes may be.
#[derive(Default)]
pub struct Sources {
    /// What the project declares of its datasets.
    pub declared: Vec<Intake>,
    /// The folder of the project.
    pub root: PathBuf,
    /// Other stores, or backups of this one.
    pub copies: Vec<PathBuf>,
    /// Remotes.
    pub remotes: Vec<Remote>,
}

/// An object that is whole again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// What it was.
    #[serde(flatten)]
    pub broken: Broken,
    /// Where its bytes came from.
    pub from: String,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Healing {
    /// What is there now, and what is still broken.
    pub report: Report,
    /// What was broken and is whole.
    pub healed: Vec<Healed>,
}

impl Datasets {
    /// Verifies datasets (all, where none is named), and heals what is broken.
    ///
    /// # Errors
    /// As [`Datasets::verify`]. That a source has nothing, or cannot be reached, is told and no error.
    pub async fn heal(&self, datasets: &[String], sources: &Sources) -> Result<Healing, Error> {
        let mut healing = Healing::default();
        // Each round heals a listing or is the last.
        loop {
            healing.report = self.verify(datasets).await?;
            if healing.report.broken.is_empty() {
                break;
            }
            let broken = std::mem::take(&mut healing.report.broken);
            let healed = self.heal_once(&broken, sources).await?;
            let (whole, still): (Vec<_>, Vec<_>) =
                broken.into_iter().partition(|one| healed.contains_key(&one.digest));
            let objects = self.store.objects().clone();
            // One that breaks again at once, on a bad disk, is no progress.
            let before: HashSet<Digest> = healing.healed.iter().map(|one| one.broken.digest).collect();
            let new = whole.iter().map(|one| one.digest).filter(|digest| !before.contains(digest));
            let digests: Vec<Digest> = new.collect();
            let listings = crate::fetch::blocking(move || {
                Ok(digests.into_iter().filter(|digest| objects.named(*digest).is_ok()).count())
            })
            .await?;
            healing.report.broken = still;
            let from = |broken: Broken| {
                let from = healed.get(&broken.digest).cloned().unwrap_or_default();
                Healed { broken, from }
            };
            healing.healed.extend(whole.into_iter().map(from));
            // What a listing names is known only now.
            if listings == 0 {
                break;
            }
        }
        Ok(healing)
    }

    /// Goes through the sources; from where each that is whole now came.
    async fn heal_once(
        &self,
        broken: &[Broken],
        sources: &Sources,
    ) -> Result<BTreeMap<Digest, String>, Error> {
        let view = self.store.objects().doubting(broken.iter().map(|one| one.digest));
        let mut from = BTreeMap::new();
        let note = |view: &Objects, from: &mut BTreeMap<Digest, String>, source: &str| {
            let open: HashSet<Digest> = view.doubted().into_iter().collect();
            for one in broken.iter().filter(|one| !open.contains(&one.digest)) {
                from.entry(one.digest).or_insert_with(|| source.to_owned());
            }
        };
        for intake in &sources.declared {
            let place = match Place::of(&intake.source, &sources.root) {
                Ok(Some(place)) if place.path.exists() => place,
                Ok(_) | Err(_) => continue,
            };
            let shown = intake.source.to_string();
            self.tell(&shown, self.heal_from_files(intake, place, broken, &view).await);
            note(&view, &mut from, &shown);
        }
        for copy in &sources.copies {
            let (to, folder) = (view.clone(), copy.clone());
            let done = crate::fetch::blocking(move || heal_from_copy(&to, &folder)).await;
            let shown = copy.display().to_string();
            self.tell(&shown, done);
            note(&view, &mut from, &shown);
        }
        for remote in &sources.remotes {
            if view.doubted().is_empty() {
                break;
            }
            self.heal_from_remote(remote, &view).await;
            note(&view, &mut from, &remote.address());
        }
        Ok(from)
    }

    /// From files in the work tree: those at the paths that need what is broken, and where a listing is
    /// broken the listings of the whole place.
    async fn heal_from_files(
        &self,
        intake: &Intake,
        place: Place,
        broken: &[Broken],
        view: &Objects,
    ) -> Result<(), Error> {
        let wanted: HashSet<Digest> = view.doubted().into_iter().collect();
        let needs = broken.iter().filter(|one| wanted.contains(&one.digest)).flat_map(|one| &one.needed_by);
        let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
        let mut listings = false;
        for need in needs.filter(|need| need.dataset == intake.dataset) {
            let path = if need.path.is_empty() { place.path.clone() } else { place.path.join(&need.path) };
            listings |= path.is_dir();
            paths.extend(Some(path).filter(|path| path.is_file()));
        }
        let looker = self.looker(intake, true);
        let known = if listings { looker.index().await?.0 } else { None };
        let (view, store) = (view.clone(), self.store.root().to_owned());
        crate::fetch::blocking(move || {
            let bulk = view.bulk(|_| {});
            for path in paths {
                // Hashed first: what is something else now is none of the store's business.
                if Objects::digest_steady(&path).is_ok_and(|(digest, _)| wanted.contains(&digest)) {
                    bulk.put_file(&path, false)?;
                }
            }
            if listings && place.plain {
                put_listings(&place, known.as_ref(), &store, &wanted, &bulk)?;
            }
            Ok(bulk.finish()?)
        })
        .await
    }

    async fn heal_from_remote(&self, remote: &Remote, view: &Objects) {
        // Each as a file: what a listing names is asked for in the next round, where it is broken.
        let fetched = remote.pull_whole(view, &view.doubted(), &*self.progress).await.map(drop);
        self.tell(&remote.address(), fetched.map_err(Error::from));
    }

    fn tell(&self, source: &str, done: Result<(), Error>) {
        if let Err(error) = done {
            let message = format!("nothing more can be had from `{source}`: {error}");
            self.progress.report(Event::Note { subject: "verify".to_owned(), message });
        }
    }

    /// Of what some versions need, the objects that are here and damaged, or are not here.
    pub(crate) async fn damaged(&self, versions: Vec<DatasetVersion>) -> Result<Vec<Digest>, Error> {
        let datasets = self.clone();
        crate::fetch::blocking(move || {
            let numbered: Vec<_> = versions.into_iter().map(|version| (0, version)).collect();
            Ok(datasets.verify_versions(&numbered).broken.into_iter().map(|one| one.digest).collect())
        })
        .await
    }
}

/// Makes the listings of a place anew, and stores those that are wanted. What has not changed since it was
/// seen is not read.
fn put_listings(
    place: &Place,
    known: Option<&Index>,
    store: &Path,
    wanted: &HashSet<Digest>,
    bulk: &rondo_store::objects::Bulk,
) -> Result<(), Error> {
    let pick = |path: &str, folder: bool| {
        place.glob.as_ref().is_none_or(|glob| if folder { glob.enters(path) } else { glob.takes(path) })
    };
    let pick = place.glob.is_some().then_some(&pick as &scan::Pick<'_>);
    let seen = scan::walk(&scan::Request { root: &place.path, pick, index: known, trusted: true, store })?;
    let files = seen.files(known, &|_| true).unwrap_or_default();
    let resume = Resume::of(files.iter().map(|file| (file.stamp, file.digest)));
    // Beside no index every folder is made anew.
    let mut scan =
        scan::walk(&scan::Request { root: &place.path, pick, index: None, trusted: false, store })?;
    scan.settle(How::Hash, &resume, &|_| {})?;
    let put = |tree: &rondo_core::tree::Tree| {
        let objects = tree.objects();
        if objects.iter().any(|bytes| wanted.contains(&Digest::of(bytes))) {
            return bulk.put_tree(tree);
        }
        Ok(tree.digest())
    };
    scan.compose(None, &put, false)?;
    Ok(())
}

/// From another store's objects, or a backup's.
fn heal_from_copy(view: &Objects, folder: &Path) -> Result<(), Error> {
    let inner = ["objects", ".rondo/objects"].map(|inner| folder.join(inner));
    let root = inner.iter().find(|root| root.is_dir()).ok_or_else(|| Error::SourceNotFound {
        what: format!("objects in {}", folder.display()),
        near: None,
    })?;
    let from = Objects::open(root)?;
    for digest in view.doubted() {
        match view.fetch(&from, digest) {
            // Nothing of it there, or as broken as here.
            Ok(_) | Err(rondo_store::Error::ObjectNotFound(_) | rondo_store::Error::Corrupt { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
