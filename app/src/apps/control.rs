//! Words from other processes of the same user: a pipe beside the apps' logs. Whether a process has the
//! apps at all is told by a lock, which ends with it.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::platform::Error;

/// The pipe's name.
const PIPE: &str = "control";

/// What can be asked of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To run; also when it was given up.
    Start,
    /// Not to run.
    Stop,
    /// To be started anew, the old process going on until the new one is ready.
    Restart,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Start, Self::Stop, Self::Restart];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// The verb of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }
}

/// Listens until it is dropped.
pub struct Control {
    place: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Listens in a folder.
    ///
    /// # Errors
    /// When the pipe cannot be made.
    pub fn listen(folder: &Path, hear: impl Fn(&str, Verb) + Send + 'static) -> Result<Self, Error> {
        let place = folder.join(PIPE);
        // Of a process that is gone; this one alone has the apps.
        let _ = fs::remove_file(&place);
        make(&place).map_err(Error::io("make", &place))?;
        let open = || {
            let receiver = pipe::OpenOptions::new().open_receiver(&place)?;
            // A far end of our own: without one the pipe would seem to have ended.
            Ok((receiver, pipe::OpenOptions::new().open_sender(&place)?))
        };
        let (mut receiver, own) = open().map_err(Error::io("open", &place))?;
        let task = tokio::spawn(async move {
            let _own = own;
            let (mut text, mut part) = (Vec::new(), [0; 512]);
            while let Ok(count) = receiver.read(&mut part).await {
                text.extend_from_slice(part.get(..count).unwrap_or_default());
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line);
                    let words = line.trim().split_once(' ');
                    if let Some((verb, name)) =
                        words.and_then(|(verb, name)| Some((Verb::parse(verb)?, name)))
                    {
                        hear(name, verb);
                    }
                }
                // Nobody who means it writes so long a line.
                if text.len() > 4096 {
                    text.clear();
                }
            }
        });
        Ok(Self { place, task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // The next one to listen removes it too.
        let _ = fs::remove_file(&self.place);
    }
}

/// Asks the process that has the apps of a folder. Whether there is one.
///
/// # Errors
/// When the disk refuses.
pub fn ask(folder: &Path, name: &str, verb: Verb) -> Result<bool, Error> {
    let place = folder.join(PIPE);
    match fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&place) {
        Ok(mut pipe) => {
            let line = format!("{} {name}\n", verb.word());
            pipe.write_all(line.as_bytes()).map_err(Error::io("write", &place))?;
            Ok(true)
        }
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENXIO) =>
        {
            Ok(false)
        }
        Err(error) => Err(Error::io("open", &place)(error)),
    }
}

fn make(place: &Path) -> io::Result<()> {
    let name = CString::new(place.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: the name is a text that ends with a zero and lives until the call is over.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_reach_who_listens_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!ask(folder.path(), "a", Verb::Stop).unwrap());
        let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let control = Control::listen(folder.path(), move |name, verb| {
            heard.send((name.to_owned(), verb)).unwrap();
        });
        let control = control.unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join(PIPE))
            .unwrap()
            .write_all(b"jump a\n\n")
            .unwrap();
        assert!(ask(folder.path(), "a b", Verb::Restart).unwrap());
        assert!(ask(folder.path(), "c", Verb::Stop).unwrap());
        assert_eq!(hears.recv().await.unwrap(), ("a b".to_owned(), Verb::Restart));
        assert_eq!(hears.recv().await.unwrap(), ("c".to_owned(), Verb::Stop));
        drop(control);
        assert!(!ask(folder.path(), "a", Verb::Stop).unwrap());
    }
}
