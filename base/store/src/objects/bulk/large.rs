//! Large files: hashed in pieces, and copied past the page cache while they are hashed. What a digest is
//! for and where a copy goes is not known here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use rondo_core::Digest;

use super::{SMALL, create};

/// So much of a large file is read, hashed and written at a time.
const BLOCK: usize = 4 << 20;
/// What writing past the page cache wants buffers and lengths to be a multiple of.
const ALIGNED: usize = 4096;

/// Fills a buffer from a file's beginning, as far as both go.
pub(super) fn read_from_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

pub(in super::super) fn hash_open(file: &File, size: u64) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; if size > SMALL { BLOCK } else { SMALL as usize }];
    let mut at = 0_u64;
    loop {
        let count = match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += count as u64;
        let part = buffer.get(..count).unwrap_or_default();
        if count > 1 << 20 {
            hasher.update_rayon(part)
        } else {
            hasher.update(part)
        };
    }
}

/// Copies a file and hashes what is copied; one thread reads and hashes, another writes.
pub(super) fn copy_hashing(mut from: &File, to: &Path, size: u64) -> io::Result<Digest> {
    let (file, direct) = match create(to, direct_flag()) {
        Ok(file) => (file, direct_flag() != 0),
        // A file system that knows no such writing.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let _ = fs::remove_file(to);
            (create(to, 0)?, false)
        }
        Err(error) => return Err(error),
    };
    reserve(&file, size)?;
    let (full, to_write) = std::sync::mpsc::sync_channel::<(Block, u64)>(1);
    let (empty, written) = std::sync::mpsc::channel::<Block>();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0_u64;
    thread::scope(|scope| {
        let file = &file;
        let writer = scope.spawn(move || {
            for (mut block, at) in to_write {
                file.write_all_at(block.padded(direct), at)?;
                // Nobody waits for a block once all is read.
                let _ = empty.send(block);
            }
            Ok::<_, io::Error>(())
        });
        let mut made = 0;
        loop {
            let block = if made < 3 { None } else { written.recv().ok() };
            made += 1;
            let mut block = block.unwrap_or_default();
            block.length = read_all(&mut from, block.buffer())?;
            hasher.update(block.filled());
            let length = block.length as u64;
            // A file that grows without an end is given up; that it changed is seen by its stamp.
            if length == 0 || at > size || full.send((block, at)).is_err() {
                break;
            }
            at += length;
        }
        drop(full);
        writer.join().map_err(|_| io::Error::other("the writing thread ended"))?
    })?;
    file.set_len(at)?;
    Ok(hasher.finalize().into())
}

fn read_all(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(target_os = "linux")]
const fn direct_flag() -> i32 {
    libc::O_DIRECT
}

#[cfg(not(target_os = "linux"))]
const fn direct_flag() -> i32 {
    0
}

/// Takes the room that a file needs, so that a full disk shows before anything is copied.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Err(error) if error == rustix::io::Errno::NOSPC || error == rustix::io::Errno::FBIG => {
            return Err(error.into());
        }
        // One that cannot promise room writes all the same.
        Ok(()) | Err(_) => {}
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, size);
    Ok(())
}

/// A buffer whose bytes lie where direct writing wants them.
struct Block {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Default for Block {
    fn default() -> Self {
        let bytes = vec![0; BLOCK + ALIGNED];
        let start = bytes.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        Self { bytes, start, length: 0 }
    }
}

impl Block {
    fn buffer(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + BLOCK).unwrap_or_default()
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// What is written: directly only whole pages, whose rest is cut off at the end.
    fn padded(&mut self, direct: bool) -> &[u8] {
        let length = self.length;
        if !direct {
            return self.filled();
        }
        let padded = length.next_multiple_of(ALIGNED);
        let buffer = self.buffer();
        if let Some(rest) = buffer.get_mut(length..padded) {
            rest.fill(0);
        }
        buffer.get(..padded).unwrap_or_default()
    }
}
