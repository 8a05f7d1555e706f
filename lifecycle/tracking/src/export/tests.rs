//! What an export promises: it comes in again as it was, and writes nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use rondo_core::ports::Unwatched;
use rondo_store::meta::metrics::{Batch, Point};

use super::*;
use crate::import::{Mlruns, Options, Roots, import};
use crate::runs::NewRun;
use crate::tracking::fixture::tracking;

async fn written(tracking: &Tracking, target: &Path) -> Result<Report, Error> {
    mlruns(tracking, target, false, Arc::new(Unwatched)).await
}

async fn filled(tracking: &Tracking) -> String {
    let tags = vec![("mlflow.note.content".to_owned(), "ü: 'x'\n".to_owned())];
    let run =
        tracking.create_run(NewRun { experiment: "0".into(), tags, ..NewRun::default() }).await.unwrap();
    let id = run.row.id.hex();
    let point = |step: i64, value: f64| ("loss".to_owned(), Point { timestamp: step + 10, step, value });
    let batch = Batch {
        metrics: vec![point(0, 0.1), point(1, f64::NAN), point(2, f64::MAX)],
        params: vec![("a/b".into(), String::new())],
        ..Batch::default()
    };
    tracking.log_batch(&id, batch).await.unwrap();
    let stored = tracking.objects().put_bytes(b"hello").unwrap();
    tracking.meta().put_artifact(&id, "x/y.txt", stored.digest, 5, rondo_core::Timestamp(1)).await.unwrap();
    id
}

#[tokio::test]
async fn what_is_written_out_comes_in_again_as_it_was() {
    let (house, ours) = tracking().await;
    let id = filled(&ours).await;
    let target = house.path().join("out");
    let report = written(&ours, &target).await.unwrap();
    assert!(report.complete(), "{:?}", report.skipped());

    let (_other, theirs) = tracking().await;
    let mut source = Mlruns::open(&target).unwrap();
    let roots = Roots::new(std::slice::from_ref(&target), &target);
    let options = Options { roots, dry_run: false, name: "out".into(), progress: Arc::new(Unwatched) };
    assert!(import(&theirs, &mut source, options).await.unwrap().complete());
    let (a, b) = (ours.run(&id).await.unwrap(), theirs.run(&id).await.unwrap());
    assert_eq!(a.row, b.row);
    assert_eq!((a.facts.params, a.facts.tags), (b.facts.params, b.facts.tags));
    let bits = async |tracking: &Tracking| {
        let history = tracking.meta().metric_history(a.row.id, "loss").await.unwrap();
        history
            .iter()
            .map(|point| (point.step, point.value.is_nan(), point.value.to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&ours).await.len(), 3);
    assert_eq!(bits(&ours).await[2], bits(&theirs).await[2]);
    let files = async |tracking: &Tracking| {
        let files = tracking.meta().artifacts(&id).await.unwrap();
        files.into_iter().map(|file| (file.path, file.digest, file.size)).collect::<Vec<_>>()
    };
    assert_eq!(files(&ours).await, files(&theirs).await);
}

#[tokio::test]
async fn names_that_cannot_be_paths_are_left_out_and_nothing_is_written_elsewhere() {
    let (house, tracking) = tracking().await;
    let id: RunId = filled(&tracking).await.parse().unwrap();
    let params = [("../../../../../evil", "1"), ("a", "beside a/b"), ("ok", "2")];
    let params = params.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    tracking.meta().log_params(id, params).await.unwrap();
    tracking.meta().create_model("..", "", Vec::new(), tracking.now()).await.unwrap();
    let target = house.path().join("deep/er/out");
    let report = written(&tracking, &target).await.unwrap();
    let left_out: BTreeMap<_, _> = report.skipped().iter().map(|s| (s.name.clone(), s.kind)).collect();
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    assert!(!house.path().join("evil").exists() && !house.path().join("deep/evil").exists());
    assert_eq!(std::fs::read(target.join("0").join(id.hex()).join("params/ok")).unwrap(), b"2");
}

#[tokio::test]
async fn a_folder_that_holds_something_is_refused_and_left() {
    let (house, tracking) = tracking().await;
    let target = house.path().join("out");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), "x").unwrap();
    assert!(matches!(written(&tracking, &target).await, Err(Error::NotAStore { .. })));
    std::fs::remove_file(target.join("mine")).unwrap();
    written(&tracking, &target).await.unwrap();
    assert!(target.join("0/meta.yaml").is_file());
    assert_eq!(
        std::fs::read_dir(house.path())
            .unwrap()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().contains("partial"))
            .count(),
        0
    );
}

#[tokio::test]
async fn a_damaged_artifact_is_left_out_by_name() {
    let (house, tracking) = tracking().await;
    filled(&tracking).await;
    let object = tracking.objects().require(rondo_core::Digest::of(b"hello")).unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "hullo").unwrap();
    let report = written(&tracking, &house.path().join("out")).await.unwrap();
    let [skipped] = report.skipped() else { panic!("{:?}", report.skipped()) };
    assert!(!report.complete() && skipped.reason.contains("corrupt"), "{skipped:?}");
}
