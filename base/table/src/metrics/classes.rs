//! Evaluations of tasks of several classes: what is predicted is the likeliest class of each row.
//!
//! Definitions and names are scikit-learn's (`precision_macro` is `precision_score(average="macro")`): a mean
//! over classes is taken over those that are true or predicted for some row, and a ratio without a
//! denominator counts as 0 in it.

use rondo_core::evaluation::{ConfusionMatrix, Evaluation, Metric};

use super::evaluate::{NO_PROBABILITY, NO_ROWS, Pooling, finite, mean, plain, same_length, share, slice};
use super::interval;
use super::roc;
use super::slices;
use super::threshold::Share;
use crate::error::Result;

/// What needs probabilities.
const OF_PROBABILITIES: [&str; 3] = ["log_loss", "roc_auc_ovr", "top_k_accuracy"];
const NOT_KNOWN: &str = "the probabilities of the classes are not known";

/// Predictions of a task of several classes beside the truth.
#[derive(Debug, Clone, Copy)]
pub struct Classified<'a> {
    /// The labels of the classes, in the model's order.
    pub labels: &'a [String],
    /// The predicted class of each row, by its place among the labels.
    pub predicted: &'a [usize],
    /// Row after row the probability of each class; where they are not known, what needs them is undefined.
    pub probabilities: Option<&'a [f64]>,
    /// The true class of each row, by its place among the labels.
    pub actual: &'a [usize],
    /// Among how many of the likeliest classes the true one counts for the top-k accuracy.
    pub top_k: usize,
}

/// Evaluates the predictions of a task of several classes, overall and by slice.
///
/// # Errors
/// When the lists differ in length, a probability is not finite, or a class is none of the labels.
pub fn evaluate_multiclass(
    rows: Classified<'_>,
    slices: &[(&str, &[Option<String>])],
    pooling: Pooling,
) -> Result<Evaluation> {
    let Classified { labels, predicted, probabilities, actual, .. } = rows;
    if let Some(probabilities) = probabilities {
        same_length("the probabilities", probabilities.len(), actual.len().saturating_mul(labels.len()))?;
        finite("probability", probabilities)?;
    }
    let known = |classes: &[usize]| classes.iter().filter(|class| **class < labels.len()).count();
    same_length("the known classes", known(actual), actual.len())?;
    same_length("the known predicted classes", known(predicted), actual.len())?;
    same_length("the predicted classes", predicted.len(), actual.len())?;
    let all: Vec<usize> = (0..actual.len()).collect();
    let part = Part::of(&rows, &all);
    let mut evaluation = Evaluation {
        rows: actual.len() as u64,
        metrics: part.metrics(labels, rows.top_k),
        confusion: Some(ConfusionMatrix { labels: labels.to_vec(), counts: part.counts.clone() }),
        ..Evaluation::default()
    };
    for (column, values) in slices {
        same_length(&format!("the values of `{column}`"), values.len(), actual.len())?;
        for group in slices::groups(values, pooling, None) {
            let metrics = Part::of(&rows, &group.rows).metrics(labels, rows.top_k);
            evaluation.slices.push(slice(column, group, None, metrics));
        }
    }
    Ok(evaluation)
}

/// Some of the rows: their probabilities where they are known, true classes, and how often each is taken for
/// which.
struct Part<'a> {
    probabilities: Option<Vec<&'a [f64]>>,
    actual: Vec<usize>,
    counts: Vec<Vec<u64>>,
}

impl<'a> Part<'a> {
    fn of(all: &Classified<'a>, rows: &[usize]) -> Self {
        let width = all.labels.len();
        let mut part = Self {
            probabilities: all.probabilities.map(|_| Vec::with_capacity(rows.len())),
            actual: Vec::with_capacity(rows.len()),
            counts: vec![vec![0; width]; width],
        };
        for row in rows {
            let (Some(predicted), Some(class)) = (all.predicted.get(*row), all.actual.get(*row)) else {
                continue;
            };
            if let Some(count) = part.counts.get_mut(*class).and_then(|counts| counts.get_mut(*predicted)) {
                *count += 1;
            }
            if let (Some(part), Some(all)) = (&mut part.probabilities, all.probabilities) {
                part.push(all.get(row * width..(row + 1) * width).unwrap_or_default());
            }
            part.actual.push(*class);
        }
        part
    }

