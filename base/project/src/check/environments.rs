//! Environments.

use super::context::Context;
use super::read;
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Environment, Requirements};
use crate::yaml::{Entry, Node, join};

pub(super) fn environments(context: &mut Context<'_>) -> Ordered<Environment> {
    let entries = context.section("environments");
    let path = |entry: &Entry| join("environments", &entry.key);
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), environment(context, &entry.value, &path(entry))?)))
        .collect()
}

/// One environment, written out.
pub(crate) fn environment(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Environment> {
    if let Some(python) = read::written(node, "python") {
        let requirements = requirements(context, node, path);
        return Some(Environment::Python { python, requirements });
    }
    if let Some(r) = read::written(node, "r") {
        return Some(Environment::R { r, packages: read::texts(node, "packages") });
    }
    read::text(node, "image").map(|image| Environment::Image { image })
}

fn requirements(context: &mut Context<'_>, node: &Node, path: &str) -> Requirements {
    let Some(value) = node.get("requirements") else { return Requirements::List(Vec::new()) };
    let path = join(path, "requirements");
    match context.path_at(node, "requirements") {
        Some(file) => {
            context.file(&path, value.place, &file);
            Requirements::File(file)
        }
        None => Requirements::List(read::texts(node, "requirements")),
    }
}

/// The environment that a step or app names.
pub(super) fn named(context: &mut Context<'_>, node: &Node, path: &str) -> Option<String> {
    let value = node.get("environment")?;
    let name = value.text()?;
    let known = context.names("environments");
    if rondo_core::id::is_name(name) && !known.contains(&name) {
        let fault =
            Fault::new(join(path, "environment"), value.place, format!("no environment is called `{name}`"));
        let fault = match known.as_slice() {
            [] if context.view == super::View::Package => fault
                .hint("the steps of a package run in the package's own `environment:`; leave it out here"),
            [] => fault.hint(format!("declare it: `environments: {{ {name}: {{ python: \">=3.10\" }} }}`")),
            _ => fault.expected(super::context::one_of(&known)).did_you_mean(name, known.iter().copied()),
        };
        context.fault(fault);
    }
    Some(name.to_owned())
}
