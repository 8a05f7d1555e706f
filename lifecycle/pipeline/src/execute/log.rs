//! The log of a step: all that its process says, in a file, and line by line to whoever watches.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::ports::{Event, Progress};

use crate::worktree::lock;

/// How much is kept.
const CAP: u64 = 64 * 1024 * 1024;

/// How long a line may be that is shown.
const LINE: usize = 8 * 1024;

/// How many of the last lines are at hand after a failure.
const TAIL: usize = 20;

/// A log that is being written. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    dropped: u64,
    line: Vec<u8>,
    tail: VecDeque<String>,
    subject: String,
    progress: Arc<dyn Progress>,
    broken: Option<io::Error>,
}

/// A log that is whole.
#[derive(Debug)]
pub struct Written {
    /// Its file.
    pub path: PathBuf,
    /// The last lines.
    pub tail: Vec<String>,
    /// Bytes that were left out because it grew too long.
    pub dropped: u64,
}

impl Log {
    /// A log of a subject (a step's name) in a file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, subject: &str, progress: Arc<dyn Progress>) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            file,
            written: 0,
            dropped: 0,
            line: Vec::new(),
            tail: VecDeque::new(),
            subject: subject.to_owned(),
            progress,
            broken: None,
        }))))
    }

    /// Takes bytes as they come.
    pub fn take(&self, bytes: &[u8]) {
        let mut inner = lock(&self.0);
        inner.keep(bytes);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(inner.line.len());
            let whole = part.ends_with(b"\n");
            inner.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or(part));
            if whole {
                inner.show();
            }
        }
    }

    /// Ends the log.
    ///
    /// # Errors
    /// When something of it could not be written.
    pub fn finish(&self) -> io::Result<Written> {
        let mut inner = lock(&self.0);
        if !inner.line.is_empty() {
            inner.show();
        }
        if inner.dropped > 0 {
            let note = format!("\n[{} more bytes were left out]\n", inner.dropped);
            inner.file.write_all(note.as_bytes())?;
        }
        inner.file.flush()?;
        match inner.broken.take() {
            Some(error) => Err(error),
            None => Ok(Written {
                path: inner.path.clone(),
                tail: inner.tail.iter().cloned().collect(),
                dropped: inner.dropped,
            }),
        }
    }
}

impl Inner {
    fn keep(&mut self, bytes: &[u8]) {
        let room = usize::try_from(CAP.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        self.dropped += (bytes.len() - kept.len()) as u64;
        self.written += kept.len() as u64;
        if self.broken.is_none()
            && let Err(error) = self.file.write_all(kept)
        {
            self.broken = Some(error);
        }
    }

    fn show(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        // A progress bar goes back to the line's beginning: only what it ended as is a line.
        let line = text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or("").to_owned();
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        self.progress.report(Event::Output { subject: self.subject.clone(), line });
    }
}

/// Passes on what a built-in package reports, its output lines through the log.
pub struct Logged {
    /// The log.
    pub log: Log,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
}

impl Progress for Logged {
    fn report(&self, event: Event) {
        match event {
            Event::Output { line, .. } => self.log.take(format!("{line}\n").as_bytes()),
            other => self.progress.report(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Progress for Lines {
        fn report(&self, event: Event) {
            if let Event::Output { line, .. } = event {
                self.0.lock().unwrap().push(line);
            }
        }
    }

    #[test]
    fn lines_are_whole_and_progress_bars_show_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let lines = Arc::new(Lines::default());
        let log = Log::create(&folder.path().join("log"), "s", lines.clone()).unwrap();
        log.take(b"he");
        log.take(b"llo\n10%\r20%\r\nlast");
        let written = log.finish().unwrap();
        assert_eq!(*lines.0.lock().unwrap(), ["hello", "20%", "last"]);
        assert_eq!(written.tail, ["hello", "20%", "last"]);
        assert_eq!(std::fs::read(written.path).unwrap(), b"hello\n10%\r20%\r\nlast");
    }

    #[test]
    fn what_grows_too_long_is_cut_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let log =
            Log::create(&folder.path().join("log"), "s", Arc::new(rondo_core::ports::Unwatched)).unwrap();
        let part = vec![b'x'; 1 << 20];
        for _ in 0..65 {
            log.take(&part);
        }
        let written = log.finish().unwrap();
        assert_eq!(written.dropped, 1 << 20);
        let text = std::fs::read(&written.path).unwrap();
        assert!(text.len() < (CAP + 100) as usize && text.ends_with(b"[1048576 more bytes were left out]\n"));
    }
}
