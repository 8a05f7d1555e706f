//! Files sent: whole, in ranges, or not at all where the asker has them.

use std::io::SeekFrom;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt;
use rondo_tracking::artifacts::keep::Held;
use rondo_tracking::artifacts::{self, Place};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use rondo_core::access::Right;

use super::range::{Asked, asked};
use crate::http::access::Caller;
use crate::http::mlflow::MlflowState;
use crate::http::mlflow::args::{Args, InPath};
use crate::http::mlflow::refusal::{Answer, Refusal};

/// Bytes that are read at a time.
const PART: u64 = 256 << 10;

pub(in crate::http::mlflow) async fn by_path(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(path): InPath<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    send(&state, &place, &headers).await
}

pub(in crate::http::mlflow) async fn of_run(
    State(state): State<MlflowState>,
    caller: Caller,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let path = artifacts::clean(&args.required("path")?)?;
    let id = args.run_id()?;
    caller.run(&id).await?;
    let row = state.tracking.run_row(&id).await?;
    send(&state, &state.tracking.place_of_run(&row, &path).await?, &headers).await
}

pub(in crate::http::mlflow) async fn of_model(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let unnamed = || Refusal::bad("Request must include the \"artifact_file_path\" query parameter.");
    let path = artifacts::clean(&args.given("artifact_file_path")?.ok_or_else(unnamed)?)?;
    caller.logged_model(&id).await?;
    let model = state.tracking.logged_model(&id).await?;
    let place = model.place(&state.tracking, &path)?;
    send(&state, &place, &headers).await
}

pub(in crate::http::mlflow) async fn of_version(
    State(state): State<MlflowState>,
    caller: Caller,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let path = artifacts::clean(&args.required("path")?)?;
    let (name, version) = (args.required("name")?, args.required("version")?);
    caller.model(&name)?;
    let root = crate::http::mlflow::model_versions::root(&state, &name, &version).await?;
    let missing = || Refusal::missing(format!("No such artifact: '{path}'"));
    let root = match root.strip_prefix("runs:/").map(|at| at.split_once('/').unwrap_or((at, ""))) {
        Some((run, below)) => {
            let row = state.tracking.run_row(run).await?;
            state.tracking.place_of_run(&row, below).await?
        }
        None => match state.tracking.roots().find(&root)? {
            Some(place) => place,
            None => {
                // What is nobody's in the proxy's tree; two slashes would be another host.
                let below = root.strip_prefix("mlflow-artifacts:").filter(|below| !below.starts_with("//"));
                let place = artifacts::proxied(below.ok_or_else(missing)?.trim_matches('/'))?;
                caller.artifacts_for(Right::Read, &place.owner).await?;
                place
            }
        },
    };
    send(&state, &root.join(&path), &headers).await
}

/// Sends a file, or the parts of it that were asked for.
pub(in crate::http::mlflow) async fn send(
    state: &MlflowState,
    place: &Place,
    headers: &HeaderMap,
) -> Answer<Response> {
    let held = state.tracking.artifact(place).await?;
    let name = place.path.rsplit('/').next().unwrap_or_default();
    let (tag, modified) = (format!("\"{}\"", held.tag), date(held.modified));
    let kind = media_type(name);
    let mut response = if is_known(headers, &tag, &modified) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer(held, asked_of(headers, &tag, &modified), kind).await?
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(name).or_insert(value);
        }
    };
    set(header::CONTENT_TYPE, kind);
    set(header::CONTENT_DISPOSITION, &disposition(name));
    set(header::ETAG, &tag);
    set(header::LAST_MODIFIED, &modified);
    set(header::ACCEPT_RANGES, "bytes");
    // Should a browser show it all the same, it runs nothing and reaches nothing.
    set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    Ok(response)
}

/// What of a file of some size is asked for.
fn asked_of<'h>(headers: &'h HeaderMap, tag: &'h str, modified: &'h str) -> impl Fn(u64) -> Asked + 'h {
    move |size| asked(headers, size, tag, modified)
}

async fn answer(held: Held, asked: impl Fn(u64) -> Asked, kind: &str) -> Answer<Response> {
    let size = held.size;
    let mut file = tokio::fs::File::from_std(held.file);
    Ok(match asked(size) {
        Asked::Whole => {
            ([(header::CONTENT_LENGTH, size.to_string())], stream(file, vec![(Bytes::new(), 0, size)]))
                .into_response()
        }
        Asked::Nothing => {
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
        }
        Asked::Parts(parts) => match parts.as_slice() {
            [(first, last)] => {
                let read = |_| Refusal::internal("The artifact could not be read");
                file.seek(SeekFrom::Start(*first)).await.map_err(read)?;
                let length = last - first + 1;
                let headers = [
                    (header::CONTENT_LENGTH, length.to_string()),
                    (header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}")),
                ];
                (StatusCode::PARTIAL_CONTENT, headers, stream(file, vec![(Bytes::new(), *first, length)]))
                    .into_response()
            }
            parts => several(file, parts, size, kind),
        },
    })
}

