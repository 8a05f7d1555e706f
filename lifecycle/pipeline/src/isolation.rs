//! Isolation: a step is kept to what it declares.
//!
//! Three levels. `none` keeps nothing back. `landlock` lets the kernel refuse files that are neither declared
//! nor the system's or the environment's, and TCP ports other than the tracking server's; it needs no rights,
//! and costs some microseconds for each file that is opened. `bubblewrap` gives the step a file system in which
//! only what is declared exists, and a network of its own into which the tracking port alone is relayed.
//!
//! [`machine`] says what this machine can do; [`surroundings`] what a step may see; [`landlock`],
//! [`bubblewrap`] and [`network`] hold it to that; [`watch`] and [`undeclared`] name what it was refused,
//! [`strays`] what it made that leads out. Whether a
//! step is isolated is a part of its key, so that what was made without does not stand for it; the level is not,
//! so that machines of different kinds share what they make.

pub mod bubblewrap;
pub mod landlock;
pub mod machine;
pub mod network;
mod parcel;
mod strays;
pub mod surroundings;
pub mod undeclared;
pub mod watch;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rondo_core::ports::Confinement;

pub use machine::{Level, Machine};
pub(crate) use strays::{Stray, stray};
pub use surroundings::Surroundings;

/// How many refused files a message names.
const NAMED: usize = 5;

/// What one step's processes are kept to.
#[derive(Debug)]
pub struct Confined {
    /// How.
    pub level: Level,
    /// What they may see.
    pub surroundings: Surroundings,
    /// The program `bwrap`, at that level.
    pub bwrap: PathBuf,
    /// Whether they have a network of their own.
    pub own_network: bool,
    /// The files of the project that they have asked for.
    pub seen: watch::Seen,
}

impl Confinement for Confined {
    fn words(&self, words: Vec<OsString>, own: &[PathBuf]) -> Vec<OsString> {
        match self.level {
            Level::None | Level::Landlock => words,
            Level::Bubblewrap => bubblewrap::words(&self.bwrap, &self.surroundings, own, words),
        }
    }

    fn ready(&self, command: &mut Command, own: &[PathBuf]) -> io::Result<Box<dyn Send + Sync>> {
        if self.level == Level::Landlock {
            landlock::confine(command, &self.surroundings, own)?;
            watch::watch(command, &self.surroundings, &self.seen)?;
        }
        let kept: Box<dyn Send + Sync> = match self.own_network {
            true => Box::new(network::own(command, self.surroundings.tracking)?),
            false => Box::new(()),
        };
        // A `bwrap` that takes more rights than its caller has would lose them by what a watched process
        // gives up; any other gives it up by itself.
        if self.level == Level::Bubblewrap && !has_rights_of_its_own(&self.bwrap) {
            watch::humbly(command, &self.surroundings, &self.seen)?;
        }
        Ok(kept)
    }
}

fn has_rights_of_its_own(program: &Path) -> bool {
    program.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o6000 != 0)
}

/// What a step asked for that it does not declare: of the project by paths relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Files that it asked to read.
    pub read: Vec<String>,
    /// Files and folders that it asked to make or change.
    pub written: Vec<String>,
}

impl Refused {
    /// Whether it asked for nothing.
    pub const fn is_empty(&self) -> bool {
        self.read.is_empty() && self.written.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.read.iter().chain(&self.written).cloned().collect()
    }
}

impl Confined {
    /// The places whose files they could read.
    pub fn reach(&self) -> Vec<PathBuf> {
        let Surroundings { readable, linked, writable, tools, .. } = &self.surroundings;
        // In a root file system of its own, those of the system are others.
        let tools = if self.shares_root() { tools.as_slice() } else { &[] };
        readable.iter().chain(linked).chain(writable).chain(tools).cloned().collect()
    }

    fn shares_root(&self) -> bool {
        self.level != Level::None && self.surroundings.root.is_none()
    }

    /// What its processes were refused: what they were seen to ask for, and files that its last words name.
    pub fn refused(&self, tail: &[String]) -> Refused {
        let Refused { mut read, written } = self.seen.undeclared(&self.surroundings);
        let said = undeclared::named(&self.surroundings, self.shares_root(), tail);
        let is_new = |name: &String| !read.contains(name) && !written.contains(name);
        let said: Vec<String> = said.into_iter().filter(is_new).collect();
        read.extend(said);
        Refused { read, written }
    }

    /// Whether it has no network, and the last words of a failing step speak of one.
    pub fn lacks_network(&self, tail: &[String]) -> bool {
        !self.surroundings.network && tail.iter().any(|line| undeclared::speaks_of_network(line))
    }

    /// What a step was refused, in words.
    pub fn told(&self, refused: &Refused, step: &str) -> String {
        let read = listed(&refused.read, step, ["as an input", "as inputs"]);
        let written = listed(&refused.written, step, ["as an output", "as outputs"]);
        let by = match self.level {
            Level::None => "in a container",
            Level::Landlock => "isolation: landlock",
            Level::Bubblewrap => "isolation: bubblewrap",
        };
        let said: Vec<String> = [read, written].into_iter().flatten().collect();
        format!("{} ({by})", said.join("; "))
    }
}

/// That these are not declared, one or several of them; nothing where there are none.
fn listed(names: &[String], step: &str, [one, several]: [&str; 2]) -> Option<String> {
    let listed = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match names.len() {
        0 => None,
        1 => Some(format!("{listed} is not declared {one} of `{step}`")),
        _ => Some(format!("{listed}{more} are not declared {several} of `{step}`")),
    }
}
