//! Scoring whole files: what evaluation and the registry ask of serving.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use async_trait::async_trait;
use rondo_core::Digest;
use rondo_core::ports::{PortError, RowsToScore, Scored, Scorer};
use rondo_core::signature::{Column, ColumnType};
use rondo_core::suggest::nearest;
use rondo_table::read::{ReadOptions, Source};

use crate::engine::{self, Batch, Engine, LoadOptions, Values};
use crate::error::{Error, Result};

/// Models that are kept loaded.
const KEPT: usize = 4;

/// Finds the file of a model by its digest.
pub type Resolve = Arc<dyn Fn(Digest) -> Option<PathBuf> + Send + Sync>;

/// Engines by their model, the one loaded last at the end.
type Loaded = VecDeque<(Digest, Arc<dyn Engine>)>;

/// Scores Parquet files with models that are found by digest.
pub struct FileScorer {
    resolve: Resolve,
    options: LoadOptions,
    loaded: Mutex<Loaded>,
}

impl FileScorer {
    /// A scorer that finds models by a function, and takes the last of two classes as the positive one.
    pub fn new(resolve: Resolve) -> Self {
        Self::with(resolve, LoadOptions::default())
    }

    /// A scorer that knows more of its models.
    pub fn with(resolve: Resolve, options: LoadOptions) -> Self {
        Self { resolve, options, loaded: Mutex::default() }
    }

    /// The engine of a model, loaded once.
    ///
    /// # Errors
    /// When there is no such model, its bytes are not those of the digest, or no engine can run it.
    pub fn engine(&self, model: Digest) -> Result<Arc<dyn Engine>> {
        let find = |loaded: &Loaded| {
            loaded.iter().find(|(digest, _)| *digest == model).map(|(_, engine)| Arc::clone(engine))
        };
        if let Some(engine) = find(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(engine);
        }
        let path = (self.resolve)(model).ok_or(Error::ModelMissing { digest: model })?;
        let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        let found = Digest::of(&bytes);
        if found != model {
            return Err(Error::DigestMismatch { path, expected: model, found });
        }
        let engine: Arc<dyn Engine> = Arc::from(engine::load(&bytes, &self.options)?);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if find(&loaded).is_none() {
            loaded.push_back((model, Arc::clone(&engine)));
            while loaded.len() > KEPT {
                loaded.pop_front();
            }
        }
        Ok(engine)
    }

