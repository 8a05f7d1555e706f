//! The constants were computed with numpy 2.4.6 and scipy 1.17.1 from the definitions named, of
//! `u = noise(3000, 1)`, `v = noise(2000, 2)`, `ref = -log(1-u)*10`, `cur = -log(1-v)*12 - 0.5`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};

use super::*;
use crate::profile::Profiler;
use crate::read::columns_of;

fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        })
        .collect()
}

fn profile(columns: Vec<(&str, ArrayRef)>) -> Profile {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut profiler = Profiler::new(&columns_of(&batch.schema()));
    profiler.update(&batch).unwrap();
    profiler.finish().unwrap()
}

fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn texts(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn statistic(report: &DriftReport, column: &str, method: Method) -> (f64, Option<f64>) {
    let column = report.column(column).unwrap();
    let drift = column.comparisons.iter().find(|drift| drift.method == method).unwrap();
    (drift.statistic, drift.p_value)
}

fn near(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within * expected.abs(), "{found} is not {expected}");
}

#[test]
fn statistics_of_numbers_are_those_of_nannyml_and_scipy() {
    let reference = profile(vec![("x", numbers(noise(3000, 1).iter().map(|u| -(1.0 - u).ln() * 10.0)))]);
    let current = profile(vec![("x", numbers(noise(2000, 2).iter().map(|v| -(1.0 - v).ln() * 12.0 - 0.5)))]);
    let report = compare(&reference, &current, &DriftOptions::default());
    // edges = histogram_bin_edges(ref, 'doane'); jensenshannon(append(p, 0), append(q, 1-q.sum()), base=2)
    near(statistic(&report, "x", Method::JensenShannon).0, 0.16485570831113056, 1e-9);
    // wasserstein_distance(ref, cur) / ref.std()
    near(statistic(&report, "x", Method::Wasserstein).0, 0.14435877666186991, 1e-9);
    // ks_2samp(ref, cur)
    let (ks, p) = statistic(&report, "x", Method::KolmogorovSmirnov);
    near(ks, 0.04883333333333333, 1e-9);
    near(p.unwrap(), 0.006382714116403282, 0.05);
    // shares up to the deciles of ref, sum((q-p)*log(q/p))
    near(statistic(&report, "x", Method::PopulationStability).0, 0.02093684435428395, 1e-9);
    let column = report.column("x").unwrap();
    assert!(column.drifted && report.drifted);
    let main = column.main().unwrap();
    assert!(main.detail.starts_with("mean 10.17 → 11.55, median 7.077 → 7.632"), "{}", main.detail);
}

#[test]
fn bins_of_whole_numbers_are_those_of_numpy() {
    let whole = |values: Vec<f64>, to: f64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(values.iter().map(|u| (u * to) as i64)))
    };
    let reference = profile(vec![("n", whole(noise(3000, 1), 200.0))]);
    let current = profile(vec![("n", whole(noise(2000, 2), 220.0))]);
    let report = compare(&reference, &current, &DriftOptions::default());
    near(statistic(&report, "n", Method::JensenShannon).0, 0.2240113923300895, 1e-9);
}

#[test]
fn sketched_columns_give_nearly_the_exact_statistics() {
    let shifted =
        |seed, by: f64| numbers(noise(30_000, seed).iter().map(move |u| -(1.0 - u).ln() * 10.0 * by));
    let reference = profile(vec![("x", shifted(1, 1.0))]);
    let same = compare(&reference, &profile(vec![("x", shifted(3, 1.0))]), &DriftOptions::default());
    assert!(!same.column("x").unwrap().drifted);
    let moved = compare(&reference, &profile(vec![("x", shifted(3, 1.2))]), &DriftOptions::default());
    // wasserstein_distance(ref, cur) / ref.std() and ks_2samp(ref, cur), as above with 30000 rows each:
    // the distance of two exponentials is that of their means, 0.2 here.
    near(statistic(&moved, "x", Method::Wasserstein).0, 0.2, 0.05);
    // The distribution functions are furthest apart, by 0.0670, where their densities cross.
    near(statistic(&moved, "x", Method::KolmogorovSmirnov).0, 0.067, 0.12);
    assert!(moved.column("x").unwrap().drifted);
}

