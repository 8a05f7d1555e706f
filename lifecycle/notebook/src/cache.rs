//! What came of earlier runs, kept by what they depended on: for notebooks that are run on their own.
//!
//! A key is the digest of the notebook's cells, the parameters, the texts that are masked, the folder that it
//! runs in, the contents of the declared inputs and of the modules beside the notebook that it imports, the
//! kernel's command, and the environment: the interpreter and the packages in it by name and version. Outputs and times of the notebook itself are not in it. Only runs
//! that ended well are kept. In a pipeline it is the pipeline that caches; this has no part in it.

pub mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rondo_core::Digest;
use rondo_project::imports::{self, Modules};
use rondo_project::notebook::language::Language;
use serde_json::{Value, json};

use crate::document::{Notebook, write_atomically};
use crate::error::Error;
use crate::execute::{ExecuteRequest, Executed};
use crate::kernel::spec::{self, KernelSpec};
use crate::parameters;

/// What tells the packages of a Python environment.
const PACKAGES: &str = "\
import sys, importlib.metadata as m
print(sys.version)
for line in sorted({f'{d.name}=={d.version}' for d in m.distributions()}): print(line)";
/// The same of R.
const R_PACKAGES: &str = "\
cat(R.version.string, '\\n'); p <- installed.packages()[, c('Package', 'Version')]; \
cat(sort(paste(p[, 1], p[, 2])), sep = '\\n')";

/// The folder of kept runs.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache in a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The run of a key: its executed notebook and what came of it. One that cannot be read is none.
    pub fn get(&self, key: Digest) -> Option<(Vec<u8>, Executed)> {
        let folder = self.place(key);
        let record: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).ok()?).ok()?;
        let notebook = fs::read(folder.join("executed.ipynb")).ok()?;
        // A file that was cut or changed is not what came of the run.
        let same = record.get("digest").and_then(Value::as_str) == Some(&Digest::of(&notebook).hex());
        let executed = serde_json::from_value(record.get("executed")?.clone()).ok()?;
        same.then_some((notebook, executed))
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, key: Digest, notebook: &[u8], executed: &Executed) -> Result<(), Error> {
        let folder = self.place(key);
        write_atomically(&folder.join("executed.ipynb"), notebook)?;
        let record = json!({ "digest": Digest::of(notebook).hex(), "executed": executed });
        // The record last: without it there is no run.
        write_atomically(&folder.join("run.json"), record.to_string().as_bytes())
    }

    fn place(&self, key: Digest) -> PathBuf {
        let hex = key.hex();
        let (first, rest) = hex.split_at(2.min(hex.len()));
        self.folder.join(first).join(rest)
    }
}

/// What the runs of one environment have in common: told once, it costs a start of the interpreter.
#[derive(Debug, Clone)]
pub struct Environment {
    spec: KernelSpec,
    packages: String,
}

impl Environment {
    /// The environment that a request runs in.
    ///
    /// # Errors
    /// When the notebook's kernel is not there, or its interpreter does not say what it is.
    pub fn of(request: &ExecuteRequest, notebook: &Notebook) -> Result<Self, Error> {
        let spec = spec::resolve(&request.kernel, notebook, &request.input)?;
        let program = spec.argv.first().cloned().unwrap_or_default();
        let language = spec.language.as_deref().and_then(Language::named);
        let uses_python = spec.argv.iter().any(|word| word == "-m");
        let packages = match language {
            _ if uses_python => said(&program, &["-c", PACKAGES], &request.env),
            Some(Language::R) => said("Rscript", &["-e", R_PACKAGES], &request.env),
            _ => said(&program, &["--version"], &request.env),
        };
        let packages = packages.map_err(|reason| Error::KernelStart {
            command: program,
            reason: format!("it does not say which environment it is: {reason}"),
            last_words: None,
        })?;
        Ok(Self { spec, packages })
    }
}

