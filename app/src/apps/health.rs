//! The way to an app's process, and whether it answers.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
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
        let asked = async {
            let stream = self.connect().await?;
            let (mut sender, connection) =
                http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            let connection = tokio::spawn(connection);
            let mut request = Request::get(path).header(header::HOST, self.host());
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let request = request.body(Body::empty()).map_err(io::Error::other)?;
            let answer = sender.send_request(request).await.map_err(io::Error::other);
            connection.abort();
            Ok(answer?.status().as_u16())
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether what listens there is a process of this user; where that cannot be told, it is taken for one.
    pub fn is_ours(&self) -> bool {
        let Self::Tcp(address) = self else { return true };
        let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return true };
        let place = format!("0100007F:{:04X}", address.port());
        // SAFETY: `geteuid` has no effects and cannot fail.
        let own = unsafe { libc::geteuid() };
        let listens = table.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next()?, words.nth(1)?);
            let user: u32 = words.nth(3)?.parse().ok()?;
            (local == place && state == "0A").then_some(user)
        });
        listens.into_iter().all(|user| user == own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_is_told_from_who_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap());
        assert!(target.is_ours());
        drop(listener);
        assert!(target.ask("/", None).await.is_err());
        assert!(Target::Unix("/nowhere/at/all".into()).ask("/", None).await.is_err());
    }
}
