//! What an isolated process asks the kernel to open, make, rename and remove, seen while it asks.
//!
//! Landlock refuses and tells nobody what, and in a sandbox such a file is not even there; a program that goes on
//! without a file that it may not read leaves no word of it. So the process installs a filter (seccomp's user
//! notification) that lets each such call wait for a thread here, which reads the path, keeps it where it lies in
//! the project and lets the kernel go on.
//! Which of the paths are files that are there and not declared is looked at when the step has ended, so that no
//! process waits for that. Nothing is held back here: that is the rules' business, and a path that changes between
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
use super::{Refused, Surroundings, parcel};

/// So many different paths are kept of a step.
const MOST: usize = 100_000;
/// What programs look for by themselves, and nothing depends on: their own caches, and what Git knows.
const PASSED: [&str; 2] = ["__pycache__", ".git"];
/// Rondo's own folder in a project: a step's temporary folders are in it.
const OWN: &str = ".rondo";
/// The longest path that the kernel takes, and no page is smaller.
const PATH: usize = 4096;

/// The architecture whose calls have the numbers below; those of another are not looked at.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: u32 = 0;

/// Calls are heard. Without the second flag older kernels slow the whole process down, for filters that keep
/// secrets.
const LISTEN: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
/// A signal does not break off a call that has been heard, since Linux 5.19. Before, and until it is heard, the call
/// begins again, or fails with `EINTR` where the process wants it so.
const UNBROKEN: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// What a call does to a path that it is given.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Opens it, as the flags of this argument say.
    Opens(Option<usize>),
    /// Makes what stands there then.
    Makes,
    /// Takes away what stands there. Where nothing does, the call comes to nothing.
    Removes,
}

/// A path among the arguments of a call: the folder that it starts from, and the path.
type Named = (Option<usize>, usize, Does);

