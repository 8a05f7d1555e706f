//! The log of a step: all that its process says, in a file, and line by line to whoever watches.
//!
//! What is kept is bounded, on the disk too while it is written: the beginning, and of what comes after
//! that the last two pieces, each in a file of its own. What was left out between is counted. Nothing but what
//! may be the beginning of a secret is held back, so that another process reads what was said as soon as it was
//! ([`crate::logs`]).

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::mask::{Mask, Stream};
use rondo_core::ports::{Event, Progress};

use crate::worktree::lock;

/// How much of the beginning is kept.
pub(crate) const HEAD: u64 = 48 * 1024 * 1024;

/// How much of the end is kept, and how long a piece of it is.
pub(crate) const END: u64 = 16 * 1024 * 1024;

/// How long a line may be that is shown.
const LINE: usize = 8 * 1024;

/// How many of the last lines are at hand after a failure.
const TAIL: usize = 20;

/// A log that is being written. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    /// Made with the first byte: many steps say nothing.
    file: Option<File>,
    head: u64,
    /// The end of a long log.
    end: End,
    line: Vec<u8>,
    tail: VecDeque<String>,
    subject: String,
    progress: Arc<dyn Progress>,
    mask: Stream,
    broken: Option<io::Error>,
}

/// The end of a long log while it is written: its last two pieces, and how much has gone into all.
#[derive(Default)]
struct End {
    pieces: VecDeque<(PathBuf, File)>,
    written: u64,
}

/// The file of the piece of a long log that begins at that byte of it.
pub(crate) fn piece(log: &Path, at: u64) -> PathBuf {
    log.with_extension(format!("end-{at}"))
}

/// What stands in a log where something was left out.
pub(crate) fn gap(bytes: u64) -> String {
    format!("\n[{bytes} bytes were left out here]\n")
}

/// A log that is whole.
#[derive(Debug)]
pub struct Written {
    /// Its file; none where nothing was said.
    pub path: Option<PathBuf>,
    /// The last lines.
    pub tail: Vec<String>,
    /// Bytes that were left out because it grew too long.
    pub dropped: u64,
    /// Why it is not whole, where it could not be written.
    pub broken: Option<io::Error>,
}

fn copied(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

impl Log {
    /// A log of a subject (a step's name) in a file, which is made when something is said.
    pub fn new(path: &Path, subject: &str, progress: Arc<dyn Progress>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            file: None,
            head: 0,
            end: End::default(),
            line: Vec::new(),
            tail: VecDeque::new(),
            subject: subject.to_owned(),
            progress,
            mask: Stream::default(),
            broken: None,
        })))
    }

    /// Keeps texts out of what is said from now on, by the names of the secrets that they are.
    pub fn hide(&self, secrets: &BTreeMap<String, String>) {
        lock(&self.0).mask = Mask::new(secrets).into();
    }

    /// Takes bytes as they come.
    pub fn take(&self, bytes: &[u8]) {
        let mut inner = lock(&self.0);
        let shown = inner.mask.pass(bytes);
        inner.say(&shown);
    }

    /// Ends the log.
    pub fn finish(&self) -> Written {
        let mut inner = lock(&self.0);
        let rest = inner.mask.rest();
        inner.say(&rest);
        if !inner.line.is_empty() {
            inner.show();
        }
        let ended = inner.join_end();
        let broken = inner.broken.take().or(ended.as_ref().err().map(copied));
        Written {
            path: inner.file.as_ref().map(|_| inner.path.clone()),
            tail: inner.tail.iter().cloned().collect(),
            dropped: ended.unwrap_or(0),
            broken,
        }
    }
}

