//! Labels: who has said what of which item, from wherever it was written down, and how far they agree.
//!
//! Four ways of writing are read into one table: folders' names (`labels: path`), a table with columns
//! `item` and `label` (and `annotator`), an export of Label Studio ([`studio`]), one of CVAT ([`cvat`]). One
//! [`Label`] is one thing that one annotator said of one item. Nothing is drawn or labelled here.

pub mod agreement;
mod cvat;
mod studio;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rondo_core::handoff::DatasetVersion;
use rondo_table::read::ReadOptions;
use rondo_table::typed::{Cell, Kind, Rows};
use rondo_table::{read, records};
use serde::Serialize;
use serde_json::Value;

use crate::fetch::blocking;
use crate::listing::Listing;
use crate::versions::Datasets;
use crate::{Error, table};
use agreement::Agreement;

/// An export may not be longer.
const LONGEST: u64 = 1 << 30;

/// One thing that one annotator said of one item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// The item: a file, or the number of a task.
    pub item: String,
    /// What was said.
    pub label: String,
    /// Who said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotator: Option<String>,
    /// What it is: `class`, `box`, `polygon`, `text`, `rating` and the like.
    pub kind: String,
    /// The question it answers, where the export has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Of a region its left, top, width and height in pixels (where the size of the picture is not known, in
    /// hundredths of it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<[f64; 4]>,
    /// Of a polygon or a line its points; of a stretch of text or sound its ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Value>,
}

impl Label {
    fn class(item: &str, label: &str) -> Self {
        Self {
            item: item.to_owned(),
            label: label.to_owned(),
            annotator: None,
            kind: "class".to_owned(),
            question: None,
            region: None,
            shape: None,
        }
    }
}

/// What is known of the labels of a dataset or a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Labels {
    /// How they were written: `path`, `table`, `label-studio`, `cvat`.
    pub format: &'static str,
    /// How many items have a label.
    pub items: usize,
    /// Files of the dataset that have none, at most ten; none where that is not known.
    pub unlabelled: Vec<String>,
    /// How many files have none.
    pub unlabelled_count: usize,
    /// Labelled items that are no file of the dataset, at most ten.
    pub unknown: Vec<String>,
    /// Labelled items that may be several files of the dataset, at most ten: they label none.
    pub ambiguous: Vec<String>,
    /// Columns of a table of labels that are none of those that are read.
    pub unread: Vec<String>,
    /// How often each label was given.
    pub counts: BTreeMap<String, u64>,
    /// How many labels each annotator gave.
    pub annotators: BTreeMap<String, u64>,
    /// How far the annotators agree on the class of an item, where there are several; for each question.
    pub agreement: Vec<Agreement>,
    /// All of them.
    #[serde(skip)]
    pub all: Vec<Label>,
}

impl Labels {
    fn of(format: &'static str, all: Vec<Label>) -> Self {
        let mut counts = BTreeMap::new();
        let mut annotators = BTreeMap::new();
        for label in &all {
            *counts.entry(label.label.clone()).or_default() += 1;
            if let Some(annotator) = &label.annotator {
                *annotators.entry(annotator.clone()).or_default() += 1;
            }
        }
        let items = all.iter().map(|label| label.item.as_str()).collect::<BTreeSet<_>>().len();
        let agreement = agreement::of(&all);
        Self {
            format,
            items,
            unlabelled: Vec::new(),
            unlabelled_count: 0,
            unknown: Vec::new(),
            ambiguous: Vec::new(),
            unread: Vec::new(),
            counts,
            annotators,
            agreement,
            all,
        }
    }

