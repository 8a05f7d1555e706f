//! What the readers promise, also of files that are no tables.

use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use proptest::prelude::*;
use rondo_core::Explain;

use super::*;
use crate::{columns, write};

mod dialects;
mod typed;

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn types(path: &Path) -> Vec<(String, ColumnType, bool)> {
    open(path).unwrap().columns().iter().map(|c| (c.name.clone(), c.column_type, c.nullable)).collect()
}

fn rows_of(path: &Path) -> Vec<String> {
    crate::records::open(path).unwrap().map(|row| serde_json::to_string(&row.unwrap()).unwrap()).collect()
}

fn message(path: &Path) -> String {
    let error = match open(path) {
        Err(error) => error,
        Ok(reader) => reader.filter_map(Result::err).next().unwrap(),
    };
    error.to_string().replace(&path.parent().unwrap().display().to_string(), "DIR")
}

#[test]
fn csv_types_come_from_every_row() {
    let mut text = String::from("a,b,c,d,e\n");
    for row in 0..20_000 {
        text.push_str(&format!("{row},{row},true,2013-01-01T00:00:00Z,\n"));
    }
    text.push_str("1,1.5,FALSE,2013-01-02,\n");
    let (_dir, path) = file("t.csv", text.as_bytes());
    assert_eq!(
        types(&path),
        [
            ("a".into(), ColumnType::Integer, false),
            ("b".into(), ColumnType::Number, false),
            ("c".into(), ColumnType::Boolean, false),
            ("d".into(), ColumnType::Timestamp, false),
            ("e".into(), ColumnType::String, true),
        ]
    );
    let reader = open(&path).unwrap();
    assert_eq!(reader.rows(), 20_001);
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 20_001);
    assert_eq!(columns::f64s(&path, "b").unwrap().last(), Some(&Some(1.5)));
}

