//! From a remote: what the store lacks, each compared with its digest before it is an object here.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_store::objects::{Objects, Take};

use crate::chunk::Recipe;
use crate::index::Index;
use crate::pack::{Entry, Kind, unpack};
use crate::push::{blocking, pack_name};
use crate::{Error, Need, Remote};

/// How many bytes of a pack are asked for at once, and how many that nobody wants may lie between.
const SPAN: u32 = 8 << 20;
const GAP: u32 = 64 << 10;

/// How many requests are under way at once.
const AT_ONCE: usize = 4;

/// What has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Files and folder listings that the store lacked.
    pub objects: u64,
    /// Bytes that came over the line.
    pub received: u64,
}

/// Blobs of a pack that are near each other, asked for at once.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) pack: Digest,
    pub(crate) entries: Vec<Entry>,
    start: u32,
    end: u32,
}

impl Span {
    fn of(pack: Digest, entry: Entry) -> Self {
        let (start, end) = (entry.offset, entry.offset.saturating_add(entry.stored));
        Self { pack, entries: vec![entry], start, end }
    }

    /// Takes an entry in, where it follows soon enough.
    fn takes(&mut self, pack: Digest, entry: &Entry) -> bool {
        let end = entry.offset.saturating_add(entry.stored);
        let near = pack == self.pack
            && entry.offset >= self.end
            && entry.offset - self.end <= GAP
            && end - self.start <= SPAN;
        if near {
            self.entries.push(*entry);
            self.end = end;
        }
        near
    }
}

/// Puts what follows each other in a pack into one request.
pub(crate) fn spans(found: impl IntoIterator<Item = (Digest, Entry)>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (pack, entry) in found {
        if !spans.last_mut().is_some_and(|span| span.takes(pack, &entry)) {
            spans.push(Span::of(pack, entry));
        }
    }
    spans
}

/// What becomes of bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoilt {
    /// They end the transfer.
    Refused,
    /// They are passed over.
    Left,
}

impl Spoilt {
    /// What came; nothing where it is spoilt and may be passed over.
    fn pass<T>(self, come: Result<T, Error>) -> Result<Option<T>, Error> {
        match come {
            Err(error) if self == Self::Left && error.is_spoilt() => Ok(None),
            come => come.map(Some),
        }
    }
}

/// Counts what comes.
struct Meter<'a> {
    pulled: Pulled,
    progress: &'a dyn Progress,
    total: u64,
    spoilt: Spoilt,
}

impl Meter<'_> {
    fn came(&mut self, objects: u64, bytes: u64) {
        self.pulled.objects += objects;
        self.pulled.received += bytes;
        self.progress.report(Event::Advanced {
            subject: "pull".to_owned(),
            done: self.pulled.received,
            total: Some(self.total.max(self.pulled.received)),
            message: "received".to_owned(),
        });
    }
}

impl Remote {
    /// Fetches what the store lacks of some objects.
    ///
    /// # Errors
    /// When the remote lacks one too, cannot be reached, or gives what is not what its digest says. What has
    /// come by then need not come again.
    pub async fn pull(
        &self,
        objects: &Objects,
        wanted: &[Need],
        progress: &dyn Progress,
    ) -> Result<Pulled, Error> {
        match self.pull_once(objects, wanted, None, progress).await {
            // A clean-up has put what was there into other packs, or one was lost or cut short and what it held
            // was sent again: the index says which.
            Err(error) if error.is_spoilt() => {
                let index = self.index_there().await?;
                match self.pull_once(objects, wanted, Some(index), progress).await {
                    // That something is damaged says more than that it is nowhere else.
                    Err(again) if again.is_spoilt() && matches!(error, Error::Corrupt { .. }) => Err(error),
                    pulled => pulled,
                }
            }
            pulled => pulled,
        }
    }

    /// Fetches what can be had of some objects, each by itself: of a folder its listing and no more. What the
    /// remote lacks too, or has no whole bytes of, is left out.
    ///
    /// # Errors
    /// When the remote cannot be reached. What has come by then is here.
    pub async fn pull_whole(
        &self,
        objects: &Objects,
        wanted: &[Digest],
        progress: &dyn Progress,
    ) -> Result<Pulled, Error> {
        let mut meter = Meter { pulled: Pulled::default(), progress, total: 0, spoilt: Spoilt::Left };
        let index = self.index().await?;
        let had: Vec<Digest> = wanted.iter().copied().filter(|digest| index.has_file(*digest)).collect();
        self.fetch(objects, &mut Some(index), &had, &mut meter).await?;
        Ok(meter.pulled)
    }

