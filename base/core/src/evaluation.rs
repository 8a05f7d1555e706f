//! Evaluations: what a model scored on which rows.

use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp};

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One of two classes; the prediction is the probability of the positive one.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
}

impl Task {
    /// The word for it, as it is written in files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Regression => "regression",
        }
    }

    /// Whether a model of so many classes can be meant; a regression has none, and a model of two classes may
    /// give the score of one alone.
    pub const fn fits(self, classes: usize) -> bool {
        match self {
            Self::Binary => classes <= 2,
            Self::Multiclass => classes >= 2,
            Self::Regression => classes == 0,
        }
    }
}

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name, such as `roc_auc`; of a fairness metric with its column, `equalized_odds_difference:carrier`.
    pub name: String,
    /// The value; absent where it is undefined (one class only, no rows).
    pub value: Option<f64>,
    /// Lower end of the 95 % confidence interval, where one is computed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub high: Option<f64>,
    /// Why there is no value, and the like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl Metric {
    /// A value without an interval.
    pub fn plain(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value: Some(value), low: None, high: None, note: None }
    }

    /// A value with its 95 % interval.
    pub fn with_interval(name: &str, value: f64, low: f64, high: f64) -> Self {
        Self { low: Some(low), high: Some(high), ..Self::plain(name, value) }
    }

    /// A metric that has no value here, and why.
    pub fn undefined(name: &str, note: &str) -> Self {
        Self { name: name.to_owned(), value: None, low: None, high: None, note: Some(note.to_owned()) }
    }
}

/// The metrics of one part of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The column that slices.
    pub column: String,
    /// Its value; `other` for the small ones taken together.
    pub value: String,
    /// Labelled rows.
    pub rows: u64,
    /// Of which positive (binary tasks).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub positives: Option<u64>,
    /// Of a pooled slice: the values in it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub members: Vec<String>,
    /// What was measured.
    pub metrics: Vec<Metric>,
}

/// How often rows of each class were predicted to be of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// The labels, in the order of rows and columns.
    pub labels: Vec<String>,
    /// A row for each true class, in it the number of rows predicted to be of each.
    pub counts: Vec<Vec<u64>>,
}

/// What a model scored on a set of labelled rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model's file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<Digest>,
    /// The rows it was scored on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Digest>,
    /// The earliest event time among them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Timestamp>,
    /// The latest event time among them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
    /// Labelled rows.
    pub rows: u64,
    /// Of which positive (binary tasks).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub positives: Option<u64>,
    /// Overall.
    pub metrics: Vec<Metric>,
    /// By slice.
    pub slices: Vec<Slice>,
    /// Which classes are taken for which (tasks of several classes).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confusion: Option<ConfusionMatrix>,
}

impl Evaluation {
    /// An overall metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The value of an overall metric.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.metric(name).and_then(|metric| metric.value)
    }
}
