//! `rondo data profile`, and what the commands about tables are given: a version of a dataset, or a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::handoff::DatasetVersion;
use rondo_core::id::is_name;
use rondo_core::{Code, suggest};
use rondo_data::profile::{lines, profile_path};
use rondo_table::profile::Profile;
use rondo_table::profile::summary::ColumnSummary;
use rondo_table::read::ReadOptions;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;
use crate::platform::{Error, Platform};

/// Profile a dataset version or a file, column by column
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project, or a file or folder of files
    what: String,
    /// The dataset's version: a number, the beginning of its digest, `latest` or `previous`
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Also write the whole profile as JSON to this file; such profiles can be merged and compared
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of a file: how it is read, such as `delimiter=;` or `encoding=latin1`; several times
    #[arg(long, value_name = "NAME=VALUE")]
    read: Vec<String>,
}

/// Shows it.
///
/// # Errors
/// When there is no such dataset, version or file, or it is no table.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let subject = find(session, &args.what, args.version.as_deref()).await?;
    let profile = match &subject {
        Subject::Path { path, .. } => profile_path(path, &super::reading(&args.read)?).await?,
        Subject::Version { .. } => subject.profile().await?,
    };
    if let Some(out) = &args.out {
        let path = session.path(out);
        std::fs::write(&path, profile.to_json()?).map_err(Error::io("write", &path))?;
        session.printer().note(&format!("wrote `{}`", out.display()));
    }
    let summary = profile.summary();
    let value = json!({
        "schema": 1, "what": args.what, "version": subject.version(), "rows": profile.rows,
        "columns": summary,
    });
    let head = format!("{}: {} rows, {} columns\n", subject.title(), profile.rows, summary.len());
    session.printer().result(&value, &format!("{head}{}", columns(&profile, &summary)));
    Ok(())
}

fn columns(profile: &Profile, summary: &[ColumnSummary]) -> String {
    let head =
        ["column", "type", "count", "missing", "distinct", "min", "mean or top", "max", "histogram", "notes"];
    let mut rows: Vec<Vec<String>> = vec![head.map(String::from).to_vec()];
    for (column, line) in summary.iter().zip(lines(profile)) {
        let [min, middle, max] = range(column);
        rows.push(vec![
            shortened(&line.name),
            line.column_type,
            column.count.to_string(),
            line.missing,
            line.distinct,
            min,
            middle,
            max,
            line.histogram,
            line.notes,
        ]);
    }
    table(&rows)
}

/// The least, the mean or else the commonest value, and the greatest.
fn range(column: &ColumnSummary) -> [String; 3] {
    match (&column.numbers, &column.moments) {
        (Some(numbers), _) => [number(numbers.min), number(numbers.mean), number(numbers.max)],
        (None, Some((first, last))) => [first.rfc3339(), String::new(), last.rfc3339()],
        (None, None) => {
            let top = column.top.first().map(|(value, _)| shortened(value));
            [String::new(), top.unwrap_or_default(), String::new()]
        }
    }
}

/// A number with about six significant digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        return format!("{value:.0}");
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (5.0 - size.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A text of the data in one short line without anything that a terminal would obey.
fn shortened(text: &str) -> String {
    const MOST: usize = 32;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= MOST {
        return line;
    }
    line.chars().take(MOST - 1).chain(['…']).collect()
}

/// What a command about tables was given.
pub(super) enum Subject {
    /// A version of a dataset of the project.
    Version {
        /// The project.
        platform: Arc<Platform>,
        /// The version.
        version: Box<DatasetVersion>,
    },
    /// A file or folder that belongs to no dataset.
    Path {
        /// As the user wrote it.
        given: String,
        /// Where it is.
        path: PathBuf,
    },
}

impl Subject {
    /// What it is, for people.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Version { version, .. } => format!("{} {}", version.dataset, version.digest.short()),
            Self::Path { given, .. } => given.clone(),
        }
    }

    /// The version, of a dataset.
    pub(super) fn version(&self) -> Option<&DatasetVersion> {
        match self {
            Self::Version { version, .. } => Some(version),
            Self::Path { .. } => None,
        }
    }

    /// Its profile: of a version the stored one, of a file made now.
    ///
    /// # Errors
    /// When it is no table or cannot be read.
    pub(super) async fn profile(&self) -> Outcome<Profile> {
        match self {
            Self::Version { platform, version } => {
                platform.datasets().profile_of(version).await?.ok_or_else(|| {
                    Failure::hinted(
                        Code::TableInvalid,
                        format!("find a profile of `{}`: no file of it is a table", self.title()),
                        "say `format: csv` beside its source, if they are tables",
                    )
                })
            }
            Self::Path { path, .. } => Ok(profile_path(path, &ReadOptions::default()).await?),
        }
    }
}

