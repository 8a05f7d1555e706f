//! A limit to the memory of a kernel and of all that it starts.
//!
//! Where this process may make a control group, the limit is the system's own: its OOM killer ends what goes
//! beyond, and the group tells afterwards that it did. Elsewhere the process group is measured again and again
//! and killed when it has too much; that is coarser, since memory that is taken within a moment is seen late.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::kernel::group::Group;

/// How often memory is measured where the system keeps no limit.
const LOOK: Duration = Duration::from_millis(50);
/// The prefix of our control groups; the id of our process follows.
const PREFIX: &str = "rondo-";

/// Why a kernel that was killed had no memory left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryCause {
    /// It took more than it was allowed, in bytes.
    Limit(u64),
    /// The machine had none left.
    System,
}

/// Where a process group stands with its memory.
#[derive(Debug)]
pub struct Memory {
    limit: Option<u64>,
    group: Option<ControlGroup>,
    watch: Option<JoinHandle<()>>,
    over: Arc<AtomicBool>,
    /// Kills by the OOM killer of the whole system before this process began.
    before: Option<u64>,
}

impl Memory {
    /// Sets the limit, where there is one, to processes that have just been started.
    pub fn of(processes: &Arc<Group>, limit: Option<u64>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let group = limit.and_then(|limit| ControlGroup::make(processes.leader(), limit));
        let watch = match (limit, &group) {
            (Some(limit), None) => Some(tokio::spawn(watch(processes.clone(), limit, over.clone()))),
            _ => None,
        };
        Self { limit, group, watch, over, before: system_kills() }
    }