    fn metrics(&self, labels: &[String], top_k: usize) -> Vec<Metric> {
        let rows = self.actual.len() as u64;
        let tallies = self.tallies();
        let right = tallies.iter().map(|tally| tally.right).sum();
        let balanced: Vec<f64> = tallies.iter().filter(|tally| tally.actual > 0).map(Tally::recall).collect();
        let of = |name: &str, value: fn(&Tally) -> f64| {
            let present = || tallies.iter().filter(|tally| tally.actual + tally.predicted > 0);
            let macro_mean = interval::mean(&present().map(value).collect::<Vec<_>>()).map(|mean| mean.value);
            let weighted = (rows > 0).then(|| {
                present().map(|tally| value(tally) * tally.actual as f64).sum::<f64>() / rows as f64
            });
            [
                plain(&format!("{name}_macro"), macro_mean, NO_ROWS),
                plain(&format!("{name}_weighted"), weighted, NO_ROWS),
            ]
        };
        let mut metrics = vec![
            share("accuracy", Share { part: right, of: rows }, NO_ROWS),
            plain("balanced_accuracy", interval::mean(&balanced).map(|mean| mean.value), NO_ROWS),
        ];
        metrics.extend(of("precision", Tally::precision));
        metrics.extend(of("recall", Tally::recall));
        metrics.extend(of("f1", Tally::f1));
        metrics.extend(match &self.probabilities {
            Some(probabilities) => {
                let rows = || probabilities.iter().copied().zip(self.actual.iter().copied());
                let top = rows().filter(|(values, class)| rank(values, *class) < top_k).count() as u64;
                [
                    log_loss(rows),
                    self.roc_auc(probabilities, labels, &tallies),
                    share("top_k_accuracy", Share { part: top, of: self.actual.len() as u64 }, NO_ROWS),
                ]
            }
            None => OF_PROBABILITIES.map(|name| Metric::undefined(name, NOT_KNOWN)),
        });
        metrics
    }

    /// By class, in the order of the labels.
    fn tallies(&self) -> Vec<Tally> {
        let counted = self.counts.iter().enumerate();
        counted
            .map(|(class, counts)| Tally {
                right: counts.get(class).copied().unwrap_or(0),
                actual: counts.iter().sum(),
                predicted: self.counts.iter().filter_map(|counts| counts.get(class)).sum(),
            })
            .collect()
    }

    /// The plain mean of the areas of each class against the rest.
    fn roc_auc(&self, probabilities: &[&[f64]], labels: &[String], tallies: &[Tally]) -> Metric {
        const NAME: &str = "roc_auc_ovr";
        if let Some((label, _)) = labels.iter().zip(tallies).find(|(_, tally)| tally.actual == 0) {
            return Metric::undefined(NAME, &format!("no row is of the class `{label}`"));
        }
        let area = |class: usize| {
            let scores: Vec<f64> =
                probabilities.iter().filter_map(|values| values.get(class).copied()).collect();
            let labels: Vec<bool> = self.actual.iter().map(|actual| *actual == class).collect();
            roc::auc(&scores, &labels).map(|auc| auc.value)
        };
        let areas: Option<Vec<f64>> = (0..labels.len()).map(area).collect();
        let value = areas.and_then(|areas| interval::mean(&areas)).map(|mean| mean.value);
        plain(NAME, value, "only one class among the rows")
    }
}

/// The mean negative log-likelihood of the true classes, natural logarithm.
fn log_loss<'a, Rows: Iterator<Item = (&'a [f64], usize)>>(rows: impl Fn() -> Rows) -> Metric {
    if !rows().all(|(values, _)| values.iter().all(|value| (0.0..=1.0).contains(value))) {
        return Metric::undefined("log_loss", NO_PROBABILITY);
    }
    let loss = |(values, class): (&[f64], usize)| {
        let probability = values.get(class).copied().unwrap_or(0.0);
        -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    };
    mean("log_loss", interval::mean(&rows().map(loss).collect::<Vec<_>>()), NO_ROWS)
}

/// What was said of one class.
struct Tally {
    /// Rows of it that are predicted to be.
    right: u64,
    /// Rows of it.
    actual: u64,
    /// Rows that are predicted to be of it.
    predicted: u64,
}

impl Tally {
    fn precision(&self) -> f64 {
        Share { part: self.right, of: self.predicted }.value().unwrap_or(0.0)
    }

