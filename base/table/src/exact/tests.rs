//! Where it counts whether two values are equal, no two numbers are taken for one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array,
};
use serde_json::{Value, json};

use crate::checks::{Rule, RuleResult, Suite, evaluate_path, evaluate_profile};
use crate::profile::{Distinct, Profile, ProfileOptions, Profiler};
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
fn conditions_are_asked_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let tenths = Decimal128Array::from(vec![1, 2, 3]).with_precision_and_scale(38, 1).unwrap();
    let far = [0, 1, 2].map(|n| i128::from(FAR) * 1000 + n);
    let far = Decimal128Array::from(far.to_vec()).with_precision_and_scale(38, 2).unwrap();
    let moments = TimestampMicrosecondArray::from([7, 8, 9].map(|n| 253_402_300_799_999_990 + n).to_vec());
    let arrays: [(&str, ArrayRef); 7] = [
        ("i", Arc::new(Int64Array::from(vec![FAR, FAR + 1, FAR + 2]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX - 2, u64::MAX - 1, u64::MAX]))),
        ("d", Arc::new(far)),
        ("t", Arc::new(tenths)),
        ("n", Arc::new(Int64Array::from(vec![3_037_000_500, 3_037_000_501, 3]))),
        ("at", Arc::new(moments)),
        ("x", Arc::new(Float64Array::from(vec![0.1, FAR as f64, 0.3]))),
    ];
    let batch = RecordBatch::try_from_iter(arrays).unwrap();
    write::parquet(&path, batch.schema(), [Ok(batch)]).unwrap();
    for (condition, wanted) in [
        ("i > 1152921504606846976", "23"),
        ("i == 1152921504606846977", "2"),
        ("1152921504606846977 >= i", "12"),
        ("i in [1152921504606846977, 5]", "2"),
        ("i not in [1152921504606846977, 5]", "13"),
        ("u == 18446744073709551614", "2"),
        ("u > i", "123"),
        ("u - 18446744073709551615 == -1", "2"),
        ("u - i == 17293822569102704637", "123"),
        ("d > 11529215046068469760.01", "3"),
        ("d == 11529215046068469760.0100", "2"),
        ("d * 100 == i * 1000", "1"),
        ("i * 10 == 11529215046068469770", "2"),
        ("t + 0.1 == 0.2", "1"),
        ("t + 0.2 == 0.3", "1"),
        ("t * 3 == 0.9", "3"),
        ("t == x", "13"),
        ("i == x", ""),
        ("i + 1 == x + 1", ""),
        ("i / 2 == 576460752303423488", "123"),
        ("n * n == 9223372037000250000", "1"),
        ("n * n < 9223372037000250001", "13"),
        ("n * n - n * n == 0 and n - 3 == 0", "3"),
        ("at - at == 0", "123"),
        ("at >= '9999-12-31T23:59:59.999998Z'", "23"),
        ("at in ['9999-12-31T23:59:59.999998Z']", "2"),
        ("x == 0.1000000000000000055", "1"),
        ("x > -0.0", "123"),
        ("t < 1e400 and t > -1e400", "123"),
    ] {
        let suite = Suite::parse(&json!([{ "column": "i", "null": true, "where": condition }])).unwrap();
        let result = evaluate_path(&suite, &path).unwrap().rules.remove(0);
        let rows: String = result.sample.iter().map(|sample| sample.row.to_string()).collect();
        assert_eq!(rows, wanted, "{condition}: {:?}", result.note);
    }
}

