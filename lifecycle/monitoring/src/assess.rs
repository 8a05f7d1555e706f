//! Assessment: one window's traffic beside the reference and the objectives.

use std::collections::BTreeMap;

use rondo_core::evaluation::Metric;
use rondo_core::handoff::Observation;
use rondo_core::label::Label;
use rondo_project::project::Monitor;
use rondo_table::drift::{self, DriftOptions};
use rondo_table::profile::{Profile, Profiler};
use rondo_table::rows;
use serde_json::Map;

use crate::error::Error;
use crate::inputs::{Inputs, sent};
use crate::quality;
use crate::reference::{Predictions, Reference};
use crate::score::{Scoring, score};
use crate::window::{ColumnDrift, Stage, Window, WindowReport};

/// A prediction and, where it is known, its ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The prediction.
    pub observation: Observation,
    /// The label.
    pub label: Option<Label>,
}

/// Assesses a window.
///
/// `reference` is that of the version that answered most; without one there is no drift to speak of.
/// A window with fewer rows than the monitor asks for is not compared with it, and of its checks those about
/// the number of rows alone are asked.
///
/// # Errors
/// When the rows cannot be profiled or scored.
pub fn assess(
    window: Window,
    stage: Stage,
    monitor: &Monitor,
    scoring: &Scoring,
    rows: &[Row],
    reference: Option<(u32, &Reference)>,
) -> Result<WindowReport, Error> {
    let mut versions: BTreeMap<u32, u64> = BTreeMap::new();
    for row in rows {
        *versions.entry(row.observation.version).or_default() += 1;
    }
    let enough = rows.len() as u64 >= monitor.min_rows.max(1);
    let drift = match reference.filter(|_| enough && monitor.drift.method != "off") {
        Some((_, reference)) => drift_of(monitor, reference, rows)?,
        None => Vec::new(),
    };
    let quality = match &monitor.checks {
        Some(checks) => {
            let inputs = Inputs::new(reference.map(|(_, reference)| reference), rows)?;
            Some(quality::check(checks, &inputs, window.end, !enough, 0)?.0)
        }
        None => None,
    };
    let latencies = rows.iter().map(|row| row.observation.latency_ms);
    let mut report = WindowReport {
        window,
        model: monitor.model.clone(),
        rows: rows.len() as u64,
        judged: enough,
        versions,
        reference: reference.map(|(version, _)| version),
        mean_score: mean(rows.iter().map(|row| row.observation.score)),
        drift,
        quality,
        latency_p99_ms: quantile(latencies.collect(), 0.99),
        evaluation: None,
        unscored: None,
        verdicts: Vec::new(),
    };
    if stage == Stage::Settled {
        settle(&mut report, scoring, rows)?;
    }
    Ok(report)
}

/// Scores the rows with ground truth and judges the objectives. Answers that are none of the task are no
/// error, which would keep the next windows from being looked at: the report says why there is no score.
fn settle(report: &mut WindowReport, scoring: &Scoring, rows: &[Row]) -> Result<(), Error> {
    let mut evaluation = match score(scoring, rows) {
        Err(fault @ Error::Task { .. }) => {
            report.unscored = Some(fault.to_string());
            return Ok(());
        }
        scored => scored?,
    };
    evaluation.from = Some(report.window.start);
    evaluation.until = Some(report.window.end);
    if let Some(p99) = report.latency_p99_ms {
        evaluation.metrics.push(Metric::plain("latency_p99_ms", p99));
    }
    report.verdicts = scoring
        .objectives
        .iter()
        .flat_map(|(number, objective)| objective.judge(*number, &evaluation))
        .filter(|_| report.judged)
        .collect();
    report.evaluation = Some(evaluation);
    Ok(())
}

fn drift_of(monitor: &Monitor, reference: &Reference, rows: &[Row]) -> Result<Vec<ColumnDrift>, Error> {
    let columns = reference.columns();
    let empty = Map::new();
    let mut features = Profiler::new(&columns);
    features.update(&rows::batch(&columns, &sent(rows, &empty))?)?;
    let observations = rows.iter().map(|row| &row.observation);
    let predictions = match reference.is_of_classes() {
        true => Predictions::Classes(observations.map(|one| one.label.as_deref()).collect()),
        false => Predictions::Scores(observations.map(|one| one.score).collect()),
    };
    let options = options(monitor, &reference.features);
    let mut found = compare(&reference.features, &features.finish()?, &options);
    found.extend(compare(&reference.predictions, &predictions.profile()?, &options));
    Ok(found)
}

fn options(monitor: &Monitor, features: &Profile) -> DriftOptions {
    let mut options = DriftOptions { ignore: monitor.drift.ignore.clone(), ..DriftOptions::default() };
    if let Some(threshold) = monitor.drift.threshold {
        options.jensen_shannon = threshold;
        options.wasserstein = threshold;
        options.l_infinity = threshold;
    }
    if !monitor.drift.columns.is_empty() {
        let unwatched = features.columns.iter().map(|column| column.name.clone());
        options.ignore.extend(unwatched.filter(|name| !monitor.drift.columns.contains(name)));
    }
    options
}

