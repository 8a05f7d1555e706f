//! The group of a kernel's process, as long as its id is that process's own.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::kernel::process::End;

/// A process group by the id of the process that leads it.
#[derive(Debug)]
pub struct Group {
    leader: i32,
    /// Whether the leader's exit status has yet to be taken: until then nobody else can get its id.
    alive: Mutex<bool>,
}

impl Group {
    /// The group of a process that leads it.
    pub fn of(leader: i32) -> Self {
        Self { leader, alive: Mutex::new(true) }
    }

    /// The id of the process that leads it.
    pub fn leader(&self) -> i32 {
        self.leader
    }

    /// Whether its id is still its own.
    pub fn is_alive(&self) -> bool {
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id may be another's from now on.
    pub fn let_go(&self) {
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Sends a signal to all of it; nothing where it has ended.
    pub fn signal(&self, signal: i32) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        // An id below 2 would mean ourselves or everybody.
        if *alive && self.leader > 1 {
            // SAFETY: `killpg` takes two integers and touches no memory of ours.
            unsafe {
                libc::killpg(self.leader, signal);
            }
        }
    }

    /// Blocks until the leader ends, ends what it left running, and takes its exit status.
    pub fn wait(&self) -> End {
        // Its id is still taken, so the group cannot be that of others.
        if self.wait_for_zombie() {
            self.signal(libc::SIGKILL);
        }
        self.let_go();
        let mut status = 0;
        // SAFETY: all-zero bytes are a valid `rusage`, a struct of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: both pointers are to locals that live through the call.
            let found = unsafe { libc::wait4(self.leader, &mut status, 0, &mut usage) };
            if found == self.leader {
                return End::of(Some(status), peak(&usage));
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return End::UNKNOWN;
            }
        }
    }

    /// Waits for the end without taking the exit status; whether it came.
    fn wait_for_zombie(&self) -> bool {
        let Ok(id) = libc::id_t::try_from(self.leader) else { return false };
        loop {
            // SAFETY: all-zero bytes are a valid `siginfo_t`; the pointer is to a local that lives through
            // the call.
            let failed = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, id, &mut info, libc::WEXITED | libc::WNOWAIT) != 0
            };
            if !failed || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return !failed;
            }
        }
    }
}

/// The peak of resident memory in kilobytes, in which Linux counts; macOS counts in bytes. Linux counts from the
/// start of the process, when it still had the size of the one that made it.
fn peak(usage: &libc::rusage) -> Option<u64> {
    let unit = if cfg!(target_os = "macos") { 1024 } else { 1 };
    u64::try_from(usage.ru_maxrss).ok().map(|peak| peak / unit).filter(|kilobytes| *kilobytes > 0)
}
