//! What can go wrong with the store.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::tree::TreeError;
use rondo_core::{Code, Digest, Explain};
use rusqlite::ffi;

use crate::backup::Damage;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The metadata database refused.
    #[error("use the metadata database")]
    Database(#[from] DatabaseError),
    /// A search took too long and was given up.
    #[error("the search took longer than {} and was given up", seconds(*limit))]
    TooLong {
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// The metadata database was written by a newer Rondo.
    #[error("the store in `{}` was written by a newer version of rondo (format {found}, this one knows {known})", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest this version reads.
        known: i64,
    },
    /// A record in the database cannot be read.
    #[error("the stored {kind} `{name}` cannot be read")]
    Record {
        /// What it should be.
        kind: &'static str,
        /// Its key.
        name: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// An object's bytes are not what its digest says.
    #[error("object {digest} is corrupt: its bytes have digest {found}")]
    Corrupt {
        /// The address.
        digest: Digest,
        /// What its bytes give.
        found: Digest,
    },
    /// Objects of a snapshot are not in the backup as they were saved.
    #[error("backup `{}` is not whole: {damage}", path.display())]
    BackupDamaged {
        /// The folder of the backup.
        path: PathBuf,
        /// Which.
        damage: Damage,
    },
    /// A backup has no such snapshot.
    #[error("backup `{}` has no snapshot `{name}`", path.display())]
    SnapshotNotFound {
        /// The folder of the backup.
        path: PathBuf,
        /// The snapshot.
        name: String,
    },
    /// A folder listing cannot be read.
    #[error("object {digest} is no folder")]
    NotAFolder {
        /// The address.
        digest: Digest,
        /// Why not.
        source: TreeError,
    },
    /// A folder cannot be stored.
    #[error("`{}` cannot be stored", path.display())]
    Tree {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: TreeError,
    },
    /// A file changed while it was being read.
    #[error("`{}` changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// What is there is neither a file nor a folder, or a link that leads in a circle.
    #[error("`{}` is neither a file nor a folder", path.display())]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// A link that leads to a folder that it lies in.
    #[error("`{}` is a link that leads back to `{}`, which it lies in", path.display(), to.display())]
    Loop {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// A link to nothing.
    #[error("`{}` is a link that leads nowhere", path.display())]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// Folders in folders without an end.
    #[error("`{}` lies in more than {most} folders", path.display())]
    Deep {
        /// The folder.
        path: PathBuf,
        /// How many it may be.
        most: usize,
    },
    /// A name that is no text.
    #[error("the name of `{}` is not UTF-8", path.display())]
    NotUtf8 {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder that has the store in it.
    #[error("`{}` is the store itself", path.display())]
    OwnStore {
        /// The store's folder.
        path: PathBuf,
    },
    /// No such object.
    #[error("object {0} is not in the store")]
    ObjectNotFound(Digest),
    /// A named thing does not exist.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its line in the table of codes.
        code: Code,
    },
    /// A named thing exists already.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its line in the table of codes.
        code: Code,
    },
    /// No such upload in parts, or one that has ended.
    #[error("upload `{upload}` does not exist, has ended or was given up")]
    UploadNotFound {
        /// Its id, as it was given.
        upload: String,
    },
    /// A part that was not sent, or was sent again with other bytes.
    #[error("part {number} of upload `{upload}` is not there with that digest")]
    PartNotFound {
        /// The upload.
        upload: String,
        /// The part.
        number: u32,
    },
    /// A thing that was written to is deleted (softly).
    #[error("{kind} `{name}` is deleted")]
    Deleted {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Something else needs it.
    #[error("{kind} `{name}` is needed by {by}")]
    Needed {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What needs it.
        by: String,
        /// How to detach it.
        hint: String,
    },
    /// The bytes of a metric's series are none.
    #[error("the stored series of metric `{key}` of run {run} cannot be read")]
    Series {
        /// The run.
        run: String,
        /// The metric.
        key: String,
    },
    /// A ref was moved by somebody else in the meantime.
    #[error("ref `{name}` has moved: it points to {found}, not to {expected}")]
    RefMoved {
        /// The ref.
        name: String,
        /// What the caller took it to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A version of a dataset was dropped while something was built on it.
    #[error("version {} of dataset `{dataset}` was dropped meanwhile", digest.short())]
    VersionDropped {
        /// The dataset.
        dataset: String,
        /// The version.
        digest: Digest,
    },
    /// Nobody could say any more who may what.
    #[error("user `{name}` is the last administrator")]
    LastAdmin {
        /// The user.
        name: String,
    },
    /// A parameter was logged before with another value.
    #[error("parameter `{key}` of run {run} was logged as `{old}`, not as `{new}`")]
    ParameterChanged {
        /// The run.
        run: String,
        /// The parameter.
        key: String,
        /// The value that stands.
        old: String,
        /// The value that was refused.
        new: String,
    },
    /// A parameter of a logged model was logged before with another value.
    #[error("parameter `{key}` of logged model {model} was logged as `{old}`, not as `{new}`")]
    ModelParameterChanged {
        /// The model.
        model: String,
        /// The parameter.
        key: String,
        /// The value that stands.
        old: String,
        /// The value that was refused.
        new: String,
    },
    /// A trace is filed under another experiment.
    #[error("trace `{id}` exists already under another experiment")]
    TraceElsewhere {
        /// The trace.
        id: String,
    },
    /// The metadata database is damaged.
    #[error("the metadata database `{}` is damaged: {reason}", path.display())]
    CorruptDatabase {
        /// The file.
        path: PathBuf,
        /// What the database found.
        reason: String,
    },
    /// Only one process may clean up or back up a store at a time.
    #[error("another process is cleaning up or backing up this store")]
    Busy {
        /// The file that the other one holds locked.
        lock: PathBuf,
    },
    /// Another program's database cannot be read.
    #[error("read `{}` as a database of MLflow's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A database that is not MLflow's.
    #[error("`{}` is no database of MLflow's: it has no table `{table}`", path.display())]
    NotMlflow {
        /// The file.
        path: PathBuf,
        /// A table that MLflow's have.
        table: &'static str,
    },
    /// The process that writes for everybody has gone.
    #[error("the store is shutting down")]
    Closed,
}

/// What the database said. Cheap to clone: a commit that fails is everybody's who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(Said);

/// By which way it was asked.
#[derive(Debug, Clone, thiserror::Error)]
enum Said {
    #[error(transparent)]
    Driver(Arc<sqlx::Error>),
    #[error(transparent)]
    Direct(Arc<rusqlite::Error>),
}

impl DatabaseError {
    /// Whether a row that another one belongs to is not there.
    pub(crate) fn misses_a_row(&self) -> bool {
        matches!(self.extended(), ffi::SQLITE_CONSTRAINT_FOREIGNKEY | ffi::SQLITE_CONSTRAINT_TRIGGER)
    }

    /// Whether a column was given no value that must have one.
    pub(crate) fn misses_a_value(&self) -> bool {
        self.extended() == ffi::SQLITE_CONSTRAINT_NOTNULL
    }

    /// Whether another connection was in the way.
    pub(crate) fn is_busy(&self) -> bool {
        self.code() == Code::Busy
    }

    /// Whether the clock ended it.
    pub(crate) fn interrupted(&self) -> bool {
        self.extended() == ffi::SQLITE_INTERRUPT
    }

    /// SQLite's own result code; 0 where it was not SQLite that refused.
    fn extended(&self) -> i32 {
        match &self.0 {
            Said::Driver(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                code.and_then(|code| code.parse().ok()).unwrap_or_default()
            }
            Said::Direct(error) => error.sqlite_error().map(|error| error.extended_code).unwrap_or_default(),
        }
    }

    fn code(&self) -> Code {
        if let Said::Driver(error) = &self.0
            && matches!(**error, sqlx::Error::PoolTimedOut)
        {
            return Code::Busy;
        }
        // Room for what readers and writers share is asked for when the database is opened.
        if self.extended() == ffi::SQLITE_IOERR_SHMSIZE {
            return Code::DiskFull;
        }
        match self.extended() & 0xff {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Code::Busy,
            ffi::SQLITE_PERM | ffi::SQLITE_READONLY | ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN => Code::Io,
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Code::Corrupt,
            ffi::SQLITE_FULL => Code::DiskFull,
            _ => Code::Database,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self(Said::Driver(Arc::new(error)))
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self(Said::Direct(Arc::new(error)))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn seconds(limit: std::time::Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

/// A path that can be pasted into a shell.
fn shown(path: &std::path::Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::FileTooLarge => Code::DiskFull,
                _ => Code::Io,
            },
            Self::Database(error) => error.code(),
            Self::TooLong { .. } => Code::ValueInvalid,
            Self::Newer { .. } => Code::Database,
            Self::Record { .. } | Self::Series { .. } => Code::Corrupt,
            Self::Corrupt { .. } | Self::NotAFolder { .. } | Self::BackupDamaged { .. } => Code::Corrupt,
            Self::Tree { .. } | Self::Special { .. } | Self::Deleted { .. } => Code::ValueInvalid,
            Self::Loop { .. } | Self::Dangling { .. } | Self::Deep { .. } | Self::NotUtf8 { .. } => {
                Code::SourceInvalid
            }
            Self::OwnStore { .. } => Code::SourceInvalid,
            Self::CorruptDatabase { .. } => Code::Corrupt,
            Self::Changed { .. } | Self::Busy { .. } => Code::Busy,
            Self::ObjectNotFound(_) | Self::UploadNotFound { .. } => Code::ObjectNotFound,
            Self::PartNotFound { .. } => Code::ValueInvalid,
            Self::NotFound { code, .. } | Self::Exists { code, .. } => *code,
            Self::SnapshotNotFound { .. } => Code::BackupNotFound,
            Self::Needed { .. } => Code::Needed,
            Self::RefMoved { .. } | Self::VersionDropped { .. } => Code::RefMoved,
            Self::LastAdmin { .. } => Code::LastAdmin,
            Self::ParameterChanged { .. } | Self::ModelParameterChanged { .. } => Code::ParameterChanged,
            Self::TraceElsewhere { .. } => Code::ValueInvalid,
            Self::Foreign { .. } | Self::NotMlflow { .. } => Code::SourceInvalid,
            Self::Closed => Code::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Loop { path, .. } | Self::Dangling { path } => {
                vec![format!(
                    "find it with `ls -l {}`, and remove the link or give a folder without it",
                    shown(path)
                )]
            }
            Self::NotUtf8 { path } => {
                vec![format!(
                    "rename it: a version has to mean the same on every machine (`{}`)",
                    path.display()
                )]
            }
            Self::OwnStore { .. } => vec!["give the folder of the data alone".to_owned()],
            Self::Newer { .. } => vec!["install the newer version of rondo".to_owned()],
            Self::Busy { lock } => {
                vec![format!("try again when it has ended; which one it is: fuser {}", shown(lock))]
            }
            Self::Changed { path } => vec![format!("try again when nothing writes to `{}`", path.display())],
            Self::Corrupt { .. } => vec![
                "rondo data verify --heal".to_owned(),
                "or, where a step has made it: rondo run --force".to_owned(),
            ],
            Self::BackupDamaged { path, .. } => {
                let path = shown(path);
                vec![
                    format!(
                        "make it again from the store, which copies what that still has: rondo admin backup {path}"
                    ),
                    format!("or restore another one (`--at`): rondo admin backup {path} --list"),
                ]
            }
            Self::SnapshotNotFound { path, .. } => vec![format!("rondo admin backup {} --list", shown(path))],
            Self::Database(error) => database_hints(error.code()),
            Self::TooLong { .. } => {
                vec!["search fewer experiments, or order by a metric or by start_time".to_owned()]
            }
            Self::Foreign { path, .. } => {
                vec![format!("mlflow db upgrade sqlite:///{}", path.display())]
            }
            Self::Needed { hint, .. } => vec![hint.clone()],
            Self::LastAdmin { .. } => vec!["rondo admin user role ANOTHER admin".to_owned()],
            Self::Io { .. }
            | Self::NotMlflow { .. }
            | Self::Record { .. }
            | Self::NotAFolder { .. }
            | Self::Tree { .. }
            | Self::Special { .. }
            | Self::Deep { .. }
            | Self::ObjectNotFound(_)
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::UploadNotFound { .. }
            | Self::PartNotFound { .. }
            | Self::Deleted { .. }
            | Self::Series { .. }
            | Self::RefMoved { .. }
            | Self::VersionDropped { .. }
            | Self::ParameterChanged { .. }
            | Self::ModelParameterChanged { .. }
            | Self::TraceElsewhere { .. }
            | Self::Closed => Vec::new(),
            Self::CorruptDatabase { .. } => vec![RESTORE.to_owned()],
        }
    }
}

/// What helps where a database is lost.
const RESTORE: &str = "a backup makes a whole store again: rondo admin restore BACKUP --data NEW-FOLDER";

/// What helps where the database has failed.
fn database_hints(code: Code) -> Vec<String> {
    let hint = match code {
        Code::DiskFull => {
            "make room on the disk of the store, nothing that was acknowledged is lost: df -h .rondo"
        }
        Code::Busy => "another process has been writing to this store for a minute: fuser .rondo/metadata.db",
        Code::Corrupt => {
            let look = "look at the file before anything else writes to it: sqlite3 .rondo/metadata.db 'PRAGMA integrity_check'";
            return vec![look.to_owned(), RESTORE.to_owned()];
        }
        Code::Io => "look whether the store can be written to: ls -ld .rondo .rondo/*",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}
