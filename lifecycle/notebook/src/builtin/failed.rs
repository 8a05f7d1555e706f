//! How a step tells that its notebook has failed: the cause in one sentence, and what was said last in its log.

use rondo_core::ports::{Event, PortError, Progress};
use rondo_core::{Code, Explain};

use crate::error::{Error, LastWords};

/// An error without its last words, which stand in the step's log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(Error);

impl Explain for Sentence {
    fn code(&self) -> Code {
        self.0.code()
    }

    fn hints(&self) -> Vec<String> {
        self.0.hints()
    }
}

/// The error as a step has it; its last words go to who watches.
pub fn told(error: Error, progress: &dyn Progress, subject: &str) -> PortError {
    let words: &[String] = match &error {
        Error::CellFailed { traceback: Some(LastWords(lines)), .. }
        | Error::KernelStart { last_words: Some(LastWords(lines)), .. } => lines,
        // A kernel that was ready has had its lines told as they came.
        Error::KernelDied { .. } => &[],
        _ => return Box::new(error),
    };
    for line in words {
        progress.report(Event::Output { subject: subject.to_owned(), line: line.clone() });
    }
    Box::new(Sentence(error))
}