fn said(program: &str, arguments: &[&str], env: &BTreeMap<String, String>) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(env)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The key of a run; `inputs` are files and folders whose contents it depends on.
///
/// # Errors
/// When an input cannot be read.
pub fn key(
    request: &ExecuteRequest,
    notebook: &Notebook,
    environment: &Environment,
    inputs: &[PathBuf],
) -> Result<Digest, Error> {
    let cells: Vec<Value> = notebook
        .cells
        .iter()
        .filter(|cell| !cell.has_tag(parameters::INJECTED))
        .map(|cell| json!([cell.kind(), cell.tags(), cell.source()]))
        .collect();
    // Secrets and what is masked change what comes out: their digests stand in the key, never their texts.
    let digests = |texts: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        texts.iter().map(|(name, value)| (name.clone(), Digest::of(value.as_bytes()).hex())).collect()
    };
    // One folder has one name.
    let cwd = fs::canonicalize(&request.cwd).unwrap_or_else(|_| request.cwd.clone());
    let mut files = BTreeMap::new();
    for input in inputs {
        add(&mut files, input)?;
    }
    for module in local_modules(notebook, &request.cwd) {
        add(&mut files, &module)?;
    }
    let parts = json!({
        "rondo": env!("CARGO_PKG_VERSION"),
        "platform": [std::env::consts::OS, std::env::consts::ARCH],
        "cells": cells,
        "kernel": [request.language, environment.spec.argv, environment.spec.env],
        "environment": environment.packages,
        "parameters": [request.given.values, request.given.also, digests(&request.given.secrets)],
        "masked": digests(&request.masked),
        "cwd": cwd.to_string_lossy(),
        "hides": request.report_mode,
        "files": files,
    });
    Ok(Digest::of(parts.to_string().as_bytes()))
}

/// Puts the digest of a file, or of each file of a folder, under its name.
fn add(files: &mut BTreeMap<String, String>, path: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("read", path, error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        let digest = File::open(path).and_then(Digest::of_reader).map_err(failed)?;
        files.insert(path.to_string_lossy().into_owned(), digest.hex());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if has_contents(&entry) {
            add(files, &entry.path())?;
        }
    }
    Ok(())
}

/// Whether an entry of a folder is a file, a link to one, or a folder that was not made by Python. A link to a folder
/// may lead in a circle; one that leads nowhere, as editors leave them, and a socket hold nothing.
fn has_contents(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    if is_folder { entry.file_name() != "__pycache__" } else { entry.path().is_file() }
}

