//! Bringing a source to this machine: from a [`Source`] to files that can be read.
//!
//! What comes over the network lands in a cache folder that the caller names, under its final name only
//! when it is whole, and is asked for again only when it may have changed. An archive at the end of a
//! path is opened: its only file is what was meant. Nothing is judged here (that is [`crate::check`]) and
//! nothing is remembered as a version (that is [`crate::ingest`]).

pub mod archive;
mod bucket;
mod download;
pub mod glob;
mod index;
mod local;
pub(crate) mod page;
mod query;
pub mod secrets;
pub(crate) mod unpack;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rondo_core::handoff::Origin;
use rondo_core::ports::{Event, Progress};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::source::Database;
use crate::{Error, Source};
pub use archive::Limits;
pub use local::{glob_files, outer};
use secrets::Filled;
pub(crate) use unpack::write_whole;

/// Work that takes longer is reported.
const WORTH_SHOWING: Duration = Duration::from_millis(200);

/// Fetches sources.
pub struct Fetcher {
    cache: PathBuf,
    environment: BTreeMap<String, String>,
    progress: Arc<dyn Progress>,
    limits: Limits,
    patience: Patience,
    bounds: Bounds,
    client: OnceLock<reqwest::Client>,
    package_index: OnceCell<reqwest::Url>,
}

/// How much a source may be, and how long it may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes.
    pub size: Option<u64>,
    /// Of all that comes over the network, and of a query.
    pub time: Option<Duration>,
}

/// How often a server that fails is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Requests in all, the first included.
    pub attempts: u32,
    /// The pause after the first; each further one is twice as long.
    pub pause: Duration,
}

impl Default for Patience {
    /// Five requests within about eight seconds.
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_millis(500) }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The files.
    pub content: Content,
    /// The source as it may be shown: without passwords and tokens.
    pub source: String,
    /// In what state it was read.
    pub origin: Origin,
    /// Where the files of a folder lie, where that is a folder with nothing else.
    pub root: Option<PathBuf>,
    /// While this is there, no other process changes the files.
    pub held: Held,
}

/// A lock of a folder of the cache, where there is one; it goes with its last copy. Who fetches the same
/// again, in this process too, waits for that.
#[derive(Debug, Clone, Default)]
pub struct Held {
    _lock: Option<Arc<File>>,
}

impl Held {
    fn by(lock: File) -> Self {
        Self { _lock: Some(Arc::new(lock)) }
    }
}

/// What was fetched is the same, whoever holds it.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// By when a source has to be here.
#[derive(Debug, Clone, Copy)]
struct Deadline<'a> {
    shown: &'a str,
    /// The moment, and how long that is from the start.
    end: Option<(Instant, Duration)>,
}

impl Deadline<'_> {
    /// Does some work, unless it takes too long.
    async fn keep<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some((end, time)) = self.end else { return work.await };
        tokio::time::timeout_at(end, work).await.map_err(|_| Error::SourceUnavailable {
            what: self.shown.to_owned(),
            reason: format!("it took longer than {} s", time.as_secs_f64()),
            hint: Some("run it again: it goes on where it stopped".to_owned()),
        })?
    }
}

/// One file, or a folder of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One file.
    File(PathBuf),
    /// Files by their paths in the folder, sorted.
    Folder(Vec<(String, PathBuf)>),
}

impl Fetched {
    /// A file on this machine.
    pub fn file(path: &Path) -> Self {
        let source = path.display().to_string();
        let content = Content::File(path.to_owned());
        Self { content, source, origin: Origin::default(), root: None, held: Held::default() }
    }

    /// All files, each with its path in the folder or its name.
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        match &self.content {
            Content::File(path) => vec![(local::file_name(path), path.clone())],
            Content::Folder(files) => files.clone(),
        }
    }
}

impl Fetcher {
    /// A fetcher with its cache in a folder. `environment` has the variables of the process; read are
    /// `UV_DEFAULT_INDEX`, `UV_INDEX_URL` and `PIP_INDEX_URL`.
    pub fn new(cache: &Path, environment: BTreeMap<String, String>, progress: Arc<dyn Progress>) -> Self {
        Self {
            cache: cache.to_owned(),
            environment,
            progress,
            limits: Limits::default(),
            patience: Patience::default(),
            bounds: Bounds::default(),
            client: OnceLock::new(),
            package_index: OnceCell::new(),
        }
    }

