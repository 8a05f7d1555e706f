//! The level `bubblewrap`: a file system in which only what a step may see exists, by the program `bwrap`.
//!
//! Everything is where it is outside, so that the paths of the step contract mean the same. The network of
//! its own is made by [`super::network`] before `bwrap` is started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::Surroundings;

/// What of a root file system a sandbox has of its own.
const OWN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Devices that are passed on where they are: graphics cards.
const CARDS: [&str; 3] = ["nvidia", "dri", "kfd"];

/// What root keeps of its rights in a sandbox: those over files and users, not the one to undo the sandbox.
const RIGHTS: [(&str, u32); 5] =
    [("CAP_CHOWN", 0), ("CAP_DAC_OVERRIDE", 1), ("CAP_FOWNER", 3), ("CAP_SETGID", 6), ("CAP_SETUID", 7)];

/// The command that runs `words` in a sandbox.
pub(super) fn words(
    bwrap: &Path,
    surroundings: &Surroundings,
    own: &[PathBuf],
    words: Vec<OsString>,
) -> Vec<OsString> {
    let mut all = Words(vec![bwrap.into()]);
    all.say(&["--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]);
    all.rights();
    // A kernel would look for this process and not see it; `bwrap` itself ends the kernel when Rondo dies.
    all.say(&["--unsetenv", "JPY_PARENT_PID"]);
    match &surroundings.root {
        Some(root) => {
            let needed: Vec<&Path> = surroundings.needed(own).collect();
            for entry in entries(root) {
                let name = entry.file_name().unwrap_or_default();
                if !OWN.iter().any(|own| name == *own) {
                    all.tree(&entry, &Path::new("/").join(name), &needed);
                }
            }
        }
        None => {
            for place in surroundings.system() {
                all.link_or("--ro-bind", &place, &place);
            }
            all.say(&["--ro-bind-try", "/sys", "/sys"]);
            if surroundings.network {
                // The names of hosts are looked up by what `/etc/resolv.conf` leads to.
                all.say(&["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]);
            }
        }
    }
    all.say(&["--proc", "/proc", "--dev", "/dev"]);
    let is_card =
        |place: &PathBuf| place.file_name().is_some_and(|name| begins(&name.to_string_lossy(), &CARDS));
    for card in entries(Path::new("/dev")).into_iter().filter(is_card) {
        all.pair("--dev-bind-try", &card, &card);
    }
    all.pair("--bind", &surroundings.temporary, Path::new("/tmp"));
    // `/tmp` may be written: a project in it gets a file system of its own.
    let top = if surroundings.folder.starts_with(&surroundings.project) {
        &surroundings.project
    } else {
        &surroundings.folder
    };
    let apart = Some(top).filter(|top| top.starts_with("/tmp") && *top != Path::new("/tmp"));
    if let Some(top) = apart {
        all.0.extend(["--tmpfs".into(), top.into()]);
    }
    for folder in surroundings.listed.iter().chain([&surroundings.folder]) {
        all.0.extend(["--dir".into(), folder.into()]);
    }
    let mut readable: Vec<_> = surroundings.readable.iter().collect();
    // What lies in another comes after it, or it would be hidden.
    readable.sort_unstable();
    for place in readable.into_iter().chain(&surroundings.linked) {
        all.pair("--ro-bind-try", place, place);
    }
    for place in surroundings.writable.iter().chain(own) {
        all.pair("--bind", place, place);
    }
    // What is written beside all that would be gone with the sandbox, without a word: it fails.
    for top in apart.map(PathBuf::as_path).into_iter().chain([Path::new("/")]) {
        all.0.extend(["--remount-ro".into(), top.into()]);
    }
    all.0.extend(["--chdir".into(), surroundings.folder.clone().into(), "--".into()]);
    all.0.extend(words);
    all.0
}

fn begins(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    places.sort_unstable();
    places
}

/// The rights of a process, by what the system says of it.
fn own_rights(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

struct Words(Vec<OsString>);

impl Words {
    fn say(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair(&mut self, word: &str, from: &Path, to: &Path) {
        self.0.extend([word.into(), from.into(), to.into()]);
    }

    /// Anybody else has no rights in a sandbox; root would keep all of them, and could make writable what is
    /// only to be read.
    fn rights(&mut self) {
        // SAFETY: it has no arguments and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        self.say(&["--cap-drop", "ALL"]);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let own = own_rights(&status);
        // One that root does not have here cannot be given.
        for (name, _) in RIGHTS.iter().filter(|(_, bit)| own >> bit & 1 == 1) {
            self.say(&["--cap-add", name]);
        }
    }

    /// A link stays one: in a sandbox it leads to what is there.
    fn link_or(&mut self, word: &str, from: &Path, to: &Path) {
        match fs::read_link(from) {
            Ok(target) => self.pair("--symlink", &target, to),
            Err(_) => self.pair(word, from, to),
        }
    }

    /// Binds a tree read-only, but for the folders that lead to what is needed from outside: a place for that
    /// has to be made in them.
    fn tree(&mut self, from: &Path, to: &Path, needed: &[&Path]) {
        if from.is_symlink() || !needed.iter().any(|needed| needed.starts_with(to)) {
            self.link_or("--ro-bind", from, to);
            return;
        }
        for entry in entries(from) {
            let name = entry.file_name().unwrap_or_default().to_owned();
            self.tree(&entry, &to.join(name), needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_of_a_process_are_read() {
        assert_eq!(own_rights("CapPrm:\t0000000000000001\nCapEff:\t00000000a80425fb\n"), 0xa804_25fb);
        assert_eq!(own_rights("CapEff: x"), 0);
    }

    #[test]
    fn what_lies_in_another_comes_after_it_and_links_stay_links() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr", "home/other", "tmp", "home/ann"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink("usr", root.path().join("bin")).unwrap();
        let surroundings = Surroundings {
            folder: "/home/ann/p".into(),
            temporary: "/work/tmp".into(),
            readable: vec!["/home/ann/p/a/b".into(), "/home/ann/p/a".into()],
            writable: vec!["/work/out".into()],
            root: Some(root.path().to_owned()),
            ..Surroundings::default()
        };
        let said = words(Path::new("bwrap"), &surroundings, &[], vec!["sh".into()]);
        let text = said.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let usr = format!("--ro-bind {} /usr", root.path().join("usr").display());
        let other = format!("--ro-bind {} /home/other", root.path().join("home/other").display());
        assert!(
            text.contains("--symlink usr /bin") && text.contains(&usr) && text.contains(&other),
            "{text}"
        );
        assert!(!text.contains(" /home --") && !text.contains(" /home/ann --"), "{text}");
        let (outer, inner) = (text.find(" /home/ann/p/a "), text.find(" /home/ann/p/a/b "));
        assert!(outer.unwrap() < inner.unwrap(), "{text}");
        assert!(text.ends_with("--remount-ro / --chdir /home/ann/p -- sh"), "{text}");
    }
}
