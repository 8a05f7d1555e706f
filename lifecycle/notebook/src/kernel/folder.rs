//! The folder of a kernel's sockets, and what becomes of it when this process is killed.
//!
//! A folder is locked while the process that made it lives; the lock goes with the process, however it ends.
//! Who makes the first folder of a process takes away those that have no lock any more, and ends the kernel
//! that may still run there, with what it has started: nobody will ever speak to it again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rondo_process::leftovers;
use tempfile::TempDir;

/// What the folders' names begin with.
const PREFIX: &str = "rondo-kernel-";
/// The variable that holds it for the kernel and all that it starts.
pub(super) const VARIABLE: &str = "RONDO_KERNEL";
/// A folder that was made so recently may not be locked yet.
const YOUNG: Duration = Duration::from_secs(10);

/// A folder that only its owner can enter, with a short path where there is one.
#[derive(Debug)]
pub struct PrivateFolder {
    folder: TempDir,
    /// Held for as long as the folder is used.
    _lock: File,
}

impl PrivateFolder {
    /// Makes one.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn make() -> io::Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(|| sweep(Path::new("/tmp")));
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).rand_bytes(8).permissions(fs::Permissions::from_mode(0o700));
        let folder = builder.tempdir_in("/tmp").or_else(|_| builder.tempdir())?;
        let lock = File::create(folder.path().join("lock"))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The variable by which what its kernel leaves running is known.
    pub fn mark(&self) -> (String, String) {
        (VARIABLE.to_owned(), self.path().to_string_lossy().into_owned())
    }

    /// Notes the process that uses it. Without the note it is only not ended by a sweep.
    pub fn belongs_to(&self, pid: i32) {
        let _ = fs::write(self.path().join("pid"), pid.to_string());
    }
}

/// Takes away what killed processes left in a folder.
fn sweep(parent: &Path) {
    // SAFETY: `geteuid` has no arguments and cannot fail.
    let me = unsafe { libc::geteuid() };
    let ours = |path: &PathBuf| {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        named && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == me)
    };
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    for folder in entries.map(|entry| entry.path()).filter(ours) {
        if is_left(&folder) {
            end_kernel(&folder);
            leftovers::end(&format!("{VARIABLE}={}", folder.display()), 0);
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Whether nobody holds a folder's lock.
fn is_left(folder: &Path) -> bool {
    let young = fs::metadata(folder)
        .and_then(|found| found.modified())
        .is_ok_and(|made| made.elapsed().is_ok_and(|age| age < YOUNG));
    match File::open(folder.join("lock")) {
        Ok(lock) => !young && lock.try_lock().is_ok(),
        Err(_) => !young,
    }
}

/// Ends the kernel of a folder, if it is surely that: its command line or environment names the folder.
fn end_kernel(folder: &Path) {
    let text = fs::read_to_string(folder.join("pid")).unwrap_or_default();
    let Some(pid) = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1) else { return };
    let name = folder.to_string_lossy();
    let names = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&*name)
    };
    if names("cmdline") || names("environ") {
        // SAFETY: `killpg` takes two integers and touches no memory of ours.
        unsafe {
            libc::killpg(pid, libc::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn old(folder: &Path) {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        File::open(folder).unwrap().set_modified(long_ago).unwrap();
    }

    #[test]
    fn what_nobody_holds_is_taken_away_with_its_kernel_and_the_rest_stays() {
        let parent = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let folder = parent.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("lock"), "").unwrap();
            folder
        };
        let (left, held, other) = (made("left"), made("held"), parent.path().join("other"));
        fs::create_dir(&other).unwrap();
        let mut kernel = Command::new("/bin/sh");
        kernel.args(["-c", "sleep 600; :"]).arg(&left).process_group(0).stdout(Stdio::null());
        let mut kernel = kernel.spawn().unwrap();
        let mut daemon = Command::new("sleep");
        let mut daemon = daemon.arg("600").env(VARIABLE, &left).process_group(0).spawn().unwrap();
        // For a moment after its start a process has neither command line nor environment.
        for known in [format!("{}/cmdline", kernel.id()), format!("{}/environ", daemon.id())] {
            while fs::read(format!("/proc/{known}")).unwrap().is_empty() {
                std::thread::yield_now();
            }
        }
        fs::write(left.join("pid"), kernel.id().to_string()).unwrap();
        let lock = File::open(held.join("lock")).unwrap();
        lock.lock().unwrap();
        let young = made("young");
        [&left, &held, &other].into_iter().for_each(|folder| old(folder));
        sweep(parent.path());
        assert!(!left.exists() && held.exists() && other.exists() && young.exists());
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(kernel.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(daemon.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