    /// The engine of a model that does not name its columns, with these as their names.
    fn fitted(&self, model: Digest, rows: &Path, columns: &[String]) -> Result<Arc<dyn Engine>> {
        let path = (self.resolve)(model).ok_or(Error::ModelMissing { digest: model })?;
        let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        let options = LoadOptions { columns: columns.to_vec(), ..self.options.clone() };
        match engine::load(&bytes, &options) {
            Ok(engine) => Ok(Arc::from(engine)),
            Err(Error::ModelShape { .. }) => {
                let takes = self.engine(model)?.signature().inputs.len();
                let reason = format!(
                    "the model takes {takes} columns without names, and these are {}: {}; name those that it \
                     takes, in its order, by `features`",
                    columns.len(),
                    columns.join(", ")
                );
                Err(Error::Table { path: rows.to_owned(), reason })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a table has every column that a model asks for by name.
fn has_all(engine: &dyn Engine, rows: Source<'_>) -> Result<bool> {
    let refuse = |reason: String| Error::Table { path: rows.path.to_owned(), reason };
    let reader = rows.open().map_err(|error| refuse(error.to_string()))?;
    let has = |column: &Column| reader.columns().iter().any(|known| known.name == column.name);
    Ok(engine.signature().inputs.iter().all(has))
}

#[async_trait]
impl Scorer for FileScorer {
    async fn score(&self, model: Digest, rows: RowsToScore<'_>) -> std::result::Result<Scored, PortError> {
        let port = |error: Error| -> PortError { Box::new(error) };
        let mut engine = self.engine(model).map_err(port)?;
        let path = rows.path.to_owned();
        let options = match rows.read {
            Some(written) => ReadOptions::default().with(written),
            None => Ok(ReadOptions::default()),
        };
        let options = options.map_err(|error| -> PortError { Box::new(error) })?;
        let source = Source { path: &path, options: &options };
        if !rows.columns.is_empty() && !has_all(engine.as_ref(), source).map_err(port)? {
            engine = self.fitted(model, &path, rows.columns).map_err(port)?;
        }
        let classes = rows.classes;
        let scoring = move || score_rows(engine.as_ref(), Source { path: &path, options: &options }, classes);
        match tokio::task::spawn_blocking(scoring).await {
            Ok(scored) => scored.map_err(port),
            Err(error) => Err(port(Error::Internal { reason: format!("scoring stopped: {error}") })),
        }
    }
}

/// The score of each row of a table's file, in its order. Columns that the model does not take are left
/// alone.
///
/// # Errors
/// When the file cannot be read, its columns do not fit the model, or a row has no score.
pub fn score_file(engine: &dyn Engine, path: &Path) -> Result<Vec<f64>> {
    Ok(score_rows(engine, Source::from(path), false)?.scores)
}

/// As [`score_file`], of a table that may be read in ways of its own; with the probabilities of all classes
/// where they are wanted.
fn score_rows(engine: &dyn Engine, rows: Source<'_>, classes: bool) -> Result<Scored> {
    let path = rows.path;
    let refuse = |reason: String| Error::Table { path: path.to_owned(), reason };
    let inputs = &engine.signature().inputs;
    let reader = rows.open().map_err(|error| refuse(error.to_string()))?;
    for column in inputs {
        if !reader.columns().iter().any(|known| known.name == column.name) {
            let known = reader.columns().iter().map(|known| known.name.as_str());
            let hint = nearest(&column.name, known)
                .map(|name| format!(", did you mean `{name}`?"))
                .unwrap_or_default();
            let reason = format!("the file has no such column{hint}");
            return Err(Error::TableColumn { path: path.to_owned(), column: column.name.clone(), reason });
        }
    }
    let names: Vec<&str> = inputs.iter().map(|column| column.name.as_str()).collect();
    let expected = usize::try_from(reader.rows()).unwrap_or(0).min(1 << 24);
    let mut scored = Scored {
        scores: Vec::with_capacity(expected),
        classes: engine.classes().to_vec(),
        probabilities: Vec::new(),
    };
    for batch in reader.select(&names).map_err(|error| refuse(error.to_string()))? {
        let batch = batch.map_err(|error| refuse(error.to_string()))?;
        let columns = columns_of(&batch, inputs, path)?;
        let predictions = engine.predict(&Batch::new(batch.num_rows(), columns)?)?;
        if let Some(row) = predictions.scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::NoScore { row: scored.scores.len() + row });
        }
        scored.scores.extend(predictions.scores);
        if classes {
            scored.probabilities.extend(predictions.probabilities);
        }
    }
    Ok(scored)
}

/// A batch's columns as the engine takes them.
fn columns_of(batch: &RecordBatch, inputs: &[Column], path: &Path) -> Result<Vec<Values>> {
    inputs
        .iter()
        .zip(batch.columns())
        .map(|(column, array)| {
            values_of(array, column.column_type).map_err(|reason| Error::TableColumn {
                path: path.to_owned(),
                column: column.name.clone(),
                reason,
            })
        })
        .collect()
}

/// An array of one of the table's few types as an engine's values.
fn values_of(array: &ArrayRef, wanted: ColumnType) -> std::result::Result<Values, String> {
    let whole = "it holds values that are missing or no whole numbers";
    Ok(match (wanted, array.data_type()) {
        (ColumnType::Number, DataType::Float64) => {
            let values = array.as_primitive::<Float64Type>();
            Values::Number(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        }
        (ColumnType::Number, DataType::Int64) => {
            let values = array.as_primitive::<Int64Type>();
            Values::Number(values.iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect())
        }
        (ColumnType::Number, DataType::Boolean) => {
            let value = |value: Option<bool>| value.map_or(f64::NAN, |value| f64::from(u8::from(value)));
            Values::Number(array.as_boolean().iter().map(value).collect())
        }
        (ColumnType::Integer, DataType::Int64) => {
            let values = array.as_primitive::<Int64Type>();
            Values::Integer(values.iter().collect::<Option<Vec<i64>>>().ok_or(whole)?)
        }
        (ColumnType::Integer, DataType::Float64) => {
            let value =
                |value: Option<f64>| value.filter(|value| value.fract() == 0.0).map(|value| value as i64);
            let values = array.as_primitive::<Float64Type>().iter().map(value);
            Values::Integer(values.collect::<Option<Vec<i64>>>().ok_or(whole)?)
        }
        (ColumnType::Boolean, DataType::Boolean) => {
            let values = array.as_boolean().iter().collect::<Option<Vec<bool>>>();
            Values::Boolean(values.ok_or("it holds values that are missing")?)
        }
        (ColumnType::String, DataType::Utf8) => {
            let values = array.as_string::<i32>().iter();
            Values::Text(values.map(|value| Arc::from(value.unwrap_or_default())).collect())
        }
        // A column without any value has no type of its own.
        (ColumnType::Number, _) if array.null_count() == array.len() => {
            Values::Number(vec![f64::NAN; array.len()])
        }
        (wanted, found) => return Err(format!("the model takes {}, and it holds {found}", wanted.text())),
    })
}

#[cfg(test)]
mod tests {
    use rondo_core::Code;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    #[tokio::test]
    async fn a_file_is_scored_as_its_rows_are_and_other_columns_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(
            &path,
            "id,hour,delay,distance,carrier,origin\n1,9,3.5,800,UA,JFK\n2,18,,400,XX,LGA\n",
        )
        .unwrap();
        let model = fixture("logistic_columns.onnx");
        let digest = Digest::of(&std::fs::read(&model).unwrap());
        let scorer = FileScorer::new(Arc::new(move |wanted| (wanted == digest).then(|| model.clone())));
        let scores = scorer.score(digest, RowsToScore::of(&path)).await.unwrap().scores;
        let engine = scorer.engine(digest).unwrap();
        let texts = |texts: [&str; 2]| Values::Text(texts.map(Arc::from).to_vec());
        let columns = vec![
            Values::Number(vec![800.0, 400.0]),
            Values::Number(vec![3.5, f64::NAN]),
            Values::Integer(vec![9, 18]),
            texts(["UA", "XX"]),
            texts(["JFK", "LGA"]),
        ];
        assert_eq!(scores, engine.predict(&Batch::new(2, columns).unwrap()).unwrap().scores);
        let error = scorer.score(Digest::of(b"other"), RowsToScore::of(&path)).await.unwrap_err();
        assert_eq!(error.code(), Code::ObjectNotFound);
    }

    #[tokio::test]
    async fn a_model_of_one_matrix_takes_the_columns_that_are_named_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "id,c,a,b\n1,12,800.5,3.5\n2,9,400.25,-2\n").unwrap();
        let model = fixture("linear.onnx");
        let digest = Digest::of(&std::fs::read(&model).unwrap());
        let scorer = FileScorer::new(Arc::new(move |wanted| (wanted == digest).then(|| model.clone())));
        let width = scorer.engine(digest).unwrap().signature().inputs.len();
        assert_eq!(width, 3);
        let score = |columns: &[String]| {
            let columns = columns.to_vec();
            let (scorer, path) = (&scorer, &path);
            async move { scorer.score(digest, RowsToScore { columns: &columns, ..RowsToScore::of(path) }).await }
        };
        let named = ["a", "b", "c"].map(str::to_owned);
        let scores = score(&named).await.unwrap().scores;
        let columns = [[800.5, 400.25], [3.5, -2.0], [12.0, 9.0]];
        let batch = Batch::new(2, columns.map(|values| Values::Number(values.to_vec())).to_vec()).unwrap();
        assert_eq!(scores, scorer.engine(digest).unwrap().predict(&batch).unwrap().scores);
        let turned = ["c", "a", "b"].map(str::to_owned);
        assert_ne!(score(&turned).await.unwrap().scores, scores);
        let all = ["id", "c", "a", "b"].map(str::to_owned);
        let error = score(&all).await.unwrap_err().to_string();
        assert!(error.contains("takes 3 columns") && error.contains("`features`"), "{error}");
    }