    fn recall(&self) -> f64 {
        Share { part: self.right, of: self.actual }.value().unwrap_or(0.0)
    }

    fn f1(&self) -> f64 {
        Share { part: 2 * self.right, of: self.actual + self.predicted }.value().unwrap_or(0.0)
    }
}

/// The place of the greatest value, of equal ones the first.
pub fn likeliest(values: &[f64]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (place, value) in values.iter().enumerate() {
        if *value > best.1 {
            best = (place, *value);
        }
    }
    best.0
}

/// How many classes are likelier than one; of equally likely ones the later come first, as scikit-learn
/// sorts them.
fn rank(values: &[f64], class: usize) -> usize {
    let Some(own) = values.get(class) else { return values.len() };
    let before = |(place, value): &(usize, &f64)| *value > own || *value == own && *place > class;
    values.iter().enumerate().filter(before).count()
}

#[cfg(test)]
mod tests {
    //! The constants were computed with scikit-learn 1.9.1 and numpy 2.4.6, from the rows of [`rows`]:
    //!
    //! ```text
    //! i = numpy.arange(300); labels = ["ant", "bee", "cat", "dog"]; y = (i*i*7 + i*3) % 11 % 4
    //! raw = numpy.stack([(i*(7919+97*j) + 13*j) % 1000 + 1 + numpy.where(y == j, 600, 0) for j in range(4)], 1)
    //! p = raw / raw.sum(1, keepdims=True); true = numpy.array(labels)[y]
    //! said = numpy.array(labels)[p.argmax(1)]
    //! precision_score(true, said, average="macro"), log_loss(true, p, labels=labels),
    //! roc_auc_score(true, p, multi_class="ovr", labels=labels), top_k_accuracy_score(y, p, k=2), …
    //! ```

    use super::*;

    fn labels() -> Vec<String> {
        ["ant", "bee", "cat", "dog"].map(str::to_owned).to_vec()
    }

    fn rows(keep: impl Fn(u64, usize) -> bool) -> (Vec<f64>, Vec<usize>, Vec<Option<String>>) {
        let (mut probabilities, mut actual, mut thirds) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..300_u64 {
            let y = ((i * i * 7 + i * 3) % 11 % 4) as usize;
            if !keep(i, y) {
                continue;
            }
            let raw: Vec<f64> = (0..4_u64)
                .map(|j| (i * (7919 + 97 * j) + 13 * j) % 1000 + 1 + if y as u64 == j { 600 } else { 0 })
                .map(|value| value as f64)
                .collect();
            let sum: f64 = raw.iter().sum();
            probabilities.extend(raw.iter().map(|value| value / sum));
            actual.push(y);
            thirds.push(Some((i % 3).to_string()));
        }
        (probabilities, actual, thirds)
    }

    fn evaluated(
        probabilities: &[f64],
        actual: &[usize],
        slices: &[(&str, &[Option<String>])],
        top_k: usize,
    ) -> Result<Evaluation> {
        let predicted: Vec<usize> = probabilities.chunks(4).map(likeliest).collect();
        let labels = labels();
        let (predicted, probabilities) = (&predicted[..], Some(probabilities));
        let rows = Classified { labels: &labels, predicted, probabilities, actual, top_k };
        evaluate_multiclass(rows, slices, Pooling::default())
    }

    fn check(metrics: &[Metric], expected: &[(&str, f64)]) {
        for (name, value) in expected {
            let found = metrics.iter().find(|metric| metric.name == *name).unwrap().value.unwrap();
            assert!((found - value).abs() < 1e-12, "{name}: {found} is not {value}");
        }
    }

    const ALL: [(&str, f64); 11] = [
        ("accuracy", 0.816_666_666_666_666_7),
        ("balanced_accuracy", 0.817_569_443_973_561_2),
        ("precision_macro", 0.803_086_048_281_109_5),
        ("precision_weighted", 0.822_242_567_614_304_6),
        ("recall_macro", 0.817_569_443_973_561_2),
        ("recall_weighted", 0.816_666_666_666_666_7),
        ("f1_macro", 0.808_805_653_564_195_3),
        ("f1_weighted", 0.818_037_879_556_462_3),
        ("log_loss", 0.874_329_787_161_549),
        ("roc_auc_ovr", 0.951_863_077_106_909_4),
        ("top_k_accuracy", 0.96),
    ];

