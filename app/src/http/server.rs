//! Listening: one socket, one router, until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use rondo_core::{Code, Explain};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
        let (stop, mut stopped) = watch::channel(false);
        // Small answers must not wait for more to come.
        let listener = self.listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let task = tokio::spawn(async move {
            let ended = async move {
                // An error means that the sender is gone: then there is nothing left to serve for.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            let served = axum::serve(listener, router).with_graceful_shutdown(ended).await;
            debug_assert!(served.is_ok(), "axum's accept loop has no error of its own");
        });
        Server { address: self.address, stop, task }
    }
}
