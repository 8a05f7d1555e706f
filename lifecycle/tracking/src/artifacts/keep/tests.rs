//! What lies where, in each of the ways to keep it.

use std::io::Read as _;
use std::sync::Arc;

use rondo_core::Timestamp;
use rondo_store::Store;

use super::*;
use crate::artifacts::roots::Roots;
use crate::artifacts::{clean, proxied};
use crate::tracking::fixture::Counter;

async fn tracking(roots: Roots) -> (tempfile::TempDir, Tracking) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().ensure_default_experiment_under(&roots.base(), Timestamp(1)).await.unwrap();
    (folder, Tracking::new(store, Arc::new(Counter::default())).with_roots(roots))
}

async fn run(tracking: &Tracking, experiment: &str) -> crate::runs::Run {
    let new = crate::runs::NewRun { experiment: experiment.to_owned(), ..Default::default() };
    tracking.create_run(new).await.unwrap()
}

async fn put(tracking: &Tracking, place: &Place, bytes: &[u8]) -> Received {
    let mut receiving = tracking.receive_artifact(place).await.unwrap();
    receiving.write(bytes).unwrap();
    let received = receiving.finish().unwrap();
    tracking.put_artifact(place, received).await.unwrap();
    received
}

async fn text(tracking: &Tracking, place: &Place) -> String {
    let mut text = String::new();
    tracking.artifact(place).await.unwrap().file.read_to_string(&mut text).unwrap();
    text
}

async fn names(tracking: &Tracking, place: &Place) -> Vec<(String, Option<u64>)> {
    let listed = tracking.list_artifacts(place).await.unwrap();
    listed.into_iter().map(|listed| (listed.path, listed.size)).collect()
}

#[tokio::test]
async fn with_a_destination_artifacts_are_plain_files_in_mlflows_layout() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::default().with_destination("art", folder.path()).unwrap();
    let (_store, tracking) = tracking(roots).await;
    let run = run(&tracking, "0").await;
    let root = tracking.place_of_run(&run.row, "").await.unwrap();
    let place = root.join("model/MLmodel");
    let received = put(&tracking, &place, b"flavors").await;
    let file = folder.path().join(format!("art/0/{}/artifacts/model/MLmodel", run.row.id));
    assert_eq!(std::fs::read(&file).unwrap(), b"flavors");
    assert_eq!(text(&tracking, &place).await, "flavors");
    assert_eq!(tracking.artifact(&place).await.unwrap().tag, received.digest.hex());
    assert!(tracking.objects().path(received.digest).is_none(), "it lies in one place only");

    // What other programs put there is there as well, and what they change is not taken for what it was.
    std::fs::write(file.with_file_name("by-hand"), b"1").unwrap();
    assert_eq!(
        names(&tracking, &root.join("model")).await,
        [("model/MLmodel".to_owned(), Some(7)), ("model/by-hand".to_owned(), Some(1))]
    );
    std::fs::write(&file, b"changed").unwrap();
    assert_ne!(tracking.artifact(&place).await.unwrap().tag, received.digest.hex());
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(tracking.artifact(&place).await, Err(Error::ArtifactNotFound { .. })));
    assert_eq!(names(&tracking, &root.join("model")).await.len(), 1);
    assert_eq!(tracking.delete_artifacts(&root.join("model")).await.unwrap(), 1);
    assert!(names(&tracking, &root).await.is_empty());
}

#[tokio::test]
async fn what_all_share_is_no_way_into_what_a_run_owns() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::default().with_destination("art", folder.path()).unwrap();
    let (_store, tracking) = tracking(roots).await;
    let run = run(&tracking, "0").await;
    let place = tracking.place_of_run(&run.row, "x").await.unwrap();
    put(&tracking, &place, b"x").await;
    put(&tracking, &proxied("0/shared.txt").unwrap(), b"y").await;
    let above = proxied("0").unwrap();
    assert_eq!(names(&tracking, &above).await, [("0/shared.txt".to_owned(), Some(1))]);
    let beside = proxied(&format!("0/{}/meta.yaml", run.row.id)).unwrap();
    std::fs::write(folder.path().join("art").join(&beside.full), b"z").unwrap();
    let refused = |error: Error| assert!(matches!(error, Error::NobodysPath { .. }), "{error}");
    refused(tracking.artifact(&beside).await.unwrap_err());
    refused(tracking.receive_artifact(&beside).await.err().unwrap());
    refused(tracking.list_artifacts(&proxied(&format!("0/{}", run.row.id)).unwrap()).await.unwrap_err());
    for place in [&above, &beside, &proxied(&format!("0/{}", run.row.id)).unwrap()] {
        refused(tracking.delete_artifacts(place).await.unwrap_err());
    }
    assert_eq!(text(&tracking, &place).await, "x");
}

