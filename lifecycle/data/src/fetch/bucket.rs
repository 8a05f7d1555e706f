//! Objects of a bucket: one, or all below a prefix as a folder. What is here in the state that the bucket
//! has is not fetched again; what is gone there goes here.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use rondo_core::Digest;
use rondo_core::ports::Event;
use rondo_remote::{Bucket, Found};

use super::glob::Glob;
use super::unpack::write_whole;
use super::{Deadline, Fetcher, Held, blocking, download};
use crate::Error;
use crate::place::pace;
use crate::source::is_glob;

/// Variables of the environment that are settings of object stores.
const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
/// So many objects are fetched at once.
const AT_ONCE: usize = 8;

/// What was fetched of a bucket.
pub(super) struct Taken {
    /// The file, or the folder of the files.
    pub(super) path: PathBuf,
    /// Of a folder its files by name.
    pub(super) files: Option<Vec<(String, PathBuf)>>,
    /// One name for the state of all.
    pub(super) state: String,
    /// The lock of the folder.
    pub(super) held: Held,
}

impl Fetcher {
    /// The objects that an address means, and whether they are a folder.
    async fn wanted(&self, address: &str) -> Result<(Bucket, Vec<Found>, bool), Error> {
        let settings = self.environment.iter();
        let settings = settings.filter(|(name, _)| SETTINGS.iter().any(|lead| name.starts_with(lead)));
        let settings: Vec<(String, String)> =
            settings.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (place, glob) = split(address)?;
        let bucket = Bucket::open(&place, &settings)?;
        if glob.is_none()
            && !place.ends_with('/')
            && let Some(object) = bucket.object().await?
        {
            return Ok((bucket, vec![object], false));
        }
        let mut objects = bucket.list().await?;
        objects.retain(|object| glob.as_ref().is_none_or(|glob| glob.takes(&object.name)));
        if objects.is_empty() {
            return Err(Error::SourceNotFound { what: address.to_owned(), near: None });
        }
        let odd =
            |name: &str| name.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0'));
        if let Some(object) = objects.iter().find(|object| odd(&object.name)) {
            return Err(Error::SourceInvalid {
                text: address.to_owned(),
                reason: format!("`{}` can be no file", object.name),
                hint: None,
            });
        }
        Ok((bucket, objects, true))
    }

    /// The name of the state that an address is in now.
    pub(super) async fn bucket_state(&self, address: &str) -> Result<String, Error> {
        let (_, objects, folder) = self.wanted(address).await?;
        Ok(state_of(&objects, folder))
    }

    /// Fetches what an address means. What has come of it when it breaks off need not come again.
    pub(super) async fn bucket(&self, address: &str, deadline: Deadline<'_>) -> Result<Taken, Error> {
        let (bucket, objects, folder) = deadline.keep(self.wanted(address)).await?;
        let total: u64 = objects.iter().map(|object| object.size).sum();
        if let Some(bound) = self.bounds.size.filter(|bound| total > *bound) {
            return Err(Error::TooLarge { what: address.to_owned(), size: total, bound });
        }
        let slot = self.cache.join("buckets").join(Digest::of(address.as_bytes()).short());
        let files = slot.join("files");
        fs::create_dir_all(&files).map_err(Error::io("make", &files))?;
        let held = Held::by(deadline.keep(download::lock(&slot)).await?);
        let known = read_known(&slot);
        let have = |object: &Found| {
            known.get(&object.name) == Some(&object.state)
                && fs::metadata(files.join(&object.name)).is_ok_and(|meta| meta.len() == object.size)
        };
        let missing: Vec<Found> = objects.iter().filter(|object| !have(object)).cloned().collect();
        let mut kept: BTreeMap<String, String> = objects
            .iter()
            .filter(|object| have(object))
            .map(|object| (object.name.clone(), object.state.clone()))
            .collect();
        if kept.len() != known.len() || !missing.is_empty() {
            // What is about to be replaced is not known any more, whatever happens on the way.
            write_known(&slot, &kept)?;
            let names = objects.iter().map(|object| object.name.clone()).collect();
            let below = files.clone();
            blocking(move || sweep(&below, "", &names).map(drop)).await?;
        }
        let watch = Watch {
            fetcher: self,
            subject: address,
            total: missing.iter().map(|object| object.size).sum(),
            done: AtomicU64::new(0),
            since: Instant::now(),
            come: Mutex::default(),
        };
        let (bucket, place, told) = (&bucket, slot.as_path(), &watch);
        // Owned, so that the work may go on in any thread.
        let any = !missing.is_empty();
        let fetching = futures::stream::iter(missing)
            .map(|object| async move {
                self.take(bucket, &object, place, told).await?;
                told.came(object);
                Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>();
        let fetched = deadline.keep(fetching).await;
        if any {
            kept.extend(watch.come.into_inner().unwrap_or_else(PoisonError::into_inner));
            write_known(&slot, &kept)?;
        }
        fetched?;
        if any {
            forget_parts(&slot);
        }
        let state = state_of(&objects, folder);
        let paths = |object: &Found| (object.name.clone(), files.join(&object.name));
        Ok(match objects.as_slice() {
            [only] if !folder => Taken { path: files.join(&only.name), files: None, state, held },
            all => Taken { files: Some(all.iter().map(paths).collect()), path: files, state, held },
        })
    }

    /// Brings one object, going on where an earlier try broke off.
    async fn take(
        &self,
        bucket: &Bucket,
        object: &Found,
        slot: &Path,
        watch: &Watch<'_>,
    ) -> Result<(), Error> {
        let name = Digest::of(format!("{}\0{}", object.name, object.state).as_bytes()).short();
        let part = slot.join(format!("{name}.part"));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let file = OpenOptions::new().create(true).append(true).open(&part);
            let mut file = file.map_err(Error::io("write", &part))?;
            let mut here = file.metadata().map_err(Error::io("read", &part))?.len();
            if here > object.size {
                file.set_len(0).map_err(Error::io("write", &part))?;
                here = 0;
            }
            watch.advance(if attempt == 1 { here } else { 0 });
            let read = bucket.read(object, here, |piece| {
                watch.advance(piece.len() as u64);
                file.write_all(&piece)
            });
            match read.await {
                Ok(()) => {
                    let length = file.metadata().map_err(Error::io("read", &part))?.len();
                    if length == object.size {
                        file.sync_all().map_err(Error::io("sync", &part))?;
                        let path = slot.join("files").join(&object.name);
                        let folder = path.parent().unwrap_or(slot);
                        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
                        return fs::rename(&part, &path).map_err(Error::io("write", &path));
                    }
                    // It was longer than the bucket said: it begins anew.
                    fs::remove_file(&part).map_err(Error::io("remove", &part))?;
                }
                Err(rondo_remote::Error::Unavailable { .. }) if attempt < self.patience.attempts => {}
                Err(error) => return Err(error.into()),
            }
            if attempt >= self.patience.attempts {
                return Err(Error::Changed { path: PathBuf::from(&object.name) });
            }
            tokio::time::sleep(self.patience.pause.saturating_mul(1 << (attempt - 1).min(16))).await;
        }
    }
}

/// How far it is, told now and then.
struct Watch<'a> {
    fetcher: &'a Fetcher,
    subject: &'a str,
    total: u64,
    done: AtomicU64,
    since: Instant,
    /// The states of those that are here, by name.
    come: Mutex<BTreeMap<String, String>>,
}

