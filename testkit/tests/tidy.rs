//! The rules of the house, as tests: which crate may know what. ARCHITECTURE.md says why.

use std::fs;
use std::path::Path;

use rondo_testkit::{files, root};

const STAGES: [&str; 7] = ["data", "pipeline", "notebook", "tracking", "registry", "serving", "monitoring"];
const BASE: [&str; 6] = ["core", "store", "table", "project", "remote", "process"];

fn folder(name: &str) -> String {
    if BASE.contains(&name) { format!("base/{name}") } else { format!("lifecycle/{name}") }
}

/// The names of the `[dependencies]` of a crate, without its development dependencies.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = read(manifest);
    let section = text.split("[dependencies]").nth(1).unwrap_or("");
    let section = section.split("\n[").next().unwrap_or("");
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("read {}: {error}", path.display()),
    }
}

/// The part of a source file before its tests.
fn code(path: &Path) -> String {
    let text = read(path);
    text.split("#[cfg(test)]\nmod").next().unwrap_or("").to_owned()
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/tests/") || text.ends_with("/tests.rs") || text.contains("/testkit/")
}

#[test]
fn arrows_go_one_way() {
    for name in BASE.into_iter().chain(STAGES) {
        let manifest = root().join(folder(name)).join("Cargo.toml");
        for dependency in dependencies(&manifest) {
            let Some(other) = dependency.strip_prefix("rondo-") else { continue };
            let allowed = match name {
                "core" | "process" => false,
                "store" | "table" | "project" => other == "core",
                "remote" => other == "core" || other == "store",
                _stage => BASE.contains(&other),
            };
            assert!(allowed, "{name} must not depend on {other}");
        }
    }
}

#[test]
fn only_the_store_knows_sql_and_only_the_app_knows_http_servers_and_terminals() {
    let owners = [
        ("axum", "app"),
        ("clap", "app"),
        ("indicatif", "app"),
        ("anstream", "app"),
        ("zeromq", "notebook"),
        ("saphyr-parser", "project"),
    ];
    for name in BASE.into_iter().chain(STAGES) {
        let manifest = root().join(folder(name)).join("Cargo.toml");
        // The data stage asks other people's databases, in one room of its own; ours is the store's alone.
        let knows_sql = matches!(name, "store" | "data");
        assert!(
            knows_sql || !dependencies(&manifest).iter().any(|d| d == "sqlx" || d == "rusqlite"),
            "{name}"
        );
        for dependency in dependencies(&manifest) {
            if let Some((_, owner)) = owners.iter().find(|(library, _)| *library == dependency) {
                assert_eq!(*owner, name, "{dependency} belongs to {owner}, not to {name}");
            }
        }
    }
}

#[test]
fn the_data_stage_asks_databases_in_one_room() {
    for path in files(&root().join("lifecycle/data/src"), ".rs") {
        if is_test(&path) {
            continue;
        }
        let asks = read(&path).contains("sqlx::") || read(&path).contains("rusqlite::");
        assert!(!asks || path.to_string_lossy().contains("/fetch/query"), "{}", path.display());
    }
}

#[test]
fn nothing_below_the_app_prints_or_reads_the_environment() {
    for name in BASE.into_iter().chain(STAGES) {
        for path in files(&root().join(folder(name)).join("src"), ".rs") {
            if is_test(&path) {
                continue;
            }
            let code = code(&path);
            for word in ["println!", "print!(", "eprintln!", "env::var(", "env::vars", "env::home_dir"] {
                assert!(!code.contains(word), "{} uses `{word}`", path.display());
            }
        }
    }
}

#[test]
fn every_crate_and_module_says_what_it_is() {
    for name in BASE.into_iter().chain(STAGES) {
        for path in files(&root().join(folder(name)).join("src"), ".rs") {
            let text = read(&path);
            assert!(text.starts_with("//!"), "{} does not begin with a `//!` paragraph", path.display());
        }
    }
    for path in files(&root().join("app/src"), ".rs") {
        let text = read(&path);
        assert!(text.starts_with("//!"), "{} does not begin with a `//!` paragraph", path.display());
    }
}

#[test]
fn one_integration_test_binary_a_crate() {
    for name in BASE.into_iter().chain(STAGES) {
        let tests = root().join(folder(name)).join("tests");
        let Ok(entries) = fs::read_dir(&tests) else { continue };
        let binaries = entries.flatten().filter(|entry| {
            let path = entry.path();
            path.extension().is_some_and(|ending| ending == "rs") || path.join("main.rs").is_file()
        });
        assert!(binaries.count() <= 1, "{} has more than one test binary", tests.display());
    }
}
