//! A kernel's process: in a group of its own, its output kept, its end and its memory watched.
//!
//! Whatever the kernel leaves running when it ends is ended with it: its group, and what left the group and still
//! carries the mark that it was given. Dropping a [`Process`] kills the group,
//! so that a run that is given up leaves nothing behind. A thread waits for the end, because only the system
//! call that takes the exit status tells the peak of memory of a process that is gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rondo_core::ports::Confinement;
use rondo_process::leftovers;
use tokio::net::unix::pipe::Receiver;
use tokio::process as pipes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::LastWords;
use crate::kernel::group::Group;
use crate::kernel::memory::{Memory, MemoryCause};
use crate::kernel::output::{LineSink, Output};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// The system did not say.
    const UNKNOWN: Self = Self { code: None, signal: None };
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, self.code) {
            (Some(signal), _) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            (None, Some(code)) => write!(f, "exited with code {code}"),
            (None, None) => f.write_str("ended"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        _ => return None,
    })
}

/// What the end of a process told.
#[derive(Debug, Clone, Copy)]
pub struct End {
    exit: Exit,
    peak_memory: Option<u64>,
}

impl End {
    /// The system did not say.
    pub const UNKNOWN: Self = Self { exit: Exit::UNKNOWN, peak_memory: None };

    /// By a status as `wait` gives it, and the peak of memory in kilobytes.
    pub fn of(status: Option<i32>, peak: Option<u64>) -> Self {
        Self {
            exit: status.map_or(Exit::UNKNOWN, |status| Exit::from(ExitStatus::from_raw(status))),
            peak_memory: peak.and_then(|kilobytes| kilobytes.checked_mul(1024)),
        }
    }
}

/// The end of a process that another has forked for us, as it will be told.
pub struct Ending {
    /// Told when it has ended and its id may be another's.
    pub end: watch::Receiver<Option<End>>,
    /// Keeps open what it writes into until then.
    pub kept_open: [File; 2],
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    group: Arc<Group>,
    end: watch::Receiver<Option<End>>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    memory: Memory,
    left: Left,
    _kept: Option<Kept>,
}

/// What a process has left running, by name; known when its end is.
type Left = Arc<Mutex<Vec<String>>>;

