//! To a remote: what it lacks, and no more.

use std::collections::HashSet;
use std::fs::{self, File};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_store::objects::Objects;
use tokio::sync::mpsc;

use crate::chunk::{Recipe, SIZES, cut};
use crate::index::Index;
use crate::pack::{Filled, Kind, Pack};
use crate::turn::{Turn, What};
use crate::{Error, Need, Remote};

/// How many packs are under way at once.
const AT_ONCE: usize = 4;

/// How many packs a segment lists: what a transfer that is stopped may have to send again.
const LISTED: usize = 8;

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Files and folder listings that the remote lacked.
    pub objects: u64,
    /// Their bytes.
    pub size: u64,
    /// Bytes of them that were neither there already, as chunks of other files, nor twice in them.
    pub new: u64,
    /// Bytes that went over the line.
    pub sent: u64,
}

/// What the remote lacks: each after what it needs itself.
#[derive(Debug, Default)]
struct Lacking {
    seen: HashSet<Need>,
    order: Vec<(Need, u64)>,
    size: u64,
}

impl Remote {
    /// Sends what the remote lacks of some objects, and then keeps the notes that name them. Until then no
    /// clean-up takes away what was there already.
    ///
    /// # Errors
    /// When an object is not in the store or corrupt, or the remote cannot be reached or is being cleaned
    /// up. What was sent by then need not be sent again.
    pub async fn push(
        &self,
        objects: &Objects,
        wanted: &[Need],
        notes: Vec<(String, Bytes)>,
        progress: &dyn Progress,
    ) -> Result<Pushed, Error> {
        self.found().await?;
        let turn = self.turn(What::Push).await?;
        let pushed = async {
            let survey = self.survey(false, progress).await?;
            if survey.lost > 0 {
                let message = format!(
                    "{} packs that its index lists are not there: what is lacking is sent again; \
                     rondo data verify --remote looks at all",
                    survey.lost
                );
                progress.report(Event::Note { subject: self.address(), message });
            }
            let (pushed, _) = self.push_in_turn(&turn, objects, wanted, survey.index, progress).await?;
            turn.holds().await?;
            for (name, text) in notes {
                self.keep(&name, text).await?;
            }
            Ok::<_, Error>(pushed)
        };
        let pushed = pushed.await;
        let ended = turn.end().await;
        let pushed = pushed?;
        ended.map(|()| pushed)
    }

    /// Sends what an index lacks; and the packs that were sent.
    pub(crate) async fn push_in_turn(
        &self,
        turn: &Turn,
        objects: &Objects,
        wanted: &[Need],
        index: Index,
        progress: &dyn Progress,
    ) -> Result<(Pushed, HashSet<Digest>), Error> {
        let index = Arc::new(index);
        let (store, needs, known) = (objects.clone(), wanted.to_vec(), index.clone());
        let lacking = blocking(move || {
            let mut lacking = Lacking::default();
            for need in needs {
                lacking.look(&store, &known, need)?;
            }
            Ok(lacking)
        })
        .await?;
        let mut pushed = Pushed { objects: lacking.order.len() as u64, size: lacking.size, new: 0, sent: 0 };
        if lacking.order.is_empty() {
            return Ok((pushed, HashSet::new()));
        }
        let (sender, receiver) = mpsc::channel(1);
        let store = objects.clone();
        let filling = tokio::task::spawn_blocking(move || fill(&store, &index, &lacking.order, &sender));
        let sent = self.send(turn, receiver, &mut pushed, progress).await;
        let filled = filling.await.map_err(|_| Error::Stopped)?;
        // A send that failed is why the filling stopped.
        let sent = sent?;
        filled?;
        self.tidy_index().await?;
        Ok((pushed, sent))
    }

