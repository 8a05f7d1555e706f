//! `rondo data diff`.

mod page;
pub(super) mod text;

use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_data::diff::{self, Compared, FileChanges, SchemaChange};
use rondo_data::place::size;
use rondo_project::quote;
use rondo_table::drift::{ColumnDrift, DriftReport};
use rondo_table::profile::Profile;
use rondo_table::read::{self, ReadOptions};
use rondo_table::rowdiff::{self, RowDiff};
use serde_json::{Value, json};

use super::profile::{Subject, find, version_of};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::plain;
use crate::platform::{Error, Platform};

/// Compare two versions or files: schema, rows, files, drift by column, changed cells by key
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project (`flights`, `flights@2`), or a file
    what: String,
    /// The version before (otherwise the one before the latest), or the other dataset or file
    #[arg(value_name = "A")]
    from: Option<String>,
    /// The version after (otherwise the latest)
    #[arg(value_name = "B")]
    to: Option<String>,
    /// Compare row by row by this key: one column or several with commas; otherwise the dataset's `key:`
    #[arg(short, long, value_delimiter = ',', value_name = "COLUMNS")]
    key: Vec<String>,
    /// Compare whole rows where there is no key
    #[arg(long, conflicts_with_all = ["key", "no_rows"])]
    rows: bool,
    /// Leave the rows alone even where the dataset declares a key
    #[arg(long)]
    no_rows: bool,
    /// Columns whose cells are not compared
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore: Vec<String>,
    /// Take numbers for the same that differ by at most this share
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    tolerance: f64,
    /// Show so many examples of each sort
    #[arg(long, default_value_t = 5, value_name = "N")]
    samples: usize,
    /// Also write a page of its own
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Fail where a column has drifted
    #[arg(long)]
    fail_on_drift: bool,
    /// Fail where a row has come, gone or changed
    #[arg(long)]
    fail_on_change: bool,
}

/// Compares them.
///
/// # Errors
/// When there is no such dataset, version or file, or with `--fail-on-drift` where a column has drifted, with
/// `--fail-on-change` where a row has.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let mut told = told(args, session).await?;
    told.drift = told.drift.map(by_effect);
    if let Some(html) = &args.html {
        let path = session.path(html);
        std::fs::write(&path, page::render(&told)).map_err(Error::io("write", &path))?;
        session.printer().note(&format!("wrote `{}`", html.display()));
    }
    let value = json!({ "schema": 1, "diff": told.json() });
    let drifted = told.drift.as_ref().map(drifted);
    let same = told.versions.as_ref().is_some_and(|versions| versions.same);
    let refusal = match (&drifted, &told.row_diff) {
        (None, _) if args.fail_on_drift => {
            let message = format!("compare `{}`: one of the two is no table", args.what);
            return Err(Failure::new(Code::TableInvalid, message));
        }
        (_, None) if args.fail_on_change && !same => {
            let message = format!("compare the rows of `{}`: no key is known", args.what);
            return Err(Failure::hinted(Code::Usage, message, "--key id, or --rows for whole rows"));
        }
        (Some(drifted), _) if args.fail_on_drift && !drifted.is_empty() => {
            let plural = if drifted.len() == 1 { "" } else { "s" };
            Some((
                Code::DriftFound,
                format!("{} column{plural} drifted: {}", drifted.len(), drifted.join(", ")),
            ))
        }
        (_, Some(rows)) if args.fail_on_change && !rows.is_empty() => Some((
            Code::DriftFound,
            format!("{} rows added, {} removed, {} changed", rows.added, rows.removed, rows.changed),
        )),
        (_, _) => None,
    };
    let Some((code, why)) = refusal else {
        session.printer().result(&value, &told.text());
        if told.row_diff.is_none() && told.drift.is_some() && !same {
            session.printer().note(
                "hint: rows were not compared: --key COLUMN says what names them, or --rows for whole rows",
            );
        }
        return Ok(());
    };
    if !session.printer().json() {
        session.printer().tell(&told.text());
    }
    let message = format!("accept `{}`: {why}", args.what);
    let shown = format!("error: {message}\n");
    Err(Failure::new(code, message).judged(shown, value))
}

/// What there is to say.
struct Told {
    title: String,
    /// What each side is called.
    sides: [String; 2],
    rows: [Option<u64>; 2],
    /// Of two versions of one dataset: what is said of them beside their tables.
    versions: Option<Versions>,
    schema: Vec<SchemaChange>,
    drift: Option<DriftReport>,
    compared: Compared,
    profiles: Option<Box<[Profile; 2]>>,
    row_diff: Option<RowDiff>,
    /// The comparison of versions as it is told to programs.
    value: Value,
}