/// The modules in the folder that a notebook runs in which its cells import, with what those import. Of a
/// package it is the whole folder: it may read what lies in it.
fn local_modules(notebook: &Notebook, cwd: &Path) -> Vec<PathBuf> {
    let cells = notebook.cells.iter().filter(|cell| cell.is_code());
    let imports: Vec<_> = cells.flat_map(|cell| imports::of_source(&cell.source())).collect();
    let found = Modules::new(cwd).of_imports("", &imports);
    let packages: BTreeSet<&str> = found.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let packages = packages.into_iter().map(|package| cwd.join(package));
    let packages: Vec<PathBuf> = packages.filter(|package| package.join("__init__.py").is_file()).collect();
    found.keys().map(|path| cwd.join(path)).chain(packages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::parameters::Given;

    fn executed() -> Executed {
        Executed {
            cells_run: 2,
            seconds: 1.0,
            metrics: [("loss".to_owned(), f64::INFINITY)].into(),
            outputs: BTreeMap::new(),
            notes: Vec::new(),
            peak_memory: None,
            halt: None,
        }
    }

    #[test]
    fn a_run_is_found_again_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = Digest::of(b"k");
        assert_eq!(cache.get(key), None);
        cache.put(key, b"notebook", &executed()).unwrap();
        assert_eq!(cache.get(key), Some((b"notebook".to_vec(), executed())));
        fs::write(cache.place(key).join("executed.ipynb"), "note").unwrap();
        assert_eq!(cache.get(key), None);
    }

    #[test]
    fn the_key_follows_what_a_run_depends_on_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("helper.py"), "import deep; a = 1").unwrap();
        fs::write(at("deep.py"), "v = 1").unwrap();
        fs::write(at("late.py"), "v = 1").unwrap();
        fs::write(at("data.csv"), "1").unwrap();
        let mut notebook = Notebook::new("python3", "python");
        notebook.cells = vec![Cell::code(
            "import os, helper; print(helper.a)\nfrom gone import x\nif 1:\n    import late",
            &[],
        )];
        let environment =
            Environment { spec: KernelSpec::python(Path::new("/python")), packages: "a==1".to_owned() };
        let mut request = ExecuteRequest::new(at("n.ipynb"), at("o.ipynb"), Default::default());
        let of = |request: &ExecuteRequest, notebook: &Notebook, environment: &Environment| {
            key(request, notebook, environment, &[at("data.csv")]).unwrap()
        };
        let first = of(&request, &notebook, &environment);
        notebook.cells[0].set_execution_count(Some(3));
        request.output = at("other.ipynb");
        assert_eq!(of(&request, &notebook, &environment), first);
        for file in ["helper.py", "deep.py", "late.py", "data.csv"] {
            let before = fs::read(at(file)).unwrap();
            fs::write(at(file), "changed").unwrap();
            assert_ne!(of(&request, &notebook, &environment), first, "{file}");
            fs::write(at(file), before).unwrap();
        }
        request.masked = [("TOKEN".to_owned(), "s3cret".to_owned())].into();
        let masked = of(&request, &notebook, &environment);
        assert_ne!(masked, first);
        request.masked.insert("TOKEN".to_owned(), "another".to_owned());
        assert_ne!(of(&request, &notebook, &environment), masked);
        request.masked.clear();
        let here = request.cwd.clone();
        request.cwd = at("elsewhere");
        fs::create_dir(&request.cwd).unwrap();
        // Without the modules in it, which are in the key by themselves.
        let cells = std::mem::replace(&mut notebook.cells, vec![Cell::code("1", &[])]);
        let elsewhere = of(&request, &notebook, &environment);
        request.cwd = here;
        assert_ne!(of(&request, &notebook, &environment), elsewhere);
        notebook.cells = cells;
        assert_eq!(of(&request, &notebook, &environment), first);
        let other = Environment { packages: "a==2".to_owned(), ..environment.clone() };
        assert_ne!(of(&request, &notebook, &other), first);
        request.given = Given { values: [("n".to_owned(), json!(1))].into(), ..Given::default() };
        assert_ne!(of(&request, &notebook, &environment), first);
    }

    #[test]
    fn a_large_input_is_not_taken_into_memory() {
        let peak = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(400_000_000).unwrap();
        let before = peak();
        add(&mut BTreeMap::new(), &large).unwrap();
        assert!(peak() - before < 200_000, "{} kB more", peak() - before);
    }

    #[test]
    fn what_holds_nothing_is_passed_over_in_a_folder_and_told_by_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/sub/__pycache__")).unwrap();
        fs::write(at("data/sub/a.csv"), "1").unwrap();
        fs::write(at("data/sub/__pycache__/a.pyc"), "1").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link("me@host.1234:5678", "data/.#a.csv");
        link("..", "data/sub/circle");
        link("itself", "data/itself");
        link("sub/a.csv", "data/b.csv");
        let _socket = std::os::unix::net::UnixListener::bind(at("data/socket")).unwrap();
        let mut files = BTreeMap::new();
        add(&mut files, &at("data")).unwrap();
        let names: Vec<String> =
            ["data/b.csv", "data/sub/a.csv"].iter().map(|name| at(name).display().to_string()).collect();
        assert_eq!(files.into_keys().collect::<Vec<_>>(), names);
        let error = add(&mut BTreeMap::new(), &at("data/.#a.csv")).unwrap_err();
        assert!(error.to_string().contains(".#a.csv"), "{error}");
    }
}
