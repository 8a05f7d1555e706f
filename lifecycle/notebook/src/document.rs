//! A notebook file, read and written so that nothing in it is lost.
//!
//! Cells and metadata stay JSON values: keys that this program has never heard of, and the order of all
//! keys, survive a read and a write. Read are `.ipynb` files of nbformat 4, older ones as if they were
//! (`crate::upgrade`), scripts in the percent format
//! ([`crate::percent`]) and documents with fenced code ([`crate::fenced`]); written is always `.ipynb`, as Jupyter writes it (indent of one space, texts split
//! into lines, a newline at the end). It is not a validator: only what running needs is checked.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rondo_core::mask::Mask;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::{fenced, percent, upgrade};
use rondo_project::notebook::language::Language;

/// Whether files with this extension are read as scripts or documents, and are no notebooks.
pub fn is_source(extension: &str) -> bool {
    Language::of_extension(extension).is_some() || matches!(extension, "qmd" | "Rmd" | "rmd" | "md")
}

/// A notebook in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Notebook {
    /// Everything but the cells, whose key stands with null in its place.
    root: Map<String, Value>,
    /// The cells in order.
    pub cells: Vec<Cell>,
}

impl Notebook {
    /// Reads a notebook: `.ipynb`, a script with `# %%` cells (`.py`, `.R`, `.jl`, `.sh`), or a document with
    /// code between fences (`.qmd`, `.Rmd`, `.md`).
    ///
    /// # Errors
    /// When the file cannot be read or is not a notebook of a known format.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::invalid(path, "there is no such file"),
            std::io::ErrorKind::IsADirectory => Error::invalid(path, "it is a folder"),
            _ => Error::io("read", path, error),
        })?;
        Self::of_bytes(path, &bytes)
    }

    /// Reads bytes that came from a path, or from somewhere with such a name.
    ///
    /// # Errors
    /// When they are not a notebook.
    pub fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let text = || {
            std::str::from_utf8(bytes)
                .map_err(|error| Error::invalid(path, format!("it is not UTF-8: {error}")))
        };
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match (Language::of_extension(extension), extension) {
            (Some(language), _) => Ok(percent::parse(text()?, language)),
            (None, "qmd" | "Rmd" | "rmd") => Ok(fenced::parse(text()?, false)),
            (None, "md") => Ok(fenced::parse(text()?, true)),
            (None, _) => Self::parse(path, bytes),
        }
    }

    /// Reads the bytes of an `.ipynb` file; `path` is only for messages.
    ///
    /// # Errors
    /// When they are not a notebook of a known format.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid(path, format!("it is not JSON: {error}")))?;
        let Value::Object(mut root) = value else {
            return Err(Error::invalid(path, "expected a JSON object with `cells`"));
        };
        match root.get("nbformat").and_then(Value::as_u64) {
            Some(4) => {}
            Some(2 | 3) => upgrade::upgrade(&mut root),
            Some(found) => return Err(Error::Version { path: path.to_owned(), found }),
            None => return Err(Error::invalid(path, "the number `nbformat` is missing")),
        }
        let cells = match root.get_mut("cells").map(Value::take) {
            Some(Value::Array(cells)) => cells,
            Some(_) | None => return Err(Error::invalid(path, "the list `cells` is missing")),
        };
        let cells = cells
            .into_iter()
            .enumerate()
            .map(|(index, cell)| {
                Cell::from_value(cell)
                    .map_err(|fault| Error::invalid(path, format!("cell {}: {fault}", index + 1)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { root, cells })
    }

    /// An empty notebook of format 4.5 for a kernel.
    pub fn new(kernel: &str, language: &str) -> Self {
        let root = json!({
            "cells": null,
            "metadata": {
                "kernelspec": { "display_name": kernel, "language": language, "name": kernel }
            },
            "nbformat": 4,
            "nbformat_minor": 5
        });
        let root = match root {
            Value::Object(root) => root,
            _ => Map::new(),
        };
        Self { root, cells: Vec::new() }
    }

    /// The notebook's metadata.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.root.get("metadata").and_then(Value::as_object)
    }

    /// The notebook's metadata, to change.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        object_in(&mut self.root, "metadata")
    }

    /// The name of the kernel that the notebook was written with.
    pub fn kernel_name(&self) -> Option<&str> {
        self.metadata()?.get("kernelspec")?.get("name")?.as_str()
    }

    /// Says which kernel the notebook is for.
    pub fn set_kernel(&mut self, name: Option<&str>, language: Option<&str>) {
        let spec = object_in(self.metadata_mut(), "kernelspec");
        if let Some(name) = name {
            spec.insert("name".to_owned(), name.into());
            spec.insert("display_name".to_owned(), name.into());
        }
        if let Some(language) = language {
            spec.insert("language".to_owned(), language.into());
        }
        // Another kernel's: this one will say its own.
        self.metadata_mut().remove("language_info");
    }

    /// The programming language, lower case, as the notebook names it.
    pub fn language(&self) -> Option<String> {
        let metadata = self.metadata()?;
        let spec = metadata.get("kernelspec");
        let named = |value: Option<&Value>, key: &str| {
            value.and_then(|value| value.get(key)).and_then(Value::as_str).map(str::to_lowercase)
        };
        named(spec, "language").or_else(|| named(metadata.get("language_info"), "name"))
    }

    /// Whether cells have ids in this version of the format (4.5 and later).
    pub fn has_cell_ids(&self) -> bool {
        self.root.get("nbformat_minor").and_then(Value::as_u64).unwrap_or(0) >= 5
    }

    /// Gives an id to each cell that has none, or one that is not valid or stands twice, where the format
    /// wants ids. The ids depend on place and content alone, so the same notebook gets the same ones.
    pub fn complete_ids(&mut self) {
        if !self.has_cell_ids() {
            return;
        }
        let mut seen = std::collections::HashSet::new();
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let given = cell.id().filter(|id| is_cell_id(id)).map(str::to_owned);
            if let Some(id) = given
                && seen.insert(id)
            {
                continue;
            }
            let source = cell.source();
            let id = (0u32..)
                .map(|salt| short_digest(&format!("{index} {salt} {source}")))
                .find(|id| seen.insert(id.clone()))
                .unwrap_or_default();
            cell.0.insert("id".to_owned(), Value::String(id));
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_without(&Mask::default())
    }

    /// The file's bytes, with secrets taken out of them.
    pub fn to_bytes_without(&self, secrets: &Mask) -> Vec<u8> {
        let mut root = self.root.clone();
        let cells = self.cells.iter().map(|cell| cell.to_value(secrets)).collect();
        root.insert("cells".to_owned(), Value::Array(cells));
        if let Some(metadata) = root.get_mut("metadata").filter(|_| !secrets.is_empty()) {
            secrets.value(metadata);
        }
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        // Writing a JSON value into memory cannot fail: its keys are texts and the sink never refuses.
        let _ = Value::Object(root).serialize(&mut serializer);
        bytes.push(b'\n');
        bytes
    }

    /// Writes the notebook: whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, &self.to_bytes())
    }
}

