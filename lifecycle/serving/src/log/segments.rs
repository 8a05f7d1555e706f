//! Segments: append-only files of frames, written and synced by group.
//!
//! Whoever appends leaves its frames in a buffer and gets the [`Group`] that they are in. Whoever needs
//! them on disk waits for that group: the first to wait writes and syncs everything that has gathered,
//! for all of them. So many callers share one sync, and nobody waits who need not.
//!
//! A segment that was not begun by this process is never appended to. A write that fails is cut off
//! again and the segment closed; its group learns of the failure and the next one begins a new segment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::log::frame::{Frames, HEADER};

/// Frames that reach the disk together.
#[derive(Debug, Default)]
pub struct Group {
    outcome: OnceLock<Result<(), (io::ErrorKind, String)>>,
}

/// Appends to the segments of a folder.
#[derive(Debug)]
pub struct Appender {
    folder: PathBuf,
    roll_at: u64,
    buffer_limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    buffer: Vec<u8>,
    group: Arc<Group>,
    since: Option<Instant>,
    records: u64,
    lost: u64,
    writing: bool,
    segment: Option<Segment>,
    active: Option<u64>,
    next: u64,
    /// A segment has been closed since [`Appender::wait_due`] last returned.
    closed: bool,
    stopped: bool,
}

/// The segment that is being written.
#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    length: u64,
}

impl Appender {
    /// An appender to a folder, whose segments so far are repaired: a torn end is cut off. New segments
    /// are numbered from `first` on, or after the last one there is.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or has a file that is no segment.
    pub fn open(folder: &Path, first: u64, roll_at: u64, buffer_limit: usize) -> Result<Self> {
        make_folder(folder)?;
        let mut next = first;
        for (number, path) in list(folder)? {
            repair(&path)?;
            next = next.max(number.saturating_add(1));
        }
        let state = State {
            buffer: Vec::new(),
            group: Arc::default(),
            since: None,
            records: 0,
            lost: 0,
            writing: false,
            segment: None,
            active: None,
            next,
            closed: false,
            stopped: false,
        };
        Ok(Self {
            folder: folder.to_owned(),
            roll_at,
            buffer_limit,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves frames to be written; nothing where too much waits already.
    pub fn append(&self, frames: &[u8]) -> Option<Arc<Group>> {
        self.append_counted(frames, 1)
    }

    /// As [`Self::append`], with the number of records that the frames hold.
    pub fn append_counted(&self, frames: &[u8], records: u64) -> Option<Arc<Group>> {
        let mut state = self.lock();
        if state.buffer.len().saturating_add(frames.len()) > self.buffer_limit {
            return None;
        }
        state.buffer.extend_from_slice(frames);
        state.records += records;
        if state.since.is_none() {
            state.since = Some(Instant::now());
            self.changed.notify_all();
        }
        Some(Arc::clone(&state.group))
    }

    /// Waits until a group is on disk, writing it if nobody else does.
    ///
    /// # Errors
    /// When it could not be written; then none of its frames is in the log.
    pub fn commit(&self, group: &Arc<Group>) -> Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(outcome) = group.outcome.get() {
                return match outcome {
                    Ok(()) => Ok(()),
                    Err((kind, text)) => {
                        Err(Error::io("write", &self.folder, io::Error::new(*kind, text.clone())))
                    }
                };
            }
            if state.writing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // A group without an outcome that nobody writes is the one that gathers now.
            state.writing = true;
            state.since = None;
            let frames = std::mem::take(&mut state.buffer);
            let records = std::mem::take(&mut state.records);
            let mine = std::mem::take(&mut state.group);
            let segment = state.segment.take();
            let number = state.next;
            if segment.is_none() && !frames.is_empty() {
                state.next += 1;
            }
            drop(state);
            let (segment, outcome) = self.write(segment, number, &frames);
            state = self.lock();
            state.active = segment.as_ref().map(|segment| segment.number);
            state.closed |= segment.is_none() && !frames.is_empty();
            state.segment = segment;
            state.writing = false;
            if outcome.is_err() {
                state.lost += records;
            }
            let outcome = outcome.map_err(|error| (error.kind(), error.to_string()));
            // Only the writer of a group sets its outcome.
            let _ = mine.outcome.set(outcome);
            self.changed.notify_all();
        }
    }

    /// Brings everything appended so far to disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn sync(&self) -> Result<()> {
        let group = {
            let state = self.lock();
            if state.buffer.is_empty() && !state.writing {
                return Ok(());
            }
            Arc::clone(&state.group)
        };
        self.commit(&group)
    }

