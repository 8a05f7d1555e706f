//! What a remote promises, on a folder; `e2e/test_remote.py` has the same on S3.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rondo_core::Digest;
use rondo_core::ports::{Event, Progress};
use rondo_core::tree::Mode;
use rondo_store::objects::{Objects, Stored, Take};

use crate::chunk::{Recipe, cut};
use crate::turn::{STALE, What};
use crate::{Error, Forgotten, Need, Remote};

struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: Event) {}
}

/// Bytes that no compression makes smaller, the same for the same seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; size];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn objects(&self, name: &str) -> Objects {
        Objects::open(&self.folder.path().join(name)).unwrap()
    }

    fn remote(&self, machine: &str) -> Remote {
        let place = self.folder.path().join("remote").to_string_lossy().into_owned();
        Remote::open(&place, &[], &self.folder.path().join(machine)).unwrap()
    }

    fn store(&self, objects: &Objects, files: &[(&str, Vec<u8>)]) -> Stored {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        objects.put_path(folder.path(), Take::Keep).unwrap()
    }
}

fn need(stored: Stored) -> Need {
    Need { digest: stored.digest, folder: stored.folder }
}

fn packs(house: &House) -> Vec<std::path::PathBuf> {
    files(&house.folder.path().join("remote/packs"))
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

#[tokio::test]
async fn what_was_pushed_is_pulled_elsewhere_and_nothing_goes_twice() {
    let house = House::new();
    let here = house.objects("here");
    let files: Vec<(String, Vec<u8>)> = (0..300)
        .map(|i| (format!("many/{}/{i}.txt", i % 7), format!("file {i}").repeat(i).into_bytes()))
        .chain([("large.bin".to_owned(), noise(1, 9 << 20)), ("nothing".to_owned(), Vec::new())])
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let stored = house.store(&here, &files);

    let pushed = house.remote("a").push(&here, &[need(stored)], Vec::new(), &Quiet).await.unwrap();
    assert!(pushed.objects > 300 && pushed.sent > 9 << 20, "{pushed:?}");
    assert!(packs(&house).len() < 4, "small files travel together");
    let again = house.remote("a").push(&here, &[need(stored)], Vec::new(), &Quiet).await.unwrap();
    assert_eq!((again.objects, again.sent), (0, 0));

    let there = house.objects("there");
    let pulled = house.remote("b").pull(&there, &[need(stored)], &Quiet).await.unwrap();
    assert_eq!(pulled.objects, pushed.objects);
    assert!(there.holds(stored.digest, true));
    let place = house.folder.path().join("out");
    there.check_out(stored.digest, Mode::Folder, &place).unwrap();
    assert_eq!(Objects::digest_path(&place).unwrap().digest, stored.digest);
    let again = house.remote("b").pull(&there, &[need(stored)], &Quiet).await.unwrap();
    assert_eq!((again.objects, again.received), (0, 0));
}

#[tokio::test]
async fn a_byte_in_a_large_file_sends_a_chunk() {
    let house = House::new();
    let here = house.objects("here");
    let mut bytes = noise(2, 24 << 20);
    let before = house.store(&here, &[("large", bytes.clone())]);
    let whole = house.remote("a").push(&here, &[need(before)], Vec::new(), &Quiet).await.unwrap();
    bytes.insert(11 << 20, 7);
    let after = house.store(&here, &[("large", bytes)]);
    let part = house.remote("a").push(&here, &[need(after)], Vec::new(), &Quiet).await.unwrap();
    assert!(whole.sent > 24 << 20 && part.sent < 5 << 20, "{whole:?} {part:?}");
    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(after)], &Quiet).await.unwrap();
    assert!(there.holds(after.digest, true));
}

#[tokio::test]
async fn a_file_that_is_half_here_goes_on_and_spoilt_bytes_of_it_come_again() {
    let house = House::new();
    let here = house.objects("here");
    let bytes = noise(3, 12 << 20);
    let stored = here.put_bytes(&bytes).unwrap();
    house.remote("a").push(&here, &[need(stored)], Vec::new(), &Quiet).await.unwrap();
    let remote = house.remote("b");
    let mut half = bytes[..8 << 20].to_vec();
    *half.last_mut().unwrap() ^= 1;
    fs::write(remote.cache("partial").unwrap().join(stored.digest.hex()), half).unwrap();
    let there = house.objects("there");
    let pulled = remote.pull(&there, &[need(stored)], &Quiet).await.unwrap();
    assert!(there.holds(stored.digest, false));
    assert!(pulled.received < 7 << 20, "{pulled:?}");
    assert!(files(&remote.cache("partial").unwrap()).is_empty());
}

