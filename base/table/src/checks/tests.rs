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
    assert_eq!(failing(json!({"column": "id", "unique": true})), Some(vec![4, 5]));
    assert_eq!(failing(json!({"columns": ["id", "carrier"], "unique": true})), None);
    assert_eq!(failing(json!({"columns": ["carrier", "ok"], "unique": true})), None);
}

#[test]
fn whole_numbers_are_compared_with_whole_limits_to_the_last_digit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "n\n9007199254740992\n9007199254740993\n9007199254740994\n-9223372036854775808\n")
        .unwrap();
    let rows = |bounds: Value| {
        let suite = Suite::parse(&json!([{ "column": "n", "between": bounds }])).unwrap();
        let result = evaluate_path(&suite, &path).unwrap().rules.remove(0);
        result.sample.iter().map(|sample| sample.row).collect::<Vec<_>>()
    };
    assert_eq!(rows(json!({ "max": 9007199254740992_i64 })), [2, 3]);
    assert_eq!(rows(json!({ "max": 9007199254740993_i64 })), [3]);
    assert_eq!(rows(json!({ "max": 9007199254740993_i64, "strict_max": true })), [2, 3]);
    assert_eq!(rows(json!({ "min": 9007199254740993_i64 })), [1, 4]);
    assert_eq!(rows(json!({ "min": i64::MIN, "max": 1e300 })), [0; 0]);
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
    let mut again: CheckReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    // Which rows fail beyond the sample is for the caller alone.
    again.rules[1].failing = report.rules[1].failing.clone();
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
fn every_name_is_that_of_a_rule() {
    for name in names() {
        let bare = Rule::parse(&json!({"column": "a", name: {"min": 1}}));
        assert!(!matches!(bare, Err(TableError::CheckUnknown { .. })), "{name}");
        if let Ok(rule) = bare {
            assert_eq!(rule.kind.name(), name);
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

#[test]
fn rows_are_chosen_by_a_condition_and_numbered_as_in_the_table() {
    let on = |rule: Value| failing(rule);
    assert_eq!(on(json!({"column": "delay", "between": [0, 60], "where": "carrier == 'AA'"})), None);
    assert_eq!(on(json!({"column": "delay", "between": [0, 60], "where": "id >= 2"})), Some(vec![2, 4]));
    assert_eq!(on(json!({"column": "id", "unique": true, "where": "carrier is not null"})), None);
    let counted = result(json!({"rows": 4, "where": "id < 4 or carrier == 'ZZ'"}));
    assert_eq!((counted.passed, counted.observed), (true, Some(json!(4))));
    let mean = result(json!({"column": "delay", "mean": {"max": 0}, "where": "id == 2"}));
    assert!(mean.passed);
    let unknown = result(json!({"column": "delay", "mean": {"max": 0}, "where": "idd == 2"}));
    assert!(!unknown.passed && unknown.note.unwrap().contains("`idd`"));
}

#[test]
fn a_rule_is_asked_of_each_slice_and_small_ones_together() {
    let (_dir, path) = table();
    let rule = json!({"column": "delay", "not_null": true, "by": {"column": "carrier", "min_rows": 2}});
    let suite = Suite::parse(&json!([{"rows": 5}, rule, {"column": "id", "max": 4}])).unwrap();
    let report = evaluate_path(&suite, &path).unwrap();
    let found: Vec<(Option<&str>, bool, u64)> =
        report.rules.iter().map(|rule| (rule.slice.as_deref(), rule.passed, rule.rows)).collect();
    let rare = Some("carrier: 2 rarer values together");
    assert_eq!(found, [(None, true, 5), (Some("carrier = AA"), false, 2), (rare, true, 3), (None, true, 5)]);
    assert_eq!(report.rules[1].sample[0].row, 3);
}

#[test]
fn a_rule_by_slices_of_a_table_without_rows_is_still_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "delay,carrier\n").unwrap();
    let suite = json!([{"column": "delay", "not_null": true, "by": {"column": "carrier"}}]);
    let report = evaluate_path(&Suite::parse(&suite).unwrap(), &path).unwrap();
    assert_eq!(report.rules.len(), 1);
}

#[test]
fn all_rules_hold_or_fail_as_they_should() {
    let passes = |rule: Value| result(rule).passed;
    for (rule, wanted) in [
        (json!({"columns": ["id", "delay"], "sums_to": 6.5, "mostly": 0.25}), true),
        (json!({"columns": ["dep", "arr"], "differ": true}), true),
        (json!({"column": "dep", "equal_to": "dep"}), true),
        (json!({"column": "dep", "equal_to": "arr"}), false),
        (
            json!({"columns": ["carrier", "ok"], "pairs_in_set": [["AA", true], ["AA", false], ["B6", true]], "mostly": 0.7}),
            true,
        ),
        (json!({"column": "carrier", "most_common": ["AA"]}), true),
        (json!({"column": "id", "most_common": [4]}), true),
        (json!({"column": "carrier", "most_common": ["B6"]}), false),
        (json!({"column": "delay", "z_score": 2}), true),
        (json!({"column": "delay", "z_score": 1}), false),
        (json!({"column": "delay", "not_outliers": {"method": "iqr"}}), false),
        (json!({"column": "delay", "not_outliers": {"method": "std", "multiplier": 2}}), true),
        (json!({"column": "carrier", "distinct_share": {"min": 0.7, "max": 0.8}}), true),
        (json!({"column": "carrier", "not_null_share": 0.8}), true),
        (json!({"column": "carrier", "matches": {"like": "A%"}, "mostly": 0.5}), true),
        (json!({"column": "code", "matches": {"regex": ["^N", "\\d$"], "all": true}, "mostly": 0.75}), true),
        (json!({"column": "code", "not_matches": ["Z", "Q"]}), true),
        (
            json!({"column": "carrier", "divergence": {"values": ["AA", "B6", "ZZ"], "weights": [0.5, 0.25, 0.25], "max": 0.0001}}),
            true,
        ),
        (
            json!({"column": "carrier", "divergence": {"values": ["AA", "B6"], "weights": [0.5, 0.5], "max": 0.5}}),
            false,
        ),
        (
            json!({"column": "id", "divergence": {"bins": [0.5, 2.5, 4.5], "weights": [0.4, 0.6], "max": 0.0001}}),
            true,
        ),
        (json!({"column": "carrier", "association": {"column": "ok", "max": 0.9}}), true),
        (json!({"column": "dep", "fresh": "1d"}), false),
        (json!({"column": "dep", "fresh": {"within": "30000d"}}), true),
        (json!({"column_count": 7}), true),
        (json!({"column": "id", "exists": {"index": 0}}), true),
        (json!({"column": "id", "exists": {"index": 1}}), false),
        (json!({"columns": {"set": ["id"], "exact": false}}), true),
        (json!({"column": "delay", "quantiles": {"0.25": [0, 0], "1.0": [120, null]}}), true),
        (json!({"rows_equal": "others"}), false),
        (json!({"sql": "select * from data where id > 3"}), false),
    ] {
        assert_eq!(passes(rule.clone()), wanted, "{rule}: {:?}", result(rule.clone()));
    }
}

#[test]
fn columns_of_json_and_texts_with_a_form_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "j|d\n{\"a\": 1}|01/02/2013\n{\"a\": \"x\"}|31/02/2013\n[|28/02/2013\n").unwrap();
    let options = crate::read::ReadOptions { delimiter: Some(b'|'), ..Default::default() };
    let rows = |rule: Value| {
        let table = FileTable::open(&path, &options).unwrap();
        let suite = Suite::parse(&json!([rule])).unwrap();
        let report = evaluate(&suite, &table, &Context::default()).unwrap();
        report.rules[0].sample.iter().map(|sample| sample.row).collect::<Vec<_>>()
    };
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    assert_eq!(rows(json!({"column": "j", "json_schema": schema})), [2, 3]);
    assert_eq!(rows(json!({"column": "j", "parses_as": "json"})), [3]);
    assert_eq!(rows(json!({"column": "d", "format": "%d/%m/%Y"})), [2]);
}

