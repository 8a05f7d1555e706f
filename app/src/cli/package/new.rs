//! `rondo package new`: a package that works, with tests that pass, to be changed into another.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_core::id::is_name;
use rondo_project::quote;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::Error;

/// Make a new package that works
#[derive(clap::Args)]
pub struct Args {
    /// Its name, or the folder to make; a name alone goes to `packages/` of the project
    #[arg(value_name = "NAME")]
    name: PathBuf,
    /// What it runs
    #[arg(long, default_value = "shell")]
    kind: Kind,
    /// Say what would be made and make nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Shell,
    Python,
    R,
    Sql,
    Notebook,
    Workflow,
    Service,
}

macro_rules! files {
    ($kind:literal: $($file:literal),*) => {
        &[$(($file, include_str!(concat!("../../../templates/package/", $kind, "/", $file)))),*]
    };
}

impl Kind {
    /// The files of its own, each with its path in the package.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shell => files!("shell": "package.yaml", "head.sh"),
            Self::Python => files!("python": "package.yaml", "run.py"),
            Self::R => files!("r": "package.yaml", "run.R"),
            Self::Sql => files!("sql": "package.yaml", "groups.sql"),
            Self::Notebook => files!("notebook": "package.yaml", "page.ipynb", "requirements.txt"),
            Self::Workflow => files!("workflow": "package.yaml"),
            Self::Service => files!("service": "package.yaml", "serve.py", "tests/pages/index.html"),
        }
    }
}

const README: (&str, &str) = ("README.md", include_str!("../../../templates/package/README.md"));
const ROWS: (&str, &str) = ("tests/rows.csv", include_str!("../../../templates/package/rows.csv"));

/// Makes it.
///
/// # Errors
/// When the name is no name, the folder holds something already, or it cannot be written.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let alone = args.name.components().count() == 1 && !args.name.starts_with(".");
    let base = match session.project_root().filter(|_| alone) {
        Some(root) => root.join("packages"),
        None => session.here(),
    };
    let folder = base.join(&args.name);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_name(&name) {
        return Err(Failure::hinted(
            Code::Usage,
            format!("name a package `{name}`: expected a letter, then letters, digits, `_` or `-`"),
            "rondo package new my-package",
        ));
    }
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::hinted(
            Code::Usage,
            format!("make a package in `{}`: the folder is not empty", folder.display()),
            format!("rondo package new {name}-2"),
        ));
    }
    let tested = !matches!(args.kind, Kind::Service);
    let files = args.kind.files().iter().copied().chain([README]).chain(tested.then_some(ROWS));
    let files: Vec<(&str, &str)> = files.collect();
    if !args.dry_run {
        for (path, text) in &files {
            write(&folder.join(path), &text.replace("{{name}}", &name))?;
        }
    }
    let uses = match session.project_root() {
        Some(root) => folder.strip_prefix(&root).map(|path| format!("./{}", path.display())).ok(),
        None => None,
    };
    let shown = uses.clone().unwrap_or_else(|| args.name.display().to_string());
    let names: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    let value = json!({ "schema": 1, "package": name, "folder": folder, "files": names, "uses": uses });
    let verb = if args.dry_run { "would make" } else { "made" };
    let mut text = format!("{verb} package `{name}` in {}\n", folder.display());
    names.iter().for_each(|file| text.push_str(&format!("  {file}\n")));
    text.push_str(&format!("\nnext:\n  rondo package test {}\n", quote::word(&shown)));
    session.printer().result(&value, &text);
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(Error::io("write", path))
}
