//! What an import promises: everything once, nothing else read, and every gap told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::ports::Unwatched;
use rondo_core::run::RunState;
use rondo_core::{RunId, Timestamp};

use super::report::Count;
use super::*;
use crate::Tracking;
use crate::tracking::fixture::tracking;

const RUN: &str = "0123456789abcdef0123456789abcdef";
const MODEL: &str = "m-fedcba9876543210fedcba9876543210";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A store of files: one experiment with one run, its model and that model's registration.
fn mlruns(root: &Path, experiment: &str, name: &str) -> PathBuf {
    let store = root.join("mlruns");
    let of = store.join(experiment);
    write(
        &of.join("meta.yaml"),
        &format!(
            "experiment_id: '{experiment}'\nname: {name}\nlifecycle_stage: active\ncreation_time: 5\nlast_update_time: 6\n"
        ),
    );
    let run = of.join(RUN);
    write(
        &run.join("meta.yaml"),
        &format!(
            "artifact_uri: /gone/mlruns/{experiment}/{RUN}/artifacts\nend_time: 30\nexperiment_id: '{experiment}'\n\
             lifecycle_stage: deleted\nrun_id: {RUN}\nrun_name: brave\nstart_time: 20\nstatus: 4\nuser_id: ada\n"
        ),
    );
    write(&run.join("params/a/b"), "1\n2");
    write(&run.join("tags/mlflow.runName"), "brave");
    write(&run.join("tags/mlflow.parentRunId"), &"f".repeat(32));
    write(&run.join("metrics/loss"), "1 0.5 0\n2 0.25 1\n3 nan 2\n4 inf 3\n");
    write(&run.join("artifacts/model/MLmodel"), "flavors: {}");
    let model = of.join("models").join(MODEL);
    write(
        &model.join("meta.yaml"),
        &format!(
            "artifact_location: {}\ncreation_timestamp: 7\nlast_updated_timestamp: 8\nexperiment_id: '{experiment}'\n\
             model_id: {MODEL}\nname: net\nmodel_type: null\nsource_run_id: {RUN}\nstatus: 2\n",
            model.join("artifacts").display()
        ),
    );
    write(&model.join("metrics/acc"), &format!("9 0.75 1 {RUN} my data e04b\n"));
    write(&model.join("artifacts/model.bin"), "weights");
    let registered = store.join("models/clf");
    write(&registered.join("meta.yaml"), "name: clf\ncreation_timestamp: 1\ndescription: null\n");
    write(&registered.join("aliases/champion"), "2");
    let version = |number: u32, stage: &str, source: &str| {
        write(
            &registered.join(format!("version-{number}/meta.yaml")),
            &format!(
                "name: clf\nversion: {number}\ncurrent_stage: {stage}\nsource: {source}\nrun_id: {RUN}\ncreation_timestamp: 3\n"
            ),
        );
    };
    version(1, "Archived", &format!("file:///gone/mlruns/{experiment}/{RUN}/artifacts/model"));
    version(2, "None", &format!("models:/{MODEL}"));
    version(3, "Deleted_Internal", "x");
    store
}

async fn bring(tracking: &Tracking, store: &Path, dry_run: bool) -> Report {
    let mut source = Mlruns::open(store).unwrap();
    let options = Options {
        roots: Roots::new(&[store.to_owned()], store),
        dry_run,
        name: "test".into(),
        progress: Arc::new(Unwatched),
    };
    import(tracking, &mut source, options).await.unwrap()
}

fn all_of(report: &Report, kind: Kind, found: u64) {
    assert_eq!(report.count(kind), Count { found, imported: found, ..Count::default() }, "{}", kind.text());
}