    /// Reads a table or an export.
    ///
    /// # Errors
    /// When it is neither, or broken.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, Error> {
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "xml" => Ok(Self::of("cvat", cvat::read(path, &text_of(path)?)?)),
            "json" => {
                let text = text_of(path)?;
                match studio::read(path, &text)? {
                    Some(labels) => Ok(Self::of("label-studio", labels)),
                    None => from_table(path, options),
                }
            }
            _ => from_table(path, options),
        }
    }

    /// The labels that the names of folders are: of `train/cat/1.png` it is `cat`.
    pub fn of_paths<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let labels = paths.filter_map(|path| {
            let (folder, _) = path.rsplit_once('/')?;
            Some(Label::class(path, folder.rsplit('/').next().unwrap_or(folder)))
        });
        Self::of("path", labels.collect())
    }

    /// Says which files have no label, and which labels no file or one that cannot be told.
    fn against(&mut self, files: &BTreeSet<String>) {
        const NAMED: usize = 10;
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in files {
            by_name.entry(base_name(file)).or_default().push(file);
        }
        let items: BTreeSet<&str> = self.all.iter().map(|label| label.item.as_str()).collect();
        let (mut labelled, mut unknown, mut ambiguous) = (BTreeSet::new(), Vec::new(), Vec::new());
        for item in items {
            if let Some(file) = files.get(item) {
                labelled.insert(file.as_str());
                continue;
            }
            // Tools know files by other paths than datasets do: the end of a path has to do, or the name.
            let named = by_name.get(base_name(item)).map_or(&[][..], Vec::as_slice);
            let fits = |file: &&&str| is_end(item, file) || is_end(file, item);
            let fitting: Vec<&str> = named.iter().filter(fits).copied().collect();
            match (fitting.as_slice(), named) {
                ([file], _) | ([], [file]) => drop(labelled.insert(file)),
                ([], []) => unknown.push(item.to_owned()),
                _ => ambiguous.push(item.to_owned()),
            }
        }
        let without: Vec<&String> = files.iter().filter(|file| !labelled.contains(file.as_str())).collect();
        self.unlabelled_count = without.len();
        self.unlabelled = without.into_iter().take(NAMED).cloned().collect();
        unknown.truncate(NAMED);
        ambiguous.truncate(NAMED);
        (self.unknown, self.ambiguous) = (unknown, ambiguous);
    }

    /// Writes the table: item, label, annotator, kind, question, left, top, width, height, shape.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        let text = |name: &str| (name.to_owned(), Kind::Text);
        let number = |name: &str| (name.to_owned(), Kind::Number);
        let columns = [
            text("item"),
            text("label"),
            text("annotator"),
            text("kind"),
            text("question"),
            number("left"),
            number("top"),
            number("width"),
            number("height"),
            text("shape"),
        ];
        let mut rows = Rows::create(path, &columns)?;
        for label in &self.all {
            let said = |text: &Option<String>| text.clone();
            let shape = label.shape.as_ref().map(Value::to_string);
            let texts = [
                (0, Some(label.item.clone())),
                (1, Some(label.label.clone())),
                (2, said(&label.annotator)),
                (3, Some(label.kind.clone())),
                (4, said(&label.question)),
                (9, shape),
            ];
            for (column, text) in &texts {
                rows.push(*column, text.as_deref().map_or(Cell::Null, Cell::Text))?;
            }
            for side in 0..4 {
                let value = label.region.and_then(|region| region.get(side).copied());
                rows.push(5 + side, value.map_or(Cell::Null, Cell::Number))?;
            }
            rows.end_row()?;
        }
        Ok(rows.finish()?)
    }
}

impl Datasets {
    /// The labels of a version: by `how` they are declared (`path`, or a table or export), held against its
    /// files.
    ///
    /// # Errors
    /// When the labels cannot be read.
    pub async fn labels(&self, version: &DatasetVersion, how: &str, root: &Path) -> Result<Labels, Error> {
        let (objects, version) = (self.store.objects().clone(), version.clone());
        let (how, path) = (how.to_owned(), root.join(how));
        let options = table::options_for_version(&version)?;
        blocking(move || {
            let files: BTreeSet<String> = if version.folder {
                Listing::read(&objects, version.digest)?.files().keys().cloned().collect()
            } else {
                BTreeSet::new()
            };
            let mut labels = if how == "path" {
                Labels::of_paths(files.iter().map(String::as_str))
            } else {
                Labels::read(&path, &options)?
            };
            if version.folder {
                labels.against(&files);
            }
            Ok(labels)
        })
        .await
    }
}

fn text_of(path: &Path) -> Result<String, Error> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > LONGEST {
        return Err(broken(path, "it is longer than 1 GiB"));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    String::from_utf8(bytes).map_err(|_| broken(path, "it is not UTF-8"))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether one path ends with all of another, which has a folder.
fn is_end(long: &str, short: &str) -> bool {
    let rest = long.strip_suffix(short.trim_start_matches("./"));
    short.contains('/') && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// What the columns of a table of labels may be called.
const ITEM: &[&str] = &["item", "file", "filename", "path", "image", "image_id", "id"];
const LABEL: &[&str] = &["label", "class", "category", "target"];
const ANNOTATOR: &[&str] = &["annotator", "rater", "coder", "user", "annotated_by"];

fn from_table(path: &Path, options: &ReadOptions) -> Result<Labels, Error> {
    let reader = read::open_with(path, options)?;
    let columns: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
    // What is called as documented first is meant, wherever it stands.
    let find = |names: &[&str]| {
        names.iter().find_map(|name| columns.iter().find(|column| column.eq_ignore_ascii_case(name))).cloned()
    };
    let (item, label, annotator) = (find(ITEM), find(LABEL), find(ANNOTATOR));
    let (Some(item), Some(label)) = (item, label) else {
        let found: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
        let reason = format!(
            "a table of labels has the columns `item` (or {}) and `label` (or {}), and maybe `annotator`; this \
             one has {}",
            ITEM.get(1..).unwrap_or_default().join(", "),
            LABEL.get(1..).unwrap_or_default().join(", "),
            found.join(", ")
        );
        return Err(broken(path, &reason));
    };
    let is_read = |column: &String| [Some(&item), Some(&label), annotator.as_ref()].contains(&Some(column));
    let unread = columns.iter().filter(|column| !is_read(column)).cloned().collect();
    let mut labels = Vec::new();
    for (row, record) in records::Records::new(reader).enumerate() {
        let record = record?;
        let text = |column: &str| match record.get(column) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let Some(item) = text(&item) else {
            return Err(broken(path, &format!("row {} names no item", row + 1)));
        };
        // An item without a label has not been labelled.
        if let Some(label) = text(&label) {
            let annotator = annotator.as_deref().and_then(text);
            labels.push(Label { annotator, ..Label::class(&item, &label) });
        }
    }
    Ok(Labels { unread, ..Labels::of("table", labels) })
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::Labels { what: path.display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
