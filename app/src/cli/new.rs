//! `rondo new`: a small project whose every file is used in its first run. Works offline.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::id::is_name;
use rondo_core::{Code, Explain};
use serde_json::json;

use super::Session;
use super::failure::{Failure, Outcome};

/// Make a new project
#[derive(clap::Args)]
pub struct Args {
    /// The folder to make; its last part names the project
    folder: PathBuf,
    /// Say what would be made and make nothing
    #[arg(long)]
    dry_run: bool,
}

/// The files of the template, each with its path in the project.
const TABULAR: [(&str, &str); 7] = [
    ("rondo.yaml", include_str!("../../templates/tabular/rondo.yaml")),
    ("data/iris.csv", include_str!("../../templates/tabular/iris.csv")),
    ("prepare.sql", include_str!("../../templates/tabular/prepare.sql")),
    ("train.ipynb", include_str!("../../templates/tabular/train.ipynb")),
    ("requirements.txt", include_str!("../../templates/tabular/requirements.txt")),
    ("README.md", include_str!("../../templates/tabular/README.md")),
    (".gitignore", include_str!("../../templates/tabular/gitignore")),
];

/// Makes it.
///
/// # Errors
/// When the name is no name, the folder holds something already, or it cannot be written.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let folder = session.here().join(&args.folder);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_name(&name) {
        return Err(Failure::hinted(
            Code::Usage,
            format!("name a project `{name}`: expected a letter, then letters, digits, `_` or `-`"),
            "rondo new my-project",
        ));
    }
    let occupied = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(Failure::hinted(
            Code::Usage,
            format!("make a project in `{}`: the folder is not empty", folder.display()),
            format!("rondo new {name}-2"),
        ));
    }
    if !args.dry_run {
        for (path, text) in TABULAR {
            write(&folder.join(path), &text.replace("{{name}}", &name))?;
        }
    }
    let files: Vec<&str> = TABULAR.iter().map(|(path, _)| *path).collect();
    let value = json!({ "schema": 1, "project": name, "folder": folder, "files": files });
    let verb = if args.dry_run { "would make" } else { "made" };
    let mut text = format!("{verb} project `{name}` in {}\n", folder.display());
    for file in files {
        text.push_str(&format!("  {file}\n"));
    }
    text.push_str(&format!("\nnext:\n  cd {}\n  rondo run\n", args.folder.display()));
    session.printer().result(&value, &text);
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("write `{}`", path.display())]
struct Unwritable {
    path: PathBuf,
    source: std::io::Error,
}

impl Explain for Unwritable {
    fn code(&self) -> Code {
        Code::Io
    }
}

fn write(path: &Path, text: &str) -> Result<(), Unwritable> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|source| Unwritable { path: path.to_owned(), source })
}
