//! Texts as other programs and countries write them.

use serde_json::{Value, json};

use super::*;

fn read_as(name: &str, content: &[u8], options: Value) -> Result<Vec<String>> {
    let (_dir, path) = file(name, content);
    let options = ReadOptions::default().with(options.as_object().unwrap())?;
    let reader = open_with(&path, &options)?;
    crate::records::Records::new(reader).map(|row| Ok(serde_json::to_string(&row?).unwrap())).collect()
}

fn refused(name: &str, content: &[u8], options: Value) -> String {
    let text = read_as(name, content, options).unwrap_err().to_string();
    text.split_once(name).map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[test]
fn a_german_export_is_read() {
    let text = "Bericht vom 1.4.\nzweite Zeile\nname;preis;menge\n# Zwischensumme\nM\u{fc}ller;1.234,50;-\n'a;b';0,5;7\n";
    let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    let options = json!({
        "skip": 2, "encoding": "latin1", "decimal": ",", "thousands": ".", "null": ["-"], "quote": "'", "comment": "#"
    });
    assert_eq!(
        read_as("t.csv", &bytes, options).unwrap(),
        [r#"{"name":"Müller","preis":1234.5,"menge":null}"#, r#"{"name":"a;b","preis":0.5,"menge":7}"#]
    );
}

#[test]
fn the_line_in_which_excel_is_told_the_delimiter_is_no_row() {
    let wanted = [r#"{"name":"a,b","n":1}"#, r#"{"name":"c","n":2}"#];
    for (mark, end) in [(";", "\n"), ("|", "\r\n"), ("\t", "\n"), ("^", "\r\n")] {
        let text = format!("sep={mark}\nname{mark}n\n\"a,b\"{mark}1\nc{mark}2\n").replace('\n', end);
        assert_eq!(read_as("t.csv", text.as_bytes(), json!({})).unwrap(), wanted, "{mark:?}");
        assert_eq!(read_as("t.tsv", text.as_bytes(), json!({})).unwrap(), wanted, "{mark:?}");
        let marked = format!("\u{feff}{}", text.replace("sep=", "SEP="));
        assert_eq!(read_as("t.csv", marked.as_bytes(), json!({})).unwrap(), wanted, "{mark:?}");
    }
    let text = "sep=;\na|1\nb|2\n";
    let options = json!({"delimiter": "|", "header": false});
    let said = read_as("t.csv", text.as_bytes(), options).unwrap();
    assert_eq!(said[0], r#"{"column_1":"a","column_2":1}"#, "what is declared counts");
    let utf16: Vec<u8> =
        "\u{feff}sep=;\nname;n\n\"a,b\";1\nc;2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read_as("t.csv", &utf16, json!({})).unwrap(), wanted);
    assert_eq!(
        refused("t.csv", b"sep=;\na;b\n1;2;3\n", json!({})),
        "`, line 3: 3 fields, but the first line has 2"
    );
    let types = json!({"types": {"n": "integer"}});
    assert!(refused("t.csv", b"sep=;\nn\n1\nx\n", types).starts_with("`, line 4: "));
    assert!(read_as("t.csv", b"sep=;\n", json!({})).is_err());
    for header in ["sep=", "sep=a", "sep=;;", "sep", "separator"] {
        let found = read_as("t.csv", format!("{header}\n1\n").as_bytes(), json!({"delimiter": ","})).unwrap();
        assert_eq!(found, [format!("{{\"{header}\":1}}")]);
    }
    let found = read_as("t.csv", b"sep=\r\n1\r\n", json!({"delimiter": ","})).unwrap();
    assert_eq!(found, [r#"{"sep=":1}"#], "the end of a line is no delimiter");
}

#[test]
fn encodings_are_told_by_their_mark_or_by_name() {
    let text = "id,name\n1,日本\n2,\u{e9}\n";
    for big in [false, true] {
        let mut bytes = if big { vec![0xfe, 0xff] } else { vec![0xff, 0xfe] };
        bytes.extend(text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }));
        for name in ["t.csv", "t"] {
            assert_eq!(
                read_as(name, &bytes, json!({})).unwrap(),
                [r#"{"id":1,"name":"日本"}"#, r#"{"id":2,"name":"é"}"#]
            );
        }
    }
    let (japanese, _, _) = encoding_rs::SHIFT_JIS.encode("id,name\n1,日本\n");
    assert_eq!(
        read_as("t.csv", &japanese, json!({"encoding": "shift_jis"})).unwrap(),
        [r#"{"id":1,"name":"日本"}"#]
    );
    let (json_text, _, _) = encoding_rs::WINDOWS_1252.encode("{\"a\": \"\u{e9}\"}\n");
    assert_eq!(read_as("t.jsonl", &json_text, json!({"encoding": "latin1"})).unwrap(), [r#"{"a":"é"}"#]);
}

#[test]
fn a_byte_of_another_encoding_is_named_by_line_and_column() {
    let mixed =
        "a,b\n1,gut\nä,caf\u{e9}\n".as_bytes().iter().copied().chain(*b"2,caf\xe9\n").collect::<Vec<u8>>();
    assert_eq!(refused("t.csv", &mixed, json!({})), "`, line 4: column 6: 0xe9 is not UTF-8");
    let broken = b"a,b\n1,\x93\xfa\n2,\x81\xff\n";
    assert_eq!(
        refused("t.csv", broken, json!({"encoding": "shift_jis"})),
        "`, line 3: column 3: 0x81 0xff is not Shift_JIS"
    );
    assert_eq!(
        refused("t.jsonl", b"{\"a\": 1}\n{\"a\": \"\xff\"}\n", json!({})),
        "`, line 2: column 8: 0xff is not UTF-8"
    );
    let (_dir, path) = file("t.csv", b"a\n\xff\n");
    assert!(open(&path).unwrap_err().hints()[0].contains("encoding"));
}

#[test]
fn skipped_lines_and_comments_are_counted_in_faults() {
    let text = b"title\n\na,b\n# note\n1,2\n\n# note\n3\n";
    assert_eq!(
        refused("t.csv", text, json!({"skip": 2, "comment": "#"})),
        "`, line 8: 1 fields, but the first line has 2"
    );
}

#[test]
fn what_may_be_done_about_a_line_of_another_length_fits_the_file() {
    let hints = |text: &[u8]| {
        let (_dir, path) = file("t.csv", text);
        (open(&path).unwrap_err().hints(), path, _dir)
    };
    let (told, path, _dir) = hints(b"Report\n\nid,name\n1,a\n");
    assert!(told[0].ends_with("read: { skip: 2 }") && told[1].contains("delimiter"), "{told:?}");
    let options = ReadOptions::default().with(json!({"skip": 2}).as_object().unwrap()).unwrap();
    assert_eq!(open_with(&path, &options).unwrap().columns()[0].name, "id");
    let (told, path, _dir) = hints(b"text\nhello, world\nx\n");
    assert!(told[1].ends_with(r#"read: { delimiter: "\t" }"#), "{told:?}");
    let options = ReadOptions::default().with(json!({"delimiter": "\t"}).as_object().unwrap()).unwrap();
    assert_eq!(open_with(&path, &options).unwrap().rows(), 2);
    let (told, ..) = hints(b"id,name\n1,'a,b'\n");
    assert!(told.len() == 1 && told[0].contains("quote"), "{told:?}");
}

#[test]
fn a_record_that_never_ends_is_refused_before_it_fills_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let mut text = b"a,b\n1,2\n3,\"".to_vec();
    text.resize(text.len() + (80 << 20), b'x');
    fs::write(&path, &text).unwrap();
    assert_eq!(
        message(&path),
        "`DIR/t.csv`, line 3: the record is longer than 64 MB; perhaps a quote is not closed"
    );
    // Nor does it help that the field has lines of its own.
    for at in (0..text.len()).step_by(50).skip(1) {
        text[at] = b'\n';
    }
    fs::write(&path, &text).unwrap();
    assert!(message(&path).contains("the record is longer than 64 MB"));
}

#[test]
fn a_quote_that_is_open_when_the_file_ends_swallows_no_lines() {
    for text in ["a,b\n1,\"2\n3,4\n", "a,b\n0,0\n\n1,\"2\"\"\n3,4\n\n"] {
        let error = refused("t.csv", text.as_bytes(), json!({}));
        assert!(
            error.contains("line ") && error.ends_with("a quote is not closed before the file ends"),
            "{error}"
        );
    }
    for text in ["a,b\n1,\"2\n3\"\n", "a,b\n1,\"2\n3\"", "a,b\n1,\"2\n\"\"\"\r\n\n"] {
        assert_eq!(read_as("t.csv", text.as_bytes(), json!({})).unwrap().len(), 1, "{text}");
    }
}

#[test]
fn a_file_that_is_cut_inside_quotes_is_refused_and_one_without_a_last_line_feed_is_not() {
    for (text, options) in [
        ("a,b\n1,\"hel", json!({})),
        ("a,b\n1,\"", json!({})),
        ("a,b\n1,\"hel\"\"", json!({})),
        ("a,b\r\n0,0\r\n1,\"hel", json!({})),
        ("a,b\r\n1,\"hel\r", json!({})),
        ("a,b\n1,'hel\\'", json!({"quote": "'", "escape": "\\"})),
        ("a,b\n1,\"hel\\", json!({"escape": "\\"})),
        ("note\na,b\n# c\n1,\"hel", json!({"skip": 1, "comment": "#"})),
        ("a,\"b", json!({})),
    ] {
        for end in ["", "\n", "\r\n"] {
            let text = format!("{text}{end}");
            let error = refused("t.csv", text.as_bytes(), options.clone());
            assert!(error.ends_with("a quote is not closed before the file ends"), "{text:?}: {error}");
        }
    }
    for (text, options, value) in [
        ("a,b\n1,hel", json!({}), "hel"),
        ("a,b\n1,\"hel\"", json!({}), "hel"),
        ("a,b\n1,\"hel\"\"\"", json!({}), "hel\\\""),
        ("a,b\r\n1,\"h\ne\"", json!({}), "h\\ne"),
        ("a,b\n1,he\"l", json!({}), "he\\\"l"),
        ("a,b\n1,\"hel\\\"\"", json!({"escape": "\\"}), "hel\\\""),
        ("a,b\n1,\"hel", json!({"quote": "none", "delimiter": ","}), "\\\"hel"),
        ("a,b\n1,hel\n# \"c", json!({"comment": "#"}), "hel"),
    ] {
        for end in ["", "\r", "\n", "\r\n"] {
            let text = format!("{text}{end}");
            let rows = read_as("t.csv", text.as_bytes(), options.clone()).unwrap();
            assert_eq!(rows, [format!("{{\"a\":1,\"b\":\"{value}\"}}")], "{text:?}");
        }
    }
}

#[test]
fn declared_types_hold_or_the_value_is_named() {
    let text = b"zip,n\n00123,1\n,2\n4,x\n";
    let zip = json!({"types": {"zip": "string"}});
    assert_eq!(read_as("t.csv", b"zip,n\n00123,1\n", zip).unwrap(), [r#"{"zip":"00123","n":1}"#]);
    assert_eq!(
        refused("t.csv", text, json!({"types": {"n": "integer"}})),
        "`, line 4: `x` in column `n` is no integer, which `types` says it is"
    );
    let unknown = refused("t.csv", text, json!({"types": {"zp": "string"}}));
    assert_eq!(unknown, "`");
    assert_eq!(
        refused("t.jsonl", b"{\"n\": 1}\n{\"n\": \"x\"}\n", json!({"types": {"n": "number"}})),
        "`, line 2: `\"x\"` in column `n` is no number, which `types` says it is"
    );
}

#[test]
fn quotes_can_be_switched_off_and_escaped() {
    assert_eq!(
        read_as("t.csv", b"a,b\n\"x,1\n", json!({"quote": "none", "delimiter": ","})).unwrap(),
        [r#"{"a":"\"x","b":1}"#]
    );
    assert_eq!(
        read_as("t.csv", b"a,b\n\"x\\\"y,z\",1\n", json!({"escape": "\\"})).unwrap(),
        [r#"{"a":"x\"y,z","b":1}"#]
    );
}

#[test]
fn nested_objects_become_columns_where_that_is_wished() {
    let text = b"{\"id\": 1, \"user\": {\"name\": \"a\", \"at\": {\"x\": 0.5}}, \"tags\": [1]}\n{\"id\": 2, \"user\": {}}\n";
    assert_eq!(
        read_as("t.jsonl", text, json!({"nested": "columns"})).unwrap(),
        [
            r#"{"id":1,"user.name":"a","user.at.x":0.5,"tags":"[1]","user":null}"#,
            r#"{"id":2,"user.name":null,"user.at.x":null,"tags":null,"user":"{}"}"#
        ]
    );
    assert!(read_as("t.jsonl", text, json!({})).unwrap()[0].contains(r#""user":"{\"name\""#));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_any_encoding_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        encoding in prop::sample::select(vec!["utf-16le", "shift_jis", "gb18030", "windows-1252", "iso-2022-jp", "replacement"]),
        skip in 0_u32..3,
    ) {
        for name in ["t.csv", "t.json"] {
            let (_dir, path) = file(name, &bytes);
            let options = ReadOptions { encoding: Some(encoding.to_owned()), skip, ..ReadOptions::default() };
            if let Ok(reader) = open_with(&path, &options) {
                reader.for_each(drop);
            }
        }
    }

    #[test]
    fn what_is_encoded_is_read_back(rows in prop::collection::vec("[a-zäöü€ ]{1,12}x", 1..400)) {
        let text: String = std::iter::once("s".to_owned()).chain(rows.iter().cloned()).map(|row| row + "\n").collect();
        let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(&text);
        let read = read_as("t.csv", &bytes, json!({"encoding": "windows-1252", "delimiter": ","})).unwrap();
        let wanted: Vec<String> = rows.iter().map(|row| json!({"s": row}).to_string()).collect();
        prop_assert_eq!(read, wanted);
    }
}