#[test]
fn limits_are_compared_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let of = |list: &[i128], scale: i8| -> ArrayRef {
        let digits = Decimal128Array::from_iter_values(list.iter().copied());
        Arc::new(digits.with_precision_and_scale(38, scale).unwrap())
    };
    let batch = RecordBatch::try_from_iter([
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX - 2, u64::MAX - 1])) as ArrayRef),
        ("i", Arc::new(Int64Array::from(vec![FAR, FAR + 1]))),
        ("d", of(&[100_000_000_000_000_000_001, 100_000_000_000_000_000_002], 2)),
        ("money", of(&[10, 20], 2)),
        ("other", of(&[1_000_000_000_000_000_000_011, 1_000_000_000_000_000_000_019], 3)),
    ]);
    let batch = batch.unwrap();
    write::parquet(&path, batch.schema(), [Ok(batch)]).unwrap();
    let of = |rule: Value| -> RuleResult {
        evaluate_path(&Suite { rules: vec![Rule::parse(&rule).unwrap()] }, &path).unwrap().rules.remove(0)
    };
    let far = FAR as u64;
    for (column, least, greatest, before, after) in [
        ("u", json!(u64::MAX - 2), json!(u64::MAX - 1), json!(u64::MAX - 3), json!(u64::MAX)),
        ("i", json!(far), json!(far + 1), json!(far - 1), json!(far + 2)),
        (
            "d",
            json!("1000000000000000000.01"),
            json!("1000000000000000000.02"),
            json!("1000000000000000000.009"),
            json!("1000000000000000000.0201"),
        ),
        ("money", json!(0.1), json!(0.2), json!(0.099), json!("0.2000000000000000000001")),
    ] {
        let passes = |min: &Value, max: &Value, strict: bool| {
            let between = json!({"min": min, "max": max, "strict_min": strict, "strict_max": strict});
            let rules = [
                json!({"column": column, "between": between}),
                json!({"column": column, "min": {"min": min, "strict_min": strict}}),
                json!({"column": column, "max": {"max": max, "strict_max": strict}}),
            ];
            rules.map(|rule| of(rule).passed)
        };
        assert_eq!(passes(&least, &greatest, false), [true; 3], "{column}");
        assert_eq!(passes(&least, &greatest, true), [false; 3], "{column}");
        assert_eq!(passes(&before, &after, true), [true; 3], "{column}");
        assert_eq!(passes(&greatest, &greatest, false), [false, false, true], "{column}");
        assert_eq!(passes(&least, &least, false), [false, true, false], "{column}");
        let out = of(json!({"column": column, "between": {"min": greatest}}));
        assert_eq!(out.unexpected_count, 1, "{column}");
    }
    assert_eq!(of(json!({"column": "u", "max": {"max": 5}})).observed, Some(json!(u64::MAX - 1)));
    assert_eq!(of(json!({"column": "d", "min": {"max": 5}})).observed, Some(json!("1000000000000000000.01")));
    assert_eq!(of(json!({"column": "money", "min": {"max": 5}})).observed, Some(json!(0.1)));
    let greater = of(json!({"column": "other", "greater_than": "d"}));
    assert_eq!(greater.unexpected_count, 1);
    assert!(Rule::parse(&json!({"column": "d", "min": {"min": "1,5"}})).is_err());
}

#[test]
fn a_profile_counts_them_and_decides_by_that_alone() {
    let folder = tempfile::tempdir().unwrap();
    let profile = Profile::of_path(&table(folder.path(), "t.parquet", 0)).unwrap();
    let again = Profile::from_json(&profile.to_json().unwrap()).unwrap();
    for profile in [&profile, &again] {
        for column in profile.columns.iter().skip(1) {
            let distinct = column.distinct();
            assert_eq!(distinct, Some(Distinct { count: 100, exact: true }), "{}", column.name);
            assert!(!column.is_constant());
        }
        assert_eq!(profile.repeats.as_ref().unwrap().duplicates().rows, 0);
        assert!(profile.alerts().iter().all(|alert| !alert.message.contains("same value")));
        let decided =
            |rule: Value| evaluate_profile(&Suite::parse(&json!([rule])).unwrap(), profile).is_some();
        assert!(decided(json!({"column": "u", "distinct_count": 100})));
        assert!(!decided(json!({"column": "u", "distinct_count": 1})));
        assert!(!decided(json!({"column": "u", "between": {"min": 0}})), "its extremes are rounded");
    }
}