#[tokio::test]
async fn what_was_kept_before_there_was_a_destination_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, before) = tracking(Roots::default()).await;
    let run = run(&before, "0").await;
    let root = before.place_of_run(&run.row, "").await.unwrap();
    put(&before, &root.join("old.txt"), b"old").await;
    let after = before.clone().with_roots(Roots::default().with_destination("art", folder.path()).unwrap());
    put(&after, &root.join("new.txt"), b"new").await;
    assert_eq!(
        names(&after, &root).await,
        [("new.txt".to_owned(), Some(3)), ("old.txt".to_owned(), Some(3))]
    );
    assert_eq!(text(&after, &root.join("old.txt")).await, "old");
    assert_eq!(after.delete_artifacts(&root.join("old.txt")).await.unwrap(), 1);
    assert_eq!(names(&after, &root).await.len(), 1);
}

#[tokio::test]
async fn a_root_of_the_operators_is_read_and_written_by_a_pages_upload_alone() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::default().with_root("root", folder.path()).unwrap();
    let (_store, tracking) = tracking(roots).await;
    let id = tracking.create_experiment("e", None, BTreeMap::new()).await.unwrap().to_string();
    let run = run(&tracking, &id).await;
    let shown = folder.path().canonicalize().unwrap().join("root").display().to_string();
    assert_eq!(run.artifact_uri, format!("{shown}/{id}/{}/artifacts", run.row.id));
    std::fs::create_dir_all(format!("{}/sub", run.artifact_uri)).unwrap();
    std::fs::write(format!("{}/sub/x.txt", run.artifact_uri), b"x").unwrap();
    std::fs::write(folder.path().join("canary"), b"secret").unwrap();
    std::os::unix::fs::symlink(folder.path().join("canary"), format!("{}/leak", run.artifact_uri)).unwrap();
    let root = tracking.place_of_run(&run.row, "").await.unwrap();
    assert_eq!(names(&tracking, &root).await, [("sub".to_owned(), None)]);
    assert_eq!(names(&tracking, &root.join("sub")).await, [("sub/x.txt".to_owned(), Some(1))]);
    assert_eq!(text(&tracking, &root.join("sub/x.txt")).await, "x");
    assert!(tracking.artifact(&root.join("leak")).await.is_err());
    assert!(matches!(tracking.receive_artifact(&root.join("y")).await, Err(Error::Elsewhere { .. })));
    assert!(matches!(tracking.delete_artifacts(&root.join("sub")).await, Err(Error::Elsewhere { .. })));

    tracking.put_in_folder(&root.join("up/y"), b"1".to_vec()).await.unwrap();
    tracking.put_in_folder(&root.join("up/y"), b"2".to_vec()).await.unwrap();
    assert_eq!(text(&tracking, &root.join("up/y")).await, "2");
    assert_eq!(std::fs::read_dir(format!("{}/up", run.artifact_uri)).unwrap().count(), 1);
    for odd in ["leak/z", "sub", ""] {
        assert!(tracking.put_in_folder(&root.join(odd), b"3".to_vec()).await.is_err(), "{odd}");
    }
    tracking.put_in_folder(&root.join("leak"), b"4".to_vec()).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("canary")).unwrap(), b"secret");
    assert!(tracking.put_in_folder(&proxied("x").unwrap(), b"5".to_vec()).await.is_err());

    // Started without that root, the server does not read there any more.
    let without = tracking.clone().with_roots(Roots::default());
    assert!(matches!(without.place_of_run(&run.row, "").await, Err(Error::OutsideRoots { .. })));
}

#[tokio::test]
async fn nothing_is_put_where_nobody_owns_it() {
    let (_store, tracking) = tracking(Roots::default()).await;
    let nobody = proxied("0/0123456789abcdef0123456789abcdef/artifacts/x").unwrap();
    assert!(matches!(tracking.receive_artifact(&nobody).await, Err(Error::NobodysPath { .. })));
    assert!(matches!(tracking.receive_artifact(&proxied("").unwrap()).await, Err(Error::NobodysPath { .. })));
    put(&tracking, &proxied("traces/t/x").unwrap(), b"1").await;
    put(&tracking, &proxied("traces/t0").unwrap(), b"2").await;
    assert_eq!(tracking.delete_artifacts(&proxied("traces/t").unwrap()).await.unwrap(), 1);
    assert_eq!(names(&tracking, &proxied("traces").unwrap()).await, [("traces/t0".to_owned(), Some(1))]);
    assert_eq!(clean("traces/").unwrap(), "traces");
}

#[test]
fn listings_are_one_level_deep() {
    let file = |path: &str| Artifact {
        path: path.into(),
        digest: Digest::of(b""),
        size: 3,
        at: Timestamp(0),
        modified: None,
    };
    let all = ["a-b/x", "a/x", "a/y/z", "ab", "b.txt"].map(file);
    let show = |folder: &str| below(&all, folder, false).into_iter().collect::<Vec<_>>();
    let entry = |name: &str, size| (name.to_owned(), size);
    assert_eq!(
        show(""),
        [entry("a", None), entry("a-b", None), entry("ab", Some(3)), entry("b.txt", Some(3))]
    );
    assert_eq!(show("a"), [entry("x", Some(3)), entry("y", None)]);
    assert!(show("ab").is_empty() && show("b.txt").is_empty() && show("nothing").is_empty());
}
