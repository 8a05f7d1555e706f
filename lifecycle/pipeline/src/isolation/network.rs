//! A network of a step's own, with nothing in it but the tracking port.
//!
//! Between fork and exec the process leaves the machine's network for a new one, in which it opens the
//! tracking port itself. The open port is handed to Rondo, which passes on what comes in there to the real
//! one: a socket stays in the network that it was made in, whoever holds it. So the step needs no helper
//! beside it, and the address in `MLFLOW_TRACKING_URI` stays what it is.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use tokio::io::{Interest, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::parcel;

/// How many connections are passed on at once; further ones wait.
const AT_ONCE: usize = 256;

/// How long is waited when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// What passes the tracking port on; stops when dropped.
pub(super) struct Relay(Option<JoinHandle<()>>);

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Gives the process that a command will be a network of its own, with this port on its loopback.
pub(super) fn own(command: &mut Command, port: Option<u16>) -> io::Result<Relay> {
    let Some(port) = port else {
        enter_own(command);
        return Ok(Relay(None));
    };
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    let way = Way::of_this_process();
    // SAFETY: the closure makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            way.enter()?;
            let listener = listen(port)?;
            parcel::send(theirs.as_raw_fd(), listener.as_raw_fd())
        });
    }
    Ok(Relay(Some(tokio::spawn(async move {
        // A process that never came to be sends nothing.
        if let Ok(listener) = receive(&ours).await
            && let Err(error) = pass_on(listener, port).await
        {
            tracing::warn!("pass the tracking port on into a step's network: {error}");
        }
    }))))
}

/// Gives the process that a command will be a network of its own with nothing in it.
pub(super) fn enter_own(command: &mut Command) {
    let way = Way::of_this_process();
    // SAFETY: the closure makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(move || way.enter());
    }
}

async fn pass_on(listener: OwnedFd, port: u16) -> io::Result<()> {
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < AT_ONCE => {
                let mut inside = match accepted {
                    Ok((inside, _)) => inside,
                    Err(error) => {
                        // The system is out of something, or whoever called has gone; both pass.
                        tracing::warn!("accept in a step's network: {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                };
                open.spawn(async move {
                    // Whoever closes first has had enough.
                    if let Ok(mut outside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                        let _ = copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            },
            Some(_) = open.join_next(), if !open.is_empty() => {},
        }
    }
}

/// How a network of its own is entered: as root at once, else by way of a user namespace in which the user
/// stays who it is.
struct Way {
    users: [u8; 32],
    groups: [u8; 32],
}

impl Way {
    fn of_this_process() -> Self {
        // SAFETY: neither has arguments, and neither can fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { users: line(user), groups: line(group) }
    }

    /// Enters. Only for between fork and exec: it makes system calls and allocates nothing.
    fn enter(&self) -> io::Result<()> {
        // SAFETY: plain system calls; what they are given lives here.
        unsafe {
            if libc::unshare(libc::CLONE_NEWNET) != 0 {
                done(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET))?;
                write(c"/proc/self/setgroups", b"deny")?;
                write(c"/proc/self/uid_map", until_nought(&self.users))?;
                write(c"/proc/self/gid_map", until_nought(&self.groups))?;
            }
            // A new network's loopback is down.
            let socket = owned(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
            let mut request: libc::ifreq = zeroed();
            request.ifr_name[0] = b'l'.cast_signed();
            request.ifr_name[1] = b'o'.cast_signed();
            request.ifr_ifru.ifru_flags = UP;
            done(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request))
        }
    }
}

/// The flag of a network interface that is up, as wide as it is in a request.
#[allow(clippy::cast_possible_truncation)] // It is 1.
const UP: libc::c_short = libc::IFF_UP as libc::c_short;

/// The line of a user namespace's map in which an id stays what it is, filled up with noughts.
fn line(id: u32) -> [u8; 32] {
    let mut line = [0; 32];
    for (to, from) in line.iter_mut().zip(format!("{id} {id} 1").bytes()) {
        *to = from;
    }
    line
}

fn until_nought(line: &[u8; 32]) -> &[u8] {
    let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
    line.get(..end).unwrap_or(line)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn write(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends in a nought, and the bytes are as long as is said.
    unsafe {
        let file = owned(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Opens a port of the loopback.
fn listen(port: u16) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls; a zeroed address is a valid value.
    unsafe {
        let socket = owned(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?;
        let mut address: libc::sockaddr_in = zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
        let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        done(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size))?;
        done(libc::listen(socket.as_raw_fd(), 128))?;
        Ok(socket)
    }
}

/// Waits for the descriptor that the other end sends.
async fn receive(through: &UnixStream) -> io::Result<OwnedFd> {
    through.async_io(Interest::READABLE, || parcel::receive(through.as_raw_fd())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_descriptor_comes_through_and_a_closed_end_is_an_error() {
        let (ours, theirs) = Pair::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        let (kept, sent) = Pair::pair().unwrap();
        parcel::send(theirs.as_raw_fd(), sent.as_raw_fd()).unwrap();
        drop(sent);
        let arrived = Pair::from(receive(&ours).await.unwrap());
        io::Write::write_all(&mut &arrived, b"x").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut &kept, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop(theirs);
        assert!(receive(&ours).await.is_err());
    }

    #[test]
    fn an_id_stays_what_it_is() {
        assert_eq!(until_nought(&line(1000)), b"1000 1000 1");
        assert_eq!(until_nought(&line(u32::MAX)), b"4294967295 4294967295 1");
    }
}
