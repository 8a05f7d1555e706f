//! Versions of datasets that nothing reaches: which they are, and dropping them.
//!
//! What reaches a version is whatever names it: a ref (the latest, a tag), a run, a cached step, a model's
//! lineage, a request, and what the caller knows beside the metadata, such as the lock files of Git's
//! history. That a version was ever added is no reason, nor is the journal. A version that is dropped keeps
//! its row, so that the numbers of the others stay, and comes back when the same content is added again.

use std::collections::HashSet;

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Digest, Timestamp};
use serde::Serialize;
use serde_json::json;
use sqlx::Row;

use super::journal::note;
use super::marks::{VersionId, Versions};
use super::{Meta, decode};
use crate::Error;

/// How many versions one transaction drops.
const GROUP: usize = 100;

/// A version that nothing reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outdated {
    /// The dataset.
    pub dataset: String,
    /// Its number, counted from 1.
    pub number: i64,
    /// Its content.
    pub digest: Digest,
    /// Bytes of all its files.
    pub size: u64,
    /// When it was added.
    pub added: Timestamp,
}

impl Outdated {
    /// By name and content.
    pub fn id(&self) -> VersionId {
        (self.dataset.clone(), self.digest)
    }
}

/// Versions that nothing reaches, as of a line of the journal.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Which.
    pub versions: Vec<Outdated>,
    seen: i64,
}

