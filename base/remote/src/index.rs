//! The index of a remote: what lies in which pack.
//!
//! It is a set of segments. A segment is named by its digest and never changes; one is written after the
//! packs that it lists, so what is in the index is whole. Those that were read are kept on this machine. When
//! there are many, one that holds them all takes their place.
//!
//! ```text
//! segment: "RDIX1\n"  packs: u32  then each pack: digest, entries: u32
//! entry:   digest  kind: u8  packed: u8  offset: u32  stored: u32  size: u32      (little-endian)
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rondo_core::Digest;

use crate::pack::{Entry, Filled, Kind};
use crate::{Error, Remote};

const MAGIC: &[u8; 6] = b"RDIX1\n";

/// How many segments there may be before one takes their place.
const MANY: usize = 32;

const FOLDER: &str = "index";

/// How many segments are read at once.
const AT_ONCE: usize = 8;

/// What a remote holds.
#[derive(Debug, Default, Clone)]
pub struct Index {
    packs: Vec<Digest>,
    entries: HashMap<Digest, Place>,
}

/// Where a blob is: the number of its pack, and its entry there.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: u32,
    entry: Entry,
}

impl Index {
    /// Whether a file is there.
    pub fn has_file(&self, digest: Digest) -> bool {
        self.entries.contains_key(&digest)
    }

    /// Whether a folder is there, with all that it holds.
    pub fn has_folder(&self, digest: Digest) -> bool {
        self.entries.get(&digest).is_some_and(|place| place.entry.kind == Kind::Tree)
    }

    /// Of packs with their entries those that are `judged` to be there, as they are.
    pub(crate) fn of(
        listed: &BTreeMap<Digest, Vec<Entry>>,
        judge: impl Fn(Digest, &Entry) -> Option<Entry>,
    ) -> Self {
        let mut index = Self::default();
        for (pack, entries) in listed {
            index.add(*pack, entries.iter().filter_map(|entry| judge(*pack, entry)));
        }
        index
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The pack and the entry of a blob.
    pub(crate) fn find(&self, digest: Digest) -> Option<(Digest, Entry)> {
        let place = self.entries.get(&digest)?;
        Some((*self.packs.get(place.pack as usize)?, place.entry))
    }

    /// The packs that it lists, each with the entries that count: of what lies in several, one.
    pub(crate) fn packs(&self) -> impl Iterator<Item = (Digest, Vec<Entry>)> {
        let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); self.packs.len()];
        for place in self.entries.values() {
            if let Some(list) = entries.get_mut(place.pack as usize) {
                list.push(place.entry);
            }
        }
        // A pack that two segments list is one.
        let mut packs: BTreeMap<Digest, Vec<Entry>> = BTreeMap::new();
        for (pack, list) in self.packs.iter().zip(entries) {
            packs.entry(*pack).or_default().extend(list);
        }
        packs.values_mut().for_each(|list| list.sort_by_key(|entry| entry.offset));
        packs.into_iter()
    }

    fn add(&mut self, pack: Digest, entries: impl IntoIterator<Item = Entry>) {
        let Ok(number) = u32::try_from(self.packs.len()) else { return };
        self.packs.push(pack);
        for entry in entries {
            let place = Place { pack: number, entry };
            self.entries
                .entry(entry.digest)
                .and_modify(|known| {
                    // A listing that is also somebody's file: as a listing it says more.
                    if known.entry.kind != Kind::Tree {
                        *known = place;
                    }
                })
                .or_insert(place);
        }
    }
}

impl Remote {
    /// Reads what the remote holds: asks for the names of its segments, and for those that are new.
    ///
    /// # Errors
    /// When it cannot be reached, refuses, or holds what is no segment.
    pub async fn index(&self) -> Result<Index, Error> {
        self.look().await?;
        let mut index = Index::default();
        for (_, segment) in self.segments().await? {
            for (pack, entries) in segment {
                index.add(pack, entries);
            }
        }
        Ok(index)
    }

    /// Lists packs that lie there already.
    pub(crate) async fn list_packs(&self, packs: &[Filled]) -> Result<(), Error> {
        let bytes = encode(packs.iter().map(|pack| (pack.digest, pack.entries.as_slice())));
        self.put(&format!("{FOLDER}/{}", Digest::of(&bytes).hex()), bytes.into()).await
    }

