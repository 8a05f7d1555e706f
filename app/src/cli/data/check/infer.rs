//! `rondo data check --infer`: a suite proposed from a table, on stdout or into `rondo.yaml`.

use rondo_core::Code;
use rondo_project::edit;
use rondo_project::quote;
use rondo_table::checks::infer::{Proposal, propose, yaml};
use rondo_table::profile::Profile;
use serde_json::{Value, json};

use super::super::profile::Subject;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::declare;

/// Proposes it.
///
/// # Errors
/// When nothing can be written where it was asked to be.
pub async fn run(
    session: &Session,
    subject: &Subject,
    profile: &Profile,
    what: &str,
    // Whether what stands there is replaced.
    write: Option<bool>,
) -> Outcome {
    let proposals = propose(profile);
    let Some(replace) = write else {
        let head = format!(
            "# Proposed from {} rows of {}. Loosened on purpose: tighten what you know better.\n",
            profile.rows,
            subject.title()
        );
        let value = json!({ "schema": 1, "what": what, "rows": profile.rows, "checks": shown(&proposals) });
        session.printer().result(&value, &format!("{head}checks:\n{}", yaml(&proposals, "  ")));
        return Ok(());
    };
    let Subject::Version { version, .. } = subject else {
        return Err(Failure::hinted(
            Code::Usage,
            format!("write checks of `{what}`: it is no dataset of a project"),
            format!("rondo data check {} --infer > checks.yaml", quote::word(what)),
        ));
    };
    let Some(root) = session.project_root() else {
        return Err(Failure::new(Code::ProjectNotFound, "find rondo.yaml".to_owned()));
    };
    let action = format!("write checks of `{}`", version.dataset);
    let dataset = &version.dataset;
    let taken = || {
        Failure::hinted(
            Code::ValueInvalid,
            format!("write checks of `{what}`: it has some in rondo.yaml"),
            format!("rondo data check {what} --infer --write --force, which replaces them"),
        )
    };
    let list = |indent: &str| yaml(&proposals, indent);
    let add = |text: &str| match (edit::add_checks(text, dataset, &list), replace) {
        (Err(rondo_project::error::Error::NameTaken { .. }), false) => Err(taken()),
        (Err(rondo_project::error::Error::NameTaken { .. }), true) => {
            Ok(edit::add_checks(&edit::without_checks(text, dataset)?, dataset, &list)?)
        }
        (edited, _) => Ok(edited?),
    };
    declare::edit(&root, session.config(), &action, add)?;
    let line = format!("{} checks of `{}` stand in rondo.yaml now", proposals.len(), version.dataset);
    let value = json!({ "schema": 1, "what": what, "written": "rondo.yaml", "checks": shown(&proposals) });
    session.printer().result(&value, &format!("{line}\n"));
    Ok(())
}

fn shown(proposals: &[Proposal]) -> Vec<Value> {
    proposals.iter().map(|one| json!({ "rule": one.rule, "reason": one.reason })).collect()
}