/// The calls that are heard, and the paths that they are given. What becomes of the owner, the times and the
/// permissions of a file is not looked at, nor is its length: it is opened for nearly all of that.
const CALLS: &[(libc::c_long, &[Named])] = &[
    (libc::SYS_openat, &[(Some(0), 1, Does::Opens(Some(2)))]),
    (libc::SYS_openat2, &[(Some(0), 1, Does::Opens(None))]),
    (libc::SYS_mkdirat, &[(Some(0), 1, Does::Makes)]),
    (libc::SYS_unlinkat, &[(Some(0), 1, Does::Removes)]),
    (libc::SYS_renameat, &[(Some(0), 1, Does::Removes), (Some(2), 3, Does::Makes)]),
    (libc::SYS_renameat2, &[(Some(0), 1, Does::Removes), (Some(2), 3, Does::Makes)]),
    (libc::SYS_linkat, &[(Some(2), 3, Does::Makes)]),
    (libc::SYS_symlinkat, &[(Some(1), 2, Does::Makes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[(None, 0, Does::Opens(Some(1)))]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, &[(None, 0, Does::Makes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, &[(None, 0, Does::Makes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, &[(None, 0, Does::Removes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, &[(None, 0, Does::Removes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, &[(None, 0, Does::Removes), (None, 1, Does::Makes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, &[(None, 1, Does::Makes)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, &[(None, 1, Does::Makes)]),
];

/// The paths in a project that processes have asked for.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    read: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
    removed: BTreeSet<PathBuf>,
}

impl Asked {
    fn keep(&mut self, asks: Asks) {
        let sets = [
            (asks.reads, &mut self.read),
            (asks.writes, &mut self.written),
            (asks.removes, &mut self.removed),
        ];
        for (_, set) in sets.into_iter().filter(|(wanted, set)| *wanted && set.len() < MOST) {
            set.insert(asks.path.clone());
        }
    }
}

/// What one call asks of one path.
#[derive(Default)]
struct Asks {
    path: PathBuf,
    reads: bool,
    writes: bool,
    removes: bool,
}

impl Seen {
    /// What of it is not declared: files that are there and were to be read, and what was to be written beside the
    /// outputs.
    pub(super) fn undeclared(&self, surroundings: &Surroundings) -> Refused {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |place: &Path| {
            let real = place.canonicalize();
            let is_tool = |real: &PathBuf| surroundings.tools.iter().any(|tool| real.starts_with(tool));
            surroundings.knows(place) || real.is_ok_and(|real| surroundings.knows(&real) || is_tool(&real))
        };
        let undeclared = |name: &&PathBuf| {
            let place = surroundings.project.join(name);
            place.is_file() && !is_known(&place)
        };
        // A folder that is there already is asked for by whoever wants to be sure of it.
        let unwritten = |name: &&PathBuf| {
            let place = surroundings.project.join(name);
            !name.starts_with(OWN) && !place.is_dir() && !surroundings.may_write(&place)
        };
        // What could be taken away is not there any more.
        let unremoved = |name: &&PathBuf| {
            let place = surroundings.project.join(name);
            !name.starts_with(OWN) && place.symlink_metadata().is_ok() && !surroundings.may_write(&place)
        };
        let text = |name: &PathBuf| name.to_string_lossy().into_owned();
        let written = asked.written.iter().filter(unwritten);
        let written: BTreeSet<&PathBuf> = written.chain(asked.removed.iter().filter(unremoved)).collect();
        let written: Vec<String> = written.into_iter().map(text).collect();
        let read = asked.read.iter().filter(undeclared).map(text).filter(|name| !written.contains(name));
        Refused { read: read.collect(), written }
    }
}

/// Has what the process of a command and its children open looked at, and kept in `seen`.
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
    let called = surroundings.project.clone();
    let real = called.canonicalize().unwrap_or_else(|_| called.clone());
    let (project, seen) = ([called, real], seen.clone());
    thread::Builder::new().name("step-watch".to_owned()).spawn(move || {
        undisturbed();
        if let Ok(listener) = parcel::receive(here.as_raw_fd()) {
            answer(&listener, &project, &seen);
        }
    })?;
    Ok(())
}

/// The same for a process that is to get no rights by what it starts: filters are for such alone.
///
/// # Errors
/// As [`watch`].
pub(super) fn humbly(command: &mut Command, surroundings: &Surroundings, seen: &Seen) -> io::Result<()> {
    humble(command);
    watch(command, surroundings, seen)
}

/// Has a process do with less, which a filter asks for as the rules of the kernel do.
fn humble(command: &mut Command) {
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| {
            // Where it cannot be had, no filter is installed and nothing is seen.
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            Ok(())
        });
    }
}

/// Has signals taken by other threads: what is waited for here does not begin again by itself.
fn undisturbed() {
    // SAFETY: a set of signals of this stack, filled before it is used.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// The filter: these calls ask, all others go on.
fn program() -> Vec<libc::sock_filter> {
    let line = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: usize| line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32, 0, 0);
    let equal = |k: u32, jt, jf| line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let end = |k: u32| line(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    let calls = CALLS.len() as u8;
    let mut program = vec![
        load(mem::offset_of!(libc::seccomp_data, arch)),
        equal(ARCHITECTURE, 0, calls + 1),
        load(mem::offset_of!(libc::seccomp_data, nr)),
    ];
    program.extend((0_u8..).zip(CALLS).map(|(at, (call, _))| equal(*call as u32, calls - at, 0)));
    program.extend([end(libc::SECCOMP_RET_ALLOW), end(libc::SECCOMP_RET_USER_NOTIF)]);
    program
}

/// Binds the calling process to the filter; the end at which its questions are heard.
fn install(program: &[libc::sock_filter]) -> Option<RawFd> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    for flags in [LISTEN | UNBROKEN, LISTEN] {
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
fn answer(listener: &OwnedFd, project: &[PathBuf], seen: &Seen) {
    let listener = listener.as_raw_fd();
    loop {
        let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, our own.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        if ready.revents & libc::POLLIN == 0 {
            // As long as there is somebody, an end here would have every file refused.
            if polled > 0 && ready.revents & (libc::POLLHUP | libc::POLLNVAL) != 0 {
                return;
            }
            continue;
        }
        // SAFETY: the kernel fills a structure of zeros.
        let mut asked: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the structure is the one that this request wants.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0 {
            // Who asked was killed.
            continue;
        }
        let named = asks(&asked).into_iter().filter_map(|asks| {
            let path = normal(&asks.path)?;
            let name = project.iter().find_map(|project| path.strip_prefix(project).ok())?;
            let is_passed = name.iter().any(|part| PASSED.iter().any(|passed| part == *passed));
            (!is_passed).then(|| Asks { path: name.to_owned(), ..asks })
        });
        let named: Vec<Asks> = named.collect();
        // Kept before who asked goes on, and so before it can end; unless it was killed, and what was read of
        // it may have been another's.
        // SAFETY: the request wants a pointer to the number alone.
        let is_there =
            || unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id) == 0 };
        if !named.is_empty() && is_there() {
            let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            named.into_iter().for_each(|asks| seen.keep(asks));
        }
        let_go(listener, asked.id);
    }
}

/// Lets the kernel go on with a call that was asked about.
fn let_go(listener: RawFd, id: u64) {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the structure is the one that this request wants. Who asked may be gone, which is no matter.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}

/// The paths that a process names in a call, and for what.
fn asks(asked: &libc::seccomp_notif) -> Vec<Asks> {
    let call = libc::c_long::from(asked.data.nr);
    let Some((_, named)) = CALLS.iter().find(|(number, _)| *number == call) else { return Vec::new() };
    let argument = |at: usize| asked.data.args.get(at).copied();
    let mut found = Vec::new();
    for (folder, path, does) in *named {
        let Some(path) = argument(*path).and_then(|path| place(asked, folder.and_then(argument), path))
        else {
            continue;
        };
        match does {
            Does::Opens(flags) => {
                let flags = flags.and_then(argument).unwrap_or_default() as i32;
                let access = flags & libc::O_ACCMODE;
                let (reads, writes) = (access != libc::O_WRONLY, access != libc::O_RDONLY);
                if flags & libc::O_PATH == 0 {
                    let writes = writes || flags & libc::O_CREAT != 0;
                    found.push(Asks { path, reads, writes, ..Asks::default() });
                }
            }
            Does::Makes => found.push(Asks { path, writes: true, ..Asks::default() }),
            Does::Removes if path.symlink_metadata().is_err() => return Vec::new(),
            Does::Removes => found.push(Asks { path, removes: true, ..Asks::default() }),
        }
    }
    found
}

/// Where a path leads that a process names in a call, from the folder of this number or its own.
fn place(asked: &libc::seccomp_notif, folder: Option<u64>, path: u64) -> Option<PathBuf> {
    let process = libc::pid_t::try_from(asked.pid).ok()?;
    let path = PathBuf::from(OsString::from_vec(text_of(process, path)?));
    if path.is_absolute() {
        return Some(path);
    }
    let base = match folder.map(|folder| folder as i32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn can_install() -> bool {
        let mut command = Command::new("/bin/true");
        humble(&mut command);
        let program = program();
        // SAFETY: one system call. Nobody hears this process: it ends because it cannot open its libraries.
        unsafe {
            command.pre_exec(move || install(&program).map(drop).ok_or_else(|| io::Error::other("none")))
        };
        command.stderr(std::process::Stdio::null()).status().is_ok()
    }

    #[test]
    fn what_processes_open_in_vain_is_seen_and_what_they_declare_is_not() {
        if !can_install() {
            eprintln!("skipped: no filter can be installed here");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("data/__pycache__")).unwrap();
        fs::create_dir(root.join("data/out")).unwrap();
        for file in ["data/a", "data/b", "data/c", "data/__pycache__/x.pyc", "known", "written"] {
            fs::write(root.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("data/tool")).unwrap();
        let surroundings = Surroundings {
            project: root.clone(),
            folder: root.clone(),
            readable: vec![root.join("known")],
            writable: vec![root.join("data/out")],
            tools: vec!["/etc".into()],
            ..Surroundings::default()
        };
        let seen = Seen::default();
        let mut command = Command::new("/bin/sh");
        let script = "cat data/a data/tool known data/none data/__pycache__/x.pyc; cd data && (cat ../data/b); \
                      cat \"$1/data/c\"; : > ../written; : >> ../known; mkdir new; mkdir ../data; : > out/x; \
                      cat /etc/passwd";
        command.args(["-c", script, "sh"]).arg(&root).current_dir(&root).stdout(std::process::Stdio::null());
        humbly(&mut command, &surroundings, &seen).unwrap();
        command.status().unwrap();
        // What is made here stands for what could not be made: nothing of it is there.
        fs::remove_dir(root.join("data/new")).unwrap();
        let refused = seen.undeclared(&surroundings);
        assert_eq!(refused.read, ["data/a", "data/b", "data/c"]);
        assert_eq!(refused.written, ["data/new", "known", "written"]);
    }

    /// What a script in a project is refused, where the files and folders are that it finds there; nothing where no
    /// filter can be had. Nothing is held back: `undone` puts back what a rule would have kept.
    fn refused(files: &[&str], script: &str, undone: impl FnOnce(&Path)) -> Option<Vec<String>> {
        if !can_install() {
            eprintln!("skipped: no filter can be installed here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("out")).unwrap();
        for file in files {
            fs::write(root.join(file), "x").unwrap();
        }
        let surroundings = Surroundings {
            project: root.clone(),
            folder: root.clone(),
            writable: vec![root.join("out")],
            ..Surroundings::default()
        };
        let (seen, mut command) = (Seen::default(), Command::new("/bin/sh"));
        command.args(["-c", script]).current_dir(&root).stderr(std::process::Stdio::null());
        humbly(&mut command, &surroundings, &seen).unwrap();
        command.status().unwrap();
        undone(&root);
        Some(seen.undeclared(&surroundings).written)
    }

    #[test]
    fn what_processes_rename_remove_and_link_in_vain_is_seen() {
        let files = ["from", "gone", "kept", "out/a", "out/b"];
        let script = "mv from to; rm gone; rm out/a; mv out/b out/c; ln -s kept soft; ln kept hard; rm -f none; \
                      mv none nowhere; mkdir out/d; rmdir out/d; rm -r kept";
        let undone = |root: &Path| {
            for file in ["from", "gone"] {
                fs::write(root.join(file), "x").unwrap();
            }
            for file in ["to", "soft", "hard"] {
                fs::remove_file(root.join(file)).unwrap();
            }
        };
        if let Some(written) = refused(&files, script, undone) {
            assert_eq!(written, ["from", "gone", "hard", "soft", "to"]);
        }
    }

    /// Whether this kernel knows flags of a filter: only then it looks for the filter that is not there.
    fn knows(flags: libc::c_ulong) -> bool {
        let nothing = std::ptr::null::<libc::sock_fprog>();
        // SAFETY: without a filter the call does nothing.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, nothing) };
        io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
    }

    /// A handler that only breaks off what waits.
    extern "C" fn nothing(_: libc::c_int) {}

    #[test]
    fn a_signal_does_not_break_off_an_opening_that_was_heard() {
        if !can_install() || !knows(LISTEN | UNBROKEN) {
            eprintln!("skipped: this kernel breaks off what waits");
            return;
        }
        let (here, there) = UnixStream::pair().unwrap();
        let program = program();
        let mut command = Command::new("/bin/true");
        humble(&mut command);
        // SAFETY: system calls alone. The process says how it went, and never becomes `true`.
        unsafe {
            command.pre_exec(move || {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = nothing as *const () as usize;
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
                let Some(listener) = install(&program) else { libc::_exit(255) };
                let sent = parcel::send(there.as_raw_fd(), listener);
                let opened = sent.is_ok() && libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) >= 0;
                libc::_exit(if opened { 0 } else { *libc::__errno_location() })
            });
        }
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                let listener = parcel::receive(here.as_raw_fd()).unwrap();
                // SAFETY: as in `answer`; the process waits for what it asked, and for nothing else.
                let asked = unsafe {
                    let mut asked: libc::seccomp_notif = mem::zeroed();
                    let listener = listener.as_raw_fd();
                    assert_eq!(libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked), 0);
                    libc::kill(asked.pid as libc::pid_t, libc::SIGUSR1);
                    asked
                };
                // Long enough for a call that is broken off to come back, were it so.
                thread::sleep(std::time::Duration::from_millis(50));
                let_go(listener.as_raw_fd(), asked.id);
                answer(&listener, &[], &Seen::default());
            });
            // Comes back when the process has ended.
            let ended = command.spawn().unwrap().wait().unwrap();
            drop(command);
            ended
        });
        assert_eq!(ended.code(), Some(0), "the error of the system");
    }
}