    /// Puts one segment in the place of many. Who reads at the same time sees the old, the new or both.
    pub(crate) async fn tidy_index(&self) -> Result<(), Error> {
        let segments = self.segments().await?;
        if segments.len() < MANY {
            return Ok(());
        }
        let packs = merged(&segments);
        self.replace(&segments, encode(packs.iter().map(|(pack, entries)| (*pack, entries.as_slice())))).await
    }

    /// The packs that the index lists, each once with all that any segment says of it.
    pub(crate) async fn listed(&self) -> Result<BTreeMap<Digest, Vec<Entry>>, Error> {
        Ok(merged(&self.segments().await?))
    }

    /// Puts one segment in the place of all that are there, with each entry as it is judged to be.
    pub(crate) async fn rewrite_index(
        &self,
        judge: impl Fn(Digest, &Entry) -> Option<Entry>,
    ) -> Result<(), Error> {
        let segments = self.segments().await?;
        let mut packs = merged(&segments);
        for (pack, entries) in &mut packs {
            *entries = entries.iter().filter_map(|entry| judge(*pack, entry)).collect();
        }
        packs.retain(|_, entries| !entries.is_empty());
        self.replace(&segments, encode(packs.iter().map(|(pack, entries)| (*pack, entries.as_slice())))).await
    }

    /// Puts one segment in the place of all that are there.
    pub(crate) async fn replace_index(&self, segment: Vec<u8>) -> Result<(), Error> {
        let segments = self.segments().await?;
        self.replace(&segments, segment).await
    }

    async fn replace(&self, segments: &[(String, Segment)], bytes: Vec<u8>) -> Result<(), Error> {
        let name = Digest::of(&bytes).hex();
        self.put(&format!("{FOLDER}/{name}"), bytes.into()).await?;
        for (old, _) in segments.iter().filter(|(old, _)| *old != name) {
            self.remove(&format!("{FOLDER}/{old}")).await?;
        }
        Ok(())
    }

    async fn segments(&self) -> Result<Vec<(String, Segment)>, Error> {
        // A segment that is gone when it is asked for went into another: the names are asked for again.
        for _ in 0..4 {
            let names = self.list(FOLDER).await?;
            let kept = self.cache(FOLDER)?;
            forget(&kept, &names);
            let read = names.iter().map(|name| self.segment(&kept, name));
            let read: Vec<Option<(String, Segment)>> =
                futures::stream::iter(read).buffered(AT_ONCE).boxed().try_collect().await?;
            if let Some(segments) = read.into_iter().collect() {
                return Ok(segments);
            }
        }
        Err(self.corrupt(FOLDER, "its segments change faster than they can be read"))
    }

    async fn segment(&self, kept: &Path, name: &str) -> Result<Option<(String, Segment)>, Error> {
        let wrong = |why: &str| self.corrupt(format!("{FOLDER}/{name}"), why);
        let digest: Digest = name.parse().map_err(|_| wrong("it is no segment of an index"))?;
        let file = kept.join(name);
        if let Some(segment) = std::fs::read(&file)
            .ok()
            .filter(|bytes| Digest::of(bytes) == digest)
            .and_then(|bytes| decode(bytes.into()))
        {
            return Ok(Some((name.to_owned(), segment)));
        }
        let Some(bytes) = self.get(&format!("{FOLDER}/{name}")).await? else { return Ok(None) };
        if Digest::of(&bytes) != digest {
            return Err(wrong("its bytes are not what its name says"));
        }
        let segment = decode(bytes.clone()).ok_or_else(|| wrong("it cannot be read"))?;
        // Only to spare the next reading: where it cannot be kept, it is read again.
        let fresh = kept.join(format!("{name}.new"));
        let _ = std::fs::write(&fresh, &bytes).and_then(|()| std::fs::rename(&fresh, &file));
        Ok(Some((name.to_owned(), segment)))
    }
}

