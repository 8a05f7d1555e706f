//! Rows of two tables, compared by key: what is told, and what is held when parts overflow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::read;

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

    fn compare(&self, a: &str, b: &str, change: impl FnOnce(&mut Options)) -> Result<RowDiff> {
        let (a, b) = (self.file("a.csv", a), self.file("b.csv", b));
        let mut options = Options::new(&["id".to_owned()], self.0.path());
        change(&mut options);
        compare(read::open(&a).unwrap(), read::open(&b).unwrap(), &options)
    }
}

#[test]
fn rows_are_told_apart_by_key_and_cells_by_column() {
    let room = Room::new();
    let found = room
        .compare("id,x,s\n1,1.5,a\n2,2.5,b\n3,3,c\n4,4,\n", "s,id,x\nb,2,2.5\nz,3,7\nd,4,4\nn,5,5\n", |_| {})
        .unwrap();
    assert_eq!((found.before, found.after), (4, 4));
    assert_eq!((found.same, found.changed, found.added, found.removed), (1, 2, 1, 1));
    let counts: Vec<(&str, u64, u64)> =
        found.cells.iter().map(|cells| (cells.column.as_str(), cells.changed, cells.filled)).collect();
    assert_eq!(counts, [("s", 2, 1), ("x", 1, 0)]);
    assert_eq!(found.cells[1].largest, Some(4.0));
    let sample = &found.cells[1].samples[0];
    assert_eq!((json!(sample.key), &sample.from, &sample.to), (json!({"id": 3}), &json!(3.0), &json!(7.0)));
    assert_eq!(json!(found.added_rows), json!([{"id": 5, "x": 5.0, "s": "n"}]));
    assert_eq!(json!(found.removed_rows), json!([{"id": 1, "x": 1.5, "s": "a"}]));
}

#[test]
fn a_column_that_becomes_another_kind_of_number_is_the_same() {
    let room = Room::new();
    let found = room.compare("id,x\n1,1\n2,2\n", "id,x\n1,1.0\n2,2.25\n", |_| {}).unwrap();
    assert_eq!((found.same, found.changed), (1, 1));
    let found = room.compare("id,x\n1,1\n2,2\n", "id,x\n1,1\n2,two\n", |_| {}).unwrap();
    assert_eq!((found.same, found.changed), (1, 1), "as text");
    let near =
        room.compare("id,x\n1,1.0\n2,2.0\n", "id,x\n1,1.0000001\n2,2.1\n", |o| o.tolerance = 1e-6).unwrap();
    assert_eq!((near.same, near.changed), (1, 1));
}

#[test]
fn repeated_keys_are_paired_with_their_equals_first() {
    let room = Room::new();
    let found =
        room.compare("id,x\n1,1\n1,2\n1,3\n2,9\n", "id,x\n1,3\n1,1\n1,8\n1,9\n2,9\n", |_| {}).unwrap();
    assert_eq!((found.same, found.changed, found.added, found.removed), (3, 1, 1, 0));
    assert_eq!(found.repeated_keys, [2, 3]);
    assert_eq!((&found.cells[0].samples[0].from, &found.cells[0].samples[0].to), (&json!(2), &json!(8)));
}

#[test]
fn without_a_key_whole_rows_are_counted() {
    let room = Room::new();
    let found = room.compare("id,x\n1,1\n1,1\n2,2\n", "id,x\n2,2\n1,1\n3,3\n", |o| o.key.clear()).unwrap();
    assert_eq!((found.same, found.changed, found.added, found.removed), (2, 0, 1, 1));
    assert_eq!(json!(found.added_rows), json!([{"id": 3, "x": 3}]));
}

#[test]
fn a_key_of_several_columns_and_a_wrong_one() {
    let room = Room::new();
    let (a, b) = ("id,k,x\n1,a,1\n1,b,2\n", "id,k,x\n1,b,2\n1,a,5\n");
    let found = room.compare(a, b, |o| o.key.push("k".to_owned())).unwrap();
    assert_eq!((found.same, found.changed, found.repeated_keys), (1, 1, [0, 0]));
    let error = room.compare(a, b, |o| o.key = vec!["ident".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("no column `ident`"), "{error}");
}

#[test]
fn parts_that_are_too_large_are_dealt_out_again() {
    let room = Room::new();
    let table = |change: usize| {
        let mut text = "id,x\n".to_owned();
        for id in 0..20_000 {
            text.push_str(&format!("{id},{}\n", if id % change == 0 { id + 1 } else { id }));
        }
        text
    };
    let (a, b) = (table(1_000_000), table(100));
    let small = room.compare(&a, &b, |o| o.part = 400).unwrap();
    let usual = room.compare(&a, &b, |_| {}).unwrap();
    assert_eq!((small.same, small.changed, small.added), (19_801, 199, 0));
    assert_eq!((small.same, small.changed), (usual.same, usual.changed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_counts_are_those_of_two_maps(
        a in prop::collection::btree_map(0_u8..40, 0_u8..4, 1..40),
        b in prop::collection::btree_map(0_u8..40, 0_u8..4, 1..40),
    ) {
        let text = |rows: &BTreeMap<u8, u8>| {
            let lines: Vec<String> = rows.iter().rev().map(|(id, x)| format!("{id},{x}\n")).collect();
            format!("id,x\n{}", lines.concat())
        };
        let found = Room::new().compare(&text(&a), &text(&b), |_| {}).unwrap();
        let both = a.iter().filter_map(|(id, x)| Some((x, b.get(id)?)));
        let same = both.clone().filter(|(x, y)| x == y).count();
        prop_assert_eq!(found.same, same as u64);
        prop_assert_eq!(found.changed, (both.count() - same) as u64);
        prop_assert_eq!(found.added, b.keys().filter(|id| !a.contains_key(id)).count() as u64);
        prop_assert_eq!(found.removed, a.keys().filter(|id| !b.contains_key(id)).count() as u64);
    }
}

#[test]
fn moments_that_differ_by_a_microsecond_differ() {
    let room = Room::new();
    let (a, b) = ("id,at\n1,2024-01-01 00:00:00.123456\n", "id,at\n1,2024-01-01 00:00:00.123457\n");
    let found = room.compare(a, b, |_| {}).unwrap();
    assert_eq!((found.changed, found.same), (1, 0));
    assert_eq!(found.cells[0].samples[0].from, json!("2024-01-01T00:00:00.123456Z"));
    let keyed = room.compare(a, b, |options| options.key = vec!["at".to_owned()]).unwrap();
    assert_eq!((keyed.added, keyed.removed), (1, 1));
}
