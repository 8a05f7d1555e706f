//! Turns: who pushes and who cleans up a remote, so that neither spoils the other's work.
//!
//! A push takes what the index lists for there, and a clean-up takes away what no note reaches: between the
//! two lies an object that is just about to be reached again. So each says first what it is about to do, in
//! a file of its own, and only then looks for files of the other kind. Whoever finds one steps back. As the
//! stores show what was written to whoever asks after it, at least one of two sees the other. Pushes never
//! wait for pushes.
//!
//! A turn is renewed while it lasts; one that nobody has renewed for [`STALE`] by the remote's own clock is
//! of a process that was killed, and is taken away. Who cleans up asks before each step that cannot be taken
//! back whether its turn is still there.

use std::time::Duration;

use bytes::Bytes;
use rondo_core::RunId;
use tokio::task::JoinHandle;

use crate::{Error, Remote};

/// How often a turn is renewed.
const RENEWED: Duration = Duration::from_secs(120);

/// After this long without a renewal a turn is nobody's.
pub const STALE: Duration = Duration::from_secs(15 * 60);

const PUSHES: &str = "turns/push";
const SWEEPS: &str = "turns/sweep";

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Something is added, or found to be there already.
    Push,
    /// Something is taken away.
    Sweep,
}

/// A turn that was taken. [`Turn::end`] gives it back; where that never comes, it goes stale.
pub struct Turn {
    remote: Remote,
    name: String,
    renewing: JoinHandle<()>,
}

impl Remote {
    /// Takes a turn.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody is at what cannot be done at the same time, or the remote cannot be
    /// reached.
    pub(crate) async fn turn(&self, what: What) -> Result<Turn, Error> {
        let folder = match what {
            What::Push => PUSHES,
            What::Sweep => SWEEPS,
        };
        let name = format!("{folder}/{}", RunId::random().hex());
        self.put(&name, Bytes::from_static(b"\n")).await?;
        let (remote, own) = (self.clone(), name.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED).await;
                // One that was taken away for stale must not come back.
                if let Ok(Some(_)) = remote.get(&own).await {
                    let _ = remote.put(&own, Bytes::from_static(b"\n")).await;
                }
            }
        });
        let turn = Turn { remote: self.clone(), name, renewing };
        match turn.others(what).await {
            Ok(None) => Ok(turn),
            Ok(Some(busy)) => {
                turn.end().await?;
                Err(busy)
            }
            Err(error) => {
                // Why there is no turn is worth more than that it cannot be given back.
                let _ = turn.end().await;
                Err(error)
            }
        }
    }
}

impl Turn {
    /// What stands in the way. Turns that have gone stale are taken away.
    async fn others(&self, what: What) -> Result<Option<Error>, Error> {
        let folders: &[(&str, &'static str)] = match what {
            What::Push => &[(SWEEPS, "is being cleaned up")],
            What::Sweep => &[(SWEEPS, "is being cleaned up by another"), (PUSHES, "is being pushed to")],
        };
        let Some(now) = self.remote.files(&self.name).await?.into_iter().map(|file| file.modified).max()
        else {
            return Ok(Some(self.busy("changes too quickly")));
        };
        for (folder, why) in folders {
            for file in self.remote.files(folder).await? {
                if file.name == self.name {
                    continue;
                }
                if now.duration_since(file.modified).unwrap_or_default() < STALE {
                    return Ok(Some(self.busy(why)));
                }
                self.remote.remove(&file.name).await?;
            }
        }
        Ok(None)
    }

    fn busy(&self, why: &'static str) -> Error {
        Error::Busy { remote: self.remote.address(), why }
    }

    /// Makes sure that it is still this one's turn.
    pub(crate) async fn holds(&self) -> Result<(), Error> {
        match self.remote.get(&self.name).await? {
            Some(_) => Ok(()),
            None => Err(self.busy("was taken over by another, since this stood still too long")),
        }
    }

    /// Gives it back.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.renewing.abort();
        self.remote.remove(&self.name).await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}
