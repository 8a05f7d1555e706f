//! One process and everything it starts, as a group: run, watched, stopped, and accounted for.
//!
//! The process gets no standard input; its standard output and error are one pipe, so that their order is
//! kept, but where a program is asked something and its answer is read. When it ends, whatever it has left in its group is killed, so that a forgotten child neither
//! keeps us waiting nor goes on writing; so is what left the group and still carries the command's mark in
//! its environment. When Rondo itself dies, its guard ([`super::guard`]) does the same.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rondo_core::ports::Confinement;
use rondo_process::leftovers;
use tokio::io::AsyncReadExt;
#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::Instant;

use super::guard;
use super::guard::Guarded;

/// How long a process that was asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether a group that was asked to end is empty.
const LOOK: Duration = Duration::from_millis(20);

/// How long what an ended process has left in the pipe may take to be read.
const DRAIN: Duration = Duration::from_millis(500);

/// How much of what a process says is taken at once. Most say little, and to get and give back much more
/// makes the allocator tidy up each time.
const BUFFER: usize = 16 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Its whole environment.
    pub variables: BTreeMap<String, String>,
    /// The variable among them, as `NAME=value`, by which what it leaves behind is known.
    pub mark: Option<String>,
}

/// Why a process was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It took longer than it may.
    TimedOut,
    /// Somebody wanted it to stop.
    Cancelled,
}

/// A process that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its exit code, where it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    pub signal: Option<i32>,
    /// User and system CPU seconds, of its ended children too.
    pub cpu_seconds: f64,
    /// The greatest resident memory of it or one of its ended children, in bytes.
    pub peak_memory: u64,
    /// Whether it was stopped by us.
    pub stopped: Option<Stopped>,
    /// What had left its process group and still ran when it ended, by name: it was killed.
    pub left: Vec<String>,
}

