//! Every type that a typed file can have, through a choice of rows and an added column.

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, UInt16Type};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Fields};

use super::*;
use crate::write;

const PANDAS: &str = r#"{"index_columns":[{"kind":"range","start":0,"stop":4,"step":1}],"columns":[]}"#;

fn lists() -> ArrayRef {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    lists.append_value([Some(4)]);
    Arc::new(lists.finish())
}

fn maps() -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
        maps.keys().append_value(key);
        maps.values().append_value(value);
        maps.append(true).unwrap();
    }
    Arc::new(maps.finish())
}

/// Four rows of every type that matters, with metadata on the schema and on a field.
fn every_type() -> RecordBatch {
    let moments = vec![Some(1_704_067_200_123_456), None, Some(-1), Some(7)];
    let inner = Fields::from(vec![
        Field::new("u", DataType::UInt64, true),
        Field::new("d", DataType::Decimal128(20, 3), false),
    ]);
    let structure: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(1), Some(2)])),
        Arc::new(Decimal128Array::from(vec![1, 2, 3, 4]).with_precision_and_scale(20, 3).unwrap()),
    ];
    let whole = |values: [i128; 4]| Decimal128Array::from(values.to_vec());
    let arrays: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![Some(-128), None, Some(1), Some(127)]))),
        ("i16", Arc::new(Int16Array::from(vec![-1, 2, 3, 4]))),
        ("i32", Arc::new(Int32Array::from(vec![-1, 2, 3, 4]))),
        ("u8", Arc::new(UInt8Array::from(vec![0, 255, 3, 4]))),
        ("u32", Arc::new(UInt32Array::from(vec![u32::MAX, 2, 3, 4]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1, 3, 4]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN), Some(-0.0)]))),
        ("dec", Arc::new(whole([10_i128.pow(37), 1, -1, 0]).with_precision_and_scale(38, 9).unwrap())),
        ("dec256", Arc::new(Decimal256Array::from(vec![i256::MAX, i256::ONE, i256::ZERO, i256::MINUS_ONE]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_723), None, Some(-1), Some(0)]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![1, 2, 3, 4]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(moments.clone()).with_timezone("Europe/Berlin"))),
        ("us", Arc::new(TimestampMicrosecondArray::from(moments.clone()).with_timezone("UTC"))),
        ("naive", Arc::new(TimestampMicrosecondArray::from(moments.clone()))),
        ("ms", Arc::new(TimestampMillisecondArray::from(moments).with_timezone("+02:00"))),
        ("word", Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("a"), None, Some("b"), Some("a")]))),
        ("wide", Arc::new(DictionaryArray::<UInt16Type>::from_iter(["x", "y", "x", "z"]))),
        ("long", Arc::new(LargeStringArray::from(vec!["a", "b", "c", "d"]))),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                Some("a longer text than fits in place"),
                None,
                Some(""),
                Some("d"),
            ])),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"", b"2", b"3"]))),
        ("list", lists()),
        ("map", maps()),
        ("both", Arc::new(StructArray::new(inner, structure, None))),
    ];
    let fields: Vec<Field> = arrays
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable()))
        .map(|field| match field.name().as_str() {
            "i8" => field.with_metadata(HashMap::from([("unit".to_owned(), "m".to_owned())])),
            _ => field,
        })
        .collect();
    let metadata = [("pandas".to_owned(), PANDAS.to_owned()), ("mine".to_owned(), "kept".to_owned())];
    let schema = Schema::new_with_metadata(fields, HashMap::from(metadata));
    RecordBatch::try_new(Arc::new(schema), arrays.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// What stands in a Parquet file, as Arrow reads it.
fn raw(path: &Path) -> RecordBatch {
    let (schema, batches) = original::open(path.into()).unwrap().unwrap();
    let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&schema, &batches).unwrap()
}

fn sources(folder: &Path) -> Vec<(PathBuf, RecordBatch)> {
    let batch = every_type();
    let parquet = folder.join("in.parquet");
    write::parquet(&parquet, batch.schema(), [Ok(batch.clone())]).unwrap();
    let arrow = folder.join("in.arrow");
    let file = File::create(&arrow).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    // Two files in a folder, in the order of their names.
    let parts = folder.join("parts");
    std::fs::create_dir(&parts).unwrap();
    write::parquet(&parts.join("a.parquet"), batch.schema(), [Ok(batch.slice(0, 1))]).unwrap();
    write::parquet(&parts.join("b.parquet"), batch.schema(), [Ok(batch.slice(1, 3))]).unwrap();
    [parquet, arrow, parts].map(|path| (path, batch.clone())).to_vec()
}

