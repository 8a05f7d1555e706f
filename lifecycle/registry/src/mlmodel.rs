//! A registered version as a folder that MLflow's clients load: `MLmodel` and what it names.
//!
//! The texts follow from the version's record alone, so that they are the same whenever they are made. The
//! model's file is the object that serves; nothing here looks into it, what it predicts is said by [`Facts`].
//! Where the texts are kept is not known here.

use rondo_core::Digest;
use rondo_core::handoff::ModelVersion;
use rondo_core::signature::{Column, ColumnType};
use serde_json::json;

/// The model's file in the folder.
pub const MODEL_FILE: &str = "model.onnx";

/// The code that answers as an endpoint does.
const LOADER: &str = include_str!("mlmodel/rondo_onnx.py");

/// The Python that is named where no lock says which one it was.
const PYTHON: &str = "3.11";

/// What the texts say beside the record.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The address of the version's record.
    pub record: Digest,
    /// Where the folder is, as clients name it.
    pub uri: &'a str,
    /// Bytes of the model's file.
    pub size: u64,
    /// The labels of the model's classes, in its order; none of a regression.
    pub classes: &'a [String],
    /// The place of the positive class.
    pub positive: Option<usize>,
    /// The lock of the environment that the model was made in; empty where there is none.
    pub lock: &'a str,
    /// The version of MLflow that clients take this server for.
    pub mlflow: &'a str,
}

/// The texts of the folder by their path, in the order in which they should be stored: `MLmodel` is the last,
/// so that where it is everything is.
pub fn texts(version: &ModelVersion, facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let pins = Pins::read(facts.lock);
    let mut texts = vec![
        ("code/rondo_onnx.py", LOADER.to_owned()),
        ("conda.yaml", pins.conda()),
        ("python_env.yaml", pins.python_env()),
        ("requirements.txt", pins.requirements.join("\n")),
    ];
    let size = facts.size + texts.iter().map(|(_, text)| text.len() as u64).sum::<u64>();
    texts.push(("MLmodel", mlmodel(version, facts, &pins, size)));
    texts
}

fn mlmodel(version: &ModelVersion, facts: &Facts<'_>, pins: &Pins, size: u64) -> String {
    let columns = version.signature.inputs.iter();
    let columns = columns.map(|column| json!({ "name": column.name, "nullable": column.nullable }));
    let whole = version
        .signature
        .outputs
        .iter()
        .any(|column| column.name == "label" && column.column_type == ColumnType::Integer);
    let created = version.created.rfc3339();
    let created = created.trim_end_matches('Z').replace('T', " ");
    // Every value is JSON, which YAML includes: nothing in a name can become structure.
    let of_onnx = [
        ("code", json!(null)),
        ("data", json!(MODEL_FILE)),
        ("onnx_session_options", json!(null)),
        ("onnx_version", json!(pins.version("onnx"))),
        ("providers", json!(["CUDAExecutionProvider", "CPUExecutionProvider"])),
    ];
    let of_python = [
        ("code", json!("code")),
        ("data", json!(MODEL_FILE)),
        ("env", json!({ "conda": "conda.yaml", "virtualenv": "python_env.yaml" })),
        ("loader_module", json!("rondo_onnx")),
        ("python_version", json!(pins.python)),
    ];
    let of_rondo = [
        ("classes", json!(facts.classes)),
        ("columns", json!(columns.collect::<Vec<_>>())),
        ("file", json!(version.file.hex())),
        ("positive", json!(facts.positive)),
        ("task", json!(version.task)),
        ("threshold", json!(version.threshold.unwrap_or(0.5))),
        ("whole", json!(whole)),
    ];
    let mut text = format!("artifact_path: {}\nflavors:\n", json!(facts.uri));
    for (flavour, values) in [("onnx", &of_onnx[..]), ("python_function", &of_python), ("rondo", &of_rondo)] {
        text.push_str(&format!("  {flavour}:\n"));
        for (key, value) in values {
            text.push_str(&format!("    {key}: {value}\n"));
        }
    }
    for (key, value) in [
        ("is_signature_from_type_hint", json!(false)),
        ("mlflow_version", json!(facts.mlflow)),
        ("model_size_bytes", json!(size)),
        ("model_uuid", json!(uuid(facts.record))),
        ("run_id", json!(version.run.hex())),
    ] {
        text.push_str(&format!("{key}: {value}\n"));
    }
    text.push_str(&format!(
        "signature:\n  inputs: {}\n  outputs: {}\n  params: null\n",
        json!(schema(&version.signature.inputs)),
        json!(schema(&version.signature.outputs)),
    ));
    text.push_str(&format!("type_hint_from_example: false\nutc_time_created: {}\n", json!(created)));
    text
}

/// 32 hex characters of a record's address.
pub fn uuid(record: Digest) -> String {
    record.hex().chars().take(32).collect()
}