#[tokio::test]
async fn a_folder_of_files_comes_in_as_it_is() {
    let (house, tracking) = tracking().await;
    let store = mlruns(house.path(), "7", "iris");
    let report = bring(&tracking, &store, false).await;
    assert!(report.complete(), "{:?}", report.skipped());
    for (kind, found) in
        [(Kind::Experiments, 1), (Kind::Runs, 1), (Kind::MetricPoints, 4), (Kind::Artifacts, 2)]
    {
        all_of(&report, kind, found);
    }
    let id: RunId = RUN.parse().unwrap();
    let run = tracking.run(RUN).await.unwrap();
    assert_eq!((run.row.experiment, run.row.state, run.row.deleted), (7, RunState::Failed, true));
    assert_eq!((run.row.started, run.row.ended), (Timestamp(20), Some(Timestamp(30))));
    assert_eq!(run.row.parent.unwrap().hex(), "f".repeat(32));
    assert_eq!(run.facts.params, BTreeMap::from([("a/b".into(), "1\n2".into())]));
    let history = tracking.meta().metric_history(id, "loss").await.unwrap();
    assert_eq!(history.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(history[2].value.is_nan() && history[3].value == f64::MAX);
    let model = tracking.logged_model(MODEL).await.unwrap();
    assert_eq!(
        (model.row.status.as_str(), model.facts.metrics[0].dataset_name.as_str()),
        ("READY", "my data")
    );
    let version = tracking.meta().version("clf", 1).await.unwrap();
    let source = version.of_client().unwrap().source;
    assert_eq!(
        (version.stage.as_str(), source),
        ("Archived", format!("mlflow-artifacts:/7/{RUN}/artifacts/model"))
    );
    let champion = tracking.meta().version("clf", 2).await.unwrap().digest;
    assert_eq!(tracking.meta().model_aliases("clf").await.unwrap()["champion"], champion);
    assert_eq!(tracking.meta().artifacts(MODEL).await.unwrap()[0].path, "model.bin");
}

#[tokio::test]
async fn a_second_import_adds_nothing_and_a_dry_run_writes_nothing() {
    let (house, tracking) = tracking().await;
    let store = mlruns(house.path(), "7", "iris");
    let would = bring(&tracking, &store, true).await;
    assert!(tracking.run(RUN).await.is_err());
    assert!(tracking.meta().experiment(7).await.unwrap().is_none());
    assert_eq!(bring(&tracking, &store, false).await, would);
    let again = bring(&tracking, &store, false).await;
    assert!(again.nothing_new() && again.complete());
    assert_eq!(again.count(Kind::MetricPoints), Count { found: 4, already_there: 4, ..Count::default() });
}

#[tokio::test]
async fn an_interrupted_import_goes_on_and_doubles_nothing() {
    let (house, tracking) = tracking().await;
    let store = mlruns(house.path(), "7", "iris");
    bring(&tracking, &store, false).await;
    // As if it had been stopped after half of the points and before the files were there.
    let id: RunId = RUN.parse().unwrap();
    tracking.meta().mark_imported("run", vec![(id.hex(), String::new())]).await.unwrap();
    tracking.meta().delete_artifacts(RUN, "", Timestamp(1)).await.unwrap();
    write(&store.join("7").join(RUN).join("metrics/loss"), "1 0.5 0\n2 0.25 1\n3 nan 2\n4 inf 3\n5 1 4\n");
    let report = bring(&tracking, &store, false).await;
    assert!(report.complete());
    assert_eq!(
        report.count(Kind::MetricPoints),
        Count { found: 5, imported: 1, already_there: 4, skipped: 0 }
    );
    assert_eq!(report.count(Kind::Artifacts), Count { found: 2, imported: 1, already_there: 1, skipped: 0 });
    assert_eq!(tracking.meta().metric_history(id, "loss").await.unwrap().len(), 5);
    assert!(bring(&tracking, &store, false).await.nothing_new());
}

#[tokio::test]
async fn an_id_that_is_taken_gives_way_and_a_name_that_is_here_is_used() {
    let (house, tracking) = tracking().await;
    for name in ["ours", "theirs"] {
        tracking.meta().create_experiment(name, None, BTreeMap::new(), Timestamp(1)).await.unwrap();
    }
    let store = mlruns(house.path(), "1", "iris");
    let report = bring(&tracking, &store, false).await;
    assert_eq!(report.notes().len(), 1, "{:?}", report.notes());
    assert_eq!(tracking.run(RUN).await.unwrap().row.experiment, 3);
    assert!(bring(&tracking, &store, false).await.nothing_new());

    let other = tempfile::tempdir().unwrap();
    let store = mlruns(other.path(), "9", "theirs");
    fs::rename(store.join("9").join(RUN), store.join("9").join("1".repeat(32))).unwrap();
    let report = bring(&tracking, &store, false).await;
    assert_eq!(report.count(Kind::Experiments).already_there, 1);
    // A run whose file says that it is another is told.
    assert_eq!(report.count(Kind::Runs).skipped, 1);
}

#[tokio::test]
async fn what_is_missing_is_told_and_comes_in_once_it_is_there() {
    let (house, tracking) = tracking().await;
    let store = mlruns(house.path(), "7", "iris");
    let files = store.join("7/models").join(MODEL).join("artifacts");
    fs::rename(&files, house.path().join("moved")).unwrap();
    let report = bring(&tracking, &store, false).await;
    assert!(!report.complete());
    assert!(report.skipped()[0].name.contains(MODEL), "{:?}", report.skipped());
    fs::rename(house.path().join("moved"), &files).unwrap();
    let report = bring(&tracking, &store, false).await;
    assert!(report.complete());
    assert_eq!(report.count(Kind::Artifacts).imported, 1);
}
