//! Upkeep: what was deleted goes for good after its time, and with it the objects that nothing names.
//!
//! One pass is a purge of the metadata, a mark of every digest that is left in it (see
//! [`crate::meta::marks`]) and a sweep of the objects without a mark. It runs beside a server that goes on
//! answering, may be stopped anywhere, and simply starts again: nothing of it is half done. A missing
//! object is reported and holds nothing up.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use rondo_core::journal::Because;
use rondo_core::{Digest, Span, Timestamp};
use serde::Serialize;

use crate::lock::Lock;
use crate::meta::marks::{VersionId, Versions};
use crate::meta::outdated::Outdated;
use crate::meta::purge::Purge;
use crate::objects::Swept;
use crate::{Error, Store};

/// What is to be kept and for how long.
#[derive(Debug, Clone)]
pub struct Retention {
    /// What was deleted stays so long, and can be brought back.
    pub deleted: Span,
    /// Objects without a name stay so long: an upload is stored before its name is written.
    pub unnamed: Span,
    /// Count only.
    pub dry_run: bool,
    /// Digests that are named outside the metadata, such as in `rondo.lock`.
    pub also_named: HashSet<Digest>,
    /// Whether versions of datasets go that nothing reaches; all stay without it.
    pub versions: Option<Outdating>,
}

/// Which versions of datasets stay although nothing reaches them, beside those that are younger than what
/// has no name must be.
#[derive(Debug, Clone)]
pub struct Outdating {
    /// The newest so many of each dataset.
    pub keep: usize,
    /// Who drops the others, and why.
    pub because: Because,
}

/// What a pass removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Runs.
    pub runs: usize,
    /// Logged models.
    pub logged_models: usize,
    /// Experiments.
    pub experiments: usize,
    /// Artifacts that were overwritten or deleted.
    pub overwritten: u64,
    /// Plain files, in the folder that artifacts are kept in instead of among the objects.
    pub files: u64,
    /// Runs, logged models and traces that went and whose plain files wait, for one who knows that folder.
    pub waiting: u64,
    /// Versions of datasets.
    pub versions: Vec<Outdated>,
    /// Objects.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// How many of these bytes a work tree or another place has by the same file, so that the disk keeps
    /// them.
    pub shared: u64,
    /// Objects that stay only because they are young.
    pub young: u64,
    /// Deleted runs and logged models that stay, since something living needs them.
    pub needed: Vec<String>,
    /// Objects that are named and not here. A digest of something that never was an object (a cache key,
    /// a file outside) is among them, so this says where to look and not that something is lost.
    pub missing: usize,
}

impl Store {
    /// Removes for good what was deleted long enough ago and the objects that nothing names.
    ///
    /// # Errors
    /// When another process is at it, or the store cannot be read or written.
    pub async fn tidy(&self, retention: &Retention, now: Timestamp) -> Result<Report, Error> {
        let _alone = Lock::take(self.root())?;
        let before = now - retention.deleted;
        let purge = self.meta().purgeable(before).await?;
        let files = if retention.dry_run { self.meta().plain_files_of(&purge).await? } else { 0 };
        let mut overwritten = 0;
        let passed_over: HashSet<&str> =
            purge.runs.iter().chain(&purge.logged_models).map(String::as_str).collect();
        if !retention.dry_run {
            self.meta().purge(&purge).await?;
            overwritten = self.meta().purge_overwritten(before).await?;
        }
        // What is stored from here on is younger than the marks and stays.
        let unnamed = Duration::from_millis(retention.unnamed.millis().unsigned_abs());
        let old = SystemTime::now().checked_sub(unnamed).unwrap_or(SystemTime::UNIX_EPOCH);
        if !retention.dry_run {
            self.undrop_reached().await?;
        }
        let mut versions = self.outdated(retention, now, old).await?;
        let going: HashSet<VersionId> = versions.iter().map(Outdated::id).collect();
        let passed = |owner: &str| retention.dry_run && passed_over.contains(owner);
        let mut marks = self.meta().marks(passed, Versions::But(&going)).await?;
        marks.extend(&retention.also_named);
        // What has come to be named since it was found stays.
        let mut back = Vec::new();
        versions.retain(|version| {
            let named = marks.contains(&version.digest) && !retention.dry_run;
            back.extend(named.then(|| version.clone()));
            !named
        });
        for version in &back {
            self.meta().undrop_version(version).await?;
        }
        let notes = self.meta().file_notes().await?;
        let (objects, dry_run) = (self.objects().clone(), retention.dry_run);
        let closed = tokio::task::spawn_blocking(move || {
            let missing = objects.close_over_whole(&mut marks)?.len();
            let (of_kept, of_gone): (Vec<_>, Vec<_>) =
                notes.into_iter().partition(|note| marks.contains(&note.file));
            marks.extend(of_kept.iter().filter_map(|note| note.object));
            Ok::<_, Error>((missing, marks, of_gone))
        });
        let (missing, marks, notes) = match closed.await.map_err(|_| Error::Closed)? {
            Ok(closed) => closed,
            // Nothing goes, versions neither.
            Err(error) => {
                if !dry_run {
                    for version in &versions {
                        self.meta().undrop_version(version).await?;
                    }
                }
                return Err(error);
            }
        };
        if !dry_run {
            self.meta().forget_file_notes(notes.into_iter().map(|note| note.name).collect()).await?;
        }
        let objects = self.objects().clone();
        let swept = tokio::task::spawn_blocking(move || objects.sweep(&marks, old, dry_run)).await;
        let swept = swept.map_err(|_| Error::Closed)??;
        Ok(Report { files, versions, ..report(&purge, overwritten, swept, missing, retention.dry_run) })
    }

