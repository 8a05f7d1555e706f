//! `package-model`: a model's file as a folder in MLflow's format, with its card, ready to be shipped.
//!
//! The texts are those of a registered version ([`mlmodel`]) without what would differ from run to run, so
//! that equal inputs give equal folders. Registering and serving are not done here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::handoff::{Lineage, ModelVersion};
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError};
use rondo_core::signature::{Column, ColumnType, Signature};
use rondo_core::{Digest, Objection, Timestamp, suggest};
use rondo_table::read::{ReadOptions, Source};
use rondo_table::{columns, records};
use serde_json::{Value, json};

use crate::error::Error;
use crate::evaluate::labels_of;
use crate::mlmodel::{self, Facts, MODEL_FILE};

/// The moment that stands in the files: the first of 1980, as steps' `SOURCE_DATE_EPOCH` has it.
const MADE: Timestamp = Timestamp(315_532_800_000);

/// The version of MLflow that the folder is written as.
const MLFLOW: &str = "3.12.0";

/// Rows of the example.
const EXAMPLE: usize = 5;

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackageModel;

#[async_trait]
impl Builtin for PackageModel {
    fn name(&self) -> &'static str {
        "package-model"
    }

    fn version(&self) -> &'static str {
        "2"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["name", "task", "target", "features", "classes", "positive", "threshold", "about", "license"]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let classes = classes(with);
        match positive(with, &classes) {
            Some(_) => Vec::new(),
            None if is_regression(with) || is_multiclass(with) => Vec::new(),
            None => vec![format!("`positive` is none of the classes {}", classes.join(", ")).into()],
        }
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        let done = tokio::task::spawn_blocking(move || work(&call)).await;
        let done = done.unwrap_or_else(|error| Err(Error::Package(error.to_string())));
        done.map(|()| BuiltinResult::default()).map_err(|error| Box::new(error) as PortError)
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn text<'a>(with: &'a BTreeMap<String, Value>, key: &str) -> Option<&'a str> {
    with.get(key).and_then(Value::as_str)
}