/// Writes a file under another name beside its place and renames it, so that no reader ever sees half of
/// it. Missing folders above are made; an existing file's permissions stay.
///
/// # Errors
/// When the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let mode = fs::metadata(path).map_or(0o666, |metadata| metadata.permissions().mode());
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_data().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell(Map<String, Value>);

impl Cell {
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Object(cell) = value else {
            return Err("expected an object".to_owned());
        };
        if !cell.get("cell_type").is_some_and(Value::is_string) {
            return Err("`cell_type` is missing".to_owned());
        }
        match cell.get("source") {
            Some(Value::String(_)) => {}
            Some(Value::Array(lines)) if lines.iter().all(Value::is_string) => {}
            Some(_) | None => return Err("`source` has to be a text or a list of lines".to_owned()),
        }
        match cell.get("metadata") {
            Some(Value::Object(_)) | None => {}
            Some(_) => return Err("`metadata` has to be an object".to_owned()),
        }
        Ok(Self(cell))
    }

    /// A code cell with tags.
    pub fn code(source: &str, tags: &[&str]) -> Self {
        let mut cell = Self::bare("code", tags);
        cell.0.insert("execution_count".to_owned(), Value::Null);
        cell.0.insert("outputs".to_owned(), Value::Array(Vec::new()));
        cell.set_source(source);
        cell
    }

    /// A Markdown cell with tags.
    pub fn markdown(source: &str, tags: &[&str]) -> Self {
        let mut cell = Self::bare("markdown", tags);
        cell.set_source(source);
        cell
    }

    /// A raw cell.
    pub fn raw(source: &str) -> Self {
        let mut cell = Self::bare("raw", &[]);
        cell.set_source(source);
        cell
    }

    fn bare(kind: &str, tags: &[&str]) -> Self {
        let metadata = if tags.is_empty() { json!({}) } else { json!({ "tags": tags }) };
        let mut cell = Map::new();
        cell.insert("cell_type".to_owned(), Value::String(kind.to_owned()));
        cell.insert("metadata".to_owned(), metadata);
        Self(cell)
    }

    /// `code`, `markdown` or `raw`.
    pub fn kind(&self) -> &str {
        self.0.get("cell_type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is a code cell.
    pub fn is_code(&self) -> bool {
        self.kind() == "code"
    }

    /// The cell's id, where it has one.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id").and_then(Value::as_str)
    }

    /// The source as one text.
    pub fn source(&self) -> String {
        self.0.get("source").map(joined).unwrap_or_default()
    }

    /// Sets the source.
    pub fn set_source(&mut self, source: &str) {
        self.0.insert("source".to_owned(), lines(source));
    }

    /// The tags.
    pub fn tags(&self) -> Vec<&str> {
        self.0
            .get("metadata")
            .and_then(|metadata| metadata.get("tags"))
            .and_then(Value::as_array)
            .map(|tags| tags.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// Whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().contains(&tag)
    }

    /// The metadata.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata").and_then(Value::as_object)
    }

    /// The metadata, to change.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        object_in(&mut self.0, "metadata")
    }

    /// The outputs of a code cell.
    pub fn outputs(&self) -> &[Value] {
        self.0.get("outputs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets the outputs of a code cell.
    pub fn set_outputs(&mut self, outputs: Vec<Value>) {
        self.0.insert("outputs".to_owned(), Value::Array(outputs));
    }

    /// The number in `In [n]`.
    pub fn execution_count(&self) -> Option<u64> {
        self.0.get("execution_count").and_then(Value::as_u64)
    }

    /// Sets the number in `In [n]`.
    pub fn set_execution_count(&mut self, count: Option<u64>) {
        self.0.insert("execution_count".to_owned(), count.map_or(Value::Null, Value::from));
    }

    fn to_value(&self, secrets: &Mask) -> Value {
        let mut cell = self.0.clone();
        if !secrets.is_empty() {
            // A source that is a list of lines could hide one that goes over several.
            if let Some(source) = cell.get_mut("source") {
                *source = lines(&secrets.text(&joined(source)));
            }
            cell.values_mut().for_each(|value| secrets.value(value));
        }
        cell.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(Value::Array(outputs)) = cell.get_mut("outputs") {
            outputs.iter_mut().for_each(split_output);
        }
        Value::Object(cell)
    }
}

/// Splits the long texts of an output into lines, as Jupyter does: files that are compared line by line.
fn split_output(output: &mut Value) {
    if let Some(text) = output.get_mut("text")
        && let Value::String(whole) = text
    {
        *text = lines(whole);
    }
    if let Some(Value::Object(data)) = output.get_mut("data") {
        for (media, value) in data {
            let is_text =
                media.starts_with("text/") || media == "image/svg+xml" || media == "application/javascript";
            if let (true, Value::String(whole)) = (is_text, &*value) {
                *value = lines(whole);
            }
        }
    }
}

/// A text as the list of its lines with their ends.
fn lines(text: &str) -> Value {
    Value::Array(text.split_inclusive('\n').map(Value::from).collect())
}

/// A text that is written whole or as a list of lines.
pub fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// The object under a key, made where there is none.
pub(crate) fn object_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(object) => object,
        // The line above has just made it an object.
        _ => unreachable!("the slot was set to an object"),
    }
}

