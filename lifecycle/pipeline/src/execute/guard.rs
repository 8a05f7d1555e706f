//! What outlives Rondo when Rondo dies: a shell of a few lines that ends what was running.
//!
//! While a run is under way and something runs in it, the guard waits at the end of a pipe. It is told the
//! process groups that come and go. When the pipe closes with some still there, Rondo has died (`kill -9`,
//! out of memory), and the guard kills them, and whatever carries the mark of a run's work folder in its
//! environment. After an ordinary end there is nothing left to kill, and it is gone with the run.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::worktree::lock;

const SCRIPT: &str = r#"trap '' HUP INT QUIT TERM
groups=' '
while read -r sign what; do
  case $sign in
    +) groups="$groups$what " ;;
    -) groups="${groups%% $what *} ${groups#* $what }" ;;
    @) set -- "$@" "$what" ;;
  esac
done
case $groups in *[0-9]*) ;; *) exit 0 ;; esac
for group in $groups; do kill -9 -- "-$group" 2>/dev/null; done
for mark; do
  for place in $(grep -lF -- "$mark" /proc/[0-9]*/environ 2>/dev/null); do
    place=${place#/proc/}
    kill -9 "${place%/environ}" 2>/dev/null
  done
done
"#;

#[derive(Default)]
struct State {
    /// How many runs of this process are under way.
    holds: usize,
    guard: Option<Child>,
    /// What was said before there was a guard.
    marks: Vec<String>,
}

static STATE: Mutex<State> = Mutex::new(State { holds: 0, guard: None, marks: Vec::new() });

/// A run under way: while one is held, what runs is guarded.
pub struct Hold(());

impl Hold {
    /// Begins to guard; processes of steps carry this folder in their environment.
    pub fn on(work: &Path) -> Self {
        let mut state = lock(&STATE);
        state.holds += 1;
        let mark = format!("@ RONDO_STEP_FILE={}/", work.display());
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
        if let Some(mut guard) = state.guard.take() {
            drop(guard.stdin.take());
            // It has nothing to do and ends at once.
            let _ = guard.wait();
        }
    }
}

/// A process group that is guarded.
pub struct Guarded(Option<libc::pid_t>);

/// Guards a process group, where a run is under way.
pub fn guard(group: libc::pid_t) -> Guarded {
    let mut state = lock(&STATE);
    if state.holds == 0 {
        return Guarded(None);
    }
    if state.guard.is_none() {
        state.start();
    }
    state.say(&format!("+ {group}"));
    Guarded(Some(group))
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            lock(&STATE).say(&format!("- {group}"));
        }
    }
}

impl State {
    fn start(&mut self) {
        let guard = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "rondo-guard"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        // Without a shell nothing is guarded; the next run still ends what this one left.
        self.guard = guard.ok();
        for mark in self.marks.clone() {
            self.say(&mark);
        }
    }

    fn say(&mut self, line: &str) {
        if let Some(pipe) = self.guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
            // A guard that is gone guards nothing: no reason to stop.
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }
}