/// Two packs of the same bytes may be cut differently: what each says stands.
fn merged(segments: &[(String, Segment)]) -> BTreeMap<Digest, Vec<Entry>> {
    let mut packs: BTreeMap<Digest, Vec<Entry>> = BTreeMap::new();
    for (pack, entries) in segments.iter().flat_map(|(_, packs)| packs) {
        let known = packs.entry(*pack).or_default();
        let seen: HashSet<(Digest, u32, bool)> = known.iter().map(said).collect();
        known.extend(entries.iter().filter(|entry| !seen.contains(&said(entry))));
    }
    // In their order, so that what lies together is asked for together.
    packs.values_mut().for_each(|list| list.sort_by_key(|entry| entry.offset));
    packs
}

/// What tells an entry of a pack from another.
fn said(entry: &Entry) -> (Digest, u32, bool) {
    (entry.digest, entry.offset, entry.kind == Kind::Tree)
}

/// Removes the kept segments that the remote has no more.
fn forget(kept: &Path, names: &[String]) {
    let Ok(files) = std::fs::read_dir(kept) else { return };
    for file in files.filter_map(Result::ok) {
        if !names.iter().any(|name| file.file_name() == name.as_str()) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

type Segment = Vec<(Digest, Vec<Entry>)>;

pub(crate) fn encode<'a>(packs: impl Iterator<Item = (Digest, &'a [Entry])>) -> Vec<u8> {
    let packs: Vec<_> = packs.collect();
    let mut bytes = MAGIC.to_vec();
    let number = |count: usize, bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    };
    number(packs.len(), &mut bytes);
    for (pack, entries) in packs {
        bytes.extend_from_slice(pack.as_bytes());
        number(entries.len(), &mut bytes);
        for entry in entries {
            bytes.extend_from_slice(entry.digest.as_bytes());
            let kind = match entry.kind {
                Kind::Bytes => 0,
                Kind::Tree => 1,
                Kind::Recipe => 2,
            };
            bytes.extend_from_slice(&[kind, u8::from(entry.packed)]);
            for value in [entry.offset, entry.stored, entry.size] {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    bytes
}

fn decode(bytes: Bytes) -> Option<Segment> {
    let mut reader = Reader(&bytes);
    if reader.take::<6>()? != *MAGIC {
        return None;
    }
    let mut segment = Vec::new();
    for _ in 0..reader.number()? {
        let pack = Digest::from_bytes(reader.take()?);
        let mut entries = Vec::new();
        for _ in 0..reader.number()? {
            let digest = Digest::from_bytes(reader.take()?);
            let [kind, packed] = reader.take()?;
            let kind = match kind {
                0 => Kind::Bytes,
                1 => Kind::Tree,
                2 => Kind::Recipe,
                _ => return None,
            };
            let (offset, stored, size) = (reader.number()?, reader.number()?, reader.number()?);
            offset.checked_add(stored)?;
            entries.push(Entry { digest, kind, packed: packed != 0, offset, stored, size });
        }
        segment.push((pack, entries));
    }
    reader.0.is_empty().then_some(segment)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (any::<[u8; 32]>(), 0..3u8, any::<bool>(), 0..1000u32, any::<u16>(), any::<u32>()).prop_map(
            |(digest, kind, packed, offset, stored, size)| Entry {
                digest: Digest::from_bytes(digest),
                kind: [Kind::Bytes, Kind::Tree, Kind::Recipe][usize::from(kind)],
                packed,
                offset,
                stored: stored.into(),
                size,
            },
        )
    }

    proptest! {
        #[test]
        fn a_segment_is_read_as_it_was_written(packs in prop::collection::vec((any::<[u8; 32]>(), prop::collection::vec(entry(), 0..5)), 0..5)) {
            let packs: Segment = packs.into_iter().map(|(pack, list)| (Digest::from_bytes(pack), list)).collect();
            let bytes = encode(packs.iter().map(|(pack, list)| (*pack, list.as_slice())));
            prop_assert_eq!(decode(bytes.into()), Some(packs));
        }

        #[test]
        fn what_is_no_segment_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
            let mut with = MAGIC.to_vec();
            with.extend(&bytes);
            let _ = decode(bytes.into());
            with.truncate(cut);
            let _ = decode(with.into());
        }
    }
}
