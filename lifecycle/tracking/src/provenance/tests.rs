//! What the forms say of one pipeline run with two steps. That they are valid is proved end to end, with the
//! formats' own validators.

use rondo_core::Timestamp;
use rondo_core::run::{Code, RunDetail, RunState, StepOutcome};
use serde_json::Value;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    run: RunRow,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).await.unwrap();
    let experiment = store.meta().ensure_experiment("my flights", Timestamp(1)).await.unwrap();
    let put = |text: &str| store.objects().put_bytes(text.as_bytes()).unwrap();
    let link = |name: &str, reference: &str, text: &str| {
        let stored = put(text);
        Link {
            name: name.into(),
            reference: reference.into(),
            digest: stored.digest,
            size: stored.size,
            folder: false,
            executable: false,
        }
    };
    let row = |kind: RunKind, step: Option<&str>, started: i64, detail: RunDetail| RunRow {
        id: RunId::random(),
        experiment,
        kind,
        parent: None,
        name: step.unwrap_or("all steps").to_owned(),
        step: step.map(str::to_owned),
        state: RunState::Finished,
        user: "ada".to_owned(),
        started: Timestamp(started),
        ended: Some(Timestamp(started + 500)),
        deleted: false,
        untagged: false,
        detail,
    };
    let made = link("table", "prepare.table", "a,b\n1,2\n");
    let code = Code {
        commit: Some("c".repeat(40)),
        dirty: false,
        files: [("prep.py".to_owned(), put("print()").digest)].into(),
    };
    let first = RunDetail {
        inputs: vec![link("flights", "data.flights", "raw")],
        outputs: vec![made.clone()],
        code,
        params: [("seed".to_owned(), 7.into())].into(),
        ..RunDetail::default()
    };
    let second = RunDetail {
        inputs: vec![made],
        outputs: vec![link("model", "train.model", "the model")],
        ..RunDetail::default()
    };
    let mut prepare = row(RunKind::Step, Some("prepare"), 2000, first);
    let mut train = row(RunKind::Step, Some("train"), 3000, second);
    let outcome = |row: &RunRow| StepOutcome { run: Some(row.id), outcome: "ran".into(), key: None };
    let whole = RunDetail {
        steps: [("prepare".to_owned(), outcome(&prepare)), ("train".to_owned(), outcome(&train))].into(),
        code: Code {
            files: [(PROJECT_FILE.to_owned(), put("project: p\n").digest)].into(),
            ..Code::default()
        },
        params: [("seed".to_owned(), 7.into())].into(),
        ..RunDetail::default()
    };
    let run = row(RunKind::Pipeline, None, 1000, whole);
    prepare.parent = Some(run.id);
    train.parent = Some(run.id);
    for row in [&run, &prepare, &train] {
        store.meta().create_run(row).await.unwrap();
    }
    Bench { folder, store, run }
}

#[tokio::test]
async fn events_hang_together_by_the_names_of_what_steps_hand_on() {
    let bench = bench().await;
    let known = gather(&bench.store, bench.run.clone()).await.unwrap();
    let events = openlineage::events(&known);
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{} {}", event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            "rondo run START",
            "rondo run COMPLETE",
            "prepare START",
            "prepare COMPLETE",
            "train START",
            "train COMPLETE"
        ]
    );
    let names = |event: &Value, side: &str| -> Vec<String> {
        event[side].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&events[3], "inputs"), ["flights"]);
    assert_eq!(
        (names(&events[3], "outputs"), names(&events[4], "inputs")),
        (vec!["prepare.table".to_owned()], vec!["prepare.table".to_owned()])
    );
    assert!(names(&events[4], "outputs").is_empty());
    assert_eq!(events[5]["run"]["facets"]["parent"]["run"]["runId"], uuid(bench.run.id));
    assert_eq!(names(&events[1], "inputs"), ["flights"]);
    assert_eq!(events[2]["outputs"], serde_json::json!([]));
    assert_eq!(events[2]["inputs"][0]["namespace"], "rondo://my%20flights");
}

#[tokio::test]
async fn a_statement_has_every_output_with_its_sha256() {
    let bench = bench().await;
    let known = gather(&bench.store, bench.run.clone()).await.unwrap();
    let statement = slsa::statement(&known, bench.store.objects()).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    assert_eq!(subjects[1]["name"], "train/model");
    // sha256sum of `the model`.
    assert_eq!(
        subjects[1]["digest"]["sha256"],
        "36cc7e3d6f6200756c81e18470827e9dac1c602fcd87761cbb0b8f015611c098"
    );
    let names: Vec<&str> = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["code", "prep.py", "rondo.yaml", "data.flights"]);
    let nothing = RunRow { id: RunId::random(), detail: RunDetail::default(), ..bench.run.clone() };
    bench.store.meta().create_run(&nothing).await.unwrap();
    let nothing = gather(&bench.store, nothing).await.unwrap();
    assert!(matches!(slsa::statement(&nothing, bench.store.objects()), Err(Error::NoProvenance { .. })));
}

