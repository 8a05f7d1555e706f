//! Notebooks of nbformat 2 and 3, made into format 4 when they are read.
//!
//! The old format has its cells in worksheets, texts of code under `input`, headings as cells of their own, and in an
//! output each form under a short name (`png`, `html`) beside the output's own keys. What neither format knows
//! stays where it is. The file itself is not touched; what is written is always format 4.

use serde_json::{Map, Value, json};

use crate::document::joined;

/// The forms of an output by their short names.
const MEDIA: [(&str, &str); 9] = [
    ("text", "text/plain"),
    ("html", "text/html"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("pdf", "application/pdf"),
    ("latex", "text/latex"),
    ("json", "application/json"),
    ("javascript", "application/javascript"),
];

/// Makes the root of a notebook of an old format one of format 4.5, whose ids are missing.
pub fn upgrade(root: &mut Map<String, Value>) {
    let from = root.insert("nbformat".to_owned(), json!(4));
    root.insert("nbformat_minor".to_owned(), json!(5));
    let sheets = match root.remove("worksheets") {
        Some(Value::Array(sheets)) => sheets,
        Some(_) | None => Vec::new(),
    };
    let mut cells: Vec<Value> = Vec::new();
    for sheet in sheets {
        if let Value::Object(mut sheet) = sheet
            && let Some(Value::Array(own)) = sheet.remove("cells")
        {
            cells.extend(own);
        }
    }
    let language = cells.iter().find_map(|cell| cell.get("language")?.as_str()).map(str::to_lowercase);
    cells.iter_mut().for_each(cell);
    root.insert("cells".to_owned(), Value::Array(cells));
    let metadata = root.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        // The name was the file's, the signature that of other bytes.
        metadata.remove("name");
        metadata.remove("signature");
        metadata.insert("orig_nbformat".to_owned(), from.unwrap_or(Value::Null));
        if let Some(language) = language {
            metadata.entry("language_info").or_insert_with(|| json!({ "name": language }));
        }
    }
}

fn cell(value: &mut Value) {
    let Value::Object(cell) = value else { return };
    cell.entry("metadata").or_insert_with(|| json!({}));
    match cell.get("cell_type").and_then(Value::as_str) {
        Some("code") => code(cell),
        Some("heading") => {
            let level = cell.remove("level").and_then(|level| level.as_u64()).unwrap_or(1).clamp(1, 6);
            let text = cell.get("source").map(joined).unwrap_or_default();
            let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let marks = "#".repeat(usize::try_from(level).unwrap_or(1));
            cell.insert("source".to_owned(), format!("{marks} {text}").into());
            cell.insert("cell_type".to_owned(), "markdown".into());
        }
        Some("html") => {
            cell.insert("cell_type".to_owned(), "markdown".into());
        }
        Some(_) | None => {}
    }
}

fn code(cell: &mut Map<String, Value>) {
    cell.remove("language");
    let source = cell.remove("input").unwrap_or_else(|| "".into());
    cell.insert("source".to_owned(), source);
    let count = cell.remove("prompt_number").filter(Value::is_u64).unwrap_or(Value::Null);
    cell.insert("execution_count".to_owned(), count.clone());
    if let (Some(collapsed), Some(Value::Object(metadata))) =
        (cell.remove("collapsed").filter(Value::is_boolean), cell.get_mut("metadata"))
    {
        metadata.insert("collapsed".to_owned(), collapsed);
    }
    let outputs = cell.entry("outputs").or_insert_with(|| json!([]));
    if let Value::Array(outputs) = outputs {
        outputs.iter_mut().for_each(|value| output(value, &count));
    }
}

fn output(value: &mut Value, count: &Value) {
    let Value::Object(output) = value else { return };
    let kind = output.get("output_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "pyout" | "execute_result" => {
            output.insert("output_type".to_owned(), "execute_result".into());
            let own = output.remove("prompt_number").filter(Value::is_u64);
            output.insert("execution_count".to_owned(), own.unwrap_or_else(|| count.clone()));
            forms(output);
        }
        "display_data" => forms(output),
        "pyerr" => {
            output.insert("output_type".to_owned(), "error".into());
            for (key, empty) in [("ename", json!("")), ("evalue", json!("")), ("traceback", json!([]))] {
                output.entry(key).or_insert(empty);
            }
        }
        "stream" => {
            let name = output.remove("stream").unwrap_or_else(|| "stdout".into());
            output.insert("name".to_owned(), name);
            output.remove("metadata");
            output.entry("text").or_insert_with(|| "".into());
        }
        _ => {}
    }
}

