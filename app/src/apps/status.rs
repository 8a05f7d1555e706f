//! What is told of apps: to requests of this process, and to other processes by a file.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rondo_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use crate::platform::Error;

/// Where an app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something that goes in is not there yet.
    Waiting,
    /// Its environment is being made.
    Preparing,
    /// Its process runs and is not ready yet.
    Starting,
    /// It answers.
    Running,
    /// It died and is started again in a moment.
    Restarting,
    /// It died too often, and was given up.
    Failed,
    /// It was told to stop.
    Stopped,
}

impl State {
    /// How it stands, after `it`.
    pub fn said(self) -> String {
        match self {
            Self::Failed => "has failed".to_owned(),
            other => format!("is {}", other.text()),
        }
    }

    /// Its word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// How an app stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it uses: a package, `command` or `files`.
    pub uses: String,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The path that it is reached under.
    pub path: String,
    /// Who may use it, where there are users.
    pub access: String,
    /// How often it was started again after it died.
    pub restarts: u32,
    /// What it was given: `model: delay@champion version 3`.
    pub inputs: BTreeMap<String, String>,
    /// Requests and sockets that are open now.
    pub open: usize,
    /// What went wrong last.
    pub error: Option<String>,
    /// The last lines that it said before that.
    pub tail: Vec<String>,
}

impl Status {
    /// Of an app that nothing was done about yet.
    pub fn new(spec: &Spec, now: Timestamp) -> Self {
        use rondo_project::project::Audience;
        let access = match spec.access {
            Audience::Viewer => "viewer",
            Audience::Editor => "editor",
            Audience::Admin => "admin",
        };
        Self {
            name: spec.name.clone(),
            uses: spec.uses.clone(),
            state: State::Waiting,
            since: now,
            path: format!("{}/", spec.base),
            access: access.to_owned(),
            restarts: 0,
            inputs: BTreeMap::new(),
            open: 0,
            error: None,
            tail: Vec::new(),
        }
    }
}

/// What other processes read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// Where the server is.
    pub url: String,
    /// Its apps.
    pub apps: Vec<Status>,
    /// What opens those that not everybody may use, by name.
    pub keys: BTreeMap<String, String>,
}

type Look = Box<dyn Fn() -> Vec<(Status, Option<String>)> + Send>;

/// The file that other processes read. Cheap to clone.
#[derive(Clone)]
pub struct Board(Arc<Mutex<Inner>>);

struct Inner {
    folder: Option<PathBuf>,
    url: String,
    look: Option<Look>,
    /// Locked as long as this process has the apps.
    owner: Option<File>,
    shown: String,
}

const FILE: &str = "state.json";
const OWNER: &str = "owner";

impl Board {
    /// That nobody reads.
    pub fn nowhere() -> Self {
        let (url, shown) = (String::new(), String::new());
        Self(Arc::new(Mutex::new(Inner { folder: None, url, look: None, owner: None, shown })))
    }

    /// In a folder that this process alone has.
    ///
    /// # Errors
    /// When another process has it, or the disk refuses.
    pub fn open(folder: &Path, url: &str) -> Result<Self, Error> {
        let place = folder.join(OWNER);
        let owner = File::create(&place).map_err(Error::io("make", &place))?;
        owner.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => Error::io("lock", &place)(error),
            TryLockError::WouldBlock => Error::Invalid {
                code: rondo_core::Code::Busy,
                message: "another process has the apps of this project".to_owned(),
            },
        })?;
        let (folder, url, shown) = (Some(folder.to_owned()), url.to_owned(), String::new());
        Ok(Self(Arc::new(Mutex::new(Inner { folder, url, look: None, owner: Some(owner), shown }))))
    }

    /// Says where to look, and shows it.
    pub fn show(&self, look: impl Fn() -> Vec<(Status, Option<String>)> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).look = Some(Box::new(look));
        self.changed();
    }

    /// Something has changed. What cannot be written is told by the server alone.
    pub fn changed(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(folder), Some(look)) = (&inner.folder, &inner.look) else { return };
        let all = look();
        let keys = all.iter().filter_map(|(status, key)| Some((status.name.clone(), key.clone()?))).collect();
        let apps = all.into_iter().map(|(status, _)| Status { open: 0, ..status }).collect();
        let text = serde_json::to_string(&Told { url: inner.url.clone(), apps, keys }).unwrap_or_default();
        if text != inner.shown && write(folder, &text).is_ok() {
            inner.shown = text;
        }
    }

    /// Takes it away: this process has no apps any more.
    pub fn close(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = inner.folder.take() {
            // Without a lock on it nobody believes it.
            let _ = fs::remove_file(folder.join(FILE));
        }
        inner.look = None;
        inner.owner = None;
    }
}

fn write(folder: &Path, text: &str) -> std::io::Result<()> {
    let place = folder.join(".state.json");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&place)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&place, folder.join(FILE))
}

/// What the process that has a folder's apps tells; nothing where none has them.
///
/// # Errors
/// When it cannot be read.
pub fn read(folder: &Path) -> Result<Option<Told>, Error> {
    match File::open(folder.join(OWNER)) {
        Ok(owner) if matches!(owner.try_lock(), Err(TryLockError::WouldBlock)) => {}
        Ok(_) | Err(_) => return Ok(None),
    }
    let place = folder.join(FILE);
    match fs::read(&place) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &place)(error)),
    }
}
