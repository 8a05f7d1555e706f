//! Arrow files and workbooks.

use std::io::Write;

use arrow_array::{Int64Array, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::DataType;

use super::*;

fn batch(rows: i64) -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("s", DataType::Utf8, true)]);
    let ids = Int64Array::from_iter_values(0..rows);
    let texts: StringArray = (0..rows).map(|row| (row % 3 != 0).then(|| format!("t{row}"))).collect();
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(texts)]).unwrap()
}

fn arrow_file(compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let batch = batch(20_000);
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch.slice(0, 5)).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn arrow_stream() -> Vec<u8> {
    let batch = batch(7);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn arrow_files_and_streams_are_read_whatever_they_are_called() {
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        for name in ["t.arrow", "t.feather", "t"] {
            let (_dir, path) = file(name, &arrow_file(compression));
            let reader = open(&path).unwrap();
            assert_eq!(reader.rows(), 20_005);
            let rows: Vec<usize> = reader.map(|batch| batch.unwrap().num_rows()).collect();
            assert_eq!(rows, [BATCH_ROWS, 20_000 - BATCH_ROWS, 5]);
        }
    }
    let (_dir, path) = file("t.arrows", &arrow_stream());
    let reader = open(&path).unwrap().select(&["s"]).unwrap();
    assert_eq!((reader.rows(), reader.columns().len()), (7, 1));
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 7);
}

#[test]
fn a_cut_arrow_file_is_refused_and_a_changed_byte_never_panics() {
    for bytes in [arrow_file(None), arrow_stream()] {
        for length in [0, 5, 8, bytes.len() / 2, bytes.len() - 9] {
            let (_dir, path) = file("t.arrow", &bytes[..length]);
            let text = message(&path);
            assert!(text.starts_with("`DIR/t.arrow` is not a readable Arrow file: "), "{text}");
        }
        for at in (0..bytes.len()).step_by(bytes.len() / 60 + 1).chain(bytes.len() - 60..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let (_dir, path) = file("t.arrow", &damaged);
            if let Ok(reader) = open(&path) {
                reader.for_each(drop);
            }
        }
    }
}

#[test]
fn arrow_batches_that_claim_more_than_they_hold_are_refused() {
    use arrow_array::{Int64Array, NullArray};
    use arrow_ipc::writer::StreamWriter;
    let of = |array: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("a", array)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let (_dir, path) = file("t.arrows", &of(Arc::new(NullArray::new(1 << 40))));
    assert!(message(&path).contains("claims 1099511627776 rows"), "{}", message(&path));
    let (_dir, path) = file("t.arrows", &of(Arc::new(NullArray::new(1000))));
    assert_eq!(open(&path).unwrap().rows(), 1000);
    let options = IpcWriteOptions::default();
    let Ok(options) = options.try_with_compression(Some(CompressionType::LZ4_FRAME)) else {
        return;
    };
    let array: ArrayRef = Arc::new(Int64Array::from(vec![7; 10_000]));
    let batch = RecordBatch::try_from_iter([("a", array)]).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let bytes = writer.into_inner().unwrap();
    let (_dir, path) = file("t.arrows", &bytes);
    assert_eq!(open(&path).unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 10_000);
    let length = 80_000_i64.to_le_bytes();
    let at = bytes.windows(8).rposition(|part| part == length).unwrap();
    for claimed in [1_i64 << 40, -5, i64::MAX, 1 << 30] {
        let mut damaged = bytes.clone();
        damaged[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
        let (_dir, path) = file("t.arrows", &damaged);
        assert!(message(&path).contains("is not a readable Arrow file"), "{claimed}: {}", message(&path));
    }
}

#[test]
fn a_record_with_two_values_of_one_name_is_refused() {
    let (_dir, path) = file("t.ndjson", b"{\"a.b\":1,\"a\":{\"b\":2}}\n");
    let error = open_with(&path, &ReadOptions { flatten: true, ..ReadOptions::default() }).unwrap_err();
    assert!(error.to_string().ends_with("the record has two values of `a.b`"), "{error}");
}

#[test]
fn sheets_of_cells_far_apart_and_old_workbooks_are_refused() {
    let far = "<row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>";
    let (_dir, path) = file("t.xlsx", &workbook_with(far));
    let error = open_with(&path, &ReadOptions { sheet: Some("Sales".into()), ..ReadOptions::default() });
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("lie over 1048576 rows and 16384 columns: clear those far away"), "{error}");
    // Column XFE and row 1048577 are those behind the last.
    for (cell, place) in [("XFE9", "row 9, column 16385"), ("A1048577", "row 1048577, column ")] {
        let row = cell.trim_start_matches(char::is_alphabetic);
        let beyond = format!("<row r=\"{row}\"><c r=\"{cell}\"><v>1</v></c></row>");
        let (_dir, path) = file("t.xlsx", &workbook_with(&beyond));
        let error = open_with(&path, &ReadOptions { sheet: Some("Sales".into()), ..ReadOptions::default() });
        let error = error.unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("16384 columns"), "{error}");
    }
    let (_dir, path) = file("t.xls", &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
    let error = open(&path).unwrap_err();
    assert_eq!(error.hints(), ["save it as .xlsx, without a password"]);
}

