//! What can go wrong with a table, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rondo_core::signature::ColumnType;
use rondo_core::{Code, Explain};

/// The result of this crate's functions.
pub type Result<T, E = TableError> = std::result::Result<T, E>;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Reading or writing a file failed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such file.
    #[error("`{}` does not exist", path.display())]
    FileNotFound {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a table in it.
    #[error("the folder `{}` holds no table", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file of no kind that can be read.
    #[error("`{}` is {found}, not a table that can be read", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: &'static str,
    },
    /// A file without even a header.
    #[error("`{}` is empty", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A line of a text file is not as it should be.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line has more or fewer fields than the first.
    #[error("`{}`, line {line}: {found} fields, but the first line has {expected}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// How many it has.
        found: u64,
        /// How many the first has.
        expected: u64,
    },
    /// A text that was taken for UTF-8 is in another encoding.
    #[error("`{}`, line {line}: {reason}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Which byte.
        reason: String,
    },
    /// A Parquet file cannot be decoded.
    #[error("`{}` is not a readable parquet file: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A file of another kind cannot be decoded.
    #[error("`{}` is not a readable {kind}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A workbook of the old binary kind, or one that is locked by a password.
    #[error("`{}` is a workbook of the old kind (.xls) or one with a password, which is not read", path.display())]
    OldWorkbook {
        /// The file.
        path: PathBuf,
    },
    /// A cell of a sheet is not as it should be.
    #[error("`{}`, cell {cell}: {reason}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The cell, such as `B7`.
        cell: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A workbook without such a sheet.
    #[error("`{}` has no sheet `{sheet}`, but {}", path.display(), sheets.join(", "))]
    Sheet {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        sheet: String,
        /// What there is.
        sheets: Vec<String>,
        /// The one nearest to it.
        near: Option<String>,
    },
    /// A way of reading that cannot be.
    #[error("`{option}` {reason}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// A way of reading that nobody knows.
    #[error("there is no way of reading called `{option}`")]
    OptionUnknown {
        /// What was written.
        option: String,
        /// The known name nearest to it.
        near: Option<String>,
    },
    /// A value that its column cannot hold.
    #[error("row {row}: `{shown}` in column `{column}` is not {wanted}")]
    Misfit {
        /// The column.
        column: String,
        /// Counted from 1.
        row: u64,
        /// The value, or its beginning.
        shown: String,
        /// What would fit.
        wanted: &'static str,
    },
    /// Two columns of one name.
    #[error("`{}` has two columns named `{column}`", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// Files of one folder do not have the same columns.
    #[error("`{}` has no column `{column}`, which `{}` has", path.display(), other.display())]
    PartColumn {
        /// The file that lacks it.
        path: PathBuf,
        /// The name.
        column: String,
        /// A file of the same folder that has it.
        other: PathBuf,
    },
    /// Files of one folder have different types in one column.
    #[error("column `{column}` of `{}` is {}, but {} in `{}`", path.display(), found.text(), expected.text(), other.display())]
    PartType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The type there.
        found: ColumnType,
        /// The type in the files before it.
        expected: ColumnType,
        /// One of the files before it.
        other: PathBuf,
    },
    /// A column that was asked for does not exist.
    #[error("there is no column `{column}` in {place}")]
    ColumnNotFound {
        /// The name asked for.
        column: String,
        /// Where it was looked for.
        place: String,
        /// The known name nearest to it.
        nearest: Option<String>,
    },
    /// A column has another type than is needed.
    #[error("column `{column}` is {}, but {wanted} is needed", found.text())]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        found: ColumnType,
        /// What is needed.
        wanted: &'static str,
    },
    /// Arrow refused a batch.
    #[error("cannot {what}: {reason}")]
    Batch {
        /// What was tried.
        what: &'static str,
        /// What arrow said.
        reason: String,
    },
    /// A stored profile cannot be read.
    #[error("not a profile: {reason}")]
    Profile {
        /// Why.
        reason: String,
    },
    /// Two profiles that are not of the same table.
    #[error("the profiles cannot be merged: {reason}")]
    ProfileMismatch {
        /// Why.
        reason: String,
    },
    /// A check that nobody knows.
    #[error("there is no check `{name}`")]
    CheckUnknown {
        /// What was written.
        name: String,
        /// The known name nearest to it.
        nearest: Option<&'static str>,
    },
    /// A check whose parts do not fit together.
    #[error("the check `{check}` is not valid: {reason}")]
    CheckInvalid {
        /// The check.
        check: String,
        /// Why.
        reason: String,
    },
    /// A column has more distinct values than uniqueness can be decided for.
    #[error("`{column}` has more than {limit} distinct values: too many to decide whether all differ")]
    TooManyDistinct {
        /// The column or columns.
        column: String,
        /// The limit.
        limit: usize,
    },
    /// Lists that should have one entry a row differ in length.
    #[error("{what} count {found} rows, but there are {expected} predictions")]
    Lengths {
        /// The list.
        what: String,
        /// Its length.
        found: usize,
        /// The length of the scores.
        expected: usize,
    },
    /// A score or label that cannot be used.
    #[error("the {what} of row {row} is {value}: {expected}")]
    Value {
        /// Score, label or target.
        what: &'static str,
        /// Counted from 1.
        row: usize,
        /// The value.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
}

