//! The packages built into this binary, as the checker of the project file knows them and as steps run them.
//!
//! Each has a folder under `packages/` with its `package.yaml`: the same form as anybody's package.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rondo_core::ports::{Builtin, Scorer, SqlEngine};
use rondo_data::packages::{Balance, Check, Engine, Leakage, ProfilePackage, Split};
use rondo_notebook::builtin::Papermill;
use rondo_pipeline::builtins::{Container, CrossValidate, Images};
use rondo_pipeline::packages::git::GitPackages;
use rondo_project::builtins::{Arguments, Builtins, Packages};
use rondo_registry::evaluate::EvaluatePackage;
use rondo_registry::package_model::PackageModel;
use rondo_table::profile::Profile;

use crate::config::Config;
use crate::report::profile as page;

macro_rules! texts {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../packages/", $name, "/package.yaml")))),*]
    };
}

const TEXTS: [(&str, &str); 22] = texts![
    "shell",
    "python",
    "r",
    "sql",
    "papermill",
    "container",
    "split",
    "balance",
    "check",
    "profile",
    "cross-validate",
    "evaluate",
    "streamlit",
    "jupyterlab",
    "gradio",
    "dash",
    "panel",
    "shiny",
    "marimo",
    "images",
    "package-model",
    "leakage",
];

// A test reads every one of them.
static PACKAGES: LazyLock<Packages> = LazyLock::new(|| Packages::of_texts(TEXTS));

/// The packages built into this binary and the form of their `with:` blocks.
pub fn known() -> Builtins {
    Builtins {
        packages: PACKAGES.clone(),
        environments: rondo_pipeline::packages::ALL.iter().map(|package| package.environment).collect(),
        checks: rondo_table::checks::keys(),
        data_check: Some(rondo_data::check::judge),
        live_check: Some(rondo_monitoring::quality::judge),
        data_read: Some(rondo_data::table::judge),
        arguments: None,
        remote: None,
    }
}

/// The same for a project: packages at Git addresses are fetched as its lock file pins them.
pub fn of_project(root: &Path, config: &Config) -> Builtins {
    let git = GitPackages {
        cache: config.cache.clone(),
        project: root.to_owned(),
        host: config.environment.clone(),
    };
    Builtins { remote: Some(Arc::new(git)), arguments: Some(arguments(root)), ..known() }
}

fn profile_page(profile: &Profile, title: &str) -> String {
    page::render(&page::Page { title, origin: "a step of the pipeline", profile })
}

/// What packages say of their arguments taken together, before anything is planned.
fn arguments(root: &Path) -> Arguments {
    let root = root.to_owned();
    let judges: [Arc<dyn Builtin>; 9] = [
        Arc::new(Split),
        Arc::new(Balance),
        Arc::new(Check { engine: None }),
        Arc::new(Leakage),
        Arc::new(ProfilePackage::default()),
        Arc::new(CrossValidate),
        Arc::new(Container::default()),
        Arc::new(Images),
        Arc::new(PackageModel),
    ];
    Arc::new(move |name, with| {
        // What is wrong with a notebook's parameters, the checker says itself.
        let judge = judges.iter().find(|judge| judge.name() == name);
        let objections = judge.map_or_else(Vec::new, |judge| judge.check(&root, with));
        objections.into_iter().map(|objection| objection.message).collect()
    })
}

/// Those that are code of this binary.
pub fn in_rust(
    config: &Config,
    scorer: Arc<dyn Scorer>,
    engine: Arc<dyn SqlEngine>,
) -> Vec<Arc<dyn Builtin>> {
    vec![
        Arc::new(Papermill { variables: config.environment.clone(), data_dirs: config.kernel_folders() }),
        Arc::new(EvaluatePackage::new(scorer)),
        Arc::new(Split),
        Arc::new(Balance),
        Arc::new(Check { engine: Some(Engine(engine)) }),
        Arc::new(Leakage),
        Arc::new(ProfilePackage { page: Some(profile_page) }),
        Arc::new(CrossValidate),
        Arc::new(Container { variables: config.environment.clone() }),
        Arc::new(Images),
        Arc::new(PackageModel),
    ]
}

#[cfg(test)]
mod tests {
    use rondo_project::package::read;

    use super::*;

    #[test]
    fn every_package_that_is_built_in_reads_without_a_fault() {
        for (name, text) in TEXTS {
            let package = read::builtin(text).unwrap_or_else(|faults| panic!("{faults:#?}"));
            assert_eq!(package.name, name);
            assert!(!package.summary.is_empty() && package.description.is_some(), "{}", package.name);
            assert!(package.with.iter().all(|field| !field.doc.is_empty()), "{}", package.name);
        }
    }
}
