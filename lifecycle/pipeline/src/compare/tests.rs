//! Each kind of difference, with files as the tools of the field write them.

use std::fs;
use std::io::Write;

use flate2::{Compression, GzBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::verdict::{Verdict, judge, name_randomness};
use super::*;

fn compared(old: &[u8], new: &[u8]) -> Vec<Finding> {
    bytes(old, new, &Marks::default(), 0)
}

fn only(old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Finding {
    let found = compared(old.as_ref(), new.as_ref());
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

fn zipped(year: u16, method: CompressionMethod, members: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let moment = DateTime::from_date_and_time(year, 2, 3, 4, 5, 6).unwrap();
    let options = SimpleFileOptions::default().last_modified_time(moment).compression_method(method);
    for (name, text) in members {
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzipped(mtime: u32, text: &[u8]) -> Vec<u8> {
    let mut writer = GzBuilder::new().mtime(mtime).write(Vec::new(), Compression::default());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

#[test]
fn what_archives_note_of_their_members_is_told_from_what_they_hold() {
    let store = CompressionMethod::Stored;
    let members = [("a.csv", "x\n1\n"), ("b.csv", "y\n2\n")];
    let base = zipped(2020, store, &members);
    let later = only(&base, zipped(2024, store, &members));
    assert_eq!(later.kind, Kind::Archive);
    assert!(later.text.contains("`a.csv`: 2020-02-03") && later.text.contains("1 more"), "{}", later.text);
    let turned = only(&base, zipped(2020, store, &[members[1], members[0]]));
    assert_eq!((turned.kind, turned.text.as_str()), (Kind::Archive, "its members stand in another order"));
    let long = [("a.csv", "x\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n")];
    let deflated = only(zipped(2020, store, &long), zipped(2020, CompressionMethod::Deflated, &long));
    assert_eq!(deflated.kind, Kind::Archive);
    let other = compared(&base, &zipped(2020, store, &[("a.csv", "x\n1\n"), ("c.csv", "y\n2\n")]));
    let places: Vec<_> = other.iter().map(|finding| (finding.kind, finding.place.as_str())).collect();
    assert_eq!(places, [(Kind::Members, "b.csv"), (Kind::Members, "c.csv")]);
    // An archive in a compressed file is looked into as well.
    let changed = zipped(2020, store, &[("a.csv", "x\n1\n"), ("b.csv", "y\n3\n")]);
    let found = compared(&gzipped(1, &base), &gzipped(1, &changed));
    assert_eq!((found[0].kind, found[0].place.as_str()), (Kind::Text, "b.csv"));
    assert_eq!(found[0].text, "line 2 was `2` and is `3`");
}

#[test]
fn a_gzip_file_with_another_time_holds_the_same() {
    let finding = only(gzipped(1, b"same"), gzipped(1_700_000_000, b"same"));
    assert_eq!(finding.kind, Kind::Gzip);
    assert!(finding.text.contains("1700000000"), "{}", finding.text);
    assert_eq!(only(gzipped(1, b"one"), gzipped(1, b"two")).kind, Kind::Text);
    // A gzip file that is none is bytes like any other.
    assert_eq!(only(b"\x1f\x8b\xff\xff one", b"\x1f\x8b\xff\xff two").kind, Kind::Bytes);
}

#[test]
fn numbers_in_texts_are_measured_and_whole_numbers_are_not_rounding() {
    let near = only("id,score\n1,0.1\n2,0.3\n", "id,score\n1,0.1\n2,0.30000000000000004\n");
    let spread = near.spread.unwrap();
    assert_eq!((near.kind, spread.count, spread.ulps), (Kind::Numbers, 1, 1));
    assert!(near.text.ends_with("first in line 3"), "{}", near.text);
    assert_eq!(only(r#"{"loss": 0.25}"#, r#"{"loss": 0.2500001}"#).kind, Kind::Numbers);
    assert_eq!(only("rows 12\n", "rows 13\n").kind, Kind::Text);
    assert_eq!(only("x 1.50\n", "x 1.5\n").kind, Kind::Formatting);
}

#[test]
fn orders_formats_times_and_identifiers_are_named() {
    for (old, new, kind) in [
        ("b\na\nc\n", "a\nb\nc\n", Kind::Order),
        (r#"["x", "y", ["p", "q"]]"#, r#"["y", ["q", "p"], "x"]"#, Kind::Order),
        (r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#, Kind::Formatting),
        ("made 2026-01-02T03:04:05.5Z by me", "made 2026-01-03T00:00:01.5Z by me", Kind::Clock),
        ("t=1763809000.123 x", "t=1763809111.7 x", Kind::Clock),
        (
            "id 0188a2f0-7c1e-4b0e-9f3e-0123456789ab",
            "id 99f8a2f0-7c1e-4b0e-9f3e-0123456789ff",
            Kind::Identifiers,
        ),
        ("at 0x7f1122334455 x", "at 0x7f9922334455 x", Kind::Identifiers),
        ("yes it is\n", "no it is not\n", Kind::Text),
        ("a\nb\n", "a\nb\nc\n", Kind::Text),
    ] {
        let finding = only(old, new);
        assert_eq!(finding.kind, kind, "{old} / {new}: {}", finding.text);
    }
}

#[test]
fn the_place_where_it_was_made_is_found_in_a_text() {
    let marks = Marks { old: vec!["/home/a/work/1".into()], new: vec!["/srv/b/2".into()] };
    let found = bytes(b"wrote /home/a/work/1/x.csv\n", b"wrote /srv/b/2/x.csv\n", &marks, 0);
    assert_eq!((found.len(), found[0].kind), (1, Kind::Place));
    let found = bytes(b"wrote /home/a/work/1/x.csv\n", b"wrote /srv/b/2/y.csv\n", &marks, 0);
    assert_eq!(found[0].kind, Kind::Text);
}

fn notebook(moment: &str, count: u32, said: &str) -> String {
    format!(
        r#"{{"nbformat": 4, "nbformat_minor": 5, "metadata": {{"papermill": {{"start_time": "{moment}"}}}},
        "cells": [{{"cell_type": "code", "id": "a{count}", "execution_count": {count}, "metadata": {{}},
        "source": ["print(x)"], "outputs": [{{"output_type": "stream", "name": "stdout", "text": ["{said}"]}}]}}]}}"#
    )
}

#[test]
fn what_a_notebook_notes_of_its_execution_is_told_from_what_it_says() {
    let base = notebook("2026-01-01T00:00:00", 1, "0.5");
    assert_eq!(only(&base, notebook("2026-02-02T00:00:00", 7, "0.5")).kind, Kind::NotebookRecord);
    let other = only(&base, notebook("2026-02-02T00:00:00", 1, "0.75"));
    assert_eq!((other.kind, other.place.as_str()), (Kind::Numbers, "cell 1, output"));
    assert_eq!(only(&base, notebook("2026-02-02T00:00:00", 1, "late")).kind, Kind::Text);
}

#[test]
fn arrays_of_fractions_are_measured() {
    let array = |descr: &str, values: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(values);
        file
    };
    let doubles = |a: f64, b: f64| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let near = only(array("<f8", &doubles(1.0, 2.0)), array("<f8", &doubles(1.0, 2.0 + 4.5e-16)));
    assert_eq!((near.kind, near.spread.unwrap().ulps), (Kind::Numbers, 1));
    let singles = |a: f32| [a.to_le_bytes(), a.to_le_bytes()].concat();
    assert_eq!(only(array("<f4", &singles(1.0)), array("<f4", &singles(1.5))).spread.unwrap().count, 2);
    assert_eq!(only(array("<i8", &[0; 16]), array("<i8", &[1; 16])).kind, Kind::Bytes);
    assert_eq!(only(array("<i8", &[0; 16]), array("<f8", &[0; 16])).kind, Kind::Shape);
}

#[test]
fn pickles_are_read_and_never_carried_out() {
    // {'a', 'b'} in both orders, protocol 4; [1.0] and [1.0000000000000002]; memory in other places.
    let set = |one: u8, two: u8| {
        let mut made = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8f\x94(\x8c\x01".to_vec();
        made.extend([one, 0x94, 0x8c, 1, two, 0x94, 0x90, b'.']);
        made
    };
    assert_eq!(only(set(b'a', b'b'), set(b'b', b'a')).kind, Kind::Order);
    assert_eq!(only(set(b'a', b'b'), set(b'a', b'c')).kind, Kind::Bytes);
    let number = |value: f64| [b"\x80\x03]q\x00G".as_slice(), &value.to_be_bytes(), b"a."].concat();
    let near = only(number(1.0), number(1.0 + f64::EPSILON));
    assert_eq!((near.kind, near.spread.unwrap().ulps), (Kind::Numbers, 1));
    assert_eq!(only(b"\x80\x03]q\x00.", b"\x80\x03]q\x05.").kind, Kind::Formatting);
    assert_eq!(only(b"\x80\x03\xff.", b"\x80\x03\xfe.").kind, Kind::Bytes);
}

#[test]
fn what_a_pickle_repeats_is_part_of_what_it_says() {
    // `pickle.dumps(["cat", "dog", "cat"])` and `pickle.dumps(["cat", "dog", "dog"])`, protocols 2 and 4.
    let two = |of: u8| {
        let head = b"\x80\x02]q\x00(X\x03\x00\x00\x00catq\x01X\x03\x00\x00\x00dogq\x02h".as_slice();
        [head, &[of], b"e."].concat()
    };
    let four = |of: u8| {
        let head = b"\x80\x04\x95\x13\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03cat\x94\x8c\x03dog\x94h";
        [head.as_slice(), &[of], b"e."].concat()
    };
    assert_eq!(only(two(1), two(2)).kind, Kind::Bytes);
    assert_eq!(only(four(1), four(2)).kind, Kind::Bytes);
    // The same under other numbers, and without the list's own number.
    let other = b"\x80\x02](X\x03\x00\x00\x00catq\x05X\x03\x00\x00\x00dogq\x01h\x05e.";
    assert_eq!(only(two(1), other).kind, Kind::Formatting);
    // `["dog", "cat", "cat"]` holds the same in another order, `["dog", "cat", "dog"]` does not.
    let turned = |of: u8| {
        let head = b"\x80\x02]q\x00(X\x03\x00\x00\x00dogq\x01X\x03\x00\x00\x00catq\x02h".as_slice();
        [head, &[of], b"e."].concat()
    };
    assert_eq!(only(two(1), turned(2)).kind, Kind::Order);
    assert_eq!(only(two(1), turned(1)).kind, Kind::Bytes);
}

#[tokio::test]
async fn more_differences_than_are_told_are_judged_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let store = rondo_store::Store::open(&root.path().join("store")).await.unwrap();
    let folder = |name: &str, shift: f64, last: &str| {
        let folder = root.path().join(name);
        fs::create_dir_all(folder.join("deep")).unwrap();
        for number in 0..120 {
            fs::write(folder.join(format!("deep/{number:03}.csv")), format!("x\n{}\n", 1.5 + shift)).unwrap();
        }
        fs::write(folder.join("zz.txt"), last).unwrap();
        let stored = store.objects().put_path(&folder, rondo_store::objects::Take::Keep).unwrap();
        let (name, reference) = (name.to_owned(), String::new());
        Link { name, reference, digest: stored.digest, size: stored.size, folder: true, executable: false }
    };
    let base = folder("a", 0.0, "same");
    let near = links(store.objects(), &base, &folder("b", 1e-12, "same"), &Marks::default()).unwrap();
    assert_eq!(near.len(), TOLD + 1);
    assert_eq!(near[0].place, "deep/000.csv");
    let rest = &near[TOLD];
    assert_eq!((rest.kind, rest.spread.unwrap().count), (Kind::Numbers, 70));
    assert!(rest.text.starts_with("in 70 more places 70 numbers differ"), "{}", rest.text);
    assert_eq!(judge(&near, Some(1e-9)), Verdict::WithinTolerance);
    assert_eq!(judge(&near, Some(1e-15)), Verdict::Different);
    // One that is not allowed counts also where it is not told.
    let other = links(store.objects(), &base, &folder("c", 1e-12, "other"), &Marks::default()).unwrap();
    assert_eq!(judge(&other, Some(1e-9)), Verdict::Different);
    assert_eq!((other.len(), other[TOLD + 1].kind), (TOLD + 2, Kind::Text));
}

#[tokio::test]
async fn folders_of_many_files_are_compared_by_name() {
    let root = tempfile::tempdir().unwrap();
    let store = rondo_store::Store::open(&root.path().join("store")).await.unwrap();
    let folder = |name: &str, files: &[&str]| {
        let folder = root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|file| fs::write(folder.join(file), "x").unwrap());
        let stored = store.objects().put_path(&folder, rondo_store::objects::Take::Keep).unwrap();
        let (name, reference) = (name.to_owned(), String::new());
        Link { name, reference, digest: stored.digest, size: stored.size, folder: true, executable: false }
    };
    let (old, new) = (folder("a", &["a", "b", "d"]), folder("b", &["b", "c", "d", "e"]));
    let found = links(store.objects(), &old, &new, &Marks::default()).unwrap();
    let told: Vec<(&str, &str)> = found.iter().map(|one| (one.place.as_str(), one.text.as_str())).collect();
    let come = "it was not there before";
    assert_eq!(told, [("a", "it is missing now"), ("c", come), ("e", come)]);
}

fn picture(compression: png::Compression, note: &str, first: u8) -> Vec<u8> {
    let mut made = Vec::new();
    let mut encoder = png::Encoder::new(&mut made, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(compression);
    encoder.add_text_chunk("Software".to_owned(), note.to_owned()).unwrap();
    let mut pixels = [7; 64];
    pixels[9] = first;
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    made
}

#[test]
fn pictures_are_compared_by_their_pixels() {
    let base = picture(png::Compression::Fast, "one 1.0", 7);
    assert_eq!(only(&base, picture(png::Compression::High, "two 2.0", 7)).kind, Kind::PictureEncoding);
    let other = only(&base, picture(png::Compression::Fast, "one 1.0", 8));
    assert_eq!((other.kind, other.text.as_str()), (Kind::Bytes, "1 pixels differ, first at (1, 1)"));
    assert_eq!(only(&base, &base[..40]).kind, Kind::Bytes);
}

#[test]
fn folders_are_compared_file_by_file_and_bytes_by_their_place() {
    let root = tempfile::tempdir().unwrap();
    let objects = Objects::open(&root.path().join("objects")).unwrap();
    let keep = |name: &str, files: &[(&str, &[u8])]| {
        let folder = root.path().join(name);
        fs::create_dir_all(folder.join("in")).unwrap();
        for (path, content) in files {
            fs::write(folder.join(path), content).unwrap();
        }
        let stored = objects.put_path(&folder, rondo_store::objects::Take::Keep).unwrap();
        let (name, reference) = ("out".to_owned(), "step.out".to_owned());
        Link { name, reference, digest: stored.digest, size: stored.size, folder: true, executable: false }
    };
    let old = keep("a", &[("same", b"1"), ("in/x.bin", b"\x00\x01\x02"), ("gone", b"1")]);
    let new = keep("b", &[("same", b"1"), ("in/x.bin", b"\x00\x01\x03"), ("come", b"1")]);
    let found = links(&objects, &old, &new, &Marks::default()).unwrap();
    let told: Vec<_> = found.iter().map(|f| (f.kind, f.place.as_str())).collect();
    assert_eq!(told, [(Kind::Members, "gone"), (Kind::Bytes, "in/x.bin"), (Kind::Members, "come")]);
    assert_eq!(found[1].text, "1 of 3 bytes differ, first at 2");
    assert_eq!(links(&objects, &old, &old, &Marks::default()).unwrap(), []);
}

#[test]
fn a_tolerance_allows_form_and_small_distances_and_nothing_else() {
    let near = compared(b"x 0.1\n", b"x 0.10000000000000002\n");
    assert_eq!(judge(&[], None), Verdict::Identical);
    assert_eq!(judge(&near, None), Verdict::Different);
    assert_eq!(judge(&near, Some(0.0)), Verdict::Different);
    assert_eq!(judge(&near, Some(1e-9)), Verdict::WithinTolerance);
    let header = compared(&gzipped(1, b"same"), &gzipped(2, b"same"));
    assert_eq!(
        (judge(&header, None), judge(&header, Some(0.0))),
        (Verdict::Different, Verdict::WithinTolerance)
    );
    assert_eq!(judge(&compared(b"yes", b"no"), Some(1.0)), Verdict::Different);
}

#[test]
fn what_two_tries_do_not_agree_on_was_drawn_by_lot() {
    let mut found = compared(b"drew 17\n", b"drew 23\n");
    name_randomness(&mut found, &compared(b"drew 23\n", b"drew 99\n"));
    assert_eq!(found[0].kind, Kind::Unseeded);
    assert!(found[0].text.contains("seed"), "{}", found[0].text);
    let mut rounding = compared(b"sum 0.1\n", b"sum 0.10000000000000002\n");
    name_randomness(&mut rounding, &compared(b"sum 0.1\n", b"sum 0.10000000000000003\n"));
    assert!(rounding[0].text.contains("no fixed order"), "{}", rounding[0].text);
    assert_eq!(judge(&rounding, Some(1e-9)), Verdict::WithinTolerance);
    let mut header = compared(&gzipped(1, b"same"), &gzipped(2, b"same"));
    name_randomness(&mut header, &compared(&gzipped(2, b"same"), &gzipped(3, b"same")));
    assert_eq!(header[0].kind, Kind::Gzip);
}
