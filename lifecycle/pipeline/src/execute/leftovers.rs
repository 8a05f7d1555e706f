//! Processes that a step has left behind: daemons that took themselves out of its process group. They still
//! carry the step's mark in their environment.

use std::collections::HashSet;
use std::fs;

/// How many numbers of processes are looked at one by one; where more were given away since, the system's
/// list is read.
const FEW: i32 = 2048;

/// How often it is looked again for children of what was just killed.
const ROUNDS: usize = 5;

/// So few are looked at at once; more are looked at by a thread that may block.
const AT_ONCE: i32 = 64;

/// As [`end`], for who must not block.
pub async fn ended(mark: String, since: libc::pid_t) -> Vec<String> {
    if let Some(newest) = newest().filter(|newest| *newest >= since && newest - since <= AT_ONCE) {
        // Mostly there is nothing.
        let any = (since..=newest).any(|pid| carries(pid, &mark));
        return if any { end(&mark, since) } else { Vec::new() };
    }
    tokio::task::spawn_blocking(move || end(&mark, since)).await.unwrap_or_default()
}

/// Kills every process that has this variable (`NAME=value`) in its environment and was started since the
/// process of that number; their names.
pub fn end(mark: &str, since: libc::pid_t) -> Vec<String> {
    let mut killed = HashSet::new();
    let mut names = Vec::new();
    for _ in 0..ROUNDS {
        let found: Vec<libc::pid_t> = candidates(since)
            .into_iter()
            .filter(|pid| !killed.contains(pid) && carries(*pid, mark))
            .collect();
        if found.is_empty() {
            break;
        }
        for pid in found {
            names.push(name(pid));
            killed.insert(pid);
            // SAFETY: `kill` has no memory effects. That the number was given away between the reading and
            // now would take a whole round of the counter.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    names
}

/// Whether a process has this variable in its environment.
pub fn carries(pid: libc::pid_t, mark: &str) -> bool {
    let Ok(variables) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn name(pid: libc::pid_t) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

fn candidates(since: libc::pid_t) -> Vec<libc::pid_t> {
    match newest() {
        Some(newest) if newest >= since && newest - since <= FEW => (since..=newest).collect(),
        Some(_) | None => all(),
    }
}

/// The number that was given away last.
fn newest() -> Option<libc::pid_t> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().nth(4)?.parse().ok()
}

/// All processes; none where the system does not show them.
pub fn all() -> Vec<libc::pid_t> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(pid).filter(|pid| *pid > 1).collect()
}
