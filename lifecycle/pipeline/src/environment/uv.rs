//! `uv`: found in the `PATH`, else installed once from the package index that pip uses.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
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

/// How much a program may answer.
const ANSWER: usize = 64 * 1024 * 1024;

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
    /// Its standard output, whole: what it answered.
    pub answer: String,
    /// The ends of its standard output and error, for people.
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
    let mut answer = Vec::new();
    let mut cut = false;
    let mut take = |bytes: &[u8]| {
        let room = ANSWER.saturating_sub(answer.len());
        cut |= bytes.len() > room;
        answer.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    };
    // What it warns of is no part of what it answers.
    let mut errors = tempfile::tempfile().map_err(Error::io("write in", &std::env::temp_dir()))?;
    let apart = errors.try_clone().map_err(Error::io("write in", &std::env::temp_dir()))?;
    let ended = process::run_apart(&command, apart, Some(LIMIT), &mut cancel.clone(), &mut take)
        .await
        .map_err(Error::io("start", program))?;
    match ended.stopped {
        Some(process::Stopped::Cancelled) => return Err(Error::Interrupted),
        Some(process::Stopped::TimedOut) => {
            return Ok(Said { ok: false, answer: String::new(), text: "it took too long".to_owned() });
        }
        None if cut => {
            let why = std::io::Error::other(format!("it is longer than {} MiB", ANSWER >> 20));
            return Err(Error::io("read the answer of", program)(why));
        }
        None => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let warned = end_of(&mut errors).map_err(Error::io("read what was said by", program))?;
    let text = format!("{}\n{}", last_of(&answer), String::from_utf8_lossy(&warned));
    Ok(Said { ok: ended.code == Some(0), answer, text: text.trim().to_owned() })
}

/// The end of a file.
fn end_of(file: &mut File) -> std::io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(SAID as u64)))?;
    let mut bytes = Vec::new();
    file.take(SAID as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of a text.
fn last_of(text: &str) -> &str {
    let from = (text.len().saturating_sub(SAID)..=text.len()).find(|from| text.is_char_boundary(*from));
    from.and_then(|from| text.get(from..)).unwrap_or(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(script: &str) -> Result<Said, Error> {
        let (_never, cancel) = watch::channel(false);
        let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        let arguments = ["-c", script].map(OsString::from).into();
        call(Path::new("/bin/sh"), arguments, Path::new("/"), &variables, &cancel).await
    }

    #[tokio::test]
    async fn what_is_answered_is_whole_and_apart_from_what_is_warned_of() {
        let said = said("echo one; echo warning >&2; head -c 200000 /dev/zero | tr '\\0' x; echo; echo last");
        let said = said.await.unwrap();
        assert!(said.ok && said.answer.starts_with("one\nxxx") && said.answer.ends_with("x\nlast\n"));
        assert_eq!(said.answer.len(), 200_010);
        assert!(said.text.ends_with("warning") && said.text.len() < 2 * SAID + 10);
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_an_error() {
        let error = said("head -c 70000000 /dev/zero").await.err().unwrap();
        assert!(rondo_core::error::causes(&error).iter().any(|cause| cause.contains("64 MiB")), "{error:?}");
    }
}
