//! What the scan promises: the same digest as the plain way, little reading, and no trust where none is due.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::objects::Stored;
use crate::{Error, Objects};

struct House {
    folder: TempDir,
    objects: Objects,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("store/objects")).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { folder, objects }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("store/stat/data.index")
    }

    fn walk(&self, root: &Path, index: Option<&Index>, pick: Option<&Pick<'_>>) -> Result<Scan, Error> {
        let store = self.folder.path().join("store");
        walk(&Request { root, pick, index, trusted: true, store: &store })
    }

    /// Adds all, as a dataset would; with how many bytes were read for it.
    fn add(&self, root: &Path) -> Result<(Stored, u64), Error> {
        let old = Index::read(&self.index());
        let mut scan = self.walk(root, old.as_ref(), None)?;
        let bulk = self.objects.bulk(|_| {});
        let read = AtomicU64::new(0);
        scan.settle(How::Store(&bulk), &Resume::none(), &|bytes| {
            read.fetch_add(bytes, Ordering::Relaxed);
        })?;
        let stored = scan.compose(old.as_ref(), &|tree| bulk.put_tree(tree), true)?;
        bulk.finish()?;
        scan.save(&self.index(), old.as_ref(), stored.digest, Some(stored.digest))?;
        Ok((stored, read.into_inner()))
    }

    /// Waits until no stamp of before is too young to be trusted.
    fn settle_down(&self) {
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
}

