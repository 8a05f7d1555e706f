//! The files that a log is read from: those of a step under way in its work folder, or the object that is
//! kept of it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rondo_core::run::RunKind;
use rondo_core::{Digest, RunId};
use rondo_store::Store;
use serde::Deserialize;

use crate::Error;
use crate::execute::log::{END, HEAD, gap, piece};

/// How much is read at once.
const BUFFER: u64 = 64 * 1024;

/// How many runs a step's may lie below: a trial's lies below its sweep's.
const DEEPEST: usize = 4;

/// What a file has from a place on.
pub(super) enum Read {
    Nothing,
    Bytes(Vec<u8>),
    LeftOut(u64),
}

impl From<Vec<u8>> for Read {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::Nothing } else { Self::Bytes(bytes) }
    }
}

/// The folder that a run of a step works in, where a process of this machine has it under way.
pub(super) async fn work_folder(store: &Store, run: RunId) -> Result<Option<PathBuf>, Error> {
    let mut pipeline = run;
    for _ in 0..DEEPEST {
        let Some(row) = store.meta().run(pipeline).await? else { return Ok(None) };
        match (row.kind, row.parent) {
            (RunKind::Pipeline, _) => break,
            (RunKind::Step, Some(parent)) => pipeline = parent,
            (RunKind::Step | RunKind::Client, _) => return Ok(None),
        }
    }
    let work = store.root().join("work").join(pipeline.hex());
    Ok(folder_of(&work, run))
}

/// The folder of a run of a step among those of a pipeline's run: only steps under way have one.
pub(crate) fn folder_of(work: &Path, run: RunId) -> Option<PathBuf> {
    folders(work).find(|(_, own)| *own == run).map(|(folder, _)| folder)
}

/// The folders of steps in that of a pipeline's run, each with its run.
pub(crate) fn folders(work: &Path) -> impl Iterator<Item = (PathBuf, RunId)> + use<> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter_map(|folder| run_of(&folder).map(|run| (folder, run)))
}

/// The run that a try's folder is of. Each try of a step has the same folder, one after the other.
fn run_of(folder: &Path) -> Option<RunId> {
    #[derive(Deserialize)]
    struct Contract {
        run: RunId,
    }
    let text = fs::read(folder.join("step.json")).ok()?;
    serde_json::from_slice::<Contract>(&text).ok().map(|contract| contract.run)
}

/// The log of a step under way.
pub(super) struct Live {
    run: RunId,
    folder: PathBuf,
    /// Held open: it is read to its end also when it has been moved or removed.
    head: File,
}