#[tokio::test]
async fn bytes_that_are_not_what_they_are_called_never_become_objects() {
    let house = House::new();
    let here = house.objects("here");
    let stored = house.store(&here, &[("a", noise(4, 3000)), ("b", noise(5, 3000))]);
    house.remote("a").push(&here, &[need(stored)], Vec::new(), &Quiet).await.unwrap();
    for pack in packs(&house) {
        let mut bytes = fs::read(&pack).unwrap();
        bytes[100] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    let there = house.objects("there");
    let failed = house.remote("b").pull(&there, &[need(stored)], &Quiet).await;
    assert!(matches!(failed, Err(Error::Corrupt { .. })), "{failed:?}");
    for pack in packs(&house) {
        let bytes = fs::read(&pack).unwrap();
        fs::write(&pack, &bytes[..bytes.len() - 2000]).unwrap();
    }
    let failed = house.remote("b").pull(&there, &[need(stored)], &Quiet).await;
    assert!(matches!(failed, Err(Error::Corrupt { .. } | Error::Unavailable { .. })), "{failed:?}");
    assert!(!there.holds(stored.digest, true));
}

#[tokio::test]
async fn what_can_be_had_comes_past_spoilt_bytes_in_one_pull() {
    let house = House::new();
    let here = house.objects("here");
    let small: Vec<(String, Vec<u8>)> =
        (0..6_u64).map(|number| (number.to_string(), noise(number, 3000))).collect();
    let named: Vec<(&str, Vec<u8>)> =
        small.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let large = here.put_bytes(&noise(40, 5 << 20)).unwrap();
    let stored = house.store(&here, &named);
    house.remote("a").push(&here, &[need(stored), need(large)], Vec::new(), &Quiet).await.unwrap();
    let [pack] = packs(&house).try_into().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let spoilt = &small[2].1;
    let at = bytes.windows(64).position(|part| part == &spoilt[..64]).unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let mut wanted: Vec<Digest> = small.iter().map(|(_, bytes)| Digest::of(bytes)).collect();
    wanted.extend([stored.digest, large.digest, Digest::of(b"was never there")]);
    let there = house.objects("there");
    let pulled = house.remote("b").pull_whole(&there, &wanted, &Quiet).await.unwrap();
    assert_eq!(pulled.objects, 7);
    let here_now = |digest: &Digest| there.holds(*digest, false);
    assert_eq!(wanted.iter().filter(|digest| !here_now(digest)).count(), 2);
    assert!(!here_now(&Digest::of(spoilt)) && here_now(&large.digest) && here_now(&stored.digest));
    // Of a pack that was cut short, what lies before the cut comes.
    let last =
        bytes.windows(64).rposition(|part| small.iter().any(|(_, bytes)| part == &bytes[..64])).unwrap();
    fs::write(&pack, &bytes[..last + 10]).unwrap();
    let there = house.objects("later");
    let remote = house.remote("c");
    let pulled = remote.pull_whole(&there, &wanted, &Quiet).await.unwrap();
    assert!((4..7).contains(&pulled.objects), "{pulled:?}");
    assert!(matches!(remote.pull(&there, &[need(stored)], &Quiet).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn an_empty_file_travels_too() {
    let house = House::new();
    let here = house.objects("here");
    let empty = need(here.put_bytes(b"").unwrap());
    house.remote("a").push(&here, &[empty], Vec::new(), &Quiet).await.unwrap();
    let there = house.objects("there");
    house.remote("b").pull(&there, &[empty], &Quiet).await.unwrap();
    assert_eq!(there.read(empty.digest).unwrap(), b"");
}

#[tokio::test]
async fn what_is_missing_is_named_on_both_sides() {
    let house = House::new();
    let here = house.objects("here");
    let nowhere = Digest::of(b"nowhere");
    let pushed = house.remote("a").push(&here, &[Need::file(nowhere)], Vec::new(), &Quiet).await;
    assert!(matches!(pushed, Err(Error::Store(rondo_store::Error::ObjectNotFound(d))) if d == nowhere));
    let pulled = house.remote("a").pull(&here, &[Need::folder(nowhere)], &Quiet).await;
    assert!(matches!(pulled, Err(Error::Missing { digest, .. }) if digest == nowhere));
}

#[tokio::test]
async fn many_segments_become_one_and_readers_of_the_old_ones_find_it() {
    let house = House::new();
    let here = house.objects("here");
    let mut stored = Vec::new();
    for i in 0..40 {
        let one = need(here.put_bytes(format!("file {i}").as_bytes()).unwrap());
        house.remote("a").push(&here, &[one], Vec::new(), &Quiet).await.unwrap();
        if i == 5 {
            assert_eq!(house.remote("b").index().await.unwrap().len(), 6);
        }
        stored.push(one);
    }
    assert!(files(&house.folder.path().join("remote/index")).len() < 32);
    let there = house.objects("there");
    house.remote("b").pull(&there, &stored, &Quiet).await.unwrap();
    assert!(stored.iter().all(|need| there.holds(need.digest, false)));
}

#[tokio::test]
async fn a_listing_that_was_sent_as_a_file_is_no_folder_yet() {
    let house = House::new();
    let here = house.objects("here");
    let folder = house.store(&here, &[("a", b"a".to_vec())]);
    house.remote("a").push(&here, &[Need::file(folder.digest)], Vec::new(), &Quiet).await.unwrap();
    let pushed = house.remote("a").push(&here, &[need(folder)], Vec::new(), &Quiet).await.unwrap();
    assert_eq!(pushed.objects, 2);
    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(folder)], &Quiet).await.unwrap();
    assert!(there.holds(folder.digest, true));
}

#[tokio::test]
async fn a_newer_format_and_what_is_no_address_are_refused() {
    let house = House::new();
    let remote = house.remote("a");
    assert!(remote.index().await.unwrap().is_empty());
    fs::write(house.folder.path().join("remote/format"), "7\n").unwrap();
    assert!(matches!(remote.index().await, Err(Error::Newer { found, .. }) if found == "7"));
    for address in ["ftp://x/y", "s3://", "nonsense://x", "s3://bucket:prefix", "s3://a b/c"] {
        let opened = Remote::open(address, &[], house.folder.path());
        assert!(matches!(opened, Err(Error::Address { .. })), "{address}: {opened:?}");
    }
}

#[tokio::test]
async fn notes_are_listed_by_folder() {
    let house = House::new();
    let remote = house.remote("a");
    assert_eq!(remote.notes("dataset").await.unwrap(), Vec::<String>::new());
    remote.keep("dataset/x/2", "two").await.unwrap();
    remote.keep("dataset/x/1", "one").await.unwrap();
    assert!(!remote.keep_new("dataset/x/1", "other").await.unwrap());
    assert_eq!(remote.notes("dataset").await.unwrap(), ["x/1", "x/2"]);
    assert_eq!(remote.note("dataset/x/1").await.unwrap().unwrap(), "one");
    assert_eq!(remote.note("dataset/x/3").await.unwrap(), None);
}

proptest! {
    #[test]
    fn a_recipe_is_read_as_it_was_written(chunks in prop::collection::vec((any::<[u8; 32]>(), 0..2_000_000u32), 0..9)) {
        let recipe = Recipe(chunks.into_iter().map(|(digest, length)| (Digest::from_bytes(digest), length)).collect());
        prop_assert_eq!(Recipe::decode(&recipe.encode()), Some(recipe));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn chunks_make_the_file_again(seed in any::<u64>(), size in 0..6_000_000usize) {
        let bytes = noise(seed, size);
        let chunks: Vec<u8> = cut(&*bytes).flat_map(|chunk| chunk.unwrap().data).collect();
        prop_assert!(chunks == bytes);
    }
}

fn reaches(_: &str, text: &str) -> Vec<Digest> {
    rondo_store::meta::marks::digests(text).collect()
}

fn note(name: &str, stored: Stored) -> Vec<(String, bytes::Bytes)> {
    vec![(name.to_owned(), stored.digest.hex().into())]
}

/// A note as it is.
async fn known(remote: &Remote, name: &str) -> Vec<Forgotten> {
    vec![Forgotten { name: name.to_owned(), text: remote.note(name).await.unwrap().unwrap() }]
}

#[tokio::test]
async fn a_clean_up_takes_what_no_note_reaches_and_no_more() {
    let house = House::new();
    let here = house.objects("here");
    let remote = house.remote("a");
    let mut large = noise(20, 24 << 20);
    let old = house
        .store(&here, &[("large", large.clone()), ("old", noise(21, 900)), ("inner/both", noise(22, 800))]);
    remote.push(&here, &[need(old)], note("old", old), &Quiet).await.unwrap();
    large[3 << 20] ^= 1;
    let new =
        house.store(&here, &[("large", large), ("new", noise(23, 900)), ("inner/both", noise(22, 800))]);
    remote.push(&here, &[need(new)], note("new", new), &Quiet).await.unwrap();
    let second = Duration::ZERO;

    let nothing = remote.sweep(&mut Vec::new(), reaches, second, true, &Quiet).await.unwrap();
    assert_eq!((nothing.packs, nothing.bytes), (0, 0), "all of it is reached: {nothing:?}");
    let before = packs(&house).len();
    let young = remote
        .sweep(&mut known(&remote, "old").await, reaches, Duration::from_secs(3600), false, &Quiet)
        .await
        .unwrap();
    assert_eq!(young.packs, 0, "what is young stays: {young:?}");
    let counted =
        remote.sweep(&mut known(&remote, "old").await, reaches, second, false, &Quiet).await.unwrap();
    assert_eq!(packs(&house).len(), before, "only counted");
    assert!(remote.note("old").await.unwrap().is_some());
    let done = remote.sweep(&mut known(&remote, "old").await, reaches, second, true, &Quiet).await.unwrap();
    assert_eq!(done, counted);
    assert!(remote.note("old").await.unwrap().is_none());

    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(new)], &Quiet).await.unwrap();
    assert!(there.holds(new.digest, true));
    // What was taken for there before is sent again.
    remote.push(&here, &[need(old)], note("old", old), &Quiet).await.unwrap();
    let fourth = house.objects("fourth");
    house.remote("c").pull(&fourth, &[need(old)], &Quiet).await.unwrap();
    assert!(fourth.holds(old.digest, true));
}

#[tokio::test]
async fn what_was_noted_within_the_grace_or_is_reached_by_now_is_not_forgotten() {
    let house = House::new();
    let here = house.objects("here");
    let remote = house.remote("a");
    let stored = house.store(&here, &[("file", noise(40, 900))]);
    let name = format!("dataset/d/{}", stored.digest.hex());
    remote.push(&here, &[need(stored)], note(&name, stored), &Quiet).await.unwrap();
    let mut forget = known(&remote, &name).await;
    remote.sweep(&mut forget, reaches, Duration::from_secs(3600), true, &Quiet).await.unwrap();
    assert!(forget.is_empty() && remote.note(&name).await.unwrap().is_some());
    remote.keep("consumer/x", stored.digest.hex()).await.unwrap();
    let mut forget = known(&remote, &name).await;
    remote.sweep(&mut forget, reaches, Duration::ZERO, true, &Quiet).await.unwrap();
    assert!(forget.is_empty() && remote.note(&name).await.unwrap().is_some());
    remote.forget("consumer/x").await.unwrap();
    let mut forget = known(&remote, &name).await;
    let mut renewed = known(&remote, &name).await;
    renewed[0].text = "as it was before it was written anew".into();
    remote.sweep(&mut renewed, reaches, Duration::ZERO, true, &Quiet).await.unwrap();
    assert!(renewed.is_empty() && remote.note(&name).await.unwrap().is_some());
    remote.sweep(&mut forget, reaches, Duration::ZERO, true, &Quiet).await.unwrap();
    assert!(forget[0].name == name && remote.note(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn of_a_pack_the_needed_part_is_written_anew_and_a_reader_with_an_old_index_goes_on() {
    let house = House::new();
    let here = house.objects("here");
    let remote = house.remote("a");
    let files: Vec<(String, Vec<u8>)> = (0..60).map(|i| (format!("f{i}"), noise(100 + i, 9000))).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let all = house.store(&here, &files);
    remote.push(&here, &[need(all)], note("all", all), &Quiet).await.unwrap();
    let few = house.store(&here, &files[..5]);
    remote.push(&here, &[need(few)], note("few", few), &Quiet).await.unwrap();
    let first = packs(&house);
    let swept =
        remote.sweep(&mut known(&remote, "all").await, reaches, Duration::ZERO, true, &Quiet).await.unwrap();
    assert!(swept.rewritten == 1 && swept.objects >= 55 && swept.bytes > 55 * 8000, "{swept:?}");
    assert!(packs(&house).iter().any(|pack| !first.contains(pack)));
    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(few)], &Quiet).await.unwrap();
    assert!(there.holds(few.digest, true));
    // What a killed clean-up leaves, packs that nothing lists, goes with the next one.
    let left = house.folder.path().join("remote/packs/ab").join(format!("ab{}", "0".repeat(62)));
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, b"left").unwrap();
    let again = remote.sweep(&mut Vec::new(), reaches, Duration::ZERO, true, &Quiet).await.unwrap();
    assert_eq!((again.packs, again.bytes), (1, 4));
    assert!(!left.exists());
}

#[tokio::test]
async fn a_push_and_a_clean_up_never_meet_and_what_was_killed_stands_in_nobodys_way() {
    let house = House::new();
    let here = house.objects("here");
    let remote = house.remote("a");
    let one = house.store(&here, &[("a", noise(30, 900))]);
    let turn = remote.turn(What::Sweep).await.unwrap();
    let refused = remote.push(&here, &[need(one)], Vec::new(), &Quiet).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    assert!(matches!(remote.turn(What::Sweep).await.map(drop), Err(Error::Busy { .. })));
    turn.holds().await.unwrap();
    turn.end().await.unwrap();
    let (first, second) = (remote.turn(What::Push).await.unwrap(), remote.turn(What::Push).await.unwrap());
    let refused = remote.sweep(&mut Vec::new(), reaches, Duration::ZERO, true, &Quiet).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "pushes go on beside each other, a clean-up waits");
    first.end().await.unwrap();
    second.end().await.unwrap();
    assert!(files(&house.folder.path().join("remote/turns")).is_empty());

    let killed = remote.turn(What::Sweep).await.unwrap();
    for left in files(&house.folder.path().join("remote/turns")) {
        let long_ago = std::time::SystemTime::now() - STALE - Duration::from_secs(1);
        fs::File::options().write(true).open(left).unwrap().set_modified(long_ago).unwrap();
    }
    remote.push(&here, &[need(one)], note("n", one), &Quiet).await.unwrap();
    assert!(matches!(killed.holds().await, Err(Error::Busy { .. })), "one that stood still too long stops");
}