impl TableError {
    /// The file or folder that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::FileNotFound { path, .. }
            | Self::EmptyFolder { path, .. }
            | Self::Format { path, .. }
            | Self::EmptyFile { path, .. }
            | Self::Line { path, .. }
            | Self::Ragged { path, .. }
            | Self::NotUtf8 { path, .. }
            | Self::Parquet { path, .. }
            | Self::Unreadable { path, .. }
            | Self::OldWorkbook { path, .. }
            | Self::Cell { path, .. }
            | Self::Sheet { path, .. }
            | Self::DuplicateColumn { path, .. }
            | Self::PartColumn { path, .. }
            | Self::PartType { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The same of a file under the name that people know it by.
    #[must_use]
    pub fn called(mut self, name: &Path) -> Self {
        match &mut self {
            Self::Io { path, .. }
            | Self::FileNotFound { path, .. }
            | Self::EmptyFolder { path, .. }
            | Self::Format { path, .. }
            | Self::EmptyFile { path, .. }
            | Self::Line { path, .. }
            | Self::Ragged { path, .. }
            | Self::NotUtf8 { path, .. }
            | Self::Parquet { path, .. }
            | Self::Unreadable { path, .. }
            | Self::OldWorkbook { path, .. }
            | Self::Cell { path, .. }
            | Self::Sheet { path, .. }
            | Self::DuplicateColumn { path, .. }
            | Self::PartColumn { path, .. }
            | Self::PartType { path, .. } => name.clone_into(path),
            _ => {}
        }
        self
    }
}

impl TableError {
    /// An error of the file system, with not-found told apart.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::FileNotFound { path: path.to_owned() }
        } else {
            Self::Io { path: path.to_owned(), source }
        }
    }

    /// A fault in one line of a text file.
    pub(crate) fn line(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Line { path: path.to_owned(), line, reason: reason.into() }
    }

    /// A column that is not there, with the nearest name that is.
    pub(crate) fn no_column<'a>(
        column: &str,
        place: String,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let nearest = rondo_core::suggest::nearest(column, known).map(str::to_owned);
        Self::ColumnNotFound { column: column.to_owned(), place, nearest }
    }
}

