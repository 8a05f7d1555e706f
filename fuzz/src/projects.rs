//! What people write: project files, packages, locks, sources, notebooks.

use std::path::Path;

use rondo_data::Source;
use rondo_data::fetch::glob::Glob;
use rondo_notebook::document::Notebook;
use rondo_notebook::{fenced, html, metrics, parameters, percent as script};
use rondo_project::builtins::Builtins;
use rondo_project::check;
use rondo_project::condition::Condition;
use rondo_project::fault;
use rondo_project::files::Files;
use rondo_project::lock::Lock;
use rondo_project::notebook::language::Language;
use rondo_project::package::read;

/// A folder in which every file is, and none has a text.
struct Everywhere;

impl Files for Everywhere {
    fn exists(&self, _path: &str) -> bool {
        true
    }

    fn text(&self, _path: &str) -> Option<String> {
        None
    }

    fn siblings(&self, _path: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A project file, whose faults are shown as well.
pub fn project(bytes: &[u8]) {
    super::text(bytes, |text| {
        if let Err(faults) = check::check(text, "rondo.yaml", &Everywhere, &Builtins::default()) {
            let _shown = fault::render("rondo.yaml", text, &faults);
            let _said = fault::json("rondo.yaml", &faults);
        }
    });
}

pub fn package(bytes: &[u8]) {
    super::text(bytes, |text| {
        if let Err(faults) = read::builtin(text) {
            let _shown = fault::render("package.yaml", text, &faults);
        }
    });
}

/// A lock file, which is written as it was read.
pub fn lock(bytes: &[u8]) {
    super::text(bytes, |text| {
        let Ok(lock) = Lock::parse(text) else { return };
        let written = lock.text();
        let again = Lock::parse(&written).expect("a lock file that was written is read");
        assert_eq!(again.text(), written);
    });
}

pub fn condition(bytes: &[u8]) {
    super::text(bytes, |text| {
        if let Ok(condition) = Condition::parse(text) {
            let _names = condition.names();
            let _held = condition.holds(&|_name| Some(serde_json::json!(1)));
        }
    });
}

/// The text after `source:`, and the same text as a pattern of files.
pub fn source(bytes: &[u8]) {
    super::text(bytes, |text| {
        let _source = Source::parse(text);
        if let Ok((_folder, pattern)) = Glob::parse(Path::new("/tmp"), text) {
            let _taken = pattern.takes("data/part-1.csv");
        }
    });
}

/// A notebook, with all that is done with one but running it.
pub fn notebook(bytes: &[u8]) {
    let Ok(notebook) = Notebook::parse(Path::new("n.ipynb"), bytes) else { return };
    let _parameters = parameters::inspect(&notebook);
    let _metrics = metrics::of(&notebook);
    let _page = html::export(&notebook, "n");
    let written = notebook.to_bytes();
    let again = Notebook::parse(Path::new("n.ipynb"), &written).expect("a notebook that was written is read");
    assert_eq!(again.to_bytes(), written);
}

/// The texts that are read as notebooks.
pub fn percent(bytes: &[u8]) {
    super::text(bytes, |text| {
        for notebook in
            [script::parse(text, Language::Python), fenced::parse(text, false), fenced::parse(text, true)]
        {
            let _parameters = parameters::inspect(&notebook);
        }
    });
}
