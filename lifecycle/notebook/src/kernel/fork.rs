//! Kernels that are forked from one process which has done their imports.
//!
//! Starting a Python kernel costs its imports each time. A fork server is one Python process that imports
//! IPython's kernel and what the notebook imports, and forks a kernel for each run: a process of its own,
//! with a clean name space, its own folder, environment and random state. It exists for Python alone, for one
//! environment, and only where the user asks for it: a module that starts threads or a device when it is
//! imported does not survive a fork, and then this says so and kernels are started as ever.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::document::Notebook;
use crate::kernel::folder::VARIABLE;
use crate::kernel::output::LineSink;
use crate::kernel::process::{End, Ending, Process};

/// The program of the server.
const PROGRAM: &str = concat!(include_str!("start.py"), include_str!("fork.py"));
/// So long the mark of a kernel may be: its server leaves room for it in its own environment.
const ROOM: usize = 512;
/// How long imports and forks may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why kernels cannot be forked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoFork(pub String);

/// A kernel that was forked and that nobody has taken yet: it is killed when it is dropped, so that none is
/// left where who asked for it has given up.
struct Forked(Option<i32>);

impl Forked {
    fn take(mut self) -> Option<i32> {
        self.0.take()
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            // SAFETY: `killpg` takes two integers and touches no memory of ours; the id is above 1.
            unsafe { libc::killpg(pid, libc::SIGKILL) };
        }
    }
}

/// What waits for the server's answers.
#[derive(Default)]
struct Waiting {
    forked: HashMap<u64, oneshot::Sender<Forked>>,
    ended: HashMap<i32, watch::Sender<Option<End>>>,
    /// Ends of kernels that were told before anybody asked.
    early: HashMap<i32, End>,
    gone: bool,
}

/// A process that forks kernels; they end with it.
pub struct ForkServer {
    python: PathBuf,
    requests: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
    reader: JoinHandle<()>,
    count: AtomicU64,
    /// Kept to be killed when it is dropped.
    _server: Child,
}

impl std::fmt::Debug for ForkServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForkServer").field("python", &self.python).finish_non_exhaustive()
    }
}