impl Meta {
    /// The versions that nothing reaches: neither something in the metadata nor what is `named` elsewhere.
    /// Those that were added, or that a ref pointed to, after a moment stay, and of each dataset the newest
    /// `keep`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn outdated(
        &self,
        keep: usize,
        after: Timestamp,
        named: &HashSet<Digest>,
    ) -> Result<Found, Error> {
        let seen = sqlx::query("SELECT COALESCE(MAX(seq), 0) FROM journal").fetch_one(self.readers()).await?;
        let reached = self.marks(|_| false, Versions::None).await?;
        let mut recent = HashSet::new();
        let moves = sqlx::query(
            "SELECT from_target, to_target FROM journal WHERE at > $1 AND (name LIKE 'dataset/%' OR name LIKE 'tag/%')",
        );
        for row in moves.bind(after.millis()).fetch_all(self.readers()).await? {
            for column in ["from_target", "to_target"] {
                let target: Option<String> = row.try_get(column)?;
                recent.extend(target.and_then(|text| text.parse::<Digest>().ok()));
            }
        }
        let mut found = Found { versions: Vec::new(), seen: seen.try_get(0)? };
        for dataset in self.datasets().await? {
            let rows = sqlx::query(
                "SELECT seq, record FROM dataset_version WHERE dataset = $1 AND dropped IS NULL ORDER BY seq DESC",
            );
            let rows = rows.bind(&dataset).fetch_all(self.readers()).await?;
            for row in rows.iter().skip(keep) {
                let version: DatasetVersion = decode("dataset version", &dataset, row.try_get("record")?)?;
                let DatasetVersion { digest, size, added, .. } = version;
                let needed = [&reached, named, &recent].iter().any(|digests| digests.contains(&digest));
                if !needed && added <= after {
                    let dataset = dataset.clone();
                    found.versions.push(Outdated {
                        dataset,
                        number: row.try_get("seq")?,
                        digest,
                        size,
                        added,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Drops what was found, but for what a ref has come to since, or points to. What was dropped.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn drop_versions(
        &self,
        found: Found,
        because: &Because,
        at: Timestamp,
    ) -> Result<Vec<Outdated>, Error> {
        let mut dropped = Vec::new();
        for group in found.versions.chunks(GROUP) {
            let (group, because, seen) = (group.to_vec(), because.clone(), found.seen);
            let gone = self.write(move |conn| {
                Box::pin(async move {
                    let mut gone = Vec::new();
                    for version in group {
                        let done = sqlx::query(
                            "UPDATE dataset_version SET dropped = $3
                             WHERE dataset = $1 AND digest = $2 AND dropped IS NULL
                             AND NOT EXISTS (SELECT 1 FROM ref WHERE target = $2)
                             AND NOT EXISTS (SELECT 1 FROM journal WHERE seq > $4
                                             AND (from_target = $2 OR to_target = $2))",
                        )
                        .bind(&version.dataset)
                        .bind(version.digest.hex())
                        .bind(at.millis())
                        .bind(seen)
                        .execute(&mut *conn)
                        .await?;
                        if done.rows_affected() == 1 {
                            // Shortened: a whole digest would count as a name that holds it.
                            let evidence =
                                json!({ "version": version.number, "content": version.digest.short() });
                            let because = because.clone().with_evidence(evidence);
                            note(conn, &format!("dropped/{}", version.dataset), &because, at).await?;
                            gone.push(version);
                        }
                    }
                    Ok(gone)
                })
            });
            dropped.extend(gone.await?);
        }
        Ok(dropped)
    }

    /// Takes back that a version was dropped: something has come to name it meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn undrop_version(&self, version: &Outdated) -> Result<(), Error> {
        self.undrop(version.id()).await
    }

    /// The versions that were dropped.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn dropped_versions(&self) -> Result<Vec<VersionId>, Error> {
        let rows = sqlx::query("SELECT dataset, digest FROM dataset_version WHERE dropped IS NOT NULL");
        let mut versions = Vec::new();
        for row in rows.fetch_all(self.readers()).await? {
            let (dataset, digest): (String, String) = (row.try_get("dataset")?, row.try_get("digest")?);
            versions.extend(digest.parse().ok().map(|digest| (dataset, digest)));
        }
        Ok(versions)
    }

    /// As [`Meta::undrop_version`].
    pub(crate) async fn undrop(&self, (dataset, digest): VersionId) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("UPDATE dataset_version SET dropped = NULL WHERE dataset = $1 AND digest = $2")
                    .bind(&dataset)
                    .bind(digest.hex())
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::{Code, Explain, Span, reference};

    use super::super::journal::Expect;
    use super::*;
    use crate::upkeep::{Outdating, Report, Retention};
    use crate::{Error, Store};

    struct House {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl House {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { store: Store::open(folder.path()).await.unwrap(), _folder: folder }
        }

        fn version(&self, content: &str, at: i64) -> DatasetVersion {
            let stored = self.store.objects().put_bytes(content.as_bytes()).unwrap();
            DatasetVersion {
                dataset: "d".into(),
                digest: stored.digest,
                folder: false,
                size: stored.size,
                files: 1,
                rows: None,
                columns: Vec::new(),
                profile: None,
                source: "d.bin".into(),
                parent: None,
                added: Timestamp(at),
                origin: Default::default(),
            }
        }

        async fn add(&self, content: &str) -> Digest {
            let mut version = self.version(content, 10);
            version.parent = self.store.meta().target("dataset/d@latest").await.unwrap();
            self.store.meta().add_dataset_version(&version, Because::new("ada", "added")).await.unwrap();
            version.digest
        }

        async fn tidy(&self, keep: usize, dry_run: bool, named: &[Digest]) -> Report {
            let retention = Retention {
                deleted: Span::days(1000),
                unnamed: Span(0),
                dry_run,
                also_named: named.iter().copied().collect(),
                versions: Some(Outdating { keep, because: Because::new("ada", "nothing reaches it") }),
            };
            self.store.tidy(&retention, Timestamp(1000)).await.unwrap()
        }

        fn is_here(&self, digest: Digest) -> bool {
            self.store.objects().path(digest).is_some()
        }
    }

    #[tokio::test]
    async fn a_version_goes_when_nothing_reaches_it_and_the_numbers_of_others_stay() {
        let house = House::new().await;
        let meta = house.store.meta();
        let mut all = Vec::new();
        for content in ["first", "locked", "tagged", "used", "unreached", "before", "latest"] {
            all.push(house.add(content).await);
        }
        let [first, locked, tagged, used, unreached, before, latest] = all[..] else { panic!() };
        let name = reference::tag("d", "paper");
        meta.point_at_version(&name, Expect::Absent, ("d", tagged), Because::new("ada", "x"), Timestamp(20))
            .await
            .unwrap();
        meta.put_record("run", &json!({ "input": used })).await.unwrap();
        meta.set_setting(&format!("data/passed/1/x/{first}/y"), "passed").await.unwrap();

        let counted = house.tidy(2, true, &[locked]).await;
        let numbers: Vec<i64> = counted.versions.iter().map(|version| version.number).collect();
        assert_eq!((numbers.as_slice(), counted.objects, counted.bytes), ([5, 1].as_slice(), 2, 14));
        assert_eq!(meta.dataset_versions("d").await.unwrap().len(), 7, "only counted");

        let done = house.tidy(2, false, &[locked]).await;
        assert_eq!(Report { dry_run: true, ..done }, counted);
        for gone in [first, unreached] {
            assert!(!house.is_here(gone) && meta.dataset_version("d", gone).await.unwrap().is_none());
        }
        for kept in [locked, tagged, used, before, latest] {
            assert!(house.is_here(kept));
        }
        let numbers: Vec<usize> =
            meta.numbered_versions("d").await.unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 4, 6, 7]);
        assert!(meta.file_notes().await.unwrap().is_empty(), "what was remembered of its file went too");
        assert_eq!(house.tidy(2, false, &[locked]).await.versions, []);

        // The same content again is the same version.
        assert_eq!(house.add("first").await, first);
        let numbered = meta.numbered_versions("d").await.unwrap();
        assert!(numbered.iter().any(|(number, version)| (*number, version.digest) == (1, first)));
        assert!(house.is_here(first));
        // A tag that was taken away keeps nothing.
        meta.move_ref(&name, Expect::At(tagged), None, Because::new("ada", "x"), Timestamp(30))
            .await
            .unwrap();
        let report = house.tidy(1, false, &[locked]).await;
        assert!(report.versions.iter().any(|version| version.digest == tagged));
    }

    #[tokio::test]
    async fn a_version_that_was_dropped_while_something_came_to_name_it_comes_back() {
        let house = House::new().await;
        let meta = house.store.meta();
        let old = house.add("old").await;
        house.add("new").await;
        let found = meta.outdated(1, Timestamp(1000), &HashSet::new()).await.unwrap();
        assert_eq!(meta.drop_versions(found, &Because::new("a", ""), Timestamp(50)).await.unwrap().len(), 1);
        meta.put_record("run", &json!({ "input": old })).await.unwrap();
        assert_eq!(house.tidy(1, false, &[]).await.versions, []);
        assert!(meta.dataset_version("d", old).await.unwrap().is_some() && house.is_here(old));
    }

    #[tokio::test]
    async fn a_version_whose_content_was_stored_again_within_the_grace_stays() {
        let house = House::new().await;
        let old = house.add("old").await;
        house.add("new").await;
        let retention = Retention {
            deleted: Span::days(1000),
            unnamed: Span::days(1),
            dry_run: false,
            also_named: HashSet::new(),
            versions: Some(Outdating { keep: 1, because: Because::new("ada", "") }),
        };
        let now = Timestamp(0) + Span::days(20_000);
        assert_eq!(house.store.tidy(&retention, now).await.unwrap().versions, []);
        assert!(house.is_here(old));
    }

    #[tokio::test]
    async fn nothing_goes_while_a_listing_is_damaged() {
        let house = House::new().await;
        let objects = house.store.objects();
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join("file"), "in a folder").unwrap();
        let tree = objects.put_path(work.path(), crate::objects::Take::Keep).unwrap().digest;
        house.store.meta().put_record("test", &json!({ "tree": tree })).await.unwrap();
        let old = house.add("old").await;
        house.add("new").await;
        let path = objects.path(tree).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let retention = Retention {
            deleted: Span::days(1000),
            unnamed: Span(0),
            dry_run: false,
            also_named: HashSet::new(),
            versions: Some(Outdating { keep: 1, because: Because::new("ada", "") }),
        };
        let refused = house.store.tidy(&retention, Timestamp(1000)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Corrupt);
        assert!(house.is_here(Digest::of(b"in a folder")) && house.is_here(old));
        assert!(house.store.meta().dataset_version("d", old).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_rests_on_a_version_that_went_meanwhile_is_refused() {
        let house = House::new().await;
        let meta = house.store.meta();
        let (old, ..) = (house.add("old").await, house.add("middle").await, house.add("new").await);
        let found = meta.outdated(1, Timestamp(1000), &HashSet::new()).await.unwrap();
        assert_eq!(found.versions.len(), 2);
        // The ref comes back to one of them before they are dropped.
        meta.point_at_version(
            "dataset/d@latest",
            Expect::Anything,
            ("d", old),
            Because::new("a", ""),
            Timestamp(40),
        )
        .await
        .unwrap();
        let gone = meta.drop_versions(found, &Because::new("ada", "x"), Timestamp(50)).await.unwrap();
        assert_eq!(gone.iter().map(|gone| gone.number).collect::<Vec<_>>(), [2]);
        let middle = gone[0].digest;
        let next = house.version("next", 60);
        let because = || Because::new("ada", "x");
        let refused = meta.add_dataset_version_after(&next, Expect::Anything, &[middle], because()).await;
        assert!(matches!(refused, Err(Error::VersionDropped { digest, .. }) if digest == middle));
        let back =
            meta.point_at_version("tag/d@x", Expect::Absent, ("d", middle), because(), Timestamp(70)).await;
        assert_eq!(back.unwrap_err().code(), Code::RefMoved);
        assert!(meta.add_dataset_version_after(&next, Expect::Anything, &[old], because()).await.unwrap());
    }
}
