//! Writes the executed copy again and again without letting that become the work.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::document;
use crate::error::Error;
use crate::execute::cell::Session;

/// The shortest time between two copies that nobody asked for.
const REST: Duration = Duration::from_secs(1);

/// How many times as long as a copy took none is made after it.
const RESTS: u32 = 10;

/// Where the copy goes, and when it last went.
pub struct Saver {
    path: PathBuf,
    /// How often it is written while one cell runs.
    every: Option<Duration>,
    /// When it was last written, and how long that took.
    last: Option<(Instant, Duration)>,
    /// Whether a cell has ended that it does not have yet.
    behind: bool,
}

impl Saver {
    /// A saver that has written nothing yet.
    pub fn new(path: PathBuf, every: Option<Duration>) -> Self {
        Self { path, every: every.map(|every| every.max(REST)), last: None, behind: false }
    }

    /// When it should be written while a cell runs: as soon as it may where it is behind.
    pub fn due(&self) -> Option<Instant> {
        let (when, took) = self.last?;
        let rest = took * RESTS;
        when.checked_add(if self.behind { rest } else { self.every?.max(rest) })
    }

    /// From now on the copy goes elsewhere.
    pub fn move_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes the notebook; unless `surely`, not when the last time was a moment ago in proportion to what it
    /// took, so that a notebook with large outputs is not written over and over. That is then made up for when it
    /// is [due](Self::due).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn save(&mut self, session: &mut Session, surely: bool) -> Result<(), Error> {
        if let Some((when, took)) = self.last
            && !surely
            && when.elapsed() < took * RESTS
        {
            self.behind = true;
            return Ok(());
        }
        self.behind = false;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Notebook;
    use crate::execute::ExecuteRequest;
    use crate::execute::tee::Tee;
    use rondo_core::mask::Mask;

    #[tokio::test]
    async fn a_copy_that_was_left_out_is_made_up_for_as_soon_as_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ipynb");
        let request = ExecuteRequest::new("in.ipynb", &path, Default::default());
        let notebook = Notebook::new("python3", "python");
        let mut session = Session::new(notebook, &request, Mask::default(), Tee::open(None, None).unwrap());
        let (when, took) = (Instant::now(), Duration::from_secs(3600));
        for every in [None, Some(took * 1000)] {
            let mut saver = Saver { last: Some((when, took)), ..Saver::new(path.clone(), every) };
            assert_eq!(saver.due(), every.map(|every| when + every));
            saver.save(&mut session, false).await.unwrap();
            assert!(!path.exists());
            assert_eq!(saver.due(), Some(when + took * RESTS));
            saver.save(&mut session, true).await.unwrap();
            assert!(std::fs::remove_file(&path).is_ok());
            assert_eq!(saver.due().is_some(), every.is_some());
        }
    }
}