struct Versions {
    same: bool,
    added: [rondo_core::Timestamp; 2],
    size: [u64; 2],
    files: [u64; 2],
    changes: FileChanges,
    dataset: String,
}

async fn told(args: &Args, session: &Session) -> Outcome<Told> {
    let first = find(session, &args.what, None).await?;
    if let Subject::Version { platform, version } = &first
        && !is_subject(args, session)
    {
        return versions(platform, &version.dataset, args).await;
    }
    let other = match (&args.from, &args.to) {
        (Some(other), None) => other,
        (_, _) => {
            return Err(Failure::hinted(
                Code::Usage,
                format!("compare `{}` with one other", args.what),
                format!("rondo data diff {} other.parquet", quote::word(&args.what)),
            ));
        }
    };
    let second = find(session, other, None).await?;
    match (&first, &second) {
        (Subject::Version { platform, version: before }, Subject::Version { version: after, .. })
            if before.dataset == after.dataset =>
        {
            let (a, b) = (before.digest.hex(), after.digest.hex());
            version_diff(platform, &before.dataset, Some(&a), Some(&b), args).await
        }
        _ => tables([first, second], args).await,
    }
}

/// Whether the second argument is a thing of its own, not a version of the first.
fn is_subject(args: &Args, session: &Session) -> bool {
    args.from.as_deref().is_some_and(|from| {
        let path = session.path(Path::new(from));
        from.contains('@') || (path.exists() && from.contains(['.', '/']))
    })
}

async fn versions(platform: &Platform, dataset: &str, args: &Args) -> Outcome<Told> {
    // Whether there is any version at all is said in better words there.
    version_of(platform, dataset, args.to.as_deref()).await?;
    version_diff(platform, dataset, args.from.as_deref(), args.to.as_deref(), args).await
}

async fn version_diff(
    platform: &Platform,
    dataset: &str,
    from: Option<&str>,
    to: Option<&str>,
    args: &Args,
) -> Outcome<Told> {
    let datasets = platform.datasets();
    let diff = datasets.diff(dataset, from, to).await?;
    let mut versions = Vec::new();
    for side in [&diff.from, &diff.to] {
        versions.push(datasets.version(dataset, &side.digest.hex()).await?);
    }
    let mut profiles = Vec::new();
    for version in &versions {
        profiles.extend(datasets.profile_of(version).await?);
    }
    let row_diff = match row_key(args, platform, dataset) {
        Some(key) if !diff.is_empty() && profiles.len() == 2 => {
            let mut opened = Vec::new();
            for version in &versions {
                let options = rondo_data::table::options_for_version(version)?;
                let folder = datasets.laid_out(version, &options)?;
                opened.push(Table { path: folder.path().to_owned(), options, _folder: Some(folder) });
            }
            Some(rows(opened, &key, args, [dataset.to_owned(), dataset.to_owned()])?)
        }
        _ => None,
    };
    let value = serde_json::to_value(&diff).map_err(unwritten)?;
    Ok(Told {
        title: dataset.to_owned(),
        sides: [diff.from.digest.short(), diff.to.digest.short()],
        rows: [diff.from.rows, diff.to.rows],
        versions: Some(Versions {
            same: diff.is_empty(),
            added: [diff.from.added, diff.to.added],
            size: [diff.from.size, diff.to.size],
            files: [diff.from.files, diff.to.files],
            changes: diff.files,
            dataset: dataset.to_owned(),
        }),
        schema: diff.schema,
        drift: diff.drift,
        compared: diff.compared,
        profiles: <[Profile; 2]>::try_from(profiles).ok().map(Box::new),
        row_diff,
        value,
    })
}

