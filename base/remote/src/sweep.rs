//! Cleaning up a remote: packs in which nothing is left that a note reaches.
//!
//! The notes are the roots: what one reaches, which its writer knows, is needed, of a folder with all that it
//! holds, of a large file with its chunks. What is younger than a grace is needed too, with all that it
//! rests on, so that a push that was stopped can go on. A pack of which nothing is needed goes; one of which
//! less than half is needed is written anew with that half.
//!
//! What is in the index is whole, at every moment: the new index, which leaves out folders and cut files
//! that are not needed, is there before anything is taken away, and who reads at the same time and misses a
//! pack reads the index again. Where it is stopped, packs stay that the next clean-up takes. See
//! [`crate::turn`] for how pushes are kept apart from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_core::tree::Listing;
use serde::Serialize;

use crate::chunk::Recipe;
use crate::index::{Index, encode};
use crate::notes::FOLDER;
use crate::pack::{Entry, Filled, Kind, Pack};
use crate::place::Lies;
use crate::pull::spans;
use crate::push::pack_name;
use crate::turn::{Turn, What};
use crate::{Error, Remote};

/// Notes of versions: each is called by the digest of its content.
const VERSIONS: &str = "dataset/";

const AT_ONCE: usize = 8;

/// After so many files it is asked again whether it is still this one's turn.
const GROUP: usize = 32;

/// What a note of a name and text reaches.
pub type Reaches = fn(&str, &str) -> Vec<Digest>;

/// A note that is to be forgotten, as it was when that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its name.
    pub name: String,
    /// Its text: one that says something else by now stays.
    pub text: Bytes,
}

/// What a clean-up took away, or would take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Packs that went, those that were written anew among them.
    pub packs: u64,
    /// How many of these were written anew, with what is needed of them.
    pub rewritten: u64,
    /// Objects and chunks that went.
    pub objects: u64,
    /// Bytes that are free for it.
    pub bytes: u64,
    /// Packs that stay.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Packs that stay only because they are young.
    pub young: u64,
}

/// A pack as it lies there.
struct Lying {
    size: u64,
    young: bool,
}

/// What is to become of the packs.
#[derive(Default)]
struct Plan {
    /// The index afterwards, but for what is written anew.
    kept: Vec<(Digest, Vec<Entry>)>,
    /// What is written anew.
    anew: Vec<(Digest, Entry)>,
    /// Packs that go.
    gone: Vec<Digest>,
    swept: Swept,
}

impl Remote {
    /// Takes away what no note `reaches`, which says what one does, but for notes that are to be forgotten,
    /// which go first. What was written within a `grace` stays. Without `apply` nothing is done. Left in
    /// `forget` are those that went, or would: not what was written within the grace or anew since it was
    /// looked at, nor a version that some other note has come to reach.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody pushes or cleans up; when the remote cannot be reached or refuses.
    pub async fn sweep(
        &self,
        forget: &mut Vec<Forgotten>,
        reaches: Reaches,
        grace: Duration,
        apply: bool,
        progress: &dyn Progress,
    ) -> Result<Swept, Error> {
        self.look().await?;
        if !apply {
            return Ok(self.plan(forget, reaches, grace, progress).await?.swept);
        }
        let turn = self.turn(What::Sweep).await?;
        let swept = self.sweep_in_turn(&turn, forget, reaches, grace, progress).await;
        let ended = turn.end().await;
        let swept = swept?;
        ended.map(|()| swept)
    }

