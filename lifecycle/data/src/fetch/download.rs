//! Downloads: one file from a web server, whole or not at all.
//!
//! A download that broke off goes on where it stopped, if the server says that the file is still the
//! same one; a file that is here already is asked for with its `ETag` and not sent again when it has not
//! changed. Servers that fail or are busy are asked again, each time after a longer pause. Processes that
//! want the same file wait for each other.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use rondo_core::Digest;
use rondo_core::handoff::Origin;
use rondo_core::ports::Event;
use rondo_table::read::ReadOptions;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::secrets::Filled;
use super::unpack::{plain_name, write_whole};
use super::{Fetcher, blocking, page};
use crate::place::pace;
use crate::source::without_credentials;
use crate::{Error, table};

/// A server that asks to be left alone for longer is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How many bytes pass between two reports of progress.
const REPORT_EVERY: u64 = 1 << 18;

/// What is known of a file that was downloaded, or of the beginning of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// The file's name.
    name: String,
    /// The server's name for this state of it.
    etag: Option<String>,
    /// When it was last changed, as the server says.
    modified: Option<String>,
    /// Its SHA-256, where that was checked.
    sha256: Option<String>,
    /// What the server calls its content.
    #[serde(default)]
    kind: Option<String>,
}

/// A file that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Where it is, with the secrets that it needs.
    pub(super) url: &'a Url,
    /// The same, as it may be said.
    pub(super) shown: &'a Url,
    /// The SHA-256 that it must have.
    pub(super) sha256: Option<&'a str>,
    /// What it is called here.
    pub(super) name: &'a str,
}

/// Why one request did not bring the file.
struct Failure {
    error: Error,
    /// Whether another request may.
    again: bool,
    /// How long the server asks to be left alone.
    wait: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: false, wait: None }
    }
}

/// The places of one download in the cache.
struct Slot {
    folder: PathBuf,
}

impl Slot {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("file").join(name)
    }

    fn part(&self) -> PathBuf {
        self.folder.join("part")
    }

    fn memory(&self, of: &str) -> PathBuf {
        self.folder.join(of)
    }

    /// What is known, if the file that it is known of is there.
    fn remembered(&self) -> Option<Memory> {
        let memory = read_memory(&self.memory("memory.json"))?;
        self.file(&memory.name).is_file().then_some(memory)
    }

    /// What is known of the beginning that is there, and its length.
    fn begun(&self) -> Option<(Memory, u64)> {
        let memory = read_memory(&self.memory("part.json"))?;
        let length = fs::metadata(self.part()).ok()?.len();
        (length > 0 && validator(&memory).is_some()).then_some((memory, length))
    }

    fn forget_part(&self) {
        // What is not there need not be removed, and a part without its note is never used.
        let _ = fs::remove_file(self.memory("part.json"));
        let _ = fs::remove_file(self.part());
    }
}

impl Fetcher {
    /// A file on a web server, as it is now, and what the server calls that state. `filled` is its address
    /// with secrets.
    pub(super) async fn download_http(
        &self,
        subject: &str,
        url: &Url,
        filled: &Filled,
        sha256: Option<&str>,
    ) -> Result<(PathBuf, Origin), Error> {
        let folder = self.cache.join("http").join(Digest::of(url.as_str().as_bytes()).short());
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let asked = address(url, filled)?;
        let wanted = Wanted { url: &asked, shown: url, sha256, name: &plain_name(name) };
        let work = self.download(subject, wanted, folder.clone());
        let file = work.await?;
        let memory = read_memory(&folder.join("memory.json")).unwrap_or_default();
        if table::is_table(&memory.name, &ReadOptions::default()) {
            page::refuse(&file, memory.kind.as_deref(), &without_credentials(url))?;
        }
        let origin = Origin { state: memory.etag, modified: memory.modified, ..Origin::default() };
        Ok((file, origin))
    }

    /// What a web server calls the state of a file now, without fetching it.
    pub(super) async fn http_state(&self, url: &Url, filled: &Filled) -> Result<Origin, Error> {
        let asked = address(url, filled)?;
        let head = send(self.client()?.head(asked.clone()), url).await;
        let response = match head {
            Ok(response) if response.status() == StatusCode::OK => response,
            // Not every server knows the question: a request whose body is not read does too.
            Ok(_) => send(self.client()?.get(asked), url).await.map_err(|failure| failure.error)?,
            Err(failure) => return Err(failure.error),
        };
        if response.status() != StatusCode::OK {
            return Err(refused(url, &response).error);
        }
        Ok(Origin {
            state: text_of(response.headers(), header::ETAG),
            modified: text_of(response.headers(), header::LAST_MODIFIED),
            ..Origin::default()
        })
    }

