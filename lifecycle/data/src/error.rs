//! What can go wrong with data.

use std::path::PathBuf;

use rondo_core::{Code, Explain};
use rondo_project::fault::Fault;
use rondo_table::TableError;

use crate::check::FileReport;

/// An error of the data stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source that cannot be understood.
    #[error("source `{text}` is not valid: {reason}")]
    SourceInvalid {
        /// The source, without credentials.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// What could stand there instead.
        hint: Option<String>,
    },
    /// A source that cannot be reached just now.
    #[error("`{what}` cannot be reached: {reason}")]
    SourceUnavailable {
        /// The address or program, without credentials.
        what: String,
        /// Why not.
        reason: String,
        /// What to try.
        hint: Option<String>,
    },
    /// A source that has no such file.
    #[error("there is no `{what}`")]
    SourceNotFound {
        /// What was looked for, without credentials.
        what: String,
        /// What is there under a similar name.
        near: Option<String>,
    },
    /// A pattern that no file matches.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A link that leads nowhere.
    #[error("`{link}` is a link to `{to}`, and nothing is there")]
    LinkBroken {
        /// The link.
        link: String,
        /// Where it leads.
        to: String,
    },
    /// What is neither a file nor a folder.
    #[error("`{what}` is {found}: a version holds files and folders")]
    NoFile {
        /// Its path.
        what: String,
        /// What it is, such as `a pipe`.
        found: &'static str,
    },
    /// A path or pattern that a version has no file of.
    #[error("there is no `{what}` in version {version} of `{dataset}`")]
    NotInVersion {
        /// What was looked for.
        what: String,
        /// The dataset.
        dataset: String,
        /// The version.
        version: String,
    },
    /// Fetched bytes that are not those that were promised.
    #[error("`{what}` has SHA-256 {found}, expected {expected}")]
    Checksum {
        /// The address, without credentials.
        what: String,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// A source that is larger than it may be.
    #[error("`{what}` is larger than `max_size` allows: {} of {}", crate::place::size(*size), crate::place::size(*bound))]
    TooLarge {
        /// The address, without credentials.
        what: String,
        /// Bytes, as far as is known.
        size: u64,
        /// How many there may be.
        bound: u64,
    },
    /// A query that a database refuses or that gives what cannot be kept.
    #[error("the query of `{what}` fails: {reason}")]
    Query {
        /// The database, without credentials.
        what: String,
        /// What it says, without credentials.
        reason: String,
    },
    /// A secret that an address names and that is nowhere.
    #[error("there is no secret `{name}`")]
    SecretNotFound {
        /// Its name.
        name: String,
    },
    /// A file of secrets that others can read.
    #[error("`{}` holds secrets and can be read by others", path.display())]
    SecretsOpen {
        /// The file.
        path: PathBuf,
    },
    /// An export of labels that cannot be understood.
    #[error("the labels of `{what}` cannot be read: {reason}")]
    Labels {
        /// The file or dataset.
        what: String,
        /// Why not.
        reason: String,
    },
    /// An archive that cannot be unpacked, or had better not be.
    #[error("archive `{}` cannot be unpacked: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A table whose rows cannot be told apart by time.
    #[error("`{what}` cannot be split by time: {reason}")]
    Split {
        /// The file.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A name that no dataset or part can have.
    #[error("`{name}` cannot be the name of a {kind}")]
    Name {
        /// `dataset` or `part`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A format that no table is read in.
    #[error("`{format}` is not a format that is read: expected csv, tsv, parquet, json, arrow or excel")]
    Format {
        /// What was written.
        format: String,
    },
    /// No such dataset.
    #[error("there is no dataset `{name}`")]
    DatasetNotFound {
        /// The name.
        name: String,
        /// One with a similar name.
        near: Option<String>,
    },
    /// No such version of a dataset.
    #[error("dataset `{dataset}` has no version `{version}`")]
    VersionNotFound {
        /// The dataset.
        dataset: String,
        /// What was asked for.
        version: String,
    },
    /// A name that no tag can have.
    #[error("`{tag}` cannot be a tag: {why}")]
    TagName {
        /// The name.
        tag: String,
        /// Why not.
        why: &'static str,
    },
    /// No such tag.
    #[error("dataset `{dataset}` has no tag `{tag}`")]
    TagNotFound {
        /// The dataset.
        dataset: String,
        /// The tag.
        tag: String,
    },
    /// Tags that are of one version here and of another elsewhere.
    #[error("{}", told(tags))]
    TagTaken {
        /// All of them.
        tags: Vec<crate::tags::Conflict>,
        /// What takes the other version instead.
        hint: String,
    },
    /// A dataset that is one thing and was taken for another.
    #[error("dataset `{dataset}` is {found}, not {expected}")]
    Shape {
        /// The dataset.
        dataset: String,
        /// What it is.
        found: &'static str,
        /// What it was taken to be.
        expected: &'static str,
    },
    /// Checks on a dataset in which no file is a table.
    #[error("dataset `{dataset}` has checks, but no file of it is a table")]
    NoTable {
        /// The dataset.
        dataset: String,
    },
    /// A dataset whose latest version is a table, and of which a file is none now. Nothing was changed.
    #[error("dataset `{dataset}` is a table, and what comes in is none: {why}")]
    NoLongerTable {
        /// The dataset.
        dataset: String,
        /// Which file, where in it, and why.
        why: Box<TableError>,
    },
    /// A version in which no file is a table, where rows are asked for.
    #[error("dataset `{dataset}` has no rows: no file of it is a table")]
    Tableless {
        /// The dataset.
        dataset: String,
    },
    /// A suite of checks that cannot be understood.
    #[error("the checks of {what} are not valid: {}", faults.join("; "))]
    Suite {
        /// Whose checks.
        what: String,
        /// Every fault.
        faults: Vec<String>,
    },
    /// A file of checks that cannot be understood.
    #[error("the checks of `{file}` are not valid: {}", placed(faults))]
    SuiteFile {
        /// The file, as it was called.
        file: String,
        /// Its text, to show the faulty lines.
        source_text: String,
        /// Every fault, in the order of their places.
        faults: Vec<Fault>,
    },
    /// Data that break their checks. Nothing was changed.
    #[error("dataset `{dataset}` breaks its checks: {}", broken_checks(reports))]
    ChecksFailed {
        /// The dataset.
        dataset: String,
        /// The files that break a check, with sample rows of the failing ones.
        reports: Vec<FileReport>,
    },
    /// Rows on their way that break their checks.
    #[error("`{}` breaks {}", input.display(), report.broken())]
    RowsBroken {
        /// The file.
        input: PathBuf,
        /// What the checks found.
        report: Box<FileReport>,
    },
    /// Rows for testing that leak.
    #[error("the rows for testing leak: {}", leaks.join("; "))]
    Leakage {
        /// The checks that failed, each with what was found.
        leaks: Vec<String>,
    },
    /// A built-in package that cannot do what it is asked for.
    #[error("{message}")]
    With {
        /// The package.
        package: &'static str,
        /// Why not.
        message: String,
    },
    /// A file that changed while it was being read.
    #[error("`{}` changed while it was being read", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
    },
    /// Files that would be lost.
    #[error("{} would be lost: {}", files(paths.len()), named(paths))]
    InTheWay {
        /// The dataset.
        dataset: String,
        /// All of them.
        paths: Vec<String>,
    },
    /// A dataset whose files are not where its source is.
    #[error("dataset `{dataset}` has no place of its own: {}", why_no_place(*declared))]
    NoPlace {
        /// The dataset.
        dataset: String,
        /// Whether the project still declares it.
        declared: bool,
    },
    /// A file that cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A record that cannot be read or made.
    #[error("the {what} cannot be read")]
    Record {
        /// What it should be.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A table that cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// A remote refused, cannot be reached, or holds what it should not.
    #[error(transparent)]
    Remote(#[from] rondo_remote::Error),
    /// The work was given up because the program is ending.
    #[error("stopped before the end")]
    Stopped,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The same with something that could stand in its place.
    pub(crate) fn with_hint(mut self, text: &str) -> Self {
        if let Self::SourceInvalid { hint, .. } | Self::SourceUnavailable { hint, .. } = &mut self {
            *hint = Some(text.to_owned());
        }
        self
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::SourceInvalid { .. }
            | Self::Archive { .. }
            | Self::TooLarge { .. }
            | Self::Query { .. }
            | Self::Labels { .. } => Code::SourceInvalid,
            Self::SecretNotFound { .. } | Self::SecretsOpen { .. } => Code::ValueInvalid,
            Self::SourceUnavailable { .. } => Code::SourceUnavailable,
            Self::SourceNotFound { .. }
            | Self::NoMatch { .. }
            | Self::LinkBroken { .. }
            | Self::NotInVersion { .. } => Code::SourceNotFound,
            Self::NoFile { .. } => Code::SourceInvalid,
            Self::Checksum { .. } => Code::DataBroken,
            Self::Record { .. } => Code::Corrupt,
            Self::Split { .. }
            | Self::NoTable { .. }
            | Self::NoLongerTable { .. }
            | Self::Tableless { .. } => Code::TableInvalid,
            Self::Name { .. }
            | Self::Format { .. }
            | Self::Shape { .. }
            | Self::Suite { .. }
            | Self::SuiteFile { .. }
            | Self::TagName { .. } => Code::ValueInvalid,
            Self::TagNotFound { .. } => Code::RefNotFound,
            Self::TagTaken { .. } => Code::RefMoved,
            Self::DatasetNotFound { .. } | Self::VersionNotFound { .. } => Code::DatasetNotFound,
            Self::ChecksFailed { .. } | Self::RowsBroken { .. } => Code::ChecksFailed,
            Self::Leakage { .. } => Code::LeakageFound,
            Self::With { .. } => Code::PackageInvalid,
            Self::InTheWay { .. } => Code::FilesInTheWay,
            Self::NoPlace { .. } => Code::ValueInvalid,
            Self::Changed { .. } => Code::Busy,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::FileTooLarge => Code::DiskFull,
                _ => Code::Io,
            },
            Self::Table(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Remote(error) => error.code(),
            Self::Stopped => Code::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::SourceInvalid { hint, .. } | Self::SourceUnavailable { hint, .. } => {
                hint.iter().cloned().collect()
            }
            Self::SourceNotFound { near, .. } | Self::DatasetNotFound { near, .. } => {
                near.iter().map(|near| format!("did you mean `{near}`?")).collect()
            }
            Self::VersionNotFound { dataset, .. } => vec![format!("rondo data log {dataset}")],
            Self::TagNotFound { dataset, .. } => vec![format!("rondo data tag {dataset}")],
            Self::TagTaken { hint, .. } => vec![hint.clone()],
            Self::InTheWay { dataset, .. } => vec![
                format!("keep them as a version first: rondo data add {dataset}"),
                format!("or give them up: rondo data get {dataset} --force"),
            ],
            Self::NoPlace { dataset, .. } => vec![format!("rondo data get {dataset} some/folder")],
            Self::Shape { .. } => vec!["give it another name".to_owned()],
            Self::NoTable { .. } | Self::Tableless { .. } => {
                vec!["say `format: csv` beside the source, if they are tables".to_owned()]
            }
            Self::NoLongerTable { why, .. } => {
                let mut hints = why.hints();
                hints.push("mend the file and add it again".to_owned());
                hints.push(
                    "or say `format: files` beside its source, if it is to be files from now on".to_owned(),
                );
                hints
            }
            Self::SecretNotFound { name } => vec![
                format!("export {name}=…"),
                format!("or a line `{name}=…` in {}", crate::fetch::secrets::SECRETS_FILE),
            ],
            Self::SecretsOpen { path } => vec![format!("chmod 600 {}", path.display())],
            Self::Changed { path } => vec![format!("try again when nothing writes to `{}`", path.display())],
            Self::Table(error) => error.hints(),
            Self::Store(error) => error.hints(),
            Self::Remote(error) => error.hints(),
            Self::NotInVersion { dataset, .. } => vec![format!("rondo data log {dataset}")],
            Self::NoMatch { .. }
            | Self::LinkBroken { .. }
            | Self::NoFile { .. }
            | Self::Checksum { .. }
            | Self::TooLarge { .. }
            | Self::Query { .. }
            | Self::Labels { .. }
            | Self::Archive { .. }
            | Self::Split { .. }
            | Self::Name { .. }
            | Self::TagName { .. }
            | Self::Format { .. }
            | Self::Suite { .. }
            | Self::SuiteFile { .. }
            | Self::ChecksFailed { .. }
            | Self::RowsBroken { .. }
            | Self::Leakage { .. }
            | Self::With { .. }
            | Self::Io { .. }
            | Self::Record { .. }
            | Self::Stopped => Vec::new(),
        }
    }
}

/// Faults in a line, each with its place.
fn placed(faults: &[Fault]) -> String {
    let one = |fault: &Fault| {
        format!("line {}, column {}: {}", fault.place.line, fault.place.column, fault.message)
    };
    faults.iter().map(one).collect::<Vec<_>>().join("; ")
}

const fn why_no_place(declared: bool) -> &'static str {
    if declared {
        "its source is elsewhere, an archive, or taken in parts"
    } else {
        "the project does not declare it any more"
    }
}

/// Which tags are what here and what elsewhere.
fn told(tags: &[crate::tags::Conflict]) -> String {
    let told: Vec<String> = tags.iter().map(ToString::to_string).collect();
    told.join("; ")
}

/// The first broken check of each file, in a line.
fn broken_checks(reports: &[FileReport]) -> String {
    let lines: Vec<String> = reports.iter().map(FileReport::headline).collect();
    lines.join("; ")
}

fn files(count: usize) -> String {
    if count == 1 { "a file".to_owned() } else { format!("{count} files") }
}

/// The first of many, by name.
fn named(paths: &[String]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> =
        paths.iter().take(MOST).map(|path| format!("`{}`", path.escape_debug())).collect();
    let more = paths.len().saturating_sub(MOST);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
