//! What of a request's body nobody has read.
//!
//! A connection with an unread body is closed behind the answer, and the client's next request on it is lost:
//! for a client that sends head and body one after the other that depends on who is faster. So a short rest is
//! read and thrown away, while the answer is on its way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Error;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{EXPECT, HeaderMap};

/// The longest rest that is read: to close is cheaper than to take more.
const MOST: u64 = 256 << 10;

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request's body, whose rest is read when it is dropped.
pub struct Heard {
    body: Option<Incoming>,
    /// Whether the client waits to be asked for the body: then none comes behind an answer.
    waits: bool,
}

impl Heard {
    /// The body of a request with these headers.
    pub fn new(body: Incoming, headers: &HeaderMap) -> Self {
        Self { body: Some(body), waits: headers.contains_key(EXPECT) }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let is_short = self.size_hint().lower() <= MOST;
        if self.is_end_stream() || self.waits || !is_short {
            return;
        }
        // Without a runtime the connection is gone already.
        if let (Some(body), Ok(runtime)) = (self.body.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(PATIENCE, pass_over(body)));
        }
    }
}

async fn pass_over(mut body: Incoming) {
    let mut passed = 0;
    while passed <= MOST {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { return };
        passed += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use crate::http::server::Server;

    async fn said(stream: &mut TcpStream) -> String {
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    async fn asked(server: &Server, length: usize, more: &str) -> TcpStream {
        let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(said(&mut stream).await.starts_with("HTTP/1.1 200"));
        stream
    }

    #[tokio::test]
    async fn a_connection_goes_on_behind_a_body_that_comes_after_its_answer() {
        let router = Router::new().route("/", post(|| async { "unread" }));
        let server = Server::start("127.0.0.1:0", router).await.unwrap();
        let mut stream = asked(&server, 5, "").await;
        stream.write_all(b"hello").await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        assert!(said(&mut stream).await.starts_with("HTTP/1.1 200"));
        // One that is long, or that the client holds back, is not waited for.
        for (length, more) in [(1 << 20, ""), (5, "Expect: 100-continue\r\n")] {
            assert_eq!(said(&mut asked(&server, length, more).await).await, "");
        }
        server.stop().await;
    }
}
