//! What outlives Rondo when Rondo dies: a shell of a few lines that ends what was running.
//!
//! While a run is under way and something runs in it, the guard waits at the end of a pipe. The process groups
//! that come and go stand in a file without a name that it holds open too: so it sleeps while steps begin and
//! end. When the pipe closes with groups still there, Rondo has died (`kill -9`, out of memory), and the guard
//! kills them, and whatever carries the mark of a run's work folder in its environment. After an ordinary end
//! there is nothing left to kill, and it is gone with the run.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::worktree::lock;

/// Its standard error is the file of groups.
const SCRIPT: &str = r#"exec 3<&2 2>/dev/null
trap '' HUP INT QUIT TERM
while read -r mark; do set -- "$@" "$mark"; done
groups=$(cat <&3)
case $groups in *[0-9]*) ;; *) exit 0 ;; esac
for group in $groups; do kill -s KILL -- "-$group"; done
for mark; do
  for place in $(grep -lF -- "$mark" /proc/[0-9]*/environ); do
    place=${place#/proc/}
    kill -s KILL "${place%/environ}"
  done
done
"#;

/// How much of the file of groups one takes, in bytes: a number, filled up with blanks, and a line's end.
const LINE: usize = 12;

struct State {
    /// How many runs of this process are under way.
    holds: usize,
    guard: Option<Child>,
    /// What was said before there was a guard.
    marks: Vec<String>,
    /// What runs: a line for each group, blank where nothing does any more.
    groups: Option<File>,
    /// Which lines are blank.
    blank: Vec<usize>,
    lines: usize,
}

static STATE: Mutex<State> =
    Mutex::new(State { holds: 0, guard: None, marks: Vec::new(), groups: None, blank: Vec::new(), lines: 0 });

/// A run under way: while one is held, what runs is guarded.
pub struct Hold(());

impl Hold {
    /// Begins to guard; processes of steps carry this folder in their environment.
    pub fn on(work: &Path) -> Self {
        let mut state = lock(&STATE);
        state.holds += 1;
        let mark = format!("RONDO_STEP_FILE={}/", work.display());
        if !mark.contains('\n') {
            state.say(&mark);
            state.marks.push(mark);
        }
        Self(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = lock(&STATE);
        state.holds = state.holds.saturating_sub(1);
        if state.holds > 0 {
            return;
        }
        state.marks.clear();
        state.groups = None;
        if let Some(mut guard) = state.guard.take() {
            drop(guard.stdin.take());
            // It has nothing to do and ends at once.
            let _ = guard.wait();
        }
    }
}

/// A process group that is guarded, by its line in the file of groups.
pub struct Guarded(Option<usize>);

/// Guards a process group, where a run is under way.
pub fn guard(group: libc::pid_t) -> Guarded {
    let mut state = lock(&STATE);
    if state.holds == 0 {
        return Guarded(None);
    }
    if state.guard.is_none() {
        state.start();
    }
    let line = state.blank.pop().unwrap_or_else(|| {
        state.lines += 1;
        state.lines - 1
    });
    state.write(line, &group.to_string());
    Guarded(Some(line))
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(line) = self.0 {
            let mut state = lock(&STATE);
            state.write(line, "");
            state.blank.push(line);
        }
    }
}

impl State {
    fn start(&mut self) {
        let Ok(groups) = tempfile::tempfile() else { return };
        let Ok(shared) = groups.try_clone() else { return };
        self.groups = Some(groups);
        // A process of an earlier run may still have its line.
        (0..self.lines).for_each(|line| self.write(line, ""));
        let guard = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "rondo-guard"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(shared)
            .process_group(0)
            .spawn();
        // Without a shell nothing is guarded; the next run still ends what this one left.
        self.guard = guard.ok();
        for mark in self.marks.clone() {
            self.say(&mark);
        }
    }

    /// Writes a group, or nothing, where it has its line.
    fn write(&self, line: usize, group: &str) {
        let (text, place) = (format!("{group:<width$}\n", width = LINE - 1), line.saturating_mul(LINE));
        if let Some(groups) = &self.groups {
            // A group that is not written is only not guarded.
            let _ = groups.write_all_at(text.as_bytes(), place as u64);
        }
    }

    fn say(&mut self, line: &str) {
        if let Some(pipe) = self.guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
            // A guard that is gone guards nothing: no reason to stop.
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_has_no_mark_is_ended_by_its_group_when_the_pipe_closes() {
        // The number of its line is not the first, and one before it is blank.
        let mut state =
            State { holds: 1, guard: None, marks: Vec::new(), groups: None, blank: Vec::new(), lines: 1 };
        state.start();
        let mut left = Command::new("sleep").arg("1000").env_clear().process_group(0).spawn().unwrap();
        state.write(1, &left.id().to_string());
        let mut guard = state.guard.take().unwrap();
        drop(guard.stdin.take());
        assert!(guard.wait().unwrap().success());
        assert_eq!(left.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
