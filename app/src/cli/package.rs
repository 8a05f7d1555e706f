//! `rondo package`: reusable steps with a typed interface.

pub mod check;
pub mod list;
pub mod new;
mod service;
pub mod show;
pub mod test;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::{Code, Explain};
use rondo_project::fault::{self, Fault};
use rondo_project::package::load::{self, Unreadable, is_address};
use rondo_project::package::{PACKAGE_FILE, Package};

use super::Session;
use super::failure::{Failure, Outcome};
use crate::platform::builtins;

/// What to do with a package
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Make a new package that works
    New(new::Args),
    /// Check a package, and the packages that it uses: every fault in one go
    Check(check::Args),
    /// Run a package's own tests, in a temporary place
    Test(test::Args),
    /// Show a package's interface, or write it as JSON Schema or CUE
    Show(show::Args),
    /// List the packages that are built in, and those of the project
    List(list::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::New(args) => new::run(&args, session),
        Verb::Check(args) => check::run(&args, session),
        Verb::Test(args) => test::run(&args, session).await,
        Verb::Show(args) => show::run(&args, session),
        Verb::List(args) => list::run(&args, session),
    }
}

/// A package that was found, and how a step in `root` would use it.
pub(super) struct Found {
    pub package: Arc<Package>,
    pub root: PathBuf,
    pub uses: String,
}

/// Finds a package by its name, folder or address.
pub(super) fn find(session: &Session, given: &str) -> Outcome<Found> {
    let here = session.here();
    let project = session.project_root();
    let base = project.clone().unwrap_or_else(|| here.clone());
    let known = builtins::of_project(&base, session.config());
    let alone = |root: PathBuf, uses: String| {
        let found = tokio::task::block_in_place(|| load::alone(&root, &uses, &known));
        match found {
            Ok(package) => Ok(Found { package, root, uses }),
            Err(Unreadable::Faults(faults)) => Err(invalid(&faults)),
            Err(Unreadable::Refused(refusal)) => Err(match refusal.hint {
                Some(hint) => Failure::hinted(Code::PackageInvalid, refusal.message, hint),
                None => Failure::new(Code::PackageInvalid, refusal.message),
            }),
        }
    };
    if known.packages.get(given).is_some() || is_address(given) {
        return alone(base, given.to_owned());
    }
    let folder = here.join(given);
    let folder = if folder.file_name().is_some_and(|name| name == PACKAGE_FILE) {
        folder.parent().map(Path::to_owned).unwrap_or(folder)
    } else {
        folder
    };
    let in_project = base.join("packages").join(given);
    let plain = !given.contains(['/', '.']);
    let folder = if plain && !folder.exists() && in_project.exists() { in_project } else { folder };
    let Ok(folder) = folder.canonicalize() else {
        let names = known.packages.iter().map(|package| package.name.as_str());
        let near = rondo_core::suggest::nearest(given, names);
        let hint =
            near.map_or_else(|| "rondo package list".to_owned(), |near| format!("did you mean `{near}`?"));
        return Err(Failure::hinted(Code::PackageNotFound, format!("find package `{given}`"), hint));
    };
    // Packages name each other by relative paths: those of a project may lie anywhere in it.
    let root = project.and_then(|root| root.canonicalize().ok()).filter(|root| folder.starts_with(root));
    let root = root.or_else(|| folder.parent().map(Path::to_owned)).unwrap_or_else(|| folder.clone());
    let inside = folder.strip_prefix(&root).unwrap_or(Path::new(""));
    if inside.as_os_str().is_empty() {
        return Err(Failure::hinted(
            Code::Usage,
            format!("find package `{given}`: that is the project's own folder"),
            "rondo package list",
        ));
    }
    alone(root.clone(), format!("./{}", inside.to_string_lossy()))
}

/// Faults of packages, as a failed command.
pub(super) fn invalid(faults: &[Fault]) -> Failure {
    let text = fault::render(PACKAGE_FILE, "", faults);
    let file = faults.first().and_then(|fault| fault.within.as_ref());
    let file = file.map_or(PACKAGE_FILE, |source| &source.file).to_owned();
    let value = fault::json(&file, faults);
    Failure::from(Invalid { file, count: faults.len() }).shown(text, value)
}

#[derive(Debug, thiserror::Error)]
#[error("`{file}` has {count} fault{}", if *count == 1 { "" } else { "s" })]
struct Invalid {
    file: String,
    count: usize,
}

impl Explain for Invalid {
    fn code(&self) -> Code {
        Code::PackageInvalid
    }
}