fn pack_of(house: &House, digest: Digest) -> std::path::PathBuf {
    // The one that holds it, by what the index says.
    packs(house).into_iter().find(|path| path.ends_with(digest.hex())).unwrap()
}

/// A remote with two folders in packs of their own, of which the first file of the first is large.
async fn two_pushes(house: &House) -> (Objects, Stored, Stored) {
    let here = house.objects("here");
    let one = house.store(&here, &[("large", noise(21, 5 << 20)), ("a/small", b"small".to_vec())]);
    let two = house.store(&here, &[("other", b"other".to_vec())]);
    house.remote("a").push(&here, &[need(one)], Vec::new(), &Quiet).await.unwrap();
    house.remote("a").push(&here, &[need(two)], Vec::new(), &Quiet).await.unwrap();
    (here, one, two)
}

#[tokio::test]
async fn a_push_notices_a_pack_that_is_gone_and_sends_again_what_it_held() {
    let house = House::new();
    let (here, one, two) = two_pushes(&house).await;
    let remote = house.remote("a");
    for (cut, stored) in [(false, one), (true, one), (false, two)] {
        let index = remote.index().await.unwrap();
        let path = pack_of(&house, index.find(stored.digest).unwrap().0);
        match cut {
            true => fs::File::options().write(true).open(&path).unwrap().set_len(9).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        let survey = remote.survey(false, &Quiet).await.unwrap();
        assert!(survey.lost > 0 && !survey.is_sound() && !survey.index.has_folder(stored.digest));
        assert!(house.remote("b").pull(&house.objects("no"), &[need(stored)], &Quiet).await.is_err());
        fs::remove_dir_all(house.folder.path().join("no")).unwrap();
        let sweep = remote.sweep(&mut Vec::new(), reaches, Duration::ZERO, true, &Quiet).await;
        assert!(matches!(sweep, Err(Error::Damaged { .. })), "{sweep:?}");
        let again = remote.push(&here, &[need(one), need(two)], Vec::new(), &Quiet).await.unwrap();
        assert!(again.objects > 0 && again.sent > 0, "{again:?}");
        let there = house.objects("there");
        house.remote("b").pull(&there, &[need(one), need(two)], &Quiet).await.unwrap();
        assert!(there.holds(one.digest, true) && there.holds(two.digest, true));
        fs::remove_dir_all(house.folder.path().join("there")).unwrap();
    }
}

#[tokio::test]
async fn a_folder_without_one_of_its_files_is_no_folder_to_a_push() {
    let house = House::new();
    let here = house.objects("here");
    let remote = house.remote("a");
    let part = house.store(&here, &[("x/file", b"in a pack of its own".to_vec())]);
    let file = Digest::of(b"in a pack of its own");
    remote.push(&here, &[Need::file(file)], Vec::new(), &Quiet).await.unwrap();
    remote.push(&here, &[need(part)], Vec::new(), &Quiet).await.unwrap();
    let index = remote.index().await.unwrap();
    fs::remove_file(pack_of(&house, index.find(file).unwrap().0)).unwrap();
    let survey = remote.survey(false, &Quiet).await.unwrap();
    assert!(!survey.index.has_file(file) && !survey.index.has_folder(part.digest));
    assert!(survey.index.has_file(part.digest), "its listing is there");
    remote.push(&here, &[need(part)], Vec::new(), &Quiet).await.unwrap();
    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(part)], &Quiet).await.unwrap();
    assert!(there.holds(part.digest, true));
}

