//! Artifacts: listed, and streamed both ways in constant memory.

use std::collections::HashMap;
use std::io::SeekFrom;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rondo_store::objects::Stored;
use rondo_tracking::artifacts::{self, Place};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::show::File;
use crate::http::access::Caller;

/// How long a sender may send nothing in the middle of an upload.
const STALL: std::time::Duration = std::time::Duration::from_secs(60);
/// Bytes that are read at a time.
const PART: u64 = 256 << 10;

#[derive(Serialize)]
pub(super) struct Listing {
    #[serde(skip_serializing_if = "Option::is_none")]
    root_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File>,
}

/// The entries below a place, with whole paths or their last parts alone.
pub(super) async fn listing(
    state: &MlflowState,
    place: &Place,
    root_uri: Option<String>,
    names_alone: bool,
) -> Answer<Listing> {
    let files = state.tracking.list_artifacts(place).await?.into_iter().map(|listed| {
        let name = listed.path.rsplit('/').next().unwrap_or_default();
        let path = if names_alone { name.to_owned() } else { listed.path };
        File { path, is_dir: listed.size.is_none(), file_size: listed.size }
    });
    Ok(Listing { root_uri, files: files.collect() })
}

pub(super) async fn list(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Listing>> {
    let id = args.run_id()?;
    let path = artifacts::clean(&args.text("path")?.unwrap_or_default())?;
    caller.run(&id).await?;
    let row = state.tracking.run_row(&id).await?;
    let location = state.tracking.experiment(&row.experiment.to_string()).await?.artifact_location;
    let root = artifacts::run_root(&location, row.id);
    Ok(Json(listing(&state, &Place { owner: row.id.hex(), path }, Some(root), false).await?))
}

pub(super) async fn proxy_list(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Listing>> {
    let path = args.text("path")?.unwrap_or_default();
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    Ok(Json(listing(&state, &place, None, true).await?))
}

pub(super) async fn upload(
    State(state): State<MlflowState>,
    caller: Caller,
    Path(path): Path<String>,
    request: Request<Body>,
) -> Answer<Json<Value>> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    take(&state, place, &path, request.into_body()).await
}

/// The same for those who know the run and not its root.
pub(super) async fn upload_of_run(
    State(state): State<MlflowState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
    request: Request<Body>,
) -> Answer<Json<Value>> {
    let given = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    caller.run(given("run_uuid")).await?;
    let row = state.tracking.run_row(given("run_uuid")).await?;
    let path = artifacts::clean(given("path"))?;
    take(&state, Place { owner: row.id.hex(), path }, given("path"), request.into_body()).await
}

async fn take(state: &MlflowState, place: Place, path: &str, body: Body) -> Answer<Json<Value>> {
    if place.path.is_empty() || !state.tracking.owns_artifacts(&place.owner).await? {
        return Err(Refusal::invalid(format!(
            "Invalid path: {path} is nobody's: no such run or logged model"
        )));
    }
    let stored = receive(state, body).await?;
    state.tracking.put_artifact(&place, stored.digest, stored.size).await?;
    Ok(Json(json!({})))
}

/// Takes a body into the objects. What breaks off leaves nothing behind.
async fn receive(state: &MlflowState, body: Body) -> Answer<Stored> {
    let (parts, mut incoming) = tokio::sync::mpsc::channel::<Option<Bytes>>(8);
    let objects = state.tracking.objects().clone();
    let writer = tokio::task::spawn_blocking(move || {
        let mut upload = objects.upload()?;
        loop {
            match incoming.blocking_recv() {
                Some(Some(part)) => upload.write(&part)?,
                Some(None) => return upload.finish().map(Some),
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
        Ok(stored) => stored?.ok_or_else(|| Refusal::invalid("The request body broke off")),
        Err(_) => Err(Refusal::internal("The upload could not be written")),
    }
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Answer<Json<Value>> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    state.tracking.delete_artifacts(&place).await?;
    Ok(Json(json!({})))
}

pub(super) async fn download(
    State(state): State<MlflowState>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    send(&state, &place, &headers).await
}

pub(super) async fn of_run(
    State(state): State<MlflowState>,
    caller: Caller,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    let row = state.tracking.run_row(&id).await?;
    let path = artifacts::clean(&args.required("path")?)?;
    send(&state, &Place { owner: row.id.hex(), path }, &headers).await
}

pub(super) async fn of_model(
    State(state): State<MlflowState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    caller.logged_model(&id).await?;
    let model = state.tracking.logged_model(&id).await?;
    let path = artifacts::clean(&args.required("artifact_file_path")?)?;
    send(&state, &Place { owner: model.row.id, path }, &headers).await
}

pub(super) async fn of_version(
    State(state): State<MlflowState>,
    caller: Caller,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let (name, version) = (args.required("name")?, args.required("version")?);
    caller.model(&name)?;
    let path = artifacts::clean(&args.required("path")?)?;
    let root = super::model_versions::root(&state, &name, &version).await?;
    let root =
        artifacts::uri(&root)?.ok_or_else(|| Refusal::missing(format!("No such artifact: '{path}'")))?;
    let path = if root.path.is_empty() { path } else { format!("{}/{path}", root.path) };
    send(&state, &Place { owner: root.owner, path }, &headers).await
}

/// Sends a file, or the part of it that was asked for.
async fn send(state: &MlflowState, place: &Place, headers: &HeaderMap) -> Answer<Response> {
    let artifact = state.tracking.artifact(place).await?;
    let tag = format!("\"{}\"", artifact.digest);
    let name = place.path.rsplit('/').next().unwrap_or_default();
    let mut response =
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let file = state.tracking.objects().require(artifact.digest)?;
            let read = |_| Refusal::internal("The artifact could not be read");
            let mut file = tokio::fs::File::open(file).await.map_err(read)?;
            match range(headers, artifact.size) {
                Asked::Whole => {
                    let body = stream(file, artifact.size);
                    (StatusCode::OK, [(header::CONTENT_LENGTH, artifact.size.to_string())], body)
                        .into_response()
                }
                Asked::Part(first, last) => {
                    file.seek(SeekFrom::Start(first)).await.map_err(read)?;
                    let length = last - first + 1;
                    let headers = [
                        (header::CONTENT_LENGTH, length.to_string()),
                        (header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", artifact.size)),
                    ];
                    (StatusCode::PARTIAL_CONTENT, headers, stream(file, length)).into_response()
                }
                Asked::Nothing => {
                    let headers = [(header::CONTENT_RANGE, format!("bytes */{}", artifact.size))];
                    (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
                }
            }
        };
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, media_type(name));
    set(header::CONTENT_DISPOSITION, &disposition(name));
    set(header::ETAG, &tag);
    set(header::ACCEPT_RANGES, "bytes");
    Ok(response)
}

fn stream(file: tokio::fs::File, length: u64) -> Body {
    let parts = futures::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut part = Vec::with_capacity(left.min(PART) as usize);
        let read = (&mut file).take(left.min(PART)).read_to_end(&mut part).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((Bytes::from(part), (file, left - read as u64))))
    });
    Body::from_stream(parts.into_stream())
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(u64, u64),
    Nothing,
}

/// Which bytes are asked for; more than one part at once is answered with the whole.
fn range(headers: &HeaderMap, size: u64) -> Asked {
    let Some(text) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Asked::Whole;
    };
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let ends = match (first.trim(), last.trim()) {
        ("", count) => {
            count.parse().ok().map(|count: u64| (size.saturating_sub(count), size.saturating_sub(1)))
        }
        (first, "") => first.parse().ok().map(|first| (first, size.saturating_sub(1))),
        (first, last) => match (first.parse(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Some((first, last.min(size.saturating_sub(1)))),
            (_, _) => None,
        },
    };
    match ends {
        None => Asked::Whole,
        Some((first, last)) if first < size && first <= last => Asked::Part(first, last),
        Some(_) => Asked::Nothing,
    }
}

/// As a file to keep and never as a page to show, whatever its name.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\;%".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let mut coded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}")
}

