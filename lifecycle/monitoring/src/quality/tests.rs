//! Windows of traffic against suites, up to the alerts and metrics that come of them.

use rondo_core::Span;
use rondo_core::handoff::Observation;
use rondo_project::ordered::Ordered;
use rondo_project::project::{Cause, Trigger};
use serde_json::{Map, json};

use super::*;
use crate::alert::{alerts, raised_by, standing};
use crate::assess::Row;
use crate::exposition::exposition;
use crate::retrain::{History, request};
use crate::window::{ColumnDrift, Stage, Window, WindowReport};

fn rows(inputs: &[Value]) -> Vec<Row> {
    let row = |(at, inputs): (usize, &Value)| Row {
        observation: Observation {
            prediction_id: format!("p{}", at + 1),
            deployment: "delay".into(),
            model: "delay".into(),
            version: 1,
            event_time: Timestamp(at as i64 * 1000),
            received: Timestamp(0),
            inputs: inputs.clone(),
            score: 0.5,
            label: None,
            probabilities: Map::new(),
            latency_ms: 1.0,
        },
        label: None,
    };
    inputs.iter().enumerate().map(row).collect()
}

fn own(rules: Value) -> LiveChecks {
    LiveChecks { of: SuiteOf::Monitor, rules: rules.as_array().unwrap().clone() }
}

fn quality(checks: &LiveChecks, inputs: &[Value], few: bool) -> Quality {
    let rows = rows(inputs);
    let inputs = Inputs::new(None, &rows).unwrap();
    check(checks, &inputs, Timestamp(0) + Span::days(7), few, 0).unwrap().0
}

fn report(start: i64, quality: Quality) -> WindowReport {
    let day = |day: i64| Timestamp(0) + Span::days(day);
    WindowReport {
        window: Window { start: day(start), end: day(start + 1) },
        model: "delay".into(),
        rows: 3,
        judged: true,
        versions: BTreeMap::new(),
        reference: None,
        mean_score: None,
        drift: Vec::new(),
        quality: Some(quality),
        latency_p99_ms: None,
        evaluation: None,
        unscored: None,
        verdicts: Vec::new(),
    }
}

fn suite() -> LiveChecks {
    own(json!([
        { "column": "carrier", "in_set": ["AA", "UA"] },
        { "column": "temp", "between": [0, 40], "severity": "warning", "name": "in season" },
        { "column": "temp", "max": { "max": 30 }, "severity": "info" },
        { "column": "temp", "not_null": true },
    ]))
}

fn good() -> Vec<Value> {
    vec![json!({ "carrier": "AA", "temp": 20.5 }), json!({ "carrier": "UA", "temp": 3 })]
}

fn bad() -> Vec<Value> {
    vec![
        json!({ "carrier": "AA", "temp": 20 }),
        json!({ "carrier": "Z\u{9b}Z", "temp": 95.5 }),
        json!({ "carrier": "XX", "temp": 12 }),
    ]
}

#[test]
fn what_does_not_hold_is_told_with_the_predictions_that_break_it() {
    let found = quality(&suite(), &bad(), false);
    assert_eq!((found.passed, found.failed, found.warnings, found.notes), (false, 1, 1, 1));
    assert_eq!(found.verdict(), "1 failed, 1 warning, 1 note of 4");
    let first = &found.rules[0];
    assert_eq!((first.alert.as_str(), first.result.unexpected_count), ("carrier.in_set", 2));
    let named: Vec<&str> = first.predictions.iter().map(|one| one.prediction.as_str()).collect();
    assert_eq!(named, ["p2", "p3"]);
    assert_eq!(found.rules[2].result.observed, Some(json!(95.5)));
    assert_eq!(quality(&suite(), &good(), false).verdict(), "4 passed");
    let kept: Quality = serde_json::from_value(json!(found)).unwrap();
    assert_eq!(kept, found);
}

#[test]
fn errors_are_alerts_warnings_say_so_and_notes_raise_nothing() {
    let report = report(0, quality(&suite(), &bad(), false));
    let raised = alerts("delay", &report, Stage::Closed, report.window.end);
    let names: Vec<(&str, Severity)> =
        raised.iter().map(|alert| (alert.name.as_str(), alert.severity)).collect();
    let expected =
        [("delay.quality.carrier.in_set", Severity::Error), ("delay.quality.in season", Severity::Warning)];
    assert_eq!(names, expected);
    assert_eq!(
        raised[0].message,
        "`carrier: in_set AA, UA` does not hold: 2 of 3 values (66.67 %), first \"Z Z\" in prediction `p2`"
    );
    assert!(
        alerts("delay", &report, Stage::Settled, report.window.end).is_empty(),
        "inputs are looked at once"
    );
}

