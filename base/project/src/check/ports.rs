//! The wires of a step that uses a package: its inputs and outputs against the package's own.
//!
//! An input goes by its local name. Where the inputs are a list, one that has no such name goes to the only
//! place that is left open: `inputs: [prepare.train]` is enough for a package with one input.

use super::context::{Context, View, one_of};
use super::references::Inputs;
use crate::fault::Fault;
use crate::package::{Kind, Package, Port, Ports};
use crate::project::Reference;
use crate::yaml::{Node, join};

/// What an output of a step is: what its package says, else what its path tells.
pub(crate) fn kind_of(context: &Context<'_>, step: &str, output: &str) -> Kind {
    let Some(entry) = context.section("steps").iter().find(|entry| entry.key == step) else {
        return Kind::Any;
    };
    let uses = entry.value.get("uses").and_then(Node::text);
    let package = uses.and_then(|uses| context.loader.find(&context.home, uses).ok());
    let declared = package.and_then(|package| package.outputs.get(output).map(|port| port.kind));
    let path = entry.value.get("outputs").and_then(|outputs| outputs.get(output)?.text());
    let told = path.map_or(Kind::Any, Kind::of_path);
    declared.filter(|kind| *kind != Kind::Any).unwrap_or(told)
}

fn kind_of_reference(context: &Context<'_>, reference: &Reference) -> Kind {
    match reference {
        Reference::Output { step, output } => kind_of(context, step, output),
        Reference::Data { dataset } => {
            let entry = context.section("data").iter().find(|entry| entry.key == *dataset);
            let node = entry.map(|entry| &entry.value);
            let text = |key: &str| node.and_then(|node| node.get(key)).and_then(Node::text);
            match context.view {
                View::Project if text("format") == Some("files") => Kind::Any,
                View::Project => Kind::Dataset,
                View::Package => {
                    let word = node.and_then(Node::text).or_else(|| text("type"));
                    word.and_then(Kind::parse).unwrap_or(Kind::Any)
                }
            }
        }
    }
}

/// Checks the inputs of a step and gives them the names that its package knows them by. What was renamed:
/// from, to.
pub(super) fn inputs(
    context: &mut Context<'_>,
    package: &Package,
    node: &Node,
    path: &str,
    inputs: &mut Inputs,
) -> Vec<(String, String)> {
    let Ports::Listed(ports) = &package.inputs else { return Vec::new() };
    let named = |local: &str| ports.iter().any(|port| port.name == local);
    let open = |port: &&Port| !inputs.locals.contains(&port.name);
    let strangers: Vec<usize> =
        inputs.locals.iter().enumerate().filter(|(_, local)| !named(local)).map(|(index, _)| index).collect();
    let places: Vec<&Port> = ports.iter().filter(open).collect();
    let wanted: Vec<&Port> = places.iter().copied().filter(|port| port.required).collect();
    let place = match (wanted.as_slice(), places.as_slice()) {
        ([only], _) | ([], [only]) => Some(*only),
        _ => None,
    };
    let mut renamed = Vec::new();
    let is_list = node.get("inputs").is_some_and(|value| value.list().is_some());
    match (strangers.as_slice(), place) {
        ([index], Some(port)) if is_list => {
            if let Some(local) = inputs.locals.get_mut(*index) {
                renamed.push((local.clone(), port.name.clone()));
                local.clone_from(&port.name);
            }
        }
        (strangers, _) => unknown(context, package, ports, strangers, inputs),
    }
    for (old, new) in &renamed {
        inputs.resolved = std::mem::take(&mut inputs.resolved)
            .into_iter()
            .map(|(name, reference)| (if name == *old { new.clone() } else { name }, reference))
            .collect();
    }
    if strangers.is_empty() || !renamed.is_empty() {
        missing(context, package, node, path, inputs);
    }
    fitting(context, package, inputs);
    renamed
}

