//! Whether a remote still holds what its index says: packs may be lost or damaged by whoever else can reach
//! the place.
//!
//! A quick look compares the names and sizes of the packs with the index. A thorough one reads them all and
//! compares everything with its digest. Where something is spoilt, listings and recipes are read to see which
//! of them still stand for something whole: one that does not is no folder and no file any more, so that the
//! next push sends it again with what it lacks. [`Remote::mend`] does so at once, and puts the index right.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_core::tree::{Listing, Mode};
use rondo_store::Objects;
use serde::Serialize;

use crate::chunk::Recipe;
use crate::index::Index;
use crate::pack::{Entry, Kind, unpack};
use crate::pull::{Span, spans};
use crate::push::{Pushed, blocking, pack_name};
use crate::turn::What;
use crate::{Error, Need, Remote};

const AT_ONCE: usize = 4;

/// What is wrong with a blob of a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Its pack is not there, or ends before it.
    Missing,
    /// Its bytes are others.
    Corrupted,
}

/// A blob that the index lists and that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spoilt {
    /// The object or chunk.
    pub digest: Digest,
    /// The pack that it should be in.
    pub pack: Digest,
    /// What is wrong.
    pub fault: Fault,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Packs that the index lists.
    pub packs: u64,
    /// Of them, those that are not there or too short.
    pub lost: u64,
    /// Objects and chunks in them.
    pub blobs: u64,
    /// Their bytes there.
    pub bytes: u64,
    /// What cannot be had.
    pub spoilt: Vec<Spoilt>,
    /// What is there, and whole.
    pub index: Index,
    /// What each entry is that is not what the index says: of a listing, a file.
    judged: HashMap<Key, Option<Kind>>,
    /// What is not whole any more, as something to send.
    wanting: Vec<Need>,
}

/// What tells an entry of a remote from another.
type Key = (Digest, Digest, u32, bool);

fn key(pack: Digest, entry: &Entry) -> Key {
    (pack, entry.digest, entry.offset, entry.kind == Kind::Tree)
}

/// A listing or a recipe, with what it names; `true` for a folder.
struct Composite {
    key: Key,
    kind: Kind,
    inner: Inner,
}

/// What a listing or a recipe names; `true` for a folder.
type Inner = Vec<(Digest, bool)>;

type Listed = BTreeMap<Digest, Vec<Entry>>;

impl Survey {
    /// Whether all that the index lists is there.
    pub fn is_sound(&self) -> bool {
        self.judged.is_empty()
    }

    /// What is not whole there, so that it would have to be sent again. Chunks of files are among it.
    pub fn wanting(&self) -> &[Need] {
        &self.wanting
    }

    /// An entry as it is; nothing where it cannot be had.
    fn judge(&self, pack: Digest, entry: &Entry) -> Option<Entry> {
        match self.judged.get(&key(pack, entry)) {
            None => Some(*entry),
            Some(kind) => kind.map(|kind| Entry { kind, ..*entry }),
        }
    }
}

impl Remote {
    /// Compares what lies there with the index: the packs by name and size, and if `thorough` by all their
    /// bytes.
    ///
    /// # Errors
    /// When it cannot be reached or refuses, or its index itself is spoilt.
    pub async fn survey(&self, thorough: bool, progress: &dyn Progress) -> Result<Survey, Error> {
        self.look().await?;
        // The packs after the index: what it lists was there before.
        let mut listed = self.listed().await?;
        let mut sizes = self.sizes().await?;
        for _ in 0..3 {
            // What is not there may have gone into other packs in between: then the index is another.
            let lost = listed.keys().any(|pack| !sizes.contains_key(pack));
            let again = if lost { self.listed().await? } else { break };
            if again == listed {
                break;
            }
            (listed, sizes) = (again, self.sizes().await?);
        }
        let mut survey = Survey { packs: listed.len() as u64, ..Survey::default() };
        let mut there = Listed::new();
        for (pack, entries) in &listed {
            let size = sizes.get(pack).copied();
            survey.blobs += entries.len() as u64;
            survey.bytes += size.unwrap_or_default();
            let whole = |entry: &Entry| {
                size.is_some_and(|size| u64::from(entry.offset) + u64::from(entry.stored) <= size)
            };
            survey.lost += u64::from(!entries.iter().all(whole));
            for entry in entries {
                if whole(entry) {
                    there.entry(*pack).or_default().push(*entry);
                } else {
                    survey.spoil(*pack, entry, Fault::Missing);
                }
            }
        }
        if thorough || !survey.is_sound() {
            let composites = if thorough {
                self.read_packs(&there, &mut survey, progress).await?
            } else {
                self.read_composites(&there, &mut survey).await?
            };
            survey.settle(&there, composites);
        }
        survey.index = Index::of(&listed, |pack, entry| survey.judge(pack, entry));
        Ok(survey)
    }