/// Several ranges in one answer.
fn several(file: tokio::fs::File, parts: &[(u64, u64)], size: u64, kind: &str) -> Response {
    let boundary = format!("rondo-{}", hex::encode(rand::random::<[u8; 12]>()));
    let mut pieces = Vec::with_capacity(parts.len() + 1);
    let mut length = 0;
    for (first, last) in parts {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
        );
        length += head.len() as u64 + last - first + 1;
        pieces.push((Bytes::from(head), *first, last - first + 1));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    length += end.len() as u64;
    pieces.push((Bytes::from(end), 0, 0));
    let headers = [
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}")),
    ];
    (StatusCode::PARTIAL_CONTENT, headers, stream(file, pieces)).into_response()
}

/// What is left to send: text, then bytes of the file from an offset.
struct Rest {
    file: tokio::fs::File,
    pieces: std::vec::IntoIter<(Bytes, u64, u64)>,
    left: u64,
}

fn stream(file: tokio::fs::File, pieces: Vec<(Bytes, u64, u64)>) -> Body {
    let rest = Rest { file, pieces: pieces.into_iter(), left: 0 };
    let parts = futures::stream::try_unfold(rest, |mut rest| async move {
        while rest.left == 0 {
            let Some((head, from, length)) = rest.pieces.next() else {
                return Ok::<_, std::io::Error>(None);
            };
            rest.left = length;
            if length > 0 {
                rest.file.seek(SeekFrom::Start(from)).await?;
            }
            if !head.is_empty() {
                return Ok(Some((head, rest)));
            }
        }
        let mut part = Vec::with_capacity(rest.left.min(PART) as usize);
        let read = (&mut rest.file).take(rest.left.min(PART)).read_to_end(&mut part).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        rest.left -= read as u64;
        Ok(Some((Bytes::from(part), rest)))
    });
    Body::from_stream(parts.into_stream())
}

/// Whether the asker has this very file.
fn is_known(headers: &HeaderMap, tag: &str, modified: &str) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(known) = text(header::IF_NONE_MATCH) {
        let same = |known: &str| known == "*" || known.trim_start_matches("W/") == tag;
        return known.split(',').map(str::trim).any(same);
    }
    let since = text(header::IF_MODIFIED_SINCE).and_then(|since| httpdate::parse_http_date(since).ok());
    since.is_some_and(|since| httpdate::parse_http_date(modified).is_ok_and(|modified| modified <= since))
}

fn date(millis: i64) -> String {
    let since = Duration::from_secs(u64::try_from(millis / 1000).unwrap_or_default());
    // After the year 9999 there is no such date.
    httpdate::fmt_http_date(UNIX_EPOCH + since.min(Duration::from_secs(253_402_300_799)))
}

/// As a file to keep and never as a page to show, whatever its name.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\;%".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.bytes().all(token) {
        return format!("attachment; filename={name}");
    }
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", super::signed::coded(name))
}

/// The type by the name's ending. What people read is plain text, as MLflow has it, and shown by no browser
/// as anything else.
fn media_type(name: &str) -> &'static str {
    let lower = name.to_lowercase();
    let ending = lower.rsplit_once('.').map_or(lower.as_str(), |(_, ending)| ending);
    match ending {
        "txt" | "log" | "err" | "cfg" | "conf" | "cnf" | "cf" | "ini" | "properties" | "prop" | "hocon"
        | "toml" | "yaml" | "yml" | "xml" | "json" | "js" | "py" | "py3" | "csv" | "tsv" | "md" | "rst"
        | "r" | "sh" | "sql" | "mlmodel" | "mlproject" => "text/plain",
        _ if !lower.contains('.') => "application/octet-stream",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "mp3" => "audio/mpeg",
        "wav" => "audio/x-wav",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(disposition("model.onnx"), "attachment; filename=model.onnx");
        assert_eq!(
            disposition("a\";x=é.txt"),
            "attachment; filename=\"a__x=_.txt\"; filename*=UTF-8''a%22%3Bx%3D%C3%A9.txt"
        );
        let types = ["MLmodel", "x.PNG", "x.json", "png", "x.pkl", "model", "a.html"].map(media_type);
        let octets = "application/octet-stream";
        assert_eq!(types, ["text/plain", "image/png", "text/plain", octets, octets, octets, "text/html"]);
    }

    #[test]
    fn who_has_the_file_is_not_sent_it_again() {
        let modified = date(1_700_000_000_000);
        assert_eq!(modified, "Tue, 14 Nov 2023 22:13:20 GMT");
        let known = |name: HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            is_known(&headers, "\"t\"", &modified)
        };
        for same in ["\"t\"", "W/\"t\"", "\"a\", \"t\"", "*"] {
            assert!(known(header::IF_NONE_MATCH, same), "{same}");
        }
        assert!(!known(header::IF_NONE_MATCH, "\"a\""));
        assert!(known(header::IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(!known(header::IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:13:19 GMT"));
        assert!(!known(header::IF_MODIFIED_SINCE, "yesterday"));
    }
}
