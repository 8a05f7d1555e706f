//! One descriptor, handed from a process to another through a pair of sockets.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A message of one byte with room for one descriptor beside it.
#[repr(C)]
struct Parcel {
    byte: u8,
    part: libc::iovec,
    /// Aligned as a header of such a message has to be.
    control: [u64; 4],
}

impl Parcel {
    const fn empty() -> Self {
        Self { byte: 0, part: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }, control: [0; 4] }
    }

    /// The message's head; it points into the parcel, which must stay where it is.
    fn head(&mut self) -> libc::msghdr {
        // SAFETY: a zeroed head is a valid value.
        let mut head: libc::msghdr = unsafe { zeroed() };
        self.part = libc::iovec { iov_base: (&raw mut self.byte).cast(), iov_len: 1 };
        head.msg_iov = &raw mut self.part;
        head.msg_iovlen = 1;
        head.msg_control = self.control.as_mut_ptr().cast();
        // SAFETY: only computes a size.
        head.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
        head
    }
}

/// Sends a descriptor through a socket. Fit for between fork and exec.
pub(super) fn send(through: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut parcel = Parcel::empty();
    let head = parcel.head();
    // SAFETY: the head points into the parcel, which has room for one header with one descriptor.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(&raw const head);
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(control).cast::<RawFd>().write_unaligned(descriptor);
        if libc::sendmsg(through, &raw const head, libc::MSG_NOSIGNAL) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes the descriptor that the other end sends.
pub(super) fn receive(through: RawFd) -> io::Result<OwnedFd> {
    let mut parcel = Parcel::empty();
    let mut head = parcel.head();
    // SAFETY: as in `send`; a descriptor that arrives is ours.
    unsafe {
        let read = loop {
            let read = libc::recvmsg(through, &raw mut head, libc::MSG_CMSG_CLOEXEC);
            let error = io::Error::last_os_error();
            match read {
                0.. => break read,
                _ if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        };
        let control = libc::CMSG_FIRSTHDR(&raw const head);
        if read == 0 || control.is_null() || (*control).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(control).cast::<RawFd>().read_unaligned()))
    }
}