/// Other tables by their path, and an engine that knows one statement.
struct Beside(PathBuf);

impl Beyond for Beside {
    fn open(&self, other: &Other) -> Result<Opened, String> {
        let Other::Path(name) = other else { return Err("no datasets here".into()) };
        let table = FileTable::open(&self.0.join(name), &Default::default()).map_err(|e| e.to_string())?;
        Ok(Opened::Table(Box::new(table)))
    }

    fn sql(&self, query: &str, tables: &std::collections::BTreeMap<String, Other>) -> Result<Opened, String> {
        if query != "select the others" {
            return Err(format!("the engine knows no `{query}`"));
        }
        self.open(tables.get("others").ok_or("no table `others`")?)
    }
}

#[test]
fn other_tables_and_statements_are_asked_for() {
    let (dir, path) = table();
    std::fs::write(dir.path().join("carriers.csv"), "code,n\nAA,1\nB6,2\nUA,3\nDL,4\nWN,5\n").unwrap();
    std::fs::write(dir.path().join("none.csv"), "a\n").unwrap();
    let beside = Beside(dir.path().to_owned());
    let context = Context { beyond: &beside, ..Context::default() };
    let check = |rule: Value| {
        let suite = Suite::parse(&json!([rule])).unwrap();
        let table = FileTable::open(&path, &Default::default()).unwrap();
        evaluate(&suite, &table, &context).unwrap().rules.remove(0)
    };
    let found = check(json!({"column": "carrier", "references": {"path": "carriers.csv", "column": "code"}}));
    assert_eq!((found.passed, found.rows, found.unexpected_count), (false, 4, 1));
    assert_eq!(found.sample, [Sample { row: 4, key: None, value: json!("ZZ") }]);
    assert!(check(json!({"column": "id", "references": {"path": "carriers.csv", "column": "n"}})).passed);
    assert!(check(json!({"rows_equal": {"path": "carriers.csv"}})).passed);
    let schema = check(json!({"same_schema": {"path": "carriers.csv"}}));
    assert!(!schema.passed && schema.note.unwrap().starts_with("missing: n; unexpected: id"));
    let sql = |file: &str| {
        check(json!({"sql": {"query": "select the others", "tables": {"others": {"path": file}}}}))
    };
    let broken = sql("carriers.csv");
    assert_eq!((broken.passed, broken.unexpected_count), (false, 5));
    assert_eq!(broken.sample[0].value, json!({"code": "AA", "n": 1}));
    assert!(sql("none.csv").passed);
    let refused = check(json!({"sql": "select 1"}));
    assert_eq!(refused.note.as_deref(), Some("the engine knows no `select 1`"));
}

