//! Every fixture model answers as scikit-learn does, within 1e-5, row by row and as a batch.

use std::path::{Path, PathBuf};

use rondo_serving::engine::{self, Engine, LoadOptions, Predictions};
use rondo_serving::request::{Form, Reader, Request};
use serde_json::{Map, Value, json};

const TOLERANCE: f64 = 1e-5;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A model with the rows that scikit-learn answered and its answers.
struct Case {
    engine: Box<dyn Engine>,
    rows: Vec<Map<String, Value>>,
    labels: Vec<String>,
    expected: Vec<Vec<f64>>,
}

fn case(name: &str) -> Case {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.json"))).unwrap();
    let answers: Value = serde_json::from_str(&text).unwrap();
    let columns = answers["columns"].as_object().unwrap();
    let options = LoadOptions { columns: columns.keys().cloned().collect(), ..LoadOptions::default() };
    let engine = engine::load_file(&fixtures().join(format!("{name}.onnx")), &options).unwrap();
    let expected: Vec<Vec<f64>> = serde_json::from_value(answers["expected"].clone()).unwrap();
    let row =
        |row: usize| columns.iter().map(|(column, values)| (column.clone(), values[row].clone())).collect();
    let labels = serde_json::from_value(answers.get("labels").cloned().unwrap_or(json!([]))).unwrap();
    Case { engine, rows: (0..expected.len()).map(row).collect(), labels, expected }
}

fn read(engine: &dyn Engine, rows: &[Map<String, Value>]) -> Request {
    let reader = Reader::new(engine.signature().clone(), Form::default());
    reader.read(json!({ "records": rows })).unwrap()
}

fn check(name: &str, predictions: &Predictions, expected: &[Vec<f64>]) {
    for (row, expected) in expected.iter().enumerate() {
        let found = if predictions.probabilities.is_empty() {
            vec![predictions.scores[row]]
        } else {
            predictions.probabilities[row * expected.len()..(row + 1) * expected.len()].to_vec()
        };
        for (found, expected) in found.iter().zip(expected) {
            let scale = expected.abs().max(1.0);
            assert!(
                (found - expected).abs() <= TOLERANCE * scale,
                "{name}, row {row}: {found} is not {expected}"
            );
        }
    }
}

fn agrees(name: &str) {
    let case = case(name);
    assert_eq!(case.engine.classes(), case.labels, "{name}");
    let request = read(case.engine.as_ref(), &case.rows);
    let together = case.engine.predict(&request.batch).unwrap();
    check(name, &together, &case.expected);
    for (row, record) in case.rows.iter().enumerate() {
        let alone =
            case.engine.predict(&read(case.engine.as_ref(), std::slice::from_ref(record)).batch).unwrap();
        assert_eq!(alone.scores[0].to_bits(), together.scores[row].to_bits(), "{name}, row {row} alone");
    }
}

macro_rules! models {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { agrees(stringify!($name)); })*

        #[test]
        fn no_fixture_is_left_out() {
            let known = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(fixtures()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "onnx") {
                    let name = path.file_stem().unwrap().to_str().unwrap();
                    assert!(known.contains(&name), "{name} is tested nowhere");
                }
            }
        }
    };
}

models!(
    boosting,
    boosting_classes,
    boosting_regressor,
    extra_trees,
    forest,
    forest_classes,
    forest_columns,
    forest_regressor,
    histogram,
    histogram_classes,
    histogram_columns,
    histogram_regressor,
    linear,
    linear_double,
    logistic_columns,
    multinomial_zipmap,
    naive_bayes,
    normalized,
    perceptron,
    tree,
);
