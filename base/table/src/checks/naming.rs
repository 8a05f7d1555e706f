//! Which rows the samples of a report are: by the table's key beside their numbers, which change with every row
//! that is put in before them.

use serde_json::Map;

use super::report::{CheckReport, RuleResult};
use super::tables::Table;
use crate::error::Result;
use crate::records::value_of;

/// Columns of these names, or whose names end so behind a `_`, are taken for a key where none is declared.
const NAMES: [&str; 4] = ["id", "key", "uuid", "guid"];

/// Gives the samples of broken rules the keys of their rows. The key is the declared one, else the columns that
/// a rule of the suite says are unique, else the first column that is called like one; without any nothing is
/// read.
///
/// # Errors
/// When the table cannot be read again.
pub fn name_rows(report: &mut CheckReport, table: &dyn Table, declared: &[String]) -> Result<()> {
    let key = key(report, table, declared);
    // What a statement answers are rows of its own.
    let open = |result: &RuleResult| {
        !result.passed && result.check != "sql" && !key.iter().all(|name| result.columns.contains(name))
    };
    let samples = report.rules.iter().filter(|result| open(result)).flat_map(|result| &result.sample);
    let Some(last) = samples.map(|sample| sample.row).max() else { return Ok(()) };
    let names: Vec<&str> = key.iter().map(String::as_str).collect();
    let mut first = 1;
    for batch in table.batches(&names)? {
        let batch = batch?;
        let after = first + batch.num_rows() as u64;
        let samples =
            report.rules.iter_mut().filter(|result| open(result)).flat_map(|result| &mut result.sample);
        for sample in samples.filter(|sample| (first..after).contains(&sample.row)) {
            let row = usize::try_from(sample.row - first).unwrap_or(usize::MAX);
            let value = |name: &String| Some((name.clone(), value_of(batch.column_by_name(name)?, row)));
            sample.key = Some(key.iter().filter_map(value).collect::<Map<_, _>>());
        }
        first = after;
        if first > last {
            break;
        }
    }
    Ok(())
}

fn key(report: &CheckReport, table: &dyn Table, declared: &[String]) -> Vec<String> {
    let columns = table.columns();
    let known = |names: &[String]| {
        !names.is_empty() && names.iter().all(|name| columns.iter().any(|column| column.name == *name))
    };
    if known(declared) {
        return declared.to_vec();
    }
    let unique =
        report.rules.iter().find(|rule| rule.check == "unique" && rule.passed && known(&rule.columns));
    if let Some(rule) = unique {
        return rule.columns.clone();
    }
    let called = |name: &str| {
        let name = name.to_lowercase();
        let last = name.rsplit('_').next().unwrap_or_default();
        NAMES.contains(&last)
    };
    columns.iter().find(|column| called(&column.name)).map(|column| column.name.clone()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checks::{Context, FileTable, Suite, evaluate, scoped};
    use crate::read::ReadOptions;

    fn keys(text: &str, rules: serde_json::Value, declared: &[&str]) -> Vec<Option<serde_json::Value>> {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let rules = rules.as_array().unwrap().iter().map(|rule| scoped(rule).unwrap().1).collect();
        let table = FileTable::open(file.path(), &ReadOptions::default()).unwrap();
        let mut report = evaluate(&Suite { rules }, &table, &Context::default()).unwrap();
        let declared: Vec<String> = declared.iter().map(|name| (*name).to_owned()).collect();
        name_rows(&mut report, &table, &declared).unwrap();
        let samples = report.rules.into_iter().flat_map(|rule| rule.sample);
        samples.map(|sample| sample.key.map(serde_json::Value::Object)).collect()
    }

    #[test]
    fn failing_rows_are_told_by_the_declared_key_else_by_what_looks_like_one() {
        let text = "n,code,order_id,v\n1,a,007,x\n2,b,008,y\n";
        let rule = json!([{ "column": "v", "in_set": ["x"] }]);
        assert_eq!(keys(text, rule.clone(), &["n", "code"]), [Some(json!({ "n": 2, "code": "b" }))]);
        assert_eq!(keys(text, rule.clone(), &["gone"]), [Some(json!({ "order_id": "008" }))]);
        let unique = json!([{ "column": "v", "in_set": ["x"] }, { "column": "code", "unique": true }]);
        assert_eq!(keys(text, unique, &[]), [Some(json!({ "code": "b" }))]);
        assert_eq!(keys("n,v\n1,y\n", rule, &[]), [None]);
        // What is looked at already says which row it is.
        assert_eq!(keys(text, json!([{ "column": "order_id", "in_set": ["007"] }]), &[]), [None]);
    }
}
