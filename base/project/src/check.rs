//! From text to a checked project: every fault of the file in one go.
//!
//! First the text becomes a tree ([`crate::yaml`]), then the tree is held against the table of keys
//! ([`crate::shape`], in `structure`), then the sections are read in the order of the lifecycle and what
//! they say of each other is looked up. Later passes skip quietly over what an earlier one has refused, so
//! that one mistake gives one fault. Where lines had to be left out because they are no YAML, nothing is
//! said of references: what they lead to may stand in those lines.

mod arguments;
mod canvas;
mod conditions;
mod context;
mod data;
mod environments;
mod expressions;
mod files;
mod idle;
mod live;
mod models;
mod outputs;
mod packages;
mod ports;
mod ranges;
pub(crate) mod read;
mod references;
mod steps;
mod structure;
mod suites;
mod sweep;
mod team;
mod values;

use crate::builtins::Builtins;
use crate::error::Error;
use crate::fault::{self, Fault};
use crate::files::Files;
use crate::ordered::Ordered;
use crate::package::expand;
use crate::package::load::Loader;
use crate::place::Lines;
use crate::project::Project;
use crate::shape::ROOT;
use crate::yaml;

pub(crate) use context::{Context, View};
pub(crate) use environments::environment;
pub(crate) use expressions::below as expressions_below;
pub(crate) use files::{normal, parts};
pub(crate) use live::care;
pub(crate) use ports::kind_of;
pub(crate) use steps::{resources, sql, variables};
pub(crate) use structure::check as structure;
pub(crate) use values::judge as judge_value;

/// The name of the project file.
pub const PROJECT_FILE: &str = "rondo.yaml";

/// The text of a project file.
///
/// # Errors
/// The text as far as it is one, and the fault where it is none.
pub fn decode(bytes: Vec<u8>) -> Result<String, (String, Box<Fault>)> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let place = Lines::new(&text).place(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
        let fault = Fault::new("", place, "the file is no UTF-8 text").hint("save the file as UTF-8");
        (text, Box::new(fault))
    })
}

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
            let place = Lines::new(source).place(0, 0);
            let fault = Fault::new("", place, "the file is empty").expected("at least the key `project`");
            faults.push(fault.hint("begin with `project: NAME`"));
        }
        return Err(faults);
    };
    let loader = Loader::new(builtins);
    let mut context = Context::new(file, source, root, files, &loader, parsed.faults);
    structure::check(&mut context, &ROOT, parsed.partial);
    let project = (!parsed.partial).then(|| project(&mut context));
    let mut faults = context.faults;
    faults.extend(loader.into_faults());
    fault::sort(&mut faults);
    match project {
        Some(project) if faults.is_empty() => Ok(expand::project(project, &builtins.environments)),
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
    let isolation = environments::isolation(context.root).unwrap_or_default();
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
    let (remotes, cache) = (team::remotes(context), team::cache(context));
    let steps = steps.into_iter().map(|(name, located)| (name, located.step)).collect::<Ordered<_>>();
    let packages = Ordered::new();
    Project {
        text: context.source.into(),
        name,
        canvas,
        data,
        environments,
        packages,
        isolation,
        params,
        steps,
        models,
        serve,
        monitor,
        triggers,
        apps,
        remotes,
        cache,
        notes: idle::notes(context.root),
    }
}

/// The steps of a package that is a workflow, held against each other like those of a project.
pub(crate) fn workflow(context: &mut Context<'_>) -> Ordered<crate::project::Step> {
    let steps = steps::steps(context);
    references::cycles(context, &steps);
    references::joins(context);
    outputs::collisions(context);
    steps.into_iter().map(|(name, located)| (name, located.step)).collect()
}

/// What the expressions of a package's own command may name.
pub(crate) fn known(root: &yaml::Node) -> expressions::Known<'_> {
    let keys = |key: &str| -> Vec<&str> {
        let map = root.get(key).and_then(yaml::Node::map).unwrap_or_default();
        map.iter().map(|entry| entry.key.as_str()).collect()
    };
    let inputs = keys("inputs").into_iter().map(str::to_owned).collect();
    expressions::Known {
        outputs: keys("outputs"),
        owner: "the package has no parameter",
        ..expressions::Known::plain(keys("params"), inputs)
    }
}

/// The step and output that a reference of a workflow's output leads to.
pub(crate) fn made_by(context: &mut Context<'_>, node: &yaml::Node, path: &str) -> Option<(String, String)> {
    match references::resolve(context, node, path)? {
        crate::project::Reference::Output { step, output } => Some((step, output)),
        crate::project::Reference::Data { .. } => {
            let fault = Fault::new(path, node.place, "an input cannot be passed on as an output");
            context.fault(fault.expected("an output of a step: `STEP.OUTPUT`"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