/// What confines a process while it runs.
struct Kept(#[allow(dead_code)] Box<dyn Send + Sync>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// What a process is started with.
pub struct Start<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// The folder it runs in.
    pub cwd: &'a Path,
    /// Its variables.
    pub env: &'a BTreeMap<String, String>,
    /// Whether it has those that this process has too, where `env` says nothing else.
    pub inherits: bool,
    /// The variable, `NAME=value` and one of `env`, by which what it leaves running is known.
    pub mark: Option<String>,
    /// The most memory that it may take, in bytes.
    pub memory: Option<u64>,
    /// What it is kept to, beside places that are its own.
    pub confinement: Option<(&'a dyn Confinement, &'a [PathBuf])>,
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    /// When the program cannot be started or confined.
    pub fn spawn(start: Start<'_>, lines: LineSink) -> io::Result<Self> {
        let Start { argv, cwd, env, inherits, mark, memory, confinement } = start;
        let words = argv.iter().map(OsString::from).collect();
        let words = match confinement {
            Some((confinement, own)) => confinement.words(words, own),
            None => words,
        };
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut command = Command::new(program);
        if !inherits {
            command.env_clear();
        }
        command
            .args(arguments)
            .current_dir(cwd)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let kept = confinement.map(|(confinement, own)| confinement.ready(&mut command, own)).transpose()?;
        let mut child = command.spawn()?;
        // What it was readied with is ours as long as the command is there.
        drop(command);
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let group = Arc::new(Group::of(pid));
        let memory = Memory::of(&group, memory);
        let (tell, end) = watch::channel(None);
        let (watched, left) = (group.clone(), Left::default());
        let (leaves, confined) = (left.clone(), confinement.is_some());
        let watcher = std::thread::Builder::new().name("kernel-exit".to_owned()).spawn(move || {
            let end = watched.wait();
            end_left(&leaves, mark.as_deref(), pid, confined);
            tell.send_replace(Some(end))
        });
        let (output, kept) = (Output::new(lines), kept.map(Kept));
        let mut process = Self { group, end, output, readers: Vec::new(), memory, left, _kept: kept };
        // From here on, an error drops the process and so ends it.
        watcher?;
        process.read(child.stdout.take(), child.stderr.take())?;
        Ok(process)
    }

    /// Takes over a process that another has forked for us, and which leads its group.
    pub fn adopt(
        pid: i32,
        ending: Ending,
        pipes: [Receiver; 2],
        mark: Option<String>,
        lines: LineSink,
    ) -> Self {
        let group = Arc::new(Group::of(pid));
        let output = Output::new(lines);
        let readers = pipes.into_iter().map(|pipe| tokio::spawn(output.clone().read(pipe))).collect();
        let (tell, end) = watch::channel(None);
        let (watched, left) = (group.clone(), Left::default());
        let leaves = left.clone();
        // Not waited for like the others: it ends with the process.
        tokio::spawn(async move {
            let Ending { end: mut ended, kept_open } = ending;
            let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| *end);
            watched.let_go();
            let look = move || end_left(&leaves, mark.as_deref(), pid, false);
            // Where nothing can be looked for any more, the end is told all the same.
            let _ = tokio::task::spawn_blocking(look).await;
            drop(kept_open);
            tell.send_replace(Some(end.unwrap_or(End::UNKNOWN)));
        });
        let memory = Memory::of(&group, None);
        Self { group, end, output, readers, memory, left, _kept: None }
    }

    /// Sets a limit to the memory of an adopted process.
    pub fn limit_memory(&mut self, limit: Option<u64>) {
        self.memory = Memory::of(&self.group, limit);
    }

    /// Why it was killed, if it was for its memory.
    pub fn memory_cause(&self) -> Option<MemoryCause> {
        self.exit().filter(|exit| exit.signal == Some(libc::SIGKILL))?;
        self.memory.cause()
    }

    /// What it had left running when it ended, by name: it was ended too.
    pub fn left(&self) -> Vec<String> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&mut self, out: Option<ChildStdout>, err: Option<ChildStderr>) -> io::Result<()> {
        if let Some(pipe) = out {
            let pipe = pipes::ChildStdout::from_std(pipe)?;
            self.readers.push(tokio::spawn(self.output.clone().read(pipe)));
        }
        if let Some(pipe) = err {
            let pipe = pipes::ChildStderr::from_std(pipe)?;
            self.readers.push(tokio::spawn(self.output.clone().read(pipe)));
        }
        Ok(())
    }

    /// The id of the process that leads the group.
    pub fn id(&self) -> i32 {
        self.group.leader()
    }

    /// From now on each line of output goes to the sink that was given, beside being kept.
    pub fn listen(&self) {
        self.output.listen();
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Exit {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.map_or(Exit::UNKNOWN, |end| end.exit),
            // The watcher goes only after it has told.
            Err(_) => Exit::UNKNOWN,
        }
    }

    /// How it ended, where it has.
    pub fn exit(&self) -> Option<Exit> {
        self.end.borrow().map(|end| end.exit)
    }

    /// The peak of its memory so far, in bytes, where the system tells.
    pub fn peak_memory(&self) -> Option<u64> {
        match *self.end.borrow() {
            Some(end) => end.peak_memory,
            None => memory_peak(self.group.leader()),
        }
    }

    /// Sends a signal to the process group; nothing where it has ended.
    pub fn signal(&self, signal: i32) {
        self.group.signal(signal);
    }

    /// Ends the process: politely, then not. Waits until it is gone.
    pub async fn end(&self, grace: Duration) {
        self.signal(libc::SIGTERM);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.signal(libc::SIGKILL);
            // A killed process is gone in moments, save one that hangs in the kernel of the system.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.ended()).await;
        }
    }

    /// The last lines that it wrote; waits a moment for those that are on their way.
    pub async fn last_words(&mut self, count: usize) -> Option<LastWords> {
        let readers = futures::future::join_all(self.readers.drain(..));
        let _ = tokio::time::timeout(Duration::from_millis(300), readers).await;
        LastWords::of_crash(&self.output.tail(), count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// Ends what a process left running outside of its group, and notes the names.
fn end_left(left: &Left, mark: Option<&str>, leader: i32, confined: bool) {
    let Some(mark) = mark else { return };
    // A sandbox is still about itself when its program has ended.
    let is_sandbox = |name: &String| confined && name.starts_with("bwrap (");
    let names = leftovers::end(mark, leader).into_iter().filter(|name| !is_sandbox(name)).collect();
    *left.lock().unwrap_or_else(PoisonError::into_inner) = names;
}

/// The peak of a living process's resident memory in bytes, as Linux tells it.
fn memory_peak(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rondo_core::mask::Mask;

    fn silent() -> LineSink {
        LineSink { mask: Mask::default(), take: Arc::new(|_| {}) }
    }

    /// A start with variables and the rest of this process's.
    fn started<'a>(argv: &'a [String], env: &'a BTreeMap<String, String>) -> Start<'a> {
        let cwd = Path::new("/");
        Start { argv, cwd, env, inherits: true, mark: None, memory: None, confinement: None }
    }

    fn shell(script: &str) -> Process {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        Process::spawn(started(&argv, &BTreeMap::new()), silent()).unwrap()
    }

    #[tokio::test]
    async fn the_end_and_the_last_words_are_told() {
        let mut process = shell("echo one; echo two >&2; exit 3");
        assert_eq!(process.ended().await, Exit { code: Some(3), signal: None });
        assert!(process.peak_memory().is_some_and(|bytes| bytes > 100_000));
        let mut words = process.last_words(5).await.unwrap().0;
        words.sort();
        assert_eq!(words, ["one", "two"]);
    }

    #[tokio::test]
    async fn no_secret_is_among_the_last_words_also_in_a_line_without_end() {
        let mask = Mask::new([(&"key".to_owned(), &"hünter-22".to_owned())]);
        let script =
            "i=0; while [ $i -lt 20000 ]; do printf 'hünter-22, '; i=$((i + 1)); done; echo; echo hünter-22";
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let sink = LineSink { mask, ..silent() };
        let mut process = Process::spawn(started(&argv, &BTreeMap::new()), sink).unwrap();
        process.ended().await;
        let words = process.last_words(50).await.unwrap().0;
        assert!(words.len() > 2, "in parts");
        assert!(words.concat() == "[secret key], ".repeat(20000) + "[secret key]");
    }

    #[tokio::test]
    async fn a_process_that_inherits_nothing_has_the_variables_that_it_is_given_and_no_others() {
        let argv = ["/usr/bin/env".to_owned()];
        let env = [("GIVEN".to_owned(), "1".to_owned())].into();
        let start = Start { inherits: false, ..started(&argv, &env) };
        let mut process = Process::spawn(start, silent()).unwrap();
        process.ended().await;
        assert_eq!(process.last_words(50).await.unwrap().0, ["GIVEN=1"]);
    }

    #[tokio::test]
    async fn what_a_process_leaves_running_is_ended_with_it() {
        let mut process = shell("sleep 600 & echo $!");
        process.ended().await;
        let words = process.last_words(1).await.unwrap();
        let pid = words.0.first().unwrap().clone();
        let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let gone = || status().is_empty() || status().contains("State:\tZ");
        while !gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_left_the_group_is_ended_by_its_mark_and_named() {
        let until_it_has_left = "until grep -q sleep /proc/$!/comm; do sleep 0.01; done";
        let script = format!("setsid sleep 600 & {until_it_has_left}");
        let argv = ["/bin/sh".to_owned(), "-c".to_owned(), script];
        let mark = format!("RONDO_TEST_KERNEL={}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let env = [(name.to_owned(), value.to_owned())].into();
        let start = Start { mark: Some(mark.clone()), ..started(&argv, &env) };
        let process = Process::spawn(start, silent()).unwrap();
        process.ended().await;
        let left = process.left();
        assert!(matches!(&left[..], [name] if name.starts_with("sleep (")), "{left:?}");
    }

    #[tokio::test]
    async fn a_deaf_process_is_killed() {
        let process = shell("trap '' TERM; echo deaf; while :; do sleep 600; done");
        while process.output.tail().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.end(Duration::from_millis(50)).await;
        assert_eq!(process.exit(), Some(Exit { code: None, signal: Some(libc::SIGKILL) }));
    }

    #[test]
    fn ends_are_said_in_words() {
        assert_eq!(Exit { code: Some(3), signal: None }.to_string(), "exited with code 3");
        assert_eq!(
            Exit { code: None, signal: Some(libc::SIGSEGV) }.to_string(),
            "was killed by signal 11 (SIGSEGV)"
        );
    }
}