fn texts(with: &BTreeMap<String, Value>, key: &str) -> Vec<String> {
    let given = with.get(key).and_then(Value::as_array).into_iter().flatten();
    given.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The columns that the model takes: those that are named, else all but the target.
fn features(known: Vec<Column>, target: Option<&str>, named: &[String]) -> Result<Vec<Column>, Error> {
    if named.is_empty() {
        return Ok(known.into_iter().filter(|column| Some(column.name.as_str()) != target).collect());
    }
    let find = |name: &String| {
        let found = known.iter().find(|column| column.name == *name).cloned();
        let names = known.iter().map(|column| column.name.as_str());
        let near = suggest::nearest(name, names).map(|near| format!(": did you mean `{near}`?"));
        found.ok_or_else(|| {
            Error::Package(format!("the rows have no column `{name}`{}", near.unwrap_or_default()))
        })
    };
    named.iter().map(find).collect()
}

fn is_regression(with: &BTreeMap<String, Value>) -> bool {
    text(with, "task") == Some("regression")
}

fn is_multiclass(with: &BTreeMap<String, Value>) -> bool {
    text(with, "task") == Some("multiclass")
}

/// The labels in the model's order, as far as they are declared; none of a regression.
fn classes(with: &BTreeMap<String, Value>) -> Vec<String> {
    if is_regression(with) {
        return Vec::new();
    }
    let given = labels_of(with);
    if given.is_empty() && !is_multiclass(with) { vec!["0".to_owned(), "1".to_owned()] } else { given }
}

/// The same with what the evaluation says: of several classes it has the model's own labels, in its order.
fn known_classes(
    with: &BTreeMap<String, Value>,
    evaluation: Option<&Evaluation>,
) -> Result<Vec<String>, Error> {
    let declared = classes(with);
    if !declared.is_empty() || !is_multiclass(with) {
        return Ok(declared);
    }
    let evaluated = evaluation.and_then(|evaluation| evaluation.confusion.as_ref());
    evaluated.map(|matrix| matrix.labels.clone()).ok_or_else(|| {
        let missing = "the classes are not known: name them by `classes`, in the model's order, or wire what \
                       `evaluate` made to the input `evaluation`";
        Error::Package(missing.to_owned())
    })
}

/// The place of the positive class; none of a task of several.
fn positive(with: &BTreeMap<String, Value>, classes: &[String]) -> Option<usize> {
    if is_multiclass(with) {
        return None;
    }
    match with.get("positive") {
        None | Some(Value::Null) => classes.len().checked_sub(1),
        Some(Value::String(label)) => classes.iter().position(|class| class == label),
        Some(label) => {
            let label = label.to_string();
            classes.iter().position(|class| *class == label)
        }
    }
}

fn work(call: &BuiltinCall) -> Result<(), Error> {
    let with = &call.with;
    let input = |name: &str| {
        let missing = || Error::Package(format!("the step has no input `{name}`"));
        call.step.inputs.get(name).ok_or_else(missing)
    };
    let folder = call.step.outputs.get("package");
    let folder = folder.ok_or_else(|| Error::Package("the step has no output `package`".to_owned()))?;
    let (model, rows) = (input("model")?, input("rows")?);
    let bytes = fs::read(model).map_err(io("read", model))?;
    if !is_onnx(&bytes) {
        let file = model.file_name().unwrap_or_default().to_string_lossy();
        return Err(Error::Package(format!("`{file}` is no ONNX file")));
    }
    let target = text(with, "target");
    let options = ReadOptions::of_input(&call.step.read, "rows")?;
    let rows = Source { path: rows, options: &options };
    let inputs = features(columns::describe(rows)?, target, &texts(with, "features"))?;
    let evaluation = call.step.inputs.get("evaluation").map(|path| evaluation(path)).transpose()?;
    let classes = known_classes(with, evaluation.as_ref())?;
    let lock = installed(call.python.as_deref());
    let version = version(call, &bytes, inputs, &classes);
    let record = Digest::of(serde_json::to_string(&version.signature).unwrap_or_default().as_bytes());
    let record = Digest::of(format!("{} {} {record}", version.model, version.file).as_bytes());
    let facts = Facts {
        record,
        uri: &version.model,
        size: bytes.len() as u64,
        classes: &classes,
        positive: positive(with, &classes),
        lock: &lock,
        mlflow: MLFLOW,
    };
    let mut files: Vec<(&str, String)> = mlmodel::texts(&version, &facts);
    for (path, text) in &mut files {
        if *path == "MLmodel" {
            // Which run made it is known where the folder is kept; in it, it would make each one another.
            let lines = text.lines().filter(|line| !line.starts_with("run_id:"));
            *text = lines.map(|line| format!("{line}\n")).collect();
        }
    }
    let example = example(rows, &version.signature.inputs)?;
    files.push(("input_example.json", example));
    files.push(("environment.txt", lock.clone()));
    files.push(("README.md", card(with, &version, &classes, evaluation.as_ref())));
    files.push(("Containerfile", containerfile(&lock)));
    fs::create_dir_all(folder.join("code")).map_err(io("make", folder))?;
    let place = folder.join(MODEL_FILE);
    fs::write(&place, &bytes).map_err(io("write", &place))?;
    for (path, text) in files {
        let place = folder.join(path);
        fs::write(&place, text).map_err(io("write", &place))?;
    }
    Ok(())
}

/// Whether bytes look like an ONNX model: the first field is its version, a small number.
fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, version, ..] if *version > 0 && *version < 0x40)
}

fn version(call: &BuiltinCall, bytes: &[u8], inputs: Vec<Column>, classes: &[String]) -> ModelVersion {
    let with = &call.with;
    let output = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
    let whole = classes.iter().all(|class| class.parse::<i64>().is_ok());
    let label = if whole { ColumnType::Integer } else { ColumnType::String };
    let (task, outputs) = if is_regression(with) {
        (Task::Regression, vec![output("prediction", ColumnType::Number)])
    } else {
        let task = if is_multiclass(with) { Task::Multiclass } else { Task::Binary };
        (task, vec![output("label", label), output("probability", ColumnType::Number)])
    };
    let target = text(with, "target").unwrap_or_default().to_owned();
    ModelVersion {
        model: text(with, "name").unwrap_or("model").to_owned(),
        version: 1,
        file: Digest::of(bytes),
        run: call.step.run,
        pipeline_run: call.step.run,
        task,
        target,
        positive: positive(with, classes).and_then(|place| classes.get(place).cloned()),
        threshold: with.get("threshold").and_then(Value::as_f64),
        signature: Signature { inputs, outputs },
        evaluation: Evaluation::default(),
        verdicts: Vec::new(),
        gate_passed: false,
        gate_reason: String::new(),
        reference: None,
        trained_until: None,
        lineage: Lineage::default(),
        created: MADE,
    }
}