#[test]
fn quotes_delimiters_and_byte_order_marks_are_understood() {
    let (_dir, path) = file("t.csv", "\u{feff}id;text\r\n1;\"a;b\"\"c\nd\"\r\n2;é\r\n".as_bytes());
    assert_eq!(rows_of(&path), [r#"{"id":1,"text":"a;b\"c\nd"}"#, r#"{"id":2,"text":"é"}"#]);
    let (_dir, path) = file("t.tsv", b"a\tb,c\n1\t2,5\n");
    assert_eq!(rows_of(&path), [r#"{"a":1,"b,c":"2,5"}"#]);
    let (_dir, path) = file("table", b"a|b\n1|2\n");
    assert_eq!(rows_of(&path), [r#"{"a":1,"b":2}"#]);
}

#[test]
fn null_words_and_headers_are_options() {
    let (_dir, path) = file("t.csv", b"1,NA\n2,x\n");
    let options = ReadOptions { header: false, null_words: vec![String::new()], ..ReadOptions::default() };
    let reader = open_with(&path, &options).unwrap();
    assert_eq!(reader.columns()[1].name, "column_2");
    let batch = reader.into_iter().next().unwrap().unwrap();
    assert_eq!(crate::records::value_of(batch.column(1), 0), "NA");
}

#[test]
fn broken_text_is_refused_with_its_line() {
    let (_dir, path) = file("t.csv", b"a,b\n1,2\n1,2,3\n");
    assert_eq!(message(&path), "`DIR/t.csv`, line 3: 3 fields, but the first line has 2");
    let (_dir, path) = file("t.csv", b"a,b\n1,2\n\n1,\xff\n");
    assert_eq!(message(&path), "`DIR/t.csv`, line 4: column 3: 0xff is not UTF-8");
    let (_dir, path) = file("t.csv", b"a,a\n1,2\n");
    assert_eq!(message(&path), "`DIR/t.csv` has two columns named `a`");
    let (_dir, path) = file("t.csv", b"");
    assert_eq!(message(&path), "`DIR/t.csv` is empty");
    let (_dir, path) = file("t.ndjson", b"{\"a\": 1}\n{\"a\": }\n");
    assert!(
        message(&path).starts_with("`DIR/t.ndjson`, line 2: the record is not valid JSON"),
        "{}",
        message(&path)
    );
    let (_dir, path) = file("t.ndjson", b"{\"a\": 1}\n{\"a\": 1\n");
    assert_eq!(message(&path), "`DIR/t.ndjson`, line 2: the record does not end");
    let (_dir, path) = file("t.ndjson", b"{\"a\": 1}\noops\n");
    assert!(message(&path).starts_with("`DIR/t.ndjson`, line 2: expected a JSON object"));
    let (_dir, path) = file("archive", b"PK\x03\x04....");
    assert_eq!(message(&path), "`DIR/archive` is a zip archive, not a table that can be read");
    assert_eq!(open(Path::new("/nowhere/x.csv")).unwrap_err().code(), rondo_core::Code::SourceNotFound);
}

#[test]
fn an_array_has_to_be_whole_and_its_records_parted_by_commas() {
    for (text, told) in [
        ("[{\"a\": 1},\n{\"a\": 2}", "line 2: the array does not end: the file is cut short"),
        ("[{\"a\": 1},\n", "line 2: the array does not end: the file is cut short"),
        ("[", "line 1: the array does not end: the file is cut short"),
        ("[{\"a\": 1},\n{\"a\": 2},\n]", "line 3: a comma stands at the end of the array"),
        ("[{\"a\": 1}\n{\"a\": 2}]", "line 2: a comma is missing between two records"),
        ("[{\"a\": 1}]\n{\"a\": 2}", "line 2: something stands behind the end of the array"),
        ("[{\"a\": 1},, {\"a\": 2}]", "line 1: expected a JSON object"),
        ("[, {\"a\": 2}]", "line 1: expected a JSON object"),
        ("]", "line 1: expected a JSON object"),
    ] {
        let (_dir, path) = file("t.json", text.as_bytes());
        assert!(message(&path).starts_with(&format!("`DIR/t.json`, {told}")), "{text}: {}", message(&path));
    }
    let (_dir, path) = file("t.json", "\u{feff} [ {\"a\": 1} ,\n {\"a\": 2} ] \n".as_bytes());
    assert_eq!(rows_of(&path), [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[test]
fn json_is_read_by_lines_or_as_an_array() {
    let lines = b"{\"a\": 1, \"b\": \"x}\\\"\", \"at\": \"2013-01-01T00:00:00Z\"}\n\n{\"b\": null, \"a\": 2.5, \"n\": {\"k\": [1]}}\n";
    let (_dir, path) = file("t.ndjson", lines);
    assert_eq!(
        types(&path),
        [
            ("a".into(), ColumnType::Number, false),
            ("b".into(), ColumnType::String, true),
            ("at".into(), ColumnType::Timestamp, true),
            ("n".into(), ColumnType::String, true),
        ]
    );
    assert_eq!(
        rows_of(&path),
        [
            r#"{"a":1.0,"b":"x}\"","at":"2013-01-01T00:00:00Z","n":null}"#,
            r#"{"a":2.5,"b":null,"at":null,"n":"{\"k\":[1]}"}"#,
        ]
    );
    let (_dir, path) = file("t.json", b"[\n {\"a\": true},\n {\"a\": false}\n]\n");
    assert_eq!(rows_of(&path), [r#"{"a":true}"#, r#"{"a":false}"#]);
}

#[test]
fn a_folder_is_one_table_of_its_files_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.csv"), "y,x\nq,2.5\n").unwrap();
    fs::write(dir.path().join("a.csv"), "x,y\n1,\n").unwrap();
    fs::write(dir.path().join("_SUCCESS"), "").unwrap();
    fs::write(dir.path().join("readme.md"), "no table").unwrap();
    let reader = open(dir.path()).unwrap();
    assert_eq!(reader.rows(), 2);
    assert_eq!(reader.columns()[0].column_type, ColumnType::Number);
    assert_eq!(rows_of(dir.path()), [r#"{"x":1.0,"y":null}"#, r#"{"x":2.5,"y":"q"}"#]);
    let selected = open(dir.path()).unwrap().select(&["y"]).unwrap();
    assert_eq!(selected.map(|batch| batch.unwrap().num_columns()).max(), Some(1));
}

#[test]
fn a_part_without_a_column_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("1.csv"), "x,y\n1,2\n").unwrap();
    fs::write(dir.path().join("2.csv"), "x\n1\n").unwrap();
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("2.csv` has no column `y`, which"), "{text}");
    fs::write(dir.path().join("2.csv"), "x,y,z\n1,2,3\n").unwrap();
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("1.csv` has no column `z`, which"), "{text}");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(open(empty.path()).unwrap_err().code(), rondo_core::Code::TableInvalid);
}

fn parquet_of(csv: &str, path: &Path) {
    let (_dir, source) = file("t.csv", csv.as_bytes());
    let reader = open(&source).unwrap();
    write::parquet(path, reader.schema(), reader).unwrap();
}

#[test]
fn parquet_parts_widen_integers_only() {
    let dir = tempfile::tempdir().unwrap();
    parquet_of("x\n1\n", &dir.path().join("1.parquet"));
    parquet_of("x\n1.5\n", &dir.path().join("2.parquet"));
    assert_eq!(rows_of(dir.path()), [r#"{"x":1.0}"#, r#"{"x":1.5}"#]);
    parquet_of("x\nhello\n", &dir.path().join("3.parquet"));
    let text = open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("3.parquet` is string, but number in"), "{text}");
}

#[test]
fn a_cut_parquet_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    parquet_of("x,y\n1,a\n2,b\n", &path);
    let bytes = fs::read(&path).unwrap();
    for length in [0, 3, 4, 8, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(message(&path).starts_with("`DIR/t.parquet` is not a readable parquet file: "));
    }
}

#[test]
fn every_arrow_type_becomes_a_canonical_one() {
    use arrow_array::*;
    use arrow_schema::{DataType, TimeUnit};
    let arrays: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![1_i8]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("f32", Arc::new(Float32Array::from(vec![0.5_f32]))),
        ("view", Arc::new(StringViewArray::from(vec!["v"]))),
        ("date", Arc::new(Date32Array::from(vec![1]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![-1]).with_timezone("Europe/Berlin"))),
        ("s", Arc::new(TimestampSecondArray::from(vec![2]))),
        ("dict", Arc::new(DictionaryArray::<types::Int32Type>::from_iter(["d"]))),
        ("null", Arc::new(NullArray::new(1))),
        ("dec", Arc::new(Decimal128Array::from(vec![125]).with_precision_and_scale(5, 2).unwrap())),
    ];
    let fields: Vec<Field> =
        arrays.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.into_iter().map(|(_, a)| a).collect())
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write::parquet(&path, batch.schema(), [Ok(batch)]).unwrap();
    assert_eq!(
        rows_of(&path),
        [
            r#"{"i8":1,"u64":1.8446744073709552e+19,"f32":0.5,"view":"v","date":"1970-01-02T00:00:00Z","ns":"1969-12-31T23:59:59.999999Z","s":"1970-01-01T00:00:02Z","dict":"d","null":null,"dec":1.25}"#
        ]
    );
    let reader = open(&path).unwrap();
    assert_eq!(
        reader.schema().field(4).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
}

/// Reads all there is; what matters is that it comes back.
fn drain(path: &Path) {
    if let Ok(reader) = open(path) {
        reader.for_each(drop);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn readers_never_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for name in ["t.csv", "t.ndjson", "t.parquet", "t.arrow", "t.xlsx", "t"] {
            let (_dir, path) = file(name, &bytes);
            drain(&path);
        }
    }

    #[test]
    fn readers_never_panic_on_text_of_their_own_letters(csv in "[a,;\"\n1.é-]{0,80}", json in "[\\[{}\\]\":,a1\\\\ \n]{0,80}") {
        let (_dir, path) = file("t.csv", csv.as_bytes());
        drain(&path);
        let (_dir, path) = file("t.json", json.as_bytes());
        drain(&path);
    }

    #[test]
    fn a_parquet_file_with_a_changed_byte_never_panics(at in 0_usize..2000, byte in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        parquet_of("x,y,z\n1,a,0.5\n2,b,\n3,a,1.5\n", &path);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, &bytes).unwrap();
        drain(&path);
    }

    #[test]
    fn csv_gives_back_the_rows_that_were_written(rows in prop::collection::vec((any::<i64>(), "[a-z\",;\n ]{1,8}x"), 1..20)) {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(["n", "s"]).unwrap();
        for (number, text) in &rows {
            writer.write_record([number.to_string().as_str(), text]).unwrap();
        }
        let (_dir, path) = file("t.csv", &writer.into_inner().unwrap());
        let options = ReadOptions { delimiter: Some(b','), ..ReadOptions::default() };
        let reader = open_with(&path, &options).unwrap();
        prop_assert_eq!(reader.rows(), rows.len() as u64);
        let read: Vec<_> = crate::records::Records::new(reader).map(Result::unwrap).collect();
        for (record, (number, text)) in read.iter().zip(&rows) {
            prop_assert_eq!(&record["n"], &serde_json::json!(number));
            prop_assert_eq!(&record["s"], &serde_json::json!(text));
        }
    }
}

#[test]
fn columns_are_found_by_name_wherever_they_stand_in_a_wide_table() {
    let names: Vec<String> = (0..2_000).map(|column| format!("c{column}")).collect();
    let values: Vec<String> = (0..2_000).map(|column| column.to_string()).collect();
    let (dir, csv) = file("t.csv", format!("{}\n{}\n", names.join(","), values.join(",")).as_bytes());
    let object: serde_json::Map<String, serde_json::Value> =
        names.iter().zip(0..).map(|(name, value)| (name.clone(), i64::into(value))).collect();
    let json = dir.path().join("t.json");
    fs::write(&json, serde_json::to_vec(&object).unwrap()).unwrap();
    let parquet = dir.path().join("t.parquet");
    let reader = open(&csv).unwrap();
    write::parquet(&parquet, reader.schema(), reader).unwrap();
    let arrow = dir.path().join("t.arrow");
    let reader = open(&csv).unwrap();
    let out = File::create(&arrow).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(out, &reader.schema()).unwrap();
    reader.for_each(|batch| writer.write(&batch.unwrap()).unwrap());
    writer.finish().unwrap();
    for path in [csv, json, parquet, arrow] {
        let reader = open(&path).unwrap().select(&["c1999", "c0", "c1000"]).unwrap();
        let batch = reader.map(Result::unwrap).next().unwrap();
        let first = |column: &ArrayRef| column.as_primitive::<arrow_array::types::Int64Type>().value(0);
        let found: Vec<i64> = batch.columns().iter().map(first).collect();
        assert_eq!(found, [1999, 0, 1000], "{}", path.display());
    }
}
