//! Executed notebooks: what is noted of their execution is set aside, and the cells are compared one by one.

use serde_json::Value;

use super::{Finding, Kind, Marks, text};

pub(super) fn is_one(value: &Value) -> bool {
    value.get("nbformat").is_some() && value.get("cells").is_some_and(Value::is_array)
}

/// Two notebooks that differ in some way.
pub(super) fn compare(old: &Value, new: &Value, marks: &Marks) -> Vec<Finding> {
    let (a, b) = (cells(old), cells(new));
    if a.len() != b.len() {
        let text = format!("it had {} cells and has {}", a.len(), b.len());
        return vec![Finding::new(Kind::Shape, text)];
    }
    let mut findings = Vec::new();
    for (number, (a, b)) in (1..).zip(a.iter().zip(&b)) {
        let place = format!("cell {number}");
        let (source_a, source_b) = (joined(a.get("source")), joined(b.get("source")));
        if source_a != source_b {
            findings.extend(text::compare(&source_a, &source_b, marks).into_iter().map(|f| f.within(&place)));
        }
        let (said_a, said_b) = (said(a), said(b));
        if said_a != said_b {
            let place = format!("{place}, output");
            findings.extend(text::compare(&said_a, &said_b, marks).into_iter().map(|f| f.within(&place)));
        }
    }
    if findings.is_empty() {
        let text = "its cells and what they gave are the same; times, counts or ids of the execution differ";
        findings.push(Finding::new(Kind::NotebookRecord, text));
    }
    findings
}

fn cells(notebook: &Value) -> Vec<Value> {
    notebook.get("cells").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A text that may be a list of its lines.
fn joined(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// All that a cell gave, as text. A stream in many pieces is the same as in one.
fn said(cell: &Value) -> String {
    let mut text = String::new();
    let mut stream = None;
    for output in cell.get("outputs").and_then(Value::as_array).into_iter().flatten() {
        let kind = output.get("output_type").and_then(Value::as_str).unwrap_or_default();
        let name = (kind == "stream").then(|| output.get("name").and_then(Value::as_str).unwrap_or_default());
        if name.is_none() || name != stream {
            text.push_str(&format!("[{kind} {}]\n", name.unwrap_or_default()));
        }
        stream = name;
        match kind {
            "stream" => text.push_str(&joined(output.get("text"))),
            "error" => text.push_str(&joined(output.get("evalue"))),
            _ => {
                for (mime, data) in output.get("data").and_then(Value::as_object).into_iter().flatten() {
                    text.push_str(&format!("{mime}: {}\n", joined(Some(data))));
                }
            }
        }
    }
    text
}
