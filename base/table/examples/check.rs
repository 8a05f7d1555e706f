//! Checks a table against a suite in JSON: `check SUITE.json TABLE`. For measurements of this crate alone.

use std::io::Write;

use rondo_table::checks::{Suite, evaluate_path};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [suite, table] = arguments.as_slice() else {
        return Err(std::io::Error::other("check SUITE.json TABLE"));
    };
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(suite)?)?;
    let list = value.get("expectations").unwrap_or(&value);
    let suite = Suite::parse(list).map_err(|faults| std::io::Error::other(format!("{faults:?}")))?;
    let report = evaluate_path(&suite, table.as_ref()).map_err(std::io::Error::other)?;
    let mut out = std::io::stdout().lock();
    for rule in &report.rules {
        writeln!(out, "{} {}: {}", if rule.passed { "ok  " } else { "FAIL" }, rule.rule, rule.message())?;
    }
    writeln!(out, "{} rows, {} rules, passed: {}", report.rows, report.rules.len(), report.passed)
}
