//! Where a remote is, and the few things that are asked of it.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::Error;

/// The format of a remote, in the file of this name.
const FORMAT: (&str, &str) = ("format", "1\n");

/// A remote. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    address: Arc<str>,
    store: Arc<dyn ObjectStore>,
    /// What is kept of it on this machine: segments of its index, and files that are half here.
    cache: Arc<PathBuf>,
}

/// A file of a remote.
pub(crate) struct Lies {
    /// Its whole name.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) size: u64,
    /// When it was written, by the remote's clock.
    pub(crate) modified: SystemTime,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Remote {
    /// The remote of an address: a folder, or a URL of an object store. `options` are settings of that
    /// store by name (`aws_endpoint`, `aws_access_key_id`); names that its kind does not know are passed
    /// over, so that a whole environment may be given. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::Address`] where it is none, or a folder that cannot be made.
    pub fn open(address: &str, options: &[(String, String)], caches: &FilePath) -> Result<Self, Error> {
        Self::opened(address, options, caches, true)
    }

    /// The same, of one that something is read from: a folder has to be there.
    ///
    /// # Errors
    /// As [`Remote::open`], and [`Error::Nowhere`].
    pub fn open_there(address: &str, options: &[(String, String)], caches: &FilePath) -> Result<Self, Error> {
        Self::opened(address, options, caches, false)
    }

    fn opened(
        address: &str,
        options: &[(String, String)],
        caches: &FilePath,
        make: bool,
    ) -> Result<Self, Error> {
        let wrong = |why: String| Error::Address { address: plain(address), why };
        let store: Arc<dyn ObjectStore> = if address.contains("://") {
            let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
            match connect(address, options)? {
                Some((store, prefix)) => Arc::new(PrefixStore::new(store, prefix)),
                None => {
                    let path = url.to_file_path();
                    folder(&path.map_err(|()| wrong("it names no folder of this machine".into()))?, make)?
                }
            }
        } else {
            folder(FilePath::new(address), make)?
        };
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let cache = caches.join(format!("{:016x}", hasher.finish()));
        Ok(Self { address: address.into(), store, cache: Arc::new(cache) })
    }

    /// As it was written, without a user, a password or a query that it may hold.
    pub fn address(&self) -> String {
        plain(&self.address)
    }

    pub(crate) fn cache(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.cache.join(name);
        std::fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        Ok(folder)
    }

    /// Makes sure that it is a remote of a format that is known, making it one where it is empty.
    pub(crate) async fn found(&self) -> Result<(), Error> {
        match self.get(FORMAT.0).await? {
            None => self.create(FORMAT.0, Bytes::from_static(FORMAT.1.as_bytes())).await.map(|_| ()),
            Some(text) => self.known(&text),
        }
    }

    /// Makes sure that somebody has pushed there.
    ///
    /// # Errors
    /// [`Error::Nowhere`] where nobody has; when it cannot be reached.
    pub async fn exists(&self) -> Result<(), Error> {
        let text = self.get(FORMAT.0).await?.ok_or_else(|| Error::Nowhere { remote: self.address() })?;
        self.known(&text)
    }

    /// As [`Remote::found`], without writing.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        self.get(FORMAT.0).await?.map_or(Ok(()), |text| self.known(&text))
    }

    fn known(&self, text: &[u8]) -> Result<(), Error> {
        if text == FORMAT.1.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(text).trim().chars().take(40).collect();
        Err(Error::Newer { remote: self.address(), found })
    }

