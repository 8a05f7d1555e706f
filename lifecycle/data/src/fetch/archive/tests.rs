//! Archives, also hostile ones.

use std::io::Cursor;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn extract(name: &str, archive: &[u8], wanted: Wanted<'_>) -> Result<(Taken, Vec<u8>), Error> {
    taken_within(name, archive, wanted, Limits::default())
}

fn taken_within(
    name: &str,
    archive: &[u8],
    wanted: Wanted<'_>,
    limits: Limits,
) -> Result<(Taken, Vec<u8>), Error> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, archive).unwrap();
    let mut out = Vec::new();
    take(&path, wanted, &mut out, limits).map(|taken| (taken, out))
}

fn reason(error: Error) -> String {
    match error {
        Error::Archive { reason, .. } => reason,
        other => panic!("another error: {other}"),
    }
}

#[test]
fn the_only_file_of_an_archive_is_taken() {
    let junk: &[(&str, &[u8])] = &[("__MACOSX/._a.csv", b"x"), ("a.csv", b"a,b\n1,2\n")];
    for (name, archive) in [
        ("a.csv.zip", zip_of(junk)),
        ("a.tar", tar_of(junk)),
        ("a.tgz", gzip_of(&tar_of(junk))),
        ("a.csv.gz", gzip_of(b"a,b\n1,2\n")),
    ] {
        let (taken, bytes) = extract(name, &archive, Wanted::Single).unwrap();
        assert_eq!((taken.name.as_str(), taken.rest), ("a.csv", None), "{name}");
        assert_eq!(bytes, b"a,b\n1,2\n", "{name}");
    }
}

#[test]
fn a_path_is_found_with_or_without_the_top_folder_and_through_inner_archives() {
    let files: &[(&str, &[u8])] = &[("pkg-1.0/README", b"r"), ("pkg-1.0/pkg/data/f.csv.zip", b"inner")];
    for (name, archive) in
        [("p.tar.gz", gzip_of(&tar_of(files))), ("p.zip", zip_of(files)), ("p.tar", tar_of(files))]
    {
        for path in ["pkg-1.0/pkg/data/f.csv.zip", "pkg/data/f.csv.zip"] {
            let (taken, bytes) = extract(name, &archive, Wanted::At(path)).unwrap();
            assert_eq!((taken.rest, bytes.as_slice()), (None, b"inner".as_slice()), "{name} {path}");
        }
        let (taken, _) = extract(name, &archive, Wanted::At("pkg/data/f.csv.zip/f.csv")).unwrap();
        assert_eq!(taken.rest.as_deref(), Some("f.csv"));
        let Err(Error::SourceNotFound { near, .. }) = extract(name, &archive, Wanted::At("data/f.csv.zip"))
        else {
            panic!("found");
        };
        assert_eq!(near.as_deref(), Some("pkg/data/f.csv.zip"));
    }
}

#[test]
fn several_files_ask_for_a_name() {
    let files: &[(&str, &[u8])] = &[("a.csv", b"1"), ("b.csv", b"2")];
    for (name, archive) in [("x.zip", zip_of(files)), ("x.tar", tar_of(files))] {
        let Err(Error::SourceInvalid { hint: Some(hint), .. }) = extract(name, &archive, Wanted::Single)
        else {
            panic!("accepted");
        };
        assert!(hint.ends_with(&format!("{name}/a.csv")));
    }
    let empty = extract("x.zip", &zip_of(&[]), Wanted::Single).unwrap_err();
    assert_eq!(reason(empty), "it holds no file");
}

#[test]
fn names_that_lead_out_make_the_archive_suspect() {
    for name in ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "C:\\evil.csv", "..\\evil.csv"] {
        let archive = zip_of(&[("ok.csv", b"1"), (name, b"2")]);
        let error = extract("x.zip", &archive, Wanted::At("ok.csv")).unwrap_err();
        assert!(reason(error).contains("would lead out"), "{name}");
    }
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_old();
    header.as_old_mut().name[..11].copy_from_slice(b"../evil.csv");
    header.set_size(1);
    header.set_cksum();
    builder.append(&header, b"1".as_slice()).unwrap();
    let error = extract("x.tar", &builder.into_inner().unwrap(), Wanted::Single).unwrap_err();
    assert!(reason(error).contains("would lead out"));
}

#[test]
fn links_are_not_followed() {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "a.csv", "/etc/hostname").unwrap();
    let archive = builder.into_inner().unwrap();
    assert_eq!(reason(extract("x.tar", &archive, Wanted::Single).unwrap_err()), "it holds no file");
    assert!(matches!(extract("x.tar", &archive, Wanted::At("a.csv")), Err(Error::SourceNotFound { .. })));

    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("a.csv", "/etc/hostname", SimpleFileOptions::default()).unwrap();
    let archive = writer.finish().unwrap().into_inner();
    assert!(matches!(extract("x.zip", &archive, Wanted::At("a.csv")), Err(Error::SourceNotFound { .. })));
}

#[test]
fn an_archive_that_swells_beyond_its_ratio_or_the_total_is_stopped() {
    let zeros = vec![0; 1 << 20];
    let limits = Limits { ratio: 20, free: 1 << 10, ..Limits::default() };
    for (name, archive) in [
        ("x.zip", zip_of(&[("zeros", &zeros)])),
        ("x.tar.gz", gzip_of(&tar_of(&[("zeros", &zeros)]))),
        ("x.gz", gzip_of(&zeros)),
    ] {
        let error = taken_within(name, &archive, Wanted::Single, limits).unwrap_err();
        assert!(reason(error).contains("more than 20 times"), "{name}");
        let small = Limits { total: 1 << 16, ..Limits::default() };
        let error = taken_within(name, &archive, Wanted::Single, small).unwrap_err();
        assert!(reason(error).contains("more than 65536 bytes"), "{name}");
        assert!(extract(name, &archive, Wanted::Single).is_ok(), "{name}");
    }
}

#[test]
fn long_names_in_a_tar_are_read_and_bounded() {
    let long = format!("{}/a.csv", "folder-name/".repeat(20).trim_end_matches('/'));
    let (taken, _) = extract("x.tar", &tar_of(&[(&long, b"1")]), Wanted::Single).unwrap();
    assert_eq!(taken.name, long);
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 20);
    header.set_cksum();
    builder.append(&header, vec![b'a'; 1 << 20].as_slice()).unwrap();
    let error = extract("x.tar", &builder.into_inner().unwrap(), Wanted::Single).unwrap_err();
    assert!(reason(error).contains("too long"));
}

#[test]
fn broken_archives_are_refused() {
    for name in ["x.zip", "x.tar", "x.tar.gz", "x.csv.gz", "x.whl"] {
        let error = extract(name, b"this is no archive, it only has the name of one", Wanted::Single);
        assert!(matches!(error, Err(Error::Archive { .. })), "{name}");
    }
    let mut cut = zip_of(&[("a.csv", &[7; 4000])]);
    cut.truncate(cut.len() / 2);
    assert!(matches!(extract("x.zip", &cut, Wanted::Single), Err(Error::Archive { .. })));
    let mut flipped = gzip_of(b"hello hello hello");
    let last = flipped.len() - 6;
    flipped[last] ^= 0xff; // in the checksum
    assert!(matches!(extract("x.gz", &flipped, Wanted::Single), Err(Error::Archive { .. })));
}
