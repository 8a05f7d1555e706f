//! The reference: what a model version's inputs and predictions looked like when it was made.
//!
//! Kept as an object beside the version, so that a window is compared without reading the training data
//! again.

use rondo_core::evaluation::Task;
use rondo_core::ports::Scored;
use rondo_core::signature::{Column, ColumnType};
use rondo_table::metrics::likeliest;
use rondo_table::profile::{Profile, Profiler};
use rondo_table::read::Source;
use rondo_table::{Result, rows};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name under which the prediction stands among the columns.
pub const PREDICTION: &str = "prediction";

/// What a model says of rows, in their order.
#[derive(Debug, Clone)]
pub enum Predictions<'a> {
    /// Numbers: of a binary task the probability of the positive class.
    Scores(Vec<f64>),
    /// Of several classes the likeliest.
    Classes(Vec<Option<&'a str>>),
}

impl<'a> Predictions<'a> {
    /// What was scored: the predicted classes where there are several.
    pub fn of(scored: &'a Scored, task: Task) -> Self {
        match task {
            Task::Multiclass => {
                let rows = scored.probabilities.chunks_exact(scored.classes.len().max(1));
                let class = |row| scored.classes.get(likeliest(row)).map(String::as_str);
                Self::Classes(rows.map(class).collect())
            }
            Task::Binary | Task::Regression => Self::Scores(scored.scores.clone()),
        }
    }

    /// The profile of a table with the predictions alone.
    pub(crate) fn profile(&self) -> Result<Profile> {
        let column = |column_type| Column { name: PREDICTION.to_owned(), column_type, nullable: true };
        let (column, values): (Column, Vec<Value>) = match self {
            Self::Scores(scores) => {
                (column(ColumnType::Number), scores.iter().map(|score| Value::from(*score)).collect())
            }
            Self::Classes(classes) => {
                (column(ColumnType::String), classes.iter().map(|class| Value::from(*class)).collect())
            }
        };
        let columns = [column];
        let maps: Vec<Map<String, Value>> =
            values.into_iter().map(|value| Map::from_iter([(PREDICTION.to_owned(), value)])).collect();
        let mut profiler = Profiler::new(&columns);
        profiler.update(&rows::batch(&columns, &maps.iter().collect::<Vec<_>>())?)?;
        profiler.finish()
    }
}

/// What a model version's inputs and predictions looked like when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    /// The features of the training rows.
    pub features: Profile,
    /// The predictions on rows that it was not trained on: of several classes which was predicted. An earlier
    /// release kept the probability of that class, a number.
    #[serde(rename = "scores")]
    pub predictions: Profile,
}

impl Reference {
    /// Profiles the features of a table of training rows, and predictions on rows that were not trained on.
    ///
    /// # Errors
    /// When the table cannot be read or lacks a feature.
    pub fn build<'a>(
        training: impl Into<Source<'a>>,
        features: &[&str],
        predictions: &Predictions<'_>,
    ) -> Result<Self> {
        let features = Profile::of(training.into().open()?.select(features)?)?;
        Ok(Self { features, predictions: predictions.profile()? })
    }

    /// Whether the predictions are classes.
    pub(crate) fn is_of_classes(&self) -> bool {
        self.predictions.columns.iter().any(|column| column.column_type == ColumnType::String)
    }

    /// The feature columns, with the types that a window's values are read as.
    pub fn columns(&self) -> Vec<Column> {
        self.features
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                column_type: column.column_type,
                nullable: true,
            })
            .collect()
    }
}
