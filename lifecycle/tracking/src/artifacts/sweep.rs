//! Cleaning up with the plain files: what a purge has left behind in the destination goes too.

use rondo_core::Timestamp;
use rondo_store::upkeep::{Report, Retention};

use super::keep::blocking;
use super::{Tree, model_root, run_root, trace_root};
use crate::{Error, Tracking};

impl Tracking {
    /// Removes for good what was deleted long enough ago, the objects that nothing names, and the plain files
    /// of what went, this time or before. Files that are missing hold nothing up. Where there is no destination
    /// the plain files wait for a server or command that knows it.
    ///
    /// # Errors
    /// When another process is at it, or something cannot be read or removed.
    pub async fn tidy(&self, retention: &Retention, now: Timestamp) -> Result<Report, Error> {
        let mut report = self.store().tidy(retention, now).await?;
        if retention.dry_run {
            return Ok(report);
        }
        for (owner, location) in self.meta().left_behind().await? {
            let Some(files) = self.roots().destination().cloned() else {
                report.waiting += 1;
                continue;
            };
            if let Some(folder) = self.folder_of(&owner, &location) {
                let gone = blocking(move || files.delete(&folder, &|_| false)).await?;
                report.files += gone.map_or(0, |gone| gone.len() as u64);
            }
            self.meta().forget_left_behind(&owner).await?;
        }
        Ok(report)
    }

    /// The folder of an owner in the proxy's tree; nothing where its experiment was not in there.
    fn folder_of(&self, owner: &str, location: &str) -> Option<String> {
        let root = if owner.starts_with("m-") {
            model_root(location, owner)
        } else if owner.starts_with("tr-") {
            trace_root(location, owner)
        } else {
            run_root(location, owner.parse().ok()?)
        };
        let place = self.roots().owned(owner, &root, "").ok()?;
        (place.tree == Tree::Proxy).then(|| place.full.trim_end_matches("/artifacts").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::sync::Arc;

    use rondo_core::Span;
    use rondo_core::ports::Clock;
    use rondo_store::Store;

    use super::*;
    use crate::artifacts::roots::Roots;
    use crate::runs::NewRun;

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp(self.0)
        }
    }

    const DAY: i64 = 86_400_000;

    fn retention(dry_run: bool) -> Retention {
        Retention {
            deleted: Span::days(30),
            unnamed: Span(0),
            dry_run,
            also_named: HashSet::new(),
            versions: None,
        }
    }

    async fn house(at: &Path) -> Tracking {
        let store = Store::open(&at.join("store")).await.unwrap();
        store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
        let roots = Roots::default().with_destination("files", at).unwrap();
        Tracking::new(store, Arc::new(At(1))).with_roots(roots)
    }

    /// A run with a plain file; its id.
    async fn run(tracking: &Tracking) -> String {
        let run =
            tracking.create_run(NewRun { experiment: "0".to_owned(), ..NewRun::default() }).await.unwrap();
        let id = run.row.id.hex();
        let place = tracking.place_of_run(&run.row, "a/b.txt").await.unwrap();
        let mut receiving = tracking.receive_artifact(&place).await.unwrap();
        receiving.write(b"hello").unwrap();
        tracking.put_artifact(&place, receiving.finish().unwrap()).await.unwrap();
        id
    }

    #[tokio::test]
    async fn plain_files_go_with_what_they_belong_to_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let tracking = house(folder.path()).await;
        let (gone, stays, missing) = (run(&tracking).await, run(&tracking).await, run(&tracking).await);
        let files = folder.path().join("files/0");
        // Of a run that was never here, as in a folder that another server has written.
        let foreign = files.join("0123456789abcdef0123456789abcdef/artifacts");
        std::fs::create_dir_all(&foreign).unwrap();
        std::fs::write(foreign.join("x"), "theirs").unwrap();
        std::fs::remove_dir_all(files.join(&missing)).unwrap();
        for id in [&gone, &missing] {
            tracking.delete_run(id, true).await.unwrap();
        }
        let now = Timestamp(31 * DAY);
        assert_eq!(tracking.tidy(&retention(true), Timestamp(DAY)).await.unwrap().files, 0);
        assert_eq!(tracking.tidy(&retention(true), now).await.unwrap().files, 2);
        assert!(files.join(&gone).exists(), "a dry run takes nothing");

        // One who does not know the folder leaves them for one who does.
        let blind = Tracking::new(tracking.store().clone(), Arc::new(At(1)));
        let report = blind.tidy(&retention(false), now).await.unwrap();
        assert_eq!((report.runs, report.files, report.waiting), (2, 0, 2));
        assert!(files.join(&gone).exists());
        let report = tracking.tidy(&retention(false), now).await.unwrap();
        assert_eq!((report.files, report.waiting), (1, 0));
        assert!(!files.join(&gone).exists());
        assert!(files.join(&stays).join("artifacts/a/b.txt").exists() && foreign.join("x").exists());
        assert_eq!(tracking.tidy(&retention(false), now).await.unwrap().files, 0);
    }
}
