//! Processes that a command or a kernel has left behind: daemons that took themselves out of its process group.
//! They still carry its mark, a variable that it was given, in their environment.

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
/// process of that number; their names. What is in that process's own group has been ended with it and is not
/// named, nor is what a sandbox holds, which ends with the sandbox.
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
            killed.insert(pid);
            if group(pid) != Some(since) && !is_in_a_sandbox(pid) {
                names.push(name(pid));
            }
            // SAFETY: `kill` has no memory effects. That the number was given away between the reading and
            // now would take a whole round of the counter.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    names
}

/// Asks the processes in a sandbox to end, where a process is one (`bwrap`) and what is in it carries the mark.
/// Whether there was any. The first process in it heeds no such request.
pub fn ask_in_sandbox(mark: &str, sandbox: libc::pid_t) -> bool {
    let command = fs::read_to_string(format!("/proc/{sandbox}/comm")).unwrap_or_default();
    if command.trim() != "bwrap" {
        return false;
    }
    let mut any = false;
    for pid in candidates(sandbox) {
        if carries(pid, mark) && is_in_a_sandbox(pid) {
            any = true;
            // SAFETY: `kill` has no memory effects; see `end`.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
    any
}

/// Whether a process group has others than its leader that have not ended.
pub fn has_members(leader: libc::pid_t) -> bool {
    let lives = |pid: libc::pid_t| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
        !matches!(state, None | Some("Z" | "X"))
    };
    candidates(leader).into_iter().any(|pid| pid != leader && group(pid) == Some(leader) && lives(pid))
}

/// Whether a process has this variable in its environment.
pub fn carries(pid: libc::pid_t, mark: &str) -> bool {
    let Ok(variables) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// What is said of processes that were ended so.
pub fn told(names: &[String]) -> String {
    format!("it left running what was then ended: {}", names.join(", "))
}

/// The group that a process is in, while it is there.
fn group(pid: libc::pid_t) -> Option<libc::pid_t> {
    // SAFETY: `getpgid` takes a number and touches no memory of ours.
    let group = unsafe { libc::getpgid(pid) };
    (group > 0).then_some(group)
}

/// Whether a process counts processes apart from us.
fn is_in_a_sandbox(pid: libc::pid_t) -> bool {
    let numbers = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let theirs = numbers(&pid.to_string());
    theirs.is_some() && theirs != numbers("self")
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_left_the_group_is_named_and_all_that_is_marked_is_ended() {
        let mark = format!("RONDO_TEST_MARK=group-{}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let start = |group: i32| {
            let mut command = Command::new("sleep");
            command.arg("600").env(name, value).stdout(Stdio::null()).process_group(group);
            command.spawn().unwrap()
        };
        let mut leader = start(0);
        let leads = libc::pid_t::try_from(leader.id()).unwrap();
        let (mut with_it, mut apart) = (start(leads), start(0));
        // For a moment after its start a process has the environment of who started it.
        for child in [&leader, &with_it, &apart] {
            while !carries(libc::pid_t::try_from(child.id()).unwrap(), &mark) {
                std::thread::yield_now();
            }
        }
        assert_eq!(end(&mark, leads), [format!("sleep ({})", apart.id())]);
        for child in [&mut leader, &mut with_it, &mut apart] {
            assert!(child.wait().unwrap().code().is_none());
        }
        assert_eq!(told(&["sleep (7)".to_owned()]), "it left running what was then ended: sleep (7)");
    }
}
