//! What a page may claim.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::ZstdLevel;
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

use super::super::super::open;
use super::*;

/// A file of one column of so many zeros, all of them on one page.
fn zeros(rows: usize, compression: Compression, version: WriterVersion) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_dictionary_enabled(false)
        .set_encoding(parquet::basic::Encoding::PLAIN)
        .set_data_page_size_limit(usize::MAX)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(usize::MAX)
        .build();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![0; rows]));
    let batch = RecordBatch::try_from_iter([("zeros", column)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn zigzag(value: u64) -> Vec<u8> {
    varint(value << 1)
}

fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value >> 1
}

/// The file with another length claimed by its first page, which loses its last bytes to make room.
fn claiming(bytes: &[u8], claim: u64) -> Vec<u8> {
    assert_eq!((bytes[4], bytes[6]), (0x15, 0x15), "the first page's type and length");
    let mut at = 7;
    read_varint(bytes, &mut at);
    let kept = at;
    at += 1;
    let packed = read_varint(bytes, &mut at);
    let mut head = bytes[..7].to_vec();
    head.extend(zigzag(claim));
    let grown = (head.len() - kept) as u64;
    head.push(bytes[kept]);
    head.extend(zigzag(packed - grown));
    assert_eq!(head.len() as u64, at as u64 + grown, "the packed length takes as many bytes as before");
    let end = at + header_rest(&bytes[4..], at - 4) + packed as usize;
    head.extend(&bytes[at..end - grown as usize]);
    head.extend(&bytes[end..]);
    assert_eq!(head.len(), bytes.len());
    head
}

/// How many bytes of a header follow on its first `read`.
fn header_rest(bytes: &[u8], read: usize) -> usize {
    let (_, length) = header(bytes).unwrap();
    usize::try_from(length).unwrap() - read
}

fn header(bytes: &[u8]) -> io::Result<(Claim, u64)> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut header = Header { from: &mut BufReader::new(file), read: 0 };
    header.claim().map(|claim| (claim, header.read))
}

fn read(bytes: &[u8]) -> (u64, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, bytes).unwrap();
    let shown = |error: &crate::error::TableError, path: &Path| {
        error.to_string().replace(&path.parent().unwrap().display().to_string(), "DIR")
    };
    let mut rows = 0;
    for batch in open(&path).unwrap() {
        match batch {
            Ok(batch) => rows += batch.num_rows() as u64,
            Err(error) => return (rows, Some(shown(&error, &path))),
        }
    }
    (rows, None)
}

#[test]
fn a_page_that_claims_more_than_it_can_hold_is_refused_before_memory_is_taken() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let damaged = claiming(&zeros(20_000, Compression::SNAPPY, version), 2_000_000_000);
        let (rows, error) = read(&damaged);
        assert_eq!(rows, 0);
        let error = error.unwrap();
        assert!(
            error.contains("DIR/t.parquet")
                && error
                    .contains("the page at byte 4, of column `zeros`, claims to hold 2000000000 bytes in "),
            "{error}"
        );
    }
}

#[test]
fn zeros_packed_as_tightly_as_can_be_are_read() {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(19).unwrap());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let bytes = zeros(2_000_000, compression, version);
            let growth = 16_000_000 / bytes.len();
            match compression {
                Compression::SNAPPY => assert!(growth >= 20, "{growth}"),
                Compression::ZSTD(_) => assert!(growth > 5_000, "{growth}"),
                _ => {}
            }
            assert_eq!(read(&bytes), (2_000_000, None));
        }
    }
}

#[test]
fn a_header_is_read_as_its_writer_meant_it() {
    let bytes = zeros(20_000, Compression::SNAPPY, WriterVersion::PARQUET_1_0);
    let (claim, length) = header(&bytes[4..]).unwrap();
    // Levels of a column that may be null: their length, and one run of ones.
    assert!((160_000..160_010).contains(&claim.unpacked), "{}", claim.unpacked);
    assert!(claim.packed < 10_000 && length < 100);
}

#[test]
fn a_header_that_could_be_read_in_two_ways_is_damaged() {
    let fields: [(u8, Vec<u8>); 3] = [(0x15, zigzag(0)), (0x15, zigzag(100)), (0x15, zigzag(90))];
    let plain: Vec<u8> =
        fields.iter().flat_map(|(head, value)| [vec![*head], value.clone()].concat()).collect();
    let with = |more: &[u8]| [plain.as_slice(), more].concat();
    let (claim, length) = header(&with(&[0])).unwrap();
    assert_eq!((claim.unpacked, claim.packed, length as usize), (100, 90, plain.len() + 1));
    let cases: [(&str, Vec<u8>); 9] = [
        ("no end", plain.clone()),
        ("no lengths", vec![0x15, 0, 0]),
        ("a length again", with(&[0x05, 4, 2, 0])),
        ("a length that is text", [&[0x15, 0, 0x18], b"\x01a".as_slice(), &[0x15, 2, 0]].concat()),
        ("a negative length", vec![0x15, 0, 0x15, 1, 0x15, 2, 0]),
        ("a number of text in the page's own", with(&[0x2c, 0x18, 1, b'a', 0, 0])),
        ("a list", with(&[0x69, 0x15, 0, 0])),
        ("structures without end", with(&[0x9c; 4000])),
        ("a text longer than the file", with(&[0x98, 0xff, 0xff, 0xff, 0xff, 0x7f])),
    ];
    for (what, bytes) in cases {
        assert!(header(&bytes).is_err(), "{what}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_are_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((claim, length)) = header(&bytes) {
            prop_assert!(length <= bytes.len() as u64);
            prop_assert!(claim.unpacked <= i32::MAX as u64 && claim.packed <= i32::MAX as u64);
        }
    }
}
