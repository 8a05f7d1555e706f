//! The constants were computed with scikit-learn 1.9.1, scipy 1.17.1 and, for DeLong, the definition by
//! all pairs in numpy 2.4.6, from the rows of [`rows`]:
//!
//! ```text
//! i = numpy.arange(400); s = ((i*7919+13) % 1000)//10/100; noise = ((i*i*31+i*17) % 97)/97
//! y = ((0.6*s + 0.4*noise) > 0.55).astype(int); y = numpy.where(i % 11 == 0, 1-y, y)
//! t = numpy.round((s + ((i*37) % 101)/101)/2, 2); g = ["abcd"[(j*j) % 7 % 4] for j in i]
//! ```

use proptest::prelude::*;
use rondo_core::evaluation::Metric;

use super::*;

struct Rows {
    s: Vec<f64>,
    t: Vec<f64>,
    noise: Vec<f64>,
    y: Vec<bool>,
    g: Vec<Option<String>>,
}

fn rows() -> Rows {
    let i: Vec<u64> = (0..400).collect();
    let s: Vec<f64> = i.iter().map(|i| ((i * 7919 + 13) % 1000 / 10) as f64 / 100.0).collect();
    let noise: Vec<f64> = i.iter().map(|i| ((i * i * 31 + i * 17) % 97) as f64 / 97.0).collect();
    let y = i
        .iter()
        .zip(s.iter().zip(&noise))
        .map(|(i, (s, noise))| (0.6 * s + 0.4 * noise > 0.55) != (i % 11 == 0));
    let t = i.iter().zip(&s).map(|(i, s)| {
        let mixed = (s + ((i * 37) % 101) as f64 / 101.0) / 2.0;
        (mixed * 100.0).round_ties_even() / 100.0
    });
    let g = i.iter().map(|i| Some(["a", "b", "c", "d"][(i * i % 7 % 4) as usize].to_owned()));
    Rows { y: y.collect(), t: t.collect(), g: g.collect(), s, noise }
}