/// Two tables of any kind.
async fn tables(subjects: [Subject; 2], args: &Args) -> Outcome<Told> {
    let [before, after] = &subjects;
    let (was, is) = (before.profile().await?, after.profile().await?);
    let schema = diff::schema_changes(&was.schema(), &is.schema());
    let schema = diff::with_renamed(schema, &was, &is);
    let key = subjects.iter().find_map(|subject| match subject {
        Subject::Version { platform, version } => row_key(args, platform, &version.dataset),
        Subject::Path { .. } => None,
    });
    let key = key.or_else(|| (args.rows || !args.key.is_empty()).then(|| args.key.clone()));
    let row_diff = match key {
        Some(key) => {
            let mut opened = Vec::new();
            for subject in &subjects {
                opened.push(table_of(subject)?);
            }
            Some(rows(opened, &key, args, [before.title(), after.title()])?)
        }
        None => None,
    };
    let drift = by_effect(diff::compare(&was, &is));
    let value = json!({
        "from": { "path": before.title(), "rows": was.rows },
        "to": { "path": after.title(), "rows": is.rows },
        "schema": schema, "drift": drift, "compared": Compared::Wholes,
    });
    Ok(Told {
        title: String::new(),
        sides: [before.title(), after.title()],
        rows: [Some(was.rows), Some(is.rows)],
        versions: None,
        schema,
        drift: Some(drift),
        compared: Compared::Wholes,
        profiles: Some(Box::new([was, is])),
        row_diff,
        value,
    })
}

/// A table that can be read again, and what keeps it in place.
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) options: ReadOptions,
    pub(super) _folder: Option<tempfile::TempDir>,
}

impl Table {
    pub(super) fn open(&self) -> Outcome<read::TableReader> {
        Ok(read::open_with(&self.path, &self.options)?)
    }
}

/// The rows of a version or file.
///
/// # Errors
/// When it holds none.
pub(super) fn table_of(subject: &Subject) -> Outcome<Table> {
    match subject {
        Subject::Version { platform, version } => {
            let options = rondo_data::table::options_for_version(version)?;
            let folder = platform.datasets().laid_out(version, &options)?;
            Ok(Table { path: folder.path().to_owned(), options, _folder: Some(folder) })
        }
        Subject::Path { path, .. } => {
            Ok(Table { path: path.clone(), options: ReadOptions::default(), _folder: None })
        }
    }
}

/// The key by which rows are compared; nothing where they are not.
fn row_key(args: &Args, platform: &Platform, dataset: &str) -> Option<Vec<String>> {
    if args.no_rows {
        return None;
    }
    if args.rows || !args.key.is_empty() {
        return Some(args.key.clone());
    }
    let declared = platform.project().data.get(dataset).map(|declared| declared.key.clone());
    declared.filter(|key| !key.is_empty())
}

fn rows(tables: Vec<Table>, key: &[String], args: &Args, sides: [String; 2]) -> Outcome<RowDiff> {
    let scratch = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
    let mut options = rowdiff::Options::new(key, scratch.path());
    options.ignore.clone_from(&args.ignore);
    options.tolerance = args.tolerance;
    options.samples = args.samples;
    options.sides = sides;
    let [before, after] = <[Table; 2]>::try_from(tables)
        .map_err(|_| Failure::new(Code::Internal, "compare other than two tables"))?;
    let (a, b) = (before.open()?, after.open()?);
    Ok(tokio::task::block_in_place(|| rowdiff::compare(a, b, &options))?)
}

impl Told {
    fn json(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(rows) = &self.row_diff {
            value["rows"] = json!(rows);
        }
        value["drift"] = json!(self.drift);
        value
    }

    fn text(&self) -> String {
        let [from, to] = self.sides.each_ref().map(|side| plain(side));
        let lead = if self.title.is_empty() { String::new() } else { format!("{}: ", self.title) };
        let mut text = format!("{lead}{from} → {to}\n");
        if self.versions.as_ref().is_some_and(|versions| versions.same) {
            text.push_str("  they are the same\n");
            return text;
        }
        if let Some(versions) = &self.versions {
            let [before, now] = versions.added;
            text.push_str(&format!("  added   {before} → {now}\n"));
        }
        let [before, now] = self.rows;
        text.push_str(&text::rows_line(before, now));
        if let Some(versions) = &self.versions {
            let [before, now] = versions.size;
            text.push_str(&format!("  size    {} → {}\n", size(before), size(now)));
            text.push_str(&text::files_lines(&versions.dataset, versions.files, &versions.changes));
        }
        text.push_str(&text::schema_lines(&self.schema));
        if let Some(rows) = &self.row_diff {
            text.push_str(&text::row_lines(rows));
            text.push('\n');
        }
        text.push_str(&text::drift_lines(self.drift.as_ref(), self.compared));
        text
    }
}

fn unwritten(error: serde_json::Error) -> Failure {
    Failure::new(Code::Internal, format!("write the comparison as JSON: {error}"))
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

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::text::drift_lines;
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
}
