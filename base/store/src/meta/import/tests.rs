//! What is brought in is completed when it comes again, never doubled.

use rondo_core::run::{RunDetail, RunKind, RunState};

use super::*;
use crate::Store;

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
    (folder, store)
}

fn run(id: RunId) -> ImportedRun {
    let row = RunRow {
        id,
        experiment: 0,
        kind: RunKind::Client,
        parent: None,
        name: "brave-ant-1".into(),
        step: None,
        state: RunState::Running,
        user: "ada".into(),
        started: Timestamp(10),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    };
    let pairs = |n: usize| (0..n).map(|i| (format!("k{i}"), i.to_string())).collect();
    ImportedRun { row, params: pairs(3), tags: pairs(2), inputs: vec![RunInput::model_input("m-1")] }
}

fn model(description: &str) -> ImportedRegistered {
    let said = |source: &str| ClientVersion {
        location: None,
        source: source.into(),
        run: None,
        model_id: None,
        run_link: None,
        user: None,
    };
    let version = |number: i64| ImportedVersion {
        number,
        said: said(&format!("models:/m-{number}")),
        created: Timestamp(5),
        updated: Timestamp(6),
        description: "a version".into(),
        stage: "Staging".into(),
        tags: vec![("a".into(), "b".into())],
    };
    ImportedRegistered {
        name: "clf".into(),
        created: Timestamp(1),
        updated: Timestamp(2),
        description: description.into(),
        tags: vec![("t".into(), "u".into())],
        aliases: vec![("champion".into(), 3)],
        versions: vec![version(1), version(3)],
        last: 7,
    }
}

#[tokio::test]
async fn runs_come_in_once_and_a_second_time_only_completes_them() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let id = RunId::random();
    meta.import_runs(vec![run(id)]).await.unwrap();
    let marks = meta.import_marks("run", &[id.hex()]).await.unwrap();
    assert_eq!(marks.get(&id.hex()).map(String::as_str), Some(""));

    let mut later = run(id);
    later.row.state = RunState::Finished;
    later.row.ended = Some(Timestamp(20));
    later.params.push(("new".into(), "1".into()));
    later.tags = vec![("k0".into(), "changed".into())];
    meta.import_runs(vec![later]).await.unwrap();
    meta.mark_imported("run", vec![(id.hex(), "done".into())]).await.unwrap();

    let row = meta.require_run(id).await.unwrap();
    assert_eq!((row.state, row.ended), (RunState::Finished, Some(Timestamp(20))));
    assert_eq!(meta.run_params(id).await.unwrap().len(), 4);
    assert_eq!(meta.run_tags(id).await.unwrap()["k0"], "changed");
    assert_eq!(meta.run_inputs(id, "model_input").await.unwrap().len(), 1);
    assert_eq!(meta.import_marks("run", &[id.hex()]).await.unwrap()[&id.hex()], "done");
    assert_eq!(meta.known_runs(&[id, RunId::random()]).await.unwrap(), HashSet::from([id]));
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_all_come_in() {
    let (_folder, store) = store().await;
    let id = RunId::random();
    let mut many = run(id);
    many.params = (0..ROWS * 2 + 1).map(|i| (format!("p{i}"), "x".to_owned())).collect();
    store.meta().import_runs(vec![many]).await.unwrap();
    assert_eq!(store.meta().run_params(id).await.unwrap().len(), ROWS * 2 + 1);
}

#[tokio::test]
async fn versions_keep_their_numbers_and_the_next_is_greater_than_any_that_was() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    let why = || Because::new("import", "imported");
    let outcome = meta.import_registered(model("x"), why(), Timestamp(9)).await.unwrap();
    assert_eq!((outcome.made, outcome.versions, outcome.aliases), (true, 2, 1));
    let version = meta.version("clf", 3).await.unwrap();
    assert_eq!(
        (version.stage.as_str(), version.created, version.updated),
        ("Staging", Timestamp(5), Timestamp(6))
    );
    assert_eq!(meta.registered_model("clf").await.unwrap().aliases["champion"], version.digest);

    let again = meta.import_registered(model("x"), why(), Timestamp(10)).await.unwrap();
    assert_eq!(again, RegisteredOutcome::default());
    let said = version.of_client().unwrap();
    let next = meta.create_client_version("clf", said, "", Vec::new(), Timestamp(11)).await.unwrap();
    assert_eq!(next, 8);
}

#[tokio::test]
async fn a_number_that_another_version_has_here_is_told_and_left() {
    let (_folder, store) = store().await;
    let meta = store.meta();
    meta.create_model("clf", "ours", Vec::new(), Timestamp(1)).await.unwrap();
    let said = ClientVersion {
        location: None,
        source: "mlflow-artifacts:/0/ours".into(),
        run: None,
        model_id: None,
        run_link: None,
        user: None,
    };
    meta.create_client_version("clf", said, "", Vec::new(), Timestamp(2)).await.unwrap();
    let because = Because::new("import", "imported");
    let outcome = meta.import_registered(model("theirs"), because, Timestamp(9)).await.unwrap();
    assert_eq!((outcome.made, outcome.versions, outcome.taken), (false, 1, vec![1]));
    assert_eq!(meta.registered_model("clf").await.unwrap().description, "ours");
    assert_eq!(meta.version("clf", 1).await.unwrap().of_client().unwrap().source, "mlflow-artifacts:/0/ours");
}