/// The packages of an environment as a text of pins, by the folders that installing them leaves; empty where
/// there is none.
fn installed(python: Option<&Path>) -> String {
    let Some(libraries) = python.and_then(Path::parent).and_then(Path::parent).map(|venv| venv.join("lib"))
    else {
        return String::new();
    };
    let mut text = String::new();
    for folder in fs::read_dir(&libraries).into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some(version) = name.strip_prefix("python") else { continue };
        let packages = fs::read_dir(folder.path().join("site-packages")).into_iter().flatten().flatten();
        let mut pins: Vec<String> = packages
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let (name, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
                Some(format!("{}=={version}", name.replace('_', "-").to_lowercase()))
            })
            .collect();
        pins.sort_unstable();
        text.push_str(&format!("# python: {version}\n"));
        pins.iter().for_each(|pin| text.push_str(&format!("{pin}\n")));
    }
    text
}

/// What `evaluate` made.
fn evaluation(path: &Path) -> Result<Evaluation, Error> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    let refuse =
        |error| Error::Package(format!("its input `evaluation` is none that `evaluate` made: {error}"));
    serde_json::from_slice(&bytes).map_err(refuse)
}

/// The first rows, in the form that MLflow calls `split`.
fn example(rows: Source<'_>, inputs: &[Column]) -> Result<String, Error> {
    let names: Vec<&str> = inputs.iter().map(|column| column.name.as_str()).collect();
    let mut data = Vec::new();
    for row in records::Records::new(rows.open()?).take(EXAMPLE) {
        let row = row?;
        data.push(
            names.iter().map(|name| row.get(*name).cloned().unwrap_or(Value::Null)).collect::<Vec<_>>(),
        );
    }
    Ok(format!("{}\n", json!({ "columns": names, "data": data })))
}

/// The model card.
fn card(
    with: &BTreeMap<String, Value>,
    version: &ModelVersion,
    classes: &[String],
    evaluation: Option<&Evaluation>,
) -> String {
    let mut text = String::from("---\n");
    text.push_str(&format!("model_name: {}\nlibrary_name: onnx\n", json!(version.model)));
    if let Some(licence) = text_of(with, "license") {
        text.push_str(&format!("license: {}\n", json!(licence)));
    }
    text.push_str(&format!("---\n\n# {}\n\n", version.model));
    let about = text_of(with, "about").unwrap_or_else(|| "Nobody has said yet what it is for.".to_owned());
    text.push_str(&format!("{about}\n\n## What it predicts\n\n"));
    let target = if version.target.is_empty() { String::new() } else { format!(" of `{}`", version.target) };
    if classes.is_empty() {
        text.push_str(&format!("A number: a regression{target}.\n"));
    } else {
        let labels = classes.iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("One of {labels}{target}, with its probability"));
        let threshold = version.threshold.unwrap_or(0.5);
        text.push_str(&match &version.positive {
            Some(positive) => format!("; `{positive}` from a probability of {threshold} on.\n"),
            None => ": the likeliest.\n".to_owned(),
        });
    }
    text.push_str("\n## What it is asked\n\n| column | type | may be missing |\n|---|---|---|\n");
    for column in &version.signature.inputs {
        let nullable = if column.nullable { "yes" } else { "no" };
        let name = column.name.replace('|', "\\|");
        text.push_str(&format!("| {name} | {} | {nullable} |\n", column.column_type.text()));
    }
    if let Some(found) = evaluation {
        text.push_str(&format!(
            "\n## How it scored\n\nOn {} rows.\n\n| metric | value | 95 % interval |\n|---|---|---|\n",
            found.rows
        ));
        for metric in &found.metrics {
            let Some(value) = metric.value else { continue };
            let interval = metric.low.zip(metric.high);
            let interval = interval.map_or_else(String::new, |(low, high)| format!("{low:.4} to {high:.4}"));
            text.push_str(&format!("| {} | {value:.4} | {interval} |\n", metric.name));
        }
    }
    text.push_str(&format!(
        "\n## How to use it\n\n```python\nimport mlflow\nmodel = mlflow.pyfunc.load_model(\".\")\n```\n\n\
         Or `mlflow models serve -m . --env-manager local`, or a container of `Containerfile`.\n\n\
         The file's BLAKE3 is `{}`.\n",
        version.file
    ));
    text
}

