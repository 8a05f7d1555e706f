//! Workbooks part by part. A workbook is an archive whose checksums the engine cannot guess, so that what it
//! makes of a whole one seldom gets past them: here one part is its own, and the rest is put around it.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::tables::read_as;

type Part = (&'static str, &'static [u8]);

const ODS: [Part; 3] = [
    ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
    ("META-INF/manifest.xml", b"<manifest:manifest/>"),
    ("content.xml", b""),
];

const XLSX: [Part; 5] = [
    (
        "xl/workbook.xml",
        b"<workbook xmlns:r=\"r\"><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>",
    ),
    (
        "xl/_rels/workbook.xml.rels",
        b"<Relationships><Relationship Id=\"r1\" Target=\"worksheets/sheet1.xml\"/></Relationships>",
    ),
    ("xl/styles.xml", b"<styleSheet><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"22\"/></cellXfs></styleSheet>"),
    ("xl/sharedStrings.xml", b"<sst><si><t>a</t></si><si><t>b</t></si></sst>"),
    (
        "xl/worksheets/sheet1.xml",
        b"<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c></row></sheetData></worksheet>",
    ),
];

const XLSB: [Part; 4] = [
    (
        "xl/_rels/workbook.bin.rels",
        b"<Relationships><Relationship Id=\"r\" Target=\"worksheets/sheet1.bin\"/></Relationships>",
    ),
    (
        "xl/workbook.bin",
        b"\x83\x01\0\x99\x01\x0c\0\0\0\0\0\0\0\0\0\0\0\0\x8f\x01\0\x9c\x01\x14\0\0\0\0\x01\0\0\0\x01\0\0\0r\0\x01\0\0\0S\0\x90\x01\0\x9d\x01\0\x84\x01\0",
    ),
    ("xl/sharedStrings.bin", b""),
    ("xl/worksheets/sheet1.bin", b""),
];

fn around(parts: &[Part], own: &str, bytes: &[u8]) {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, fixed) in parts {
        let content = if *name == own { bytes } else { fixed };
        let is_there = !content.is_empty() || *name == own;
        if is_there && (zip.start_file(*name, options).is_err() || zip.write_all(content).is_err()) {
            return;
        }
    }
    if let Ok(archive) = zip.finish() {
        read_as(".xlsx", archive.get_ref());
    }
}

/// The sheets of OpenDocument.
pub fn ods(bytes: &[u8]) {
    around(&ODS, "content.xml", bytes);
}

/// A part of Excel's workbook: the first byte says which.
pub fn xlsx(bytes: &[u8]) {
    let Some((which, part)) = bytes.split_first() else { return };
    let name = ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml"];
    around(&XLSX, name[usize::from(which % 4)], part);
}

/// A part of Excel's workbook in binary: the first byte says which.
pub fn xlsb(bytes: &[u8]) {
    let Some((which, part)) = bytes.split_first() else { return };
    let name = ["xl/worksheets/sheet1.bin", "xl/sharedStrings.bin", "xl/workbook.bin"];
    around(&XLSB, name[usize::from(which % 3)], part);
}