    async fn pull_once(
        &self,
        objects: &Objects,
        wanted: &[Need],
        mut index: Option<Index>,
        progress: &dyn Progress,
    ) -> Result<Pulled, Error> {
        let mut meter = Meter { pulled: Pulled::default(), progress, total: 0, spoilt: Spoilt::Refused };
        let mut seen = HashSet::new();
        let mut level = wanted.to_vec();
        let mut files = BTreeSet::new();
        while !level.is_empty() {
            level.retain(|need| seen.insert(*need));
            files.extend(level.iter().filter(|need| !need.folder).map(|need| need.digest));
            let folders: Vec<Digest> =
                level.iter().filter(|need| need.folder).map(|need| need.digest).collect();
            // What is here is counted as new: it may have been swept before its name was written.
            let lacking: Vec<Digest> =
                folders.iter().copied().filter(|folder| !objects.renew(*folder)).collect();
            self.fetch(objects, &mut index, &lacking, &mut meter).await?;
            let store = objects.clone();
            level = blocking(move || {
                let mut next = Vec::new();
                for folder in folders {
                    let named = store.named(folder)?;
                    next.extend(named.into_iter().map(|(digest, folder)| Need { digest, folder }));
                }
                Ok(next)
            })
            .await?;
        }
        let store = objects.clone();
        let lacking =
            blocking(move || Ok(files.into_iter().filter(|file| !store.renew(*file)).collect::<Vec<_>>()))
                .await?;
        self.fetch(objects, &mut index, &lacking, &mut meter).await?;
        Ok(meter.pulled)
    }

    /// Fetches blobs and files that are cut, reading the index when there is the first of them.
    async fn fetch(
        &self,
        objects: &Objects,
        index: &mut Option<Index>,
        lacking: &[Digest],
        meter: &mut Meter<'_>,
    ) -> Result<(), Error> {
        if lacking.is_empty() {
            return Ok(());
        }
        let index = match index {
            Some(index) => index,
            None => index.insert(self.index().await?),
        };
        let mut found = Vec::new();
        for digest in lacking {
            found.push(index.find(*digest).ok_or_else(|| self.missing(*digest))?);
        }
        let (recipes, mut blobs): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, entry)| entry.kind == Kind::Recipe);
        meter.total += blobs.iter().map(|(_, entry)| u64::from(entry.stored)).sum::<u64>();
        blobs.sort_by_key(|(pack, entry)| (*pack, entry.offset));
        let spoilt = meter.spoilt;
        let come = spans(blobs).into_iter().map(|span| async move {
            let Some(read) = spoilt.pass(self.read_each(&span).await)? else { return Ok((0, 0)) };
            let mut blobs = Vec::with_capacity(read.len());
            for blob in read {
                blobs.extend(spoilt.pass(blob)?);
            }
            let (store, count) = (objects.clone(), blobs.len() as u64);
            blocking(move || {
                for blob in &blobs {
                    store.put_bytes(blob)?;
                }
                Ok(())
            })
            .await?;
            Ok::<_, Error>((count, u64::from(span.end - span.start)))
        });
        let mut come = futures::stream::iter(come).buffer_unordered(AT_ONCE).boxed();
        while let Some((count, bytes)) = come.try_next().await? {
            meter.came(count, bytes);
        }
        for (pack, entry) in recipes {
            let fetched = self.fetch_cut(objects, index, pack, entry, meter).await;
            spoilt.pass(fetched)?;
        }
        Ok(())
    }

    /// The blobs of a span, each what its entry says.
    pub(crate) async fn read_span(&self, span: &Span) -> Result<Vec<Bytes>, Error> {
        self.read_each(span).await?.into_iter().collect()
    }

    /// The same, each by itself.
    pub(crate) async fn read_each(&self, span: &Span) -> Result<Vec<Result<Bytes, Error>>, Error> {
        let name = pack_name(span.pack);
        let (start, end) = (span.start, span.end);
        // Of nothing, nothing can be asked for.
        let bytes = match end - start {
            0 => Bytes::new(),
            _ => self.get_there(&name, u64::from(start)..u64::from(end)).await?,
        };
        let (remote, entries) = (self.clone(), span.entries.clone());
        blocking(move || {
            let blob = |entry: &Entry| {
                let from = (entry.offset - start) as usize;
                let to = from + entry.stored as usize;
                if to > bytes.len() {
                    return Err(remote.corrupt(&name, "it ends too early"));
                }
                unpack(entry, &bytes.slice(from..to))
                    .map_err(|why| remote.corrupt(format!("{} in {name}", entry.digest), why))
            };
            Ok(entries.iter().map(blob).collect())
        })
        .await
    }

    /// A range of a file, as far as that is there: one that was cut short is no remote that does not answer.
    async fn get_there(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let refused = match self.get_range(name, range.clone()).await {
            Err(error) if !error.is_missing_file() => error,
            read => return read,
        };
        match self.files(name).await?.first().map(|file| file.size) {
            Some(size) if size <= range.start => Ok(Bytes::new()),
            Some(size) if size < range.end => self.get_range(name, range.start..size).await,
            Some(_) | None => Err(refused),
        }
    }

    /// Fetches a file that is cut, into a file that grows: what is there of an earlier try is kept.
    async fn fetch_cut(
        &self,
        objects: &Objects,
        index: &Index,
        pack: Digest,
        entry: Entry,
        meter: &mut Meter<'_>,
    ) -> Result<(), Error> {
        let digest = entry.digest;
        let blobs = self.read_span(&Span::of(pack, entry)).await?;
        let wrong = |why: &str| self.corrupt(format!("the recipe of {digest}"), why);
        let recipe = blobs.first().and_then(|blob| Recipe::decode(blob)).ok_or_else(|| wrong("no recipe"))?;
        let folder = self.cache("partial")?;
        let chunks = recipe.0.clone();
        let (mut partial, whole) = blocking(move || Partial::open(folder, digest, &chunks)).await?;
        let rest = recipe.0.get(whole..).unwrap_or_default();
        let mut found = Vec::with_capacity(rest.len());
        for (chunk, _) in rest {
            found.push(index.find(*chunk).ok_or_else(|| self.missing(*chunk))?);
        }
        meter.total += found.iter().map(|(_, entry)| u64::from(entry.stored)).sum::<u64>();
        let come = spans(found).into_iter().map(|span| async move {
            let blobs = self.read_span(&span).await?;
            let (start, end) = (span.start, span.end);
            Ok::<_, Error>((blobs, u64::from(end - start)))
        });
        let mut come = futures::stream::iter(come).buffered(AT_ONCE).boxed();
        while let Some((blobs, bytes)) = come.try_next().await? {
            partial = blocking(move || {
                for blob in &blobs {
                    partial.file.write_all(blob).map_err(Error::io("write", &partial.path))?;
                }
                Ok(partial)
            })
            .await?;
            meter.came(0, bytes);
        }
        let store = objects.clone();
        let found = blocking(move || {
            let stored = store.put_path(&partial.path, Take::Move);
            // Moved, or of no use any more.
            let _ = std::fs::remove_file(&partial.path);
            Ok(stored?.digest)
        })
        .await?;
        if found != digest {
            return Err(wrong("its chunks do not make the file"));
        }
        meter.came(1, 0);
        Ok(())
    }

    fn missing(&self, digest: Digest) -> Error {
        Error::Missing { remote: self.address(), digest }
    }
}