fn text_of(with: &BTreeMap<String, Value>, key: &str) -> Option<String> {
    text(with, key).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn containerfile(lock: &str) -> String {
    let python = lock.lines().find_map(|line| line.strip_prefix("# python: ")).unwrap_or("3.11");
    format!(
        "FROM docker.io/library/python:{python}-slim\nWORKDIR /model\nCOPY requirements.txt .\n\
         RUN pip install --no-cache-dir -r requirements.txt\nCOPY . .\nEXPOSE 8080\nUSER nobody\n\
         CMD [\"mlflow\", \"models\", \"serve\", \"-m\", \"/model\", \"-h\", \"0.0.0.0\", \"-p\", \"8080\", \
         \"--env-manager\", \"local\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondo_core::RunId;
    use rondo_core::handoff::StepInputs;
    use rondo_core::ports::Unwatched;

    use super::*;

    fn call(root: &Path, with: Value) -> BuiltinCall {
        let Value::Object(with) = with else { panic!("a mapping") };
        let path = |name: &str| (name.split('.').next().unwrap().to_owned(), root.join(name));
        BuiltinCall {
            confinement: None,
            stop: tokio::sync::watch::channel(false).1,
            step: StepInputs {
                project: "p".into(),
                step: "ship".into(),
                run: RunId::random(),
                key: Digest::of(b"key"),
                params: BTreeMap::new(),
                inputs: [path("model.onnx"), path("rows.csv"), path("evaluation.json")].into(),
                outputs: [("package".to_owned(), root.join("package"))].into(),
                read: BTreeMap::new(),
                metrics: None,
            },
            with: with.into_iter().collect(),
            root: root.to_owned(),
            scratch: root.to_owned(),
            environment: BTreeMap::new(),
            python: Some(root.join("venv/bin/python")),
            progress: Arc::new(Unwatched),
        }
    }

    #[test]
    fn a_folder_has_all_that_is_needed_and_equal_inputs_make_equal_ones() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let place = root.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        };
        write("model.onnx", b"\x08\x09model");
        write("rows.csv", b"size,kind,late\n1.5,a,0\n2.5,b,1\n");
        write("evaluation.json", br#"{"rows": 2, "metrics": [{"name": "roc_auc", "value": 0.75, "low": 0.5, "high": 1.0}], "slices": []}"#);
        fs::create_dir_all(root.path().join("venv/lib/python3.11/site-packages/onnx-1.20.1.dist-info"))
            .unwrap();
        fs::create_dir_all(
            root.path().join("venv/lib/python3.11/site-packages/scikit_learn-1.7.2.dist-info"),
        )
        .unwrap();
        let with = json!({ "name": "delay", "target": "late", "about": "Warns of delays.", "classes": ["no", "yes"] });
        work(&call(root.path(), with.clone())).unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join("package").join(path)).unwrap();
        let mlmodel = read("MLmodel");
        assert!(
            mlmodel.contains("loader_module: \"rondo_onnx\"") && !mlmodel.contains("run_id"),
            "{mlmodel}"
        );
        assert!(mlmodel.contains(r#"classes: ["no","yes"]"#) && !mlmodel.contains("late\\\""), "{mlmodel}");
        assert!(read("requirements.txt").contains("onnx==1.20.1"));
        assert!(read("environment.txt").contains("scikit-learn==1.7.2"));
        assert_eq!(
            read("input_example.json"),
            "{\"columns\":[\"size\",\"kind\"],\"data\":[[1.5,\"a\"],[2.5,\"b\"]]}\n"
        );
        let card = read("README.md");
        assert!(
            card.contains("| roc_auc | 0.7500 | 0.5000 to 1.0000 |") && card.contains("Warns of delays."),
            "{card}"
        );
        assert!(read("Containerfile").starts_with("FROM docker.io/library/python:3.11-slim\n"));
        let first = mlmodel;
        work(&call(root.path(), with)).unwrap();
        assert_eq!(read("MLmodel"), first);
        write("model.onnx", b"a pickle");
        let misnamed = json!({ "name": "x", "features": ["sise"] });
        write("model.onnx", b"\x08\x09model");
        let error = work(&call(root.path(), misnamed)).unwrap_err().to_string();
        assert_eq!(error, "package-model: the rows have no column `sise`: did you mean `size`?");
        write("model.onnx", b"a pickle");
        let error = work(&call(root.path(), json!({ "name": "x" }))).unwrap_err();
        assert_eq!(error.to_string(), "package-model: `model.onnx` is no ONNX file");
    }

    #[test]
    fn codes_stay_text_where_the_dataset_says_so_and_several_classes_have_no_positive_one() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("model.onnx"), b"\x08\x09model").unwrap();
        fs::write(root.path().join("rows.csv"), "size;code\n1,5;12\n2,5;13\n").unwrap();
        let with = json!({ "name": "m", "task": "multiclass", "classes": ["a", "b", "c"] });
        let mut call = call(root.path(), with);
        call.step.inputs.remove("evaluation");
        let read = json!({ "decimal": ",", "types": { "code": "string" } });
        call.step.read.insert("rows".to_owned(), read.as_object().unwrap().clone());
        work(&call).unwrap();
        let text = |path: &str| fs::read_to_string(root.path().join("package").join(path)).unwrap();
        assert!(text("input_example.json").contains(r#"[[1.5,"12"],[2.5,"13"]]"#));
        let mlmodel = text("MLmodel");
        assert!(mlmodel.contains("task: \"multiclass\"") && mlmodel.contains("positive: null"), "{mlmodel}");
        assert!(text("README.md").contains("One of `a`, `b`, `c`, with its probability: the likeliest."));
    }

    #[test]
    fn several_classes_are_those_of_the_evaluation_where_none_are_declared() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("model.onnx"), b"\x08\x09model").unwrap();
        fs::write(root.path().join("rows.csv"), "size\n1.5\n").unwrap();
        let evaluation =
            r#"{"rows": 1, "metrics": [], "slices": [], "confusion": {"labels": ["c", "a"], "counts": []}}"#;
        fs::write(root.path().join("evaluation.json"), evaluation).unwrap();
        let mlmodel = || fs::read_to_string(root.path().join("package/MLmodel")).unwrap();
        let mut call = call(root.path(), json!({ "name": "m", "task": "multiclass" }));
        work(&call).unwrap();
        assert!(mlmodel().contains(r#"classes: ["c","a"]"#), "{}", mlmodel());
        call.step.inputs.remove("evaluation");
        let error = work(&call).unwrap_err().to_string();
        assert!(error.contains("name them by `classes`"), "{error}");
        call.with.insert("classes".to_owned(), json!([3, 5, 7]));
        work(&call).unwrap();
        assert!(mlmodel().contains(r#"classes: ["3","5","7"]"#), "{}", mlmodel());
    }

    #[test]
    fn a_positive_label_that_is_none_of_the_classes_is_told_before_anything_runs() {
        let check = |with: Value| {
            let Value::Object(with) = with else { panic!("a mapping") };
            PackageModel.check(Path::new("."), &with.into_iter().collect())
        };
        assert!(check(json!({ "name": "m" })).is_empty());
        assert!(check(json!({ "name": "m", "positive": 1 })).is_empty());
        assert!(check(json!({ "name": "m", "task": "regression" })).is_empty());
        let refused = check(json!({ "classes": ["a", "b"], "positive": "c" }));
        assert_eq!(refused, ["`positive` is none of the classes a, b".to_owned().into()]);
    }
}
