//! The way to an app's process, and whether it answers.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, header};
use futures::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rondo_core::Code;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::platform::Error;

/// How long a health route may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where an app's process listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// On a port of the loopback address.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
    /// Nowhere: files are shown as they are.
    Files {
        /// The file or folder.
        root: PathBuf,
        /// Whether it is an artifact, in which links lead into the store; else links may not lead out of it.
        artifact: bool,
    },
}

/// A connection to a process.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// Files of the project, or of an artifact in the folder of a process.
    ///
    /// # Errors
    /// When there are none.
    pub fn files(project: &Path, folder: &Path, path: &Path) -> Result<Self, Error> {
        let root = project.join(path);
        if !root.exists() {
            let name = path.to_string_lossy();
            return Err(Error::not_found("files", &name, Code::SourceNotFound));
        }
        Ok(Self::Files { artifact: root.starts_with(folder), root })
    }

    /// What it is called in a request.
    pub fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) | Self::Files { .. } => "localhost".to_owned(),
        }
    }

    /// Connects to it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // Small messages must not wait for more to come; one that cannot be told so is slower.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Files { .. } => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Asks for a path; the status of the answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn ask(&self, path: &str, authorization: Option<&HeaderValue>) -> io::Result<u16> {
        let headers = authorization.map(|value| (header::AUTHORIZATION, value.clone()));
        Ok(self.fetch(path, headers, 0).await?.0)
    }

    /// Asks for a path; the status of the answer and at most so many bytes of what it holds.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn fetch(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        most: usize,
    ) -> io::Result<(u16, Vec<u8>)> {
        let asked = async {
            let stream = self.connect().await?;
            let (mut sender, connection) =
                http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            let connection = tokio::spawn(connection);
            let mut request = Request::get(path).header(header::HOST, self.host());
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.body(Body::empty()).map_err(io::Error::other)?;
            let answer = sender.send_request(request).await.map_err(io::Error::other);
            let mut held = Vec::new();
            let read = match answer {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let mut parts = Body::new(answer.into_body()).into_data_stream();
                    while held.len() < most
                        && let Some(part) = parts.next().await
                    {
                        held.extend_from_slice(&part.map_err(io::Error::other)?);
                    }
                    Ok(status)
                }
                Err(error) => Err(error),
            };
            connection.abort();
            held.truncate(most);
            Ok((read?, held))
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whose what listens there is. Before that is known, it must not be told what only ours may know.
    pub fn owner(&self) -> Owner {
        let Self::Tcp(address) = self else { return Owner::Ours };
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
        if tables.iter().all(Result::is_err) {
            // It cannot be told here.
            return Owner::Ours;
        }
        // SAFETY: `geteuid` has no effects and cannot fail.
        let own = unsafe { libc::geteuid() };
        let users: Vec<u32> =
            tables.iter().flatten().flat_map(|table| listeners(table, address.port())).collect();
        match users.as_slice() {
            [] => Owner::Nobody,
            users if users.iter().all(|user| *user == own) => Owner::Ours,
            _ => Owner::Another,
        }
    }
}

/// Whose what listens on a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This user's; also where that cannot be told.
    Ours,
    /// Another user's.
    Another,
    /// Nobody listens there.
    Nobody,
}

/// The users who listen on a port so that the loopback address reaches them, by the system's table.
fn listeners(table: &str, port: u16) -> Vec<u32> {
    // The loopback address, and all addresses, of either kind; version 6 stands for version 4 too.
    const REACHED: [&str; 5] = [
        "0100007F",
        "00000000",
        "00000000000000000000000000000000",
        "00000000000000000000000001000000",
        "0000000000000000FFFF00000100007F",
    ];
    let port = format!("{port:04X}");
    let lines = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        let user: u32 = words.nth(3)?.parse().ok()?;
        let (address, at) = local.split_once(':')?;
        (REACHED.contains(&address) && at == port && state == "0A").then_some(user)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_the_loopback_address_reaches_is_seen() {
        let line = |address: &str, state: &str, user: u32| {
            format!(
                "   0: {address}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user} 0 1\n"
            )
        };
        let table = |lines: &[String]| format!("  sl  local_address\n{}", lines.concat());
        let listening = table(&[
            line("0100007F", "0A", 1),
            line("00000000", "0A", 2),
            line("0100007F", "01", 3),
            line("0200A8C0", "0A", 4),
            line("00000000000000000000000000000000", "0A", 5),
        ]);
        assert_eq!(listeners(&listening, 8080), [1, 2, 5]);
        assert!(listeners(&listening, 8081).is_empty());
    }

    #[tokio::test]
    async fn who_listens_is_told_from_who_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap());
        assert_eq!(target.owner(), Owner::Ours);
        drop(listener);
        assert_eq!(target.owner(), Owner::Nobody);
        for place in ["0.0.0.0:0", "[::]:0"] {
            // A machine may have no version 6.
            let Ok(listener) = std::net::TcpListener::bind(place) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(Target::Tcp(([127, 0, 0, 1], port).into()).owner(), Owner::Ours, "{place}");
        }
        assert!(target.ask("/", None).await.is_err());
        assert!(Target::Unix("/nowhere/at/all".into()).ask("/", None).await.is_err());
    }
}
