//! Where a notebook of the command line comes from: a file, standard input, an address of the web or a bucket.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::Code;
use rondo_notebook::document::Notebook;
use rondo_notebook::percent;
use rondo_project::notebook::language::Language;

use super::target;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// What stands for standard input and output.
pub const STREAM: &str = "-";
/// The largest notebook that is fetched, in bytes.
const LARGEST: usize = 256 << 20;

/// A notebook and what it is called.
pub struct Source {
    /// The notebook.
    pub notebook: Notebook,
    /// Its path, or what stands for it in messages and records.
    pub path: PathBuf,
    /// Whether there is a file at that path.
    pub is_file: bool,
}

/// Reads it. `language` is that of a script on standard input.
///
/// # Errors
/// When it cannot be read, or is no notebook.
pub async fn read(input: &Path, language: Option<&str>, session: &Session) -> Outcome<Source> {
    let text = input.to_string_lossy();
    if text == STREAM {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::new(Code::Io, format!("read standard input: {error}")))?;
        return Ok(Source {
            notebook: of_stream(&bytes, language)?,
            path: "stdin.ipynb".into(),
            is_file: false,
        });
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        let url = raw(&text);
        let bytes = Box::pin(fetch(&url)).await?;
        let name = url.split(['?', '#']).next().unwrap_or(&url).to_owned();
        let notebook = Notebook::of_bytes(Path::new(&name), &bytes)?;
        return Ok(Source { notebook, path: name.into(), is_file: false });
    }
    if target::scheme(&text).is_some() {
        let (name, bytes) = Box::pin(of_bucket(&text, session)).await?;
        let notebook = Notebook::of_bytes(Path::new(&name), &bytes)?;
        return Ok(Source { notebook, path: name.into(), is_file: false });
    }
    let path = session.existing("notebook", input)?;
    Ok(Source { notebook: Notebook::read(&path)?, path, is_file: true })
}

/// An object of a bucket, and its address without what may be a secret.
async fn of_bucket(address: &str, session: &Session) -> Outcome<(String, Vec<u8>)> {
    let bucket = target::bucket(address, session)?;
    let name = address.split(['?', '#']).next().unwrap_or(address).to_owned();
    let missing = || Failure::new(Code::SourceNotFound, format!("find notebook `{name}`"));
    let object = bucket.object().await?.ok_or_else(missing)?;
    if object.size > LARGEST as u64 {
        let message = format!("fetch notebook `{name}`: it is larger than 256 MiB");
        return Err(Failure::new(Code::SourceNotFound, message));
    }
    let mut bytes = Vec::new();
    let take = |piece: bytes::Bytes| {
        bytes.extend_from_slice(&piece);
        Ok(())
    };
    bucket.read(&object, 0, take).await?;
    Ok((name, bytes))
}

/// Standard input has no name that would tell: JSON is a notebook, all else a script.
fn of_stream(bytes: &[u8], language: Option<&str>) -> Outcome<Notebook> {
    let path = Path::new("standard input");
    let script = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte != b'{');
    match (std::str::from_utf8(bytes), script) {
        (Ok(text), true) if !text.trim().is_empty() => {
            let language = language.and_then(Language::named).unwrap_or(Language::Python);
            Ok(percent::parse(text, language))
        }
        _ => Ok(Notebook::parse(path, bytes)?),
    }
}

/// The address of a file itself, where GitHub's page of it is named.
fn raw(url: &str) -> String {
    let parts = url.strip_prefix("https://github.com/").and_then(|rest| rest.split_once("/blob/"));
    match parts {
        Some((repository, file)) => format!("https://raw.githubusercontent.com/{repository}/{file}"),
        None => url.to_owned(),
    }
}

async fn fetch(url: &str) -> Outcome<Vec<u8>> {
    let failed =
        |reason: String| Failure::new(Code::SourceNotFound, format!("fetch notebook `{url}`: {reason}"));
    // Installed already where data were fetched before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build();
    let client = client.map_err(|error| failed(error.to_string()))?;
    let mut response = client.get(url).send().await.map_err(|error| failed(error.to_string()))?;
    if !response.status().is_success() {
        return Err(failed(format!("the server answered {}", response.status())));
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| failed(error.to_string()))? {
        bytes.extend_from_slice(&part);
        if bytes.len() > LARGEST {
            return Err(failed("it is larger than 256 MiB".to_owned()));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_page_of_a_file_stands_for_the_file() {
        assert_eq!(
            raw("https://github.com/a/b/blob/main/x/n.ipynb"),
            "https://raw.githubusercontent.com/a/b/main/x/n.ipynb"
        );
        assert_eq!(raw("https://example.org/n.ipynb"), "https://example.org/n.ipynb");
    }

    #[test]
    fn a_stream_is_a_notebook_or_a_script() {
        let script = of_stream(b"# %%\nx <- 1\n", Some("R")).ok().unwrap();
        assert_eq!((script.cells.len(), script.kernel_name()), (1, Some("ir")));
        let notebook = br#" {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}"#;
        assert!(of_stream(notebook, None).is_ok());
        assert!(of_stream(b"", None).is_err() && of_stream(b"{", None).is_err());
    }
}
