//! The reference: what a model version's inputs and scores looked like when it was made.
//!
//! Kept as an object beside the version, so that a window is compared without reading the training data
//! again.

use rondo_core::signature::{Column, ColumnType};
use rondo_table::profile::{Profile, Profiler};
use rondo_table::read::Source;
use rondo_table::{Result, rows};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name under which the score stands among the columns.
pub const SCORE: &str = "prediction";

/// What a model version's inputs and scores looked like when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    /// The features of the training rows.
    pub features: Profile,
    /// The scores on rows that it was not trained on.
    pub scores: Profile,
}

impl Reference {
    /// Profiles the features of a table of training rows, and scores of rows that were not trained on.
    ///
    /// # Errors
    /// When the table cannot be read or lacks a feature.
    pub fn build<'a>(training: impl Into<Source<'a>>, features: &[&str], scores: &[f64]) -> Result<Self> {
        let features = Profile::of(training.into().open()?.select(features)?)?;
        let mut profiler = Profiler::new(&[score_column()]);
        let maps: Vec<Map<String, Value>> = scores.iter().map(|score| score_row(*score)).collect();
        let borrowed: Vec<&Map<String, Value>> = maps.iter().collect();
        profiler.update(&rows::batch(&[score_column()], &borrowed)?)?;
        Ok(Self { features, scores: profiler.finish()? })
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

/// The column of the score.
pub(crate) fn score_column() -> Column {
    Column { name: SCORE.to_owned(), column_type: ColumnType::Number, nullable: true }
}

/// A row with a score alone.
pub(crate) fn score_row(score: f64) -> Map<String, Value> {
    let value = serde_json::Number::from_f64(score).map_or(Value::Null, Value::Number);
    Map::from_iter([(SCORE.to_owned(), value)])
}
