//! What an isolated process asks the kernel to open, seen while it asks.
//!
//! Landlock refuses and tells nobody what; a program that goes on without a file that it may not read leaves no
//! word of it. So the process installs a filter (seccomp's user notification) that lets each opening of a file
//! wait for a thread here, which reads the path, lets the kernel go on and notes a file of the project that is
//! there and not declared. It holds nothing back: that is the rules' business, and a path that changes between
//! this look and the kernel's own is only noted wrongly. Where such a filter cannot be had, nothing is seen, and
//! [`super::undeclared`] still reads what the process said.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::undeclared::normal;
use super::{Surroundings, parcel};

/// So many are noted.
const MOST: usize = 1000;
/// What programs look for by themselves, and nothing depends on: their own caches, and what Git knows.
const PASSED: [&str; 2] = ["__pycache__", ".git"];
/// The longest path that the kernel takes, and no page is smaller.
const PATH: usize = 4096;

/// The architecture whose calls have the numbers below; those of another are not looked at.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: u32 = 0;

/// The calls that open a file, and which of their arguments are folder, path and flags.
const OPENING: &[(libc::c_long, Option<usize>, usize, Option<usize>)] = &[
    (libc::SYS_openat, Some(0), 1, Some(2)),
    (libc::SYS_openat2, Some(0), 1, None),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, None, 0, Some(1)),
];

/// Undeclared files of a project that its steps have asked for, relative to it.
pub type Seen = Arc<Mutex<BTreeSet<String>>>;

/// Has what the process of a command and its children open looked at, and noted in `seen`.
///
/// # Errors
/// When the system has no room for a pair of sockets or a thread.
pub(super) fn watch(command: &mut Command, surroundings: &Surroundings, seen: &Seen) -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    let program = program();
    // SAFETY: the closure makes system calls alone and allocates nothing; all that it uses is its own.
    unsafe {
        command.pre_exec(move || {
            if let Some(listener) = install(&program) {
                // Closed by the exec that follows. Where it cannot be sent, every opening of a file fails at
                // once, and with it the process.
                let _ = parcel::send(there.as_raw_fd(), listener);
            }
            Ok(())
        });
    }
    let judge = Judge::new(surroundings, seen.clone());
    thread::Builder::new().name("step-watch".to_owned()).spawn(move || {
        if let Ok(listener) = parcel::receive(here.as_raw_fd()) {
            answer(&listener, &judge);
        }
    })?;
    Ok(())
}

/// The filter: these calls ask, all others go on.
fn program() -> Vec<libc::sock_filter> {
    let line = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: usize| line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32, 0, 0);
    let equal = |k: u32, jt, jf| line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let end = |k: u32| line(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    let calls = OPENING.len() as u8;
    let mut program = vec![
        load(mem::offset_of!(libc::seccomp_data, arch)),
        equal(ARCHITECTURE, 0, calls + 1),
        load(mem::offset_of!(libc::seccomp_data, nr)),
    ];
    program.extend((0_u8..).zip(OPENING).map(|(at, (call, ..))| equal(*call as u32, calls - at, 0)));
    program.extend([end(libc::SECCOMP_RET_ALLOW), end(libc::SECCOMP_RET_USER_NOTIF)]);
    program
}

/// Binds the calling process to the filter; the end at which its questions are heard.
fn install(program: &[libc::sock_filter]) -> Option<RawFd> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // Without the second flag, which Linux 5.19 brought, a signal may make a call ask twice.
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    for flags in [listen | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, listen] {
        // SAFETY: the program and its length are those of a slice that outlives the call.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        if listener >= 0 {
            return RawFd::try_from(listener).ok();
        }
    }
    None
}

/// Answers until nobody is left who could ask.
fn answer(listener: &OwnedFd, judge: &Judge) {
    loop {
        let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, our own.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        if polled < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        if polled < 0 || ready.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: the kernel fills a structure of zeros.
        let mut asked: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the structure is the one that this request wants.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0 {
            match io::Error::last_os_error().raw_os_error() {
                // Who asked was killed, or a signal came.
                Some(libc::ENOENT | libc::EINTR) => continue,
                _ => return,
            }
        }
        let name = opened(&asked).and_then(|place| judge.undeclared(&place));
        // Noted before who asked goes on, and so before it can end; unless it was killed, and what was read of
        // it may have been another's.
        // SAFETY: the request wants a pointer to the number alone.
        let is_there = || unsafe {
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id) == 0
        };
        if let Some(name) = name.filter(|_| is_there()) {
            judge.note(name);
        }
        let go_on = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        // SAFETY: the structure is the one that this request wants. Who asked may be gone, which is no matter.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const go_on) };
    }
}

