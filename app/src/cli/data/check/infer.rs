//! `rondo data check --infer`: a suite proposed from a table, on stdout or into `rondo.yaml`.

use rondo_core::Code;
use rondo_project::edit;
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
    write: bool,
) -> Outcome {
    let proposals = propose(profile);
    if !write {
        let head = format!(
            "# Proposed from {} rows of {}. Loosened on purpose: tighten what you know better.\n",
            profile.rows,
            subject.title()
        );
        let value = json!({ "schema": 1, "what": what, "rows": profile.rows, "checks": shown(&proposals) });
        session.printer().result(&value, &format!("{head}checks:\n{}", yaml(&proposals, "  ")));
        return Ok(());
    }
    let Subject::Version { version, .. } = subject else {
        return Err(Failure::hinted(
            Code::Usage,
            format!("write checks of `{what}`: it is no dataset of a project"),
            format!("rondo data check {what} --infer > checks.yaml"),
        ));
    };
    let Some(root) = session.project_root() else {
        return Err(Failure::new(Code::ProjectNotFound, "find rondo.yaml".to_owned()));
    };
    let action = format!("write checks of `{}`", version.dataset);
    let add = |text: &str| {
        edit::add_checks(text, &version.dataset, &|indent| yaml(&proposals, indent)).map_err(Failure::from)
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