impl Watch<'_> {
    fn came(&self, object: Found) {
        let mut come = self.come.lock().unwrap_or_else(PoisonError::into_inner);
        come.insert(object.name, object.state);
    }

    fn advance(&self, bytes: u64) {
        const EVERY: u64 = 1 << 20;
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        if before / EVERY != done / EVERY || done == self.total {
            self.fetcher.progress.report(Event::Advanced {
                subject: self.subject.to_owned(),
                done,
                total: Some(self.total),
                message: format!("downloading {}", pace(done, self.total, self.since.elapsed())),
            });
        }
    }
}

/// The place that an address begins with, and the pattern that it ends with.
fn split(address: &str) -> Result<(String, Option<Glob>), Error> {
    let Some((scheme, rest)) = address.split_once("://") else { return Ok((address.to_owned(), None)) };
    let segments: Vec<&str> = rest.split('/').collect();
    let fixed = segments.iter().skip(1).take_while(|segment| !is_glob(segment)).count() + 1;
    if fixed >= segments.len() {
        return Ok((address.to_owned(), None));
    }
    let (place, pattern) = segments.split_at(fixed);
    let (_, glob) = Glob::parse(Path::new(""), &pattern.join("/"))?;
    Ok((format!("{scheme}://{}/", place.join("/")), Some(glob)))
}

fn state_of(objects: &[Found], folder: bool) -> String {
    match objects {
        [only] if !folder => only.state.clone(),
        all => {
            let lines: String = all
                .iter()
                .map(|object| format!("{}\0{}\0{}\n", object.name, object.size, object.state))
                .collect();
            format!("{} objects, {}", all.len(), Digest::of(lines.as_bytes()).short())
        }
    }
}

fn read_known(slot: &Path) -> BTreeMap<String, String> {
    // What is not known is fetched again.
    fs::read(slot.join("known.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write_known(slot: &Path, known: &BTreeMap<String, String>) -> Result<(), Error> {
    let bytes = serde_json::to_vec(known)
        .map_err(|source| Error::Record { what: "note of a bucket".to_owned(), source })?;
    write_whole(&slot.join("known.json"), &bytes)
}

/// Removes what is left of objects that changed while they came.
fn forget_parts(slot: &Path) {
    let entries = fs::read_dir(slot).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "part"))
    {
        // What cannot be removed is only in the way of nobody.
        let _ = fs::remove_file(path);
    }
}

/// Removes all files that are not among the names; whether a folder is empty after.
fn sweep(root: &Path, prefix: &str, names: &std::collections::HashSet<String>) -> Result<bool, Error> {
    let folder = root.join(prefix);
    let mut empty = true;
    for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
        let entry = entry.map_err(Error::io("read", &folder))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() && !names.contains(&name) {
            if sweep(root, &format!("{name}/"), names)? {
                fs::remove_dir(&path).map_err(Error::io("remove", &path))?;
            } else {
                empty = false;
            }
        } else if path.is_file() && names.contains(&name) {
            empty = false;
        } else if path.is_dir() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        } else {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_end_in_a_pattern() {
        let (place, glob) = split("s3://b/2024/*.csv").unwrap();
        assert_eq!(place, "s3://b/2024/");
        assert!(glob.unwrap().takes("a.csv"));
        assert_eq!(split("s3://b/a/b.csv").unwrap().0, "s3://b/a/b.csv");
        assert!(split("s3://b/[").is_err());
    }

    #[test]
    fn what_is_gone_is_swept_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "x/b", "x/c", "y/z/d"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let names = ["x/c", "y"].map(str::to_owned).into();
        sweep(root.path(), "", &names).unwrap();
        let left = |name: &str| root.path().join(name).exists();
        assert_eq!([left("a"), left("x/b"), left("x/c"), left("y")], [false, false, true, false]);
    }
}
