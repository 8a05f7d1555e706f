//! What differs between two notebooks: parameters, metrics, sources and outputs, cell by cell.
//!
//! Cells belong together by their ids, else by their sources, in order. Times, execution counts and addresses
//! in memory are no difference. Pictures are named by kind, size and digest; whether they look alike is for
//! eyes to tell.

use std::collections::{BTreeMap, HashSet};

use rondo_core::Digest;
use serde::Serialize;
use serde_json::Value;
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, capture_diff_slices};

use crate::document::{Cell, Notebook, joined};
use crate::metrics;
use crate::outputs::plain;
use crate::parameters::INJECTED;

/// The differences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// Parameters of the runs that are not the same.
    pub parameters: Vec<Change>,
    /// Metrics that are not the same.
    pub metrics: Vec<Change>,
    /// Cells that are not the same.
    pub cells: Vec<CellDiff>,
}

impl Diff {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty() && self.metrics.is_empty() && self.cells.is_empty()
    }
}

/// A named value on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// In the first notebook.
    pub before: Option<Value>,
    /// In the second.
    pub after: Option<Value>,
}

/// A cell that differs; the places count from 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellDiff {
    /// Its place in the first notebook, where it is there.
    pub before: Option<usize>,
    /// Its place in the second.
    pub after: Option<usize>,
    /// Lines of the source that differ.
    pub source: Vec<Line>,
    /// Outputs that differ.
    pub outputs: Vec<OutputDiff>,
}

/// A line on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `-` in the first notebook alone, `+` in the second.
    pub side: char,
    /// Its text.
    pub text: String,
}

/// An output that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OutputDiff {
    /// Text.
    Text {
        /// What printed it: `stdout`, `stderr`, `result`, `error`.
        name: String,
        /// Lines that differ.
        lines: Vec<Line>,
    },
    /// A picture.
    Picture {
        /// In the first notebook.
        before: Option<Picture>,
        /// In the second.
        after: Option<Picture>,
    },
}

/// A picture's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// Its media type.
    pub media: String,
    /// Its size in bytes, as it stands in the notebook.
    pub bytes: usize,
    /// The digest of that.
    pub digest: String,
}

/// Compares two notebooks.
pub fn compare(one: &Notebook, two: &Notebook) -> Diff {
    let shown = |notebook: &Notebook| -> BTreeMap<String, Value> {
        let record = notebook.metadata().and_then(|metadata| metadata.get("papermill"));
        let given = record.and_then(|record| record.get("parameters")).and_then(Value::as_object);
        given.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let numbers = |notebook: &Notebook| -> BTreeMap<String, Value> {
        let found = metrics::numbers(&metrics::of(notebook));
        found.into_iter().map(|(name, number)| (name, rondo_core::number::json(number))).collect()
    };
    Diff {
        parameters: changes(shown(one), shown(two)),
        metrics: changes(numbers(one), numbers(two)),
        cells: cells(one, two),
    }
}

fn changes(before: BTreeMap<String, Value>, after: BTreeMap<String, Value>) -> Vec<Change> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

fn cells(one: &Notebook, two: &Notebook) -> Vec<CellDiff> {
    let (left, right) = (kept(one), kept(two));
    let ids = |cells: &[(usize, &Cell)]| -> HashSet<String> {
        cells.iter().filter_map(|(_, cell)| cell.id().map(str::to_owned)).collect()
    };
    let shared: HashSet<String> = ids(&left).intersection(&ids(&right)).cloned().collect();
    let key = |(_, cell): &(usize, &Cell)| match cell.id() {
        _ if cell.has_tag(INJECTED) => INJECTED.to_owned(),
        Some(id) if shared.contains(id) => format!("id {id}"),
        Some(_) | None => format!("{} {}", cell.kind(), cell.source()),
    };
    let keys = |cells: &[(usize, &Cell)]| cells.iter().map(key).collect::<Vec<_>>();
    let mut found = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, &keys(&left), &keys(&right)) {
        let (old, new) = (operation.old_range(), operation.new_range());
        let mut olds = left.get(old).unwrap_or_default().iter();
        let mut news = right.get(new).unwrap_or_default().iter();
        loop {
            let (before, after) = (olds.next(), news.next());
            if before.is_none() && after.is_none() {
                break;
            }
            // Where cells were replaced, those of one kind are taken for the same cell, changed.
            let alike = before.zip(after).is_none_or(|((_, a), (_, b))| a.kind() == b.kind());
            if alike || matches!(operation, DiffOp::Equal { .. }) {
                found.extend(cell(before, after));
            } else {
                found.extend(cell(before, None));
                found.extend(cell(None, after));
            }
        }
    }
    found
}

/// The cells with their places, without the marks of a failed run.
fn kept(notebook: &Notebook) -> Vec<(usize, &Cell)> {
    let mark = |cell: &Cell| cell.has_tag("papermill-error-cell-tag");
    notebook.cells.iter().enumerate().filter(|(_, cell)| !mark(cell)).collect()
}

fn cell(before: Option<&(usize, &Cell)>, after: Option<&(usize, &Cell)>) -> Option<CellDiff> {
    let source = |cell: Option<&(usize, &Cell)>| cell.map(|(_, cell)| cell.source()).unwrap_or_default();
    let outputs = |cell: Option<&(usize, &Cell)>| cell.map(|(_, cell)| shown(cell)).unwrap_or_default();
    let place = |cell: Option<&(usize, &Cell)>| cell.map(|(place, _)| place + 1);
    let diff = CellDiff {
        before: place(before),
        after: place(after),
        source: lines(&source(before), &source(after)),
        outputs: output_diffs(&outputs(before), &outputs(after)),
    };
    let both = diff.before.is_some() && diff.after.is_some();
    (!both || !diff.source.is_empty() || !diff.outputs.is_empty()).then_some(diff)
}

