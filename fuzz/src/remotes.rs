//! What lies in a remote, which anybody of the team may have written.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::Unwatched;
use rondo_remote::{Need, Remote};
use rondo_store::Objects;
use rondo_store::meta::marks;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime of one thread"));

/// A remote in a folder, with one segment of an index.
fn remote_with(folder: &Path, segment: &[u8]) -> Option<Remote> {
    let place = folder.join("remote");
    fs::create_dir_all(place.join("index")).ok()?;
    fs::write(place.join("format"), "1\n").ok()?;
    fs::write(place.join("index").join(Digest::of(segment).hex()), segment).ok()?;
    Remote::open(&place.to_string_lossy(), &[], &folder.join("cache")).ok()
}

/// A segment of the index, and whatever it says to be there asked for.
pub fn segment(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let Some(remote) = remote_with(folder.path(), bytes) else { return };
    let Ok(index) = RUNTIME.block_on(remote.index()) else { return };
    let Some(digest) = bytes.get(46..78).and_then(|digest| digest.try_into().ok()) else { return };
    let digest = Digest::from_bytes(digest);
    let _held = (index.has_file(digest), index.has_folder(digest), index.len());
    let Ok(objects) = Objects::open(&folder.path().join("objects")) else { return };
    let _pulled = RUNTIME.block_on(remote.pull(&objects, &[Need::file(digest)], &Unwatched));
    let _pulled = RUNTIME.block_on(remote.pull_whole(&objects, &[digest], &Unwatched));
}

/// A pack with one blob. The first byte says what it is and whether it is compressed, four say how long it
/// claims to be.
pub fn pack(bytes: &[u8]) {
    let Some(([form, size @ ..], stored)) = bytes.split_first_chunk::<5>() else { return };
    let Ok(length) = u32::try_from(stored.len()) else { return };
    let digest = Digest::of(stored);
    let mut segment = b"RDIX1\n\x01\0\0\0".to_vec();
    segment.extend_from_slice(digest.as_bytes());
    segment.extend_from_slice(&1_u32.to_le_bytes());
    segment.extend_from_slice(digest.as_bytes());
    segment.extend_from_slice(&[form % 3, u8::from(form & 0x80 != 0)]);
    segment.extend_from_slice(&0_u32.to_le_bytes());
    segment.extend_from_slice(&length.to_le_bytes());
    segment.extend_from_slice(size);
    let Ok(folder) = tempfile::tempdir() else { return };
    let Some(remote) = remote_with(folder.path(), &segment) else { return };
    let place = folder.path().join("remote/packs").join(digest.hex().get(..2).unwrap_or_default());
    if fs::create_dir_all(&place).and_then(|()| fs::write(place.join(digest.hex()), stored)).is_err() {
        return;
    }
    let Ok(objects) = Objects::open(&folder.path().join("objects")) else { return };
    for need in [Need::file(digest), Need::folder(digest)] {
        let pulled = RUNTIME.block_on(remote.pull(&objects, &[need], &Unwatched));
        if pulled.is_ok() {
            assert_eq!(
                objects.read(digest).ok().as_deref(),
                Some(stored),
                "what was pulled is what it is called"
            );
        }
    }
}

/// The note of a version, a tag or a clone.
pub fn note(bytes: &[u8]) {
    super::text(bytes, |text| {
        let _named = marks::digests(text).count();
        let held = marks::held_by(text);
        let Ok(version) = serde_json::from_str::<DatasetVersion>(text) else { return };
        assert!(held.contains(&version.digest), "a version holds its content");
        let written = serde_json::to_string(&version).expect("a version that was read is written");
        let again: DatasetVersion =
            serde_json::from_str(&written).expect("a version that was written is read");
        assert_eq!(again, version);
    });
}