/// Runs a command to its end and gives its output, as it comes, to `output`.
///
/// It is stopped when it takes longer than `limit` or when `cancel` becomes true: first asked (SIGTERM),
/// then, after five seconds, killed. Dropping the future kills it.
///
/// # Errors
/// When it cannot be started.
pub async fn run(
    command: &Command,
    limit: Option<Duration>,
    cancel: &mut watch::Receiver<bool>,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Ended> {
    run_confined(command, None, limit, cancel, output).await
}

/// The same, where the process may be kept to something.
///
/// # Errors
/// When it cannot be started.
pub async fn run_confined(
    command: &Command,
    confinement: Option<&dyn Confinement>,
    limit: Option<Duration>,
    cancel: &mut watch::Receiver<bool>,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Ended> {
    watched(command, confinement, None, limit, cancel, output).await
}

/// The same, free, where standard error goes to a file instead.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn run_apart(
    command: &Command,
    errors: File,
    limit: Option<Duration>,
    cancel: &mut watch::Receiver<bool>,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Ended> {
    watched(command, None, Some(errors), limit, cancel, output).await
}

async fn watched(
    command: &Command,
    confinement: Option<&dyn Confinement>,
    errors: Option<File>,
    limit: Option<Duration>,
    cancel: &mut watch::Receiver<bool>,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let (mut group, _kept) = start(command, confinement, writer, errors)?;
    let ended = exited(group.leader);
    tokio::pin!(ended);
    let mut pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut buffer = vec![0; BUFFER];
    let mut open = true;
    let mut stopped = None;
    let mut deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let end = loop {
        tokio::select! {
            read = pipe.read(&mut buffer), if open => match read {
                Ok(count) if count > 0 => output(buffer.get(..count).unwrap_or_default()),
                Ok(_) | Err(_) => open = false,
            },
            ended = &mut ended => {
                ended?;
                if let Some(deadline) = deadline.filter(|_| stopped.is_some()) {
                    group.emptied(deadline, &mut pipe, output).await;
                }
                break group.reap()?;
            }
            () = at(deadline) => {
                if stopped.is_some() {
                    group.signal(libc::SIGKILL);
                    deadline = None;
                } else {
                    stopped = Some(Stopped::TimedOut);
                    deadline = Some(Instant::now() + GRACE);
                    group.ask();
                }
            },
            () = cancelled(cancel), if stopped.is_none() => {
                stopped = Some(Stopped::Cancelled);
                deadline = Some(Instant::now() + GRACE);
                group.ask();
            },
        }
    };
    let left = match &command.mark {
        Some(mark) => leftovers::ended(mark.clone(), group.leader).await,
        None => Vec::new(),
    };
    let last = Instant::now() + DRAIN;
    // A process that was left and found by nobody may write on for ever.
    while open && Instant::now() < last {
        match tokio::time::timeout_at(last, pipe.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => output(buffer.get(..count).unwrap_or_default()),
            Ok(_) | Err(_) => open = false,
        }
    }
    Ok(Ended { stopped, left, ..end })
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until somebody wants everything to stop; for ever where nobody can.
pub(crate) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The process group of a running command; ends it when dropped.
struct Group {
    leader: libc::pid_t,
    /// Whether the leader has been reaped: then its number may be another's.
    reaped: bool,
    guarded: Option<Guarded>,
    mark: Option<String>,
}

impl Group {
    /// Sends a signal to all of the group.
    fn signal(&self, signal: libc::c_int) {
        if !self.reaped {
            // SAFETY: `kill` has no memory effects; the number is our own child's, not yet reaped.
            unsafe { libc::kill(-self.leader, signal) };
        }
    }

    /// Asks all of the group to end. A sandbox that is asked ends what is in it without asking: there, that is
    /// asked instead.
    fn ask(&self) {
        let inside = self.mark.as_ref().is_some_and(|mark| leftovers::ask_in_sandbox(mark, self.leader));
        if !inside {
            self.signal(libc::SIGTERM);
        }
    }

    /// Waits for those of an asked group that its leader has left behind, and takes what they say.
    async fn emptied(
        &self,
        deadline: Instant,
        pipe: &mut pipe::Receiver,
        output: &mut (dyn FnMut(&[u8]) + Send),
    ) {
        let mut buffer = vec![0; BUFFER];
        let mut open = true;
        while Instant::now() < deadline && leftovers::has_members(self.leader) {
            tokio::select! {
                read = pipe.read(&mut buffer), if open => match read {
                    Ok(count) if count > 0 => output(buffer.get(..count).unwrap_or_default()),
                    Ok(_) | Err(_) => open = false,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Kills what an ended leader has left in its group, and reaps it.
    fn reap(&mut self) -> io::Result<Ended> {
        self.reaped = true;
        let ended = reap(self.leader);
        self.guarded = None;
        ended
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(libc::SIGKILL);
        let (leader, guarded, mark) = (self.leader, self.guarded.take(), self.mark.take());
        // Nobody waits for it any more, and a process that was killed may take its time to go.
        let thread = std::thread::Builder::new().name("step-end".to_owned());
        let spawned = thread.spawn(move || {
            // It is gone, or nothing can be done about it.
            let _ = reap(leader);
            drop(guarded);
            if let Some(mark) = mark {
                leftovers::end(&mark, leader);
            }
        });
        drop(spawned);
    }
}

/// Starts the command, kept to what it is to be kept to. Its standard error goes to `errors`, where that is
/// given.
fn start(
    command: &Command,
    confinement: Option<&dyn Confinement>,
    writer: io::PipeWriter,
    errors: Option<File>,
) -> io::Result<(Group, Option<Box<dyn Send + Sync>>)> {
    let words: Vec<OsString> =
        [command.program.clone().into()].into_iter().chain(command.arguments.iter().cloned()).collect();
    let mut words = match confinement {
        Some(confinement) => confinement.words(words, &[]),
        None => words,
    }
    .into_iter();
    let mut child = std::process::Command::new(words.next().unwrap_or_default());
    child
        .args(words)
        .current_dir(&command.folder)
        .env_clear()
        .envs(&command.variables)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(errors.map_or_else(|| Stdio::from(writer), Stdio::from))
        .process_group(0);
    let kept = confinement.map(|confinement| confinement.ready(&mut child, &[])).transpose()?;
    let spawned = child.spawn()?;
    let leader = libc::pid_t::try_from(spawned.id()).map_err(io::Error::other)?;
    let guarded = Some(guard::guard(leader));
    Ok((Group { leader, reaped: false, guarded, mark: command.mark.clone() }, kept))
}

/// Waits until a child has ended, without reaping it: while it is a zombie, its group's number cannot be
/// given away. Where the system has handles for processes, no thread is needed for that.
async fn exited(child: libc::pid_t) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(ended) = handle(child) {
        return ended.readable().await.map(drop);
    }
    tokio::task::spawn_blocking(move || {
        loop {
            // SAFETY: a zeroed `siginfo_t` is a valid value, and the pointer is to our own variable.
            let result = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, child.cast_unsigned(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            let error = io::Error::last_os_error();
            if result == 0 {
                return Ok(());
            }
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    })
    .await?
}

/// A handle of a child that has not been reaped, which can be read when it has ended.
#[cfg(target_os = "linux")]
fn handle(child: libc::pid_t) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: it takes two integers and touches no memory of ours.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    let handle = libc::c_int::try_from(handle).ok().filter(|handle| *handle >= 0)?;
    // SAFETY: the number was given to us just now and is nobody else's.
    let handle = unsafe { OwnedFd::from_raw_fd(handle) };
    // SAFETY: it is open, and the `AsyncFd` owns it until it is dropped.
    unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.ok()
}

/// Kills a child's group and takes what became of the child; waits where it has not ended yet.
fn reap(child: libc::pid_t) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: a zeroed `rusage` is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it has no memory effects; the number is our child's, which only this function reaps.
    unsafe { libc::kill(-child, libc::SIGKILL) };
    loop {
        // SAFETY: the pointers are to our own variables.
        if unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) } == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Ok(Ended {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(unit),
        stopped: None,
        left: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: "/".into(),
            variables: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            mark: None,
        }
    }

    async fn run_with(
        script: &str,
        limit: Option<Duration>,
        cancel: &mut watch::Receiver<bool>,
    ) -> (Ended, String) {
        let mut said = Vec::new();
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let ended = run(&shell(script), limit, cancel, &mut take).await.unwrap();
        (ended, String::from_utf8(said).unwrap())
    }

    async fn run_alone(script: &str) -> (Ended, String) {
        let (_never, mut cancel) = watch::channel(false);
        run_with(script, None, &mut cancel).await
    }

    fn is_alive(pid: &str) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return false };
        !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z')
    }

    #[tokio::test]
    async fn output_and_error_come_in_order_with_the_exit_code() {
        let (ended, said) = run_alone("echo a; echo b >&2; echo c; cat; exit 3").await;
        assert_eq!((ended.code, ended.signal, said.as_str()), (Some(3), None, "a\nb\nc\n"));
        assert!(ended.peak_memory > 0 && ended.cpu_seconds >= 0.0);
        let (ended, _) = run_alone("kill -9 $$").await;
        assert_eq!((ended.code, ended.signal), (None, Some(9)));
    }

    #[tokio::test]
    async fn a_forked_child_neither_keeps_us_waiting_nor_lives_on() {
        let (ended, said) = run_alone("sleep 1000 & echo $!").await;
        assert_eq!(ended.code, Some(0));
        // The child is killed before the leader is reaped; the kernel needs a moment to bury it.
        for _ in 0..100 {
            if !is_alive(&said) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {said} is still alive");
    }

    #[tokio::test]
    async fn a_daemon_that_left_the_group_does_not_keep_us_waiting() {
        let (ended, said) = run_alone("setsid sleep 30 & echo started").await;
        assert_eq!((ended.code, said.as_str()), (Some(0), "started\n"));
    }

    #[tokio::test]
    async fn a_marked_daemon_that_left_the_group_is_found_and_ended() {
        let mut command = shell("setsid sh -c 'echo $$; sleep 1000; true' & sleep 0.3");
        let mark = format!("RONDO_TEST_MARK=left-{}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        command.variables.insert(name.to_owned(), value.to_owned());
        command.mark = Some(mark.clone());
        let (_never, mut cancel) = watch::channel(false);
        let mut said = Vec::new();
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let ended = run(&command, None, &mut cancel, &mut take).await.unwrap();
        // The shell and its `sleep`.
        assert_eq!((ended.code, ended.left.len()), (Some(0), 2), "{:?}", ended.left);
        let pid = String::from_utf8(said).unwrap();
        for _ in 0..100 {
            if !is_alive(&pid) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} is still alive");
    }

    #[tokio::test]
    async fn a_process_that_takes_too_long_is_asked_and_then_stopped() {
        let (_never, mut cancel) = watch::channel(false);
        let script = "trap 'echo asked; exit 9' TERM; echo up; while :; do sleep 0.05; done";
        let (ended, said) = run_with(script, Some(Duration::from_millis(300)), &mut cancel).await;
        assert_eq!(ended.stopped, Some(Stopped::TimedOut));
        // Some shells say too that the `sleep` in the same group was ended.
        assert!(ended.code == Some(9) && said.starts_with("up\n") && said.ends_with("asked\n"), "{said}");
    }

    #[tokio::test]
    async fn what_a_leader_leaves_behind_that_was_asked_has_its_time_too() {
        let inner =
            "sh -c 'trap \"sleep 0.3; echo saved; exit 0\" TERM; echo up; while :; do sleep 0.05; done'";
        // A shell that dies of the request, one that waits for its program, and one that was to go on after it.
        let patient = |script: String| crate::execute::shell::patient(&script);
        for script in
            [format!("{inner}; true"), patient(inner.to_owned()), patient(format!("{inner}; echo after"))]
        {
            let (cancel, mut watched) = watch::channel(false);
            let mut said = Vec::new();
            let mut take = |bytes: &[u8]| {
                said.extend_from_slice(bytes);
                if said.starts_with(b"up\n") {
                    let _ = cancel.send(true);
                }
            };
            let ended = run(&shell(&script), None, &mut watched, &mut take).await.unwrap();
            let said = String::from_utf8(said).unwrap();
            assert_eq!(ended.stopped, Some(Stopped::Cancelled));
            assert!(said.contains("saved\n") && !said.contains("after"), "{script}: {said}");
            assert_eq!(ended.signal, Some(libc::SIGTERM), "{script}");
        }
    }

    #[tokio::test]
    async fn cancelling_stops_it_and_dropping_kills_it() {
        let (cancel, mut watched) = watch::channel(false);
        let stopper = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.send(true).unwrap();
        };
        let ((ended, _), ()) = tokio::join!(run_with("sleep 1000", None, &mut watched), stopper);
        assert_eq!((ended.stopped, ended.signal), (Some(Stopped::Cancelled), Some(libc::SIGTERM)));

        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pid");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", place.display());
        let task = tokio::spawn(async move { run_alone(&script).await });
        while !place.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = std::fs::read_to_string(&place).unwrap();
        task.abort();
        for _ in 0..200 {
            if !is_alive(&pid) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} is still alive");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        let (_never, mut cancel) = watch::channel(false);
        let command = Command { program: "/no/such/program".into(), ..shell("") };
        let error = run(&command, None, &mut cancel, &mut |_: &[u8]| {}).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