fn media_type(name: &str) -> &'static str {
    let lower = name.to_lowercase();
    let text = ["MLmodel", "MLproject", "Dockerfile", "LICENSE"].contains(&name);
    match lower.rsplit_once('.').map_or("", |(_, ending)| ending) {
        _ if text => "text/plain",
        "txt" | "log" | "yaml" | "yml" | "md" | "cfg" | "conf" | "ini" | "toml" | "py" | "r" | "sh"
        | "sql" => "text/plain",
        "json" => "application/json",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(text))]);
            range(&headers, 10)
        };
        assert_eq!(asked("bytes=0-3"), Asked::Part(0, 3));
        assert_eq!(asked("bytes=4-"), Asked::Part(4, 9));
        assert_eq!(asked("bytes=-3"), Asked::Part(7, 9));
        assert_eq!(asked("bytes=5-99"), Asked::Part(5, 9));
        assert_eq!(asked("bytes=10-"), Asked::Nothing);
        assert_eq!(asked("bytes=-0"), Asked::Nothing);
        for odd in ["bytes=0-1,4-5", "lines=0-1", "bytes=b-a", "bytes=5-2", "bytes"] {
            assert_eq!(asked(odd), Asked::Whole, "{odd}");
        }
        assert_eq!(
            range(&HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=-5"))]), 0),
            Asked::Nothing
        );
    }

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(disposition("model.onnx"), "attachment; filename=\"model.onnx\"");
        assert_eq!(
            disposition("a\";x=é.txt"),
            "attachment; filename=\"a__x=_.txt\"; filename*=UTF-8''a%22%3Bx%3D%C3%A9.txt"
        );
        assert_eq!(media_type("MLmodel"), "text/plain");
        assert_eq!(media_type("x.PNG"), "image/png");
    }
}