#[test]
fn an_alert_stands_until_a_newer_window_is_good() {
    let windows = |second: &[Value]| {
        [
            (report(0, quality(&suite(), &bad(), false)), true),
            (report(1, quality(&suite(), second, false)), false),
        ]
    };
    assert_eq!(standing("delay", &windows(&bad())).len(), 2);
    assert!(standing("delay", &windows(&good())).is_empty());
    assert!(standing("delay", &[]).is_empty());
}

#[test]
fn a_window_with_too_few_rows_ends_only_what_it_was_asked_for() {
    let checks = |rows: u64| {
        let mut checks = suite();
        checks.rules.insert(0, json!({ "rows": { "min": rows } }));
        checks
    };
    let judged = WindowReport {
        drift: vec![ColumnDrift {
            column: "temp".into(),
            method: "wasserstein".into(),
            statistic: 1.0,
            threshold: 0.1,
            drifted: true,
            p_value: None,
            detail: String::new(),
        }],
        ..report(0, quality(&checks(500), &bad(), false))
    };
    let stands = |rows: u64| {
        let few = WindowReport { judged: false, ..report(1, quality(&checks(rows), &good(), true)) };
        let stands = standing("delay", &[(judged.clone(), false), (few, false)]);
        stands.into_iter().map(|alert| (alert.name, alert.window.start)).collect::<Vec<_>>()
    };
    let still = ["drift.temp", "quality.carrier.in_set", "quality.in season"];
    let still: Vec<_> = still.map(|rest| (format!("delay.{rest}"), Timestamp(0))).into();
    assert_eq!(stands(2), still, "there are rows again");
    let rows = ("delay.quality.rows".to_owned(), Timestamp(0) + Span::days(1));
    assert_eq!(stands(500), [still, vec![rows]].concat());
}

#[test]
fn what_a_monitor_of_another_name_than_its_model_raises_is_answered_by_its_triggers() {
    let report = report(0, quality(&suite(), &bad(), false));
    let at = report.window.end;
    let raised = [alerts("other", &report, Stage::Closed, at), alerts("live", &report, Stage::Closed, at)];
    assert!(raised[0].iter().all(|one| raised[1].iter().all(|other| one.id != other.id)));
    assert!(raised_by("live", &raised[1][0].name) && !raised_by("live", &raised[0][0].name));
    assert!(!raised_by("live", "lively.drift.temp"));
    let ask = |cause: &str| {
        let trigger = Trigger {
            cause: Cause::Alert(cause.into()),
            run: vec!["train".into()],
            then: None,
            cool_down: Span::days(7),
            params: Ordered::new(),
        };
        let history = History { requests: &[] };
        request(&report.model, &[trigger], &raised.concat(), history, at, at)
    };
    let request = ask("live.quality").unwrap();
    assert!(request.model == "delay" && request.cause.starts_with("live.quality.carrier.in_set: "));
    assert!(ask("delay.quality").is_none());
}

#[test]
fn a_number_never_makes_two_names_one_and_is_the_same_in_every_window() {
    let checks = own(json!([
        { "column": "temp", "between": [0, 10] },
        { "column": "temp", "between": [0, 90] },
        { "column": "temp", "max": { "max": 1 }, "name": "temp.between.2" },
        { "rows": { "min": 1 }, "severity": "info", "by": { "column": "carrier", "min_rows": 1 } },
        { "rows": { "min": 500 } },
    ]));
    let names = |few| {
        let found = quality(&checks, &bad(), few);
        found.rules.into_iter().map(|finding| finding.alert).collect::<Vec<_>>()
    };
    assert_eq!(names(false)[..3], ["temp.between", "temp.between.3", "temp.between.2"]);
    assert_eq!(names(true), ["rows.2"]);
}

#[test]
fn rules_of_one_name_are_told_apart_and_slices_share_theirs() {
    let checks = own(json!([
        { "column": "temp", "between": [0, 10] },
        { "column": "temp", "between": [0, 90] },
        { "column": "temp", "between": [0, 10], "by": { "column": "carrier", "min_rows": 1 } },
    ]));
    let found = quality(&checks, &bad(), false);
    let names: Vec<&str> = found.rules.iter().map(|finding| finding.alert.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "temp.between.2").count(), 1);
    assert!(names.len() > 3 && names[2..].iter().all(|name| *name == names[2]), "{names:?}");
    let report = report(0, found);
    let raised = alerts("delay", &report, Stage::Closed, report.window.end);
    let ids: BTreeSet<&str> = raised.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids.len(), raised.len(), "{raised:?}");
}

