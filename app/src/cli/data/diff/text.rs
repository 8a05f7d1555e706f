//! A comparison on a terminal.

use std::fmt::Write;

use rondo_data::diff::{Compared, FileChanges, SchemaChange};
use rondo_table::drift::{ColumnDrift, DriftReport};
use rondo_table::rowdiff::{CellDiff, RowDiff};
use serde_json::{Map, Value};

use crate::cli::output::{plain, table};

/// So many columns that have not drifted are shown.
const CALM: usize = 10;
/// So many files of each sort are shown.
const FILES: usize = 20;

pub(super) fn rows_line(from: Option<u64>, to: Option<u64>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => {
            let change = i128::from(to) - i128::from(from);
            format!("  rows    {from} → {to} ({change:+})\n")
        }
        (_, _) => String::new(),
    }
}

/// A dataset that is one file has it under the dataset's name, which is not worth a line.
pub(super) fn files_lines(dataset: &str, [from, to]: [u64; 2], changes: &FileChanges) -> String {
    let counts = [
        (&changes.added, "added", '+'),
        (&changes.removed, "removed", '-'),
        (&changes.changed, "changed", '~'),
    ];
    let mut said: Vec<String> =
        counts.iter().map(|(files, verb, _)| format!("{} {verb}", files.len())).collect();
    if !changes.renamed.is_empty() {
        said.push(format!("{} renamed", changes.renamed.len()));
    }
    let mut text = format!("  files   {from} → {to}: {}\n", said.join(", "));
    for (files, _, mark) in counts {
        for file in files.iter().take(FILES).filter(|file| *file != dataset) {
            let _ = writeln!(text, "    {mark} {}", plain(file));
        }
        if files.len() > FILES {
            let _ = writeln!(text, "    {mark} … {} more", files.len() - FILES);
        }
    }
    for renamed in changes.renamed.iter().take(FILES) {
        let _ = writeln!(text, "    > {} → {}", plain(&renamed.from), plain(&renamed.to));
    }
    if changes.renamed.len() > FILES {
        let _ = writeln!(text, "    > … {} more", changes.renamed.len() - FILES);
    }
    text
}

pub(super) fn schema_lines(changes: &[SchemaChange]) -> String {
    if changes.is_empty() {
        return "  schema  unchanged\n".to_owned();
    }
    let mut text = "  schema\n".to_owned();
    for change in changes {
        let line = match change {
            SchemaChange::Added { column, column_type } => format!("+ {column} ({})", column_type.text()),
            SchemaChange::Removed { column, column_type } => format!("- {column} ({})", column_type.text()),
            SchemaChange::Type { column, from, to } => {
                format!("~ {column}: {} → {}", from.text(), to.text())
            }
            SchemaChange::Renamed { from, to, likeness } => {
                format!("~ {from} → {to}: likely renamed ({:.0} % alike)", likeness * 100.0)
            }
            SchemaChange::Reordered { columns } => format!("~ order: {}", columns.join(", ")),
            SchemaChange::Nullable { column, now: true } => format!("~ {column}: has missing values now"),
            SchemaChange::Nullable { column, now: false } => {
                format!("~ {column}: has no missing values any more")
            }
        };
        let _ = writeln!(text, "    {}", plain(&line));
    }
    text
}

pub(super) fn drift_lines(report: Option<&DriftReport>, compared: Compared) -> String {
    let Some(report) = report else {
        return "  drift   not compared: one of the two is no table\n".to_owned();
    };
    let what = match compared {
        Compared::Wholes => "all rows before, all rows after",
        Compared::NewFiles => "all rows before, the rows of the new files",
    };
    let count = report.drifted_columns().count();
    let mut text = format!("  drift   {count} of {} columns have drifted ({what})\n", report.judged);
    let mut rows: Vec<Vec<String>> = vec![
        ["column", "drifted", "by", "effect", "threshold", "p", "what moved"].map(String::from).to_vec(),
    ];
    let compared: Vec<&ColumnDrift> =
        report.columns.iter().filter(|column| column.main().is_some()).collect();
    for column in compared.iter().take(count + CALM) {
        rows.extend(drift_row(column));
    }
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&table(&rows));
    }
    if compared.len() > count + CALM {
        let _ = writeln!(text, "… {} more that have not drifted", compared.len() - count - CALM);
    }
    for column in &report.columns {
        if let Some(note) = &column.note {
            let _ = writeln!(text, "{}: {}", plain(&column.column), plain(note));
        }
    }
    text
}

fn drift_row(column: &ColumnDrift) -> Option<Vec<String>> {
    let drift = column.main()?;
    let p = drift.adjusted_p.or(drift.p_value);
    Some(vec![
        column.column.clone(),
        if column.drifted { "yes" } else { "no" }.to_owned(),
        drift.method.text().to_owned(),
        format!("{:.3}", drift.statistic),
        drift.threshold.map_or_else(String::new, |threshold| format!("{threshold}")),
        p.map_or_else(String::new, |p| if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }),
        drift.detail.clone(),
    ])
}