#[test]
fn chosen_rows_keep_every_columns_type_and_value() {
    let folder = tempfile::tempdir().unwrap();
    for (source, batch) in sources(folder.path()) {
        let (one, two) = (folder.path().join("one.parquet"), folder.path().join("two.parquet"));
        assert_eq!(by_part(&source, &[0, 1, 1, 0], &[Some(&one), Some(&two)]).unwrap(), [2, 2]);
        let wanted = |rows: [u32; 2]| {
            arrow_select::take::take_record_batch(&batch, &UInt32Array::from(rows.to_vec())).unwrap()
        };
        for (path, rows) in [(&one, [0, 3]), (&two, [1, 2])] {
            let (found, wanted) = (raw(path), wanted(rows));
            assert_eq!(found.schema(), wanted.schema(), "{}", source.display());
            for (field, (found, wanted)) in
                batch.schema().fields().iter().zip(found.columns().iter().zip(wanted.columns()))
            {
                assert_eq!(found, wanted, "{}", field.name());
            }
        }
        // Rows that come twice are the same rows.
        write(&source, &[Some(&one)], |row, _| if row == 0 { 3 } else { 0 }).unwrap();
        assert_eq!(raw(&one).column(5).as_primitive::<types::UInt64Type>().values(), &[u64::MAX; 3]);
        let bytes = std::fs::read(&two).unwrap();
        by_part(&source, &[0, 1, 1, 0], &[None, Some(&two)]).unwrap();
        assert_eq!(std::fs::read(&two).unwrap(), bytes, "the same rows give the same bytes");
    }
}

#[test]
fn an_added_column_stands_beside_columns_that_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (source, batch) in sources(folder.path()) {
        let out = folder.path().join("out.parquet");
        let weights = || Numbers::Real([0.5, 1.0, 1.5, 2.0].map(Some).to_vec());
        assert_eq!(with_column(&source, &out, "weight", weights()).unwrap(), 4);
        let found = raw(&out);
        let (last, fields) =
            found.schema().fields().split_last().map(|(a, b)| (Arc::clone(a), b.to_vec())).unwrap();
        assert_eq!((last.name().as_str(), last.data_type()), ("weight", &DataType::Float64));
        assert_eq!(fields, batch.schema().fields().to_vec());
        assert_eq!(found.schema().metadata().get("pandas").map(String::as_str), Some(PANDAS));
        assert!(!found.schema().metadata().contains_key("mine"));
        assert!(with_column(&source, &out, "u64", weights()).is_err());
        // Once more, as folds are numbered.
        let again = folder.path().join("again.parquet");
        with_column(&out, &again, "fold", Numbers::Whole(vec![Some(1); 4])).unwrap();
        assert_eq!(raw(&again).schema().field(7).data_type(), &DataType::Decimal128(38, 9));
    }
}

#[test]
fn moments_in_seconds_become_milliseconds_and_files_that_do_not_fit_together_canonical() {
    let folder = tempfile::tempdir().unwrap();
    let array: ArrayRef =
        Arc::new(TimestampSecondArray::from(vec![Some(-1), None]).with_timezone("Asia/Tokyo"));
    let schema = Arc::new(Schema::new(vec![Field::new("at", array.data_type().clone(), true)]));
    let path = folder.path().join("s.arrow");
    let save = |array: ArrayRef| {
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(File::create(&path).unwrap(), &schema).unwrap();
        writer.write(&RecordBatch::try_new(schema.clone(), vec![array]).unwrap()).unwrap();
        writer.finish().unwrap();
    };
    save(array);
    let out = folder.path().join("out.parquet");
    by_part(&path, &[0, 0], &[Some(&out)]).unwrap();
    let wanted = TimestampMillisecondArray::from(vec![Some(-1000), None]).with_timezone("Asia/Tokyo");
    assert_eq!(raw(&out).column(0).as_primitive::<types::TimestampMillisecondType>(), &wanted);
    save(Arc::new(TimestampSecondArray::from(vec![i64::MAX]).with_timezone("Asia/Tokyo")));
    let error = by_part(&path, &[0], &[Some(&out)]).unwrap_err();
    assert!(error.to_string().contains("too far away"), "{error}");

    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let one: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let two: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
    for (name, array) in [("a.parquet", one), ("b.parquet", two)] {
        let batch = RecordBatch::try_from_iter([("x", array)]).unwrap();
        write::parquet(&parts.join(name), batch.schema(), [Ok(batch)]).unwrap();
    }
    by_part(&parts, &[0, 0], &[Some(&out)]).unwrap();
    assert_eq!(raw(&out).column(0).as_primitive::<types::Float64Type>().values(), &[1.0, 0.5]);
    let keyed: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b"]));
    let batch = RecordBatch::try_from_iter([("k", keyed)]).unwrap();
    write::parquet(&path.with_extension("parquet"), batch.schema(), [Ok(batch.clone())]).unwrap();
    by_part(&path.with_extension("parquet"), &[0, 0], &[Some(&out)]).unwrap();
    assert_eq!(raw(&out).schema().field(0).data_type(), batch.schema().field(0).data_type());
}
