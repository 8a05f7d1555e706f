//! `rondo data diff`.

use std::fmt::Write;
use std::path::Path;

use rondo_core::Code;
use rondo_core::signature::Column;
use rondo_data::diff::{self, Compared, FileChanges, SchemaChange};
use rondo_data::place::size;
use rondo_table::drift::{ColumnDrift, DriftReport};
use rondo_table::profile::Profile;
use serde_json::{Value, json};

use super::profile::{Subject, find, version_of};
use super::status::plain;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;
use crate::platform::Platform;

/// So many columns that have not drifted are shown.
const CALM: usize = 10;
/// So many files of each sort are shown.
const FILES: usize = 20;

/// Compare two versions: schema, rows, files, drift by column
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project, or a file
    what: String,
    /// The version before (otherwise the one before the latest), or the other file
    #[arg(value_name = "A")]
    from: Option<String>,
    /// The version after (otherwise the latest)
    #[arg(value_name = "B")]
    to: Option<String>,
    /// Fail where a column has drifted
    #[arg(long)]
    fail_on_drift: bool,
}

/// Compares them.
///
/// # Errors
/// When there is no such dataset, version or file, or with `--fail-on-drift` where a column has drifted.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let told = match find(session, &args.what, None).await? {
        Subject::Version { platform, version } => versions(&platform, &version.dataset, args).await?,
        before @ Subject::Path { .. } => files(&before, args, session).await?,
    };
    let value = json!({ "schema": 1, "diff": told.value });
    if !args.fail_on_drift {
        session.printer().result(&value, &told.text);
        return Ok(());
    }
    let Some(drifted) = told.drifted else {
        let message = format!("compare `{}`: one of the two is no table", args.what);
        return Err(Failure::new(Code::TableInvalid, message));
    };
    if drifted.is_empty() {
        session.printer().result(&value, &told.text);
        return Ok(());
    }
    if !session.printer().json() {
        session.printer().out(&told.text);
    }
    let plural = if drifted.len() == 1 { "" } else { "s" };
    let message =
        format!("accept `{}`: {} column{plural} drifted: {}", args.what, drifted.len(), drifted.join(", "));
    let shown = format!("error: {message}\n");
    Err(Failure::new(Code::DriftFound, message).shown(shown, value))
}

/// What there is to say.
struct Told {
    text: String,
    value: Value,
    /// The columns that have drifted; nothing where that cannot be told.
    drifted: Option<Vec<String>>,
}

async fn versions(platform: &Platform, dataset: &str, args: &Args) -> Outcome<Told> {
    // Whether there is any version at all is said in better words there.
    version_of(platform, dataset, args.to.as_deref()).await?;
    let mut diff = platform.datasets().diff(dataset, args.from.as_deref(), args.to.as_deref()).await?;
    diff.drift = diff.drift.map(by_effect);
    let (from, to) = (&diff.from, &diff.to);
    let mut text = format!("{dataset}: {} → {}\n", from.digest.short(), to.digest.short());
    if diff.is_empty() {
        text.push_str("  they are the same\n");
    } else {
        let _ = writeln!(text, "  added   {} → {}", from.added, to.added);
        text.push_str(&rows_line(from.rows, to.rows));
        let _ = writeln!(text, "  size    {} → {}", size(from.size), size(to.size));
        text.push_str(&files_lines(dataset, [from.files, to.files], &diff.files));
        text.push_str(&schema_lines(&diff.schema));
        text.push_str(&drift_lines(diff.drift.as_ref(), diff.compared));
    }
    let drifted = diff.drift.as_ref().map(drifted);
    let value = serde_json::to_value(&diff).map_err(unwritten)?;
    Ok(Told { text, value, drifted })
}