/// A workbook of OpenDocument whose only sheet has these rows.
fn opendocument(rows: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut put = |name: &str, text: &str| {
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    };
    put("mimetype", "application/vnd.oasis.opendocument.spreadsheet");
    put("META-INF/manifest.xml", "<manifest:manifest/>");
    put(
        "content.xml",
        &format!(
            "<office:document-content><office:body><office:spreadsheet><table:table table:name=\"S\">{rows}</table:table></office:spreadsheet></office:body></office:document-content>"
        ),
    );
    zip.finish().unwrap().into_inner()
}

#[test]
fn repeated_cells_of_opendocument_are_read_as_far_as_they_are_not_too_many() {
    let row =
        |attributes: &str, cells: &str| format!("<table:table-row{attributes}>{cells}</table:table-row>");
    let text = |text: &str| {
        format!("<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>")
    };
    let number = |repeated: &str| {
        format!("<table:table-cell{repeated} office:value-type=\"float\" office:value=\"7\"/>")
    };
    let wide = " table:number-columns-repeated=\"16384\"";
    let long = " table:number-rows-repeated=\"1048576\"";
    let head = row("", &format!("{}{}", text("a"), text("b")));
    // As LibreOffice ends a sheet: blank cells and rows to its last corner.
    let end = row(long, &format!("<table:table-cell{wide}/>"));
    let twice = number(" table:number-columns-repeated=\"2\"");
    let rows = format!("{head}{}{end}", row(" table:number-rows-repeated=\"3\"", &twice));
    let (_dir, path) = file("t.ods", &opendocument(&rows));
    assert_eq!(rows_of(&path), [r#"{"a":7,"b":7}"#; 3]);

    let part = |rows: &str| {
        let (_dir, path) = file("t.ods", &opendocument(rows));
        message(&path)
    };
    let full = part(&format!("{head}{}", row(long, &number(wide))));
    assert!(
        full.ends_with("are repeated over 17179885568 places, more than are read: save it as .xlsx or .csv"),
        "{full}"
    );
    let corner =
        format!("{head}{}{}", row(long, ""), row("", &format!("<table:table-cell{wide}/>{}", number(""))));
    assert!(part(&corner).contains("places, more than are read"), "{}", part(&corner));
    let spaces = row("", &text("x<text:s text:c=\"99999999999\"/>"));
    assert!(part(&spaces).contains("repeated to more than 1 GiB"), "{}", part(&spaces));
    let escaped = row(" table:number-rows-repeated=\"&#49;048576\"", &number(wide));
    assert!(part(&escaped).contains("places, more than are read"), "{}", part(&escaped));
    // The reader would wait for an end that never comes.
    for cut in ["<table:table-row>", "<office:annotation>", "<table:table-row><table:table-cell"] {
        assert!(part(cut).contains("content.xml"), "{cut}: {}", part(cut));
    }
}

#[test]
fn workbooks_that_unpack_to_far_more_than_they_are_are_refused() {
    let mut zip = zip::ZipWriter::new_append(std::io::Cursor::new(workbook())).unwrap();
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("xl/sharedStrings.xml", options).unwrap();
    let blank = vec![b' '; 1 << 20];
    for _ in 0..80 {
        zip.write_all(&blank).unwrap();
    }
    let (_dir, path) = file("t.xlsx", &zip.finish().unwrap().into_inner());
    let error = message(&path);
    assert!(
        error.contains("bytes unpack to more than") && error.ends_with("which is more than is read"),
        "{error}"
    );
}

/// A workbook with an empty sheet and one whose table begins in its second row.
fn workbook() -> Vec<u8> {
    workbook_with("")
}

/// The same, with more rows under the table.
fn workbook_with(more: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut put = |name: &str, text: &str| {
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    };
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    put(
        "[Content_Types].xml",
        "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>",
    );
    put(
        "_rels/.rels",
        &format!(
            "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" Type=\"{rel}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
        ),
    );
    put(
        "xl/workbook.xml",
        &format!(
            "<workbook xmlns=\"{main}\" xmlns:r=\"{rel}\"><sheets><sheet name=\"Empty\" sheetId=\"1\" r:id=\"r1\"/><sheet name=\"Sales\" sheetId=\"2\" r:id=\"r2\"/><sheet name=\"Broken\" sheetId=\"3\" r:id=\"r3\"/></sheets></workbook>"
        ),
    );
    put(
        "xl/_rels/workbook.xml.rels",
        &format!(
            "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" Type=\"{rel}/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"r2\" Type=\"{rel}/worksheet\" Target=\"worksheets/sheet2.xml\"/><Relationship Id=\"r3\" Type=\"{rel}/worksheet\" Target=\"worksheets/sheet3.xml\"/></Relationships>"
        ),
    );
    put(
        "xl/styles.xml",
        &format!(
            "<styleSheet xmlns=\"{main}\"><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"22\"/></cellXfs></styleSheet>"
        ),
    );
    let sheet = |rows: &str| format!("<worksheet xmlns=\"{main}\"><sheetData>{rows}</sheetData></worksheet>");
    let text = |at: &str, text: &str| format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let number = |at: &str, number: &str| format!("<c r=\"{at}\"><v>{number}</v></c>");
    put("xl/worksheets/sheet1.xml", &sheet(""));
    let rows = [
        format!("<row r=\"1\">{}</row>", text("A1", "Report")),
        format!(
            "<row r=\"2\">{}{}{}{}</row>",
            text("A2", "city"),
            text("B2", "sold"),
            text("C2", "price"),
            text("D2", "at")
        ),
        format!(
            "<row r=\"3\">{}{}{}<c r=\"D3\" s=\"1\"><v>41275.5</v></c></row>",
            text("A3", "Bonn"),
            number("B3", "3"),
            number("C3", "1.5")
        ),
        format!(
            "<row r=\"4\">{}{}<c r=\"C4\" t=\"e\"><v>#N/A</v></c></row>",
            text("A4", "NA"),
            number("B4", "4")
        ),
    ];
    put("xl/worksheets/sheet2.xml", &sheet(&format!("{}{more}", rows.concat())));
    let broken = format!(
        "<row r=\"1\">{}</row><row r=\"2\"><c r=\"A2\" t=\"e\"><v>#DIV/0!</v></c></row>",
        text("A1", "x")
    );
    put("xl/worksheets/sheet3.xml", &sheet(&broken));
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_sheet_is_a_table() {
    let bytes = workbook();
    let (_dir, path) = file("t.xlsx", &bytes);
    let options = ReadOptions { skip: 1, ..ReadOptions::default() };
    let reader = open_with(&path, &options).unwrap();
    assert_eq!(reader.rows(), 2);
    let rows: Vec<String> = crate::records::Records::new(reader)
        .map(|row| serde_json::to_string(&row.unwrap()).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            r#"{"city":"Bonn","sold":3,"price":1.5,"at":"2013-01-01T12:00:00Z"}"#,
            r#"{"city":null,"sold":4,"price":null,"at":null}"#
        ]
    );
    let types = [("sold".to_owned(), ColumnType::Number)].into();
    let reader = open_with(&path, &ReadOptions { skip: 1, types, ..ReadOptions::default() }).unwrap();
    assert_eq!(reader.columns()[1].column_type, ColumnType::Number);
}

#[test]
fn sheets_cells_and_damaged_workbooks_are_named() {
    let bytes = workbook();
    let (_dir, path) = file("t.xlsx", &bytes);
    let of =
        |sheet: &str| open_with(&path, &ReadOptions { sheet: Some(sheet.into()), ..ReadOptions::default() });
    let error = of("sales").unwrap_err();
    assert!(error.to_string().ends_with("has no sheet `sales`, but Empty, Sales, Broken"), "{error}");
    assert_eq!(error.hints(), ["read: { sheet: \"Sales\" }"]);
    let error = of("Broken").unwrap_err().to_string();
    assert!(error.ends_with("cell A2: the cell holds the error #DIV/0!"), "{error}");
    assert!(of("Empty").unwrap_err().to_string().ends_with("is empty"));
    let (_dir, cut) = file("t.xlsx", &bytes[..bytes.len() / 2]);
    assert!(message(&cut).starts_with("`DIR/t.xlsx` is not a readable workbook: "), "{}", message(&cut));
    for at in (0..bytes.len()).step_by(37) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let (_dir, path) = file("t.xlsx", &damaged);
        if let Ok(reader) = open(&path) {
            reader.for_each(drop);
        }
    }
}
