//! Writes the executed copy again and again without letting that become the work.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::document;
use crate::error::Error;
use crate::execute::cell::Session;

/// The shortest time between two copies that nobody asked for.
const REST: Duration = Duration::from_secs(1);

/// Where the copy goes, and when it last went.
pub struct Saver {
    path: PathBuf,
    /// How often it is written while one cell runs.
    every: Option<Duration>,
    /// When it was last written, and how long that took.
    last: Option<(Instant, Duration)>,
}

impl Saver {
    /// A saver that has written nothing yet.
    pub fn new(path: PathBuf, every: Option<Duration>) -> Self {
        Self { path, every: every.map(|every| every.max(REST)), last: None }
    }

    /// When a cell that runs for long should be written the next time.
    pub fn due(&self) -> Option<Instant> {
        let (when, took) = self.last?;
        when.checked_add(self.every?.max(took * 10))
    }

    /// From now on the copy goes elsewhere.
    pub fn move_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes the notebook; unless `surely`, not when the last time was a moment ago in proportion to what it
    /// took, so that a notebook with large outputs is not written over and over.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn save(&mut self, session: &mut Session, surely: bool) -> Result<(), Error> {
        if let Some((when, took)) = self.last
            && !surely
            && when.elapsed() < took * 10
        {
            return Ok(());
        }
        session.settle();
        let start = Instant::now();
        let (path, bytes) = (self.path.clone(), session.notebook.to_bytes_without(&session.mask));
        let written = tokio::task::spawn_blocking(move || document::write_atomically(&path, &bytes)).await;
        self.last = Some((Instant::now(), start.elapsed()));
        match written {
            Ok(result) => result,
            Err(error) => Err(Error::io("write", &self.path, std::io::Error::other(error))),
        }
    }
}
