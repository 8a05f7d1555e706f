//! What a folder of plain files promises.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn files() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(&folder.path().join("art")).unwrap();
    (folder, files)
}

fn put(files: &Files, path: &str, bytes: &[u8]) -> Result<(Digest, Facts), Error> {
    let mut upload = files.upload(path)?;
    upload.write(bytes)?;
    upload.finish()
}

fn delete(files: &Files, path: &str) -> Vec<String> {
    files.delete(path, &|_| false).unwrap().unwrap()
}

#[test]
fn what_is_written_is_a_plain_file_that_others_cannot_read() {
    let (_folder, files) = files();
    let (digest, facts) = put(&files, "0/run/artifacts/a b.txt", b"hello").unwrap();
    assert_eq!((digest, facts.size), (Digest::of(b"hello"), 5));
    let place = files.root().join("0/run/artifacts/a b.txt");
    assert_eq!(fs::read(&place).unwrap(), b"hello");
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o137, 0);
    assert_eq!(fs::metadata(place.parent().unwrap()).unwrap().permissions().mode() & 0o027, 0);
    let (mut file, found) = files.read("0/run/artifacts/a b.txt").unwrap().unwrap();
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text).unwrap();
    assert_eq!((text.as_str(), found), ("hello", facts));
    put(&files, "0/run/artifacts/a b.txt", b"again").unwrap();
    assert_eq!(files.list("0/run/artifacts").unwrap(), [("a b.txt".to_owned(), Some(5))]);
    assert_eq!(files.list("").unwrap(), [("0".to_owned(), None)]);
    assert!(files.read("0/run").unwrap().is_none() && files.read("nothing/x").unwrap().is_none());
    assert!(files.list("0/run/artifacts/a b.txt").unwrap().is_empty());
}

#[test]
fn no_path_and_no_link_leads_out() {
    let (folder, files) = files();
    fs::write(folder.path().join("canary"), b"secret").unwrap();
    symlink(folder.path(), files.root().join("out")).unwrap();
    symlink(folder.path().join("canary"), files.root().join("leak")).unwrap();
    symlink("../canary", files.root().join("relative")).unwrap();
    for path in [
        "../canary",
        "out/canary",
        "leak",
        "relative",
        "/etc/passwd",
        "a/../../canary",
        "out/../canary",
        ".",
        "..",
    ] {
        assert!(files.read(path).unwrap().is_none(), "{path}");
        assert!(files.list(path).unwrap().is_empty(), "{path}");
    }
    for path in ["../x", "out/x", "out", "/tmp/x", "a//b", "a/./b", "", ".rondo-incoming/x", "a\\b", "a\0b"] {
        let put = put(&files, path, b"x");
        assert!(put.is_err() || path == "out", "{path}");
    }
    for path in ["../canary", "out/canary", "relative/x", "", ".rondo-incoming"] {
        assert!(delete(&files, path).is_empty(), "{path}");
    }
    delete(&files, "leak");
    assert_eq!(fs::read(folder.path().join("canary")).unwrap(), b"secret");
    assert!(files.root().join(INCOMING).is_dir());
}

#[test]
fn a_link_within_may_be_followed() {
    let (_folder, files) = files();
    put(&files, "real/x", b"1").unwrap();
    symlink("real", files.root().join("link")).unwrap();
    put(&files, "link/y", b"2").unwrap();
    let names = |path: &str| files.list(path).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!((names("link"), names("real")), (vec!["x".into(), "y".into()], vec!["x".into(), "y".into()]));
}

#[test]
fn a_file_and_a_folder_do_not_take_each_others_place() {
    let (_folder, files) = files();
    put(&files, "a/b", b"1").unwrap();
    for path in ["a", "a/b/c"] {
        assert!(matches!(put(&files, path, b"2"), Err(Error::Special { .. })), "{path}");
    }
    let long = "x".repeat(300);
    assert!(matches!(put(&files, &long, b"2"), Err(Error::Special { .. })));
    assert_eq!(fs::read(files.root().join("a/b")).unwrap(), b"1");
    assert_eq!(files.delete("a", &|path| path == "a/b").unwrap(), None);
    assert_eq!(delete(&files, "a"), ["a/b"]);
    assert!(files.list("").unwrap().is_empty());
}

#[test]
fn an_upload_that_is_dropped_leaves_nothing() {
    let (_folder, files) = files();
    let mut upload = files.upload("a/b").unwrap();
    upload.write(b"half").unwrap();
    drop(upload);
    assert!(files.list("").unwrap().is_empty());
}