fn compare(reference: &Profile, current: &Profile, options: &DriftOptions) -> Vec<ColumnDrift> {
    let report = drift::compare(reference, current, options);
    let main = |column: &drift::ColumnDrift| {
        let main = column.main()?;
        Some(ColumnDrift {
            column: column.column.clone(),
            method: main.method.text().to_owned(),
            statistic: main.statistic,
            threshold: main.threshold.unwrap_or_default(),
            drifted: column.drifted,
            p_value: main.p_value,
            detail: main.detail.clone(),
        })
    };
    report.columns.iter().filter_map(main).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// The value at or below which a share of them lies (nearest rank).
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use rondo_core::evaluation::Task;
    use rondo_core::objective::Objective;
    use rondo_core::ports::Scored;
    use rondo_core::{Span, Timestamp};
    use rondo_project::project::Drift;
    use rondo_table::checks::Severity;
    use rondo_table::metrics::Pooling;
    use serde_json::json;

    use super::*;
    use crate::alert::alerts;

    fn monitor() -> Monitor {
        Monitor {
            model: "delay".into(),
            endpoint: Some("delay".into()),
            window: Span::days(7),
            drift: Drift { method: "auto".into(), threshold: None, columns: vec![], ignore: vec![] },
            max_delay: Some(Span::days(2)),
            reference: None,
            objectives: vec![Objective {
                metric: "roc_auc".into(),
                min: Some(0.9),
                max: None,
                slice: None,
                by: None,
                min_rows: 10,
                min_positives: 0,
                on: None,
            }],
            checks: None,
            min_rows: 100,
            cool_down: None,
        }
    }

    fn scoring() -> Scoring {
        Scoring {
            model: "delay".into(),
            task: Task::Binary,
            threshold: 0.5,
            slices: vec!["carrier".into()],
            fairness: vec![],
            top_k: 2,
            pooling: Pooling::default(),
            objectives: monitor().objectives.into_iter().enumerate().collect(),
        }
    }

    fn rows(count: u32, shift: f64, noise: bool) -> Vec<Row> {
        (0..count)
            .map(|i| {
                let spread = f64::from(i * 7919 % 1000) / 1000.0;
                let label = f64::from(u8::from(spread > 0.7));
                let score = if noise { f64::from(i * 104_729 % 1000) / 1000.0 } else { spread };
                Row {
                    observation: Observation {
                        prediction_id: i.to_string(),
                        deployment: "delay".into(),
                        model: "delay".into(),
                        version: 1,
                        event_time: Timestamp(i64::from(i)),
                        received: Timestamp(0),
                        inputs: json!({ "temp": spread * 30.0 + shift, "carrier": if i % 2 == 0 { "AA" } else { "UA" } }),
                        score,
                        label: None,
                        probabilities: Map::new(),
                        latency_ms: 1.0,
                    },
                    label: Some(label.into()),
                }
            })
            .collect()
    }

    fn reference() -> Reference {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.csv");
        let mut text = String::from("temp,carrier,late\n");
        for row in rows(2000, 0.0, false) {
            let inputs = &row.observation.inputs;
            text.push_str(&format!("{},{},0\n", inputs["temp"], inputs["carrier"].as_str().unwrap()));
        }
        std::fs::write(&file, text).unwrap();
        let scores: Vec<f64> = rows(2000, 0.0, false).iter().map(|row| row.observation.score).collect();
        Reference::build(&file, &["temp", "carrier"], &Predictions::Scores(scores)).unwrap()
    }

    fn window() -> Window {
        Window { start: Timestamp(0), end: Timestamp(0) + Span::days(7) }
    }

    #[test]
    fn a_shifted_column_drifts_and_the_others_do_not() {
        let reference = reference();
        let shifted = assess(
            window(),
            Stage::Closed,
            &monitor(),
            &scoring(),
            &rows(1000, 20.0, false),
            Some((1, &reference)),
        )
        .unwrap();
        let drifted: Vec<&str> =
            shifted.drift.iter().filter(|d| d.drifted).map(|d| d.column.as_str()).collect();
        assert_eq!(drifted, ["temp"]);
        assert!(shifted.evaluation.is_none());
    }

    /// Answers of a model of several classes: so many of each, all with the same probability.
    fn answers(counts: &[(&str, usize)], score: f64) -> Vec<Row> {
        let said = counts.iter().flat_map(|(class, count)| std::iter::repeat_n(*class, *count));
        let mut rows = rows(said.clone().count() as u32, 0.0, false);
        for (row, class) in rows.iter_mut().zip(said) {
            (row.observation.score, row.observation.label) = (score, Some(class.to_owned()));
        }
        rows
    }

    /// The drift of the prediction of a model that had answered 500 times `ant`, 300 `bee` and 200 `cat`.
    fn of_classes(current: &[Row], threshold: Option<f64>) -> ColumnDrift {
        let counts = [("ant", 500), ("bee", 300), ("cat", 200)];
        let places =
            counts.iter().enumerate().flat_map(|(place, (_, count))| std::iter::repeat_n(place, *count));
        let classes = vec!["ant".to_owned(), "bee".into(), "cat".into()];
        let probabilities =
            places.flat_map(|place| (0..3).map(move |at| if at == place { 0.8 } else { 0.1 }));
        let scored = Scored { scores: vec![0.8; 1000], classes, probabilities: probabilities.collect() };
        let predictions = Predictions::of(&scored, Task::Multiclass);
        let predictions = predictions.profile().unwrap();
        let stored = serde_json::to_value(Reference { predictions, ..reference() }).unwrap();
        let reference: Reference = serde_json::from_value(stored).unwrap();
        let mut monitor = monitor();
        monitor.drift.threshold = threshold;
        let drift = drift_of(&monitor, &reference, current).unwrap();
        drift.into_iter().find(|drift| drift.column == "prediction").unwrap()
    }

    #[test]
    fn of_several_classes_the_shares_of_the_predicted_ones_are_compared() {
        let same = of_classes(&answers(&[("ant", 250), ("bee", 150), ("cat", 100)], 0.4), None);
        assert!(!same.drifted, "the probability of the likeliest has no part in it: {same:?}");
        let turned = answers(&[("ant", 150), ("bee", 150), ("cat", 200)], 0.8);
        let moved = of_classes(&turned, None);
        assert!(moved.drifted);
        assert_eq!(moved.detail, "`ant` 50.0 % → 30.0 %, `cat` 20.0 % → 40.0 %, `bee` 30.0 % → 30.0 %");
        // scipy 1.17.1 and numpy 2.4.6, p = [0.5, 0.3, 0.2], q = [0.3, 0.3, 0.4]: abs(p - q).max(),
        // jensenshannon(p, q, base=2), chi2_contingency([[500, 300, 200], [150, 150, 200]])
        assert_eq!(moved.method, "l_infinity");
        assert!((moved.statistic - 0.2).abs() < 1e-12, "{moved:?}");
        let one_threshold = of_classes(&turned, Some(0.1));
        assert_eq!(one_threshold.method, "jensen_shannon");
        assert!((one_threshold.statistic - 0.206_730_860_332_140_78).abs() < 1e-12, "{one_threshold:?}");
        assert!((moved.p_value.unwrap() / 2.891_907_414_046_885_8e-18 - 1.0).abs() < 1e-6, "{moved:?}");
        let new = of_classes(&answers(&[("ant", 250), ("bee", 145), ("cat", 97), ("dog", 8)], 0.8), None);
        assert!(
            new.drifted && new.method == "new_categories" && (new.statistic - 0.016).abs() < 1e-12,
            "{new:?}"
        );
    }

    #[test]
    fn what_an_earlier_release_kept_of_several_classes_is_compared_as_it_was() {
        let reference = reference();
        let current = answers(&[("ant", 250), ("bee", 250)], 0.99);
        let drift = drift_of(&monitor(), &reference, &current).unwrap();
        let prediction = drift.iter().find(|drift| drift.column == "prediction").unwrap();
        assert!(prediction.drifted && prediction.detail.starts_with("mean "), "{prediction:?}");
    }

    #[test]
    fn performance_is_judged_once_the_window_is_settled() {
        let good =
            assess(window(), Stage::Settled, &monitor(), &scoring(), &rows(1000, 0.0, false), None).unwrap();
        assert!(good.verdicts.iter().all(|verdict| verdict.passed && verdict.judged));
        let bad =
            assess(window(), Stage::Settled, &monitor(), &scoring(), &rows(1000, 0.0, true), None).unwrap();
        assert!(bad.verdicts.iter().any(|verdict| !verdict.passed));
        assert_eq!(bad.evaluation.unwrap().slices.len(), 2);
    }

    #[test]
    fn answers_that_are_none_of_the_task_leave_the_window_unscored_and_raise_an_alert() {
        let mut rows = rows(1000, 0.0, false);
        rows[5].label = Some("late".into());
        let report =
            assess(window(), Stage::Settled, &monitor(), &scoring(), &rows, Some((1, &reference()))).unwrap();
        assert!(report.evaluation.is_none() && report.verdicts.is_empty() && !report.drift.is_empty());
        let raised = alerts("delay", &report, Stage::Settled, window().end);
        assert_eq!(raised.len(), 1);
        assert_eq!((raised[0].name.as_str(), raised[0].severity), ("delay.task", Severity::Warning));
        assert_eq!(
            raised[0].message,
            "score the model `delay`, a binary task: the prediction `5` of version 1 has the ground truth \
             `late`, which is neither 0 nor 1"
        );
    }

    #[test]
    fn a_small_window_is_not_judged() {
        let reference = reference();
        let small = assess(
            window(),
            Stage::Settled,
            &monitor(),
            &scoring(),
            &rows(50, 90.0, true),
            Some((1, &reference)),
        )
        .unwrap();
        assert!(small.drift.is_empty() && small.verdicts.is_empty());
    }
}