    /// Why the process was killed, if it was for its memory.
    pub fn cause(&self) -> Option<MemoryCause> {
        let by_group = self.group.as_ref().is_some_and(ControlGroup::has_killed);
        if by_group || self.over.load(Ordering::Relaxed) {
            return self.limit.map(MemoryCause::Limit);
        }
        let now = system_kills();
        (now.is_some() && now > self.before).then_some(MemoryCause::System)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

/// How many processes the system's OOM killer has ended.
fn system_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Measures processes until they have ended, and kills those that have too much.
async fn watch(group: Arc<Group>, limit: u64, over: Arc<AtomicBool>) {
    let mut pause = LOOK;
    while group.is_alive() {
        tokio::time::sleep(pause).await;
        let (leader, began) = (group.leader(), Instant::now());
        let look = tokio::task::spawn_blocking(move || exceeds(leader, limit));
        if look.await.unwrap_or(false) && group.is_alive() {
            over.store(true, Ordering::Relaxed);
            group.signal(libc::SIGKILL);
            return;
        }
        // Large processes take long to measure: most of the time is theirs.
        pause = LOOK.max(4 * began.elapsed());
    }
}

/// Whether a process and its descendants have more memory than so many bytes.
fn exceeds(pid: i32, limit: u64) -> bool {
    let mut processes = Vec::new();
    descend(pid, &mut processes);
    let sum = |measure: fn(i32) -> u64| processes.iter().copied().map(measure).fold(0, u64::saturating_add);
    // What several share counts in each, so that the first sum is no smaller than the other, and soon made.
    sum(resident) > limit && sum(proportional) > limit
}

/// Adds a process and its descendants, whichever of their threads has started them.
fn descend(pid: i32, processes: &mut Vec<i32>) {
    if processes.contains(&pid) {
        return;
    }
    processes.push(pid);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    for thread in threads {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            descend(child, processes);
        }
    }
}

/// The resident memory of a process, in bytes.
fn resident(pid: i32) -> u64 {
    counted(pid, "status", "VmRSS:").unwrap_or(0)
}

/// The same with its part alone of what it shares with others, where the system tells.
fn proportional(pid: i32) -> u64 {
    counted(pid, "smaps_rollup", "Pss:").unwrap_or_else(|| resident(pid))
}

fn counted(pid: i32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A control group of our own; it is gone when this is.
#[derive(Debug)]
struct ControlGroup {
    folder: PathBuf,
    /// The file that counts the OOM killer's kills.
    events: PathBuf,
}

impl ControlGroup {
    /// Makes a group with a limit and puts a process into it; none where this process may not.
    fn make(pid: i32, limit: u64) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        for parent in parents(&own) {
            sweep(&parent.folder);
            let folder = parent.folder.join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self { events: folder.join(parent.events), folder };
            let set = fs::write(group.folder.join(parent.limit), limit.to_string())
                .and_then(|()| fs::write(group.folder.join("cgroup.procs"), pid.to_string()));
            // What may be swapped out is no memory either; not every system counts it.
            for (file, value) in [("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", limit)] {
                let file = group.folder.join(file);
                if set.is_ok() && file.exists() {
                    let _ = fs::write(file, value.to_string());
                }
            }
            if set.is_ok() && group.events.exists() {
                return Some(group);
            }
        }
        None
    }

    fn has_killed(&self) -> bool {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // One that still holds a process which is about to end is taken away by the next sweep.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A group in which ours may be made, and the names of its files.
struct Parent {
    folder: PathBuf,
    limit: &'static str,
    events: &'static str,
}

/// This process's own groups, in both versions of the system's interface.
fn parents(own: &str) -> Vec<Parent> {
    let root = Path::new("/sys/fs/cgroup");
    let folder = |base: PathBuf, path: &str| base.join(path.trim_start_matches('/'));
    own.lines()
        .filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            match controllers {
                "" => Some(Parent {
                    folder: folder(root.to_owned(), path),
                    limit: "memory.max",
                    events: "memory.events",
                }),
                _ if controllers.split(',').any(|one| one == "memory") => Some(Parent {
                    folder: folder(root.join("memory"), path),
                    limit: "memory.limit_in_bytes",
                    events: "memory.oom_control",
                }),
                _ => None,
            }
        })
        .collect()
}

/// Takes away the groups of processes that are gone. One that is in use cannot be removed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_interfaces_name_their_folders() {
        let own = "4:memory:/a/b\n8:pids:/\n0::/user.slice/c\n";
        let folders: Vec<PathBuf> = parents(own).into_iter().map(|parent| parent.folder).collect();
        assert_eq!(
            folders,
            [PathBuf::from("/sys/fs/cgroup/memory/a/b"), PathBuf::from("/sys/fs/cgroup/user.slice/c")]
        );
    }

    #[test]
    fn memory_of_this_process_is_measured() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(exceeds(pid, 1_000_000) && !exceeds(pid, 1 << 50));
    }

    /// Runs a Python program until it says that it is ready, and asks whether it has more than so many bytes.
    fn python_exceeds(program: &str, limit: u64) -> bool {
        let mut command = Command::new("python3");
        command.args(["-c", program]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut python = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(python.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let group = Group::of(i32::try_from(python.id()).unwrap());
        let exceeds = exceeds(group.leader(), limit);
        group.signal(libc::SIGKILL);
        python.wait().unwrap();
        assert_eq!(line, "ready\n");
        exceeds
    }

    #[test]
    fn what_processes_share_is_counted_once() {
        let program = "import os, time\ndata = b'x' * 100_000_000\nfor _ in range(4):\n\
            \x20   if os.fork() == 0:\n        time.sleep(600)\nprint('ready', flush=True)\ntime.sleep(600)";
        assert!(python_exceeds(program, 90_000_000));
        assert!(!python_exceeds(program, 300_000_000));
    }

    #[test]
    fn what_any_thread_has_started_is_counted() {
        let child = "data = b'x' * 100_000_000; print('ready', flush=True); import time; time.sleep(600)";
        let program = format!(
            "import subprocess, sys, threading\n\
             child = threading.Thread(target=subprocess.run, args=([sys.executable, '-c', {child:?}],))\n\
             child.start()\nchild.join()"
        );
        assert!(python_exceeds(&program, 90_000_000));
    }

    #[tokio::test]
    async fn the_watch_ends_with_the_processes() {
        let group = Arc::new(Group::of(i32::try_from(std::process::id()).unwrap()));
        group.let_go();
        let over = Arc::new(AtomicBool::new(false));
        watch(group, 1, over.clone()).await;
        assert!(!over.load(Ordering::Relaxed));
    }
}