async fn files(before: &Subject, args: &Args, session: &Session) -> Outcome<Told> {
    let other = match (&args.from, &args.to) {
        (Some(other), None) => other,
        (_, _) => {
            return Err(Failure::hinted(
                Code::Usage,
                format!("compare the file `{}` with one other file", args.what),
                format!("rondo data diff {} other.parquet", args.what),
            ));
        }
    };
    let path = session.existing("file", Path::new(other))?;
    let after = Subject::Path { given: other.clone(), path };
    let (was, is) = (before.profile().await?, after.profile().await?);
    let schema = diff::schema_changes(&columns(&was), &columns(&is));
    let drift = by_effect(diff::compare(&was, &is));
    let mut text = format!("{} → {}\n", before.title(), after.title());
    text.push_str(&rows_line(Some(was.rows), Some(is.rows)));
    text.push_str(&schema_lines(&schema));
    text.push_str(&drift_lines(Some(&drift), Compared::Wholes));
    let value = json!({
        "from": { "path": before.title(), "rows": was.rows },
        "to": { "path": after.title(), "rows": is.rows },
        "schema": schema, "drift": drift, "compared": Compared::Wholes,
    });
    Ok(Told { text, value, drifted: Some(drifted(&drift)) })
}

fn unwritten(error: serde_json::Error) -> Failure {
    Failure::new(Code::Internal, format!("write the comparison as JSON: {error}"))
}

/// The columns of a table, from its profile.
fn columns(profile: &Profile) -> Vec<Column> {
    profile
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nulls > 0,
        })
        .collect()
}

fn drifted(report: &DriftReport) -> Vec<String> {
    report.drifted_columns().map(|column| column.column.clone()).collect()
}

/// The same report with its columns in the order of the effect's size.
fn by_effect(mut report: DriftReport) -> DriftReport {
    report.columns.sort_by(|a, b| b.drifted.cmp(&a.drifted).then_with(|| effect(b).total_cmp(&effect(a))));
    report
}

/// How many times its threshold a column's main comparison reaches; less than nothing where there is none.
fn effect(column: &ColumnDrift) -> f64 {
    column.main().map_or(-1.0, |drift| {
        drift.threshold.map_or(0.0, |threshold| drift.statistic / threshold.max(f64::MIN_POSITIVE))
    })
}

fn rows_line(from: Option<u64>, to: Option<u64>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => {
            let change = i128::from(to) - i128::from(from);
            format!("  rows    {from} → {to} ({change:+})\n")
        }
        (_, _) => String::new(),
    }
}

/// A dataset that is one file has it under the dataset's name, which is not worth a line.
fn files_lines(dataset: &str, [from, to]: [u64; 2], changes: &FileChanges) -> String {
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

fn schema_lines(changes: &[SchemaChange]) -> String {
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
            SchemaChange::Nullable { column, now: true } => format!("~ {column}: has missing values now"),
            SchemaChange::Nullable { column, now: false } => {
                format!("~ {column}: has no missing values any more")
            }
        };
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn drift_lines(report: Option<&DriftReport>, compared: Compared) -> String {
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
            let _ = writeln!(text, "{}: {note}", column.column);
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

#[cfg(test)]
mod tests {
    use rondo_core::signature::ColumnType;

    use super::*;

    fn profile(folder: &Path, name: &str, scale: f64) -> Profile {
        let path = folder.join(name);
        let mut text = "same,moved\n".to_owned();
        for row in 0..400 {
            let _ = writeln!(text, "{},{}", row % 7, f64::from(row % 13) * scale + 0.5);
        }
        std::fs::write(&path, text).unwrap();
        Profile::of_path(&path).unwrap()
    }

    #[test]
    fn what_moved_most_stands_first() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (profile(folder.path(), "a.csv", 1.0), profile(folder.path(), "b.csv", 3.0));
        let report = by_effect(diff::compare(&before, &after));
        assert_eq!(drifted(&report), ["moved"]);
        let text = drift_lines(Some(&report), Compared::Wholes);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("1 of 2 columns have drifted"), "{text}");
        assert!(lines[3].starts_with("moved") && lines[3].contains("yes"), "{text}");
        assert!(lines[4].starts_with("same") && lines[4].contains("no"), "{text}");
        assert!(drifted(&by_effect(diff::compare(&before, &before))).is_empty());
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
}
