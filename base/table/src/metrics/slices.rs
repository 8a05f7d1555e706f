//! Rows by the value of a column, the small groups pooled.

use std::collections::BTreeMap;

use super::evaluate::Pooling;

/// How rows without a value are named.
const MISSING: &str = "(missing)";
const POOLED: &str = "other";
/// Where `other` is a value of its own.
const POOLED_INSTEAD: &str = "(other)";

/// The rows of one value, or of several small ones.
pub(super) struct Group {
    pub(super) value: String,
    pub(super) members: Vec<String>,
    pub(super) rows: Vec<usize>,
}

impl Group {
    /// Whether it is made of several values.
    pub(super) fn is_pooled(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn take<T: Copy>(&self, all: &[T]) -> Vec<T> {
        self.rows.iter().filter_map(|row| all.get(*row).copied()).collect()
    }
}

/// Groups in the order of their values, the pooled one last. `positive` tells the rows that count
/// against `min_positives`.
pub(super) fn groups(values: &[Option<String>], pooling: Pooling, positive: Option<&[bool]>) -> Vec<Group> {
    let mut by_value: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, value) in values.iter().enumerate() {
        by_value.entry(value.as_deref().unwrap_or(MISSING)).or_default().push(row);
    }
    let mut groups = Vec::new();
    let mut pooled = Group { value: POOLED.into(), members: Vec::new(), rows: Vec::new() };
    for (value, rows) in by_value {
        let positives = positive.map(|labels| {
            rows.iter().filter(|row| labels.get(**row).copied().unwrap_or(false)).count() as u64
        });
        let small = (rows.len() as u64) < pooling.min_rows
            || positives.is_some_and(|positives| positives < pooling.min_positives);
        if small {
            pooled.members.push(value.to_owned());
            pooled.rows.extend(rows);
        } else {
            groups.push(Group { value: value.to_owned(), members: Vec::new(), rows });
        }
    }
    if pooled.is_pooled() {
        if groups.iter().any(|group| group.value == POOLED) {
            pooled.value = POOLED_INSTEAD.into();
        }
        pooled.rows.sort_unstable();
        groups.push(pooled);
    }
    groups
}