/// A file that is half here. It is locked while it grows, so that two do not write one.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    /// Opens it at the end of its last whole chunk; how many there are. Where another has it, a file of
    /// nobody else's is begun.
    fn open(folder: PathBuf, digest: Digest, chunks: &[(Digest, u32)]) -> Result<(Self, usize), Error> {
        let path = folder.join(digest.hex());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(Error::io("write", &path))?;
        if file.try_lock().is_err() || !is_at(&file, &path) {
            let own = tempfile::NamedTempFile::new_in(&folder).map_err(Error::io("write in", &folder))?;
            let (file, path) = own.keep().map_err(|error| Error::io("write in", &folder)(error.error))?;
            return Ok((Self { path, file }, 0));
        }
        let (mut whole, mut end) = (0, 0);
        let mut buffer = Vec::new();
        for (chunk, length) in chunks {
            buffer.clear();
            let read = (&mut file).take(u64::from(*length)).read_to_end(&mut buffer);
            read.map_err(Error::io("read", &path))?;
            if Digest::of(&buffer) != *chunk {
                break;
            }
            whole += 1;
            end += u64::from(*length);
        }
        file.set_len(end).map_err(Error::io("write", &path))?;
        file.seek(SeekFrom::Start(end)).map_err(Error::io("write", &path))?;
        Ok((Self { path, file }, whole))
    }
}

/// Whether an open file still has a name: who had it before may have moved it into a store.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |(one, two): (Metadata, Metadata)| (one.dev(), one.ino()) == (two.dev(), two.ino());
    file.metadata().ok().zip(std::fs::symlink_metadata(path).ok()).is_some_and(same)
}