#[tokio::test]
async fn a_crate_holds_its_files_and_says_what_each_is() {
    let bench = bench().await;
    let known = gather(&bench.store, bench.run.clone()).await.unwrap();
    let target = bench.folder.path().join("crate");
    let files = ro_crate::write(&known, bench.store.objects(), &target, ro_crate::NO_LICENCE).unwrap();
    assert_eq!(files, 6);
    assert_eq!(std::fs::read_to_string(target.join("outputs/train/model")).unwrap(), "the model");
    assert_eq!(std::fs::read_to_string(target.join("inputs/data/flights")).unwrap(), "raw");
    let text = std::fs::read_to_string(target.join(ro_crate::METADATA)).unwrap();
    let graph: Value = serde_json::from_str(&text).unwrap();
    let graph = graph["@graph"].as_array().unwrap();
    let of = |id: &str| graph.iter().find(|entity| entity["@id"] == id).unwrap();
    assert_eq!(of("./")["mainEntity"]["@id"], "rondo.yaml");
    let action = of(&format!("#{}", uuid(bench.run.id)));
    assert_eq!(action["instrument"]["@id"], "rondo.yaml");
    // All that is referred to within the crate is there.
    for entity in graph {
        for value in entity.as_object().unwrap().values() {
            let one = std::slice::from_ref(value);
            for item in value.as_array().map_or(one, Vec::as_slice) {
                if let Some(id) = item["@id"].as_str().filter(|id| id.starts_with('#')) {
                    of(id);
                }
            }
        }
    }
    assert!(ro_crate::write(&known, bench.store.objects(), &target, ro_crate::NO_LICENCE).is_err());
    let step = known.steps[0].clone();
    let known = gather(&bench.store, step).await.unwrap();
    let target = bench.folder.path().join("one step");
    ro_crate::write(&known, bench.store.objects(), &target, ro_crate::NO_LICENCE).unwrap();
    assert!(!target.join(PROJECT_FILE).exists());
}

#[tokio::test]
async fn artifacts_keep_their_paths_and_what_differs_lies_apart() {
    let bench = bench().await;
    let mut step = gather(&bench.store, bench.run.clone()).await.unwrap().steps[0].clone();
    let link = |name: &str, reference: &str, text: &str| {
        let stored = bench.store.objects().put_bytes(text.as_bytes()).unwrap();
        let (name, reference) = (name.to_owned(), reference.to_owned());
        Link { name, reference, digest: stored.digest, size: stored.size, folder: false, executable: false }
    };
    step.detail.inputs = vec![link("a", "data.a", "one"), link("b", "data.a", "two")];
    step.detail.outputs = vec![
        link("models/ckpt.pt", "prepare.models/ckpt.pt", "weights"),
        link("m", "train[rate=0.1].m", "the model"),
    ];
    let known = gather(&bench.store, step).await.unwrap();
    let target = bench.folder.path().join("crate");
    ro_crate::write(&known, bench.store.objects(), &target, ro_crate::NO_LICENCE).unwrap();
    let read = |path: &str| std::fs::read_to_string(target.join(path)).unwrap();
    assert_eq!(read("outputs/prepare/models/ckpt.pt"), "weights");
    assert_eq!(read("outputs/train[rate=0.1]/m"), "the model");
    let other = format!("inputs/data/a-{}", Digest::of(b"two").short());
    assert_eq!((read("inputs/data/a"), read(&other)), ("one".to_owned(), "two".to_owned()));
    let graph: Value = serde_json::from_str(&read(ro_crate::METADATA)).unwrap();
    let graph = graph["@graph"].as_array().unwrap();
    assert!(graph.iter().any(|entity| entity["@id"] == other.as_str()));
}

#[test]
fn sources_become_uris() {
    assert_eq!(source_uri("data/my rows.csv"), "file:data/my%20rows.csv");
    assert_eq!(source_uri("https://x.org/a?b=c&d=e f"), "https://x.org/a?b=c&d=e%20f");
    assert_eq!(
        uuid("0123456789abcdef0123456789abcdef".parse().unwrap()),
        "01234567-89ab-cdef-0123-456789abcdef"
    );
}

#[tokio::test]
async fn what_is_damaged_is_neither_attested_nor_packed() {
    let bench = bench().await;
    let objects = bench.store.objects();
    let known = gather(&bench.store, bench.run.clone()).await.unwrap();
    let model = objects.require(Digest::of(b"the model")).unwrap();
    std::fs::remove_file(&model).unwrap();
    std::fs::write(&model, "the moped").unwrap();
    let is_told = |error: Error| matches!(error, Error::Store(rondo_store::Error::Corrupt { .. }));
    assert!(is_told(slsa::statement(&known, objects).unwrap_err()));
    let target = bench.folder.path().join("crate");
    assert!(is_told(ro_crate::write(&known, objects, &target, "MIT").map(drop).unwrap_err()));
}
