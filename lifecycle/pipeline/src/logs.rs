//! What steps say, to who reads it from anywhere: while a step runs, whichever process of this machine runs
//! it, and when it has ended.
//!
//! A place in a log is the number of bytes that were said before it. It means the same in the files of a step
//! under way, of which the middle may be gone, and in the log that is kept of it: so reading goes on where it
//! stopped, whatever happened in between. A run of a pipeline or of a sweep has no log of its own: it is
//! read as those of its steps, one after the other, in the order in which they began. No more of a log than
//! a buffer is ever in memory.

mod files;
pub mod lines;
mod outputs;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rondo_core::RunId;
use rondo_core::run::{RunKind, RunRow};
use rondo_store::Store;

use crate::Error;
use files::{Live, Whole};
pub(crate) use files::{folder_of, folders};
pub use outputs::{Executed, executed};

/// How often it is looked for more, by who waits for it.
pub const LOOK: Duration = Duration::from_millis(200);
/// How many runs of a pipeline are looked up at once.
const PAGE: i64 = 256;

/// A place in what a run has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The run whose log it is.
    pub run: RunId,
    /// How many bytes it had said.
    pub at: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.run, self.at)
    }
}

/// A text that is no place in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place in a log")]
pub struct NotAMark(String);

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let read = || {
            let (run, at) = text.split_once(':')?;
            Some(Self { run: run.parse().ok()?, at: at.parse().ok()? })
        };
        read().ok_or_else(|| NotAMark(text.chars().take(80).collect()))
    }
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The log of another run begins.
    Begins {
        /// The run.
        run: RunId,
        /// Its name.
        name: String,
    },
    /// This was said from there on.
    Bytes {
        /// From where.
        from: Mark,
        /// What.
        bytes: Vec<u8>,
    },
    /// So many bytes from there on were not kept.
    LeftOut {
        /// From where.
        from: Mark,
        /// How many.
        bytes: u64,
    },
    /// Nothing more has been said yet.
    Waits,
    /// That was all.
    Ends,
}

/// Reads what a run says from a place on.
pub struct Follower {
    store: Store,
    experiment: i64,
    levels: Vec<Level>,
    open: Option<Reading>,
}

/// A run that is read as the runs below it.
struct Level {
    parent: RunId,
    after: Option<RunId>,
    waiting: VecDeque<RunId>,
}

/// The log of one run.
struct Reading {
    run: RunId,
    at: u64,
    live: Option<Live>,
    whole: Option<Whole>,
}

impl Follower {
    /// Reads from the beginning, or from a place that was come to before.
    ///
    /// # Errors
    /// When the place is none of this run's, or the store cannot be read.
    pub async fn open(store: &Store, run: &RunRow, from: Option<Mark>) -> Result<Self, Error> {
        let (store, experiment) = (store.clone(), run.experiment);
        let mut follower = Self { store, experiment, levels: Vec::new(), open: None };
        let Some(from) = from else {
            follower.enter(run);
            return Ok(follower);
        };
        // From the run of the place up to this one.
        let foreign = || Error::PlaceForeign { place: from.to_string(), run: run.id };
        let mut row = follower.store.meta().run(from.run).await?.ok_or_else(foreign)?;
        follower.open = Some(Reading::new(row.id, from.at));
        while row.id != run.id {
            let parent = row.parent.filter(|_| follower.levels.len() < 8).ok_or_else(foreign)?;
            follower.levels.insert(0, Level { parent, after: Some(row.id), waiting: VecDeque::new() });
            row = follower.store.meta().run(parent).await?.ok_or_else(foreign)?;
        }
        Ok(follower)
    }

    fn enter(&mut self, run: &RunRow) {
        if run.kind == RunKind::Pipeline || run.detail.sweep.is_some() {
            self.levels.push(Level { parent: run.id, after: None, waiting: VecDeque::new() });
        } else {
            self.open = Some(Reading::new(run.id, 0));
        }
    }

    /// What comes next, without waiting for it.
    ///
    /// # Errors
    /// When the store or a file cannot be read.
    pub async fn next(&mut self) -> Result<Said, Error> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next(&self.store).await? {
                    Some(said) => return Ok(said),
                    None => self.open = None,
                }
            }
            let Some(level) = self.levels.last_mut() else { return Ok(Said::Ends) };
            if let Some(run) = level.waiting.pop_front() {
                level.after = Some(run);
                if let Some(row) = self.store.meta().run(run).await? {
                    self.enter(&row);
                    if self.open.is_some() {
                        return Ok(Said::Begins { run: row.id, name: row.name });
                    }
                }
                continue;
            }
            // Before it is looked for more: what has ended begins none after that.
            let parent = self.store.meta().run(level.parent).await?;
            let more =
                self.store.meta().step_runs_after(level.parent, self.experiment, level.after, PAGE).await?;
            if !more.is_empty() {
                level.waiting.extend(more);
            } else if parent.is_some_and(|parent| !parent.state.ended()) {
                return Ok(Said::Waits);
            } else {
                self.levels.pop();
            }
        }
    }
}

impl Reading {
    const fn new(run: RunId, at: u64) -> Self {
        Self { run, at, live: None, whole: None }
    }

    /// What comes next of this log; nothing at its end.
    async fn next(&mut self, store: &Store) -> Result<Option<Said>, Error> {
        if self.whole.is_none() {
            if self.live.is_none() {
                self.live = Live::find(store, self.run).await?;
            }
            if let Some(live) = &mut self.live {
                let read = live.read(self.at)?;
                if let Some(said) = self.came(read) {
                    return Ok(Some(said));
                }
            }
            let Some(row) = store.meta().run(self.run).await? else { return Ok(None) };
            if !row.state.ended() {
                return Ok(Some(Said::Waits));
            }
            let Some(log) = row.detail.log else { return Ok(None) };
            self.live = None;
            self.whole = Some(Whole::open(store, log)?);
        }
        let read = self.whole.as_mut().map(|whole| whole.read(self.at)).transpose()?;
        Ok(read.and_then(|read| self.came(read)))
    }

    fn came(&mut self, read: files::Read) -> Option<Said> {
        let from = Mark { run: self.run, at: self.at };
        match read {
            files::Read::Nothing => None,
            files::Read::Bytes(bytes) => {
                self.at += bytes.len() as u64;
                Some(Said::Bytes { from, bytes })
            }
            files::Read::LeftOut(bytes) => {
                self.at += bytes;
                Some(Said::LeftOut { from, bytes })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read_again() {
        let mark = Mark { run: RunId::random(), at: 77 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for bad in ["", "end", "77", "x:7", ":", "00000000000000000000000000000000:-1"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }
}
