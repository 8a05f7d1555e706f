//! Endpoints as callers see them: swaps without a failed request, ids answered once, shadows on the side.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rondo_core::handoff::{Deployment, Truth};
use rondo_core::label::Label;
use rondo_core::ports::Clock;
use rondo_core::{Code, Digest, Explain, Timestamp};
use rondo_serving::deployment::{Answer, Candidate, Deployments, LogPolicy, try_out};
use rondo_serving::engine::{Engine, LoadOptions, load_file};
use rondo_serving::log::reader::{LogReader, Query};
use rondo_serving::log::{Options, PredictionLog};
use serde_json::{Value, json};

/// A clock that stands still.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2013-04-01T12:00:00Z".parse().unwrap()
    }
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.onnx"))
}

fn named() -> LoadOptions {
    let columns = ["distance", "delay", "hour"].map(str::to_owned).to_vec();
    LoadOptions { columns, ..LoadOptions::default() }
}

fn candidate(name: &str, version: u32) -> Candidate {
    let path = model(name);
    let deployment = Deployment {
        name: "delay".to_owned(),
        model: "late".to_owned(),
        version,
        file: Digest::of(&std::fs::read(&path).unwrap()),
        alias: Some("champion".to_owned()),
        since: Noon.now(),
    };
    Candidate { options: named(), ..Candidate::new(deployment, path) }
}

fn engine(name: &str) -> Box<dyn Engine> {
    load_file(&model(name), &named()).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    log: Arc<PredictionLog>,
    deployments: Deployments,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(PredictionLog::open(folder.path(), Options::default()).unwrap());
    let deployments = Deployments::new(Arc::clone(&log), Arc::new(Noon)).unwrap();
    Bench { folder, log, deployments }
}

fn record(id: &str, delay: f64) -> Value {
    json!({"prediction_id": id, "event_time": "2013-04-01T05:15:00Z", "distance": 800.0, "delay": delay, "hour": 9})
}

fn one(deployments: &Deployments, record: Value) -> Answer {
    deployments.predict("delay", record).unwrap().remove(0)
}

fn score(engine: &dyn Engine, delay: f64) -> f64 {
    use rondo_serving::engine::{Batch, Values};
    let columns = [800.0, delay, 9.0].map(|value| Values::Number(vec![value])).to_vec();
    engine.predict(&Batch::new(1, columns).unwrap()).unwrap().scores[0]
}

#[test]
fn a_request_is_answered_logged_and_counted() {
    let Bench { log, deployments, .. } = &bench();
    assert_eq!(deployments.swap(candidate("forest", 1)).unwrap().before, None);
    let answer = one(deployments, record("a", 30.0));
    let expected = score(engine("forest").as_ref(), 30.0);
    assert_eq!((answer.score, answer.version, answer.model.as_str()), (expected, 1, "late"));
    assert_eq!(answer.label.as_deref(), Some(if expected >= 0.5 { "1" } else { "0" }));
    let observations = log.observations(&Query::all("delay")).unwrap();
    assert_eq!(observations.len(), 1);
    assert_eq!(observations[0].score, expected);
    assert_eq!(observations[0].event_time.rfc3339(), "2013-04-01T05:15:00Z");
    assert_eq!(observations[0].received, Noon.now());
    assert_eq!(observations[0].inputs, json!({"distance": 800.0, "delay": 30.0, "hour": 9}));
    let status = deployments.status_of("delay").unwrap();
    assert_eq!((status.numbers.answered, status.numbers.rows, status.numbers.failed), (1, 1, 0));
    assert!(status.numbers.p99_ms.unwrap() > 0.0);
    assert!(deployments.prometheus().contains("rondo_prediction_rows_total{deployment=\"delay\"} 1"));
}

#[test]
fn the_probabilities_of_several_classes_are_logged_and_survive_compaction() {
    use rondo_serving::engine::{Batch, Values};
    let Bench { log, deployments, .. } = &bench();
    deployments.swap(candidate("forest_classes", 1)).unwrap();
    let answer = one(deployments, record("a", 30.0));
    let engine = engine("forest_classes");
    let columns = [800.0, 30.0, 9.0].map(|value| Values::Number(vec![value])).to_vec();
    let said = engine.predict(&Batch::new(1, columns).unwrap()).unwrap().probabilities;
    let of = |answer: &Answer| {
        let shares =
            answer.probabilities.iter().map(|(class, share)| (class.clone(), share.as_f64().unwrap()));
        shares.collect::<Vec<_>>()
    };
    let named: Vec<(String, f64)> = engine.classes().iter().cloned().zip(said.iter().copied()).collect();
    assert_eq!(of(&answer), named);
    let live = deployments.live("delay").unwrap();
    let tried = try_out(&live, live.read(record("a", 30.0)).unwrap()).unwrap();
    assert_eq!(tried, std::slice::from_ref(&answer), "the same where nothing is logged");
    let check = || {
        assert_eq!(one(deployments, record("a", 30.0)), answer, "the same again");
        let observation = log.observations(&Query::all("delay")).unwrap().remove(0);
        assert_eq!(observation.label, answer.label);
        let classes: Vec<&String> = observation.probabilities.keys().collect();
        assert_eq!(classes, engine.classes().iter().collect::<Vec<_>>());
        let logged: Vec<f64> = observation.probabilities.values().filter_map(Value::as_f64).collect();
        assert_eq!(logged, said);
    };
    check();
    log.compact().unwrap();
    check();
    deployments.swap(candidate("forest", 2)).unwrap();
    let of_two = serde_json::to_value(one(deployments, record("b", 30.0))).unwrap();
    assert_eq!(of_two.get("probabilities"), None);
    let binary = log.observations(&Query { version: Some(2), ..Query::all("delay") }).unwrap().remove(0);
    assert!(binary.probabilities.is_empty() && binary.label.is_some());
}