/// Numbers of which neighbours share their nearest, from a place on.
fn neighbours(rows: std::ops::Range<i64>, from: i64) -> RecordBatch {
    let value = |row: i64| if row < from { row } else { FAR + row };
    let digits = |row: i64| i128::from(value(row)) * 1000 + 1;
    let decimals = Decimal128Array::from_iter_values(rows.clone().map(digits));
    let arrays: [(&str, ArrayRef); 3] = [
        ("u", Arc::new(UInt64Array::from_iter(rows.clone().map(|n| (n % 7 > 0).then(|| value(n) as u64))))),
        ("d", Arc::new(decimals.with_precision_and_scale(38, 3).unwrap())),
        ("i", Arc::new(Int64Array::from_iter_values(rows.map(value)))),
    ];
    RecordBatch::try_from_iter(arrays).unwrap()
}

fn profiled(batch: &RecordBatch, rows: usize) -> Profile {
    let columns = read::columns_of(&batch.schema());
    let mut profiler = Profiler::with(&columns, &ProfileOptions::FULL);
    for start in (0..batch.num_rows()).step_by(rows) {
        profiler.update(&batch.slice(start, rows.min(batch.num_rows() - start))).unwrap();
    }
    profiler.finish().unwrap()
}

#[test]
fn they_are_counted_the_same_whatever_the_batches_and_parts_are() {
    // Few and many values, and those that are told by digits first, in between and after many others.
    for (rows, from) in [(3_000, 0), (3_000, 1_234), (30_000, 0), (30_000, 5_000), (30_000, 25_000)] {
        let batch = neighbours(0..rows, from);
        let whole = profiled(&batch, rows as usize);
        let json = whole.to_json().unwrap();
        for size in [777, 4096] {
            assert_eq!(profiled(&batch, size).to_json().unwrap(), json, "{rows} {from} {size}");
        }
        assert_eq!(Profile::from_json(&json).unwrap().to_json().unwrap(), json);
        let middle = rows as usize / 2;
        let rest = batch.slice(middle, batch.num_rows() - middle);
        let parts = profiled(&batch.slice(0, middle), 4096).merge(&profiled(&rest, 4096)).unwrap();
        for (column, profile) in
            whole.columns.iter().map(|c| (c, &whole)).chain(parts.columns.iter().map(|c| (c, &parts)))
        {
            let distinct = column.distinct().unwrap();
            assert_eq!(distinct.exact, column.count <= 10_000, "{} {from}", column.name);
            let off = distinct.count as f64 / column.count as f64 - 1.0;
            assert!(
                off.abs() < if distinct.exact { 1e-9 } else { 0.06 },
                "{} of {rows}, {from}: {distinct:?}",
                column.name
            );
            assert_eq!(profile.rows, rows as u64);
        }
    }
}

#[test]
fn profiles_that_did_not_tell_them_apart_merge_and_claim_nothing() {
    let new = profiled(&neighbours(0..200, 100), 64);
    let mut old: Value = serde_json::from_str(&new.to_json().unwrap()).unwrap();
    for column in old["columns"].as_array_mut().unwrap() {
        column["numeric"].as_object_mut().unwrap().remove("told").expect("it is stored");
        if column["name"] == "i" {
            column["numeric"].as_object_mut().unwrap().remove("rounded");
        }
    }
    let old = Profile::from_json(&old.to_string()).unwrap();
    for merged in [old.merge(&new).unwrap(), new.merge(&old).unwrap(), old.merge(&old).unwrap()] {
        let again = Profile::from_json(&merged.to_json().unwrap()).unwrap();
        for column in merged.columns.iter().chain(&again.columns).chain(&old.columns) {
            assert!(column.distinct().is_some_and(|distinct| !distinct.exact), "{}", column.name);
        }
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
