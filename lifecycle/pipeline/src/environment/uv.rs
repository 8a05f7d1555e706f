//! `uv`: found in the `PATH`, else installed once from the package index that pip uses.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::ports::{Event, Progress};
use tokio::sync::watch;

use super::host::{base_variables, find_program, search_path};
use super::index;
use crate::Error;
use crate::execute::process::{self, Command};

/// What is installed where the machine has no uv of its own.
const REQUIREMENT: &str = "uv>=0.8,<1";

/// How long one call may take: a resolution, or the download of an environment.
const LIMIT: Duration = Duration::from_secs(1800);

/// How much of what a program says is kept for a message.
const SAID: usize = 64 * 1024;

/// A `uv` that can be called.
pub(super) struct Uv {
    program: PathBuf,
    variables: BTreeMap<String, String>,
    cancel: watch::Receiver<bool>,
}

/// What a program that has ended said.
pub(super) struct Said {
    /// Whether it ended well.
    pub ok: bool,
    /// Its standard output and error, cut.
    pub text: String,
}

impl Uv {
    /// Whether one is there already.
    pub fn is_present(tools: &Path, host: &BTreeMap<String, String>) -> bool {
        find_program("uv", search_path(host)).is_some() || stamp(tools).exists()
    }

    /// The machine's, or the one in the tools' folder, installed there first if need be.
    pub async fn locate(
        tools: &Path,
        host: &BTreeMap<String, String>,
        progress: &dyn Progress,
        cancel: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let mut variables = base_variables(host);
        variables.extend(index::for_uv(host));
        let fixed = [("UV_PYTHON_DOWNLOADS", "never"), ("UV_NO_PROGRESS", "1")];
        variables.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if !["UV_CACHE_DIR", "XDG_CACHE_HOME", "HOME"].iter().any(|name| variables.contains_key(*name)) {
            let cache = tools.join("uv-cache").to_string_lossy().into_owned();
            variables.insert("UV_CACHE_DIR".to_owned(), cache);
        }
        // An environment that happens to be active is not the one that is meant.
        variables.remove("VIRTUAL_ENV");
        let program = match find_program("uv", search_path(host)) {
            Some(program) => program,
            None => installed(tools, &variables, progress, &cancel).await?,
        };
        Ok(Self { program, variables, cancel })
    }

    /// Calls it.
    pub async fn call(&self, folder: &Path, arguments: &[&str]) -> Result<Said, Error> {
        self.call_program(&self.program, folder, arguments).await
    }

    /// Calls another program in the same manner.
    pub async fn call_program(
        &self,
        program: &Path,
        folder: &Path,
        arguments: &[&str],
    ) -> Result<Said, Error> {
        let arguments = arguments.iter().map(OsString::from).collect();
        call(program, arguments, folder, &self.variables, &self.cancel).await
    }
}

fn stamp(tools: &Path) -> PathBuf {
    tools.join("uv").join(".complete")
}

async fn installed(
    tools: &Path,
    variables: &BTreeMap<String, String>,
    progress: &dyn Progress,
    cancel: &watch::Receiver<bool>,
) -> Result<PathBuf, Error> {
    let folder = tools.join("uv");
    let program = folder.join("bin/uv");
    if stamp(tools).exists() && program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(tools).map_err(Error::io("make", tools))?;
    let _only_one = exclusive(tools.join("uv.lock"), &mut cancel.clone()).await?;
    if stamp(tools).exists() && program.exists() {
        return Ok(program);
    }
    let subject = "uv".to_owned();
    progress.report(Event::Started {
        subject: subject.clone(),
        message: "installing it from the package index".into(),
    });
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    let missing = |reason: String| Error::UvMissing { reason };
    let python = find_program("python3", search_path(variables))
        .ok_or_else(|| missing("there is no `python3` in the PATH to install it with".to_owned()))?;
    let venv =
        ["-m", "venv"].map(OsString::from).into_iter().chain([folder.clone().into_os_string()]).collect();
    let install = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", REQUIREMENT];
    let steps = [(python, venv), (folder.join("bin/python"), install.map(OsString::from).to_vec())];
    for (program, arguments) in steps {
        let said = call(&program, arguments, tools, variables, cancel).await?;
        if !said.ok {
            progress.report(Event::Ended { subject, ok: false, message: "not installed".into() });
            return Err(missing(last_lines(&said.text)));
        }
    }
    fs::write(stamp(tools), REQUIREMENT).map_err(Error::io("write", &stamp(tools)))?;
    progress.report(Event::Ended { subject, ok: true, message: "installed".into() });
    Ok(program)
}

/// Runs a program of that kind to its end.
pub(super) async fn call(
    program: &Path,
    arguments: Vec<OsString>,
    folder: &Path,
    variables: &BTreeMap<String, String>,
    cancel: &watch::Receiver<bool>,
) -> Result<Said, Error> {
    let command = Command {
        program: program.to_owned(),
        arguments,
        folder: folder.to_owned(),
        variables: variables.clone(),
        mark: None,
    };
    let mut said = Vec::new();
    let mut take = |bytes: &[u8]| {
        let room = SAID.saturating_sub(said.len());
        said.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or(bytes));
    };
    let ended = process::run(&command, Some(LIMIT), &mut cancel.clone(), &mut take)
        .await
        .map_err(Error::io("start", program))?;
    match ended.stopped {
        Some(process::Stopped::Cancelled) => Err(Error::Interrupted),
        Some(process::Stopped::TimedOut) => Ok(Said { ok: false, text: "it took too long".to_owned() }),
        None => Ok(Said { ok: ended.code == Some(0), text: String::from_utf8_lossy(&said).into_owned() }),
    }
}

/// Waits until nobody else holds the lock of a file. The kernel lets go of it when its holder dies.
pub(super) async fn exclusive(path: PathBuf, cancel: &mut watch::Receiver<bool>) -> Result<File, Error> {
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let file = File::create(&path).map_err(Error::io("open", &path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = process::cancelled(cancel) => return Err(Error::Interrupted),
        }
    }
}

/// The end of what a program said: where its cause stands.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join("; ")
}