#[test]
fn a_truth_is_taken_in_the_terms_of_the_model() {
    let Bench { deployments, .. } = &bench();
    let told = |label: Label| {
        let truth = Truth { prediction_id: "a".to_owned(), label, event_time: Noon.now() };
        deployments.live("delay").unwrap().resolve(truth).map(|truth| truth.label)
    };
    let refused = |label: Label| {
        let error = told(label).unwrap_err();
        assert_eq!(error.code(), Code::RequestInvalid);
        error.to_string()
    };
    deployments.swap(candidate("forest_classes", 1)).unwrap();
    assert_eq!(told("late".into()).unwrap(), "late".into());
    assert_eq!(
        refused("tulip".into()),
        "the ground truth of `a` is `tulip`, which is none of the 3 classes of `late`: early, late, ok"
    );
    assert!(refused(1.0.into()).contains("is `1`, which is none of the 3 classes"));
    deployments.swap(candidate("forest", 2)).unwrap();
    for label in [Label::from(1.0), "1".into(), "1.0".into()] {
        assert_eq!(told(label).unwrap(), 1.0.into());
    }
    assert!(refused(2.0.into()).contains("is `2`, which is neither 0 or 1 nor a class of `late`: 0, 1"));
    let nought = LoadOptions { positive: Some("0".to_owned()), ..named() };
    deployments.swap(Candidate { options: nought, ..candidate("forest", 3) }).unwrap();
    assert_eq!(told(0.0.into()).unwrap(), 1.0.into(), "the positive class is 0");
    deployments.swap(candidate("linear", 4)).unwrap();
    assert_eq!(told((-3.5).into()).unwrap(), (-3.5).into());
    assert!(refused("late".into()).contains("is the text `late`, and the model `late` predicts numbers"));
}

#[test]
fn the_threshold_decides_the_label() {
    let Bench { deployments, .. } = &bench();
    let score = score(engine("forest").as_ref(), 30.0);
    for (version, threshold, label) in [(1, score, "1"), (2, score + 1e-9, "0")] {
        deployments.swap(Candidate { threshold: Some(threshold), ..candidate("forest", version) }).unwrap();
        assert_eq!(one(deployments, record(&format!("id-{version}"), 30.0)).label.as_deref(), Some(label));
    }
}

#[test]
fn a_repeated_id_gets_the_first_answer_even_after_a_swap() {
    let Bench { log, deployments, .. } = &bench();
    deployments.swap(candidate("forest", 1)).unwrap();
    let first = one(deployments, record("a", 30.0));
    deployments.swap(candidate("boosting", 2)).unwrap();
    assert_eq!(one(deployments, record("a", 30.0)), first);
    let mixed =
        deployments.predict("delay", json!([record("b", 1.0), record("a", 30.0), record("c", 2.0)])).unwrap();
    assert_eq!(mixed[1], first);
    assert_eq!((mixed[0].version, mixed[2].version), (2, 2));
    assert_eq!(mixed[2].score, score(engine("boosting").as_ref(), 2.0));
    let error = deployments.predict("delay", json!([record("d", 1.0), record("a", 31.0)])).unwrap_err();
    assert_eq!(error.code(), Code::PredictionConflict);
    let ids: Vec<String> =
        log.observations(&Query::all("delay")).unwrap().into_iter().map(|one| one.prediction_id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let numbers = deployments.status_of("delay").unwrap().numbers;
    assert_eq!((numbers.repeated, numbers.refused, numbers.failed), (2, 1, 0));
}

#[test]
fn rows_without_an_id_are_given_one_each() {
    let Bench { deployments, .. } = &bench();
    deployments.swap(candidate("forest", 1)).unwrap();
    let row = json!({"distance": 800.0, "delay": 3.0, "hour": 9});
    let answers = deployments.predict("delay", json!([row, row])).unwrap();
    assert_eq!(answers[0].prediction_id.len(), 32);
    assert_ne!(answers[0].prediction_id, answers[1].prediction_id);
}

#[test]
fn no_request_fails_while_models_are_exchanged() {
    let Bench { log, deployments, .. } = &bench();
    deployments.swap(candidate("forest", 1)).unwrap();
    let stop = AtomicBool::new(false);
    let answers: Vec<(f64, Answer)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let step = answers.len();
                        let delay = (step % 50) as f64;
                        answers.push((delay, one(deployments, record(&format!("{client}-{step}"), delay))));
                    }
                    answers
                })
            })
            .collect();
        for version in 2..22 {
            let name = if version % 2 == 0 { "boosting" } else { "forest" };
            assert_eq!(deployments.swap(candidate(name, version)).unwrap().now.version, version);
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let engines = [engine("boosting"), engine("forest")];
    for (delay, answer) in &answers {
        assert_eq!(answer.score, score(engines[answer.version as usize % 2].as_ref(), *delay), "{answer:?}");
    }
    let logged = log.observations(&Query::all("delay")).unwrap();
    assert_eq!(logged.len(), answers.len());
    let numbers = deployments.status_of("delay").unwrap().numbers;
    assert_eq!((numbers.failed, numbers.refused), (0, 0));
}

