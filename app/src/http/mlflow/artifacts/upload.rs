//! Bodies taken in, as fast as the disk takes them and no faster; deletion.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use rondo_core::Digest;
use rondo_store::parts::PartUpload;
use rondo_tracking::artifacts::keep::{Received, Receiving};
use rondo_tracking::artifacts::{self, Place, Tree};
use serde_json::{Value, json};

use super::checks::Checks;
use crate::http::access::Caller;
use crate::http::mlflow::MlflowState;
use crate::http::mlflow::args::{Args, InPath};
use crate::http::mlflow::refusal::{Answer, Refusal};

/// How long a body is read that is refused. A client that is still sending hears the answer only if
/// somebody listens; a connection that is closed on it would make it try again.
const HEARD: Duration = Duration::from_secs(10);

/// How long a sender may send nothing in the middle of an upload.
const STALL: Duration = Duration::from_secs(60);

/// Parts of a body that wait for the disk at most.
const WAITING: usize = 4;

pub(in crate::http::mlflow) async fn by_path(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(path): InPath<String>,
    request: Request<Body>,
) -> Answer<Response> {
    let place = artifacts::proxied(&path)?;
    if let Err(denied) = caller.artifacts(&place.owner).await {
        return Err(hear(request.into_body().into_data_stream(), denied.into()).await);
    }
    take(&state, place, request).await
}

/// What may be uploaded without the proxy, which is for pages.
const SMALL: usize = 10 << 20;

/// The same for those who know the run and not its root.
pub(in crate::http::mlflow) async fn by_run(
    State(state): State<MlflowState>,
    caller: Caller,
    request: Request<Body>,
) -> Answer<Response> {
    let (head, body) = request.into_parts();
    // Read before anything is refused: a client that is still sending does not hear an answer.
    let body = tokio::time::timeout(STALL, axum::body::to_bytes(body, SMALL)).await;
    let body = body.map_err(|_| Refusal::invalid("The request body did not come in time"))?;
    let args = Args::query(&head.uri)?;
    let run = args.given("run_uuid")?.ok_or_else(|| Refusal::invalid("Request must specify run_uuid."))?;
    let path = args.given("path")?.ok_or_else(|| Refusal::invalid("Request must specify path."))?;
    caller.run(&run).await?;
    artifacts::clean(&path)?;
    let body = body.map_err(|_| Refusal::invalid("Artifact size is too large. Max size is 10MB."))?;
    if body.is_empty() {
        return Err(Refusal::invalid("Request must specify data."));
    }
    let row = state.tracking.run_row(&run).await?;
    let place = state.tracking.place_of_run(&row, &path).await?;
    if place.tree == Tree::Folder {
        state.tracking.put_in_folder(&place, body.to_vec()).await?;
        return Ok(Json(json!({})).into_response());
    }
    take(&state, place, Request::from_parts(head, Body::from(body))).await
}

async fn take(state: &MlflowState, place: Place, request: Request<Body>) -> Answer<Response> {
    let (head, body) = request.into_parts();
    let ready = async {
        let checks = Checks::of(&head.headers)?;
        Ok((state.tracking.receive_artifact(&place).await?, checks))
    };
    let (receiving, checks) = match ready.await {
        Ok(ready) => ready,
        Err(refused) => return Err(hear(body.into_data_stream(), refused).await),
    };
    let received = receive(receiving, checks, body).await?;
    state.tracking.put_artifact(&place, received).await?;
    Ok(tagged(received.digest))
}

/// An empty answer with the digest of what was kept.
pub(super) fn tagged(digest: Digest) -> Response {
    ([(header::ETAG, format!("\"{digest}\""))], Json(json!({}))).into_response()
}

/// Something on the disk that bytes are written to.
pub(super) trait Sink: Send + 'static {
    /// What it gives when it is whole.
    type Kept: Send + 'static;
    fn write(&mut self, bytes: &[u8]) -> Answer<()>;
    /// Of what was written so far.
    fn digest(&self) -> Digest;
    fn finish(self) -> Answer<Self::Kept>;
}

impl Sink for Receiving {
    type Kept = Received;

    fn write(&mut self, bytes: &[u8]) -> Answer<()> {
        Ok(Self::write(self, bytes)?)
    }

    fn digest(&self) -> Digest {
        Self::digest(self)
    }

    fn finish(self) -> Answer<Received> {
        Ok(Self::finish(self)?)
    }
}

impl Sink for PartUpload {
    type Kept = Digest;

    fn write(&mut self, bytes: &[u8]) -> Answer<()> {
        Ok(Self::write(self, bytes)?)
    }

    fn digest(&self) -> Digest {
        Self::digest(self)
    }

    fn finish(self) -> Answer<Digest> {
        Ok(Self::finish(self)?)
    }
}

/// Takes a body in. What breaks off, or is not what its checksums say, leaves nothing behind.
pub(super) async fn receive<S: Sink>(mut sink: S, mut checks: Checks, body: Body) -> Answer<S::Kept> {
    let (parts, mut incoming) = tokio::sync::mpsc::channel::<Option<Bytes>>(WAITING);
    let writer = tokio::task::spawn_blocking(move || {
        loop {
            match incoming.blocking_recv() {
                Some(Some(part)) => {
                    checks.update(&part);
                    sink.write(&part)?;
                }
                Some(None) => {
                    checks.verify(sink.digest())?;
                    return sink.finish().map(Some);
                }
                // The sender went away before the end.
                None => return Ok(None),
            }
        }
    });
    let mut body = body.into_data_stream();
    let mut whole = true;
    loop {
        let part = match tokio::time::timeout(STALL, body.next()).await {
            Ok(Some(Ok(part))) => part,
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                whole = false;
                break;
            }
        };
        // A writer that has gone away has failed, and its error is the answer.
        if parts.send(Some(part)).await.is_err() {
            break;
        }
    }
    if whole {
        // As above.
        let _ = parts.send(None).await;
    }
    drop(parts);
    match writer.await {
        Ok(Ok(Some(kept))) => Ok(kept),
        Ok(Ok(None)) => Err(Refusal::invalid("The request body broke off")),
        Ok(Err(refused)) => Err(hear(body, refused).await),
        Err(_) => Err(Refusal::internal("The upload could not be written")),
    }
}

/// Listens to what is left of a body, for a while, before it is refused.
pub(super) async fn hear(mut body: BodyDataStream, refused: Refusal) -> Refusal {
    let all = async { while let Some(Ok(_)) = body.next().await {} };
    // Either way it has been listened to for long enough.
    let _ = tokio::time::timeout(HEARD, all).await;
    refused
}

pub(in crate::http::mlflow) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(path): InPath<String>,
) -> Answer<Json<Value>> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    state.tracking.delete_artifacts(&place).await?;
    Ok(Json(json!({})))
}
