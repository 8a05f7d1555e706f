//! Imports followed from file to file, among the files of one project.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rondo_core::Digest;
use serde_json::Value;

use super::{Import, of_source};
use crate::command::{Started, started};
use crate::notebook::language::Language;
use crate::notebook::{language_of, source};

/// So many modules are followed from one script; a project with more declares them as `code:`.
const MOST: usize = 2000;
/// A file that is larger is no source that anybody has written.
const LARGEST: u64 = 16 << 20;
/// A file that was changed less than this long ago is read again: clocks tick.
const TICK_NANOS: i128 = 50_000_000;

/// The folder that holds a project's modules by custom, beside the project's own.
const SRC: &str = "src";

/// The Python modules of a project. What was read is remembered as long as the file keeps its stamp, so that
/// many steps which import the same modules read them once.
#[derive(Debug)]
pub struct Modules {
    root: PathBuf,
    known: Mutex<HashMap<String, Known>>,
}

/// One file as it was read.
#[derive(Debug, Clone)]
struct Known {
    stamp: Stamp,
    digest: Digest,
    imports: Arc<[Import]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    inode: u64,
    modified: i128,
    changed: i128,
}

impl Modules {
    /// The modules of the project in that folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), known: Mutex::default() }
    }

    /// The modules that a script or notebook imports, and those that they import, with their digests by path
    /// relative to the project. What is no Python, or is not there, imports nothing.
    pub fn of_file(&self, path: &str) -> BTreeMap<String, Digest> {
        let is_source = path.ends_with(".py") || path.ends_with(".ipynb");
        let Some(read) = is_source.then(|| self.read(path)).flatten() else { return BTreeMap::new() };
        let mut found = self.of_imports(folder_of(path), &read.imports);
        found.remove(path);
        found
    }

    /// The modules that a command runs by name, and those that they import.
    pub fn of_command(&self, command: &str) -> BTreeMap<String, Digest> {
        let mut found = BTreeMap::new();
        for started in started(command) {
            let Started::Module { folder, name } = started else { continue };
            found.extend(
                Import::of_main(&name)
                    .map(|import| self.of_imports(&folder, &[import]))
                    .into_iter()
                    .flatten(),
            );
        }
        found
    }

    /// The modules that code in a folder of the project imports, and those that they import. They are looked
    /// for in that folder, in the project's, and in its `src`.
    pub fn of_imports(&self, folder: &str, imports: &[Import]) -> BTreeMap<String, Digest> {
        let mut roots = vec![folder.to_owned()];
        for other in ["", SRC] {
            if other != folder && (other.is_empty() || self.root.join(other).is_dir()) {
                roots.push(other.to_owned());
            }
        }
        let mut found = BTreeMap::new();
        let mut waiting: VecDeque<(String, Arc<[Import]>)> = VecDeque::new();
        waiting.push_back((folder.to_owned(), imports.into()));
        while let Some((folder, imports)) = waiting.pop_front() {
            for import in imports.iter() {
                for path in self.files(import, &folder, &roots) {
                    if found.len() >= MOST || found.contains_key(&path) {
                        continue;
                    }
                    let Some(read) = self.read(&path) else { continue };
                    waiting.push_back((folder_of(&path).to_owned(), read.imports));
                    found.insert(path, read.digest);
                }
            }
        }
        found
    }

    /// The files of the project that an import reads, as Python would find them.
    fn files(&self, import: &Import, folder: &str, roots: &[String]) -> Vec<String> {
        let mut files = Vec::new();
        let mut places = match import.level {
            0 => roots.to_vec(),
            level => above(folder, level - 1).map(str::to_owned).into_iter().collect(),
        };
        if import.level > 0 && import.module.is_empty() {
            files.extend(
                places.iter().map(|place| join(place, "__init__.py")).filter(|path| self.is_file(path)),
            );
        }
        for part in &import.module {
            places = self.step(&places, part, &mut files);
        }
        for name in &import.names {
            self.step(&places, name, &mut files);
        }
        files
    }

    /// One part of a module's name: its file is noted, and where to look for the next part is said.
    fn step(&self, places: &[String], part: &str, files: &mut Vec<String>) -> Vec<String> {
        let mut open = Vec::new();
        for place in places {
            let inner = join(place, part);
            if self.root.join(&inner).is_dir() {
                let package = join(&inner, "__init__.py");
                if self.is_file(&package) {
                    files.push(package);
                    return vec![inner];
                }
                // A package without a file of its own may lie in several places.
                open.push(inner.clone());
            }
            let module = format!("{inner}.py");
            if self.is_file(&module) {
                files.push(module);
                return Vec::new();
            }
        }
        open
    }

    fn is_file(&self, path: &str) -> bool {
        self.root.join(path).is_file()
    }

    fn read(&self, path: &str) -> Option<Known> {
        let place = self.root.join(path);
        let stamp = Stamp::of(&place)?;
        if let Some(known) = self.known().get(path).filter(|known| known.stamp == stamp) {
            return Some(known.clone());
        }
        let bytes = fs::read(&place).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let imports = if path.ends_with(".ipynb") { of_notebook(&text) } else { of_source(&text) };
        let known = Known { stamp, digest: Digest::of(&bytes), imports: imports.into() };
        if stamp.is_settled() {
            self.known().insert(path.to_owned(), known.clone());
        }
        Some(known)
    }

    /// A lock whose holder panicked still guards whole entries.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    /// The stamp of a file; nothing of what is no file, or too large.
    fn of(place: &Path) -> Option<Self> {
        let found = fs::metadata(place).ok().filter(|found| found.is_file() && found.len() <= LARGEST)?;
        let nanos = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        Some(Self {
            size: found.len(),
            inode: found.ino(),
            modified: nanos(found.mtime(), found.mtime_nsec()),
            changed: nanos(found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether a later change would give another stamp for certain.
    fn is_settled(self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i128::try_from(now.as_nanos()).unwrap_or_default();
        now - self.modified.max(self.changed) >= TICK_NANOS
    }
}

/// The imports of a notebook's cells, where it is one of Python.
fn of_notebook(text: &str) -> Vec<Import> {
    let Ok(notebook) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    if language_of(notebook.get("metadata").unwrap_or(&Value::Null)) != Some(Language::Python) {
        return Vec::new();
    }
    let cells = notebook.get("cells").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_code = |cell: &&Value| cell.get("cell_type").and_then(Value::as_str) == Some("code");
    // Each by itself: a text that is not closed ends with its cell.
    cells.iter().filter(is_code).flat_map(|cell| of_source(&source(cell))).collect()
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder so many folders above another; nothing above the project's.
fn above(folder: &str, levels: usize) -> Option<&str> {
    (0..levels).try_fold(folder, |folder, _| (!folder.is_empty()).then(|| folder_of(folder)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Modules) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let place = root.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        let modules = Modules::new(root.path());
        (root, modules)
    }

    fn names(found: &BTreeMap<String, Digest>) -> Vec<&str> {
        found.keys().map(String::as_str).collect()
    }

    #[test]
    fn imports_are_followed_through_modules_packages_and_circles() {
        let (_root, modules) = project(&[
            ("src/t.py", "import feat, os, numpy\nfrom pkg.deep import inner, VALUE\n"),
            ("src/feat.py", "import t\nimport common\n"),
            ("src/unused.py", ""),
            ("common.py", "from ns import part"),
            ("ns/part.py", "x = 1"),
            ("src/pkg/__init__.py", "from . import a"),
            ("src/pkg/a.py", "from .deep.b import c\nfrom ... import outside\nfrom .... import outside"),
            ("src/pkg/deep/__init__.py", ""),
            ("src/pkg/deep/inner.py", "from .. import a"),
            ("src/pkg/deep/b.py", "from ..sibling import z"),
            ("src/pkg/sibling.py", "def (:\nimport common"),
        ]);
        assert_eq!(
            names(&modules.of_file("src/t.py")),
            [
                "common.py",
                "ns/part.py",
                "src/feat.py",
                "src/pkg/__init__.py",
                "src/pkg/a.py",
                "src/pkg/deep/__init__.py",
                "src/pkg/deep/b.py",
                "src/pkg/deep/inner.py",
                "src/pkg/sibling.py",
            ]
        );
        assert!(modules.of_file("gone.py").is_empty() && modules.of_file("../t.py").is_empty());
    }

    #[test]
    fn what_is_beside_the_script_goes_before_what_is_elsewhere() {
        let (_root, modules) = project(&[
            ("jobs/t.py", "import a, b, c"),
            ("jobs/a.py", ""),
            ("a.py", ""),
            ("b/__init__.py", ""),
            ("b.py", ""),
            ("src/b.py", ""),
            ("src/c.py", ""),
        ]);
        assert_eq!(names(&modules.of_file("jobs/t.py")), ["b/__init__.py", "jobs/a.py", "src/c.py"]);
    }

    #[test]
    fn notebooks_of_python_and_modules_run_by_name_import_too() {
        let cell = |source: &str| json!({"cell_type": "code", "source": [source], "metadata": {}});
        let notebook = |language: &str| {
            let cells =
                [cell("x = \"\"\""), cell("%matplotlib inline\nimport helper"), json!({"cell_type": "code"})];
            json!({"cells": cells, "metadata": {"language_info": {"name": language}}}).to_string()
        };
        let (_root, modules) = project(&[
            ("work/n.ipynb", &notebook("python")),
            ("work/r.ipynb", &notebook("R")),
            ("work/no.ipynb", "{"),
            ("helper.py", ""),
            ("app/__init__.py", ""),
            ("app/__main__.py", "import helper"),
        ]);
        assert_eq!(names(&modules.of_file("work/n.ipynb")), ["helper.py"]);
        assert!(modules.of_file("work/r.ipynb").is_empty() && modules.of_file("work/no.ipynb").is_empty());
        assert_eq!(
            names(&modules.of_command("python -m app x")),
            ["app/__init__.py", "app/__main__.py", "helper.py"]
        );
        assert!(modules.of_command("python app.py").is_empty());
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let (root, modules) = project(&[("t.py", "import a"), ("a.py", "1"), ("b.py", "")]);
        let first = modules.of_file("t.py");
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(modules.of_file("t.py"), first);
        fs::write(root.path().join("a.py"), "2").unwrap();
        assert_ne!(modules.of_file("t.py"), first);
        fs::write(root.path().join("t.py"), "import b").unwrap();
        assert_eq!(names(&modules.of_file("t.py")), ["b.py"]);
    }
}