/// What a cell shows: text by what printed it, and pictures in order.
#[derive(Default)]
struct Shown {
    texts: BTreeMap<&'static str, String>,
    pictures: Vec<Picture>,
}

fn shown(cell: &Cell) -> Shown {
    let mut shown = Shown::default();
    for output in cell.outputs() {
        let field = |key: &str| output.get(key).map(joined).unwrap_or_default();
        let (name, text) = match output.get("output_type").and_then(Value::as_str) {
            Some("stream") if field("name") == "stderr" => ("stderr", field("text")),
            Some("stream") => ("stdout", field("text")),
            Some("error") => ("error", format!("{}: {}\n", field("ename"), field("evalue"))),
            Some(_) | None => {
                let data = output.get("data").and_then(Value::as_object);
                let picture = data.into_iter().flatten().find(|(media, _)| media.starts_with("image/"));
                if let Some((media, content)) = picture {
                    let content = joined(content);
                    shown.pictures.push(Picture {
                        media: media.clone(),
                        bytes: content.len(),
                        digest: Digest::of(content.as_bytes()).short(),
                    });
                    continue;
                }
                let data = output.get("data").unwrap_or(&Value::Null);
                let text = ["text/plain", "text/markdown", "text/html", "text/latex"]
                    .into_iter()
                    .find_map(|media| data.get(media).map(joined))
                    .unwrap_or_else(|| data.to_string());
                ("result", text + "\n")
            }
        };
        shown.texts.entry(name).or_default().push_str(&plain(&text));
    }
    shown
}

fn output_diffs(before: &Shown, after: &Shown) -> Vec<OutputDiff> {
    let mut found = Vec::new();
    for name in ["stdout", "stderr", "result", "error"] {
        let text = |shown: &Shown| shown.texts.get(name).cloned().unwrap_or_default();
        let lines = lines(&steady(&text(before)), &steady(&text(after)));
        if !lines.is_empty() {
            found.push(OutputDiff::Text { name: name.to_owned(), lines });
        }
    }
    for place in 0..before.pictures.len().max(after.pictures.len()) {
        let (before, after) = (before.pictures.get(place), after.pictures.get(place));
        if before != after {
            found.push(OutputDiff::Picture { before: before.cloned(), after: after.cloned() });
        }
    }
    found
}

/// A text without addresses in memory, which differ from run to run.
fn steady(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let digits = after.chars().skip(2).take_while(char::is_ascii_hexdigit).count();
        let (address, tail) = after.split_at(2 + digits);
        out.push_str(if digits >= 6 { "0x…" } else { address });
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn lines(before: &str, after: &str) -> Vec<Line> {
    TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter_map(|change| {
            let side = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => return None,
            };
            Some(Line { side, text: change.value().trim_end_matches(['\n', '\r']).to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(depth: i64, auc: f64, picture: &str) -> Notebook {
        let mut notebook = Notebook::new("python3", "python");
        let mut shows = Cell::code("show()", &["metrics"]);
        shows.set_execution_count(Some(u64::try_from(depth).unwrap()));
        shows.set_outputs(vec![
            json!({"output_type": "stream", "name": "stdout", "text": format!("auc = {auc}\nsame\n")}),
            json!({"output_type": "display_data", "data": {"image/png": picture, "text/plain": "<F>"}}),
            json!({"output_type": "execute_result", "data": {"text/plain": format!("<A at 0x7f00000{depth}>")}}),
        ]);
        notebook.cells = vec![
            Cell::code("depth = 6", &["parameters"]),
            Cell::code(&format!("# Parameters\ndepth = {depth}\n"), &[INJECTED]),
            shows,
        ];
        notebook.complete_ids();
        notebook
            .metadata_mut()
            .insert("papermill".to_owned(), json!({"parameters": {"depth": depth, "n": 1}}));
        notebook
    }

    #[test]
    fn parameters_metrics_sources_texts_and_pictures_are_compared() {
        let diff = compare(&run(3, 0.5, "aaaa"), &run(4, 0.75, "bbbbbbbb"));
        let change = |name: &str, before: Value, after: Value| Change {
            name: name.to_owned(),
            before: Some(before),
            after: Some(after),
        };
        assert_eq!(diff.parameters, [change("depth", json!(3), json!(4))]);
        assert_eq!(diff.metrics, [change("auc", json!(0.5), json!(0.75))]);
        assert_eq!(diff.cells.len(), 2, "{diff:?}");
        assert_eq!((diff.cells[0].before, diff.cells[0].source.len()), (Some(2), 2));
        let outputs = &diff.cells[1].outputs;
        assert!(
            matches!(&outputs[0], OutputDiff::Text { name, lines } if name == "stdout" && lines.len() == 2)
        );
        let sizes = |picture: &Option<Picture>| picture.as_ref().map(|picture| picture.bytes);
        assert!(
            matches!(&outputs[1], OutputDiff::Picture { before, after } if (sizes(before), sizes(after)) == (Some(4), Some(8)))
        );
        assert_eq!(outputs.len(), 2, "an address in memory is no difference");
        assert!(compare(&run(3, 0.5, "a"), &run(3, 0.5, "a")).is_empty());
    }

    #[test]
    fn cells_that_came_and_went_are_named() {
        let (one, mut two) = (run(3, 0.5, "a"), run(3, 0.5, "a"));
        two.cells.insert(1, Cell::markdown("# new", &[]));
        two.cells.pop();
        let diff = compare(&one, &two);
        let places: Vec<_> = diff.cells.iter().map(|cell| (cell.before, cell.after)).collect();
        assert_eq!(places, [(None, Some(2)), (Some(3), None)]);
    }
}