impl Explain for TableError {
    fn code(&self) -> Code {
        match self {
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
                ) =>
            {
                Code::DiskFull
            }
            Self::Io { .. } => Code::Io,
            Self::FileNotFound { .. } => Code::SourceNotFound,
            Self::EmptyFolder { .. }
            | Self::Format { .. }
            | Self::EmptyFile { .. }
            | Self::Line { .. }
            | Self::Ragged { .. }
            | Self::NotUtf8 { .. }
            | Self::Parquet { .. }
            | Self::Unreadable { .. }
            | Self::OldWorkbook { .. }
            | Self::Cell { .. }
            | Self::Misfit { .. }
            | Self::DuplicateColumn { .. }
            | Self::PartColumn { .. }
            | Self::PartType { .. }
            | Self::ColumnType { .. }
            | Self::Batch { .. }
            | Self::Profile { .. }
            | Self::ProfileMismatch { .. } => Code::TableInvalid,
            Self::Sheet { .. } | Self::Option { .. } | Self::OptionUnknown { .. } => Code::ValueInvalid,
            Self::ColumnNotFound { .. } => Code::ColumnNotFound,
            Self::CheckUnknown { .. }
            | Self::CheckInvalid { .. }
            | Self::TooManyDistinct { .. }
            | Self::Lengths { .. }
            | Self::Value { .. } => Code::ValueInvalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::ColumnNotFound { nearest: Some(nearest), .. } => vec![format!("did you mean `{nearest}`?")],
            Self::CheckUnknown { nearest: Some(nearest), .. } => vec![format!("did you mean `{nearest}`?")],
            Self::CheckUnknown { nearest: None, .. } => {
                vec![format!("the checks are {}", crate::checks::names().join(", "))]
            }
            Self::EmptyFolder { .. } | Self::Format { .. } => {
                vec![
                    "tables are files that end in .parquet, .csv, .tsv, .ndjson, .jsonl, .json, .arrow, .feather, .xlsx, .xlsb or .ods"
                        .into(),
                ]
            }
            Self::TooManyDistinct { .. } => {
                vec!["check `distinct_count` instead: it is estimated beyond the limit".into()]
            }
            Self::Sheet { near: Some(near), .. } => vec![format!("read: {{ sheet: \"{near}\" }}")],
            Self::OptionUnknown { near: Some(near), .. } => vec![format!("did you mean `{near}`?")],
            Self::OptionUnknown { near: None, .. } => {
                vec![format!("ways of reading are {}, each as NAME=VALUE", crate::read::OPTIONS.join(", "))]
            }
            Self::NotUtf8 { .. } => {
                vec!["if it is in another encoding, name it: read: { encoding: windows-1252 }".into()]
            }
            Self::Ragged { line, expected: 1, .. } => vec![
                format!("if the table begins only there: read: {{ skip: {} }}", line.saturating_sub(1)),
                "if it is one column of text, name a delimiter that it has not: read: { delimiter: \"\\t\" }"
                    .into(),
            ],
            Self::Ragged { .. } => {
                vec!["if it is another dialect, name it: read: { delimiter: \";\", quote: \"'\" }".into()]
            }
            Self::Misfit { column, .. } => vec![format!("in the query, cast it: CAST({column} AS CHAR)")],
            Self::Parquet { .. } | Self::Unreadable { .. } => {
                vec!["fetch or write the file again: it may be cut short".into()]
            }
            Self::OldWorkbook { .. } => vec!["save it as .xlsx, without a password".into()],
            Self::Io { .. }
            | Self::FileNotFound { .. }
            | Self::EmptyFile { .. }
            | Self::Line { .. }
            | Self::Cell { .. }
            | Self::Sheet { near: None, .. }
            | Self::Option { .. }
            | Self::DuplicateColumn { .. }
            | Self::PartColumn { .. }
            | Self::PartType { .. }
            | Self::ColumnNotFound { nearest: None, .. }
            | Self::ColumnType { .. }
            | Self::Batch { .. }
            | Self::Profile { .. }
            | Self::ProfileMismatch { .. }
            | Self::CheckInvalid { .. }
            | Self::Lengths { .. }
            | Self::Value { .. } => Vec::new(),
        }
    }
}
