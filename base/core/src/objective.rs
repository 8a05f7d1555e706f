//! Objectives: the numbers of the business problem.
//!
//! An objective of the canvas is judged in three places by the same rule: at a gate (before a promotion),
//! by a monitor (on live traffic) and in a report. [`Objective::judge`] is that rule.

use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, Metric};

/// When an objective is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// At the gate of a promotion only.
    Promote,
    /// By the monitor only.
    Monitor,
}

/// One number that the model has to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// A metric's name, such as `roc_auc`.
    pub metric: String,
    /// The value it must not fall below.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<f64>,
    /// The value it must not rise above.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<f64>,
    /// Judge each value of this column by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slice: Option<String>,
    /// The groups of a fairness metric: the column whose values are compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Fewer labelled rows than this: not judged; of a slice: pooled with the other small ones.
    #[serde(default)]
    pub min_rows: u64,
    /// Fewer positives than this: likewise.
    #[serde(default)]
    pub min_positives: u64,
    /// When it is looked at; where absent, at the gate and by the monitor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on: Option<On>,
}

impl Objective {
    /// One line for people: `roc_auc ≥ 0.66 for each carrier`.
    pub fn text(&self) -> String {
        let mut text = self.metric.clone();
        if let Some(min) = self.min {
            text.push_str(&format!(" ≥ {min}"));
        }
        if let Some(max) = self.max {
            text.push_str(&format!("{} ≤ {max}", if self.min.is_some() { " and" } else { "" }));
        }
        if let Some(slice) = &self.slice {
            text.push_str(&format!(" for each {slice}"));
        }
        if let Some(by) = &self.by {
            text.push_str(&format!(" by {by}"));
        }
        text
    }

    /// Whether the gate of a promotion looks at it.
    pub fn at_gate(&self) -> bool {
        self.on != Some(On::Monitor)
    }

    /// Whether the monitor looks at it.
    pub fn at_monitor(&self) -> bool {
        self.on != Some(On::Promote)
    }

    /// Judges an evaluation: one verdict, or one a slice.
    ///
    /// The bound of the metric's confidence interval is what is compared (the better-looking end never
    /// counts): for `min` a value fails only when the *upper* bound lies below it, for `max` only when
    /// the *lower* bound lies above it, so that noise alone closes no gate and raises no alarm. A metric
    /// without an interval is compared as it is. What cannot be judged (too few rows or positives, metric
    /// absent) passes and says why in `note`.
    pub fn judge(&self, index: usize, evaluation: &Evaluation) -> Vec<Verdict> {
        let verdict = |slice: Option<String>, metric: Option<&Metric>, rows: u64, positives: Option<u64>| {
            let unjudged = |note: String| Verdict {
                objective: index,
                text: self.text(),
                metric: self.metric.clone(),
                slice: slice.clone(),
                value: metric.and_then(|metric| metric.value),
                bound: None,
                limit: self.min.or(self.max),
                passed: true,
                judged: false,
                miss: 0.0,
                note: Some(note),
            };
            if rows < self.min_rows {
                return unjudged(format!("not judged: {rows} rows, {} needed", self.min_rows));
            }
            if let Some(positives) = positives.filter(|positives| *positives < self.min_positives) {
                return unjudged(format!("not judged: {positives} positives, {} needed", self.min_positives));
            }
            let Some(metric) = metric else {
                return unjudged(format!("not judged: `{}` was not measured", self.metric));
            };
            let Some(value) = metric.value else {
                return unjudged(format!(
                    "not judged: {}",
                    metric.note.as_deref().unwrap_or("the metric is undefined here")
                ));
            };
            let (upper, lower) = (metric.high.unwrap_or(value), metric.low.unwrap_or(value));
            let below = self.min.map_or(0.0, |min| (min - upper).max(0.0));
            let above = self.max.map_or(0.0, |max| (lower - max).max(0.0));
            let bound = if self.min.is_some() { upper } else { lower };
            let miss = below.max(above);
            Verdict {
                objective: index,
                text: self.text(),
                metric: self.metric.clone(),
                slice: slice.clone(),
                value: Some(value),
                bound: Some(bound),
                limit: self.min.or(self.max),
                passed: miss <= 0.0,
                judged: true,
                miss,
                note: None,
            }
        };
        match &self.slice {
            None => {
                let name = match &self.by {
                    Some(by) => format!("{}:{by}", self.metric),
                    None => self.metric.clone(),
                };
                vec![verdict(None, evaluation.metric(&name), evaluation.rows, evaluation.positives)]
            }
            Some(column) => evaluation
                .slices
                .iter()
                .filter(|slice| &slice.column == column)
                .map(|slice| {
                    let metric = slice.metrics.iter().find(|metric| metric.name == self.metric);
                    verdict(Some(slice.value.clone()), metric, slice.rows, slice.positives)
                })
                .collect(),
        }
    }
}

/// What an objective says of one evaluation (or of one slice of it).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which objective of the canvas, counted from 0.
    pub objective: usize,
    /// The objective in words.
    pub text: String,
    /// The metric's name.
    pub metric: String,
    /// The slice's value, where the objective is judged by slice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slice: Option<String>,
    /// The measured value.
    pub value: Option<f64>,
    /// The end of its confidence interval that was compared.
    pub bound: Option<f64>,
    /// What it was compared with.
    pub limit: Option<f64>,
    /// Whether it holds.
    pub passed: bool,
    /// Whether there was enough to judge by.
    pub judged: bool,
    /// By how much it is missed; 0 where it holds.
    pub miss: f64,
    /// Why it was not judged, and the like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Slice;

    fn evaluation() -> Evaluation {
        Evaluation {
            rows: 1000,
            positives: Some(200),
            metrics: vec![Metric::with_interval("roc_auc", 0.64, 0.62, 0.66)],
            slices: vec![Slice {
                column: "carrier".into(),
                value: "UA".into(),
                rows: 100,
                positives: Some(3),
                members: vec![],
                metrics: vec![Metric::plain("roc_auc", 0.5)],
            }],
            ..Evaluation::default()
        }
    }

    fn objective(min: f64) -> Objective {
        Objective {
            metric: "roc_auc".into(),
            min: Some(min),
            max: None,
            slice: None,
            by: None,
            min_rows: 0,
            min_positives: 0,
            on: None,
        }
    }

    #[test]
    fn noise_alone_misses_no_objective() {
        assert!(objective(0.65).judge(0, &evaluation())[0].passed);
        let missed = &objective(0.67).judge(0, &evaluation())[0];
        assert!(!missed.passed && (missed.miss - 0.01).abs() < 1e-12);
    }

    #[test]
    fn too_few_positives_are_not_judged() {
        let sliced = Objective { slice: Some("carrier".into()), min_positives: 30, ..objective(0.6) };
        let verdicts = sliced.judge(1, &evaluation());
        assert!(verdicts[0].passed && !verdicts[0].judged);
        assert_eq!(verdicts[0].note.as_deref(), Some("not judged: 3 positives, 30 needed"));
    }
}
