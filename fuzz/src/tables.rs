//! Files of tables, their profiles and the rules about them.

use std::io::Write;

use rondo_table::checks::{self, Suite};
use rondo_table::profile::Profile;
use rondo_table::read;

/// Reads a file of such a name as `rondo data profile` and `rondo data check` do.
fn read_as(ending: &str, bytes: &[u8]) {
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

/// A stored profile, read, added to itself and written.
pub fn profile(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(profile) = Profile::from_json(text) else { return };
        let Ok(written) = profile.to_json() else { return };
        let again = Profile::from_json(&written).expect("a profile that was written is read");
        assert_eq!(again.to_json().ok().as_deref(), Some(written.as_str()));
        let _sum = profile.merge(&again);
    });
}

/// A suite of rules, over a small table that has a column of each type.
pub fn checks(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(list) = serde_json::from_str(text) else { return };
        let Ok(suite) = Suite::parse(&list) else { return };
        let Ok(mut file) = tempfile::Builder::new().suffix(".csv").tempfile() else { return };
        if file
            .write_all(b"a,b,c,d,e\n1,1.5,x,true,2024-01-01T00:00:00Z\n2,,y,false,2024-01-02T00:00:00Z\n")
            .is_ok()
        {
            let _said = checks::evaluate_path(&suite, file.path());
        }
    });
}
