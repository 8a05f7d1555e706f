//! Isolation: a step is kept to what it declares.
//!
//! Three levels. `none` keeps nothing back. `landlock` lets the kernel refuse files that are neither declared
//! nor the system's or the environment's, and TCP ports other than the tracking server's; it costs nothing
//! and needs no rights. `bubblewrap` gives the step a file system in which only what is declared exists, and
//! a network of its own into which the tracking port alone is relayed.
//!
//! [`machine`] says what this machine can do; [`surroundings`] what a step may see; [`landlock`],
//! [`bubblewrap`] and [`network`] hold it to that; [`undeclared`] names what it was refused. Whether a
//! step is isolated is a part of its key, so that what was made without does not stand for it; the level is not,
//! so that machines of different kinds share what they make.

pub mod bubblewrap;
pub mod landlock;
pub mod machine;
pub mod network;
pub mod surroundings;
pub mod undeclared;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use rondo_core::ports::Confinement;
use rondo_core::run::Exit;

pub use machine::{Level, Machine};
pub use surroundings::Surroundings;

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
        }
        if self.own_network {
            return Ok(Box::new(network::own(command, self.surroundings.tracking)?));
        }
        Ok(Box::new(()))
    }
}

impl Confined {
    /// How a step ended, with what it was refused, where its last words name that.
    pub fn explained(&self, exit: Exit, step: &str, tail: &[String]) -> Exit {
        let names = undeclared::named(&self.surroundings, tail);
        if names.is_empty() {
            return exit;
        }
        let listed = format!("`{}`", names.join("`, `"));
        let (is, an) = if names.len() == 1 { ("is", "as an input") } else { ("are", "as inputs") };
        let by = match self.level {
            Level::None => "in a container",
            Level::Landlock => "isolation: landlock",
            Level::Bubblewrap => "isolation: bubblewrap",
        };
        let said = format!("{listed} {is} not declared {an} of `{step}` ({by})");
        let cause = match exit.cause {
            Some(cause) => format!("{cause}; {said}"),
            None => said,
        };
        Exit { cause: Some(cause), ..exit }
    }
}
