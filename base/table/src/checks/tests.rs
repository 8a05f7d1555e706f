//! What checks promise.

use std::path::PathBuf;

use proptest::prelude::*;
use rondo_core::Explain;
use serde_json::{Value, json};

use super::*;
use crate::error::TableError;

const TABLE: &str = "\
id,carrier,delay,dep,arr,ok,code
1,AA,5.5,2013-01-01T05:00:00Z,2013-01-01T07:00:00Z,true,N10
2,B6,-3,2013-01-01T06:00:00Z,2013-01-01T05:00:00Z,true,N2
3,AA,NA,2013-01-02T05:00:00Z,NA,false,X
4,ZZ,120,2013-01-03T05:00:00Z,2013-01-03T07:00:00Z,true,N100
4,,0,2013-01-04T05:00:00Z,2013-01-04T07:00:00Z,true,
";

fn table() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, TABLE).unwrap();
    (dir, path)
}

fn result(rule: Value) -> RuleResult {
    let (_dir, path) = table();
    let suite = Suite { rules: vec![Rule::parse(&rule).unwrap()] };
    evaluate_path(&suite, &path).unwrap().rules.remove(0)
}

/// The row numbers of the sample, when the rule fails.
fn failing(rule: Value) -> Option<Vec<u64>> {
    let result = result(rule);
    (!result.passed).then(|| result.sample.iter().map(|sample| sample.row).collect())
}

#[test]
fn rules_on_values_name_the_rows_that_fail() {
    assert_eq!(failing(json!({"column": "carrier", "not_null": true})), Some(vec![5]));
    assert_eq!(failing(json!({"column": "carrier", "not_null": {"mostly": 0.8}})), None);
    assert_eq!(failing(json!({"column": "carrier", "null": {"mostly": 0.2}})), None);
    assert_eq!(failing(json!({"column": "carrier", "in_set": ["AA", "B6"]})), Some(vec![4]));
    assert_eq!(
        failing(json!({"column": "carrier", "not_in_set": {"values": ["B6"], "mostly": 1.0}})),
        Some(vec![2])
    );
    assert_eq!(failing(json!({"column": "id", "in_set": [1, 2, 3.0, 4]})), None);
    assert_eq!(failing(json!({"column": "ok", "in_set": [true]})), Some(vec![3]));
    assert_eq!(failing(json!({"column": "dep", "not_in_set": ["2013-01-02T05:00:00Z"]})), Some(vec![3]));
    assert_eq!(failing(json!({"column": "delay", "between": {"min": 0, "max": 60}})), Some(vec![2, 4]));
    assert_eq!(
        failing(json!({"column": "delay", "between": {"min": 0, "strict_min": true}})),
        Some(vec![2, 5])
    );
    assert_eq!(failing(json!({"column": "dep", "between": ["2013-01-01", "2013-01-03"]})), Some(vec![4, 5]));
    assert_eq!(failing(json!({"column": "code", "matches": "^N\\d+$"})), Some(vec![3]));
    assert_eq!(failing(json!({"column": "code", "not_matches": {"regex": "00"}})), Some(vec![4]));
    assert_eq!(failing(json!({"column": "code", "length": {"min": 2, "max": 3}})), Some(vec![3, 4]));
    assert_eq!(failing(json!({"column": "dep", "increasing": {"strict": true}})), None);
    assert_eq!(failing(json!({"column": "id", "increasing": true})), None);
    assert_eq!(failing(json!({"column": "id", "increasing": {"strict": true}})), Some(vec![5]));
    assert_eq!(failing(json!({"column": "id", "decreasing": {"mostly": 0.4}})), None);
    assert_eq!(failing(json!({"column": "arr", "greater_than": "dep"})), Some(vec![2]));
    assert_eq!(failing(json!({"column": "dep", "greater_than": {"column": "dep", "or_equal": true}})), None);
    assert_eq!(failing(json!({"column": "code", "parses_as": "integer"})), Some(vec![1, 2, 3, 4]));
    assert_eq!(failing(json!({"column": "dep", "parses_as": "timestamp"})), None);
    assert_eq!(failing(json!({"column": "id", "unique": true})), Some(vec![5]));
    assert_eq!(failing(json!({"columns": ["id", "carrier"], "unique": true})), None);
    assert_eq!(failing(json!({"columns": ["carrier", "ok"], "unique": true})), None);
}

#[test]
fn a_result_says_how_many_and_shows_some() {
    let result = result(json!({"column": "delay", "between": {"min": 0, "max": 60}, "severity": "warning"}));
    assert_eq!(result.rule, "delay: between ≥ 0 and ≤ 60");
    assert_eq!((result.rows, result.unexpected_count, result.unexpected_percent), (4, 2, 50.0));
    assert_eq!(result.sample[1].value, json!(120.0));
    assert_eq!(result.message(), "2 of 4 values (50.00 %)");
    assert_eq!(result.severity, Severity::Warning);
}

