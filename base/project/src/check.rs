//! From text to a checked project: every fault of the file in one go.
//!
//! First the text becomes a tree ([`crate::yaml`]), then the tree is held against the table of keys
//! ([`crate::shape`], in `structure`), then the sections are read in the order of the lifecycle and what
//! they say of each other is looked up. Later passes skip quietly over what an earlier one has refused, so
//! that one mistake gives one fault. Where lines had to be left out because they are no YAML, nothing is
//! said of references: what they lead to may stand in those lines.

mod canvas;
mod conditions;
mod context;
mod data;
mod environments;
mod expressions;
mod files;
mod live;
mod models;
mod outputs;
mod packages;
mod read;
mod references;
mod steps;
mod structure;
mod sweep;

use crate::builtins::Builtins;
use crate::error::Error;
use crate::fault::{self, Fault};
use crate::files::Files;
use crate::ordered::Ordered;
use crate::project::Project;
use crate::yaml;
use context::Context;

/// The name of the project file.
pub const PROJECT_FILE: &str = "rondo.yaml";

/// Checks the text of a project file, whose name messages use.
///
/// # Errors
/// All its faults, in the order of their places.
pub fn check(
    source: &str,
    file: &str,
    files: &dyn Files,
    builtins: &Builtins,
) -> Result<Project, Vec<Fault>> {
    let parsed = yaml::parse(source);
    let Some(root) = &parsed.root else {
        let mut faults = parsed.faults;
        if faults.is_empty() {
            let place = crate::place::Lines::new(source).place(0, 0);
            let fault = Fault::new("", place, "the file is empty").expected("at least the key `project`");
            faults.push(fault.hint("begin with `project: NAME`"));
        }
        return Err(faults);
    };
    let mut context = Context::new(file, source, root, files, builtins, parsed.faults);
    structure::check(&mut context, parsed.partial);
    let project = (!parsed.partial).then(|| project(&mut context));
    let mut faults = context.faults;
    fault::sort(&mut faults);
    match project {
        Some(project) if faults.is_empty() => Ok(project),
        _ => Err(faults),
    }
}

/// Reads and checks the project file of a folder.
///
/// # Errors
/// When there is none, or it has faults.
pub fn load(files: &dyn Files, builtins: &Builtins) -> Result<Project, Error> {
    if !files.exists(PROJECT_FILE) {
        return Err(Error::NoProject { file: PROJECT_FILE.to_owned() });
    }
    let source =
        files.text(PROJECT_FILE).ok_or_else(|| Error::Unreadable { file: PROJECT_FILE.to_owned() })?;
    check(&source, PROJECT_FILE, files, builtins).map_err(|faults| Error::Invalid {
        file: PROJECT_FILE.to_owned(),
        source_text: source,
        faults,
    })
}

fn project(context: &mut Context<'_>) -> Project {
    let name = context.root.get("project").map(|node| node.raw.clone()).unwrap_or_default();
    let canvas = canvas::canvas(context);
    let data = data::datasets(context);
    let environments = environments::environments(context);
    let params = steps::params(context);
    let steps = steps::steps(context);
    references::cycles(context, &steps);
    references::joins(context);
    outputs::collisions(context);
    let models = models::models(context, &canvas);
    let serve = live::endpoints(context);
    let monitor = live::monitors(context, &serve, &canvas);
    let triggers = live::triggers(context);
    let apps = live::apps(context);
    let steps = steps.into_iter().map(|(name, located)| (name, located.step)).collect::<Ordered<_>>();
    Project { name, canvas, data, environments, params, steps, models, serve, monitor, triggers, apps }
}

#[cfg(test)]
mod tests;
