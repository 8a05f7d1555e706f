//! Who makes the outputs of a key. Two runs that need the same step at once make it once: the second waits
//! for the first and takes what it made.
//!
//! A claim is a lock on one byte of a file that stays empty: the byte that the key's first bits number. The
//! kernel lets go of it when the process dies, however it dies, and nothing is made or removed for it. Two
//! keys that fall on one byte only wait for each other.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use rondo_core::Digest;
use rondo_store::Store;
use tokio::sync::watch;

use crate::Error;
use crate::execute::process::cancelled;

/// How long it is waited at first, and at most, before it is looked again.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// The right to make the outputs of a key. The lock belongs to the open file and ends with it.
pub struct Claim(#[allow(dead_code, reason = "held, not read")] File);

/// Waits for the right to make the outputs of a key: whoever has it looks whether they were made meanwhile.
/// Nothing where somebody wants everything to stop.
///
/// # Errors
/// When the disk refuses.
pub async fn claim(
    store: &Store,
    key: Digest,
    cancel: &mut watch::Receiver<bool>,
    waits: impl FnOnce(),
) -> Result<Option<Claim>, Error> {
    let place = store.root().join("claims.lock");
    let mut waits = Some(waits);
    let mut rest = LOOKS.0;
    loop {
        if let Some(claim) = try_claim(&place, key)? {
            return Ok(Some(claim));
        }
        if let Some(waits) = waits.take() {
            waits();
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => rest = (rest * 2).min(LOOKS.1),
            () = cancelled(cancel) => return Ok(None),
        }
    }
}

fn try_claim(place: &Path, key: Digest) -> Result<Option<Claim>, Error> {
    let opened = File::options().create(true).truncate(false).write(true).open(place);
    let file = opened.map_err(Error::io("make", place))?;
    let first = key.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
    // SAFETY: all-zero bytes are a valid `flock`, a struct of integers.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    (wanted.l_type, wanted.l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
    // Without its highest bits, it and the place after it are places of a file.
    (wanted.l_start, wanted.l_len) = ((u64::from_be_bytes(first) >> 2).cast_signed(), 1);
    // SAFETY: the pointer is to a local that lives through the call; the file is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) } == 0 {
        return Ok(Some(Claim(file)));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES | libc::EINTR) => Ok(None),
        Some(_) | None => Err(Error::io("lock", place)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_key_is_claimed_by_one_at_a_time_and_nothing_stays() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).await.unwrap();
        let inside = Arc::new(AtomicUsize::new(0));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, inside) = (store.clone(), inside.clone());
            all.spawn(async move {
                let (_never, mut cancel) = watch::channel(false);
                let key = Digest::of(b"key");
                let claim = claim(&store, key, &mut cancel, || {}).await.unwrap().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::time::sleep(Duration::from_millis(5)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(claim);
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        assert_eq!(std::fs::metadata(root.path().join("claims.lock")).unwrap().len(), 0);
    }
}
