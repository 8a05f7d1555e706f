//! A source on this machine as a place that the store can look at: a file or a folder, with or without a
//! pattern; and the look itself, with what was seen there the last time.
//!
//! What is remembered lies in `stat/<dataset>.index` of the store (see [`rondo_store::scan`]). It saves
//! reading and decides nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_store::Store;
use rondo_store::objects::Stored;
use rondo_store::scan::{self, How, Index, Request, Resume, Scan};

use crate::fetch::archive::Format;
use crate::fetch::glob::Glob;
use crate::{Error, Source};

/// How often the progress of a long piece of work is told.
const OFTEN: Duration = Duration::from_millis(200);

/// A file or folder on this machine.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// Which of the files below.
    pub glob: Option<Glob>,
    /// Whether the files are the version: an archive and a table that is split are not.
    pub plain: bool,
}

impl Place {
    /// Where a source on this machine lies; nothing for one that is elsewhere.
    ///
    /// # Errors
    /// When there is nothing, or the pattern is broken.
    pub fn of(source: &Source, root: &Path) -> Result<Option<Self>, Error> {
        match source {
            Source::Path(text) => {
                let (path, inside) = crate::fetch::outer(root, text)?;
                if let Some(found) = odd(&path) {
                    return Err(Error::NoFile { what: text.clone(), found });
                }
                let archive = path.is_file()
                    && path.file_name().and_then(|name| name.to_str()).and_then(Format::of).is_some();
                Ok(Some(Self { path, glob: None, plain: !inside && !archive }))
            }
            Source::Glob(pattern) => {
                let (path, glob) = Glob::parse(root, pattern)?;
                if !path.is_dir() {
                    return Err(Error::NoMatch { pattern: pattern.clone() });
                }
                Ok(Some(Self { path, glob: Some(glob), plain: true }))
            }
            Source::Http { .. } | Source::PyPi { .. } | Source::Bucket { .. } | Source::Database { .. } => {
                Ok(None)
            }
        }
    }

    /// A file of its own.
    pub fn file(path: &Path) -> Self {
        Self { path: path.to_owned(), glob: None, plain: true }
    }
}

/// What there is, where it is neither a file nor a folder.
fn odd(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = std::fs::metadata(path).ok()?.file_type();
    [(kind.is_fifo(), "a pipe"), (kind.is_socket(), "a socket")]
        .into_iter()
        .chain([(kind.is_char_device() || kind.is_block_device(), "a device")])
        .find_map(|(is, name)| is.then_some(name))
}

/// A look at a place.
pub(crate) struct Look {
    path: PathBuf,
    pub(crate) scan: Scan,
    pub(crate) index: Option<Index>,
    /// What it is as an object.
    pub(crate) stored: Stored,
    note: Option<PathBuf>,
}

/// What a look needs.
#[derive(Clone)]
pub(crate) struct Looker {
    pub(crate) store: Store,
    pub(crate) progress: Arc<dyn Progress>,
    /// Whose place it is, for the progress and the index.
    pub(crate) dataset: String,
    /// Whether what was seen is remembered.
    pub(crate) remembered: bool,
}

impl Looker {
    fn note(&self, ending: &str) -> PathBuf {
        self.store.root().join("stat").join(format!("{}.{ending}", self.dataset))
    }

    /// What was seen the last time, and whether the version that was made of it is still there.
    pub(crate) async fn index(&self) -> Result<(Option<Index>, bool), Error> {
        if !self.remembered {
            return Ok((None, false));
        }
        let path = self.note("index");
        let index = crate::fetch::blocking(move || Ok(Index::read(&path))).await?;
        let trusted = match index.as_ref().and_then(|index| index.version) {
            Some(version) => self.store.meta().dataset_version(&self.dataset, version).await?.is_some(),
            None => false,
        };
        Ok((index, trusted))
    }

    /// Looks at a place and hashes what is new, and stores it where `store` says so.
    pub(crate) fn look(
        &self,
        place: &Place,
        (index, trusted): (Option<Index>, bool),
        store: bool,
    ) -> Result<Look, Error> {
        let pick = |path: &str, folder: bool| {
            place.glob.as_ref().is_none_or(|glob| if folder { glob.enters(path) } else { glob.takes(path) })
        };
        let request = Request {
            root: &place.path,
            pick: place.glob.is_some().then_some(&pick),
            index: index.as_ref(),
            trusted,
            store: self.store.root(),
        };
        let mut scan = scan::walk(&request)?;
        let stored = if scan.is_unchanged() {
            scan.compose(index.as_ref(), &|tree| Ok(tree.digest()), true)?
        } else {
            self.settle(&mut scan, index.as_ref(), store)?
        };
        let note = self.remembered.then(|| self.note("index"));
        Ok(Look { path: place.path.clone(), scan, index, stored, note })
    }

