//! `rondo new`: a small project whose every file is used in its first run; of a folder in which there is something
//! already, a project that has nothing declared yet. Works offline.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::id::is_name;
use rondo_core::{Code, Explain};
use rondo_project::quote;
use serde_json::json;

use super::Session;
use super::failure::{Failure, Outcome};
use crate::platform::PROJECT_FILE;

/// Make a new project, with an example to start from; of a folder that holds files already, an empty one beside them
#[derive(clap::Args)]
pub struct Args {
    /// The folder, `.` for the current one; its last part names the project
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

/// What a folder with files of its own gets: a project in which nothing is declared.
const BARE: [(&str, &str); 2] =
    [("rondo.yaml", include_str!("../../templates/bare/rondo.yaml")), (".gitignore", ".rondo/\n")];

/// Makes it.
///
/// # Errors
/// When the name is no name, there is a project already, or it cannot be written.
pub fn run(args: &Args, session: &Session) -> Outcome {
    // Without the `.` that `.` leaves at its end.
    let folder: PathBuf = session.here().join(&args.folder).components().collect();
    if folder.join(PROJECT_FILE).exists() {
        return Err(Failure::hinted(
            Code::Usage,
            format!("make a project in `{}`: it is one already", folder.display()),
            "rondo status",
        ));
    }
    let occupied = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    let last = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = if occupied { nearest_name(&last) } else { last };
    if !is_name(&name) {
        return Err(no_name(&args.folder, &name));
    }
    let (template, next): (&[(&str, &str)], _) =
        if occupied { (&BARE, "rondo data add FILE") } else { (&TABULAR, "rondo run") };
    // What is there stays as it is.
    let made: Vec<_> = template.iter().filter(|(path, _)| !folder.join(path).exists()).collect();
    if !args.dry_run {
        for (path, text) in &made {
            write(&folder.join(path), &text.replace("{{name}}", &name))?;
        }
    }
    let files: Vec<&str> = made.iter().map(|(path, _)| *path).collect();
    let value = json!({ "schema": 1, "project": name, "folder": folder, "files": files });
    let verb = if args.dry_run { "would make" } else { "made" };
    let mut text = format!("{verb} project `{name}` in {}\n", folder.display());
    for file in files {
        text.push_str(&format!("  {file}\n"));
    }
    let elsewhere = args.folder.as_os_str() != ".";
    let go = if elsewhere {
        format!("  cd {}\n", quote::word(&args.folder.to_string_lossy()))
    } else {
        String::new()
    };
    text.push_str(&format!("\nnext:\n{go}  {next}\n"));
    session.printer().result(&value, &text);
    Ok(())
}

/// That a folder's name is none for a project, with one that is.
fn no_name(folder: &Path, name: &str) -> Failure {
    let message = format!("name a project `{name}`: expected a letter, then letters, digits, `_` or `-`");
    let near = folder.with_file_name(nearest_name(name));
    Failure::hinted(Code::Usage, message, format!("rondo new {}", quote::word(&near.to_string_lossy())))
}

/// A project's name out of a folder's: what a name may not have becomes `-`.
fn nearest_name(folder: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = folder.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if is_name(name) { name.to_owned() } else { format!("project-{name}").trim_end_matches('-').to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_told_with_one_that_is() {
        let told =
            |folder: &str, name| no_name(Path::new(folder), name).text().lines().nth(1).map(str::to_owned);
        assert_eq!(told("a b", "a b").as_deref(), Some("hint: rondo new a-b"));
        assert_eq!(
            told("my work/2024 sales", "2024 sales").as_deref(),
            Some("hint: rondo new 'my work/project-2024-sales'")
        );
    }

    #[test]
    fn any_folder_gives_a_project_its_name() {
        let named = ["churn", "my data", "2024 sales", "été", "..."].map(nearest_name);
        assert_eq!(named, ["churn", "my-data", "project-2024-sales", "t", "project"]);
        assert!(named.iter().all(|name| is_name(name)));
    }
}
