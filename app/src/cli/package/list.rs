//! `rondo package list`.

use std::path::Path;

use rondo_project::package::PACKAGE_FILE;
use rondo_project::package::load::{self, Unreadable};
use serde_json::{Value, json};

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::platform::builtins;

/// List the packages that are built in, and those of the project
#[derive(clap::Args)]
pub struct Args {}

/// Lists them.
///
/// # Errors
/// When the project's lock file has faults.
pub fn run(_: &Args, session: &Session) -> Outcome {
    let mut rows: Vec<Vec<String>> = vec![["uses", "version", "run", "summary"].map(String::from).to_vec()];
    let mut values: Vec<Value> = Vec::new();
    let known = builtins::known();
    for package in known.packages.iter() {
        rows.push(vec![
            package.name.clone(),
            package.version.clone(),
            package.run.word().to_owned(),
            package.summary.clone(),
        ]);
        values.push(json!({
            "uses": package.name, "name": package.name, "version": package.version, "builtin": true,
            "run": package.run.word(), "summary": package.summary,
        }));
    }
    if let Some(root) = session.project_root() {
        let known = builtins::of_project(&root, session.config());
        for folder in folders(&root.join("packages")) {
            let uses = format!("./packages/{folder}");
            let (version, run, summary) = match load::alone(&root, &uses, &known) {
                Ok(package) => {
                    (package.version.clone(), package.run.word().to_owned(), package.summary.clone())
                }
                Err(Unreadable::Faults(faults)) => (
                    String::new(),
                    "faulty".to_owned(),
                    format!("{} faults: rondo package check {uses}", faults.len()),
                ),
                Err(Unreadable::Refused(refusal)) => (String::new(), "faulty".to_owned(), refusal.message),
            };
            values.push(json!({
                "uses": uses, "name": folder, "version": version, "builtin": false, "run": run,
                "summary": summary,
            }));
            rows.push(vec![uses, version, run, summary]);
        }
    }
    session.printer().result(&json!({ "schema": 1, "packages": values }), &table(&rows));
    Ok(())
}

/// The folders of packages in a folder, sorted.
fn folders(packages: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(packages) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(PACKAGE_FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