    /// How many records were in groups that could not be written.
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// Waits until something has waited for so long, a segment was closed, or `stop` was called; says
    /// whether to go on. Who commits each record by itself leaves nothing that waits, yet closes segments.
    pub fn wait_due(&self, longest: Duration) -> bool {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return false;
            }
            if std::mem::take(&mut state.closed) {
                return true;
            }
            let waited = state.since.map(|since| since.elapsed());
            match waited {
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(waited) if waited >= longest => return true,
                Some(waited) => {
                    let rest = longest.saturating_sub(waited);
                    state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Lets `wait_due` return for good.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Closes the segment that is being written: the next frame begins a new one.
    pub fn close_segment(&self) {
        let mut state = self.lock();
        while state.writing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.segment = None;
        state.active = None;
        state.closed = true;
        self.changed.notify_all();
    }

    /// The segments that nobody writes any more, oldest first, with their lengths.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn closed(&self) -> Result<Vec<(u64, PathBuf, u64)>> {
        let below = {
            let mut state = self.lock();
            while state.writing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.active.unwrap_or(state.next)
        };
        let mut all = Vec::new();
        for (number, path) in list(&self.folder)? {
            if number < below {
                let length = fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
                all.push((number, path, length));
            }
        }
        Ok(all)
    }

    /// Writes frames and syncs them. Gives back the segment to go on with, where there is one.
    fn write(
        &self,
        segment: Option<Segment>,
        number: u64,
        frames: &[u8],
    ) -> (Option<Segment>, io::Result<()>) {
        if frames.is_empty() {
            return (segment, Ok(()));
        }
        let mut segment = match segment.map_or_else(|| self.begin(number), Ok) {
            Ok(segment) => segment,
            Err(error) => return (None, Err(error)),
        };
        match segment.file.write_all(frames).and_then(|()| segment.file.sync_data()) {
            Ok(()) => {
                segment.length += frames.len() as u64;
                let full = segment.length >= self.roll_at;
                ((!full).then_some(segment), Ok(()))
            }
            Err(error) => {
                // What was written of it must not be found later. Should even this fail, the frames'
                // own checksums still tell whole ones from torn ones.
                let _ = segment.file.set_len(segment.length).and_then(|()| segment.file.sync_data());
                (None, Err(error))
            }
        }
    }

    fn begin(&self, number: u64) -> io::Result<Segment> {
        let path = self.folder.join(format!("{number:016}.log"));
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        file.write_all(&HEADER)?;
        sync_folder(&self.folder)?;
        Ok(Segment { file, path, number, length: HEADER.len() as u64 })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // A segment without a frame says nothing.
        if self.length == HEADER.len() as u64 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The segments of a folder by number, oldest first; none where there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder, error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io("read", folder, error))?.path();
        let number = path
            .extension()
            .is_some_and(|ending| ending == "log")
            .then(|| path.file_stem()?.to_str()?.parse().ok());
        if let Some(Some(number)) = number {
            all.push((number, path));
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The bytes of a segment; none where it is gone by now.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// The frames of a segment's bytes.
///
/// # Errors
/// When they are not a segment's.
pub fn frames<'a>(path: &Path, bytes: &'a [u8]) -> Result<Frames<'a>> {
    Frames::new(bytes).ok_or_else(|| Error::NotASegment { path: path.to_owned() })
}

/// Cuts a torn end off a segment.
fn repair(path: &Path) -> Result<()> {
    let Some(bytes) = read(path)? else { return Ok(()) };
    let mut whole = frames(path, &bytes)?;
    whole.by_ref().for_each(drop);
    if whole.place() < bytes.len() {
        let file =
            OpenOptions::new().write(true).open(path).map_err(|error| Error::io("open", path, error))?;
        file.set_len(whole.place() as u64)
            .and_then(|()| file.sync_data())
            .map_err(|error| Error::io("cut the torn end off", path, error))?;
    }
    Ok(())
}

/// Makes a folder and its parents where there is none, and makes its own name durable.
///
/// # Errors
/// When the system refuses.
pub fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| Error::io("make the folder", folder, error))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            sync_folder(parent).map_err(|error| Error::io("sync", parent, error))
        }
        Some(_) | None => Ok(()),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame;

    fn framed(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode(content, &mut bytes);
        bytes
    }

    fn contents(folder: &Path) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for (_, path) in list(folder).unwrap() {
            let bytes = read(&path).unwrap().unwrap();
            all.extend(frames(&path, &bytes).unwrap().map(<[u8]>::to_vec));
        }
        all
    }

    #[test]
    fn what_is_committed_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let appender = Appender::open(folder.path(), 0, 1 << 20, 1 << 20).unwrap();
        let group = appender.append(&framed(b"one")).unwrap();
        assert!(contents(folder.path()).is_empty());
        appender.commit(&group).unwrap();
        assert_eq!(contents(folder.path()), [b"one"]);
        appender.commit(&group).unwrap();
        appender.sync().unwrap();
    }

    #[test]
    fn many_callers_share_groups_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let appender = Appender::open(folder.path(), 0, 300, 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let appender = &appender;
                scope.spawn(move || {
                    for step in 0..20_u8 {
                        let group = appender.append(&framed(&[thread, step])).unwrap();
                        appender.commit(&group).unwrap();
                    }
                });
            }
        });
        let mut all = contents(folder.path());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 160);
        assert!(list(folder.path()).unwrap().len() > 1, "segments are rolled");
    }

    #[test]
    fn a_torn_end_is_cut_off_and_a_new_segment_begun() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("0000000000000003.log");
        let mut bytes = HEADER.to_vec();
        bytes.extend(framed(b"whole"));
        let whole = bytes.len() as u64;
        bytes.extend(&framed(b"torn")[..9]);
        fs::write(&first, bytes).unwrap();
        let appender = Appender::open(folder.path(), 0, 1 << 20, 1 << 20).unwrap();
        assert_eq!(fs::metadata(&first).unwrap().len(), whole);
        let group = appender.append(&framed(b"next")).unwrap();
        appender.commit(&group).unwrap();
        assert_eq!(contents(folder.path()), [b"whole".to_vec(), b"next".to_vec()]);
        assert_eq!(list(folder.path()).unwrap().last().unwrap().0, 4);
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let appender = Appender::open(folder.path(), 0, 1 << 20, 40).unwrap();
        assert!(appender.append(&[0; 30]).is_some());
        assert!(appender.append(&[0; 30]).is_none());
    }

    #[test]
    fn a_failed_write_is_told_to_its_group_and_the_next_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let appender = Appender::open(&inner, 0, 1 << 20, 1 << 20).unwrap();
        fs::remove_dir(&inner).unwrap();
        let group = appender.append(&framed(b"lost")).unwrap();
        assert!(appender.commit(&group).is_err());
        fs::create_dir(&inner).unwrap();
        let group = appender.append(&framed(b"kept")).unwrap();
        appender.commit(&group).unwrap();
        assert_eq!(contents(&inner), [b"kept"]);
    }

    #[test]
    fn a_file_that_is_no_segment_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0000000000000001.log");
        fs::write(&path, b"somebody's diary").unwrap();
        assert!(Appender::open(folder.path(), 0, 1, 1).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"somebody's diary");
    }
}
