//! What the search for leakage finds in made tables, and what it passes over.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::*;

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn find(&self, train: &str, test: &str, options: &Options) -> Result<Report> {
        find(&self.file("train.csv", train), &self.file("test.csv", test), options)
    }
}

fn of(report: &Report, name: &str) -> (State, f64) {
    let check = report.check(name).unwrap_or_else(|| panic!("no {name}"));
    (check.state, (check.effect * 1e4).round() / 1e4)
}

/// Rows whose target is noise but for what `leak` says of it.
fn table(rows: std::ops::Range<u64>, leak: impl Fn(u64, u64) -> f64) -> String {
    let mut text = "id,team,x,leak,late\n".to_owned();
    for id in rows {
        let late = crate::split::mixed(1, id) % 2;
        let x = crate::split::mixed(2, id) % 1000;
        let _ = writeln!(text, "{id},t{},{x},{},{late}", id % 40, leak(id, late));
    }
    text
}

fn options() -> Options {
    Options { target: Some("late".into()), key: vec!["id".into()], ..Options::default() }
}

#[test]
fn clean_tables_pass_every_check() {
    let noise = |id: u64, _| (crate::split::mixed(3, id) % 100) as f64 / 10.0;
    let report = Room::new().find(&table(0..2000, noise), &table(2000..2500, noise), &options()).unwrap();
    assert!(report.passed, "{:?}", report.failed(Severity::Error).collect::<Vec<_>>());
    assert_eq!(report.failed(Severity::Warning).count(), 0);
    assert_eq!((report.train_rows, report.test_rows, report.task), (2000, 500, Some(Task::Classification)));
    assert_eq!(of(&report, "train_test_samples_mix"), (State::Passed, 0.0));
    assert_eq!(of(&report, "group_train_test_leakage").0, State::Skipped);
}

#[test]
fn a_feature_that_gives_the_target_away_is_named() {
    let leak = |id: u64, late: u64| late as f64 * 10.0 + (crate::split::mixed(3, id) % 90) as f64 / 10.0;
    let report = Room::new().find(&table(0..2000, leak), &table(2000..2500, leak), &options()).unwrap();
    let check = report.check("feature_label_correlation").unwrap();
    assert_eq!((check.state, check.severity), (State::Failed, Severity::Error));
    assert_eq!(check.columns[0].column, "leak");
    assert!(check.columns[0].effect > 0.99 && check.columns[1].effect < 0.1, "{:?}", check.columns);
    assert_eq!(check.columns[0].detail["auc"], json!(1.0));
    assert!(!report.passed);
}

#[test]
fn a_number_as_target_is_scored_by_its_error() {
    let rows = |range: std::ops::Range<u64>| {
        let mut text = "copy,x,y\n".to_owned();
        for id in range {
            let y = (crate::split::mixed(5, id) % 10_000) as f64 / 7.0;
            let _ = writeln!(text, "{},{},{y}", y * 2.0 + 1.0, crate::split::mixed(6, id) % 100);
        }
        text
    };
    let options = Options { target: Some("y".into()), ..Options::default() };
    let report = Room::new().find(&rows(0..3000), &rows(3000..4000), &options).unwrap();
    assert_eq!(report.task, Some(Task::Regression));
    let check = report.check("feature_label_correlation").unwrap();
    assert_eq!((check.columns[0].column.as_str(), check.state), ("copy", State::Failed));
    assert!(check.columns[0].effect > 0.9 && check.columns[1].effect < 0.1, "{:?}", check.columns);
    assert_eq!(of(&report, "new_label_train_test").0, State::Skipped);
}

#[test]
fn rows_that_training_has_too_are_counted_and_shown() {
    let train = "id,x,s,y\n1,1,a,0\n2,2,b,1\n3,3,c,0\n4,4,,1\n";
    // Rows 1 and 2 are in training but for the key, row 3 with the key, row 4 with another label.
    let test = "id,x,s,y\n11,1,a,0\n12,4,,1\n2,2,b,1\n14,3,c,1\n15,9,z,0\n";
    let options = Options { target: Some("y".into()), key: vec!["id".into()], ..Options::default() };
    let report = Room::new().find(train, test, &options).unwrap();
    assert_eq!(of(&report, "train_test_samples_mix"), (State::Failed, 0.6));
    let check = report.check("train_test_samples_mix").unwrap();
    assert!(check.what.contains("3 of 5 test rows (60.0 %)") && check.what.contains("1 with every column"));
    assert_eq!(json!(check.samples[0]), json!({"row": 1, "id": 11, "x": 1, "s": "a", "y": 0}));
    assert_eq!(of(&report, "conflicting_labels"), (State::Failed, 0.2));
    assert_eq!(report.check("conflicting_labels").unwrap().samples[0]["row"], 4);
    assert_eq!(of(&report, "index_train_test_leakage"), (State::Failed, 0.2));
    assert_eq!(of(&report, "new_category_train_test"), (State::Failed, 0.2));
    assert_eq!(of(&report, "datasets_size_comparison"), (State::Failed, 1.25));
    assert_eq!(of(&report, "feature_label_correlation"), (State::Skipped, 0.0), "too few rows to say");
}

