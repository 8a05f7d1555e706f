//! What the objects promise.

use super::*;

fn objects() -> (TempDir, Objects) {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::open(&folder.path().join("objects")).unwrap();
    (folder, objects)
}

#[test]
fn bytes_readers_and_files_of_one_content_are_one_object() {
    let (folder, objects) = objects();
    let file = folder.path().join("x");
    fs::write(&file, b"hello").unwrap();
    let stored = objects.put_bytes(b"hello").unwrap();
    assert_eq!(objects.put_reader(&b"hello"[..]).unwrap(), stored);
    assert_eq!(objects.put_path(&file, Take::Keep).unwrap(), stored);
    assert_eq!(Objects::digest_path(&file).unwrap(), stored);
    assert_eq!(stored.digest, Digest::of(b"hello"));
    assert_eq!(objects.read(stored.digest).unwrap(), b"hello");
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let (folder, objects) = objects();
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("sub/empty")).unwrap();
    fs::write(work.join("a b"), b"1").unwrap();
    fs::write(work.join("sub/run.sh"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let stored = objects.put_path(&work, Take::Keep).unwrap();
    assert_eq!((stored.files, stored.size, stored.folder), (2, 11, true));
    assert!(objects.holds(stored.digest, true));
    let back = folder.path().join("back");
    objects.check_out(stored.digest, Mode::Folder, &back).unwrap();
    assert_eq!(Objects::digest_path(&back).unwrap(), stored);
    let seen = folder.path().join("seen");
    objects.expose(stored.digest, true, &seen).unwrap();
    assert_eq!(fs::read(seen.join("a b")).unwrap(), b"1");
}

#[test]
fn a_moved_output_is_stored_and_gone_from_its_place() {
    let (folder, objects) = objects();
    let file = folder.path().join("out.bin");
    fs::write(&file, vec![7; 1 << 18]).unwrap();
    let stored = objects.put_path(&file, Take::Move).unwrap();
    assert!(!file.exists());
    assert_eq!(objects.read(stored.digest).unwrap().len(), 1 << 18);
    let mode = fs::metadata(objects.path(stored.digest).unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o227, 0, "objects are write-protected and nobody else's");
}

#[test]
fn corruption_is_found_when_read() {
    let (_folder, objects) = objects();
    let stored = objects.put_bytes(b"hello").unwrap();
    let place = objects.path(stored.digest).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&place, b"jello").unwrap();
    assert!(matches!(objects.read(stored.digest), Err(Error::Corrupt { .. })));
}

#[test]
fn a_link_in_a_circle_is_an_error_and_stores_nothing() {
    let (folder, objects) = objects();
    let work = folder.path().join("work");
    fs::create_dir_all(&work).unwrap();
    std::os::unix::fs::symlink(&work, work.join("again")).unwrap();
    assert!(objects.put_path(&work, Take::Keep).is_err());
}

#[test]
fn an_upload_that_is_dropped_leaves_nothing() {
    let (folder, objects) = objects();
    let mut upload = objects.upload().unwrap();
    upload.write(b"half").unwrap();
    drop(upload);
    let incoming = folder.path().join("objects/incoming");
    let own = fs::read_dir(&incoming).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(own).unwrap().count(), 0);
    drop(objects);
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0);
}

#[test]
fn who_only_reads_makes_no_folder() {
    let (folder, objects) = objects();
    let digest = objects.put_bytes(b"kept").unwrap().digest;
    drop(objects);
    let objects = Objects::open(&folder.path().join("objects")).unwrap();
    assert_eq!(objects.read(digest).unwrap(), b"kept");
    assert!(objects.damage(digest, false).unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("objects/incoming")).unwrap().count(), 0);
}
