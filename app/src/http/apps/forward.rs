//! A request on its way to an app's process and back: nothing is gathered on the way, and where both sides
//! agree to turn to another protocol, bytes are copied both ways until both are done.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, Version, header};
use axum::response::Response;
use futures::Stream;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::headers::{self, From};
use crate::apps::instance::{Held, Instance};
use crate::apps::spec::Spec;

/// How long the two ends of a socket may take to say goodbye when the process has ended.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody listens there any more.
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    /// It ended, or speaks no HTTP.
    #[error("{0}")]
    Broken(hyper::Error),
    /// It turned to another protocol than was asked for.
    #[error("it turned to a protocol that nobody asked for")]
    Turned,
    /// The path is none that can be asked for.
    #[error("its path cannot be asked for")]
    Path,
}

/// Passes a request on.
///
/// # Errors
/// When the process does not answer.
pub async fn forward(
    spec: &Spec,
    instance: &Arc<Instance>,
    from: From,
    mut request: Request,
) -> Result<Response, Trouble> {
    let held = instance.hold();
    // What else a connection could turn to, HTTP/2 above all, would not be looked at on its way any more.
    let wanted = headers::upgrade(request.headers())
        .filter(|wanted| wanted.as_bytes().eq_ignore_ascii_case(b"websocket"))
        .filter(|_| request.method() == Method::GET && request.version() == Version::HTTP_11);
    let browser = wanted.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    headers::to_app(&mut parts.headers, spec, instance, &from);
    if let Some(wanted) = &wanted {
        parts.headers.insert(header::UPGRADE, wanted.clone());
        parts.headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    }
    parts.uri = asked(spec, &parts.uri).ok_or(Trouble::Path)?;
    parts.version = Version::HTTP_11;
    // What the server that took the request has put there, the way to upgrade it above all.
    parts.extensions.clear();
    let stream = instance.target.connect().await.map_err(Trouble::Unreachable)?;
    let (mut sender, connection) =
        http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(Trouble::Broken)?;
    let connection = Connection(tokio::spawn(async move {
        // What breaks is seen where it is waited for.
        let _ = connection.with_upgrades().await;
    }));
    let sent = sender.send_request(Request::from_parts(parts, body)).await;
    let mut answer = sent.map_err(Trouble::Broken)?;
    let turned = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let to = headers::upgrade(answer.headers());
    let app = turned.then(|| hyper::upgrade::on(&mut answer));
    let (mut parts, body) = answer.into_parts();
    headers::to_browser(&mut parts.headers, spec, instance);
    parts.extensions.clear();
    match (app, browser, wanted, to) {
        (None, ..) => {
            let ended = body.is_end_stream();
            let body = if ended { Body::empty() } else { passed(body, connection, held) };
            Ok(Response::from_parts(parts, body))
        }
        (Some(app), Some(browser), Some(wanted), Some(to))
            if wanted.as_bytes().eq_ignore_ascii_case(to.as_bytes()) =>
        {
            parts.headers.insert(header::UPGRADE, to);
            parts.headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            tokio::spawn(tunnel(browser, app, instance.clone(), connection, held));
            Ok(Response::from_parts(parts, Body::empty()))
        }
        (Some(_), ..) => Err(Trouble::Turned),
    }
}

/// The path and query as the app is asked for them: as they were written, nothing decoded.
fn asked(spec: &Spec, uri: &Uri) -> Option<Uri> {
    let all = uri.path_and_query().map_or("/", |all| all.as_str());
    let all = if spec.strip { headers::stripped(spec, all) } else { all.to_owned() };
    all.parse().ok()
}

/// The connection to a process: it is closed with whoever waits for its answer.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body on its way to the browser.
struct Passed {
    body: hyper::body::Incoming,
    _connection: Connection,
    _held: Held,
}

fn passed(body: hyper::body::Incoming, connection: Connection, held: Held) -> Body {
    Body::from_stream(Passed { body, _connection: connection, _held: held })
}

impl Stream for Passed {
    type Item = Result<Bytes, hyper::Error>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = std::pin::Pin::new(&mut self.body).poll_frame(cx);
            return match next {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    // What comes after the body has no place in the answer's head any more.
                    Err(_) => continue,
                },
            };
        }
    }
}

/// Copies bytes both ways until both sides are done, or the process has ended and was waited for a while.
/// That nobody says anything ends nothing.
async fn tunnel(
    browser: OnUpgrade,
    app: OnUpgrade,
    instance: Arc<Instance>,
    connection: Connection,
    held: Held,
) {
    let Ok((browser, app)) = futures::future::try_join(browser, app).await else { return };
    let (mut browser, mut app) = (TokioIo::new(browser), TokioIo::new(app));
    let gone = async {
        instance.ended().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        // A side that breaks off ends it for the other.
        _ = tokio::io::copy_bidirectional(&mut browser, &mut app) => {}
        () = gone => {}
    }
    drop((connection, held));
}

#[cfg(test)]
mod tests;