#[test]
fn rules_on_whole_columns_say_what_they_found() {
    let check = |rule: Value| {
        let result = result(rule);
        (result.passed, result.observed.unwrap_or_default(), result.note.unwrap_or_default())
    };
    assert_eq!(check(json!({"column": "delay", "min": {"min": 0}})), (false, json!(-3.0), String::new()));
    assert_eq!(check(json!({"column": "delay", "max": {"max": 120}})), (true, json!(120.0), String::new()));
    assert_eq!(check(json!({"column": "delay", "mean": {"max": 10}})), (false, json!(30.625), String::new()));
    assert_eq!(check(json!({"column": "delay", "median": {"max": 3}})), (true, json!(2.75), String::new()));
    assert_eq!(check(json!({"column": "delay", "sum": 122.5})), (true, json!(122.5), String::new()));
    assert!(check(json!({"column": "delay", "std": {"min": 59, "max": 60}})).0);
    assert_eq!(check(json!({"column": "delay", "quantile": {"at": 0.0, "min": -5}})).1, json!(-3.0));
    assert_eq!(
        check(json!({"column": "carrier", "distinct_count": {"max": 2}})),
        (false, json!(3), String::new())
    );
    assert_eq!(
        check(json!({"column": "dep", "max": {"max": "2013-01-03"}})).1,
        json!("2013-01-04T05:00:00Z")
    );
    assert_eq!(check(json!({"column": "carrier", "distinct_in_set": ["AA", "B6"]})).2, "unexpected: ZZ");
    assert_eq!(
        check(json!({"column": "carrier", "distinct_equal_set": ["AA", "B6", "DL"]})).2,
        "unexpected: ZZ; missing: DL"
    );
    assert!(check(json!({"column": "id", "distinct_contains_set": [1, 4]})).0);
    assert_eq!(check(json!({"column": "id", "type": ["number"]})), (false, json!("integer"), String::new()));
    assert!(check(json!({"column": "id", "exists": true})).0);
    assert_eq!(check(json!({"rows": {"min": 1000}})), (false, json!(5), String::new()));
    assert_eq!(check(json!({"columns": ["id", "carrier"]})).2, "unexpected: delay, dep, arr, ok, code");
    assert!(check(json!({"columns": {"set": ["id", "carrier", "delay", "dep", "arr", "ok", "code"], "ordered": true}})).0);
}

#[test]
fn rules_that_do_not_fit_the_table_fail_and_say_why() {
    let note = |rule: Value| {
        let result = result(rule);
        assert!(!result.passed);
        result.note.unwrap()
    };
    assert_eq!(
        note(json!({"column": "carier", "not_null": true})),
        "there is no column `carier`; did you mean `carrier`?"
    );
    assert_eq!(
        note(json!({"column": "carrier", "between": [0, 1]})),
        "the column is string, for which `between` means nothing"
    );
    assert_eq!(
        note(json!({"column": "carrier", "mean": {"min": 0}})),
        "the column is string, for which `mean` means nothing"
    );
    assert_eq!(
        note(json!({"column": "id", "in_set": ["a"]})),
        "the column is integer, but not all values of the set are"
    );
}

#[test]
fn warnings_do_not_fail_a_suite() {
    let (_dir, path) = table();
    let list = json!([
        {"rows": {"min": 1}},
        {"column": "carrier", "not_null": true, "severity": "warning"},
    ]);
    let suite = Suite::parse(&list).unwrap();
    let report = evaluate_path(&suite, &path).unwrap();
    assert!(report.passed && report.rows == 5);
    assert_eq!(report.failures().count(), 1);
    assert_eq!(serde_json::to_value(&suite).unwrap(), list);
    assert_eq!(serde_json::from_value::<Suite>(list).unwrap(), suite);
    let again: CheckReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
}

#[test]
fn faults_of_a_suite_come_in_one_go() {
    let faults = Suite::parse(&json!([
        {"column": "a", "not_nul": true},
        {"column": "a", "between": {}},
        {"column": "a", "between": {"min": 3, "max": 1}},
        {"column": "a", "matches": "("},
        {"column": "a"},
        {"not_null": true},
        {"column": "a", "not_null": {"mosty": 0.9}},
        {"column": "a", "not_null": true, "mostly": 97},
        {"column": "a", "type": "float"},
        {"column": "a", "min": {"min": 0}, "max": {"max": 1}},
        {"rows": {"min": 1}, "column": "a"},
        "not_null",
        {"column": "a", "not_null": true},
    ]))
    .unwrap_err();
    let places: Vec<usize> = faults.iter().map(|(at, _)| *at).collect();
    assert_eq!(places, (0..12).collect::<Vec<_>>());
    assert_eq!(faults[0].1.hints(), ["did you mean `not_null`?"]);
    let reason = |at: usize| match &faults[at].1 {
        TableError::CheckInvalid { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    assert_eq!(reason(1), "`between` needs a `min`, a `max` or both");
    assert_eq!(reason(2), "`min` 3 is above `max` 1");
    assert_eq!(reason(5), "`not_null` needs a `column`");
    assert_eq!(reason(6), "`not_null` knows no `mosty`; it takes mostly");
    assert_eq!(reason(7), "`mostly` is a share between 0 and 1");
}

#[test]
fn uniqueness_is_given_up_beyond_its_limit() {
    use crate::checks::rows::Tally;
    use crate::checks::unique::UniqueCheck;
    let (_dir, path) = table();
    let batch = crate::read::open(&path).unwrap().next().unwrap().unwrap();
    let mut check = UniqueCheck::with_limit(&["id".into()], 3);
    let error = check.update(&batch, 1, &mut Tally::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`id` has more than 3 distinct values: too many to decide whether all differ"
    );
}

#[test]
fn every_name_is_that_of_a_rule() {
    for name in names() {
        let bare = Rule::parse(&json!({"column": "a", *name: {"min": 1}}));
        assert!(!matches!(bare, Err(TableError::CheckUnknown { .. })), "{name}");
        if let Ok(rule) = bare {
            assert_eq!(rule.kind.name(), *name);
        }
    }
}

proptest! {
    #[test]
    fn any_value_is_a_rule_or_refused(key in "[a-z_]{1,12}|between|in_set|matches", text in "[\\[{}\\]\":,a-z0-9]{0,30}") {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = Rule::parse(&json!({"column": "a", key: value}));
        }
    }
}