/// The JSON text that MLflow keeps a table's columns as.
fn schema(columns: &[Column]) -> String {
    let column = |column: &Column| {
        let kind = match column.column_type {
            ColumnType::Integer => "long",
            ColumnType::Number => "double",
            ColumnType::Boolean => "boolean",
            ColumnType::String | ColumnType::Other => "string",
            ColumnType::Timestamp => "datetime",
        };
        json!({ "type": kind, "name": column.name, "required": !column.nullable })
    };
    json!(columns.iter().map(column).collect::<Vec<_>>()).to_string()
}

/// What has to be installed to load the model, at the versions that it was made with.
struct Pins {
    python: String,
    requirements: Vec<String>,
}

impl Pins {
    fn read(lock: &str) -> Self {
        let python = lock.lines().find_map(|line| line.strip_prefix("# python: "));
        let pinned = |name: &str| {
            let of = |line: &str| {
                let (found, rest) = line.split_once("==")?;
                let version = rest.split([' ', ';', '\\']).next().unwrap_or_default();
                (found == name && !version.is_empty()).then(|| version.to_owned())
            };
            lock.lines().find_map(of)
        };
        let require = |name: &str| {
            // Its small edition has the same versions.
            let version = pinned(name).or_else(|| pinned(&format!("{name}-skinny")));
            version.map_or_else(|| name.to_owned(), |version| format!("{name}=={version}"))
        };
        let requirements = ["mlflow", "numpy", "onnx", "onnxruntime", "pandas"].map(require).to_vec();
        Self { python: python.unwrap_or(PYTHON).trim().to_owned(), requirements }
    }

    fn version(&self, name: &str) -> Option<&str> {
        self.requirements.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="))
    }

    fn conda(&self) -> String {
        let python = &self.python;
        let mut text = format!("channels:\n- conda-forge\ndependencies:\n- python={python}\n- pip\n- pip:\n");
        for line in &self.requirements {
            text.push_str(&format!("  - {line}\n"));
        }
        text + "name: mlflow-env\n"
    }

    fn python_env(&self) -> String {
        format!(
            "python: {}\nbuild_dependencies:\n- pip\n- setuptools\n- wheel\ndependencies:\n- -r requirements.txt\n",
            json!(self.python)
        )
    }
}

#[cfg(test)]
mod tests {
    use rondo_core::evaluation::{Evaluation, Task};
    use rondo_core::handoff::Lineage;
    use rondo_core::signature::Signature;
    use rondo_core::{RunId, Timestamp};

    use super::*;

    fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
        Column { name: name.into(), column_type, nullable }
    }

    fn version() -> ModelVersion {
        let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        ModelVersion {
            model: "delay".into(),
            version: 3,
            file: Digest::of(b"onnx"),
            run,
            pipeline_run: run,
            task: Task::Binary,
            target: "late".into(),
            positive: Some("1".into()),
            threshold: Some(0.3),
            signature: Signature {
                inputs: vec![
                    column("distance", ColumnType::Number, true),
                    column("odd: \"name\"\n", ColumnType::String, false),
                ],
                outputs: vec![
                    column("label", ColumnType::Integer, false),
                    column("probability", ColumnType::Number, false),
                ],
            },
            evaluation: Evaluation::default(),
            verdicts: vec![],
            gate_passed: true,
            gate_reason: String::new(),
            reference: None,
            trained_until: None,
            lineage: Lineage::default(),
            created: Timestamp(1_700_000_000_123),
        }
    }

    const LOCK: &str = "# python: 3.10\nmlflow-skinny==3.9.0\nnumpy==2.1.0 \\\n    --hash=sha256:aa\nonnx==1.20.1 ; python_version < '4' \\\n\
                        onnxruntime-extensions==9\n";

    fn facts<'a>(classes: &'a [String]) -> Facts<'a> {
        Facts {
            record: Digest::of(b"record"),
            uri: "mlflow-artifacts:/models/v-x/artifacts",
            size: 1000,
            classes,
            positive: Some(1),
            lock: LOCK,
            mlflow: "3.17.2",
        }
    }

    #[test]
    fn a_version_is_a_folder_that_mlflow_reads() {
        let classes = ["0".to_owned(), "1".to_owned()];
        let texts = texts(&version(), &facts(&classes));
        assert_eq!(texts.last().map(|(path, _)| *path), Some("MLmodel"));
        let by = |path: &str| texts.iter().find(|(known, _)| *known == path).unwrap().1.clone();
        insta::assert_snapshot!(by("MLmodel"));
        insta::assert_snapshot!(by("requirements.txt"), @r"
        mlflow==3.9.0
        numpy==2.1.0
        onnx==1.20.1
        onnxruntime
        pandas
        ");
        assert!(by("conda.yaml").contains("- python=3.10\n"));
        assert!(by("python_env.yaml").starts_with("python: \"3.10\"\n"));
    }

    #[test]
    fn the_same_record_gives_the_same_texts_and_no_lock_no_pins() {
        let facts = Facts { lock: "", classes: &[], positive: None, ..facts(&[]) };
        assert_eq!(texts(&version(), &facts), texts(&version(), &facts));
        let pins = Pins::read("");
        assert_eq!((pins.python.as_str(), pins.version("onnx")), (PYTHON, None));
    }
}