    /// The versions of datasets that nothing reaches; dropped, unless they are only counted.
    async fn outdated(
        &self,
        retention: &Retention,
        now: Timestamp,
        old: SystemTime,
    ) -> Result<Vec<Outdated>, Error> {
        let Some(outdating) = &retention.versions else { return Ok(Vec::new()) };
        let after = now - retention.unnamed;
        let mut found = self.meta().outdated(outdating.keep, after, &retention.also_named).await?;
        // One that was fetched just now, to be looked at, may have been added long ago.
        let objects = self.objects().clone();
        let versions = std::mem::take(&mut found.versions);
        let look =
            move || versions.into_iter().filter(|version| objects.is_old(version.digest, old)).collect();
        found.versions = tokio::task::spawn_blocking(look).await.map_err(|_| Error::Closed)?;
        if retention.dry_run {
            return Ok(found.versions);
        }
        self.meta().drop_versions(found, &outdating.because, now).await
    }
}

impl Store {
    /// Brings back versions that were dropped and that something has come to name, as a pass does that is
    /// stopped in between.
    async fn undrop_reached(&self) -> Result<(), Error> {
        let mut dropped = self.meta().dropped_versions().await?;
        dropped.retain(|(_, digest)| self.objects().path(*digest).is_some());
        if dropped.is_empty() {
            return Ok(());
        }
        let reached = self.meta().marks(|_| false, Versions::None).await?;
        for version in dropped.into_iter().filter(|(_, digest)| reached.contains(digest)) {
            self.meta().undrop(version).await?;
        }
        Ok(())
    }
}

