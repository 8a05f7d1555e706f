//! The listing of artifacts at another server, that clients reach themselves: asked there as they ask.
//!
//! Where to ask comes from the operator alone. No redirect is followed, and what comes back is read as
//! names and sizes and as nothing else.

use std::sync::LazyLock;
use std::time::Duration;

use futures::StreamExt;
use rondo_tracking::artifacts::Place;
use rondo_tracking::artifacts::keep::Listed;
use serde::Deserialize;

use super::signed::coded;
use crate::http::mlflow::refusal::{Answer, Refusal};

/// What an artifact server's addresses have in the middle.
const SERVICE: &str = "/mlflow-artifacts/artifacts";

/// The longest listing.
const MOST: usize = 16 << 20;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    #[serde(default)]
    is_dir: bool,
    file_size: Option<u64>,
}

/// The entries directly below a place at the server with this root.
pub(super) async fn list(root: &str, place: &Place) -> Answer<Vec<Listed>> {
    let unknown =
        || Refusal::invalid(format!("Artifacts at {root} cannot be listed: it is no artifact server"));
    let (base, tail) = root.split_once(SERVICE).ok_or_else(unknown)?;
    let path = [tail.trim_matches('/'), &place.full].into_iter().filter(|part| !part.is_empty());
    let path = path.collect::<Vec<_>>().join("/");
    let body = ask(&format!("{base}{SERVICE}?path={}", coded(&path))).await.ok_or_else(|| {
        Refusal::unavailable(format!("Artifacts at {root} cannot be listed: the server does not answer"))
    })?;
    let listing: Listing = serde_json::from_slice(&body).map_err(|_| unknown())?;
    let below = |file: File| {
        let sound = !file.path.is_empty() && !file.path.contains(['/', '\\']) && file.path != "..";
        let size = if file.is_dir { None } else { Some(file.file_size.unwrap_or_default()) };
        sound.then(|| Listed { path: place.join(&file.path).path, size })
    };
    Ok(listing.files.into_iter().filter_map(below).collect())
}

/// What is answered at an address; nothing where that is no success, or has no end.
async fn ask(url: &str) -> Option<Vec<u8>> {
    static CLIENT: LazyLock<Option<reqwest::Client>> = LazyLock::new(|| {
        // Another part of the process may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        client.build().ok()
    });
    let response = CLIENT.as_ref()?.get(url).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let (mut body, mut parts) = (Vec::new(), response.bytes_stream());
    while let Some(part) = parts.next().await {
        body.extend_from_slice(&part.ok()?);
        if body.len() > MOST {
            return None;
        }
    }
    Some(body)
}