    fn settle(&self, scan: &mut Scan, index: Option<&Index>, store: bool) -> Result<Stored, Error> {
        let resume = if self.remembered { Resume::read(&self.note("partial")) } else { Resume::none() };
        let watch = Watch::new(self, scan, if store { "storing" } else { "reading" });
        let seen = |bytes: u64| watch.advance(bytes);
        if !store {
            scan.settle(How::Hash, &resume, &seen)?;
            return Ok(scan.compose(index, &|tree| Ok(tree.digest()), false)?);
        }
        let appender = resume.appender();
        let remembered = self.remembered;
        let bulk = self.store.objects().bulk(move |kept| {
            if remembered {
                appender(kept);
            }
        });
        scan.settle(How::Store(&bulk), &resume, &seen)?;
        let stored = scan.compose(index, &|tree| bulk.put_tree(tree), true)?;
        bulk.finish()?;
        Ok(stored)
    }

    /// Forgets what a broken-off addition had stored.
    fn settled(&self) {
        Resume::done(&self.note("partial"));
    }
}

impl Look {
    /// Stores what was only hashed, where it still is what was hashed.
    pub(crate) fn store(&mut self, looker: &Looker) -> Result<(), Error> {
        if self.scan.is_unchanged() {
            return Ok(());
        }
        let stored = looker.settle(&mut self.scan, self.index.as_ref(), true)?;
        if stored == self.stored { Ok(()) } else { Err(Error::Changed { path: self.path.clone() }) }
    }

    /// Whether nothing has to be written to remember this.
    pub(crate) fn is_known(&self, version: Option<Digest>) -> bool {
        let same = |index: &Index| index.version == version && index.digest == self.stored.digest;
        self.scan.is_unchanged() && self.index.as_ref().is_some_and(same)
    }

    /// Remembers what was seen, and the version that was made of it.
    pub(crate) fn remember(&self, looker: &Looker, version: Option<Digest>) -> Result<(), Error> {
        let Some(note) = self.note.as_ref().filter(|_| !self.is_known(version)) else { return Ok(()) };
        self.scan.save(note, self.index.as_ref(), self.stored.digest, version)?;
        looker.settled();
        Ok(())
    }
}

/// The progress of a look, told now and then.
struct Watch<'a> {
    looker: &'a Looker,
    verb: &'static str,
    total: scan::Unread,
    files: AtomicU64,
    bytes: AtomicU64,
    since: Instant,
    told: Mutex<Instant>,
}

impl<'a> Watch<'a> {
    fn new(looker: &'a Looker, scan: &Scan, verb: &'static str) -> Self {
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let since = Instant::now();
        Self { looker, verb, total: scan.unread, files, bytes, since, told: Mutex::new(since) }
    }

    fn advance(&self, bytes: u64) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < OFTEN {
            return;
        }
        *told = Instant::now();
        drop(told);
        self.looker.progress.report(Event::Advanced {
            subject: self.looker.dataset.clone(),
            done: files,
            total: Some(self.total.files),
            message: format!("files: {} {}", self.verb, pace(bytes, self.total.bytes, self.since.elapsed())),
        });
    }
}

/// How much of how much, how quickly, and how long it still takes.
pub(crate) fn pace(done: u64, total: u64, took: Duration) -> String {
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate.max(1.0);
    format!("{} of {}, {}/s, {left:.0} s left", size(done), size(total), size(rate as u64))
}

/// Bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1500), "1.5 kB");
        assert_eq!(size(31_053_850), "31.1 MB");
    }

    #[test]
    fn the_pace_says_how_much_is_left() {
        assert_eq!(
            pace(500_000_000, 1_500_000_000, Duration::from_secs(5)),
            "500.0 MB of 1.5 GB, 100.0 MB/s, 10 s left"
        );
        assert_eq!(pace(0, 0, Duration::ZERO), "0 B of 0 B, 0 B/s, 0 s left");
    }
}