    #[tokio::test]
    async fn the_probabilities_of_all_classes_come_row_after_row_where_they_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let model = fixture("forest_classes.onnx");
        let digest = Digest::of(&std::fs::read(&model).unwrap());
        let scorer = FileScorer::new(Arc::new(move |wanted| (wanted == digest).then(|| model.clone())));
        std::fs::write(&path, "a,b,c\n800.5,3.5,12\n400.25,-2,9\n").unwrap();
        let columns = ["a", "b", "c"].map(str::to_owned);
        let rows = RowsToScore { columns: &columns, classes: true, ..RowsToScore::of(&path) };
        let scored = scorer.score(digest, rows).await.unwrap();
        assert_eq!((scored.scores.len(), scored.classes.len(), scored.probabilities.len()), (2, 3, 6));
        let sum: f64 = scored.probabilities.iter().take(3).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let scored = scorer.score(digest, RowsToScore { classes: false, ..rows }).await.unwrap();
        assert!(scored.probabilities.is_empty() && scored.scores.len() == 2);
    }

    #[tokio::test]
    async fn codes_are_read_as_it_is_declared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "hour;delay;distance;carrier;origin\n9;3,5;800;07;JFK\n").unwrap();
        let model = fixture("logistic_columns.onnx");
        let digest = Digest::of(&std::fs::read(&model).unwrap());
        let scorer = FileScorer::new(Arc::new(move |wanted| (wanted == digest).then(|| model.clone())));
        assert!(scorer.score(digest, RowsToScore::of(&path)).await.is_err());
        let written = serde_json::json!({ "decimal": ",", "types": { "carrier": "string" } });
        let rows = RowsToScore { read: written.as_object(), ..RowsToScore::of(&path) };
        assert_eq!(scorer.score(digest, rows).await.unwrap().scores.len(), 1);
    }

    #[test]
    fn a_column_that_is_not_there_or_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let engine = engine::load_file(&fixture("logistic_columns.onnx"), &LoadOptions::default()).unwrap();
        std::fs::write(&path, "hour,delay,distanc,carrier,origin\n9,3.5,800,UA,JFK\n").unwrap();
        let error = score_file(engine.as_ref(), &path).unwrap_err().to_string();
        assert!(error.contains("`distance`") && error.contains("did you mean `distanc`?"), "{error}");
        std::fs::write(&path, "hour,delay,distance,carrier,origin\nnoon,3.5,800,UA,JFK\n").unwrap();
        let error = score_file(engine.as_ref(), &path).unwrap_err().to_string();
        assert!(error.contains("`hour`") && error.contains("takes integer"), "{error}");
    }
}
