//! Files of tables, their profiles and the rules about them.

use std::io::Write;
use std::path::Path;

use rondo_data::labels::Labels;
use rondo_data::profile::files::FolderProfile;
use rondo_table::checks::{self, Condition, Suite};
use rondo_table::drift;
use rondo_table::profile::Profile;
use rondo_table::read::{self, ReadOptions};

/// Reads a file of such a name as `rondo data profile` and `rondo data check` do.
pub(crate) fn read_as(ending: &str, bytes: &[u8]) {
    let Ok(mut file) = tempfile::Builder::new().suffix(ending).tempfile() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let Ok(profile) = Profile::of_path(file.path()) else { return };
    let rows: u64 = read::open(file.path())
        .into_iter()
        .flatten()
        .map(|batch| batch.map_or(0, |batch| batch.num_rows() as u64))
        .sum();
    assert_eq!(profile.rows, rows, "a profile has the rows that a reader gives");
    let columns: Vec<serde_json::Value> = profile
        .columns
        .iter()
        .map(|column| serde_json::json!({ "column": column.name, "not_null": { "mostly": 0.5 } }))
        .collect();
    if let Ok(suite) = Suite::parse(&columns.into()) {
        let _said = checks::evaluate_path(&suite, file.path());
    }
}

pub fn csv(bytes: &[u8]) {
    read_as(".csv", bytes);
}

pub fn json(bytes: &[u8]) {
    read_as(".json", bytes);
}

pub fn parquet(bytes: &[u8]) {
    read_as(".parquet", bytes);
}

pub fn arrow(bytes: &[u8]) {
    read_as(".arrow", bytes);
}

/// A workbook of any kind: which one it is is told by its parts.
pub fn sheet(bytes: &[u8]) {
    read_as(".xlsx", bytes);
}

/// An export of labels under a name that ends so; what is read is counted, held together and written.
fn labels_as(ending: &str, bytes: &[u8]) {
    let Ok(mut file) = tempfile::Builder::new().suffix(ending).tempfile() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let Ok(labels) = Labels::read(file.path(), &ReadOptions::default()) else { return };
    assert!(labels.items <= labels.all.len(), "an item has a label");
    if let Ok(folder) = tempfile::tempdir() {
        let rows = labels.write(&folder.path().join("labels.parquet"));
        assert_eq!(rows.ok(), Some(labels.all.len() as u64), "labels that were read are written");
    }
}

pub fn studio(bytes: &[u8]) {
    labels_as(".json", bytes);
}

pub fn cvat(bytes: &[u8]) {
    labels_as(".xml", bytes);
}

/// A stored profile, read, summed up, compared with itself, added to itself and written.
pub fn profile(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(profile) = Profile::from_json(text) else { return };
        let Ok(written) = profile.to_json() else { return };
        let again = Profile::from_json(&written).expect("a profile that was written is read");
        assert_eq!(again.to_json().ok().as_deref(), Some(written.as_str()));
        let _said = (profile.summary(), profile.alerts());
        let _drift = drift::compare(&profile, &again, &drift::DriftOptions::default());
        if let Ok(sum) = profile.merge(&again) {
            let _said = (sum.summary(), sum.to_json());
        }
    });
}

/// A stored profile of pictures or texts.
pub fn folder(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<FolderProfile>(bytes) else { return };
    let written = serde_json::to_vec(&profile).expect("a profile that was read is written");
    let again: FolderProfile = serde_json::from_slice(&written).expect("a profile that was written is read");
    assert_eq!(again, profile);
}

/// A small table that has a column of each type.
const TABLE: &[u8] = b"a,b,c,d,e\n1,1.5,x,true,2024-01-01T00:00:00Z\n2,,y,false,2024-01-02T00:00:00Z\n";

fn on_table(then: impl FnOnce(&Path)) {
    let Ok(mut file) = tempfile::Builder::new().suffix(".csv").tempfile() else { return };
    if file.write_all(TABLE).is_ok() {
        then(file.path());
    }
}

/// A list of rules.
pub fn checks(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(list) = serde_json::from_str(text) else { return };
        let Ok(suite) = Suite::parse(&list) else { return };
        on_table(|table| drop(checks::evaluate_path(&suite, table)));
    });
}

/// A file with a suite, our own or one of Great Expectations.
pub fn suite(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(suite) = rondo_data::check::Suite::read("suite", text) else { return };
        on_table(|table| drop(suite.check_file("t.csv", table, &ReadOptions::default())));
    });
}

/// The condition of a rule; and the same text as the whole rule, of which a condition is a part.
pub fn rule(bytes: &[u8]) {
    super::text(bytes, |text| {
        if let Ok(condition) = Condition::parse(text) {
            let _columns = condition.columns();
            let again = Condition::parse(&condition.to_string()).expect("a condition that was read is read");
            assert_eq!(again.to_string(), condition.to_string());
        }
        let list = serde_json::json!([{ "column": "a", "not_null": true, "where": text }]);
        if let Ok(suite) = Suite::parse(&list) {
            on_table(|table| drop(checks::evaluate_path(&suite, table)));
        }
    });
}