#[test]
fn a_folder_gets_the_digest_that_it_has_and_is_not_read_twice() {
    let house = House::new();
    house.write("b/run.sh", b"#!/bin/sh\n");
    fs::set_permissions(house.data().join("b/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    house.write("a\nb", b"newline");
    house.write("big.bin", &vec![3; 700_000]);
    fs::create_dir(house.data().join("empty")).unwrap();
    symlink("big.bin", house.data().join("link")).unwrap();
    house.settle_down();
    let (stored, read) = house.add(&house.data()).unwrap();
    assert_eq!(stored, Objects::digest_path(&house.data()).unwrap());
    assert_eq!((stored.files, read), (4, 10 + 7 + 2 * 700_000));
    assert!(house.objects.holds(stored.digest, true));
    let index = Index::read(&house.index()).unwrap();
    assert!(house.walk(&house.data(), Some(&index), None).unwrap().is_unchanged());
    assert_eq!(house.add(&house.data()).unwrap(), (stored, 0));
}

#[test]
fn only_what_has_changed_is_read() {
    let house = House::new();
    for number in 0..50 {
        house.write(&format!("{}/{number}", number % 5), format!("file {number}").as_bytes());
    }
    house.settle_down();
    house.add(&house.data()).unwrap();
    house.write("3/13", b"changed!!");
    fs::remove_file(house.data().join("2/12")).unwrap();
    house.write("4/new", b"new");
    fs::set_permissions(house.data().join("1/11"), fs::Permissions::from_mode(0o755)).unwrap();
    let (stored, read) = house.add(&house.data()).unwrap();
    assert_eq!(read, 9 + 3 + 7, "changed, new, and one whose permissions were touched");
    assert_eq!(stored, Objects::digest_path(&house.data()).unwrap());
    // The order of the names in the index may be another than the folder's now: all are found all the same.
    house.settle_down();
    house.add(&house.data()).unwrap();
    let index = Index::read(&house.index()).unwrap();
    let scan = house.walk(&house.data(), Some(&index), None).unwrap();
    assert!(scan.is_unchanged());
    let files = scan.files(Some(&index), &|path| path.starts_with("3/")).unwrap();
    assert_eq!(files.len(), 10);
    assert!(files.iter().any(|file| file.path == "3/13" && file.digest == Digest::of(b"changed!!")));
}

#[test]
fn a_young_stamp_is_read_again() {
    let house = House::new();
    house.write("a", b"one");
    let mut scan = house.walk(&house.data(), None, None).unwrap();
    scan.settle(How::Hash, &Resume::none(), &|_| {}).unwrap();
    let composed = scan.compose(None, &|tree| Ok(tree.digest()), false).unwrap();
    scan.save(&house.index(), None, composed.digest, None).unwrap();
    let index = Index::read(&house.index()).unwrap();
    assert_eq!(house.walk(&house.data(), Some(&index), None).unwrap().unread.files, 1);
}

#[test]
fn what_an_index_says_is_stored_counts_only_while_its_version_is_there() {
    let house = House::new();
    house.write("a", b"one");
    house.settle_down();
    house.add(&house.data()).unwrap();
    let index = Index::read(&house.index()).unwrap();
    let store = house.folder.path().join("store");
    let root = house.data();
    let request = Request { root: &root, pick: None, index: Some(&index), trusted: false, store: &store };
    let mut scan = walk(&request).unwrap();
    assert!(!scan.is_unchanged());
    fs::remove_file(house.objects.require(Digest::of(b"one")).unwrap()).unwrap();
    let bulk = house.objects.bulk(|_| {});
    scan.settle(How::Store(&bulk), &Resume::none(), &|_| {}).unwrap();
    scan.compose(Some(&index), &|tree| bulk.put_tree(tree), true).unwrap();
    bulk.finish().unwrap();
    assert_eq!(house.objects.read(Digest::of(b"one")).unwrap(), b"one");
}

#[test]
fn a_damaged_index_is_none() {
    let house = House::new();
    house.write("a", b"one");
    house.add(&house.data()).unwrap();
    let whole = fs::read(house.index()).unwrap();
    for at in [0, 20, 70, whole.len() - 120, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(house.index(), &bytes).unwrap();
        assert!(Index::read(&house.index()).is_none(), "{at}");
    }
    for length in [0, 10, 40, whole.len() - 1] {
        fs::write(house.index(), &whole[..length]).unwrap();
        assert!(Index::read(&house.index()).is_none());
    }
}

#[test]
fn links_in_circles_links_to_nothing_and_odd_things_are_named() {
    let house = House::new();
    house.write("sub/a", b"1");
    let link = house.data().join("sub/again");
    symlink(house.data(), &link).unwrap();
    assert!(matches!(house.add(&house.data()), Err(Error::Loop { path, .. }) if path == link));
    fs::remove_file(&link).unwrap();
    symlink("again", &link).unwrap();
    assert!(matches!(house.add(&house.data()), Err(Error::Loop { path, .. }) if path == link));
    fs::remove_file(&link).unwrap();
    symlink("nowhere", &link).unwrap();
    assert!(matches!(house.add(&house.data()), Err(Error::Dangling { path }) if path == link));
    fs::remove_file(&link).unwrap();
    let odd = house.data().join(std::ffi::OsStr::from_bytes(b"b\xff"));
    fs::write(&odd, b"").unwrap();
    assert!(matches!(house.add(&house.data()), Err(Error::NotUtf8 { path }) if path == odd));
    fs::remove_file(&odd).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(house.data().join("s")).unwrap();
    assert!(matches!(house.add(&house.data()), Err(Error::Special { .. })));
    drop(socket);
    fs::remove_file(house.data().join("s")).unwrap();
    assert!(matches!(house.add(house.folder.path()), Err(Error::OwnStore { .. })));
    assert!(!house.index().exists());
}

#[test]
fn a_single_file_is_its_bytes() {
    let house = House::new();
    house.write("model.onnx", &vec![9; 300_000]);
    house.settle_down();
    let path = house.data().join("model.onnx");
    let (stored, read) = house.add(&path).unwrap();
    assert_eq!((stored.folder, stored.files, stored.size, read), (false, 1, 300_000, 300_000));
    assert_eq!(stored.digest, Digest::of(&vec![9; 300_000]));
    assert_eq!(house.add(&path).unwrap().1, 0);
    // A folder where a file was is another thing.
    assert!(house.add(&house.data()).unwrap().0.folder);
}

#[test]
fn what_was_stored_before_a_kill_is_not_read_again() {
    let house = House::new();
    house.write("a", b"one");
    house.write("b", b"two");
    house.settle_down();
    let partial = house.folder.path().join("store/stat/data.partial");
    let (digest, stamp) = Objects::digest_steady(&house.data().join("a")).unwrap();
    let resume = Resume::read(&partial);
    resume.appender()(&[(stamp, digest)]);
    house.objects.put_bytes(b"one").unwrap();
    // As if it was killed in the middle of the next note.
    let mut bytes = fs::read(&partial).unwrap();
    bytes.extend_from_slice(&[1; 30]);
    fs::write(&partial, bytes).unwrap();
    let resume = Resume::read(&partial);
    assert_eq!(resume.len(), 1);
    let mut scan = house.walk(&house.data(), None, None).unwrap();
    let bulk = house.objects.bulk(|_| {});
    fs::remove_file(house.data().join("a")).unwrap();
    scan.settle(How::Store(&bulk), &resume, &|_| {}).unwrap();
    Resume::done(&partial);
    assert!(!partial.exists());
}

#[test]
fn only_what_is_wanted_is_taken_and_folders_without_any_are_not() {
    let house = House::new();
    for name in ["a.csv", "a.txt", "deep/b.csv", "none/c.txt"] {
        house.write(name, name.as_bytes());
    }
    let pick = |path: &str, folder: bool| folder || path.ends_with(".csv");
    let mut scan = house.walk(&house.data(), None, Some(&pick)).unwrap();
    scan.settle(How::Hash, &Resume::none(), &|_| {}).unwrap();
    let found = scan.files(None, &|_| true).unwrap();
    assert_eq!(found.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.csv", "deep/b.csv"]);
    fs::remove_file(house.data().join("a.txt")).unwrap();
    fs::remove_dir_all(house.data().join("none")).unwrap();
    let composed = scan.compose(None, &|tree| Ok(tree.digest()), false).unwrap();
    assert_eq!(composed, Objects::digest_path(&house.data()).unwrap());
}

#[test]
fn what_is_half_put_into_place_is_left_out() {
    let house = House::new();
    house.write("a/b", b"b");
    let (whole, _) = house.add(&house.data()).unwrap();
    house.write("a/.b.2147483646.new", b"half");
    house.write(".a.2147483646.new/b", b"half");
    house.settle_down();
    assert_eq!(house.add(&house.data()).unwrap().0, whole);
    house.write("a/.b.new", b"somebody's own");
    assert_eq!(house.add(&house.data()).unwrap().0.files, 2);
}

#[test]
fn what_is_not_wanted_may_be_anything() {
    let house = House::new();
    house.write("a.csv", b"a");
    let strange = |name: &[u8]| house.data().join(std::ffi::OsStr::from_bytes(name));
    fs::write(strange(b"caf\xe9.txt"), "latin").unwrap();
    fs::create_dir(strange(b"caf\xe9")).unwrap();
    symlink("nowhere", house.data().join("stray")).unwrap();
    symlink("round", house.data().join("round")).unwrap();
    symlink("nowhere", strange(b"lost\xe9")).unwrap();
    let pick = |path: &str, folder: bool| !folder && path.ends_with(".csv");
    let mut scan = house.walk(&house.data(), None, Some(&pick)).unwrap();
    scan.settle(How::Hash, &Resume::none(), &|_| {}).unwrap();
    let files = scan.files(None, &|_| true).unwrap();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.csv"]);
    // What is wanted, or may lead to it, is named as before.
    symlink("nowhere", house.data().join("b.csv")).unwrap();
    let refused = house.walk(&house.data(), None, Some(&pick));
    assert!(matches!(refused, Err(Error::Dangling { path }) if path.ends_with("b.csv")));
    fs::remove_file(house.data().join("b.csv")).unwrap();
    fs::write(strange(b"caf\xe9.csv"), "latin").unwrap();
    assert!(matches!(house.walk(&house.data(), None, Some(&pick)), Err(Error::NotUtf8 { .. })));
}

#[test]
fn a_folder_of_very_many_files_is_kept_in_parts() {
    let house = House::new();
    for number in 0..5000_u32 {
        house.write(&format!("{number:05}"), &number.to_le_bytes());
    }
    let (stored, _) = house.add(&house.data()).unwrap();
    assert_eq!(house.objects.tree(stored.digest).unwrap().entries().len(), 5000);
    assert_eq!(stored, Objects::digest_path(&house.data()).unwrap());
    let mut marks = std::collections::HashSet::from([stored.digest]);
    assert!(house.objects.close_over(&mut marks).unwrap().is_empty());
    assert!(marks.len() > 5002, "parts and files are reached");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_changes_give_the_digest_of_the_folder(
        first in prop::collection::btree_set("[ab]{0,2}/?[c-e\n]{1,3}", 1..12),
        second in prop::collection::btree_set("[ab]{0,2}/?[c-e\n]{1,3}", 1..12),
    ) {
        let house = House::new();
        let names = |names: &BTreeSet<String>| -> Vec<String> {
            names.iter().map(|name| name.trim_start_matches('/').to_owned()).collect()
        };
        for (round, set) in [names(&first), names(&second)].into_iter().enumerate() {
            for name in set {
                let path = house.data().join(&name);
                if path.is_dir() || path.parent().unwrap().is_file() {
                    continue;
                }
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{round} {name}")).unwrap();
            }
            let (stored, _) = house.add(&house.data()).unwrap();
            prop_assert_eq!(stored, Objects::digest_path(&house.data()).unwrap());
            prop_assert!(house.objects.holds(stored.digest, true));
        }
    }
}
