//! The built-in packages that run another's program: `cross-validate`, `container` and `images`.
//!
//! Those that only start one (`python`, `r`, `shell`, `sql`) need no code here: the checker turns them into
//! the command that they are.

pub(crate) mod container;
mod cross_validate;
mod images;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use rondo_core::ports::{BuiltinCall, Event};
use rondo_core::{Code, Explain};
use rondo_process::leftovers;
use serde_json::Value;

use crate::execute::process::{self, Command};
use crate::worktree::lock;

pub use container::Container;
pub(crate) use container::linked;
pub use cross_validate::CrossValidate;
pub use images::Images;

/// Why a package's step has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// It cannot do what it is asked for.
    #[error("{0}")]
    Refused(String),
    /// The same, and what to do.
    #[error("{message}")]
    Hinted { message: String, hint: &'static str },
    /// A program that it ran has failed.
    #[error("{0}")]
    Program(String),
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] rondo_table::TableError),
}

impl Explain for Failed {
    fn code(&self) -> Code {
        match self {
            Self::Refused(_) | Self::Hinted { .. } => Code::PackageInvalid,
            Self::Program(_) => Code::StepFailed,
            Self::Table(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Hinted { hint, .. } => vec![(*hint).to_owned()],
            Self::Table(error) => error.hints(),
            Self::Refused(_) | Self::Program(_) => Vec::new(),
        }
    }
}

fn text<'a>(with: &'a BTreeMap<String, Value>, key: &str) -> Option<&'a str> {
    with.get(key).and_then(Value::as_str)
}

/// The variable by which what a step leaves running is known.
fn mark(call: &BuiltinCall) -> Option<String> {
    call.environment.get("RONDO_STEP_FILE").map(|file| format!("RONDO_STEP_FILE={file}"))
}

/// How long a line that does not end may grow before it is shown.
const LINE: usize = 8 * 1024;

/// Runs a program to its end, kept to what the step is kept to or not; each line of its output is reported.
/// How it failed, if it did.
async fn program(call: &BuiltinCall, command: &Command, confinement: bool) -> Result<(), Failed> {
    let rest: Mutex<Vec<u8>> = Mutex::default();
    let mut take = |bytes: &[u8]| {
        let mut rest = lock(&rest);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            if rest.ends_with(b"\n") {
                said(call, &std::mem::take(&mut *rest));
            } else if rest.len() >= LINE {
                // A bar of progress, whose steps end with a return: nobody waits for its end.
                let cut = rest.iter().rposition(|byte| *byte == b'\r').map_or(rest.len(), |at| at + 1);
                let begun = rest.split_off(cut);
                said(call, &std::mem::replace(&mut *rest, begun));
            }
        }
    };
    let mut cancel = call.stop.clone();
    let confinement = confinement.then_some(call.confinement.as_deref()).flatten();
    let ended = process::run_confined(command, confinement, None, &mut cancel, &mut take).await;
    let last = std::mem::take(&mut *lock(&rest));
    if !last.is_empty() {
        said(call, &last);
    }
    let program = PathBuf::from(&command.program);
    let ended = ended
        .map_err(|error| Failed::Program(format!("`{}` cannot be started: {error}", program.display())))?;
    tell_left(call, &ended.left);
    match (ended.code, ended.signal) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failed::Program(format!("it exited with code {code}"))),
        (None, signal) => Err(Failed::Program(format!("it was ended by signal {}", signal.unwrap_or(0)))),
    }
}

/// Names what a program left running, in the step's log and to who watches.
fn tell_left(call: &BuiltinCall, left: &[String]) {
    // A sandbox is still about itself when its program has ended.
    let is_sandbox = |name: &&String| call.confinement.is_some() && name.starts_with("bwrap (");
    let left: Vec<String> = left.iter().filter(|name| !is_sandbox(name)).cloned().collect();
    if left.is_empty() {
        return;
    }
    let message = leftovers::told(&left);
    said(call, format!("[{message}]").as_bytes());
    call.progress.report(Event::Note { subject: call.step.step.clone(), message });
}

fn said(call: &BuiltinCall, line: &[u8]) {
    let line = String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned();
    call.progress.report(Event::Output { subject: call.step.step.clone(), line });
}
