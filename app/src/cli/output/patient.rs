//! A writer that waits for its reader.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A stream that whoever reads it, or shares it, may have made non-blocking, as Node.js does with its pipes:
/// where it takes nothing more, it is waited for.
pub struct Patient<W>(pub W);

impl<W: AsFd> Patient<W> {
    fn patiently<T>(&mut self, mut ask: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match ask(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut awaited = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    // Whatever has happened to it, the next try tells.
                    match poll(&mut awaited, PollTimeout::NONE) {
                        Ok(_) | Err(nix::Error::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.patiently(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn all_is_written_to_a_reader_that_begins_late() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut full = &near;
        while full.write(&[0; 4096]).is_ok() {}
        let writes = std::thread::spawn(move || Patient(near).write_all(&[1; 1 << 20]));
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        writes.join().unwrap().unwrap();
        assert_eq!(read.iter().filter(|byte| **byte == 1).count(), 1 << 20);
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_wait() {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let writes = std::thread::spawn(move || Patient(near).write_all(&[1; 1 << 20]));
        drop(far);
        assert_eq!(writes.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