impl Inner {
    fn say(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.keep(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(self.line.len());
            let whole = part.ends_with(b"\n");
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or(part));
            if whole {
                self.show();
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        let room = usize::try_from(HEAD.saturating_sub(self.head)).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head += first.len() as u64;
        let mut kept = self.keep_head(first);
        if kept.is_ok() && !rest.is_empty() {
            kept = self.keep_end(rest);
        }
        self.broken = kept.err();
    }

    fn keep_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::create(&self.path)?,
        };
        self.file.insert(file).write_all(bytes)
    }

    /// Writes to the end of a long log: pieces that are older than its length go.
    fn keep_end(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let at = self.end.written % END;
            if at == 0 {
                let place = piece(&self.path, HEAD + self.end.written);
                let file = File::options().create(true).truncate(true).read(true).write(true).open(&place)?;
                self.end.pieces.push_back((place, file));
                if self.end.pieces.len() > 2
                    && let Some((old, _)) = self.end.pieces.pop_front()
                {
                    std::fs::remove_file(old)?;
                }
            }
            let Some((_, file)) = self.end.pieces.back_mut() else { return Ok(()) };
            let room = usize::try_from(END - at).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(room);
            file.write_all(part)?;
            self.end.written += part.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Puts the end behind the beginning; the bytes that were left out between.
    fn join_end(&mut self) -> io::Result<u64> {
        let (End { pieces, written }, Some(head)) = (std::mem::take(&mut self.end), &mut self.file) else {
            return Ok(0);
        };
        let files = pieces.iter().map(|(_, file)| file);
        let dropped = append(head, files, written)?;
        // The newest first: to who reads along, an older one that is gone was left out.
        for (place, _) in pieces.iter().rev() {
            // Its folder goes with the step; where it cannot be removed now it is removed then.
            let _ = std::fs::remove_file(place);
        }
        Ok(dropped)
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

/// Puts the last pieces of a long log behind its beginning, `written` bytes having gone into all of its
/// pieces; the bytes that were left out between.
fn append<'f>(head: &mut File, pieces: impl Iterator<Item = &'f File>, written: u64) -> io::Result<u64> {
    let dropped = written.saturating_sub(END);
    if dropped > 0 {
        head.write_all(gap(dropped).as_bytes())?;
    }
    let pieces: Vec<&File> = pieces.collect();
    // The pieces but the last are full; what of the first is older than the length is passed over.
    let first = (written.saturating_sub(1) / END + 1).saturating_sub(pieces.len() as u64) * END;
    let mut over = dropped.saturating_sub(first);
    for mut piece in pieces {
        piece.seek(SeekFrom::Start(over))?;
        io::copy(&mut piece, head)?;
        over = 0;
    }
    Ok(dropped)
}

/// Makes the log of a process that was killed whole, where it wrote one. It may be asked for again: who did
/// it before may have been killed too.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn salvage(log: &Path) -> io::Result<bool> {
    let mut head = match File::options().append(true).open(log) {
        Ok(head) => head,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut pieces: Vec<(u64, PathBuf)> = Vec::new();
    for entry in log.parent().map(std::fs::read_dir).transpose()?.into_iter().flatten() {
        let path = entry?.path();
        let at = path.extension().and_then(|end| end.to_str()?.strip_prefix("end-")?.parse().ok());
        pieces.extend(at.map(|at| (at, path)));
    }
    pieces.sort_unstable();
    let files: Vec<File> =
        pieces.iter().map(|(_, path)| File::open(path)).collect::<Result<_, io::Error>>()?;
    if let (Some((at, _)), Some(last)) = (pieces.last(), files.last()) {
        let written = at.saturating_sub(HEAD) + last.metadata()?.len();
        let length = head.metadata()?.len();
        if files.len() == 1 && length > HEAD + END {
            // Its end stands behind it already: the pieces were being removed.
            return Ok(true);
        }
        if length > HEAD {
            head.set_len(HEAD)?;
        }
        append(&mut head, files.iter(), written)?;
    }
    Ok(true)
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
        let log = Log::new(&folder.path().join("log"), "s", lines.clone());
        log.take(b"he");
        log.take(b"llo\n10%\r20%\r\nlast");
        let written = log.finish();
        assert_eq!(*lines.0.lock().unwrap(), ["hello", "20%", "last"]);
        assert_eq!(written.tail, ["hello", "20%", "last"]);
        assert_eq!(std::fs::read(written.path.unwrap()).unwrap(), b"hello\n10%\r20%\r\nlast");
    }

    #[test]
    fn a_secret_is_in_no_line_and_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(&folder.path().join("log"), "s", Arc::new(rondo_core::ports::Unwatched));
        log.hide(&[("token".to_owned(), "hunter22".to_owned())].into());
        log.take(b"it is hun");
        log.take(b"ter22\nAuthorization: Basic aHVud");
        log.take(b"GVyMjI\nhunt");
        let written = log.finish();
        assert_eq!(written.tail, ["it is [secret token]", "Authorization: Basic [secret token]", "hunt"]);
        let file = std::fs::read_to_string(written.path.unwrap()).unwrap();
        assert_eq!(file, written.tail.join("\n"));
    }

    #[test]
    fn of_what_grows_too_long_the_beginning_and_the_end_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(&folder.path().join("log"), "s", Arc::new(rondo_core::ports::Unwatched));
        // 100 MiB in parts that do not fall in with the bounds.
        let mut said = 0_u64;
        while said < 100 << 20 {
            let part = format!("{said:019}\n").repeat(50_000);
            log.take(part.as_bytes());
            said += part.len() as u64;
        }
        log.take(b"the last line\n");
        said += 14;
        let written = log.finish();
        assert_eq!(written.dropped, said - HEAD - END);
        assert!(written.broken.is_none());
        let text = std::fs::read(written.path.as_ref().unwrap()).unwrap();
        let note = gap(written.dropped);
        assert_eq!(text.len() as u64, HEAD + END + note.len() as u64);
        assert!(text.starts_with(b"0000000000000000000\n") && text.ends_with(b"\nthe last line\n"));
        let middle = &text[HEAD as usize..HEAD as usize + note.len()];
        assert_eq!(middle, note.as_bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_log_of_a_killed_process_is_made_whole() {
        for said in [3_u64 << 20, HEAD + 5, HEAD + END, HEAD + 3 * END + 77] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let log = Log::new(&path, "s", Arc::new(rondo_core::ports::Unwatched));
            let mut left = said;
            while left > 0 {
                let part = vec![b'x'; left.min(1 << 20) as usize];
                log.take(&part);
                left -= part.len() as u64;
            }
            let dropped = said.saturating_sub(HEAD + END);
            let note = if dropped > 0 { gap(dropped).len() as u64 } else { 0 };
            let mut expected = None;
            for again in 0..3 {
                if again == 2 && dropped > 0 {
                    // As when the process was killed while it put them together.
                    let newest = HEAD + (said - HEAD - 1) / END * END;
                    std::fs::remove_file(piece(&path, newest)).unwrap();
                }
                assert!(salvage(&path).unwrap());
                let whole = std::fs::read(&path).unwrap();
                assert_eq!(whole.len() as u64, said - dropped + note);
                assert!(*expected.get_or_insert_with(|| whole.clone()) == whole, "time {again} of {said}");
            }
        }
        assert!(!salvage(Path::new("/nonexistent/log")).unwrap());
    }

    #[test]
    fn a_log_between_the_bounds_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(&folder.path().join("log"), "s", Arc::new(rondo_core::ports::Unwatched));
        let part: Vec<u8> = (0..1 << 20).map(|at| b'a' + (at % 26) as u8).collect();
        for _ in 0..60 {
            log.take(&part);
        }
        let written = log.finish();
        assert_eq!(
            (written.dropped, std::fs::read(written.path.as_ref().unwrap()).unwrap() == part.repeat(60)),
            (0, true)
        );
    }
}
