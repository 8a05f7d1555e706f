//! What a command works with: the flags that all share, the printer, and the platform once it is needed.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::{Code, Explain};
use rondo_project::fault;

use super::Global;
use super::failure::{Failure, Outcome};
use super::output::Printer;
use crate::config::{Config, find_project};
use crate::platform::{Opened, Platform};

/// A command's surroundings.
pub struct Session {
    global: Global,
    printer: Printer,
    config: Arc<Config>,
}

impl Session {
    pub(super) fn new(global: Global, printer: Printer) -> Self {
        Self { global, printer, config: Arc::new(Config::read()) }
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

    /// Opens the project here or above.
    ///
    /// # Errors
    /// When there is none, or its file has faults (all are shown), or its store cannot be opened.
    pub async fn platform(&self) -> Outcome<Arc<Platform>> {
        let Some(root) = self.project_root() else {
            let here = self.here();
            return Err(Failure::hinted(
                Code::ProjectNotFound,
                format!("find `rondo.yaml` in `{}` or above", here.display()),
                "rondo new my-project",
            ));
        };
        match Platform::open(&root, self.config.clone(), self.printer.progress()).await? {
            Opened::Platform(platform) => Ok(Arc::new(platform)),
            Opened::Faults { file, source, faults } => {
                let text = fault::render(&file, &source, &faults);
                Err(Failure::from(Invalid { file: file.clone(), count: faults.len() })
                    .shown(text, fault::json(&file, &faults)))
            }
        }
    }
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