fn unknown(
    context: &mut Context<'_>,
    package: &Package,
    ports: &[Port],
    strangers: &[usize],
    inputs: &Inputs,
) {
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    for index in strangers {
        let (Some(local), Some((place, path))) = (inputs.locals.get(*index), inputs.places.get(*index))
        else {
            continue;
        };
        let fault = Fault::new(path, *place, format!("package `{}` has no input `{local}`", package.name));
        let fault = match names.as_slice() {
            [] => fault.expected("no inputs at all"),
            [only, ..] => {
                let hint = format!("name it: `inputs: {{ {only}: … }}`");
                let near = rondo_core::suggest::nearest(local, names.iter().copied());
                fault
                    .expected(one_of(&names))
                    .hint(near.map_or(hint, |near| format!("did you mean `{near}`?")))
            }
        };
        context.fault(fault);
    }
}

fn missing(context: &mut Context<'_>, package: &Package, node: &Node, path: &str, inputs: &Inputs) {
    let place = node.entry("inputs").or_else(|| node.entry("uses")).map_or(node.place, |entry| entry.place);
    let needed = package.inputs.listed().iter().filter(|port| port.required);
    for port in needed.filter(|port| !inputs.locals.contains(&port.name)) {
        let message = format!("package `{}` needs the input `{}`", package.name, port.name);
        let fault = Fault::new(join(path, "inputs"), place, message).expected(port.kind.noun());
        context.fault(fault.hint(format!("inputs: {{ {}: STEP.OUTPUT }}", port.name)));
    }
}

/// Whether what comes along each wire is what is wanted there.
fn fitting(context: &mut Context<'_>, package: &Package, inputs: &Inputs) {
    for (local, (place, path)) in inputs.locals.iter().zip(&inputs.places) {
        let (Some(port), Some(reference)) = (package.inputs.get(local), inputs.resolved.get(local)) else {
            continue;
        };
        let kind = kind_of_reference(context, reference);
        if !kind.fits(port.kind) {
            let written = match (reference, context.view) {
                (Reference::Data { dataset }, View::Package) => format!("inputs.{dataset}"),
                (reference, _) => reference.to_string(),
            };
            let message = format!(
                "`{written}` is {}, and the input `{local}` of package `{}` is {}",
                kind.noun(),
                package.name,
                port.kind.noun()
            );
            context.fault(Fault::new(path, *place, message).expected(port.kind.noun()));
        }
    }
}

/// Checks the outputs that a step asks its package for.
pub(super) fn outputs(context: &mut Context<'_>, package: &Package, node: &Node, path: &str) {
    let Ports::Listed(ports) = &package.outputs else { return };
    let entries = node.get("outputs").and_then(Node::map).unwrap_or_default();
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    for entry in entries {
        let path = format!("{path}.outputs.{}", entry.key);
        let Some(port) = package.outputs.get(&entry.key) else {
            let fault = Fault::new(
                path,
                entry.place,
                format!("package `{}` has no output `{}`", package.name, entry.key),
            );
            let fault = if names.is_empty() { fault } else { fault.expected(one_of(&names)) };
            context.fault(fault.did_you_mean(&entry.key, names.iter().copied()));
            continue;
        };
        let Some(file) = entry.value.text() else { continue };
        let folder = matches!(port.kind, Kind::Images | Kind::Folder);
        if folder && !file.ends_with('/') {
            let message =
                format!("the output `{}` of package `{}` is {}", port.name, package.name, port.kind.noun());
            let fault = Fault::new(path, entry.value.place, message).expected("a path that ends in `/`");
            context.fault(fault.hint(format!("write `{file}/`")));
        } else if !Kind::of_path(file).fits(port.kind) {
            let message = format!(
                "the output `{}` of package `{}` is {}, and `{file}` would be {}",
                port.name,
                package.name,
                port.kind.noun(),
                Kind::of_path(file).noun()
            );
            context.fault(Fault::new(path, entry.value.place, message).expected(port.kind.noun()));
        }
    }
    let place = node.entry("outputs").or_else(|| node.entry("uses")).map_or(node.place, |entry| entry.place);
    for port in ports.iter().filter(|port| port.required) {
        if !entries.iter().any(|entry| entry.key == port.name) {
            let message =
                format!("package `{}` makes `{}`, and the step does not say where", package.name, port.name);
            let fault = Fault::new(join(path, "outputs"), place, message).expected(port.kind.noun());
            context.fault(fault.hint(format!("outputs: {{ {}: {} }}", port.name, port.file())));
        }
    }
}