#[test]
fn of_few_rows_their_number_alone_is_asked() {
    let checks = own(json!([{ "rows": { "min": 1 } }, { "column": "temp", "between": [0, 1] }]));
    assert_eq!(quality(&checks, &bad(), true).verdict(), "1 passed");
    let empty = quality(&checks, &[], true);
    assert_eq!((empty.passed, empty.rules.len()), (false, 1), "no traffic is seen");
}

#[test]
fn what_asks_for_more_than_the_window_is_refused_and_of_a_dataset_left_out() {
    let rules = json!([
        { "sql": "select * from data" },
        { "column": "carrier", "references": { "dataset": "airlines", "column": "code" } },
        { "rows_equal": "airports" },
        { "rows": { "min": 20000 } },
        { "column": "arr_delay", "not_null": true },
        { "column": "carrier", "in_set": ["AA", "UA"], "scope": "whole" },
    ]);
    for (rule, word) in rules.as_array().unwrap().iter().zip(["engine", "another table", "another table"]) {
        let refused = judge(rule).unwrap_err();
        assert!(refused.message.contains(word) && refused.hint.is_some(), "{refused:?}");
        let own = LiveChecks { of: SuiteOf::Monitor, rules: vec![rule.clone()] };
        let rows = rows(&good());
        let inputs = Inputs::new(None, &rows).unwrap();
        assert!(check(&own, &inputs, Timestamp(0), false, 0).is_err());
    }
    assert!(judge(&json!({ "column": "a", "in_sett": [1] })).unwrap_err().message.contains("`in_set`"));
    assert!(judge(&json!({ "column": "at", "fresh": "1d" })).is_ok());
    let dataset = LiveChecks { of: SuiteOf::Dataset("flights".into()), ..own(rules) };
    let found = quality(&dataset, &good(), false);
    assert_eq!((found.verdict().as_str(), found.left_out.len()), ("1 passed", 5));
    assert_eq!(found.left_out[4].why, "`arr_delay` is not sent with predictions");
}

#[test]
fn freshness_goes_by_the_end_of_the_window() {
    let checks = own(json!([{ "column": "at", "fresh": "2d" }]));
    assert!(quality(&checks, &[json!({ "at": "1970-01-06T12:00:00Z" })], false).passed);
    assert!(!quality(&checks, &[json!({ "at": "1970-01-05T12:00:00Z" })], false).passed);
}

#[test]
fn a_column_that_nobody_sends_is_said_to_be_missing() {
    let found = quality(&own(json!([{ "column": "tmp", "not_null": true }])), &good(), false);
    assert!(found.rules[0].result.message().contains("did you mean `temp`?"), "{found:?}");
}

#[test]
fn failing_rows_carry_the_ids_of_their_predictions() {
    let rows = rows(&bad());
    let inputs = Inputs::new(None, &rows).unwrap();
    let (_, report) = check(&suite(), &inputs, Timestamp(0), false, 10).unwrap();
    let failing = inputs.failing(&report, 10).unwrap().unwrap();
    assert_eq!(failing.columns(), ["_row", "_broken", "_prediction", "_event_time", "carrier", "temp"]);
    assert_eq!((failing.len(), failing.texts()[0][2].as_deref()), (2, Some("p2")));
}

#[test]
fn the_newest_window_is_exposed() {
    let text = exposition(&[("a\"b".to_owned(), report(0, quality(&suite(), &bad(), false)))]);
    assert!(text.contains("rondo_monitor_window_rows{monitor=\"a\\\"b\"} 3\n"), "{text}");
    assert!(text.contains("checks_failed{monitor=\"a\\\"b\",severity=\"warning\"} 1\n"), "{text}");
    let rule = "check=\"carrier.in_set\",slice=\"\",severity=\"error\"}";
    assert!(text.contains(&format!("rondo_monitor_check_passed{{monitor=\"a\\\"b\",{rule} 0\n")), "{text}");
    assert!(text.contains(&format!("unexpected_ratio{{monitor=\"a\\\"b\",{rule} 0.66")), "{text}");
    assert_eq!(exposition(&[]), "");
}