    async fn sweep_in_turn(
        &self,
        turn: &Turn,
        forget: &mut Vec<Forgotten>,
        reaches: Reaches,
        grace: Duration,
        progress: &dyn Progress,
    ) -> Result<Swept, Error> {
        let plan = self.plan(forget, reaches, grace, progress).await?;
        // A note whose objects are gone would be a promise that is not kept.
        turn.holds().await?;
        for note in forget.iter() {
            self.forget(&note.name).await?;
        }
        if plan.gone.is_empty() {
            return Ok(plan.swept);
        }
        let anew = self.write_anew(&plan.anew).await?;
        let listed = plan.kept.iter().map(|(pack, entries)| (*pack, entries.as_slice()));
        let listed = listed.chain(anew.iter().map(|pack| (pack.digest, pack.entries.as_slice())));
        turn.holds().await?;
        self.replace_index(encode(listed)).await?;
        let kept: HashSet<Digest> =
            plan.kept.iter().map(|(pack, _)| *pack).chain(anew.iter().map(|pack| pack.digest)).collect();
        let gone: Vec<Digest> = plan.gone.iter().copied().filter(|pack| !kept.contains(pack)).collect();
        for (done, group) in gone.chunks(GROUP).enumerate() {
            turn.holds().await?;
            futures::stream::iter(group)
                .map(|pack| async move { self.remove(&pack_name(*pack)).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
            progress.report(Event::Advanced {
                subject: "gc".to_owned(),
                done: (done * GROUP + group.len()) as u64,
                total: Some(gone.len() as u64),
                message: "packs removed".to_owned(),
            });
        }
        Ok(plan.swept)
    }

    async fn plan(
        &self,
        forget: &mut Vec<Forgotten>,
        reaches: Reaches,
        grace: Duration,
        progress: &dyn Progress,
    ) -> Result<Plan, Error> {
        let survey = self.survey(false, progress).await?;
        if survey.lost > 0 {
            // What stands on something that is lost would be taken for nobody's.
            return Err(Error::Damaged { remote: self.address(), packs: survey.lost });
        }
        let lying = self.lying(grace).await?;
        let mut roots = HashSet::new();
        let notes = self.all_notes().await?;
        if !forget.is_empty() {
            self.spare(forget, &notes, reaches, grace).await?;
        }
        for (name, text) in notes {
            if !forget.iter().any(|note| note.name == name) {
                roots.extend(reaches(&name, &String::from_utf8_lossy(&text)));
            }
        }
        let index = self.index().await?;
        for (pack, entries) in index.packs() {
            if lying.get(&pack).is_some_and(|pack| pack.young) {
                roots.extend(entries.iter().map(|entry| entry.digest));
            }
        }
        let message = format!("{} packs, {} objects and chunks", lying.len(), index.len());
        progress.report(Event::Started { subject: "gc".to_owned(), message });
        let needed = self.needed(&index, roots).await?;
        Ok(plan(&index, &lying, &needed))
    }

    /// Takes out of what is to be forgotten what was written within the grace, or is reached by now.
    async fn spare(
        &self,
        forget: &mut Vec<Forgotten>,
        notes: &[(String, Bytes)],
        reaches: Reaches,
        grace: Duration,
    ) -> Result<(), Error> {
        let files = self.files(FOLDER).await?;
        let newest = files.iter().map(|file| file.modified).max().unwrap_or(SystemTime::UNIX_EPOCH);
        let clock = SystemTime::now().max(newest);
        let young = |file: &&Lies| clock.duration_since(file.modified).unwrap_or_default() < grace;
        let young: HashSet<&str> = files
            .iter()
            .filter(young)
            .filter_map(|file| file.name.split_once('/'))
            .map(|name| name.1)
            .collect();
        let now: HashMap<&str, &Bytes> = notes.iter().map(|(name, text)| (name.as_str(), text)).collect();
        forget.retain(|note| {
            !young.contains(note.name.as_str()) && now.get(note.name.as_str()) == Some(&&note.text)
        });
        let going: HashSet<String> = forget.iter().map(|note| note.name.clone()).collect();
        let others = notes.iter().filter(|(name, _)| !name.starts_with(VERSIONS) && !going.contains(name));
        let reached: HashSet<Digest> =
            others.flat_map(|(name, text)| reaches(name, &String::from_utf8_lossy(text))).collect();
        forget.retain(|note| {
            let version = note.name.strip_prefix(VERSIONS);
            let version = version.and_then(|name| name.rsplit('/').next()?.parse().ok());
            !version.is_some_and(|digest| reached.contains(&digest))
        });
        Ok(())
    }

    /// The packs that lie there.
    async fn lying(&self, grace: Duration) -> Result<HashMap<Digest, Lying>, Error> {
        let files = self.files("packs").await?;
        // By the clock that wrote the times, as far as it is known.
        let newest = files.iter().map(|file| file.modified).max().unwrap_or(SystemTime::UNIX_EPOCH);
        let now = SystemTime::now().max(newest);
        let mut lying = HashMap::new();
        for file in files {
            // What is called otherwise was put there by somebody else.
            let Some(digest) = file.name.rsplit('/').next().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let young = now.duration_since(file.modified).unwrap_or_default() < grace;
            lying.insert(digest, Lying { size: file.size, young });
        }
        Ok(lying)
    }

    /// What is needed by some digests, with them.
    async fn needed(&self, index: &Index, roots: HashSet<Digest>) -> Result<HashSet<Digest>, Error> {
        let mut level: Vec<Digest> = roots.iter().copied().collect();
        let mut needed = roots;
        while !level.is_empty() {
            let mut inner = Vec::new();
            let mut found: Vec<(Digest, Entry)> =
                level.iter().filter_map(|digest| index.find(*digest)).collect();
            found.retain(|(_, entry)| entry.kind != Kind::Bytes);
            found.sort_by_key(|(pack, entry)| (*pack, entry.offset));
            let reading = spans(found).into_iter().map(|span| async move {
                let blobs = self.read_span(&span).await?;
                Ok::<_, Error>((span, blobs))
            });
            let mut reading = futures::stream::iter(reading).buffer_unordered(AT_ONCE).boxed();
            while let Some((span, blobs)) = reading.try_next().await? {
                for (entry, blob) in span.entries.iter().zip(&blobs) {
                    inner.extend(inside(entry, blob).ok_or_else(|| {
                        self.corrupt(entry.digest.hex(), "it is neither a listing nor a list of chunks")
                    })?);
                }
            }
            inner.retain(|digest| needed.insert(*digest));
            level = inner;
        }
        Ok(needed)
    }

    /// Puts what is needed of packs that go into new ones.
    async fn write_anew(&self, entries: &[(Digest, Entry)]) -> Result<Vec<Filled>, Error> {
        let mut filled = Vec::new();
        let mut pack = Pack::default();
        for span in spans(entries.iter().copied()) {
            for (entry, blob) in span.entries.iter().zip(self.read_span(&span).await?) {
                pack.add(entry.digest, entry.kind, &blob);
            }
            if pack.is_full() {
                filled.push(self.put_pack(pack.take()).await?);
            }
        }
        if !pack.is_empty() {
            filled.push(self.put_pack(pack.take()).await?);
        }
        Ok(filled)
    }

    async fn put_pack(&self, mut pack: Filled) -> Result<Filled, Error> {
        let bytes = std::mem::take(&mut pack.bytes);
        self.put(&pack_name(pack.digest), bytes).await?;
        Ok(pack)
    }
}

/// What a listing or a recipe names.
fn inside(entry: &Entry, blob: &[u8]) -> Option<Vec<Digest>> {
    match entry.kind {
        Kind::Bytes => Some(Vec::new()),
        Kind::Recipe => Some(Recipe::decode(blob)?.0.into_iter().map(|(chunk, _)| chunk).collect()),
        Kind::Tree => Some(match Listing::decode(blob).ok()? {
            Listing::Parts(parts) => parts.into_iter().map(|part| part.digest).collect(),
            Listing::Whole(tree) => tree.entries().iter().map(|entry| entry.digest).collect(),
        }),
    }
}

fn plan(index: &Index, lying: &HashMap<Digest, Lying>, needed: &HashSet<Digest>) -> Plan {
    let mut plan = Plan::default();
    let listed: BTreeMap<Digest, Vec<Entry>> = index.packs().collect();
    for (pack, there) in lying {
        let entries = listed.get(pack).map(Vec::as_slice).unwrap_or_default();
        let wanted = |entry: &&Entry| needed.contains(&entry.digest);
        let wanted_bytes: u64 = entries.iter().filter(wanted).map(|entry| u64::from(entry.stored)).sum();
        let any = entries.iter().any(|entry| wanted(&entry));
        if there.young || any && wanted_bytes * 2 >= there.size {
            plan.swept.kept += 1;
            plan.swept.kept_bytes += there.size;
            plan.swept.young += u64::from(there.young && !any);
            // A folder that is in the index is there with all that it holds: one that nobody needs is not.
            let says = |entry: &&Entry| entry.kind == Kind::Bytes || wanted(entry);
            plan.kept.push((*pack, entries.iter().filter(says).copied().collect()));
            continue;
        }
        let anew: Vec<(Digest, Entry)> = entries.iter().filter(wanted).map(|entry| (*pack, *entry)).collect();
        plan.gone.push(*pack);
        plan.swept.packs += 1;
        plan.swept.rewritten += u64::from(!anew.is_empty());
        plan.swept.objects += (entries.len() - anew.len()) as u64;
        plan.swept.bytes += there.size.saturating_sub(wanted_bytes);
        plan.anew.extend(anew);
    }
    plan.kept.sort_by_key(|(pack, _)| *pack);
    plan.gone.sort_unstable();
    plan.anew.sort_by_key(|(pack, entry)| (*pack, entry.offset));
    plan
}
