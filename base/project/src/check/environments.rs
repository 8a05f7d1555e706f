//! Environments.

use super::context::Context;
use super::read;
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Environment, Isolation, Requirements};
use crate::yaml::{Entry, Node, join};

pub(super) fn environments(context: &mut Context<'_>) -> Ordered<Environment> {
    let entries = context.section("environments");
    let path = |entry: &Entry| join("environments", &entry.key);
    for entry in entries.iter().filter(|entry| context.builtins.environments.contains(&&*entry.key)) {
        let fault = Fault::new(
            path(entry),
            entry.place,
            format!("`{}` is the environment of a built-in package", entry.key),
        );
        context.fault(fault.hint("give it another name"));
    }
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
    if node.get("conda").is_some() {
        let conda = listed(context, node, "conda", path);
        return Some(Environment::Conda { conda, channels: read::texts(node, "channels") });
    }
    for (key, made) in [
        ("rootfs", (|rootfs| Environment::Rootfs { rootfs }) as fn(String) -> Environment),
        ("nix", |nix| Environment::Nix { nix }),
    ] {
        if let (Some(value), Some(file)) = (node.get(key), context.path_at(node, key)) {
            context.file(&join(path, key), value.place, &file);
            return Some(made(file));
        }
    }
    if node.get("host").is_some() {
        return Some(Environment::Host { host: read::texts(node, "host") });
    }
    read::text(node, "image").map(|image| Environment::Image { image })
}

fn requirements(context: &mut Context<'_>, node: &Node, path: &str) -> Requirements {
    if node.get("requirements").is_none() {
        return Requirements::List(Vec::new());
    }
    listed(context, node, "requirements", path)
}

/// A file that names packages, or the packages themselves.
fn listed(context: &mut Context<'_>, node: &Node, key: &str, path: &str) -> Requirements {
    match (node.get(key), context.path_at(node, key)) {
        (Some(value), Some(file)) => {
            context.file(&join(path, key), value.place, &file);
            Requirements::File(file)
        }
        (Some(_) | None, _) => Requirements::List(read::texts(node, key)),
    }
}

/// How strongly steps, or one of them, are kept to what they declare, where it is said.
pub(super) fn isolation(node: &Node) -> Option<Isolation> {
    Isolation::of(&read::text(node, "isolation")?)
}

/// The environment that an app names: one that it can run in.
pub(super) fn of_app(context: &mut Context<'_>, node: &Node, path: &str) -> Option<String> {
    let name = named(context, node, path)?;
    let declared = context.section("environments").iter().find(|entry| entry.key == name);
    let kind = declared.and_then(|entry| {
        [("image", "a container image"), ("rootfs", "a root file system")]
            .into_iter()
            .find_map(|(key, kind)| entry.value.get(key).map(|_| kind))
    });
    // Files are shown as they are: nothing runs.
    if let (Some(kind), Some(value), None) = (kind, node.get("environment"), node.get("files")) {
        let message = format!("apps cannot run in `{name}`, which is {kind}");
        let fault = Fault::new(join(path, "environment"), value.place, message);
        let fault = fault.expected("an environment of the kind `python`, `r`, `conda`, `nix` or `host`");
        context.fault(fault.hint("or leave `environment:` out and have `run:` start the container"));
    }
    Some(name)
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
