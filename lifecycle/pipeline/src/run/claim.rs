//! Who makes the outputs of a key. Two runs that need the same step at once make it once: the second waits
//! for the first and takes what it made.
//!
//! A claim is a file that its owner holds locked; the kernel lets go of it when the process dies, however
//! it dies. It is gone when the claim is.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use rondo_core::Digest;
use rondo_store::Store;
use tokio::sync::watch;

use crate::Error;
use crate::execute::process::cancelled;

/// How long it is waited at first, and at most, before it is looked again.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// The right to make the outputs of a key.
pub struct Claim {
    place: PathBuf,
    /// Its lock ends with it.
    _file: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While it is still held: nobody's else file has the name. What stays is in nobody's way.
        let _ = fs::remove_file(&self.place);
    }
}

/// Waits for the right to make the outputs of a key. The second value says whether it was waited for;
/// nothing where somebody wants everything to stop.
///
/// # Errors
/// When the disk refuses.
pub async fn claim(
    store: &Store,
    key: Digest,
    cancel: &mut watch::Receiver<bool>,
    waits: impl FnOnce(),
) -> Result<Option<(Claim, bool)>, Error> {
    let folder = store.root().join("claims");
    let place = folder.join(key.hex());
    let mut waits = Some(waits);
    let mut rest = LOOKS.0;
    loop {
        if let Some(file) = try_claim(&folder, &place)? {
            return Ok(Some((Claim { place, _file: file }, waits.is_none())));
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

fn try_claim(folder: &PathBuf, place: &PathBuf) -> Result<Option<File>, Error> {
    let open = || File::options().create(true).truncate(false).write(true).open(place);
    let opened = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
            open()
        }
        opened => opened,
    };
    let file = opened.map_err(Error::io("make", place))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", place)(error)),
    }
    // Between the opening and the locking its last owner may have removed it: then it is nobody's claim.
    let own = file.metadata().map_err(Error::io("read", place))?.ino();
    let named = fs::metadata(place).ok().map(|metadata| metadata.ino());
    Ok((named == Some(own)).then_some(file))
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
                let (claim, _) = claim(&store, key, &mut cancel, || {}).await.unwrap().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::time::sleep(Duration::from_millis(5)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(claim);
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("claims")).unwrap().count(), 0);
    }
}