#[test]
fn standard_names_are_the_same_rules() {
    for (standard, compact) in [
        (
            json!({"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 1, "max_value": 3, "mostly": 0.5}, "severity": "warning"}),
            json!({"column": "id", "between": [1, 3], "mostly": 0.5, "severity": "warning"}),
        ),
        (
            json!({"expect_column_values_to_be_between": {"column": "id", "min_value": 1}}),
            json!({"column": "id", "between": {"min": 1}}),
        ),
        (
            json!({"column": "carrier", "expect_column_values_to_be_in_set": {"value_set": ["AA"]}, "by": "ok"}),
            json!({"column": "carrier", "in_set": ["AA"], "by": "ok"}),
        ),
        (
            json!({"expectation_type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["id", "ok"]}, "meta": {}}),
            json!({"unique": ["id", "ok"]}),
        ),
        (
            json!({"type": "expect_column_quantile_values_to_be_between", "kwargs": {"column": "id", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[1, null]]}}}),
            json!({"column": "id", "quantile": {"at": 0.5, "min": 1}}),
        ),
        (
            json!({"type": "expect_table_columns_to_match_ordered_list", "kwargs": {"column_list": ["a", "b"]}}),
            json!({"columns": {"set": ["a", "b"], "ordered": true}}),
        ),
        (
            json!({"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "id", "type_": "int64"}}),
            json!({"column": "id", "type": "integer"}),
        ),
        (
            json!({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "select 1"}}),
            json!({"sql": "select 1"}),
        ),
    ] {
        let (standard, compact) = (Rule::parse(&standard).unwrap(), Rule::parse(&compact).unwrap());
        assert_eq!(standard.to_string(), compact.to_string());
        assert_eq!(
            (standard.kind, standard.columns, standard.severity),
            (compact.kind, compact.columns, compact.severity)
        );
    }
    let error = Rule::parse(&json!({"type": "expect_column_value_to_be_unique", "kwargs": {"column": "a"}}));
    assert_eq!(error.unwrap_err().hints(), ["did you mean `expect_column_values_to_be_unique`?"]);
    let odd = Rule::parse(&json!({"type": "expect_column_to_exist", "kwargs": {"column": "a", "colour": 1}}));
    assert!(odd.unwrap_err().to_string().contains("knows no `colour`"));
}

#[test]
fn uniqueness_is_exact_beyond_memory() {
    use super::keyed::Keyed;
    use super::rows::View;
    use super::rule::Missing;
    let ids: Vec<i64> = (0..5000).map(|n| if n % 1000 == 7 { 7 } else { n }).collect();
    let array: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from(ids));
    let batch = arrow_array::RecordBatch::try_from_iter([("id", array)]).unwrap();
    let mut keyed = Keyed::with_run(100);
    keyed
        .update(
            &["id".into()],
            Missing::All,
            &View { batch: &layout::Named::new(&batch), first: 1, chosen: None },
        )
        .unwrap();
    let tally = keyed.duplicates(3).unwrap();
    assert_eq!((tally.looked_at, tally.unexpected), (5000, 5));
    assert_eq!(tally.rows, [8, 1008, 2008, 3008, 4008]);
}

proptest! {
    #[test]
    fn hostile_rules_are_read_or_refused_and_never_break(text in "[ -~]{0,12}", name in 0_usize..49, inner in "[a-z_]{0,8}|min|max|column|values|regex|at|path|weights|bins") {
        let name = names()[name % names().len()];
        for argument in [json!(text), json!([text, 1]), json!({inner.clone(): text}), json!({inner.clone(): [1, text]}), json!({inner: 1e308})] {
            for columns in [json!({"column": "id"}), json!({"columns": ["id", "carrier"]}), json!({"where": text})] {
                let mut rule = columns;
                rule[name] = argument.clone();
                if let Ok(rule) = Rule::parse(&rule) {
                    let (_dir, path) = table();
                    let _ = evaluate_path(&Suite { rules: vec![rule] }, &path);
                }
            }
        }
    }
}

/// What Great Expectations 1.24.1 said of the same table: `checks/fixtures/make.py` has asked it.
#[test]
fn results_are_those_of_great_expectations() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/checks/fixtures");
    let recorded: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("gx.json")).unwrap()).unwrap();
    let table = FileTable::open(&folder.join("gx.csv"), &Default::default()).unwrap();
    let mut compared = std::collections::BTreeSet::new();
    for case in recorded.as_array().unwrap() {
        let rule = Rule::parse(&case["expectation"]).unwrap_or_else(|error| panic!("{case}: {error}"));
        let report = evaluate(&Suite { rules: vec![rule] }, &table, &Context::default()).unwrap();
        let found = &report.rules[0];
        assert_eq!(found.passed, case["success"].as_bool().unwrap(), "{case}\n{found:?}");
        let result = &case["result"];
        // Of rules about the set of values it counts values, and we name them.
        let counts_rows = !found.check.starts_with("distinct");
        if let Some(count) = result["unexpected_count"].as_u64().filter(|_| counts_rows) {
            assert_eq!(found.unexpected_count, count, "{case}\n{found:?}");
        }
        if let Some(percent) = result["unexpected_percent"].as_f64() {
            assert!((found.unexpected_percent - percent).abs() < 1e-9, "{case}\n{found:?}");
        }
        if let Some(rows) = result["partial_unexpected_index_list"].as_array() {
            let rows: Vec<u64> = rows.iter().map(|row| row.as_u64().unwrap() + 1).take(10).collect();
            let sample: Vec<u64> = found.sample.iter().map(|sample| sample.row).collect();
            assert_eq!(sample, rows, "{case}\n{found:?}");
        }
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(1.0);
        match (&result["observed_value"], &found.observed) {
            (Value::Number(wanted), Some(Value::Number(observed))) => {
                assert!(near(wanted.as_f64().unwrap(), observed.as_f64().unwrap()), "{case}\n{found:?}");
            }
            (Value::Object(quantiles), Some(observed)) if quantiles.contains_key("values") => {
                let numbers = |value: &Value| -> Vec<f64> {
                    let one = [value.clone()];
                    let list = value.as_array().map_or(&one[..], Vec::as_slice);
                    list.iter().filter_map(Value::as_f64).collect()
                };
                let (wanted, observed) = (numbers(&quantiles["values"]), numbers(observed));
                assert!(
                    wanted.len() == observed.len() && wanted.iter().zip(&observed).all(|(a, b)| near(*a, *b)),
                    "{case}\n{found:?}"
                );
            }
            _ => {}
        }
        compared.insert(case["expectation"]["type"].as_str().unwrap().to_owned());
    }
    assert!(compared.len() >= 45, "{} kinds: {compared:?}", compared.len());
}