/// The rows that have come, gone and changed.
pub(super) fn row_lines(rows: &RowDiff) -> String {
    let by = match rows.key.is_empty() {
        true => "whole rows".to_owned(),
        false => format!("by {}", plain(&rows.key.join(", "))),
    };
    let mut text = format!(
        "  changes {} added, {} removed, {} changed, {} same ({by})\n",
        rows.added, rows.removed, rows.changed, rows.same
    );
    let [before, after] = rows.repeated_keys;
    if before + after > 0 {
        let _ = writeln!(
            text,
            "          the key is not unique: {before} rows before and {after} after repeat one"
        );
    }
    if !rows.not_compared.is_empty() {
        let _ = writeln!(text, "          not compared: {}", plain(&rows.not_compared.join(", ")));
    }
    if !rows.cells.is_empty() {
        let head = ["column", "changed", "filled", "emptied", "largest", "such as"];
        let mut lines = vec![head.map(String::from).to_vec()];
        lines.extend(rows.cells.iter().map(cell_row));
        text.push('\n');
        text.push_str(&table(&lines));
    }
    for (mark, sort, total, samples) in
        [('+', "added", rows.added, &rows.added_rows), ('-', "removed", rows.removed, &rows.removed_rows)]
    {
        if !samples.is_empty() {
            let _ = writeln!(text, "\n{} of {total} {sort}", samples.len());
        }
        for row in samples {
            let _ = writeln!(text, "{mark} {}", in_line(row));
        }
    }
    text
}

fn cell_row(cells: &CellDiff) -> Vec<String> {
    let sample = cells.samples.first().map(|sample| {
        let key = if sample.key.is_empty() { String::new() } else { format!("{}: ", in_line(&sample.key)) };
        format!("{key}{} → {}", value(&sample.from), value(&sample.to))
    });
    vec![
        cells.column.clone(),
        cells.changed.to_string(),
        cells.filled.to_string(),
        cells.emptied.to_string(),
        cells.largest.map_or_else(String::new, |largest| {
            format!("{largest:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }),
        sample.unwrap_or_default(),
    ]
}

/// A row in a line.
pub(in crate::cli::data) fn in_line(row: &Map<String, Value>) -> String {
    let cells: Vec<String> =
        row.iter().map(|(name, cell)| format!("{}={}", plain(name), value(cell))).collect();
    cells.join(" ")
}

/// A cell in few characters.
pub(super) fn value(value: &Value) -> String {
    const MOST: usize = 40;
    let text = match value {
        Value::Null => "(missing)".to_owned(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use rondo_core::signature::ColumnType;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_of_several_lines_stays_on_one() {
        let name = |text: &str| format!("{text}\n+ fake\u{1b}[2J.csv");
        let changes = FileChanges {
            added: vec![name("a")],
            removed: vec![name("b")],
            changed: vec![name("c")],
            renamed: vec![rondo_data::diff::Renamed { from: name("d"), to: name("e") }],
            same: 0,
        };
        let columns = [
            SchemaChange::Added { column: name("f"), column_type: ColumnType::Integer },
            SchemaChange::Reordered { columns: vec![name("g"), name("h")] },
        ];
        let text = format!("{}{}", files_lines("t", [3, 3], &changes), schema_lines(&columns));
        insta::assert_snapshot!(text, @r"
          files   3 → 3: 1 added, 1 removed, 1 changed, 1 renamed
            + a\n+ fake\u{1b}[2J.csv
            - b\n+ fake\u{1b}[2J.csv
            ~ c\n+ fake\u{1b}[2J.csv
            > d\n+ fake\u{1b}[2J.csv → e\n+ fake\u{1b}[2J.csv
          schema
            + f\n+ fake\u{1b}[2J.csv (integer)
            ~ order: g\n+ fake\u{1b}[2J.csv, h\n+ fake\u{1b}[2J.csv
        ");
    }

    #[test]
    fn changes_of_columns_and_files_are_said_in_lines() {
        let changes = [
            SchemaChange::Added { column: "a".to_owned(), column_type: ColumnType::Integer },
            SchemaChange::Type { column: "b".to_owned(), from: ColumnType::Integer, to: ColumnType::Number },
        ];
        assert_eq!(schema_lines(&changes), "  schema\n    + a (integer)\n    ~ b: integer → number\n");
        let many: Vec<String> = (0..25).map(|index| format!("{index:02}.csv")).collect();
        let text = files_lines("t", [1, 26], &FileChanges { added: many, same: 1, ..FileChanges::default() });
        assert!(
            text.starts_with("  files   1 → 26: 25 added, 0 removed, 0 changed\n    + 00.csv\n"),
            "{text}"
        );
        assert!(text.ends_with("    + … 5 more\n"), "{text}");
        assert_eq!(rows_line(Some(10), Some(7)), "  rows    10 → 7 (-3)\n");
    }

    #[test]
    fn changed_cells_are_counted_and_shown() {
        let key = Map::from_iter([("id".to_owned(), json!(7))]);
        let sample =
            rondo_table::rowdiff::CellSample { key: key.clone(), from: json!(null), to: json!("x\u{1b}") };
        let cells = CellDiff {
            column: "s".to_owned(),
            changed: 3,
            filled: 1,
            emptied: 0,
            largest: None,
            samples: vec![sample],
        };
        let rows = RowDiff {
            key: vec!["id".to_owned()],
            changed: 3,
            added: 9,
            cells: vec![cells],
            added_rows: vec![key],
            repeated_keys: [0, 2],
            ..RowDiff::default()
        };
        let text = row_lines(&rows);
        assert!(text.starts_with("  changes 9 added, 0 removed, 3 changed, 0 same (by id)\n"), "{text}");
        assert!(text.contains("0 rows before and 2 after repeat one"), "{text}");
        assert!(text.contains("id=7: (missing) → x\\u{1b}"), "{text}");
        assert!(text.ends_with("1 of 9 added\n+ id=7\n"), "{text}");
    }
}