#[test]
fn groups_times_and_later_features_are_found() {
    let train = "who,at,paid,y\na,2024-01-01,2024-01-01,0\nb,2024-01-05,2024-01-06,1\n";
    let test = "who,at,paid,y\nb,2024-01-04,2024-01-01,2\nc,2024-01-05,2024-02-01,0\nd,2024-01-06,,1\n";
    let options = Options {
        target: Some("y".into()),
        time: Some("at".into()),
        group: Some("who".into()),
        ..Options::default()
    };
    let report = Room::new().find(train, test, &options).unwrap();
    assert_eq!(of(&report, "group_train_test_leakage"), (State::Failed, 0.3333));
    // Deepchecks counts what is older than the latest row of training, and no equal moment.
    assert_eq!(of(&report, "date_train_test_leakage_overlap"), (State::Failed, 0.3333));
    assert_eq!(of(&report, "date_train_test_leakage_duplicates"), (State::Failed, 0.3333));
    assert_eq!(of(&report, "future_feature"), (State::Failed, 0.4));
    assert_eq!(report.check("future_feature").unwrap().columns[0].column, "paid");
    assert_eq!(of(&report, "new_label_train_test"), (State::Failed, 0.3333));
}

#[test]
fn sorted_labels_show_in_the_order_of_the_rows() {
    let rows = |range: std::ops::Range<u64>, sorted: bool| {
        let mut text = "x,y\n".to_owned();
        let half = range.start.midpoint(range.end);
        for id in range {
            let y = if sorted { u64::from(id >= half) } else { crate::split::mixed(9, id) % 2 };
            let _ = writeln!(text, "{},{y}", crate::split::mixed(8, id) % 1_000_000);
        }
        text
    };
    let options = Options { target: Some("y".into()), ..Options::default() };
    let sorted = Room::new().find(&rows(0..1000, true), &rows(1000..1500, false), &options).unwrap();
    assert_eq!(of(&sorted, "identifier_label_correlation").0, State::Failed);
    assert!(sorted.passed, "that is a warning");
    let mixed = Room::new().find(&rows(0..1000, false), &rows(1000..1500, false), &options).unwrap();
    assert_eq!(of(&mixed, "identifier_label_correlation").0, State::Passed);
}

#[test]
fn numbers_as_times_are_no_moments() {
    let train = "year,paid,y\n2020,2020-01-01,0\n2021,2021-01-06,1\n";
    let test = "year,paid,y\n2021,2022-01-01,1\n2022,2022-02-01,0\n";
    let options = Options { target: Some("y".into()), time: Some("year".into()), ..Options::default() };
    let report = Room::new().find(train, test, &options).unwrap();
    let future = report.check("future_feature").unwrap();
    assert_eq!((future.state, future.what.as_str()), (State::Skipped, "the time is a number"));
    let overlap = report.check("date_train_test_leakage_overlap").unwrap();
    assert_eq!(overlap.state, State::Passed);
    assert!(overlap.what.ends_with("(2021); testing begins at 2021"), "{}", overlap.what);
}

#[test]
fn missing_values_are_no_leaks_and_a_group_is_no_category() {
    let train = "id,who,x,y\n1,a,1,0\n,b,2,1\n3,,3,\n";
    let test = "id,who,x,y\n,c,1,\n12,,9,1\n13,d,3,0\n";
    let options = Options {
        target: Some("y".into()),
        group: Some("who".into()),
        key: vec!["id".into()],
        ..Options::default()
    };
    let report = Room::new().find(train, test, &options).unwrap();
    for check in [
        "new_label_train_test",
        "index_train_test_leakage",
        "group_train_test_leakage",
        "conflicting_labels",
        "new_category_train_test",
    ] {
        assert_eq!(of(&report, check), (State::Passed, 0.0), "{check}");
    }
}

#[test]
fn a_wrong_column_is_told() {
    let options = Options { target: Some("lat".into()), ..Options::default() };
    let error = Room::new().find("id,late\n1,0\n", "id,late\n1,0\n", &options).unwrap_err();
    assert!(error.to_string().contains("no column `lat`"), "{error}");
    let missing = Options { target: Some("late".into()), ..Options::default() };
    assert!(Room::new().find("id,late\n1,0\n", "id\n1\n", &missing).is_err());
}

#[test]
fn rows_that_are_a_microsecond_apart_are_not_the_same() {
    let room = Room::new();
    let rows = |from: u64| {
        let lines = (from..from + 50).map(|micro| format!("2024-01-01 00:00:00.{micro:06},1\n"));
        format!("at,x\n{}", lines.collect::<String>())
    };
    let options = Options { time: Some("at".to_owned()), ..Options::default() };
    let report = room.find(&rows(0), &rows(50), &options).unwrap();
    assert_eq!(of(&report, "date_train_test_leakage_duplicates"), (State::Passed, 0.0));
    assert_eq!(of(&report, "date_train_test_leakage_overlap"), (State::Passed, 0.0));
}