#[test]
fn material_changes_are_found_and_immaterial_ones_are_not() {
    let n = 20_000;
    let u = |seed| noise(n, seed);
    let pick = |values: Vec<f64>, names: &[(&str, f64)]| {
        let names: Vec<(String, f64)> =
            names.iter().map(|(name, up_to)| ((*name).to_owned(), *up_to)).collect();
        texts(values.into_iter().map(move |u| {
            names.iter().find(|(_, up_to)| u < *up_to).map_or_else(String::new, |(name, _)| name.clone())
        }))
    };
    let with_nulls = |values: Vec<f64>, share: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(values.into_iter().map(|u| (u >= share).then_some(u * 1.37))))
    };
    let ids = |from: usize| -> ArrayRef { texts((0..n).map(|row| format!("id{}", row + from))) };
    let reference = profile(vec![
        ("same", numbers(u(11))),
        ("tiny_shift", numbers(u(12))),
        ("shift", numbers(u(13))),
        ("nulls", with_nulls(u(14), 0.01)),
        ("binary", pick(u(15), &[("yes", 0.5), ("no", 1.0)])),
        ("new", pick(u(16), &[("a", 0.5), ("b", 1.0)])),
        ("carrier", pick(u(17), &[("AA", 0.3), ("UA", 0.6), ("DL", 1.0)])),
        ("key", ids(0)),
    ]);
    let current = profile(vec![
        ("same", numbers(u(21))),
        ("tiny_shift", numbers(u(22).into_iter().map(|u| u + 0.011))),
        ("shift", numbers(u(23).into_iter().map(|u| u + 0.1))),
        ("nulls", with_nulls(u(24), 0.2)),
        ("binary", pick(u(25), &[("yes", 0.6), ("no", 1.0)])),
        ("new", pick(u(26), &[("a", 0.49), ("b", 0.98), ("X", 1.0)])),
        ("carrier", pick(u(27), &[("AA", 0.3), ("UA", 0.6), ("DL", 1.0)])),
        ("key", ids(n)),
    ]);
    let report = compare(&reference, &current, &DriftOptions::default());
    let drifted: Vec<&str> = report.drifted_columns().map(|column| column.column.as_str()).collect();
    assert_eq!(drifted, ["shift", "nulls", "binary", "new"]);
    let detail = |name: &str| report.column(name).unwrap().main().unwrap().detail.clone();
    assert!(detail("nulls").starts_with("missing 1.0 % → 20."), "{}", detail("nulls"));
    assert!(detail("new").starts_with("new `X` 1.9 %"), "{}", detail("new"));
    // Detectable, but too small to matter.
    let tiny = statistic(&report, "tiny_shift", Method::KolmogorovSmirnov);
    assert!(tiny.1.unwrap() < 0.05, "{tiny:?}");
    assert_eq!(report.column("key").unwrap().note.as_deref(), Some("not compared: it looks like a key"));
}

#[test]
fn small_windows_and_changed_columns_are_noted() {
    let reference = profile(vec![("x", numbers(noise(500, 1))), ("gone", numbers(noise(500, 2)))]);
    let current = profile(vec![("x", numbers(noise(20, 3))), ("fresh", numbers(noise(20, 4)))]);
    let report = compare(&reference, &current, &DriftOptions::default());
    assert_eq!(report.column("x").unwrap().note.as_deref(), Some("not judged: 20 rows, 100 needed"));
    assert_eq!((report.missing, report.unexpected), (vec!["gone".into()], vec!["fresh".into()]));
    assert!(!report.drifted && report.judged == 0);
    let text = profile(vec![("x", texts((0..500).map(|row| format!("t{}", row % 3))))]);
    let report = compare(&reference, &text, &DriftOptions::default());
    assert_eq!(
        report.column("x").unwrap().note.as_deref(),
        Some("not compared: it was number and is string")
    );
}

#[test]
fn noise_alone_in_small_windows_is_no_drift() {
    let reference = profile(vec![("x", numbers(noise(5000, 1)))]);
    let alarms = (0..50)
        .filter(|seed| {
            let current = profile(vec![("x", numbers(noise(150, 1000 + seed)))]);
            compare(&reference, &current, &DriftOptions::default()).column("x").unwrap().drifted
        })
        .count();
    assert!(alarms <= 4, "{alarms}");
}

#[test]
fn extreme_numbers_break_nothing() {
    let values = [f64::MAX, f64::MIN, 0.0, 1e-300, f64::INFINITY, f64::NAN];
    let wild = || {
        profile(vec![
            ("x", numbers((0..600).map(|row| values[row % 6]))),
            ("c", numbers((0..600).map(|_| 7.0))),
        ])
    };
    let report = compare(&wild(), &wild(), &DriftOptions::default());
    assert!(report.drifted_columns().next().is_none());
    assert!(serde_json::to_string(&report).is_ok());
    let other = profile(vec![("x", numbers((0..600).map(f64::from))), ("c", numbers((0..600).map(|_| 8.0)))]);
    assert!(compare(&wild(), &other, &DriftOptions::default()).column("c").unwrap().drifted);
}

#[test]
fn a_distance_too_large_for_a_number_is_the_largest() {
    let few = |value: f64| profile(vec![("x", numbers((0..600).map(|row| value * f64::from(row % 6))))]);
    for far in [1.7e308, -1.7e308] {
        let wild = profile(vec![("x", numbers((0..600).map(|_| far)))]);
        let report = compare(&few(0.1), &wild, &DriftOptions::default());
        assert!(report.column("x").unwrap().drifted);
        assert_eq!(statistic(&report, "x", Method::Wasserstein).0, f64::MAX);
        let again: DriftReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(statistic(&again, "x", Method::Wasserstein).0, f64::MAX);
    }
}
