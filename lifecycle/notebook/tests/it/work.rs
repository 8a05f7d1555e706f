//! What the tests share: a folder with notebooks, and a watcher that remembers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::ports::{Event, Progress};
use rondo_notebook::document::{Cell, Notebook};
use rondo_notebook::execute::ExecuteRequest;
use rondo_notebook::kernel::KernelChoice;
use serde_json::Value;

/// A folder of a test's own.
pub struct Work {
    pub python: PathBuf,
    folder: tempfile::TempDir,
}

impl Work {
    /// `None` where no kernel can be had: the test is skipped, and stderr says why.
    pub fn new() -> Option<Self> {
        let python = crate::environment::python()?;
        Some(Self { python, folder: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a notebook of code cells, each with its tags.
    pub fn notebook(&self, cells: &[(&str, &[&str])]) -> PathBuf {
        let mut notebook = Notebook::new("python3", "python");
        notebook.cells.push(Cell::markdown("# A notebook", &[]));
        notebook.cells.extend(cells.iter().map(|(source, tags)| Cell::code(source, tags)));
        let path = self.path("in.ipynb");
        notebook.write(&path).unwrap();
        path
    }

    /// A request to run a notebook of code cells; the executed copy is `out.ipynb`.
    pub fn request(&self, cells: &[(&str, &[&str])]) -> ExecuteRequest {
        let input = self.notebook(cells);
        ExecuteRequest::new(input, self.path("out.ipynb"), KernelChoice::python(&self.python))
    }

    /// The executed copy, found valid by nbformat.
    pub fn executed(&self) -> Notebook {
        let path = self.path("out.ipynb");
        crate::environment::validate(&self.python, &path);
        Notebook::read(&path).unwrap()
    }
}

/// All text of a cell's outputs: streams, plain data and errors.
pub fn text(cell: &Cell) -> String {
    let parts = cell.outputs().iter().map(|output| {
        let data = output.get("data").and_then(|data| data.get("text/plain"));
        let error = |key: &str| output.get(key).and_then(Value::as_str).unwrap_or_default();
        let text = output.get("text").or(data).map(rondo_notebook::document::joined).unwrap_or_default();
        format!("{text}{}{}", error("ename"), error("evalue"))
    });
    parts.collect::<Vec<_>>().join("|")
}

/// Whether any process has a text on its command line.
pub fn is_running(text: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let lines =
        entries.filter_map(Result::ok).filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(text))
}

/// Remembers what was reported.
#[derive(Default, Clone)]
pub struct Watcher(Arc<Mutex<Vec<Event>>>);

impl Watcher {
    pub fn lines(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Output { line, .. } => Some(line.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn notes(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Note { message, .. } => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn advances(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Advanced { message, .. } => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn steps(&self) -> Vec<(u64, Option<u64>)> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Advanced { done, total, .. } => Some((*done, *total)),
                _ => None,
            })
            .collect()
    }
}

impl Progress for Watcher {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// The names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
