//! What this machine can do to isolate steps: asked, not guessed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rondo_project::project::Isolation;

use super::{landlock, network};
use crate::Error;
use crate::environment::host::find_program;

/// The first version of Landlock that has rules for TCP ports.
const PORTS: i32 = 4;

/// What Landlock has no rules for, whichever version it is.
const UNHELD: &str =
    "sockets in the file system can be reached, and the rights, owner and times of files changed";

/// A level that a step runs at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is kept back.
    None,
    /// Rules of the kernel.
    Landlock,
    /// A file system and a network of its own.
    Bubblewrap,
}

impl Level {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::Bubblewrap => "bubblewrap",
        }
    }
}

/// What a machine can do.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The version of Landlock's interface, or why there is none.
    pub landlock: Result<i32, String>,
    /// The program `bwrap`, or why it cannot be used.
    pub bubblewrap: Result<PathBuf, String>,
    /// Whether a process may be given a network of its own.
    pub own_network: bool,
}

impl Machine {
    /// Asks the kernel, and tries whether `bwrap` can do what it is wanted for.
    pub fn probe(path: &str) -> Self {
        let network = own_network(path);
        let bubblewrap = bubblewrap(path).and_then(|program| network.clone().map(|()| program));
        Self { landlock: landlock::version(), bubblewrap, own_network: network.is_ok() }
    }

    /// The level that is meant by what a step asks for.
    ///
    /// # Errors
    /// When it asks for one that this machine does not have.
    pub fn level(&self, wanted: Isolation) -> Result<Level, Error> {
        let missing =
            |level, reason: &String| Error::IsolationMissing { level, reason: reason.clone(), at: None };
        match wanted {
            Isolation::None => Ok(Level::None),
            Isolation::Landlock => match &self.landlock {
                Ok(_) => Ok(Level::Landlock),
                Err(reason) => Err(missing("landlock", reason)),
            },
            Isolation::Bubblewrap => match &self.bubblewrap {
                Ok(_) => Ok(Level::Bubblewrap),
                Err(reason) => Err(missing("bubblewrap", reason)),
            },
            Isolation::Auto if self.bubblewrap.is_ok() => Ok(Level::Bubblewrap),
            Isolation::Auto if self.landlock.is_ok() => Ok(Level::Landlock),
            Isolation::Auto => Ok(Level::None),
        }
    }

    /// What a level keeps from a step on this machine, in words.
    pub fn holds(&self, level: Level) -> String {
        match (level, &self.landlock) {
            (Level::None, _) => "steps read and write whatever they like".to_owned(),
            (Level::Bubblewrap, _) => {
                "steps see only what they declare, and of the network only the tracking port; a notebook that is \
                 stopped is ended, not interrupted"
                    .to_owned()
            }
            (Level::Landlock, Ok(version)) if *version < PORTS => format!(
                "steps read only what they declare; the network is open to them, since this kernel's Landlock \
                 (version {version}) has no rules for it; {UNHELD}"
            ),
            (Level::Landlock, _) => format!(
                "steps read only what they declare, and connect by TCP only to the tracking port; UDP is open \
                 to them; {UNHELD}"
            ),
        }
    }
}

fn bubblewrap(path: &str) -> Result<PathBuf, String> {
    let program = find_program("bwrap", path)
        .ok_or("`bwrap` is not on the PATH; install it: `apt-get install bubblewrap`")?;
    let mut command = Command::new(&program);
    command
        .args(["--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"])
        .args(["--tmpfs", "/tmp", "true"])
        .stdin(Stdio::null());
    tried(command, &program)?;
    Ok(program)
}

fn own_network(path: &str) -> Result<(), String> {
    let mut command = Command::new("true");
    network::enter_own(&mut command);
    command.env("PATH", path).stdin(Stdio::null());
    tried(command, Path::new("a network of its own"))
}

fn tried(mut command: Command, what: &Path) -> Result<(), String> {
    let what = what.display();
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what} cannot be used here: {}", said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(landlock: bool, bubblewrap: bool) -> Machine {
        let no = || "no".to_owned();
        Machine {
            landlock: landlock.then_some(7).ok_or_else(no),
            bubblewrap: bubblewrap.then(|| PathBuf::from("/usr/bin/bwrap")).ok_or_else(no),
            own_network: true,
        }
    }

    #[test]
    fn auto_is_the_strongest_there_is_and_a_named_level_is_never_weakened() {
        let level = |landlock, bubblewrap, wanted| machine(landlock, bubblewrap).level(wanted);
        assert_eq!(level(true, true, Isolation::Auto).unwrap(), Level::Bubblewrap);
        assert_eq!(level(true, false, Isolation::Auto).unwrap(), Level::Landlock);
        assert_eq!(level(false, false, Isolation::Auto).unwrap(), Level::None);
        assert_eq!(level(true, true, Isolation::None).unwrap(), Level::None);
        assert_eq!(level(true, true, Isolation::Landlock).unwrap(), Level::Landlock);
        let error = level(true, false, Isolation::Bubblewrap).unwrap_err();
        assert_eq!(error.to_string(), "steps cannot be isolated by bubblewrap: no");
        assert!(level(false, true, Isolation::Landlock).is_err());
    }

    #[test]
    fn what_a_level_does_not_hold_is_said() {
        let old = Machine { landlock: Ok(3), bubblewrap: Err(String::new()), own_network: true };
        assert!(old.holds(Level::Landlock).contains("the network is open"));
        let said = machine(true, true).holds(Level::Landlock);
        assert!(said.contains("UDP is open") && said.contains("sockets in the file system"), "{said}");
        assert!(old.holds(Level::Landlock).contains("times of files"));
        assert!(machine(true, true).holds(Level::Bubblewrap).contains("not interrupted"));
    }
}
