//! Where a kernel listens: Unix sockets in a folder of its own, or ports of the loopback address.
//!
//! Unix sockets are the rule: nobody else on the machine can reach them, and two kernels can never want the
//! same one. Ports serve kernels that do not speak over sockets. The connection file, readable by its owner
//! alone, lies in the same folder, which is gone when the kernel is.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::folder::PrivateFolder;
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long a connection on the loopback address may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest path of a Unix socket that all systems take, in bytes.
const LONGEST: usize = 100;

/// A kernel's channels; the numbers are their ports' places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Requests to run code, and their replies.
    Shell = 0,
    /// Outputs and state, for all who listen.
    Iopub = 1,
    /// Requests to the user.
    Stdin = 2,
    /// Requests that go before running code.
    Control = 3,
    /// Signs of life.
    Heartbeat = 4,
}

/// How the channels are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Unix sockets.
    Ipc,
    /// Ports of 127.0.0.1.
    Tcp,
}

/// A place for one kernel.
#[derive(Debug)]
pub struct Connection {
    folder: PrivateFolder,
    transport: Transport,
    ports: [u16; 5],
    /// Held until the kernel starts, so that nobody else gets the ports.
    held: Vec<TcpListener>,
    key: String,
}

impl Connection {
    /// Unix sockets where this machine can have them, else ports.
    ///
    /// # Errors
    /// When no private folder can be made.
    pub fn new() -> io::Result<Self> {
        Self::ipc().or_else(|_| Self::tcp())
    }

    /// Unix sockets.
    ///
    /// # Errors
    /// When no folder can be made whose path is short enough and whose file system has sockets.
    pub fn ipc() -> io::Result<Self> {
        let connection = Self {
            folder: PrivateFolder::make()?,
            transport: Transport::Ipc,
            ports: [1, 2, 3, 4, 5],
            held: Vec::new(),
            key: new_key(),
        };
        let probe = connection.folder.path().join("k-0");
        if probe.as_os_str().len() > LONGEST {
            return Err(io::Error::other("the path is too long for a socket"));
        }
        UnixListener::bind(&probe)?;
        fs::remove_file(probe)?;
        connection.write_file()?;
        Ok(connection)
    }

    /// Ports of 127.0.0.1 that are free now and held until [`Connection::release`].
    ///
    /// # Errors
    /// When there is no private folder or no free port.
    pub fn tcp() -> io::Result<Self> {
        let mut held = Vec::new();
        let mut ports = [0; 5];
        for port in &mut ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            *port = listener.local_addr()?.port();
            held.push(listener);
        }
        let connection =
            Self { folder: PrivateFolder::make()?, transport: Transport::Tcp, ports, held, key: new_key() };
        connection.write_file()?;
        Ok(connection)
    }

    /// Lets go of the ports: the kernel is about to take them.
    pub fn release(&mut self) {
        self.held.clear();
    }

    /// How the channels are reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The connection file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("c.json")
    }

    /// The folder of sockets and connection file: the kernel's own until it ends.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The variable by which what the kernel leaves running is known.
    pub fn mark(&self) -> (String, String) {
        self.folder.mark()
    }

    /// Remembers the process that listens here, for who finds the folder when this process was killed.
    pub fn belongs_to(&self, pid: i32) {
        self.folder.belongs_to(pid);
    }

    /// The key that signs messages.
    pub fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// The address of a channel, as ZeroMQ writes it.
    pub fn endpoint(&self, channel: Channel) -> String {
        let port = self.port(channel);
        match self.transport {
            Transport::Ipc => format!("ipc://{}", self.socket(channel).display()),
            Transport::Tcp => format!("tcp://{}:{port}", Ipv4Addr::LOCALHOST),
        }
    }

    /// Whether somebody listens on a channel, also somebody who takes no connection at the moment: a process that
    /// is stopped has only so much room for those that wait.
    pub async fn is_open(&self, channel: Channel) -> bool {
        let connected = match self.transport {
            Transport::Ipc => UnixStream::connect(self.socket(channel)).await.map(drop),
            Transport::Tcp => {
                let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port(channel)));
                // Where nobody listens, that is said at once.
                timeout(PATIENCE, connect).await.map_or(Ok(()), |stream| stream.map(drop))
            }
        };
        connected.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
    }

    fn port(&self, channel: Channel) -> u16 {
        // A channel's number is below 5, the length of the list.
        self.ports[channel as usize]
    }

    fn socket(&self, channel: Channel) -> PathBuf {
        self.folder.path().join(format!("k-{}", self.port(channel)))
    }

    fn write_file(&self) -> io::Result<()> {
        let (transport, ip) = match self.transport {
            Transport::Ipc => ("ipc", self.folder.path().join("k").to_string_lossy().into_owned()),
            Transport::Tcp => ("tcp", Ipv4Addr::LOCALHOST.to_string()),
        };
        let content = json!({
            "transport": transport,
            "ip": ip,
            "shell_port": self.port(Channel::Shell),
            "iopub_port": self.port(Channel::Iopub),
            "stdin_port": self.port(Channel::Stdin),
            "control_port": self.port(Channel::Control),
            "hb_port": self.port(Channel::Heartbeat),
            "key": self.key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "",
        });
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.file())?;
        file.write_all(content.to_string().as_bytes())
    }
}

fn new_key() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_and_file_are_their_owners_alone_and_go_with_the_connection() {
        let connection = Connection::ipc().unwrap();
        let folder = connection.folder().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&connection.file()), 0o600);
        drop(connection);
        assert!(!folder.exists());
    }

    /// Leaves the least room for connections that nobody has taken.
    fn narrow(listener: &impl AsRawFd) {
        // SAFETY: `listen` takes two integers and touches no memory of ours; the descriptor is open.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    }

    async fn stays_open(connection: &Connection) {
        let asked = async {
            for _ in 0..5 {
                assert!(connection.is_open(Channel::Shell).await);
            }
        };
        assert!(timeout(Duration::from_secs(60), asked).await.is_ok(), "it waits until somebody answers");
    }

    #[tokio::test]
    async fn who_listens_and_answers_nobody_is_not_waited_for() {
        let connection = Connection::ipc().unwrap();
        assert!(!connection.is_open(Channel::Shell).await);
        let listener = UnixListener::bind(connection.socket(Channel::Shell)).unwrap();
        narrow(&listener);
        stays_open(&connection).await;
        drop(listener);
        assert!(!connection.is_open(Channel::Shell).await);
        let connection = Connection::tcp().unwrap();
        narrow(&connection.held[Channel::Shell as usize]);
        stays_open(&connection).await;
    }

    #[test]
    fn ports_are_held_until_they_are_released() {
        let mut connection = Connection::tcp().unwrap();
        let port = connection.port(Channel::Shell);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        connection.release();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn addresses_are_those_that_the_connection_file_gives_the_kernel() {
        let connection = Connection::ipc().unwrap();
        let file: serde_json::Value = serde_json::from_slice(&fs::read(connection.file()).unwrap()).unwrap();
        let expected = format!("ipc://{}-{}", file["ip"].as_str().unwrap(), file["iopub_port"]);
        assert_eq!(connection.endpoint(Channel::Iopub), expected);
    }
}