/// Finds what was meant: a dataset of the project by its name (`flights`, `flights@previous`), else a file.
/// A file whose name could be no dataset's needs no project.
///
/// # Errors
/// When it is neither, or there is no such version.
pub(super) async fn find(session: &Session, what: &str, version: Option<&str>) -> Outcome<Subject> {
    let path = session.path(Path::new(what));
    let file = || Subject::Path { given: what.to_owned(), path: path.clone() };
    let (name, called) = match (version, what.rsplit_once('@')) {
        (None, Some((name, called))) if is_name(name) && !path.exists() => (name, Some(called)),
        (version, _) => (what, version),
    };
    if is_name(name) && session.project_root().is_some() {
        let platform = session.platform().await?;
        let stored = platform.store().meta().datasets().await?;
        let declared = platform.project().data.names().map(str::to_owned);
        let known: Vec<String> = declared.chain(stored).collect();
        if known.iter().any(|dataset| dataset == name) {
            let version = Box::new(version_of(&platform, name, called).await?);
            return Ok(Subject::Version { platform, version });
        }
        if called.is_some() || !path.exists() {
            let near = suggest::nearest(name, known.iter().map(String::as_str));
            let hint =
                near.map_or_else(|| "rondo data status".to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(Failure::hinted(Code::DatasetNotFound, format!("find dataset `{name}`"), hint));
        }
    }
    if !path.exists() && is_name(name) {
        let message =
            format!("find `{what}`: there is no such file here, and no project whose dataset it is");
        let hint = "name the project's folder with `-C DIR`, if it is a dataset";
        return Err(Failure::hinted(Code::SourceNotFound, message, hint));
    }
    session.existing("file", Path::new(what))?;
    match called {
        None => Ok(file()),
        Some(called) => {
            let message = format!("find version `{called}` of `{what}`: a file has no versions");
            Err(Failure::hinted(Code::Usage, message, format!("rondo data add {what}")))
        }
    }
}

/// A version of a dataset that the project or its store knows.
///
/// # Errors
/// When it has no such version, or none at all yet.
pub(super) async fn version_of(
    platform: &Platform,
    dataset: &str,
    called: Option<&str>,
) -> Outcome<DatasetVersion> {
    if platform.store().meta().dataset_versions(dataset).await?.is_empty() {
        return Err(Failure::hinted(
            Code::DatasetNotFound,
            format!("find a version of dataset `{dataset}`"),
            format!("rondo data add {dataset}"),
        ));
    }
    Ok(platform.datasets().version(dataset, called.unwrap_or("latest")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_their_digits() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (12.345678, "12.3457"),
            (-0.25, "-0.25"),
            (1e20, "1.000e20"),
            (0.00001, "1.000e-5"),
            (999999.9, "1000000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ä".repeat(100));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (32, true));
        assert_eq!(shortened("a\n\u{1b}[31mb"), "a  [31mb");
    }

    #[tokio::test]
    async fn a_file_is_shown_column_by_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "n,word,at\n1,a,2013-01-01\n2,a,2013-01-03\nNA,b,2013-01-02\n").unwrap();
        let subject = Subject::Path { given: "t.csv".to_owned(), path };
        let profile = subject.profile().await.ok().unwrap();
        let text = columns(&profile, &profile.summary());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..9], ["n", "integer", "2", "33.3", "%", "2", "1", "1.5", "2"]);
        assert_eq!(lines[2][..5], ["word", "string", "3", "2", "a"]);
        assert_eq!(lines[3][4..6], ["2013-01-01T00:00:00Z", "2013-01-03T00:00:00Z"]);
    }
}
