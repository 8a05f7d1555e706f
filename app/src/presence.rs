//! Whether a project is up: a file in its store that the process which serves it keeps locked, with the
//! address in it. The system releases the lock however that process ends, so that nobody believes a file
//! that it has left.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::{Code, Explain};

use crate::platform::Error;

const FILE: &str = "up";

/// Who asks whether a project is up has the lock for a moment.
const MOMENT: Duration = Duration::from_millis(20);
const MOMENTS: usize = 10;

/// That this process has the project up, as long as it is kept.
#[derive(Debug)]
pub struct Presence {
    file: File,
    place: PathBuf,
}

/// Another process has the project up.
#[derive(Debug, thiserror::Error)]
#[error("the project is up already{}", url.as_ref().map(|url| format!(", at {url}")).unwrap_or_default())]
pub struct UpAlready {
    url: Option<String>,
}

impl Explain for UpAlready {
    fn code(&self) -> Code {
        Code::Busy
    }

    fn hints(&self) -> Vec<String> {
        vec!["to bring it up anew, stop that one first (Ctrl-C)".to_owned()]
    }
}

impl Presence {
    /// Takes the place of the one process that has the project of a store up.
    ///
    /// # Errors
    /// When another process has it, or the disk refuses.
    pub async fn take(store: &Path) -> Result<Self, Error> {
        let place = store.join(FILE);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&place);
        let file = open.map_err(Error::io("open", &place))?;
        for _ in 0..MOMENTS {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0).map_err(Error::io("write", &place))?;
                    return Ok(Self { file, place });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(MOMENT).await,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &place)(error)),
            }
        }
        Err(UpAlready { url: address(&place)? }.into())
    }

    /// Says where the project is reached.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn announce(&self, url: &str) -> Result<(), Error> {
        (&self.file).write_all(url.as_bytes()).map_err(Error::io("write", &self.place))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Without the lock nobody believes what is left.
        let _ = self.file.set_len(0);
    }
}

/// Where the project of a store is reached; nothing where no process has it up.
///
/// # Errors
/// When that cannot be read.
pub fn up_at(store: &Path) -> Result<Option<String>, Error> {
    let place = store.join(FILE);
    let Some(url) = address(&place)? else { return Ok(None) };
    let file = File::open(&place).map_err(Error::io("open", &place))?;
    Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then_some(url))
}

fn address(place: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(place) {
        Ok(url) => Ok(Some(url).filter(|url| !url.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", place)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:8080";

    #[tokio::test]
    async fn one_process_at_a_time_has_a_project_up() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(up_at(store.path()).unwrap(), None);
        let first = Presence::take(store.path()).await.unwrap();
        assert_eq!(up_at(store.path()).unwrap(), None, "it is reached nowhere yet");
        let error = Presence::take(store.path()).await.unwrap_err();
        assert_eq!(error.to_string(), "the project is up already");
        first.announce(URL).unwrap();
        assert_eq!(up_at(store.path()).unwrap().as_deref(), Some(URL));
        let error = Presence::take(store.path()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the project is up already, at {URL}"));
        assert_eq!(error.code(), Code::Busy);
        drop(first);
        assert_eq!(up_at(store.path()).unwrap(), None);
        Presence::take(store.path()).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_not_believed() {
        let store = tempfile::tempdir().unwrap();
        fs::write(store.path().join(FILE), URL).unwrap();
        assert_eq!(up_at(store.path()).unwrap(), None);
        let next = Presence::take(store.path()).await.unwrap();
        next.announce("http://[::1]:1").unwrap();
        assert_eq!(up_at(store.path()).unwrap().as_deref(), Some("http://[::1]:1"));
    }
}
