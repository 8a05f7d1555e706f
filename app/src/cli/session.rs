//! What a command works with: the flags that all share, the printer, and the platform once it is needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rondo_core::ports::Progress;
use rondo_core::{Code, Explain, suggest};
use rondo_project::fault;
use rondo_store::Store;

use super::Global;
use super::failure::{Failure, Outcome};
use super::output::Printer;
use crate::config::{Config, find_project};
use crate::platform::{Opened, PROJECT_FILE, Platform};

/// How long closing a store may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// The folder of a project's store.
const STORE: &str = ".rondo";

/// A command's surroundings.
pub struct Session {
    global: Global,
    printer: Printer,
    config: Arc<Config>,
    stores: Mutex<Vec<Store>>,
}

impl Session {
    pub(super) fn new(mut global: Global, printer: Printer) -> Self {
        // Once: a path that was made from it is then the same wherever it is taken from.
        global.project = global.project.map(|project| std::path::absolute(&project).unwrap_or(project));
        let config = Arc::new(Config::read(global.project.clone()));
        Self { global, printer, config, stores: Mutex::default() }
    }

    /// Where words go.
    pub const fn printer(&self) -> &Printer {
        &self.printer
    }

    /// What the environment says.
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The folder that relative paths on the command line start from.
    pub fn here(&self) -> PathBuf {
        self.global
            .project
            .clone()
            .or_else(|| std::env::current_dir().ok())
            .unwrap_or_else(|| PathBuf::from("."))
    }

    /// The project's folder, where there is a project.
    pub fn project_root(&self) -> Option<PathBuf> {
        find_project(&self.here()).and_then(|file| file.parent().map(PathBuf::from))
    }

    /// The folder of a store: the one that is given, else the project's, else one in this folder.
    ///
    /// # Errors
    /// When none is given and the folder to work in is not there.
    pub fn store_folder(&self, given: Option<&Path>) -> Outcome<PathBuf> {
        let here = self.here();
        let (root, data) = match given {
            Some(data) => (here, data),
            None if !here.is_dir() => return Err(self.no_project()),
            None => (self.project_root().unwrap_or(here), Path::new(STORE)),
        };
        std::path::absolute(root.join(data))
            .map_err(|error| Failure::new(Code::Io, format!("find the working folder: {error}")))
    }

    /// Opens the project here or above.
    ///
    /// # Errors
    /// When there is none, or its file has faults (all are shown), or its store cannot be opened.
    pub async fn platform(&self) -> Outcome<Arc<Platform>> {
        self.platform_shown(self.printer.progress()).await
    }

    /// The same, watched by another.
    ///
    /// # Errors
    /// As [`Session::platform`].
    pub async fn platform_shown(&self, progress: Arc<dyn Progress>) -> Outcome<Arc<Platform>> {
        let root = self.project_root().ok_or_else(|| self.no_project())?;
        match Platform::open(&root, self.config.clone(), progress).await? {
            Opened::Platform(platform) => Ok(self.opened(*platform)),
            Opened::Faults { file, source, faults } => {
                let text = fault::render(&file, &source, &faults);
                Err(Failure::from(Invalid { file: file.clone(), count: faults.len() })
                    .shown(text, fault::json(&file, &faults)))
            }
        }
    }

    /// Opens the project for a command that looks at runs, stops them or makes them again from what they
    /// recorded: faults of its file are told in a line and are no reason not to. What a process that died has
    /// left under way is closed first.
    ///
    /// # Errors
    /// When there is no project, or its store cannot be opened.
    pub async fn looking(&self) -> Outcome<Arc<Platform>> {
        let root = self.project_root().ok_or_else(|| self.no_project())?;
        let (platform, faults) =
            Box::pin(Platform::look(&root, self.config.clone(), self.printer.progress())).await?;
        if faults > 0 {
            let many = if faults == 1 { "a fault" } else { "faults" };
            let line =
                format!("note: `{PROJECT_FILE}` has {many} (see `rondo status`): runs are taken as stored");
            self.printer.note(&line);
        }
        // Who may only read is shown them as they are.
        let _ = Box::pin(platform.recover()).await;
        Ok(self.opened(platform))
    }

    fn opened(&self, platform: Platform) -> Arc<Platform> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(platform.store().clone());
        Arc::new(platform)
    }

    /// Closes what the command opened. What still reads in the background is not waited for long.
    pub async fn close(&self) {
        let stores = std::mem::take(&mut *self.stores.lock().unwrap_or_else(PoisonError::into_inner));
        for store in stores {
            // Nothing is lost if the time is up: the write-ahead log is read at the next start.
            let _ = tokio::time::timeout(PATIENCE, store.close()).await;
        }
    }

    /// A failure where the project file says what it is about, if it does.
    pub fn located(&self, failure: Failure) -> Failure {
        let text = self.project_root().and_then(|root| std::fs::read_to_string(root.join(PROJECT_FILE)).ok());
        match text {
            Some(text) => failure.located(PROJECT_FILE, &text),
            None => failure,
        }
    }

    fn no_project(&self) -> Failure {
        let message = format!("find `{PROJECT_FILE}` in `{}` or above", self.here().display());
        let begin = "rondo new my-project makes one; to make one of this folder: rondo new .";
        Failure::hinted(Code::ProjectNotFound, message, begin)
    }

    /// A path of the command line: as it was written, unless another folder was asked for.
    pub fn path(&self, given: &Path) -> PathBuf {
        let here = self.here();
        if std::env::current_dir().is_ok_and(|current| current == here) {
            return given.to_owned();
        }
        here.join(given)
    }

    /// A path of the command line at which there is something; `kind` says what, for messages.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn existing(&self, kind: &str, given: &Path) -> Outcome<PathBuf> {
        let path = self.path(given);
        if path.exists() {
            return Ok(path);
        }
        let message = format!("find {kind} `{}`", given.display());
        Err(match neighbour(&path) {
            Some(near) => {
                let near = given.with_file_name(near);
                let hint = format!("did you mean `{}`?", near.display());
                Failure::hinted(Code::SourceNotFound, message, hint)
            }
            None => Failure::new(Code::SourceNotFound, message),
        })
    }
}

/// The name in the same folder that is nearest to a path's own.
fn neighbour(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    suggest::nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned)
}

#[derive(Debug, thiserror::Error)]
#[error("`{file}` has {count} fault{}", if *count == 1 { "" } else { "s" })]
struct Invalid {
    file: String,
    count: usize,
}

impl Explain for Invalid {
    fn code(&self) -> Code {
        Code::ProjectInvalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_told_from_its_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flights.csv"), "").unwrap();
        assert_eq!(neighbour(&folder.path().join("flihgts.csv")).as_deref(), Some("flights.csv"));
        assert_eq!(neighbour(&folder.path().join("weather.parquet")), None);
        assert_eq!(neighbour(&folder.path().join("none/there.csv")), None);
    }
}