fn labels(y: &[bool]) -> Vec<f64> {
    y.iter().map(|label| f64::from(u8::from(*label))).collect()
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

fn check(metrics: &[Metric], name: &str, value: f64, interval: Option<(f64, f64)>) {
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
    near(metric.value.unwrap(), value);
    if let Some((low, high)) = interval {
        near(metric.low.unwrap(), low);
        near(metric.high.unwrap(), high);
    }
}

#[test]
fn binary_metrics_are_those_of_scikit_learn() {
    let rows = rows();
    let found = evaluate_binary(&rows.s, &labels(&rows.y), 0.5, &[], &[], Pooling::default()).unwrap();
    assert_eq!((found.rows, found.positives), (400, Some(172)));
    let m = &found.metrics;
    check(m, "roc_auc", 0.8500229498164013, Some((0.8115495367559235, 0.8884963628768795)));
    check(m, "pr_auc", 0.7918496474367324, None);
    check(
        m,
        "log_loss",
        0.5032954065419033,
        Some((0.44656895843351146, 2.0 * 0.5032954065419033 - 0.44656895843351146)),
    );
    check(m, "brier", 0.16132, None);
    check(m, "ece", 0.07825, None);
    check(m, "accuracy", 0.76, Some((0.715799603858965, 0.7992540030872007)));
    check(m, "precision", 0.6881188118811881, None);
    check(m, "recall", 0.8081395348837209, None);
    check(m, "f1", 0.7433155080213903, None);
    check(m, "mcc", 0.5266124124250064, None);
    let known: Vec<&str> = known().iter().map(|metric| metric.name).collect();
    assert!(m.iter().all(|metric| known.contains(&metric.name.as_str())));
}

#[test]
fn paired_delong_is_that_of_all_pairs() {
    let rows = rows();
    let found = roc::compare(&rows.s, &rows.t, &rows.y).unwrap();
    near(found.second, 0.7553294573643411);
    near(found.difference, 0.09469349245206038);
    near(found.low, 0.054842899756307524);
    near(found.high, 0.13454408514781324);
    assert!((found.p_value / 3.2039632049074023e-06 - 1.0).abs() < 1e-6, "{}", found.p_value);
    let same = roc::compare(&rows.s, &rows.s, &rows.y).unwrap();
    assert_eq!((same.difference, same.p_value), (0.0, 1.0));
}

#[test]
fn regression_metrics_are_those_of_scikit_learn() {
    let rows = rows();
    let targets: Vec<f64> = rows.s.iter().zip(&rows.noise).map(|(s, noise)| 10.0 + 5.0 * s + noise).collect();
    let predictions: Vec<f64> = rows.t.iter().map(|t| 10.0 + 5.0 * t).collect();
    let found = evaluate_regression(&predictions, &targets, &[("g", &rows.g)], Pooling::default()).unwrap();
    check(&found.metrics, "rmse", 1.1619002206306999, None);
    check(&found.metrics, "mae", 0.939951030927835, None);
    check(&found.metrics, "r2", 0.3866411403721064, None);
    check(&found.metrics, "mape", 0.07137075530862393, None);
    assert_eq!(found.slices.len(), 3);
    let zero = evaluate_regression(&[1.0], &[0.0], &[], Pooling::default()).unwrap();
    assert_eq!(zero.metric("mape").unwrap().value, None);
}

#[test]
fn fairness_is_that_of_fairlearn() {
    let rows = rows();
    let slices: [(&str, &[Option<String>]); 1] = [("g", &rows.g)];
    let found =
        evaluate_binary(&rows.s, &labels(&rows.y), 0.5, &slices, &["g", "h"], Pooling::default()).unwrap();
    check(&found.metrics, "demographic_parity_difference:g", 0.023357813137494965, None);
    check(&found.metrics, "equal_opportunity_difference:g", 0.04894736842105263, None);
    check(&found.metrics, "equalized_odds_difference:g", 0.08333333333333334, None);
    let absent = found.metric("equalized_odds_difference:h").unwrap();
    assert_eq!(absent.note.as_deref(), Some("there are no values of `h`"));
}

#[test]
fn small_slices_are_pooled_and_named() {
    let scores = [0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.4];
    let labels = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    let carrier: Vec<Option<String>> = ["UA", "UA", "UA", "UA", "HA", "other", ""]
        .iter()
        .map(|c| (!c.is_empty()).then(|| (*c).to_owned()))
        .collect();
    let pooling = Pooling { min_rows: 2, min_positives: 1 };
    let found =
        evaluate_binary(&scores, &labels, 0.5, &[("carrier", &carrier)], &["carrier"], pooling).unwrap();
    let named: Vec<(&str, u64, Option<u64>)> =
        found.slices.iter().map(|slice| (slice.value.as_str(), slice.rows, slice.positives)).collect();
    assert_eq!(named, [("UA", 4, Some(2)), ("other", 3, Some(1))]);
    assert_eq!(found.slices[1].members, ["(missing)", "HA", "other"]);
    let note = found.metric("equalized_odds_difference:carrier").unwrap().note.clone();
    assert_eq!(note.as_deref(), Some("fewer than two groups are large enough to compare"));
}

#[test]
fn what_cannot_be_computed_is_undefined_and_says_why() {
    let one_class = evaluate_binary(&[0.2, 0.4], &[0.0, 0.0], 0.5, &[], &[], Pooling::default()).unwrap();
    for name in ["roc_auc", "pr_auc", "precision", "recall", "f1", "mcc"] {
        let metric = one_class.metric(name).unwrap();
        assert!(metric.value.is_none() && metric.note.is_some(), "{name}");
    }
    assert_eq!(one_class.value("accuracy"), Some(1.0));
    let margins = evaluate_binary(&[-3.0, 4.0], &[0.0, 1.0], 0.0, &[], &[], Pooling::default()).unwrap();
    assert_eq!((margins.value("roc_auc"), margins.value("log_loss")), (Some(1.0), None));
    let empty = evaluate_binary(&[], &[], 0.5, &[], &[], Pooling::default()).unwrap();
    assert!(empty.metrics.iter().all(|metric| metric.value.is_none()));
}

#[test]
fn unusable_rows_are_refused() {
    let refuse = |scores: &[f64], labels: &[f64]| {
        evaluate_binary(scores, labels, 0.5, &[], &[], Pooling::default()).unwrap_err().to_string()
    };
    assert_eq!(refuse(&[0.1, f64::NAN], &[0.0, 1.0]), "the score of row 2 is NaN: a finite number is needed");
    assert_eq!(refuse(&[0.1], &[2.0]), "the label of row 1 is 2: 0 or 1 is needed");
    assert_eq!(refuse(&[0.1], &[]), "the labels count 0 rows, but there are 1 predictions");
}

proptest! {
    #[test]
    fn the_area_is_the_share_of_pairs_won(rows in prop::collection::vec((0_u8..20, any::<bool>()), 2..60)) {
        let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, positive) in &rows {
            for (b, other) in &rows {
                if *positive && !other {
                    pairs += 1.0;
                    won += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
        }
        match roc::auc(&scores, &labels) {
            None => prop_assert_eq!(pairs, 0.0),
            Some(auc) => {
                prop_assert!((auc.value - won / pairs).abs() < 1e-12);
                if let Some((low, high)) = auc.interval {
                    prop_assert!(low <= auc.value && auc.value <= high);
                }
            }
        }
    }

    #[test]
    fn intervals_hold_their_values(part in 0_u64..50, more in 0_u64..50) {
        if let Some((low, high)) = interval::wilson(part, part + more) {
            let share = part as f64 / (part + more) as f64;
            prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0);
        }
    }
}
