//! The way to a run that is under way in another process: a pipe in its work folder. Nothing is asked of a
//! clock, and a process that is gone does not listen.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rondo_core::RunId;
use rondo_store::Store;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::Error;

/// The pipe's name in a work folder. No step can have it.
const PIPE: &str = ".control";

/// What is sent to cancel a run.
const CANCEL: u8 = b'c';

/// Makes a channel that becomes true when `outside` does or when somebody sends word.
///
/// # Errors
/// When the pipe cannot be made.
pub fn listen(work: &Path, outside: watch::Receiver<bool>) -> Result<Listener, Error> {
    let place = work.join(PIPE);
    let name = CString::new(place.as_os_str().as_bytes())
        .map_err(|error| Error::io("make", &place)(io::Error::other(error)))?;
    // SAFETY: the name is a text that ends with a zero and lives until the call is over.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(Error::io("make", &place)(io::Error::last_os_error()));
    }
    let open = || {
        let receiver = pipe::OpenOptions::new().open_receiver(&place)?;
        // A far end of our own: without one the pipe would seem to have ended.
        Ok((receiver, pipe::OpenOptions::new().open_sender(&place)?))
    };
    let (receiver, own) = open().map_err(Error::io("open", &place))?;
    let (cancel, cancelled) = watch::channel(*outside.borrow());
    let task = tokio::spawn(wait(receiver, own, outside, cancel));
    Ok(Listener { cancelled, task })
}

/// Listens until it is dropped.
pub struct Listener {
    /// Becomes true when everything should stop.
    pub cancelled: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait(
    mut pipe: pipe::Receiver,
    _own: pipe::Sender,
    mut outside: watch::Receiver<bool>,
    cancel: watch::Sender<bool>,
) {
    let mut word = [0; 1];
    let word = async {
        // Anything else than the word is no word.
        while !matches!(pipe.read(&mut word).await, Ok(1) if word == [CANCEL]) {
            tokio::task::yield_now().await;
        }
    };
    let outside = async {
        if outside.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = word => {}
        () = outside => {}
    }
    // Nobody listening any more is as good.
    let _ = cancel.send(true);
    cancel.closed().await;
}

/// Tells a run to stop. Whether it was told: false where no process of this machine has it under way.
///
/// # Errors
/// When the disk refuses.
pub fn cancel(store: &Store, run: RunId) -> Result<bool, Error> {
    let place = store.root().join("work").join(run.hex()).join(PIPE);
    let opened = fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&place);
    match opened {
        Ok(mut pipe) => {
            pipe.write_all(&[CANCEL]).map_err(Error::io("write", &place))?;
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