fn is_cell_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn short_digest(text: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(text.as_bytes()));
    digest.truncate(8);
    digest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_core::Explain;

    use super::*;

    const MINIMAL: &str = r#"{
 "zebra": 1,
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "future": {"b": 1, "a": 2},
   "metadata": {"tags": ["parameters"], "other": true},
   "outputs": [],
   "source": ["x = 1\n", "y = 2"]
  }
 ],
 "metadata": {"kernelspec": {"name": "python3", "language": "Python", "display_name": "P"}},
 "nbformat": 4,
 "nbformat_minor": 5
}"#;

    fn parse(text: &str) -> Result<Notebook, Error> {
        Notebook::parse(Path::new("n.ipynb"), text.as_bytes())
    }

    #[test]
    fn a_folder_is_no_notebook() {
        let folder = tempfile::tempdir().unwrap();
        let error = Notebook::read(folder.path()).unwrap_err();
        assert_eq!(error.code(), rondo_core::Code::NotebookInvalid);
        assert!(error.to_string().ends_with("`: it is a folder"), "{error}");
    }

    #[test]
    fn unknown_keys_and_their_order_survive() {
        let notebook = parse(MINIMAL).unwrap();
        let before: Value = serde_json::from_str(MINIMAL).unwrap();
        let after: Value = serde_json::from_slice(&notebook.to_bytes()).unwrap();
        assert_eq!(before, after);
        let keys: Vec<&String> = after.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["zebra", "cells", "metadata", "nbformat", "nbformat_minor"]);
    }

    #[test]
    fn tags_source_kernel_and_language_are_read() {
        let notebook = parse(MINIMAL).unwrap();
        let cell = &notebook.cells[0];
        assert_eq!(cell.source(), "x = 1\ny = 2");
        assert!(cell.has_tag("parameters"));
        assert_eq!(notebook.kernel_name(), Some("python3"));
        assert_eq!(notebook.language().as_deref(), Some("python"));
    }

    #[test]
    fn missing_ids_are_added_the_same_way_each_time_and_twins_are_parted() {
        let mut one = parse(MINIMAL).unwrap();
        one.cells.push(Cell::code("x", &[]));
        one.cells[1].0.insert("id".to_owned(), json!("same"));
        one.cells.push(one.cells[1].clone());
        let mut two = one.clone();
        one.complete_ids();
        two.complete_ids();
        assert_eq!(one, two);
        let ids: Vec<_> = one.cells.iter().filter_map(Cell::id).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(ids[1], "same");
        assert_ne!(ids[2], "same");
    }

    #[test]
    fn notebooks_before_4_5_get_no_ids() {
        let mut notebook = parse(&MINIMAL.replace("\"nbformat_minor\": 5", "\"nbformat_minor\": 4")).unwrap();
        notebook.complete_ids();
        assert_eq!(notebook.cells[0].id(), None);
    }

    #[test]
    fn format_1_is_refused_with_the_command_that_converts_it() {
        let error = parse(r#"{"nbformat": 1, "cells": []}"#).unwrap_err();
        assert!(matches!(error, Error::Version { found: 1, .. }));
        assert!(error.hints()[0].contains("nbconvert"));
    }

    #[test]
    fn a_cell_without_source_is_named() {
        let error = parse(r#"{"nbformat": 4, "cells": [{"cell_type": "code"}]}"#).unwrap_err();
        assert!(error.to_string().contains("cell 1: `source`"), "{error}");
    }

    #[test]
    fn writing_replaces_the_whole_file_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/n.ipynb");
        write_atomically(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Notebook::parse(Path::new("n"), &bytes);
        }

        #[test]
        fn a_source_survives_writing_and_reading(source in "(?s).{0,200}") {
            let mut notebook = Notebook::new("python3", "python");
            notebook.cells.push(Cell::code(&source, &["a"]));
            let again = Notebook::parse(Path::new("n"), &notebook.to_bytes()).unwrap();
            prop_assert_eq!(again.cells[0].source(), source);
        }
    }
}