fn report(purge: &Purge, overwritten: u64, swept: Swept, missing: usize, dry_run: bool) -> Report {
    Report {
        dry_run,
        runs: purge.runs.len(),
        logged_models: purge.logged_models.len(),
        experiments: purge.experiments.len(),
        overwritten,
        files: 0,
        waiting: 0,
        versions: Vec::new(),
        objects: swept.objects,
        bytes: swept.bytes,
        shared: swept.shared,
        young: swept.young,
        needed: purge.needed.clone(),
        missing,
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
    use rondo_core::{Code, Explain, RunId};

    use super::*;
    use crate::meta::metrics::{Batch, Point};

    const DAY: i64 = 86_400_000;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
        (folder, store)
    }

    /// A run with a parameter, a metric and an artifact of its own.
    async fn run(store: &Store, artifact: &[u8]) -> RunId {
        let id = RunId::random();
        let row = RunRow {
            id,
            experiment: 0,
            kind: RunKind::Client,
            parent: None,
            name: "r".into(),
            step: None,
            state: RunState::Finished,
            user: String::new(),
            started: Timestamp(10),
            ended: None,
            deleted: false,
            untagged: false,
            detail: RunDetail::default(),
        };
        let meta = store.meta();
        meta.create_run(&row).await.unwrap();
        let batch = Batch {
            metrics: vec![("m".into(), Point { timestamp: 1, step: 1, value: 2.0 })],
            params: vec![("p".into(), "1".into())],
            ..Batch::default()
        };
        meta.log_batch(id, batch).await.unwrap();
        let stored = store.objects().put_bytes(artifact).unwrap();
        meta.put_artifact(&id.hex(), "a.txt", stored.digest, stored.size, Timestamp(10)).await.unwrap();
        id
    }

    fn now_at_once(dry_run: bool) -> Retention {
        Retention {
            deleted: Span::days(30),
            unnamed: Span(0),
            dry_run,
            also_named: HashSet::new(),
            versions: None,
        }
    }

    #[tokio::test]
    async fn what_is_deleted_goes_after_its_time_and_its_objects_with_it() {
        let (_folder, store) = store().await;
        let (gone, stays) = (run(&store, b"only mine").await, run(&store, b"shared").await);
        let shared = store.objects().put_bytes(b"shared").unwrap();
        let meta = store.meta();
        meta.put_artifact(&gone.hex(), "b.txt", shared.digest, shared.size, Timestamp(11)).await.unwrap();
        meta.delete_run(gone, true, Timestamp(0)).await.unwrap();

        let early = store.tidy(&now_at_once(false), Timestamp(29 * DAY)).await.unwrap();
        assert_eq!((early.runs, early.objects), (0, 0));
        let counted = store.tidy(&now_at_once(true), Timestamp(30 * DAY)).await.unwrap();
        assert_eq!((counted.runs, counted.objects, counted.bytes), (1, 1, 9));
        assert!(meta.run(gone).await.unwrap().is_some(), "a dry run takes nothing");

        let done = store.tidy(&now_at_once(false), Timestamp(30 * DAY)).await.unwrap();
        assert_eq!(Report { dry_run: true, ..done }, counted);
        assert!(meta.run(gone).await.unwrap().is_none());
        assert!(meta.run_params(gone).await.unwrap().is_empty());
        assert_eq!(meta.artifacts(&stays.hex()).await.unwrap().len(), 1);
        assert!(store.objects().path(shared.digest).is_some());
        let again = store.tidy(&now_at_once(false), Timestamp(31 * DAY)).await.unwrap();
        assert_eq!((again.runs, again.objects), (0, 0));
    }

    #[tokio::test]
    async fn a_run_that_is_brought_back_or_named_in_a_record_stays() {
        let (_folder, store) = store().await;
        let (back, needed) = (run(&store, b"back").await, run(&store, b"needed").await);
        let meta = store.meta();
        meta.put_record("model-version", &serde_json::json!({ "run": needed.hex() })).await.unwrap();
        for id in [back, needed] {
            meta.delete_run(id, true, Timestamp(0)).await.unwrap();
        }
        meta.delete_run(back, false, Timestamp(1)).await.unwrap();
        let report = store.tidy(&now_at_once(false), Timestamp(90 * DAY)).await.unwrap();
        assert_eq!((report.runs, report.objects, report.needed), (0, 0, vec![needed.hex()]));
    }

    #[tokio::test]
    async fn an_experiment_goes_with_all_that_is_in_it() {
        let (_folder, store) = store().await;
        let meta = store.meta();
        let id = meta.ensure_experiment("old", Timestamp(1)).await.unwrap();
        meta.delete_experiment(id, true, Timestamp(5)).await.unwrap();
        let report = store.tidy(&now_at_once(false), Timestamp(90 * DAY)).await.unwrap();
        assert_eq!(report.experiments, 1);
        assert!(meta.experiment(id).await.unwrap().is_none());
        assert!(meta.experiment(0).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn young_objects_folders_of_named_trees_and_named_ones_are_kept() {
        let (folder, store) = store().await;
        let objects = store.objects();
        let work = folder.path().join("work");
        std::fs::create_dir_all(work.join("inner")).unwrap();
        std::fs::write(work.join("inner/file"), "in a folder").unwrap();
        let tree = objects.put_path(&work, crate::objects::Take::Keep).unwrap();
        let loose = objects.put_bytes(b"loose").unwrap().digest;
        let locked = objects.put_bytes(b"locked").unwrap().digest;
        store.meta().put_record("test", &serde_json::json!({ "tree": tree.digest })).await.unwrap();

        let patient = Retention { unnamed: Span::days(1), ..now_at_once(false) };
        assert_eq!(store.tidy(&patient, Timestamp(5)).await.unwrap().objects, 0);
        let retention = Retention { also_named: HashSet::from([locked]), ..now_at_once(false) };
        assert_eq!(store.tidy(&retention, Timestamp(5)).await.unwrap().objects, 1);
        assert!(objects.holds(tree.digest, true));
        assert!(objects.path(locked).is_some());
        assert!(objects.path(loose).is_none());
    }

    #[tokio::test]
    async fn a_swept_object_that_is_stored_again_is_there_and_a_killed_sweep_is_undone() {
        let (folder, store) = store().await;
        let stored = store.objects().put_bytes(b"again").unwrap();
        store.tidy(&now_at_once(false), Timestamp(5)).await.unwrap();
        assert!(store.objects().path(stored.digest).is_none());
        assert_eq!(store.objects().put_bytes(b"again").unwrap(), stored);

        // As if it was killed between the two halves of a removal.
        let hex = stored.digest.hex();
        let root = folder.path().join("objects");
        std::fs::rename(root.join(&hex[..2]).join(&hex[2..]), root.join("swept").join(&hex)).unwrap();
        let opened = crate::Objects::open(&root).unwrap();
        assert_eq!(opened.read(stored.digest).unwrap(), b"again");
    }

    #[tokio::test]
    async fn only_one_process_tidies_at_a_time() {
        let (_folder, store) = store().await;
        let other = Lock::take(store.root()).unwrap();
        let refused = store.tidy(&now_at_once(false), Timestamp(6)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Busy);
        drop(other);
        store.tidy(&now_at_once(false), Timestamp(6)).await.unwrap();
        store.tidy(&now_at_once(false), Timestamp(6)).await.unwrap();
    }
}