    #[test]
    fn metrics_of_several_classes_are_those_of_scikit_learn() {
        let (probabilities, actual, thirds) = rows(|_, _| true);
        let found = evaluated(&probabilities, &actual, &[("third", &thirds)], 2).unwrap();
        check(&found.metrics, &ALL);
        assert_eq!(found.metrics.len(), ALL.len());
        let matrix = found.confusion.unwrap();
        assert_eq!(matrix.labels, labels());
        assert_eq!(matrix.counts, [[68, 5, 4, 5], [4, 43, 5, 3], [5, 10, 88, 6], [2, 3, 3, 46]]);
        assert_eq!((found.slices.len(), found.slices[0].rows), (3, 100));
        check(
            &found.slices[0].metrics,
            &[
                ("accuracy", 0.85),
                ("balanced_accuracy", 0.860_119_047_619_047_6),
                ("precision_macro", 0.838_856_872_294_372_3),
                ("precision_weighted", 0.863_101_948_051_948_1),
                ("f1_macro", 0.844_778_593_585_474_8),
                ("f1_weighted", 0.852_336_036_882_096_8),
                ("log_loss", 0.842_215_238_582_112_6),
                ("roc_auc_ovr", 0.964_351_120_910_762_7),
                ("top_k_accuracy", 0.98),
            ],
        );
        let wider = evaluated(&probabilities, &actual, &[], 3).unwrap();
        check(&wider.metrics, &[("top_k_accuracy", 0.996_666_666_666_666_7)]);
    }

    #[test]
    fn a_class_that_no_row_is_of_leaves_the_area_undefined_and_counts_where_it_is_predicted() {
        let (probabilities, actual, _) = rows(|_, y| y != 3);
        let found = evaluated(&probabilities, &actual, &[], 2).unwrap();
        check(
            &found.metrics,
            &[
                ("balanced_accuracy", 0.806_141_974_680_797_6),
                ("precision_macro", 0.632_928_172_076_767_9),
                ("recall_macro", 0.604_606_481_010_598_2),
                ("f1_weighted", 0.833_833_274_194_118_9),
                ("log_loss", 0.874_738_469_758_591_6),
            ],
        );
        let area = found.metric("roc_auc_ovr").unwrap();
        assert_eq!((area.value, area.note.as_deref()), (None, Some("no row is of the class `dog`")));
    }

    #[test]
    fn ties_go_to_the_first_class_and_the_last_ones_come_first_among_the_top() {
        let found = evaluated(&[0.25; 8], &[0, 3], &[], 2).unwrap();
        assert_eq!(found.confusion.unwrap().counts, [[1, 0, 0, 0], [0; 4], [0; 4], [1, 0, 0, 0]]);
        check(&found.metrics, &[("top_k_accuracy", 0.5)]);
    }

    #[test]
    fn the_predicted_classes_alone_are_enough_for_what_needs_no_probability() {
        let (probabilities, actual, thirds) = rows(|_, _| true);
        let labels = labels();
        let said: Vec<usize> = probabilities.chunks_exact(4).map(likeliest).collect();
        let rows =
            Classified { labels: &labels, predicted: &said, probabilities: None, actual: &actual, top_k: 2 };
        let found = evaluate_multiclass(rows, &[("third", &thirds)], Pooling::default()).unwrap();
        let (with, without) = ALL.split_at(8);
        check(&found.metrics, with);
        for (name, _) in without {
            let metric = found.metric(name).unwrap();
            assert_eq!((metric.value, metric.note.as_deref()), (None, Some(NOT_KNOWN)), "{name}");
        }
        assert_eq!(found.metrics.len(), ALL.len());
        check(&found.slices[0].metrics, &[("accuracy", 0.85), ("f1_macro", 0.844_778_593_585_474_8)]);
        for predicted in [&[4][..], &[], &[0, 0]] {
            let rows = Classified { predicted, actual: &[0], ..rows };
            assert!(evaluate_multiclass(rows, &[], Pooling::default()).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let evaluate = |probabilities: &[f64], actual: &[usize]| evaluated(probabilities, actual, &[], 2);
        assert!(evaluate(&[0.5; 3], &[0]).is_err());
        assert!(evaluate(&[0.25; 4], &[4]).is_err());
        assert!(evaluate(&[f64::NAN; 4], &[0]).is_err());
        assert!(evaluate(&[], &[]).unwrap().metrics.iter().all(|metric| metric.value.is_none()));
    }
}