impl Live {
    /// Finds it; nothing where nobody has it under way here, or it has said nothing yet.
    pub async fn find(store: &Store, run: RunId) -> Result<Option<Self>, Error> {
        let Some(folder) = work_folder(store, run).await? else { return Ok(None) };
        let head = match File::open(folder.join("log")) {
            Ok(head) => head,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        // The next try may have begun in between.
        Ok((run_of(&folder) == Some(run)).then_some(Self { run, folder, head }))
    }

    pub fn read(&mut self, at: u64) -> Result<Read, Error> {
        let log = self.folder.join("log");
        let fault = Error::io("read", &log);
        if at < HEAD {
            // Behind the beginning stands what is put together in the end, which is read by other places.
            return part(&mut self.head, at, HEAD).map(Read::from).map_err(fault);
        }
        let from = HEAD + (at - HEAD) / END * END;
        let opened = File::open(piece(&log, from));
        if run_of(&self.folder) != Some(self.run) {
            return Ok(Read::Nothing);
        }
        match opened {
            Ok(mut file) => part(&mut file, at - from, END).map(Read::from).map_err(fault),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Turned over, or not begun: nothing more has been said then.
                let later = self.oldest().filter(|oldest| *oldest > at);
                Ok(later.map_or(Read::Nothing, |oldest| Read::LeftOut(oldest - at)))
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// Where the oldest piece of its end begins that is still there.
    fn oldest(&self) -> Option<u64> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter_map(|path| path.extension()?.to_str()?.strip_prefix("end-")?.parse().ok()).min()
    }
}

/// The log that is kept of a run.
pub(super) struct Whole {
    path: PathBuf,
    file: File,
    length: u64,
    /// How many bytes were left out behind the beginning.
    dropped: u64,
}

impl Whole {
    pub fn open(store: &Store, log: Digest) -> Result<Self, Error> {
        let path = store.objects().sound(log)?;
        let mut file = File::open(&path).map_err(Error::io("read", &path))?;
        let dropped = dropped(&mut file).map_err(Error::io("read", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { path, file, length, dropped })
    }

    pub fn read(&mut self, at: u64) -> Result<Read, Error> {
        let fault = Error::io("read", &self.path);
        if self.dropped == 0 {
            if at >= self.length {
                return Ok(Read::Nothing);
            }
            return part(&mut self.file, at, u64::MAX).map(Read::from).map_err(fault);
        }
        let again = HEAD + self.dropped;
        if at < HEAD {
            return part(&mut self.file, at, HEAD).map(Read::from).map_err(fault);
        }
        if at < again {
            return Ok(Read::LeftOut(again - at));
        }
        let place = (at - self.dropped).saturating_add(gap(self.dropped).len() as u64);
        if place >= self.length {
            return Ok(Read::Nothing);
        }
        part(&mut self.file, place, u64::MAX).map(Read::from).map_err(fault)
    }
}

/// How many bytes were left out of a log, by the line that says so.
fn dropped(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length <= HEAD + END {
        return Ok(0);
    }
    let line = part(file, HEAD, HEAD + 64)?;
    let line = String::from_utf8_lossy(&line);
    let count = line.strip_prefix("\n[").and_then(|rest| rest.split_once(' '));
    let count: u64 = count.and_then(|(count, _)| count.parse().ok()).unwrap_or(0);
    let whole = HEAD + gap(count).len() as u64 + END == length && line.starts_with(&gap(count));
    Ok(if whole { count } else { 0 })
}

/// A buffer's worth of a file from a place on, and nothing behind `end`.
fn part(file: &mut File, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(end.saturating_sub(at).min(BUFFER)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondo_core::ports::Unwatched;

    use super::*;
    use crate::execute::log::Log;

    /// A run's folder with a log in it that says which byte each byte is.
    struct Place {
        _folder: tempfile::TempDir,
        store: Store,
        live: PathBuf,
        run: RunId,
        log: Log,
        said: u64,
    }

    impl Place {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).await.unwrap();
            let (live, run) = (folder.path().join("work/step"), RunId::random());
            fs::create_dir_all(&live).unwrap();
            fs::write(live.join("step.json"), format!("{{\"run\":\"{run}\"}}")).unwrap();
            let log = Log::new(&live.join("log"), "s", Arc::new(Unwatched));
            Self { _folder: folder, store, live, run, log, said: 0 }
        }

        fn say(&mut self, until: u64) {
            while self.said < until {
                let some = (until - self.said).min(1 << 20);
                let bytes: Vec<u8> = (self.said..self.said + some).map(byte).collect();
                self.log.take(&bytes);
                self.said += some;
            }
        }

        fn live(&self) -> Live {
            let head = File::open(self.live.join("log")).unwrap();
            Live { run: self.run, folder: self.live.clone(), head }
        }
    }

    fn byte(at: u64) -> u8 {
        (at % 251) as u8
    }

    /// Reads on from a place; where that came to, and how much was left out.
    fn through(at: &mut u64, mut next: impl FnMut(u64) -> Read) -> u64 {
        let mut left_out = 0;
        loop {
            match next(*at) {
                Read::Nothing => return left_out,
                Read::LeftOut(bytes) => {
                    left_out += bytes;
                    *at += bytes;
                }
                Read::Bytes(bytes) => {
                    assert!(bytes.len() as u64 <= BUFFER);
                    assert!(bytes.iter().zip(*at..).all(|(got, at)| *got == byte(at)), "from {at}");
                    *at += bytes.len() as u64;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_long_log_is_read_on_at_any_time_and_its_places_hold_when_it_has_ended() {
        let mut place = Place::new().await;
        place.say(HEAD - 10);
        let (mut live, mut early) = (place.live(), 0);
        assert_eq!((through(&mut early, |at| live.read(at).unwrap()), early), (0, HEAD - 10));
        // Who keeps up misses nothing, also where pieces are turned over.
        for until in [HEAD + 3, HEAD + END, HEAD + END + 1, HEAD + 2 * END + 5, HEAD + 3 * END + 9] {
            place.say(until);
            assert_eq!((through(&mut early, |at| live.read(at).unwrap()), early), (0, until));
        }
        // Who comes late misses the middle.
        let mut late = HEAD - 1;
        assert_eq!(through(&mut late, |at| live.read(at).unwrap()), 2 * END);
        assert_eq!(late, place.said);

        let written = place.log.finish();
        let taken = place.store.objects().put_path(&written.path.unwrap(), rondo_store::objects::Take::Move);
        let mut whole = Whole::open(&place.store, taken.unwrap().digest).unwrap();
        assert_eq!(whole.dropped, written.dropped);
        for (from, left_out) in [(0, written.dropped), (HEAD + 7, written.dropped - 7), (late - 5, 0)] {
            let mut at = from;
            assert_eq!(through(&mut at, |at| whole.read(at).unwrap()), left_out, "from {from}");
            assert_eq!(at, place.said);
        }
        for mut beyond in [place.said + 100, u64::MAX] {
            assert_eq!(through(&mut beyond, |at| whole.read(at).unwrap()), 0);
        }
    }

    #[tokio::test]
    async fn the_next_try_in_the_same_folder_is_another_log() {
        let mut place = Place::new().await;
        place.say(HEAD + 5);
        let mut live = place.live();
        let other = format!("{{\"run\":\"{}\"}}", RunId::random());
        fs::write(place.live.join("step.json"), other).unwrap();
        assert!(matches!(live.read(HEAD).unwrap(), Read::Nothing));
        assert!(folder_of(place.live.parent().unwrap(), place.run).is_none());
    }
}