    async fn send(
        &self,
        turn: &Turn,
        mut packs: mpsc::Receiver<Filled>,
        pushed: &mut Pushed,
        progress: &dyn Progress,
    ) -> Result<HashSet<Digest>, Error> {
        let mut names = HashSet::new();
        let packs = futures::stream::poll_fn(move |context| packs.poll_recv(context));
        let put = packs.map(|mut pack| async move {
            let (hex, bytes) = (pack.digest.hex(), std::mem::take(&mut pack.bytes));
            let length = bytes.len() as u64;
            self.put(&pack_name(pack.digest), bytes).await.map(|()| (pack, length, hex))
        });
        let mut put = put.buffered(AT_ONCE).boxed();
        let mut unlisted = Vec::new();
        while let Some(sent) = put.next().await {
            let (pack, length, _) = sent?;
            names.insert(pack.digest);
            pushed.new += pack.brought;
            pushed.sent += length;
            progress.report(Event::Advanced {
                subject: "push".to_owned(),
                done: pushed.new,
                total: Some(pushed.size),
                message: "sent".to_owned(),
            });
            unlisted.push(pack);
            if unlisted.len() == LISTED {
                turn.holds().await?;
                self.list_packs(&unlisted).await?;
                unlisted.clear();
            }
        }
        if unlisted.is_empty() {
            return Ok(names);
        }
        // Whoever has taken it for stale may have cleaned up what this rests on.
        turn.holds().await?;
        self.list_packs(&unlisted).await?;
        Ok(names)
    }
}

/// Where a pack lies.
pub fn pack_name(digest: Digest) -> String {
    let hex = digest.hex();
    let lead: String = hex.chars().take(2).collect();
    format!("packs/{lead}/{hex}")
}

/// Runs what blocks where it may.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)?
}

impl Lacking {
    fn look(&mut self, objects: &Objects, index: &Index, need: Need) -> Result<(), Error> {
        let known = if need.folder { index.has_folder(need.digest) } else { index.has_file(need.digest) };
        if known || !self.seen.insert(need) {
            return Ok(());
        }
        let path = objects.require(need.digest)?;
        if need.folder {
            for (digest, folder) in objects.named(need.digest)? {
                self.look(objects, index, Need { digest, folder })?;
            }
        }
        let size = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        self.size += size;
        self.order.push((need, size));
        Ok(())
    }
}

/// Fills packs with what is lacking, in order.
fn fill(
    objects: &Objects,
    index: &Index,
    order: &[(Need, u64)],
    packs: &mpsc::Sender<Filled>,
) -> Result<(), Error> {
    let mut pack = Pack::default();
    let mut chunks = HashSet::new();
    let full = |pack: &mut Pack, last: bool| {
        if pack.is_full() || (last && !pack.is_empty()) {
            packs.blocking_send(pack.take()).map_err(|_| Error::Stopped)?;
        }
        Ok::<(), Error>(())
    };
    for (need, size) in order {
        let digest = need.digest;
        if *size <= SIZES.2 as u64 {
            let kind = if need.folder { Kind::Tree } else { Kind::Bytes };
            pack.add(digest, kind, &objects.read(digest)?);
            full(&mut pack, false)?;
            continue;
        }
        let path = objects.require(digest)?;
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut hasher = blake3::Hasher::new();
        let mut recipe = Recipe::default();
        for chunk in cut(file) {
            let chunk = chunk.map_err(|error| Error::io("read", &path)(error.into()))?;
            hasher.update(&chunk.data);
            let found = Digest::of(&chunk.data);
            // No chunk is larger than the most that a chunk may be.
            recipe.0.push((found, u32::try_from(chunk.data.len()).unwrap_or(u32::MAX)));
            if !index.has_file(found) && chunks.insert(found) {
                pack.add(found, Kind::Bytes, &chunk.data);
                full(&mut pack, false)?;
            }
        }
        let found = Digest::from(hasher.finalize());
        if found != digest {
            return Err(rondo_store::Error::Corrupt { digest, found }.into());
        }
        let listing = recipe.encode();
        if need.folder {
            // A listing of more than two megabytes goes whole: it is read to know what else is needed.
            pack.add(digest, Kind::Tree, &objects.read(digest)?);
        } else if !pack.add(digest, Kind::Recipe, &listing) {
            return Err(Error::Stopped);
        }
        full(&mut pack, false)?;
    }
    full(&mut pack, true)
}