#[test]
fn a_model_that_cannot_be_loaded_leaves_the_old_one_in_place() {
    let Bench { deployments, .. } = &bench();
    deployments.swap(candidate("forest", 1)).unwrap();
    let mut other_bytes = candidate("boosting", 2);
    other_bytes.deployment.file = Digest::of(b"what was registered");
    assert_eq!(deployments.swap(other_bytes).unwrap_err().code(), Code::Corrupt);
    let mut gone = candidate("boosting", 2);
    gone.path = PathBuf::from("/nonexistent.onnx");
    assert!(deployments.swap(gone).is_err());
    assert_eq!(one(deployments, record("a", 1.0)).version, 1);
    let error = deployments.predict("delya", json!({})).unwrap_err();
    assert_eq!(
        (error.code(), error.hints()),
        (Code::DeploymentNotFound, vec!["did you mean `delay`?".to_owned()])
    );
    let mut misnamed = candidate("boosting", 2);
    misnamed.deployment.name = "../delay".to_owned();
    assert_eq!(deployments.swap(misnamed).unwrap_err().code(), Code::ValueInvalid);
}

#[test]
fn a_shadow_scores_the_same_rows_and_nobody_sees_it() {
    let Bench { folder, log, deployments } = &bench();
    deployments.swap(candidate("forest", 1)).unwrap();
    deployments.shadow(candidate("boosting", 2)).unwrap();
    for step in 0..5 {
        assert_eq!(one(deployments, record(&format!("id-{step}"), f64::from(step))).version, 1);
    }
    deployments.drain_shadows();
    let shadow = log.observations(&Query::all("delay.shadow")).unwrap();
    let boosting = engine("boosting");
    for (step, one) in shadow.iter().enumerate() {
        assert_eq!((one.version, one.score), (2, score(boosting.as_ref(), step as f64)));
        assert_eq!(one.event_time.rfc3339(), "2013-04-01T05:15:00Z");
    }
    assert_eq!((shadow.len(), log.observations(&Query::all("delay")).unwrap().len()), (5, 5));
    assert_eq!(LogReader::new(folder.path()).find("id-3", None).unwrap()[0].version, 1);
    deployments.end_shadow("delay").unwrap();
    one(deployments, record("later", 1.0));
    deployments.drain_shadows();
    assert_eq!(deployments.status_of("delay").unwrap().numbers.shadow_rows, 5);
}

#[test]
fn a_row_that_the_model_cannot_score_is_refused_by_its_number() {
    let Bench { deployments, .. } = &bench();
    let mut linear = candidate("normalized", 1);
    linear.deployment.file = Digest::of(&std::fs::read(model("normalized")).unwrap());
    deployments.swap(linear).unwrap();
    let mut gap = record("b", 1.0);
    gap["delay"] = Value::Null;
    let error = deployments.predict("delay", json!([record("a", 1.0), gap])).unwrap_err();
    assert_eq!(error.code(), Code::RequestInvalid);
    assert!(error.to_string().starts_with("the model gives row 1 no score"), "{error}");
}

#[test]
fn a_sample_logs_a_share_and_the_same_one_for_the_same_ids() {
    let logged = || {
        let Bench { log, deployments, .. } = &bench();
        let policy = LogPolicy { sample: 0.3, durable: false };
        deployments.swap(Candidate { log: policy, ..candidate("forest", 1) }).unwrap();
        for step in 0..200 {
            one(deployments, record(&format!("id-{step}"), f64::from(step)));
        }
        let all = log.observations(&Query::all("delay")).unwrap();
        all.into_iter().map(|one| one.prediction_id).collect::<Vec<String>>()
    };
    let first = logged();
    assert!((30..90).contains(&first.len()), "{}", first.len());
    assert_eq!(first, logged());
}