    /// The names below a folder of it, without the folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let prefix = Path::from(folder);
        let found = self.store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let found = found.map_err(|error| self.failed(format!("list {folder}"), error))?;
        let lead = format!("{folder}/");
        let names = found.iter().filter_map(|meta| meta.location.as_ref().strip_prefix(&lead));
        Ok(names.map(str::to_owned).collect())
    }

    /// The files at or below a path of it, with their whole names.
    pub(crate) async fn files(&self, path: &str) -> Result<Vec<Lies>, Error> {
        let place = Path::from(path);
        let (folder, only) = match self.store.head(&place).await {
            Ok(meta) => (None, Some(meta)),
            Err(object_store::Error::NotFound { .. }) => (Some(place), None),
            Err(error) => return Err(self.failed(format!("look at {path}"), error)),
        };
        let found = match folder {
            Some(folder) => self.store.list(Some(&folder)).try_collect::<Vec<_>>().await,
            None => Ok(only.into_iter().collect()),
        };
        let found = found.map_err(|error| self.failed(format!("list {path}"), error))?;
        let lies = |meta: object_store::ObjectMeta| Lies {
            name: meta.location.as_ref().to_owned(),
            size: meta.size,
            modified: meta.last_modified.into(),
        };
        Ok(found.into_iter().map(lies).collect())
    }

    /// All of a file; nothing where it is not there.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let read = async { self.store.get(&Path::from(name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(format!("read {name}"), error)),
        }
    }

    pub(crate) async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let read = self.store.get_range(&Path::from(name), range).await;
        read.map_err(|error| self.failed(format!("read {name}"), error))
    }

    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let put = self.store.put(&Path::from(name), PutPayload::from(bytes)).await;
        put.map(|_| ()).map_err(|error| self.failed(format!("write {name}"), error))
    }

    /// Writes a file where there is none of that name; whether it did.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<bool, Error> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&Path::from(name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(self.failed(format!("write {name}"), error)),
        }
    }

    /// Removes a file; that it is gone already is no fault.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        match self.store.delete(&Path::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(format!("remove {name}"), error)),
        }
    }

    fn failed(&self, action: String, source: object_store::Error) -> Error {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        let denied = matches!(source, PermissionDenied { .. } | Unauthenticated { .. });
        let (remote, source) = (self.address(), Box::new(source));
        if denied {
            Error::Denied { remote, action, source }
        } else {
            Error::Unavailable { remote, action, source }
        }
    }

    /// The error that something in it is not what it should be.
    pub fn corrupt(&self, name: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Corrupt { remote: self.address(), name: name.into(), why: why.into() }
    }
}

/// The names under which the endpoint of an S3 store is given.
const ENDPOINTS: [&str; 4] = ["aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3", "endpoint_url"];

/// An object store and a path in it.
pub(crate) type Connected = (Box<dyn ObjectStore>, Path);

/// The object store of a URL and the path in it, with settings by name; nothing for a folder.
pub(crate) fn connect(address: &str, options: &[(String, String)]) -> Result<Option<Connected>, Error> {
    let wrong = |why: String| Error::Address { address: plain(address), why };
    let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let (scheme, _) = ObjectStoreScheme::parse(&url).map_err(|error| wrong(error.to_string()))?;
    // What the HTTP client encrypts with: set once a process, by whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if matches!(scheme, ObjectStoreScheme::Local) {
        return Ok(None);
    }
    let named = |(name, value): &(String, String)| (name.to_ascii_lowercase(), value.clone());
    let options: Vec<(String, String)> = options.iter().map(named).collect();
    // Whoever names an endpoint without TLS means it.
    let bare =
        |(name, value): &(String, String)| ENDPOINTS.contains(&&**name) && value.starts_with("http://");
    let allowed = options.iter().any(bare).then(|| ("aws_allow_http".to_owned(), "true".to_owned()));
    // What is said of it counts more.
    let options = allowed.into_iter().chain(options);
    object_store::parse_url_opts(&url, options).map(Some).map_err(|error| wrong(error.to_string()))
}

/// An address without what may be a secret: a user, a password, a query.
pub(crate) fn plain(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
}

fn folder(path: &FilePath, make: bool) -> Result<Arc<dyn ObjectStore>, Error> {
    if !make && !path.is_dir() {
        return Err(Error::Nowhere { remote: path.display().to_string() });
    }
    std::fs::create_dir_all(path).map_err(Error::io("make", path))?;
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| Error::Address { address: path.display().to_string(), why: error.to_string() })?;
    Ok(Arc::new(store.with_fsync(true)))
}