/// The path that a process wants to open for reading.
fn opened(asked: &libc::seccomp_notif) -> Option<PathBuf> {
    let call = libc::c_long::from(asked.data.nr);
    let (_, folder, path, flags) = OPENING.iter().find(|(number, ..)| *number == call)?;
    let argument = |at: usize| asked.data.args.get(at).copied();
    let written =
        flags.and_then(argument).is_some_and(|flags| flags as i32 & libc::O_ACCMODE == libc::O_WRONLY);
    if written {
        return None;
    }
    let process = libc::pid_t::try_from(asked.pid).ok()?;
    let path = PathBuf::from(OsString::from_vec(text_of(process, argument(*path)?)?));
    if path.is_absolute() {
        return Some(path);
    }
    let base = match folder.and_then(argument).map(|folder| folder as i32) {
        None | Some(libc::AT_FDCWD) => fs::read_link(format!("/proc/{process}/cwd")).ok()?,
        Some(folder) => fs::read_link(format!("/proc/{process}/fd/{folder}")).ok()?,
    };
    Some(base.join(path))
}

/// A text that ends with a zero, of another process.
fn text_of(process: libc::pid_t, address: u64) -> Option<Vec<u8>> {
    let address = usize::try_from(address).ok()?;
    let mut text = vec![0; PATH];
    let here = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: PATH };
    // What lies in the next page may not be there.
    let first = PATH - address % PATH;
    let there = [(address, first), (address.checked_add(first)?, PATH - first)]
        .map(|(at, length)| libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length });
    // SAFETY: it writes to our own buffer, of the length that is said, what it reads of another process.
    let read = unsafe { libc::process_vm_readv(process, &raw const here, 1, there.as_ptr(), 2, 0) };
    text.truncate(usize::try_from(read).ok()?);
    text.truncate(text.iter().position(|byte| *byte == 0)?);
    Some(text)
}

/// Says which of the files are undeclared ones of the project.
struct Judge {
    surroundings: Surroundings,
    /// The project's folder, as it is called and as it is.
    project: [PathBuf; 2],
    seen: Seen,
}

impl Judge {
    fn new(surroundings: &Surroundings, seen: Seen) -> Self {
        let called = surroundings.project.clone();
        let real = called.canonicalize().unwrap_or_else(|_| called.clone());
        Self { surroundings: surroundings.clone(), project: [called, real], seen }
    }

    fn note(&self, name: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MOST {
            seen.insert(name);
        }
    }

    fn undeclared(&self, path: &Path) -> Option<String> {
        let path = normal(path)?;
        let name = self.project.iter().find_map(|project| path.strip_prefix(project).ok())?;
        let place = self.surroundings.project.join(name);
        let is_passed = name.iter().any(|part| PASSED.iter().any(|passed| part == *passed));
        let is_known = || {
            self.surroundings.knows(&place)
                || place.canonicalize().is_ok_and(|real| self.surroundings.knows(&real))
        };
        (!is_passed && place.is_file() && !is_known()).then(|| name.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_open_in_vain_is_seen_and_what_they_declare_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("data/__pycache__")).unwrap();
        for file in ["data/a", "data/b", "data/c", "data/__pycache__/x.pyc", "known", "written"] {
            fs::write(root.join(file), "x").unwrap();
        }
        let surroundings = Surroundings {
            project: root.clone(),
            folder: root.clone(),
            readable: vec![root.join("known")],
            ..Surroundings::default()
        };
        let seen = Seen::default();
        let mut command = Command::new("/bin/sh");
        let script = "cat data/a known data/none data/__pycache__/x.pyc; cd data && (cat ../data/b); \
                      cat \"$1/data/c\"; : > ../written; cat /etc/passwd";
        command.args(["-c", script, "sh"]).arg(&root).current_dir(&root).stdout(std::process::Stdio::null());
        // SAFETY: one system call. It is what the rules of the kernel ask for too.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                Ok(())
            });
        }
        watch(&mut command, &surroundings, &seen).unwrap();
        command.status().unwrap();
        let seen = seen.lock().unwrap().iter().cloned().collect::<Vec<_>>();
        if seen.is_empty() {
            eprintln!("skipped: no filter can be installed here");
            return;
        }
        assert_eq!(seen, ["data/a", "data/b", "data/c"]);
    }
}
