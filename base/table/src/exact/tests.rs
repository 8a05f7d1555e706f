//! Where it counts whether two values are equal, no two numbers are taken for one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, UInt64Array};
use serde_json::{Value, json};

use crate::checks::{Rule, RuleResult, Suite, evaluate_path, evaluate_profile};
use crate::profile::Profile;
use crate::{duplicates, leakage, read, rowdiff, write};

const FAR: i64 = 1 << 60;

/// A hundred rows of numbers that have one nearest number.
fn table(folder: &Path, name: &str, from: i64) -> PathBuf {
    let steps = || from..from + 100;
    let decimals = Decimal128Array::from_iter_values(steps().map(|n| i128::from(FAR) * 1000 + i128::from(n)));
    let arrays: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..100))),
        ("u", Arc::new(UInt64Array::from_iter_values(steps().map(|n| u64::MAX - 1000 + n as u64)))),
        ("d", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("i", Arc::new(Int64Array::from_iter_values(steps().map(|n| FAR + n)))),
    ];
    let path = folder.join(name);
    let batch = RecordBatch::try_from_iter(arrays).unwrap();
    write::parquet(&path, batch.schema(), [Ok(batch)]).unwrap();
    path
}

#[test]
fn checks_tell_them_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), "t.parquet", 0);
    let of = |rule: Value| -> RuleResult {
        evaluate_path(&Suite { rules: vec![Rule::parse(&rule).unwrap()] }, &path).unwrap().rules.remove(0)
    };
    for column in ["u", "d", "i"] {
        for rule in [
            json!({"column": column, "unique": true}),
            json!({"column": column, "distinct_count": 100}),
            json!({"column": column, "increasing": {"strict": true}}),
            json!({"column": column, "not_null": true}),
            json!({"column": column, "min": {"min": 1e15}}),
            json!({"column": column, "between": {"min": 1e15}}),
            json!({"column": column, "type": if column == "i" { "integer" } else { "number" }}),
        ] {
            let result = of(rule);
            assert!(result.passed, "{column}: {} {:?}", result.rule, result.observed);
        }
        assert!(!of(json!({"column": column, "decreasing": true})).passed);
    }
    let one = of(json!({"column": "u", "in_set": {"values": [u64::MAX - 1000], "mostly": 0.0}}));
    assert_eq!((one.unexpected_count, one.sample[0].value.clone()), (99, json!(u64::MAX - 999)));
    assert!(of(json!({"columns": ["u", "d"], "unique": true})).passed);
}

#[test]
fn a_profile_claims_no_constant_and_no_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let profile = Profile::of_path(&table(folder.path(), "t.parquet", 0)).unwrap();
    let again = Profile::from_json(&profile.to_json().unwrap()).unwrap();
    for profile in [&profile, &again] {
        for column in profile.columns.iter().skip(1) {
            assert!(!column.is_constant() && column.distinct().is_some_and(|d| !d.exact), "{}", column.name);
        }
        assert_eq!(profile.repeats.as_ref().unwrap().duplicates().rows, 0);
        assert!(profile.alerts().iter().all(|alert| !alert.message.contains("same value")));
        let suite = Suite::parse(&json!([{"column": "u", "distinct_count": 1}])).unwrap();
        assert!(evaluate_profile(&suite, profile).is_none());
    }
}

#[test]
fn comparisons_duplicates_and_leakage_tell_them_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (table(folder.path(), "a.parquet", 0), table(folder.path(), "b.parquet", 100));
    let compare = |a: &Path, b: &Path, key: &str, tolerance| {
        let mut options = rowdiff::Options::new(&[key.to_owned()], folder.path());
        options.tolerance = tolerance;
        rowdiff::compare(read::open(a).unwrap(), read::open(b).unwrap(), &options).unwrap()
    };
    let found = compare(&a, &b, "id", 0.0);
    assert_eq!((found.changed, found.same), (100, 0));
    assert_eq!(found.cells.iter().map(|cells| cells.changed).collect::<Vec<_>>(), [100, 100, 100]);
    let decimals = found.cells.iter().find(|cells| cells.column == "d").unwrap();
    let shown = decimals.samples[0].from.as_str().unwrap();
    assert!(shown.starts_with("11529215046068469760") && shown.len() <= 23, "{shown}");
    assert_eq!(compare(&a, &b, "id", 1e-6).same, 100);
    assert_eq!(compare(&a, &a, "id", 0.0).same, 100);
    for key in ["u", "d", "i"] {
        let found = compare(&a, &b, key, 0.0);
        assert_eq!((found.added, found.removed, found.repeated_keys), (100, 100, [0, 0]));
    }
    let count = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        duplicates::count(read::open(&a).unwrap(), &columns).unwrap()
    };
    assert_eq!((count(&["u"]), count(&["d"]), count(&["i"])), (0, 0, 0));
    let options = leakage::Options { key: vec!["id".into()], ..leakage::Options::default() };
    let of = |report: &leakage::Report| report.check("train_test_samples_mix").unwrap().effect;
    assert_eq!(of(&leakage::find(&a, &b, &options).unwrap()), 0.0);
    assert_eq!(of(&leakage::find(&a, &a, &options).unwrap()), 1.0);
}