/// Gathers the forms of an output under their full names.
fn forms(output: &mut Map<String, Value>) {
    let mut data = Map::new();
    for (short, media) in MEDIA {
        let Some(form) = output.remove(short) else { continue };
        let form = match media {
            // It was a text that holds JSON.
            "application/json" => serde_json::from_str(&joined(&form)).unwrap_or(form),
            _ => form,
        };
        data.insert(media.to_owned(), form);
    }
    // Forms without a short name stood under their full one.
    let full: Vec<String> = output.keys().filter(|key| key.contains('/')).cloned().collect();
    data.extend(full.into_iter().filter_map(|key| output.remove_entry(&key)));
    output.insert("data".to_owned(), Value::Object(data));
    let metadata = output.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        for (short, media) in MEDIA {
            if let Some(value) = metadata.remove(short) {
                metadata.insert(media.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::document::{Cell, Notebook};

    fn old() -> Value {
        json!({
            "metadata": { "name": "old", "signature": "x", "own": 1 }, "nbformat": 3, "nbformat_minor": 0,
            "worksheets": [{ "metadata": {}, "cells": [
                { "cell_type": "heading", "level": 2, "metadata": {}, "source": ["A\n", "title"] },
                {
                    "cell_type": "code", "collapsed": false, "input": ["x = 1\n", "x"], "language": "python",
                    "metadata": { "tags": ["parameters"] }, "prompt_number": 3, "outputs": [
                        { "output_type": "pyout", "prompt_number": 3, "text": "1", "html": "<b>1</b>",
                          "metadata": { "png": { "width": 4 } } },
                        { "output_type": "stream", "stream": "stderr", "text": "oh" },
                        { "output_type": "pyerr", "ename": "E", "evalue": "v", "traceback": ["t"] },
                        { "output_type": "display_data", "metadata": {}, "json": "{\"a\": 1}" }
                    ]
                },
                { "cell_type": "html", "metadata": {}, "source": "<p>" }
            ]}]
        })
    }

    #[test]
    fn a_notebook_of_format_3_is_read_as_one_of_format_4() {
        let mut notebook = Notebook::parse(Path::new("n.ipynb"), old().to_string().as_bytes()).unwrap();
        notebook.complete_ids();
        let kinds: Vec<&str> = notebook.cells.iter().map(Cell::kind).collect();
        assert_eq!(kinds, ["markdown", "code", "markdown"]);
        assert_eq!(notebook.cells[0].source(), "## A title");
        let code = &notebook.cells[1];
        assert_eq!((code.source().as_str(), code.execution_count()), ("x = 1\nx", Some(3)));
        assert!(code.has_tag("parameters") && notebook.cells.iter().all(|cell| cell.id().is_some()));
        assert_eq!(
            code.outputs(),
            json!([
                { "output_type": "execute_result", "metadata": { "image/png": { "width": 4 } },
                  "execution_count": 3, "data": { "text/plain": "1", "text/html": "<b>1</b>" } },
                { "output_type": "stream", "text": "oh", "name": "stderr" },
                { "output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"] },
                { "output_type": "display_data", "metadata": {}, "data": { "application/json": { "a": 1 } } }
            ])
            .as_array()
            .unwrap()
            .as_slice()
        );
        assert_eq!(notebook.language().as_deref(), Some("python"));
        let written: Value = serde_json::from_slice(&notebook.to_bytes()).unwrap();
        assert_eq!((&written["nbformat"], &written["metadata"]["orig_nbformat"]), (&json!(4), &json!(3)));
        assert_eq!((&written["metadata"]["own"], written.get("worksheets")), (&json!(1), None));
    }

    proptest! {
        #[test]
        fn no_old_notebook_panics(text in "(\\[|\\]|\\{|\\}|,|:|1|\"(worksheets|cells|cell_type|code|outputs|metadata|pyout|output_type|input)\"){0,40}") {
            if let Ok(Value::Object(mut root)) = serde_json::from_str(&text) {
                upgrade(&mut root);
            }
            let cells: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            if let Value::Object(mut root) = json!({ "worksheets": [{ "cells": [cells.clone(), { "cell_type": "code", "outputs": [cells] }] }] }) {
                upgrade(&mut root);
            }
        }
    }
}
