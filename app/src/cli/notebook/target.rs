//! Where executed copies of the command line go: a file or folder, standard output, or a bucket.
//!
//! For a bucket they are written to a folder of this process's own and sent when all has ended, well or not. So
//! nothing half made is ever seen there, and autosaved copies of a cell that runs are not.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rondo_core::Code;
use rondo_remote::Bucket;
use tempfile::TempDir;

use super::source::STREAM;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::store_settings;

/// Schemes of buckets, as people write them; `abs` is papermill's.
const BUCKETS: [&str; 9] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "abs"];

/// Where copies go.
pub struct Target {
    /// The path or address as it was given.
    pub shown: PathBuf,
    /// The file or folder that they are written to.
    pub local: PathBuf,
    kind: Kind,
    /// Removed when this is.
    _scratch: Option<TempDir>,
}

enum Kind {
    Here,
    Stream,
    Bucket,
}

impl Target {
    /// Looks at what was given as OUT.
    ///
    /// # Errors
    /// When it is an address that nothing can be written to.
    pub fn of(output: &Path, session: &Session) -> Outcome<Self> {
        let scratch =
            || tempfile::tempdir().map_err(|error| Failure::new(Code::Io, format!("make a folder: {error}")));
        let shown = output.to_owned();
        let text = output.to_string_lossy();
        if text == STREAM {
            let scratch = scratch()?;
            let local = scratch.path().join("out.ipynb");
            return Ok(Self { shown, local, kind: Kind::Stream, _scratch: Some(scratch) });
        }
        if scheme(&text).is_none() {
            return Ok(Self { local: session.path(output), shown, kind: Kind::Here, _scratch: None });
        }
        // An address that is none is told before anything runs.
        bucket(&text, session)?;
        let scratch = scratch()?;
        let name = text.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let local = if name.is_empty() { scratch.path().to_owned() } else { scratch.path().join(name) };
        Ok(Self { shown, local, kind: Kind::Bucket, _scratch: Some(scratch) })
    }

    /// Whether the copy goes to standard output.
    pub const fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream)
    }

    /// What the copy is called where it does not stay at [`Target::local`].
    pub fn elsewhere(&self) -> Option<PathBuf> {
        match self.kind {
            Kind::Here => None,
            Kind::Stream => Some("standard output".into()),
            Kind::Bucket => Some(self.shown.clone()),
        }
    }

    /// Whether executed copies go into it, one for each run.
    pub fn is_folder(&self) -> bool {
        self.shown.to_string_lossy().ends_with('/')
            || (matches!(self.kind, Kind::Here) && self.local.is_dir())
    }

    /// Sends what has been written to where it goes, however the run has ended.
    ///
    /// # Errors
    /// When the bucket refuses or cannot be reached.
    pub async fn send(&self, session: &Session) -> Outcome {
        match self.kind {
            Kind::Here => Ok(()),
            Kind::Stream => {
                // Nothing was written where nothing has run; the error says why.
                session.printer().out(&std::fs::read_to_string(&self.local).unwrap_or_default());
                Ok(())
            }
            Kind::Bucket => self.upload(session).await,
        }
    }

    async fn upload(&self, session: &Session) -> Outcome {
        let failed =
            |path: &Path, error| Failure::new(Code::Io, format!("read `{}`: {error}", path.display()));
        let address = self.shown.to_string_lossy();
        if !self.local.is_dir() {
            for file in [self.local.clone(), self.local.with_extension("html")] {
                if file.is_file() {
                    let bytes = std::fs::read(&file).map_err(|error| failed(&file, error))?;
                    let name = file.file_name().unwrap_or_default().to_string_lossy();
                    bucket(&sibling(&address, &name), session)?.put(Bytes::from(bytes)).await?;
                }
            }
            return Ok(());
        }
        let entries = std::fs::read_dir(&self.local).map_err(|error| failed(&self.local, error))?;
        for file in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let bytes = std::fs::read(&file).map_err(|error| failed(&file, error))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            bucket(&sibling(&address, &name), session)?.put(Bytes::from(bytes)).await?;
        }
        Ok(())
    }
}

/// An address with another last part.
fn sibling(address: &str, name: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let (place, query) = address.split_at(end);
    let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{name}{query}")
}

/// The scheme of an address; none of a path.
pub fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let mut chars = scheme.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    (first && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).then_some(scheme)
}

/// The place in a bucket that an address names.
///
/// # Errors
/// When no bucket has such an address.
pub fn bucket(address: &str, session: &Session) -> Outcome<Bucket> {
    let scheme = scheme(address).unwrap_or_default();
    if !BUCKETS.contains(&scheme) {
        let message = format!("use `{address}`: notebooks are not read or written by `{scheme}://` here");
        return Err(Failure::hinted(
            Code::Usage,
            message,
            "IN and OUT are files, `-`, or in `s3://`, `gs://`, `az://`, `abfs://` or `abs://`; IN may be `https://`",
        ));
    }
    let mut settings = store_settings(session.config());
    let (address, token) = azure(address);
    settings.extend(token.map(|token| ("azure_storage_sas_key".to_owned(), token)));
    Ok(Bucket::open(&address, &settings)?)
}

/// Papermill's `abs://ACCOUNT.blob.core.windows.net/CONTAINER/PATH?TOKEN` as what the store understands.
fn azure(address: &str) -> (String, Option<String>) {
    let Some(rest) = address.strip_prefix("abs://") else { return (address.to_owned(), None) };
    let (place, token) = rest.split_once('?').map_or((rest, None), |(place, token)| (place, Some(token)));
    (format!("https://{place}"), token.filter(|token| !token.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        assert_eq!(scheme("s3://b/o.ipynb"), Some("s3"));
        assert_eq!(scheme("hdfs://h/o.ipynb"), Some("hdfs"));
        for path in ["o.ipynb", "a/b://c", "://x", "3s://x", "s3:/b/o"] {
            assert_eq!(scheme(path), None, "{path}");
        }
        assert_eq!(sibling("s3://b/a/o.ipynb", "o.html"), "s3://b/a/o.html");
        assert_eq!(sibling("s3://b/out/", "x.ipynb"), "s3://b/out/x.ipynb");
        assert_eq!(sibling("abs://h/c/o.ipynb?sig=a/b", "o.html"), "abs://h/c/o.html?sig=a/b");
        let (address, token) = azure("abs://me.blob.core.windows.net/c/n.ipynb?sv=1&sig=x");
        assert_eq!(address, "https://me.blob.core.windows.net/c/n.ipynb");
        assert_eq!(token.as_deref(), Some("sv=1&sig=x"));
        assert_eq!(azure("s3://b/o"), ("s3://b/o".to_owned(), None));
    }
}