#[tokio::test]
async fn a_damaged_pack_is_found_by_reading_and_mended_from_what_is_here() {
    let house = House::new();
    let (here, one, two) = two_pushes(&house).await;
    let remote = house.remote("a");
    let sound = remote.survey(true, &Quiet).await.unwrap();
    assert!(sound.is_sound() && sound.bytes > 5 << 20, "{sound:?}");
    let index = remote.index().await.unwrap();
    let path = pack_of(&house, index.find(one.digest).unwrap().0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 << 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(remote.survey(false, &Quiet).await.unwrap().is_sound(), "of the same name and size");
    let survey = remote.survey(true, &Quiet).await.unwrap();
    // A chunk, and the recipe that only the pack as a whole vouches for.
    assert_eq!(survey.spoilt.len(), 2, "{:?}", survey.spoilt);
    assert!(!survey.index.has_folder(one.digest) && survey.index.has_folder(two.digest));
    // From a store that has nothing of it, nothing is mended, and it is said.
    let empty = house.objects("empty");
    remote.mend(&empty, survey, &[], &Quiet).await.unwrap();
    assert!(!remote.index().await.unwrap().has_folder(one.digest));
    let survey = remote.survey(true, &Quiet).await.unwrap();
    remote.mend(&here, survey, &[need(one)], &Quiet).await.unwrap();
    assert!(remote.survey(true, &Quiet).await.unwrap().is_sound());
    let there = house.objects("there");
    house.remote("b").pull(&there, &[need(one), need(two)], &Quiet).await.unwrap();
    assert!(there.holds(one.digest, true));
}

#[tokio::test]
async fn a_place_where_nothing_was_pushed_is_no_remote_and_no_folder_is_made() {
    let house = House::new();
    let typo = house.folder.path().join("typo");
    let opened = Remote::open_there(&typo.to_string_lossy(), &[], house.folder.path());
    assert!(matches!(opened, Err(Error::Nowhere { .. })) && !typo.exists());
    assert!(matches!(house.remote("a").exists().await, Err(Error::Nowhere { .. })));
}