    /// Sends anew what is not whole there and is here, with `also`, and takes out of the index what it lists
    /// and is not there.
    ///
    /// # Errors
    /// As [`Remote::push`].
    pub async fn mend(
        &self,
        objects: &Objects,
        survey: Survey,
        also: &[Need],
        progress: &dyn Progress,
    ) -> Result<Pushed, Error> {
        let store = objects.clone();
        let needs: Vec<Need> = survey.wanting.iter().chain(also).copied().collect();
        let here = move || {
            let whole = |need: &Need| match need.folder {
                true => store.holds(need.digest, true),
                false => store.verify(need.digest).unwrap_or(false),
            };
            Ok(needs.into_iter().filter(whole).collect::<Vec<_>>())
        };
        let needs = blocking(here).await?;
        let turn = self.turn(What::Push).await?;
        let mended = async {
            let sent = self.push_in_turn(&turn, objects, &needs, survey.index.clone(), progress).await?;
            turn.holds().await?;
            // A pack that was sent again may be the one that was spoilt.
            let judge = |pack: Digest, entry: &Entry| match sent.1.contains(&pack) {
                true => Some(*entry),
                false => survey.judge(pack, entry),
            };
            if !survey.is_sound() {
                self.rewrite_index(judge).await?;
            }
            Ok::<_, Error>(sent.0)
        };
        let mended = mended.await;
        let ended = turn.end().await;
        let mended = mended?;
        ended.map(|()| mended)
    }

    /// The index without packs that are not there.
    pub(crate) async fn index_there(&self) -> Result<Index, Error> {
        let listed = self.listed().await?;
        let sizes = self.sizes().await?;
        let whole = |pack: Digest, entry: &Entry| {
            let end = u64::from(entry.offset) + u64::from(entry.stored);
            sizes.get(&pack).is_some_and(|size| end <= *size).then_some(*entry)
        };
        Ok(Index::of(&listed, whole))
    }

    /// The sizes of the packs that lie there.
    async fn sizes(&self) -> Result<HashMap<Digest, u64>, Error> {
        let files = self.files("packs").await?.into_iter();
        Ok(files.filter_map(|file| Some((file.name.rsplit('/').next()?.parse().ok()?, file.size))).collect())
    }

    /// Reads all packs.
    async fn read_packs(
        &self,
        there: &Listed,
        survey: &mut Survey,
        progress: &dyn Progress,
    ) -> Result<Vec<Composite>, Error> {
        let mut composites = Vec::new();
        let reading = there.iter().map(|(pack, entries)| async move {
            let bytes = self.get(&pack_name(*pack)).await?.unwrap_or_default();
            let (pack, entries) = (*pack, entries.clone());
            let size = bytes.len() as u64;
            Ok::<_, Error>((size, blocking(move || Ok(opened(pack, &entries, &bytes))).await?))
        });
        let mut reading = futures::stream::iter(reading).buffer_unordered(AT_ONCE).boxed();
        let mut done = 0;
        while let Some((size, found)) = reading.try_next().await? {
            done += size;
            for (pack, entry, found) in found {
                survey.take(pack, &entry, found, &mut composites);
            }
            progress.report(Event::Advanced {
                subject: "verify".to_owned(),
                done,
                total: Some(survey.bytes.max(done)),
                message: "read in the remote".to_owned(),
            });
        }
        Ok(composites)
    }

    /// Reads the listings and recipes alone.
    async fn read_composites(&self, there: &Listed, survey: &mut Survey) -> Result<Vec<Composite>, Error> {
        let entries = there.iter().flat_map(|(pack, entries)| entries.iter().map(|entry| (*pack, *entry)));
        let mut composites = Vec::new();
        let reading = spans(entries.filter(|(_, entry)| entry.kind != Kind::Bytes)).into_iter();
        let reading = reading.map(|span: Span| async move {
            match self.read_each(&span).await {
                Ok(blobs) => Ok((span, blobs)),
                Err(error) if error.is_spoilt() => Ok((span, Vec::new())),
                Err(error) => Err(error),
            }
        });
        let mut reading = futures::stream::iter(reading).buffer_unordered(AT_ONCE).boxed();
        while let Some((span, blobs)) = reading.try_next().await? {
            let mut blobs = blobs.into_iter();
            for entry in &span.entries {
                let blob = blobs.next().and_then(Result::ok);
                let found = blob.and_then(|blob| inside(entry, &blob));
                survey.take(span.pack, entry, found, &mut composites);
            }
        }
        Ok(composites)
    }
}

