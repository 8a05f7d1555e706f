//! What an app says: a file that does not grow for ever, and its last lines.
//!
//! An app runs for months, so the file is turned over when it is long: the one before it is kept. Whoever
//! reads it sees every line at once, since nothing is held back.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How long a file may be; there are at most two.
const LONG: u64 = 8 << 20;
/// How long a line may be that is kept at hand.
const LINE: usize = 2000;
/// How many lines are kept at hand.
const LINES: usize = 20;

/// A log. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct AppLog(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: Option<(File, u64)>,
    line: Vec<u8>,
    tail: VecDeque<String>,
}

impl AppLog {
    /// A log in a file, which is added to.
    pub fn new(path: &Path) -> Self {
        let (line, tail) = (Vec::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Inner { path: path.to_owned(), file: None, line, tail })))
    }

    /// Takes bytes as they come. A disk that refuses them keeps no app from running.
    pub fn take(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.keep(bytes);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(inner.line.len()).min(part.len());
            inner.line.extend_from_slice(part.get(..room).unwrap_or_default());
            if part.ends_with(b"\n") {
                inner.end_line();
            }
        }
    }

    /// A line of Rondo's own.
    pub fn say(&self, text: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.keep(format!("[rondo] {text}\n").as_bytes());
    }

    /// The last lines, and forgets them.
    pub fn take_tail(&self) -> Vec<String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.line.is_empty() {
            inner.end_line();
        }
        inner.tail.drain(..).collect()
    }
}

impl Inner {
    fn keep(&mut self, bytes: &[u8]) {
        if self.file.as_ref().is_none_or(|(_, length)| *length > LONG) {
            self.file = self.turn().ok();
        }
        if let Some((file, length)) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            *length += bytes.len() as u64;
        }
    }

    fn turn(&mut self) -> std::io::Result<(File, u64)> {
        let length = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if length > LONG {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        // A progress bar goes back to the line's beginning: only what it ended as is a line.
        let line = text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default().to_owned();
        if self.tail.len() == LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// The last lines of an app's log.
///
/// # Errors
/// When it cannot be read.
pub fn last(path: &Path, lines: usize) -> std::io::Result<Vec<String>> {
    let mut text = Vec::new();
    for file in [path.with_extension("log.1"), path.to_owned()] {
        match fs::read(&file) {
            Ok(bytes) => text.extend(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    Ok(all.get(from..).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_turned_over_and_its_last_lines_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let log = AppLog::new(&path);
        let line = format!("{}\n", "x".repeat(1023));
        for _ in 0..(3 * LONG / 1024) {
            log.take(line.as_bytes());
        }
        log.take(b"10%\r20%\nla");
        log.take(b"st");
        assert_eq!(log.take_tail().last().unwrap(), "last");
        assert!(log.take_tail().is_empty());
        assert!(fs::metadata(&path).unwrap().len() <= LONG + 1024);
        assert!(fs::metadata(path.with_extension("log.1")).unwrap().len() <= LONG + 1024);
        assert_eq!(last(&path, 2).unwrap().last().unwrap(), "last");
        assert_eq!(last(&path, 2).unwrap().len(), 2);
    }
}
