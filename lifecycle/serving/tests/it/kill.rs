//! `kill -9` at some instant: nothing that was acknowledged is lost, and the next start needs no repair.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rondo_core::Timestamp;
use rondo_core::handoff::{Observation, Truth};
use rondo_serving::log::reader::Query;
use rondo_serving::log::record::{Fingerprint, Record};
use rondo_serving::log::{Options, Prediction, PredictionLog};
use serde_json::{Map, json};

const FOLDER: &str = "RONDO_TEST_KILLED_LOG";
const ROUND: &str = "RONDO_TEST_KILLED_ROUND";

fn prediction(id: &str) -> Prediction {
    let inputs = json!({"x": 1.5, "carrier": "UA"});
    let observation = Observation {
        prediction_id: id.to_owned(),
        deployment: "delay".to_owned(),
        model: "late".to_owned(),
        version: 1,
        event_time: Timestamp(1_364_800_000_000),
        received: Timestamp(1_364_800_000_000),
        inputs: inputs.clone(),
        score: 0.25,
        label: None,
        probabilities: Map::new(),
        latency_ms: 0.1,
    };
    let inputs_digest = Fingerprint::of_inputs(inputs.as_object().unwrap());
    Prediction { record: Record { observation, inputs_digest }, keep: true }
}

/// Small segments, so that rolling and compaction are under way at many an instant.
fn options() -> Options {
    Options { segment_bytes: 3_000, compact_bytes: 6_000, ..Options::default() }
}

#[test]
#[ignore = "the process that is killed; `acknowledged_truth_and_durable_predictions_survive` starts it"]
fn child() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    let log = PredictionLog::open(Path::new(&folder), options()).unwrap();
    let mut out = std::io::stdout();
    for step in 0..100_000 {
        let id = format!("{round}-{step}");
        log.record(&[prediction(&format!("loose-{id}"))], false).unwrap();
        log.record(&[prediction(&format!("durable-{id}"))], true).unwrap();
        out.write_all(format!("durable-{id}\n").as_bytes()).unwrap();
        let truth =
            Truth { prediction_id: format!("truth-{id}"), label: 1.0.into(), event_time: Timestamp(0) };
        log.truth("delay", &[truth]).unwrap();
        out.write_all(format!("truth-{id}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// Starts the child, kills it after so many acknowledgements, and gives back all it has acknowledged.
fn acknowledged_before_kill(folder: &Path, round: usize, after: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_acknowledged = |line: &String| line.starts_with("durable-") || line.starts_with("truth-");
    let mut lines =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).filter(is_acknowledged);
    let mut all: Vec<String> = lines.by_ref().take(after).collect();
    assert_eq!(all.len(), after, "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    // A short line goes through a pipe whole or not at all.
    all.extend(lines);
    all
}

#[test]
fn acknowledged_truth_and_durable_predictions_survive() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for (round, after) in [1, 7, 40, 95, 180].into_iter().enumerate() {
        acknowledged.extend(acknowledged_before_kill(folder.path(), round, after));
        let log = PredictionLog::open(folder.path(), options()).unwrap();
        let observations = log.observations(&Query::all("delay")).unwrap();
        let ids: HashSet<&str> = observations.iter().map(|one| one.prediction_id.as_str()).collect();
        assert_eq!(ids.len(), observations.len(), "nothing is shown twice");
        for name in &acknowledged {
            match name.strip_prefix("truth-") {
                Some(_) => assert!(log.label("delay", name).is_some(), "{name} was acknowledged and is lost"),
                None => assert!(ids.contains(name.as_str()), "{name} was durable and is lost"),
            }
        }
        log.compact().unwrap();
        assert_eq!(log.observations(&Query::all("delay")).unwrap(), observations);
    }
}