#[test]
fn moments_are_checked_to_the_microsecond() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let rows: String = (0..50).map(|step| format!("2024-01-01T00:00:00.{:06}\n", 123_000 + step)).collect();
    std::fs::write(&path, format!("at\n{rows}")).unwrap();
    let of = |rule: Value| {
        evaluate_path(&Suite { rules: vec![Rule::parse(&rule).unwrap()] }, &path).unwrap().rules.remove(0)
    };
    assert!(of(json!({"column": "at", "unique": true})).passed);
    assert!(of(json!({"column": "at", "increasing": {"strict": true}})).passed);
    assert!(of(json!({"column": "at", "distinct_count": 50})).passed);
    assert!(
        of(json!({"column": "at", "in_set": {"values": ["2024-01-01T00:00:00.123007Z"], "mostly": 0.02}}))
            .passed
    );
    assert!(
        of(json!({"where": "at < '2024-01-01T00:00:00.123001Z'", "column": "at", "distinct_count": 1}))
            .passed
    );
    let last = of(json!({"column": "at", "max": {"min": "2024-01-01T00:00:00.123555Z"}}));
    assert_eq!((last.passed, last.observed), (false, Some("2024-01-01T00:00:00.123049Z".into())));
    let outside = of(json!({"column": "at", "between": {"max": "2024-01-01T00:00:00.123047Z"}}));
    assert_eq!(outside.unexpected_count, 2);
    let profile = crate::profile::Profile::of_path(&path).unwrap();
    let suite = Suite::parse(&json!([{"column": "at", "distinct_count": 50}])).unwrap();
    assert!(evaluate_profile(&suite, &profile).unwrap().passed);
}