    /// A file on a web server, into a folder of the cache. One whose checksum is known and here is not
    /// asked for. Progress is reported as that of `subject`.
    pub(super) async fn download(
        &self,
        subject: &str,
        wanted: Wanted<'_>,
        folder: PathBuf,
    ) -> Result<PathBuf, Error> {
        let slot = Slot { folder };
        let files = slot.folder.join("file");
        fs::create_dir_all(&files).map_err(Error::io("make", &files))?;
        let _lock = lock(&slot.folder).await?;
        let same = |memory: &Memory| memory.sha256.is_some() && memory.sha256.as_deref() == wanted.sha256;
        if let Some(memory) = slot.remembered().filter(same) {
            return Ok(slot.file(&memory.name));
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(subject, &slot, wanted).await {
                Ok(path) => return Ok(path),
                Err(failure) => self.pause(subject, attempt, failure).await?,
            }
        }
    }

    /// Waits before the next request, or gives the error where there is none.
    async fn pause(&self, subject: &str, attempt: u32, failure: Failure) -> Result<(), Error> {
        if !failure.again || attempt >= self.patience.attempts {
            return Err(failure.error);
        }
        let pause = self.patience.pause.saturating_mul(1 << (attempt - 1).min(16));
        let pause = failure.wait.map_or(pause, |wait| pause.max(wait.min(LONGEST_WAIT)));
        self.progress.report(Event::Note {
            subject: subject.to_owned(),
            message: format!("{}; trying again in {:.1} s", failure.error, pause.as_secs_f64()),
        });
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn attempt(&self, subject: &str, slot: &Slot, wanted: Wanted<'_>) -> Result<PathBuf, Failure> {
        let Wanted { url: asked, shown: url, sha256, name } = wanted;
        let mut request = self.client()?.get(asked.clone());
        let begun = slot.begun();
        let remembered = slot.remembered();
        if let Some((memory, length)) = &begun {
            request = request.header(header::RANGE, format!("bytes={length}-"));
            request = with_header(request, header::IF_RANGE, validator(memory));
        } else if let Some(memory) = remembered.as_ref().filter(|_| sha256.is_none()) {
            request = with_header(request, header::IF_NONE_MATCH, memory.etag.as_deref());
            request = with_header(request, header::IF_MODIFIED_SINCE, memory.modified.as_deref());
        }
        let response = send(request, url).await?;
        let from = match response.status() {
            StatusCode::NOT_MODIFIED => {
                if let Some(memory) = remembered {
                    return Ok(slot.file(&memory.name));
                }
                slot.forget_part();
                return Err(unavailable(url, "it says `not modified` to a first request", true));
            }
            StatusCode::PARTIAL_CONTENT => {
                let length = begun.map(|(_, length)| length);
                if length.is_none() || range_start(response.headers()) != length {
                    slot.forget_part();
                    return Err(unavailable(url, "it sent another range than was asked for", true));
                }
                length.unwrap_or_default()
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                slot.forget_part();
                return Err(unavailable(url, "it has not the rest of the file", true));
            }
            StatusCode::OK => 0,
            _ => return Err(refused(url, &response)),
        };
        let memory = Memory {
            name: name.to_owned(),
            etag: text_of(response.headers(), header::ETAG),
            modified: text_of(response.headers(), header::LAST_MODIFIED),
            sha256: None,
            kind: text_of(response.headers(), header::CONTENT_TYPE),
        };
        self.receive(subject, slot, url, response, from, &memory).await?;
        finish(slot, url, memory, sha256).await.map_err(Failure::from)
    }

    /// Writes the body behind the first `from` bytes of the part.
    async fn receive(
        &self,
        subject: &str,
        slot: &Slot,
        url: &Url,
        mut response: Response,
        from: u64,
        memory: &Memory,
    ) -> Result<(), Failure> {
        let path = slot.part();
        let total = response.content_length().map(|length| length.saturating_add(from));
        let too_large = |size: u64| {
            let bound = self.bounds.size.filter(|bound| size > *bound)?;
            Some(Error::TooLarge { what: without_credentials(url), size, bound })
        };
        if let Some(error) = total.and_then(too_large) {
            return Err(error.into());
        }
        let since = Instant::now();
        if from == 0 {
            slot.forget_part();
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("write", &path))?;
        if from == 0 && validator(memory).is_some() {
            write_memory(&slot.memory("part.json"), memory)?;
        }
        let (mut done, mut reported) = (from, from);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Err(unavailable(url, &cause(&error), true)),
            };
            file.write_all(&chunk).map_err(Error::io("write", &path))?;
            done = done.saturating_add(chunk.len() as u64);
            if let Some(error) = too_large(done) {
                slot.forget_part();
                return Err(error.into());
            }
            if done - reported >= REPORT_EVERY {
                reported = done;
                let (here, whole) = (done - from, total.map(|total| total - from));
                let message = whole.map_or_else(
                    || "downloading".to_owned(),
                    |whole| format!("downloading {}", pace(here, whole, since.elapsed())),
                );
                self.progress.report(Event::Advanced { subject: subject.to_owned(), done, total, message });
            }
        }
        if let Some(total) = total.filter(|total| *total != done) {
            return Err(unavailable(url, &format!("it sent {done} of {total} bytes"), true));
        }
        let (subject, message) = (subject.to_owned(), "downloaded".to_owned());
        self.progress.report(Event::Advanced { subject, done, total, message });
        Ok(())
    }

    /// A small text, such as a page of a package index, and the address where it was in the end.
    pub(super) async fn text(&self, subject: &str, url: &Url, accept: &str) -> Result<Page, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.text_once(url, accept).await {
                Ok(page) => return Ok(page),
                Err(failure) => self.pause(subject, attempt, failure).await?,
            }
        }
    }

    async fn text_once(&self, url: &Url, accept: &str) -> Result<Page, Failure> {
        const LONGEST: usize = 256 << 20;
        let request = self.client()?.get(url.clone()).header(header::ACCEPT, accept);
        let mut response = send(request, url).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(url, &response));
        }
        let kind = text_of(response.headers(), header::CONTENT_TYPE).unwrap_or_default();
        let at = response.url().clone();
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= LONGEST => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(unavailable(url, "its answer is too long", false)),
                Ok(None) => break,
                Err(error) => return Err(unavailable(url, &cause(&error), true)),
            }
        }
        Ok(Page { url: at, kind, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

/// A small text from a web server.
pub(super) struct Page {
    /// Where it was in the end.
    pub(super) url: Url,
    /// Its media type.
    pub(super) kind: String,
    /// The text.
    pub(super) text: String,
}

async fn send(request: RequestBuilder, url: &Url) -> Result<Response, Failure> {
    request.send().await.map_err(|error| {
        let again = error.is_connect() || error.is_timeout() || error.is_request();
        unavailable(url, &cause(&error), again)
    })
}

/// The file of a download that is here whole, if its checksum was checked: it is good for ever.
pub(super) fn checked_file(folder: &Path) -> Option<PathBuf> {
    let slot = Slot { folder: folder.to_owned() };
    let memory = slot.remembered().filter(|memory| memory.sha256.is_some())?;
    Some(slot.file(&memory.name))
}

/// Takes the whole part for the file, if its checksum is right.
async fn finish(slot: &Slot, url: &Url, mut memory: Memory, sha256: Option<&str>) -> Result<PathBuf, Error> {
    let part = slot.part();
    if let Some(expected) = sha256 {
        let path = part.clone();
        let found = blocking(move || sha256_of(&path)).await?;
        if found != expected {
            slot.forget_part();
            let expected = expected.to_owned();
            return Err(Error::Checksum { what: without_credentials(url), expected, found });
        }
        memory.sha256 = Some(found);
    }
    let file = slot.file(&memory.name);
    File::open(&part).and_then(|part| part.sync_all()).map_err(Error::io("sync", &part))?;
    // In this order no note ever stands beside a file that it is not of.
    let note = slot.memory("memory.json");
    if note.exists() {
        fs::remove_file(&note).map_err(Error::io("remove", &note))?;
    }
    fs::rename(&part, &file).map_err(Error::io("write", &file))?;
    slot.forget_part();
    write_memory(&note, &memory)?;
    Ok(file)
}

fn sha256_of(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Holds the folder against other processes until it is dropped; a process that dies lets go of it.
pub(super) async fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    blocking(move || {
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    })
    .await
}

/// What tells two states of a file apart for certain; weak tags do not.
fn validator(memory: &Memory) -> Option<&str> {
    memory.etag.as_deref().filter(|tag| !tag.starts_with("W/")).or(memory.modified.as_deref())
}

fn with_header(request: RequestBuilder, name: header::HeaderName, value: Option<&str>) -> RequestBuilder {
    match value.and_then(|value| HeaderValue::from_str(value).ok()) {
        Some(value) => request.header(name, value),
        None => request,
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The first byte of `Content-Range: bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn refused(url: &Url, response: &Response) -> Failure {
    let status = response.status();
    if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
        let what = without_credentials(url);
        return Error::SourceNotFound { what, near: None }.into();
    }
    let again = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    let wait = text_of(response.headers(), header::RETRY_AFTER).and_then(|wait| wait.trim().parse().ok());
    let failure = unavailable(url, &format!("the server answered {status}"), again);
    Failure { wait: wait.map(Duration::from_secs), ..failure }
}

fn unavailable(url: &Url, reason: &str, again: bool) -> Failure {
    let (what, reason) = (without_credentials(url), reason.to_owned());
    Failure { error: Error::SourceUnavailable { what, reason, hint: None }, again, wait: None }
}

/// An address with its secrets.
fn address(url: &Url, filled: &Filled) -> Result<Url, Error> {
    Url::parse(&filled.text).map_err(|error| Error::SourceInvalid {
        text: without_credentials(url),
        reason: error.to_string(),
        hint: None,
    })
}

/// The innermost cause of an error, which is the one that says something; without the address, which
/// may hold a password.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut text = None;
    while let Some(inner) = source {
        text = Some(inner.to_string());
        source = inner.source();
    }
    text.unwrap_or_else(|| {
        if error.is_timeout() { "it took too long".to_owned() } else { "the request failed".to_owned() }
    })
}

fn read_memory(path: &Path) -> Option<Memory> {
    let memory: Memory = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (memory.name == plain_name(&memory.name)).then_some(memory)
}

fn write_memory(path: &Path, memory: &Memory) -> Result<(), Error> {
    let bytes = serde_json::to_vec(memory)
        .map_err(|source| Error::Record { what: "note of a download".to_owned(), source })?;
    write_whole(path, &bytes)
}
