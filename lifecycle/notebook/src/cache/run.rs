//! Runs notebooks whose results are kept.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use rondo_core::ports::Event;

use crate::cache::{Cache, Environment, key};
use crate::document::write_atomically;
use crate::error::Error;
use crate::execute::place::Place;
use crate::execute::{ExecuteRequest, Executed, execute};

/// What one run came to.
#[derive(Debug)]
pub struct Ran {
    /// What came of it.
    pub executed: Executed,
    /// Whether that was an earlier run.
    pub cached: bool,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.cached { ", from an earlier run" } else { "" };
        write!(f, "{} cells{from}", self.executed.cells_run)?;
        self.executed.halt.map_or(Ok(()), |halt| write!(f, ", {halt}"))
    }
}

/// Where results are kept, and what they depend on beside the notebook and its parameters.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The kept runs.
    pub cache: Cache,
    /// The environment of all runs.
    pub environment: Environment,
    /// Files and folders whose contents they depend on.
    pub inputs: Vec<PathBuf>,
}

/// Runs a notebook, or takes what came of it before, where results are kept.
///
/// # Errors
/// As [`execute`]; when an input cannot be read, or a result not be kept.
pub async fn run(request: ExecuteRequest, keep: Option<&Keep>) -> Result<Ran, Error> {
    let (Some(Keep { cache, environment, inputs }), Some(notebook)) = (keep, request.notebook.clone()) else {
        return Ok(Ran { executed: execute(request).await?, cached: false });
    };
    Place::of(&request.input, &request.output)?;
    let before = key(&request, &notebook, environment, inputs)?;
    if let Some((bytes, executed)) = cache.get(before) {
        write_atomically(&request.output, &bytes)?;
        executed.notes.iter().for_each(|message| note(&request, message));
        return Ok(Ran { executed, cached: true });
    }
    let executed = execute(request.clone()).await?;
    // What was read at which moment is not known, so that a result stands for inputs that stayed as they were.
    if key(&request, &notebook, environment, inputs).ok() != Some(before) {
        note(&request, "what it depends on changed while it ran: its result is not kept for later runs");
    } else if let Ok(bytes) = fs::read(&request.output) {
        cache.put(before, &bytes, &executed)?;
    }
    Ok(Ran { executed, cached: false })
}

fn note(request: &ExecuteRequest, message: &str) {
    let (subject, message) = (request.subject.clone(), message.to_owned());
    request.progress.report(Event::Note { subject, message });
}