impl ForkServer {
    /// Starts a server that has imported what the code cells of a notebook import.
    ///
    /// # Errors
    /// [`NoFork`] with the reason in plain words.
    pub async fn start(
        python: &Path,
        notebook: &Notebook,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, NoFork> {
        let sources: Vec<String> =
            notebook.cells.iter().filter(|cell| cell.is_code()).map(crate::document::Cell::source).collect();
        let refuse = |error: io::Error| NoFork(format!("`{}` cannot be started: {error}", python.display()));
        let mut server = Command::new(python)
            .args(["-c", PROGRAM])
            .envs(env)
            .env(VARIABLE, " ".repeat(ROOM))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(refuse)?;
        let (Some(mut requests), Some(answers), Some(words)) =
            (server.stdin.take(), server.stdout.take(), server.stderr.take())
        else {
            return Err(NoFork("its pipes are missing".to_owned()));
        };
        let words = tokio::spawn(last_word(words));
        write(&mut requests, &json!({ "sources": sources })).await.map_err(refuse)?;
        let mut answers = BufReader::new(answers);
        let mut line = String::new();
        let ready = tokio::time::timeout(PATIENCE, answers.read_line(&mut line)).await;
        let answer: Value = match ready {
            Ok(Ok(1..)) => serde_json::from_str(&line).unwrap_or(Value::Null),
            Ok(_) => {
                let said = words.await.ok().flatten().unwrap_or_else(|| "it ended".to_owned());
                return Err(NoFork(format!("`{}` does not have what it takes: {said}", python.display())));
            }
            Err(_) => return Err(NoFork("the imports took too long".to_owned())),
        };
        let busy: Vec<&str> = answer
            .get("busy")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !busy.is_empty() {
            let busy = busy.join(", ");
            return Err(NoFork(format!("what the notebook imports starts threads or a device ({busy})")));
        }
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let reader = tokio::spawn(listen(answers, waiting.clone()));
        Ok(Self {
            python: python.to_owned(),
            requests: tokio::sync::Mutex::new(requests),
            waiting,
            reader,
            count: AtomicU64::new(0),
            _server: server,
        })
    }

    /// The interpreter that it is.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// Forks a kernel.
    ///
    /// # Errors
    /// When the server is gone or does not answer.
    pub async fn fork(
        &self,
        folder: &Path,
        connection_file: &Path,
        cwd: &Path,
        env: &BTreeMap<String, String>,
        mark: String,
        lines: LineSink,
    ) -> io::Result<Process> {
        let (out, err) = (folder.join("out"), folder.join("err"));
        let (read_out, write_out) = fifo(&out)?;
        let (read_err, write_err) = fifo(&err)?;
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let (tell, forked) = oneshot::channel();
        self.waiting().forked.insert(id, tell);
        let cwd = std::path::absolute(cwd)?;
        let request = json!({
            "id": id, "file": connection_file, "out": out, "err": err, "cwd": cwd, "env": env, "mark": mark,
        });
        write(&mut *self.requests.lock().await, &request).await?;
        let gone = || io::Error::other("the process that forks kernels is gone");
        let forked = tokio::time::timeout(PATIENCE, forked).await.map_err(|_| gone())?;
        // From here to its owner nothing is waited for.
        let pid = forked.ok().and_then(Forked::take).ok_or_else(gone)?;
        let (tell, end) = watch::channel(None);
        {
            let mut waiting = self.waiting();
            let early = waiting.early.remove(&pid);
            match early.or_else(|| waiting.gone.then_some(End::UNKNOWN)) {
                Some(early) => {
                    tell.send_replace(Some(early));
                }
                None => {
                    waiting.ended.insert(pid, tell);
                }
            }
        }
        let end = Ending { end, kept_open: [write_out, write_err] };
        Ok(Process::adopt(pid, end, [read_out, read_err], Some(mark), lines))
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Hands on the server's answers; when it is gone, so are its kernels.
async fn listen(mut answers: impl AsyncBufRead + Unpin, waiting: Arc<Mutex<Waiting>>) {
    let mut line = String::new();
    while let Ok(1..) = answers.read_line(&mut line).await {
        let answer: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        line.clear();
        let number = |key: &str| answer.get(key).and_then(Value::as_i64);
        let pid = |key: &str| number(key).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(id), Some(pid)) = (answer.get("id").and_then(Value::as_u64), pid("pid")) {
            // The end of an earlier kernel that had this id is not the end of this one.
            waiting.early.remove(&pid);
            let forked = Forked(Some(pid));
            if let Some(tell) = waiting.forked.remove(&id) {
                // Who asked may have given up: then the kernel comes back and is killed.
                drop(tell.send(forked));
            }
        } else if let Some(pid) = pid("ended") {
            let status = number("status").and_then(|status| i32::try_from(status).ok());
            let end = End::of(status, number("peak").and_then(|peak| u64::try_from(peak).ok()));
            match waiting.ended.remove(&pid) {
                Some(tell) => {
                    tell.send_replace(Some(end));
                }
                None => {
                    waiting.early.insert(pid, end);
                }
            }
        }
    }
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.gone = true;
    waiting.forked.clear();
    for (_, tell) in waiting.ended.drain() {
        tell.send_replace(Some(End::UNKNOWN));
    }
}

async fn write(requests: &mut ChildStdin, request: &Value) -> io::Result<()> {
    requests.write_all(format!("{request}\n").as_bytes()).await?;
    requests.flush().await
}

/// The last line that a server wrote, for when it does not come up; it is read to its end in any case, so
/// that it never waits for a reader.
async fn last_word(words: impl tokio::io::AsyncRead + Unpin) -> Option<String> {
    let mut lines = BufReader::new(words).lines();
    let mut last = None;
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            last = Some(line.trim().to_owned());
        }
    }
    last
}

/// A named pipe that a forked kernel writes into: its end that is read, and one that keeps it from seeming to
/// have ended before the kernel has opened it.
fn fifo(path: &Path) -> io::Result<(Receiver, File)> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the name is a text that ends with NUL and lives through the call.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let read = tokio::net::unix::pipe::OpenOptions::new().open_receiver(path)?;
    // With somebody there to read, this waits for nobody.
    Ok((read, File::options().write(true).open(path)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};

    use super::*;

    fn kernel() -> std::process::Child {
        std::process::Command::new("sleep").arg("30").process_group(0).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_kernel_that_nobody_waits_for_any_more_is_killed() {
        // Given up before the answer, and after it came but before it was read.
        for early in [true, false] {
            let mut child = kernel();
            let pid = i32::try_from(child.id()).unwrap();
            let waiting = Arc::new(Mutex::new(Waiting::default()));
            let (tell, forked) = oneshot::channel();
            let forked = (!early).then_some(forked);
            waiting.lock().unwrap().forked.insert(7, tell);
            let answer = format!("{{\"id\": 7, \"pid\": {pid}}}\n");
            listen(answer.as_bytes(), waiting).await;
            drop(forked);
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
    }

    #[tokio::test]
    async fn the_end_of_an_earlier_kernel_is_not_that_of_the_next_with_its_id() {
        let mut child = kernel();
        let pid = i32::try_from(child.id()).unwrap();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (tell, forked) = oneshot::channel();
        waiting.lock().unwrap().forked.insert(7, tell);
        let answers = format!("{{\"ended\": {pid}, \"status\": 9}}\n{{\"id\": 7, \"pid\": {pid}}}\n");
        listen(answers.as_bytes(), waiting.clone()).await;
        assert!(waiting.lock().unwrap().early.is_empty());
        assert_eq!(forked.await.unwrap().take(), Some(pid));
        assert!(child.try_wait().unwrap().is_none(), "who takes it keeps it");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