impl Survey {
    fn spoil(&mut self, pack: Digest, entry: &Entry, fault: Fault) {
        self.spoilt.push(Spoilt { digest: entry.digest, pack, fault });
        self.judged.insert(key(pack, entry), None);
        self.wanting.push(Need { digest: entry.digest, folder: entry.kind == Kind::Tree });
    }

    /// Takes in what a blob names; nothing where it is spoilt.
    fn take(&mut self, pack: Digest, entry: &Entry, found: Option<Inner>, composites: &mut Vec<Composite>) {
        match found {
            None => self.spoil(pack, entry, Fault::Corrupted),
            Some(inner) if entry.kind != Kind::Bytes => {
                composites.push(Composite { key: key(pack, entry), kind: entry.kind, inner });
            }
            Some(_) => {}
        }
    }

    /// Finds the listings and recipes that do not stand for something whole any more, from what is spoilt
    /// upwards.
    fn settle(&mut self, there: &Listed, composites: Vec<Composite>) {
        // How often each digest is there, as a file and as a folder.
        let mut counts: HashMap<Digest, [usize; 2]> = HashMap::new();
        for (pack, entries) in there {
            for entry in entries.iter().filter(|entry| !self.judged.contains_key(&key(*pack, entry))) {
                let count = counts.entry(entry.digest).or_default();
                count[0] += 1;
                count[1] += usize::from(entry.kind == Kind::Tree);
            }
        }
        let mut above: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (number, composite) in composites.iter().enumerate() {
            composite.inner.iter().for_each(|(digest, _)| above.entry(*digest).or_default().push(number));
        }
        let mut open: Vec<usize> = (0..composites.len()).collect();
        while let Some(number) = open.pop() {
            let Some(composite) = composites.get(number) else { continue };
            let has = |(digest, folder): &(Digest, bool)| {
                counts.get(digest).is_some_and(|count| count[usize::from(*folder)] > 0)
            };
            if self.judged.contains_key(&composite.key) || composite.inner.iter().all(has) {
                continue;
            }
            let digest = composite.key.1;
            let folder = composite.kind == Kind::Tree;
            // The bytes of a listing are there still; a file without all its chunks is not.
            self.judged.insert(composite.key, folder.then_some(Kind::Bytes));
            self.wanting.push(Need { digest, folder });
            let count = counts.entry(digest).or_default();
            let count = &mut count[usize::from(folder)];
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.extend(above.get(&digest).into_iter().flatten().copied());
            }
        }
    }
}

/// Each entry of a pack with what it names; nothing where it is not what it should be.
fn opened(pack: Digest, entries: &[Entry], bytes: &Bytes) -> Vec<(Digest, Entry, Option<Inner>)> {
    let whole = Digest::of(bytes) == pack;
    let one = |entry: &Entry| {
        let (from, to) = (entry.offset as usize, entry.offset as usize + entry.stored as usize);
        let blob = (to <= bytes.len()).then(|| unpack(entry, &bytes.slice(from..to)).ok()).flatten();
        // The digest of a recipe is that of its file: the pack alone says whether it is right.
        let blob = blob.filter(|_| whole || entry.kind != Kind::Recipe);
        (pack, *entry, blob.and_then(|blob| inside(entry, &blob)))
    };
    entries.iter().map(one).collect()
}

/// What a listing or a recipe names, and which of it are folders; nothing where it is neither.
fn inside(entry: &Entry, blob: &[u8]) -> Option<Inner> {
    match entry.kind {
        Kind::Bytes => Some(Vec::new()),
        Kind::Recipe => Some(Recipe::decode(blob)?.0.into_iter().map(|(chunk, _)| (chunk, false)).collect()),
        Kind::Tree => Some(match Listing::decode(blob).ok()? {
            Listing::Parts(parts) => parts.into_iter().map(|part| (part.digest, true)).collect(),
            Listing::Whole(tree) => {
                tree.entries().iter().map(|entry| (entry.digest, entry.mode == Mode::Folder)).collect()
            }
        }),
    }
}
