//! `rondo data profile`, and what the commands about tables are given: a version of a dataset, or a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::handoff::DatasetVersion;
use rondo_core::id::is_name;
use rondo_core::{Code, suggest};
use rondo_data::profile::files::FolderProfile;
use rondo_data::profile::{is_no_table, lines, number, profile_folder, profile_path};
use rondo_project::quote;
use rondo_table::profile::alerts::{Alert, Gravity};
use rondo_table::profile::summary::ColumnSummary;
use rondo_table::profile::{Profile, RowSample};
use rondo_table::read::ReadOptions;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;
use crate::platform::{Error, Platform};
use crate::report::profile as page;

mod files;

/// Profile a dataset version, a file or a folder: columns, or pictures, or texts
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project (`flights`, `flights@2`), or a file or folder
    what: String,
    /// The dataset's version: a number, the beginning of its digest, `latest` or `previous`
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Also write the whole profile as JSON to this file; such profiles of tables can be merged and compared
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of a file: how it is read, such as `delimiter=;` or `encoding=latin1`; several times
    #[arg(long, value_name = "NAME=VALUE")]
    read: Vec<String>,
    /// Also write it as one page that needs nothing else, under a megabyte
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Of pictures or texts: look at so many files of a large folder, the same each time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
}

/// Shows it.
///
/// # Errors
/// When there is no such dataset, version or file, or it is no table, nor a folder of pictures or texts.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let subject = find(session, &args.what, args.version.as_deref()).await?;
    subject.takes_reading(&args.read)?;
    let options = super::reading(&args.read)?;
    if let Some(folder) = subject.folder(args.sample).await? {
        return files::show(args, session, &subject, &folder);
    }
    if args.sample.is_some() {
        let message =
            "sample: a table is read whole, in constant memory; `--sample` is for pictures and texts";
        return Err(Failure::new(Code::Usage, message));
    }
    let profile = match &subject {
        Subject::Path { path, .. } => profile_path(path, &options).await?,
        Subject::Version { .. } => subject.profile().await?,
    };
    write(session, args.out.as_deref(), || Ok(profile.to_json()?))?;
    write(session, args.html.as_deref(), || {
        Ok(page::render(&page::Page { title: subject.name(), origin: &subject.origin(), profile: &profile }))
    })?;
    let (summary, alerts) = (profile.summary(), profile.alerts());
    let value = json!({
        "schema": 1, "what": args.what, "version": subject.version(), "rows": profile.rows,
        "columns": summary, "alerts": alerts,
        "repeated_rows": profile.repeats.as_ref().map(RowSample::duplicates),
        "correlations": profile.correlations.as_ref().map(|known| json!({
            "columns": known.columns, "left_out": known.left_out, "strongest": known.strongest(0.1),
        })),
    });
    let head = format!("{}: {} rows, {} columns\n", subject.title(), profile.rows, summary.len());
    let text = format!("{head}{}{}", columns(&profile, &summary), notes(&profile, &alerts));
    session.printer().result(&value, &text);
    Ok(())
}

/// Writes one of the files that were asked for.
fn write(session: &Session, file: Option<&Path>, text: impl FnOnce() -> Result<String, Failure>) -> Outcome {
    let Some(file) = file else { return Ok(()) };
    let path = session.path(file);
    std::fs::write(&path, text()?).map_err(Error::io("write", &path))?;
    session.printer().note(&format!("wrote `{}`", file.display()));
    Ok(())
}

/// What is odd, and what goes together.
fn notes(profile: &Profile, alerts: &[Alert]) -> String {
    const MOST: usize = 25;
    let mut text = String::new();
    if !alerts.is_empty() {
        text.push_str("\nalerts\n");
        let line = |alert: &Alert| {
            let of: Vec<String> = alert.columns.iter().map(|name| shortened(name)).collect();
            let gravity = match alert.gravity {
                Gravity::High => "high",
                Gravity::Medium => "medium",
                Gravity::Low => "low",
            };
            vec![gravity.to_owned(), alert.kind.name().to_owned(), of.join(", "), shown(&alert.message, 100)]
        };
        text.push_str(&table(&alerts.iter().take(MOST).map(line).collect::<Vec<_>>()));
        if alerts.len() > MOST {
            text.push_str(&format!("and {} more: `--json` or `--html FILE` have all\n", alerts.len() - MOST));
        }
    }
    if let Some(cut) = profile.correlations.as_ref().filter(|known| known.left_out > 0) {
        text.push_str(&format!(
            "correlated are the first {} number columns of {}\n",
            cut.columns.len(),
            cut.columns.len() as u64 + cut.left_out
        ));
    }
    text
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

/// A text of the data in one short line without anything that a terminal would obey.
fn shortened(text: &str) -> String {
    shown(text, 32)
}

/// The same, of any length.
fn shown(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most - 1).chain(['…']).collect()
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

    /// Its name alone.
    fn name(&self) -> &str {
        match self {
            Self::Version { version, .. } => &version.dataset,
            Self::Path { given, .. } => given,
        }
    }

    /// What else there is to say of where it comes from.
    fn origin(&self) -> String {
        match self {
            Self::Version { version, .. } => {
                format!(
                    "version {} of {}, from {}",
                    version.digest.short(),
                    version.added.day(),
                    version.source
                )
            }
            Self::Path { path, .. } => format!("from {}", path.display()),
        }
    }

    /// What it holds, where its files are pictures or texts and no tables.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn folder(&self, sample: Option<u64>) -> Outcome<Option<FolderProfile>> {
        match self {
            Self::Version { platform, version } if version.profile.is_none() => {
                Ok(platform.datasets().folder_profile_of(version, sample).await?)
            }
            Self::Path { path, .. } if path.is_dir() && is_no_table(path) => {
                Ok(profile_folder(path, sample).await?)
            }
            Self::Version { .. } | Self::Path { .. } => Ok(None),
        }
    }

    /// Refuses ways of reading for a version, which is read as when it was made.
    ///
    /// # Errors
    /// When there are some.
    pub(super) fn takes_reading(&self, read: &[String]) -> Outcome {
        match self {
            Self::Version { version, .. } if !read.is_empty() => Err(Failure::hinted(
                Code::Usage,
                format!("read `{}` in another way: `--read` is for files", version.dataset),
                "declare `read:` beside its source; then `rondo data add` reads the version anew",
            )),
            Self::Version { .. } | Self::Path { .. } => Ok(()),
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
            Self::Version { platform, version } => match platform.datasets().profile_of(version).await? {
                Some(profile) => Ok(profile),
                None => Ok(platform.datasets().profile_now(version).await?),
            },
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
            Err(Failure::hinted(Code::Usage, message, format!("rondo data add {}", quote::word(what))))
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
