//! Rules about drift: a column beside the one of the same name in another table, or in a stored profile.
//!
//! The other table is opened and read once for all rules that name it, however many they are.

use std::collections::{BTreeMap, BTreeSet};

use super::column;
use super::layout::{Layout, Named};
use super::report::RuleResult;
use super::rule::{Other, Rule, RuleKind};
use super::run::Context;
use super::tables::{Opened, Table, only};
use crate::error::Result;
use crate::profile::{ColumnProfile, Profiler};

/// What rules about drift compare with.
pub(super) struct Beside<'s> {
    /// The columns that the rules name, of each table.
    wanted: BTreeMap<&'s Other, BTreeSet<&'s str>>,
    /// What was found there, or why there is nothing.
    found: BTreeMap<&'s Other, Result<Found, String>>,
}

/// The columns of one reference.
struct Found {
    rows: u64,
    columns: BTreeMap<String, ColumnProfile>,
}

impl<'s> Beside<'s> {
    pub(super) fn of(rules: &'s [Rule]) -> Self {
        let mut wanted: BTreeMap<&Other, BTreeSet<&str>> = BTreeMap::new();
        for rule in rules {
            if let (RuleKind::Drift { reference, .. }, Some(name)) = (&rule.kind, rule.column()) {
                wanted.entry(reference).or_default().insert(name);
            }
        }
        Self { wanted, found: BTreeMap::new() }
    }

    /// The result of a rule about a column of which this was gathered.
    pub(super) fn drift(
        &mut self,
        rule: &'s Rule,
        profiler: Profiler,
        result: &mut RuleResult,
        context: &Context<'_>,
    ) -> Result<()> {
        let RuleKind::Drift { reference, method, max } = &rule.kind else { return Ok(()) };
        let profile = profiler.finish()?;
        let Some(current) = profile.columns.first() else { return Ok(()) };
        (result.rows, result.missing) = (current.count, current.nulls);
        if !self.found.contains_key(reference) {
            let found = self.find(reference, context)?;
            self.found.insert(reference, found);
        }
        let found = match self.found.get(reference) {
            Some(Ok(found)) => found,
            Some(Err(why)) => {
                result.fail(why.as_str());
                return Ok(());
            }
            None => return Ok(()),
        };
        let Some(there) = found.columns.get(&current.name) else {
            result.fail(format!("there is no column `{}` in `{reference}`", current.name));
            return Ok(());
        };
        let rows = (found.rows, profile.rows);
        (result.passed, result.observed, result.note) = column::drift(there, current, rows, *method, *max);
        Ok(())
    }

    /// Why there is nothing comes inside.
    fn find(&self, reference: &Other, context: &Context<'_>) -> Result<Result<Found, String>> {
        let wanted = self.wanted.get(reference);
        let wanted = || wanted.into_iter().flatten().copied();
        Ok(match context.beyond.open(reference) {
            Ok(Opened::Profile(profile)) => Ok(Found {
                rows: profile.rows,
                columns: profile.columns.into_iter().map(|column| (column.name.clone(), column)).collect(),
            }),
            Ok(Opened::Table(table)) => Ok(read(table.as_ref(), wanted())?),
            Err(why) => Err(why),
        })
    }
}

/// Each column by itself: how they hang together is not asked.
fn read<'a>(table: &dyn Table, wanted: impl Iterator<Item = &'a str>) -> Result<Found> {
    let layout = Layout::new(table.columns());
    let mut profilers: Vec<([String; 1], Profiler)> = wanted
        .filter_map(|name| layout.column(name))
        .map(|column| ([column.name.clone()], Profiler::new(std::slice::from_ref(column))))
        .collect();
    let names: Vec<&str> = profilers.iter().flat_map(|(name, _)| name).map(String::as_str).collect();
    if !names.is_empty() {
        for batch in table.batches(&names)? {
            let batch = batch?;
            let named = Named::new(&batch);
            for (name, profiler) in &mut profilers {
                profiler.update(&only(&named, name, None)?)?;
            }
        }
    }
    let mut found = Found { rows: 0, columns: BTreeMap::new() };
    for (_, profiler) in profilers {
        let profile = profiler.finish()?;
        found.rows = profile.rows;
        found.columns.extend(profile.columns.into_iter().map(|column| (column.name.clone(), column)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::checks::{Beyond, FileTable, Suite, evaluate, scoped};
    use crate::profile::Profile;
    use crate::read::ReadOptions;

    /// A file as a table, or its profile; counts how often it is opened.
    struct Counted<'a> {
        path: &'a Path,
        as_profile: bool,
        opened: Cell<usize>,
    }

    impl Beyond for Counted<'_> {
        fn open(&self, _: &Other) -> Result<Opened, String> {
            self.opened.set(self.opened.get() + 1);
            Ok(match self.as_profile {
                true => Opened::Profile(Box::new(Profile::of_path(self.path).unwrap())),
                false => {
                    Opened::Table(Box::new(FileTable::open(self.path, &ReadOptions::default()).unwrap()))
                }
            })
        }

        fn sql(&self, _: &str, _: &BTreeMap<String, Other>) -> Result<Opened, String> {
            Err("there is none".to_owned())
        }
    }

    #[test]
    fn a_reference_is_opened_once_for_all_rules_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rows = |factor: i64| (0..400).map(move |row| format!("{},{},x\n", row % 7, row % 11 * factor));
        let now = write("now.csv", format!("a,b,gone\n{}", rows(1).collect::<String>()));
        let was = write("was.csv", format!("a,b,new\n{}", rows(50).collect::<String>()));
        let rules = ["a", "b", "gone"].map(|name| {
            let rule = json!({ "column": name, "drift": { "path": "was.csv", "max": 0.1 } });
            scoped(&rule).unwrap().1
        });
        let suite = Suite { rules: rules.to_vec() };
        let table = FileTable::open(&now, &ReadOptions::default()).unwrap();
        let mut reports = Vec::new();
        for as_profile in [false, true] {
            let beyond = Counted { path: &was, as_profile, opened: Cell::new(0) };
            let context = Context { beyond: &beyond, ..Context::default() };
            let report = evaluate(&suite, &table, &context).unwrap();
            assert_eq!(beyond.opened.get(), 1);
            let passed: Vec<bool> = report.rules.iter().map(|rule| rule.passed).collect();
            assert_eq!(passed, [true, false, false], "{report:?}");
            let note = report.rules[2].note.clone().unwrap();
            assert!(note.contains("there is no column `gone`"), "{note}");
            reports.push(report);
        }
        assert_eq!(reports[0], reports[1], "a table and its profile say the same");
    }
}
