//! Files that are shown as they are: a page that a step has made, or a folder of the project.

use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures::stream;
use rondo_core::Code;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::http::problem::{Answer, Problem};

/// How much is read at a time.
const PART: usize = 1 << 16;

/// Answers what is below a root. Links of an artifact lead into the store and nowhere else; those of a
/// folder of the project may not lead out of it.
///
/// # Errors
/// When there is no such file, or another method than GET was asked.
pub async fn answer(root: &Path, artifact: bool, below: &str, method: &Method) -> Answer<Response> {
    if method != Method::GET && method != Method::HEAD {
        return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response());
    }
    let missing = || {
        let shown: String = below.chars().take(200).collect();
        Problem::new(Code::SourceNotFound, format!("find file `{shown}`"))
    };
    let inner = decoded(below).ok_or_else(missing)?;
    let mut path = if inner.as_os_str().is_empty() { root.to_owned() } else { root.join(&inner) };
    if path.is_dir() {
        if !below.is_empty() && !below.ends_with('/') {
            // Links of the page are relative to its folder. The name alone leads nowhere else.
            let name = below.rsplit('/').next().unwrap_or_default();
            return Ok(Redirect::permanent(&format!("./{name}/")).into_response());
        }
        path = path.join("index.html");
    }
    if !artifact {
        let (inside, real) = (root.canonicalize(), path.canonicalize());
        if !matches!((&inside, &real), (Ok(inside), Ok(real)) if real.starts_with(inside)) {
            return Err(missing());
        }
    }
    let file = File::open(&path).await.map_err(|_| missing())?;
    let metadata = file.metadata().await.map_err(|_| missing())?;
    if !metadata.is_file() {
        return Err(missing());
    }
    let length = metadata.len();
    let body = if method == Method::HEAD { Body::empty() } else { Body::from_stream(parts(file, length)) };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(&path)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// A file as it was when it was opened: no longer than it was then.
fn parts(file: File, length: u64) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file.take(length), |mut file| async move {
        let mut part = vec![0; PART];
        let count = file.read(&mut part).await?;
        part.truncate(count);
        Ok((count > 0).then(|| (Bytes::from(part), file)))
    })
}

/// A path as it was meant; nothing where it would lead out of its root.
fn decoded(below: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in below.split('/').filter(|part| !part.is_empty()) {
        let part = String::from_utf8(bytes(part)?).ok()?;
        if part == "." || part == ".." || part.contains(['/', '\\', '\0']) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}

/// What a file is, by its name.
fn kind(path: &Path) -> &'static str {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref().unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "ipynb" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "csv" => "text/csv; charset=utf-8",
        "txt" | "log" | "md" | "yaml" | "yml" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(root: &Path, below: &str) -> Result<(StatusCode, String), ()> {
        let answer = answer(root, false, below, &Method::GET).await.map_err(drop)?;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        Ok((status, String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn files_are_shown_and_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        std::fs::create_dir_all(root.join("a b")).unwrap();
        std::fs::write(root.join("index.html"), "home").unwrap();
        std::fs::write(root.join("a b/index.html"), "inner").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
        assert_eq!(ask(&root, "").await, Ok((StatusCode::OK, "home".into())));
        assert_eq!(ask(&root, "a%20b/").await, Ok((StatusCode::OK, "inner".into())));
        assert_eq!(ask(&root, "a%20b").await.unwrap().0, StatusCode::PERMANENT_REDIRECT);
        for hostile in [
            "../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "a/../../secret",
            "link",
            "%00",
            "%zz",
            "%",
            "%2",
            "a%20b/../../secret",
            "/../secret",
            "nothing",
            "..\\secret",
            "%ff",
        ] {
            assert!(ask(&root, hostile).await.is_err(), "{hostile}");
        }
        let post = answer(&root, false, "", &Method::POST).await;
        assert_eq!(post.map_err(drop).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