    /// The same with other bounds on what archives may unpack to.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with other patience.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The same with bounds on what sources may be.
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The folder of the cache.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Fetches a source; local paths are taken relative to `root`.
    ///
    /// # Errors
    /// When it does not exist, cannot be reached, has another checksum than promised, or is an archive
    /// that cannot be unpacked.
    pub async fn fetch(&self, source: &Source, root: &Path) -> Result<Fetched, Error> {
        let shown = source.to_string();
        let mut origin = Origin::default();
        let (mut whole, mut held) = (None, Held::default());
        let deadline = self.deadline(&shown);
        let content = match source {
            Source::Path(text) => self.local(root, text).await?,
            Source::Glob(pattern) => {
                let (root, pattern) = (root.to_owned(), pattern.clone());
                Content::Folder(blocking(move || glob_files(&root, &pattern)).await?)
            }
            Source::Http { url, sha256 } => {
                let filled = Filled::address(url.as_str(), &self.environment, root)?;
                let work = self.download_http(&shown, url, &filled, sha256.as_deref());
                let (file, now) = self.watched(&shown, deadline.keep(work)).await?;
                origin = now;
                Content::File(self.unpacked(file, None).await?)
            }
            Source::Bucket { address } => {
                let taken = self.watched(&shown, self.bucket(address, deadline)).await?;
                (origin.state, held) = (Some(taken.state), taken.held);
                match taken.files {
                    None => Content::File(self.unpacked(taken.path, None).await?),
                    Some(files) => {
                        whole = Some(taken.path);
                        Content::Folder(files)
                    }
                }
            }
            Source::Database { database, address, query } => {
                let query = query.as_deref().unwrap_or_default();
                let sql = self.sql(query, root).await?;
                let path = root.join(address).display().to_string();
                let address = if *database == Database::Sqlite { &path } else { address };
                let filled = match database {
                    Database::Sqlite => Filled::plain(address),
                    Database::Postgres | Database::MySql => {
                        Filled::address(address, &self.environment, root)?
                    }
                };
                let bounds = self.bounds;
                let (shown, filled, sql) = (shown.as_str(), &filled, sql.as_str());
                let ask = query::Ask { database: *database, shown, filled, sql, bounds, deadline };
                let (file, lock) = self.watched(shown, self.query(&ask)).await?;
                (origin.query, held) = (Some(sql.to_owned()), lock);
                Content::File(file)
            }
            Source::PyPi { package, version, path } => {
                let work = self.package_file(&shown, package, version, path);
                Content::File(self.watched(&shown, deadline.keep(work)).await?)
            }
        };
        Ok(Fetched { content, source: shown, origin, root: whole, held })
    }

    /// Refuses files of this machine that are larger than a source may be. What comes from elsewhere is
    /// refused while it comes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], and when they are not there or cannot be read.
    pub async fn measure(&self, source: &Source, root: &Path) -> Result<(), Error> {
        let Some(bound) = self.bounds.size else { return Ok(()) };
        let (source, root) = (source.clone(), root.to_owned());
        blocking(move || {
            let files = match &source {
                Source::Path(text) => match local::find(&root, text)? {
                    local::Found::Folder(files) => files,
                    local::Found::File { path, .. } => vec![(String::new(), path)],
                },
                Source::Glob(pattern) => glob_files(&root, pattern)?,
                Source::Http { .. }
                | Source::Bucket { .. }
                | Source::Database { .. }
                | Source::PyPi { .. } => {
                    return Ok(());
                }
            };
            let mut size = 0_u64;
            for (_, path) in files {
                size = size.saturating_add(std::fs::metadata(&path).map_err(Error::io("read", &path))?.len());
            }
            if size > bound { Err(Error::TooLarge { what: source.to_string(), size, bound }) } else { Ok(()) }
        })
        .await
    }

    fn deadline<'a>(&self, shown: &'a str) -> Deadline<'a> {
        Deadline { shown, end: self.bounds.time.map(|time| (Instant::now() + time, time)) }
    }

    /// In what state a source that is elsewhere is now, where that can be asked without fetching it.
    ///
    /// # Errors
    /// When it is gone or cannot be reached.
    pub async fn state(&self, source: &Source, root: &Path) -> Result<Option<Origin>, Error> {
        match source {
            Source::Http { url, .. } => {
                let filled = Filled::address(url.as_str(), &self.environment, root)?;
                self.http_state(url, &filled).await.map(Some)
            }
            Source::Bucket { address } => {
                let state = Some(self.bucket_state(address).await?);
                Ok(Some(Origin { state, ..Origin::default() }))
            }
            Source::Path(_) | Source::Glob(_) | Source::PyPi { .. } | Source::Database { .. } => Ok(None),
        }
    }

    async fn local(&self, root: &Path, text: &str) -> Result<Content, Error> {
        let (root, text) = (root.to_owned(), text.to_owned());
        match blocking(move || local::find(&root, &text)).await? {
            local::Found::Folder(files) => Ok(Content::Folder(files)),
            local::Found::File { path, inside } => Ok(Content::File(self.unpacked(path, inside).await?)),
        }
    }

    /// The file itself, or, of an archive, the file in it.
    async fn unpacked(&self, file: PathBuf, inside: Option<String>) -> Result<PathBuf, Error> {
        let (cache, limits) = (self.cache.join("unpacked"), self.limits);
        blocking(move || unpack::unpack(&cache, file, inside, limits)).await
    }

    async fn watched<T>(
        &self,
        subject: &str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        tokio::pin!(work);
        // What the cache has is here at once, and nothing worth showing.
        if let Ok(result) = tokio::time::timeout(WORTH_SHOWING, &mut work).await {
            return result;
        }
        let subject = subject.to_owned();
        self.progress.report(Event::Started { subject: subject.clone(), message: "fetching".to_owned() });
        let result = work.await;
        let message = result.as_ref().map_or_else(ToString::to_string, |_| "fetched".to_owned());
        self.progress.report(Event::Ended { subject, ok: result.is_ok(), message });
        result
    }

    /// The client; made when it is first needed, since that reads the machine's certificates.
    fn client(&self) -> Result<reqwest::Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        // Fails when the process has a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("rondo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(60))
            // A redirect must not tell the next server the address, which may hold a secret.
            .referer(false)
            .build()
            .map_err(|error| Error::SourceUnavailable {
                what: "the network".to_owned(),
                reason: download::cause(&error),
                hint: None,
            })?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Runs work that reads or writes files where it does not hold up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)?
}

#[cfg(test)]
mod tests;
