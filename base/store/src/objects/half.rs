//! What is half put into a work tree: a file or folder under a name of its own beside its place, so that a
//! process that is killed leaves it there, and nothing under the name that counts.

use std::fs;
use std::path::{Path, PathBuf};

/// The name beside a place under which it is made: `.<name>.<process>.new`.
pub(super) fn sibling(place: &Path) -> PathBuf {
    let name = place.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    place.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// The process that makes or made what has such a name; nothing for any other name.
pub fn half_made(name: &str) -> Option<i32> {
    let (stem, process) = name.strip_prefix('.')?.strip_suffix(".new")?.rsplit_once('.')?;
    let plain = process.bytes().all(|byte| byte.is_ascii_digit()) && !process.starts_with('0');
    process.parse().ok().filter(|_| plain && !stem.is_empty())
}

/// Removes what processes that are no more have left half made in a folder.
pub fn sweep_half_made(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(half_made) else { continue };
        if is_gone(process) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}

fn is_gone(process: i32) -> bool {
    // SAFETY: signal 0 sends nothing; it only tells whether there is such a process.
    let missed = unsafe { libc::kill(process, 0) } != 0;
    missed && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_have_left_goes() {
        assert_eq!(half_made(".a.b.12.new"), Some(12));
        for name in
            ["a.12.new", ".a.new", ".12.new", "..12.new", ".a.-1.new", ".a.+1.new", ".a.0.new", ".a.1.old"]
        {
            assert_eq!(half_made(name), None, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = folder.path().join(format!(".a.{}.new", child.id()));
        let dead_folder = folder.path().join(format!(".b.{}.new", child.id()));
        let mine = sibling(&folder.path().join("a"));
        let other = folder.path().join(".a.new");
        fs::create_dir(&dead_folder).unwrap();
        fs::write(dead_folder.join("x"), "x").unwrap();
        for path in [&dead, &mine, &other] {
            fs::write(path, "x").unwrap();
        }
        sweep_half_made(folder.path());
        assert!(!dead.exists() && !dead_folder.exists() && mine.exists() && other.exists());
        sweep_half_made(&folder.path().join("nowhere"));
    }
}
