//! Listening: one socket, one router, until told to stop.
//!
//! The accept loop is our own, since axum's has neither a time limit for a client that sends its headers one
//! byte a minute nor a bound on connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rondo_core::{Code, Explain};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tower::Service as _;

use super::unread::Heard;

/// How long a client may take to send the headers of its next request.
const HEADERS: Duration = Duration::from_secs(60);
/// How many connections there may be at a time; more wait to be accepted.
const CONNECTIONS: u32 = 8192;

/// How long requests under way may take once the server is to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that is listening.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
#[error("listen on `{address}`")]
pub struct ListenError {
    address: String,
    source: std::io::Error,
}

impl Explain for ListenError {
    fn code(&self) -> Code {
        Code::ListenFailed
    }

    fn hints(&self) -> Vec<String> {
        vec!["choose another port, such as `--listen 127.0.0.1:0` for any free one".to_owned()]
    }
}

impl Server {
    /// Listens on an address (`127.0.0.1:0` for any free port) and serves in the background.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: &str, router: Router) -> Result<Self, ListenError> {
        Self::bind(listen).await.map(|bound| bound.serve(router))
    }

    /// Takes the address without serving yet, for a router that has to know its own port.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(listen: &str) -> Result<Bound, ListenError> {
        let fault = |source| ListenError { address: listen.to_owned(), source };
        let listener = TcpListener::bind(listen).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Bound { listener, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no new requests, finishes those under way, and ends.
    pub async fn stop(mut self) {
        // No receiver means that it has ended already; so does a task that panicked.
        let _ = self.stop.send(true);
        if tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            // A client that holds its connection open without asking holds nobody up.
            self.task.abort();
        }
    }
}

/// An address that is taken and not served yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Its root, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves in the background.
    pub fn serve(self, router: Router) -> Server {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(self.listener, router, stopped));
        Server { address: self.address, stop, task }
    }
}

/// Whether the server is to stop: what would never end by itself, such as a stream of events, ends then.
/// By default nobody says so.
#[derive(Clone, Default)]
pub struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// Waits until the server is to stop.
    pub async fn told(&mut self) {
        match &mut self.0 {
            // An error means that the sender is gone, and the server with it.
            Some(stopped) => drop(stopped.wait_for(|stopped| *stopped).await),
            None => std::future::pending().await,
        }
    }

    /// Waits so long; nothing where the server is to stop meanwhile.
    pub async fn rest(&mut self, time: Duration) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Some(()),
            () = self.told() => None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Takes connections until told to stop, then lets requests under way finish.
async fn accept(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    loop {
        let accepted = tokio::select! {
            // An error means that the sender is gone: then there is nothing left to serve for.
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = async {
                // It is never closed.
                let place = places.clone().acquire_owned().await.ok();
                (place, listener.accept().await)
            } => accepted,
        };
        let (place, (socket, from)) = match accepted {
            (place, Ok(accepted)) => (place, accepted),
            (_, Err(_)) => {
                // A client that has gone again, or no file descriptor left: others come and go.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(ready(socket)), {
            let (router, stopping) = (router.clone(), Stopping(Some(stopped.clone())));
            service_fn(move |request: hyper::Request<Incoming>| {
                let (head, body) = request.into_parts();
                let body = Body::new(Heard::new(body, &head.headers));
                let mut request = hyper::Request::from_parts(head, body);
                request.extensions_mut().insert(ConnectInfo(from));
                request.extensions_mut().insert(stopping.clone());
                router.clone().call(request)
            })
        });
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            // An app's socket goes on by itself when both sides have agreed to it.
            let mut connection = std::pin::pin!(connection.with_upgrades());
            let over = tokio::select! {
                // A connection that breaks off is the client's to notice.
                _ = connection.as_mut() => true,
                _ = stopped.wait_for(|stopped| *stopped) => false,
            };
            if !over {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(place);
        });
    }
    drop(listener);
    // Each connection has a place; it is never closed.
    let _ = places.acquire_many(CONNECTIONS).await;
}

/// Small answers must not wait for more to come.
fn ready(socket: TcpStream) -> TcpStream {
    // One that cannot be told so is slower and no less right.
    let _ = socket.set_nodelay(true);
    socket
}
