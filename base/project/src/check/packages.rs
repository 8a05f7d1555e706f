//! `uses:` and `with:` against what the packages say of themselves, and notebooks' parameters.

use std::sync::Arc;

use serde_json::Value;

use super::arguments;
use super::context::{Context, View, one_of};
use super::expressions::{self, Known};
use super::values::{self, shown};
use crate::builtins::{Field, FieldKind, Package};
use crate::fault::Fault;
use crate::notebook::{self, Declared};
use crate::ordered::Ordered;
use crate::package::load::{Miss, is_address, is_path};
use crate::package::{Run, plain};
use crate::substitute::{Expression, Piece, Scope, pieces};
use crate::yaml::{Entry, Node, join};

/// What a step or app uses, and what it gives it.
#[derive(Default)]
pub(super) struct Used {
    /// The text after `uses:`.
    pub name: String,
    /// The package, where it is to be had and has no faults.
    pub package: Option<Arc<Package>>,
    /// The `with:` block.
    pub with: Ordered<Value>,
}

/// What a step or app uses.
pub(super) fn uses(
    context: &mut Context<'_>,
    node: &Node,
    path: &str,
    app: bool,
    known: &mut Known<'_>,
) -> Option<Used> {
    let uses = node.get("uses")?;
    let name = uses.text()?;
    let with = node.get("with");
    if let Some(with) = with {
        expressions::below(context, with, &join(path, "with"), known);
    }
    let package = found(context, uses, name, path, app);
    match &package {
        Some(package) if package.app != app => {
            let message = if app {
                format!("`{name}` is a package for steps: it ends by itself")
            } else {
                format!("`{name}` is a package for apps: it runs until it is stopped")
            };
            let section = if app { "steps" } else { "apps" };
            context.fault(
                Fault::new(join(path, "uses"), uses.place, message)
                    .hint(format!("declare it under `{section}:`")),
            );
        }
        Some(package) => {
            let before = context.faults.len();
            block(context, package, uses, with, &join(path, "with"));
            let sound = context.faults.len() == before;
            let entries = with.and_then(Node::map).unwrap_or_default();
            arguments::together(context, package, uses, entries, &join(path, "with"), sound);
        }
        None => {}
    }
    let entries = with.and_then(Node::map).unwrap_or_default();
    let with = entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect();
    Some(Used { name: name.to_owned(), package, with })
}

/// Finds a package; says why there is none.
fn found(context: &mut Context<'_>, uses: &Node, name: &str, path: &str, app: bool) -> Option<Arc<Package>> {
    let loader = context.loader;
    let refusal = match loader.find(&context.home, name) {
        Ok(package) => return Some(package),
        Err(Miss::Faulty) => return None,
        Err(Miss::Refused(refusal)) => refusal,
    };
    let fault = Fault::new(join(path, "uses"), uses.place, refusal.message);
    if is_path(name) || is_address(name) {
        context.fault(match refusal.hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
        return None;
    }
    let packages = &context.builtins.packages;
    let names: Vec<&str> =
        packages.iter().filter(|package| package.app == app).map(|package| package.name.as_str()).collect();
    let expected = format!("{}, a folder `./packages/NAME` or a Git address", one_of(&names));
    context.fault(fault.expected(expected).did_you_mean(name, names));
    None
}

/// A `with:` block against the package's fields.
fn block(context: &mut Context<'_>, package: &Package, uses: &Node, with: Option<&Node>, path: &str) {
    let entries = with.and_then(Node::map).unwrap_or_default();
    let names: Vec<&str> = package.with.iter().map(|field| field.name.as_str()).collect();
    for entry in entries {
        let path = join(path, &entry.key);
        match package.with.iter().find(|field| field.name == entry.key) {
            Some(field) => value(context, package, field, entry, entries, &path),
            None => {
                let message = format!("package `{}` takes no `{}`", package.name, entry.key);
                let fault = Fault::new(path, entry.place, message).expected(one_of(&names));
                context.fault(fault.did_you_mean(&entry.key, names.iter().copied()));
            }
        }
    }
    for field in package.with.iter().filter(|field| field.required) {
        if !entries.iter().any(|entry| entry.key == field.name) {
            let message = format!("package `{}` needs `{}` in its `with`", package.name, field.name);
            let fault =
                Fault::new(path, uses.place, message).expected(format!("`{}`: {}", field.name, field.noun()));
            context.fault(fault);
        }
    }
}

fn value(
    context: &mut Context<'_>,
    package: &Package,
    field: &Field,
    entry: &Entry,
    all: &[Entry],
    path: &str,
) {
    let node = &entry.value;
    match field.kind {
        FieldKind::Parameters => return parameters(context, package, node, all, path),
        FieldKind::Secrets => return secrets(context, package, entry, all, path),
        FieldKind::File | FieldKind::Notebook => {
            if let Some(file) = node.text().filter(|text| !text.contains("${{")) {
                if let Err(why) = super::files::normal(file) {
                    let fault = Fault::new(path, node.place, format!("`{file}` {why}"));
                    return context.fault(fault.expected("a path relative to the project"));
                }
                return context.file(path, node.place, file);
            }
        }
        _ => {}
    }
    if !matches!(package.run, Run::Builtin { .. }) && names_a_file(node) {
        let message = format!("`{}` cannot be made of the step's own inputs and outputs", entry.key);
        let fault = Fault::new(path, node.place, message);
        return context.fault(fault.expected("a value, or `${{ params.NAME }}`"));
    }
    if let Some((name, kind)) = outer_kind(context, node).filter(|(_, kind)| !goes_into(*kind, field.kind)) {
        let message = format!("`{}` cannot be the parameter `{name}`, which is {}", entry.key, kind.noun());
        return context.fault(Fault::new(path, node.place, message).expected(field.noun()));
    }
    let Some(value) = meant(context, node) else { return };
    if let Err((message, expected)) = values::judge(field, &value) {
        let fault = Fault::new(path, node.place, format!("`{}` {message}", entry.key)).expected(expected);
        let quotable = matches!(field.kind, FieldKind::Text | FieldKind::Column)
            && node.is_scalar()
            && !field.kind.takes(&value);
        let fault = if quotable { fault.hint(format!("quote it: \"{}\"", node.raw)) } else { fault };
        let allowed: Vec<String> = field.allowed.iter().map(plain).collect();
        context.fault(fault.did_you_mean(&plain(&value), allowed.iter().map(String::as_str)));
    }
}

/// Whether an expression below a node names an input or output.
fn names_a_file(node: &Node) -> bool {
    let here = |text: &str| {
        pieces(text).iter().any(|piece| {
            matches!(piece, Piece::Expression(Ok(Expression { scope: Scope::Inputs | Scope::Outputs, .. })))
        })
    };
    node.text().is_some_and(here)
        || node.list().unwrap_or_default().iter().any(names_a_file)
        || node.map().unwrap_or_default().iter().any(|entry| names_a_file(&entry.value))
}

/// In a workflow: the parameter of the package that stands there, and its type.
fn outer_kind(context: &Context<'_>, node: &Node) -> Option<(String, FieldKind)> {
    if context.view != View::Package {
        return None;
    }
    let name = only_param(node.text()?)?;
    let declared = context.root.get("params")?.get(&name)?;
    let word = declared.text().or_else(|| declared.get("type").and_then(Node::text))?;
    Some((name, FieldKind::parse(word)?))
}

/// Whether a parameter of one type may be given as one of another.
fn goes_into(own: FieldKind, wanted: FieldKind) -> bool {
    use FieldKind::{Any, Column, File, Float, Int, Notebook, Secret, Size, Span, Text, Texts};
    match (own, wanted) {
        (own, wanted) if own == wanted => true,
        (Secret, _) | (_, Secret) => false,
        (Any, _) | (_, Any) | (Int, Float) => true,
        (Column | Span | File | Size, Text)
        | (Text, Column | Span | Size)
        | (Int, Size)
        | (Text | Column, Texts) => true,
        (Notebook, File) | (File, Notebook) => true,
        _ => false,
    }
}

/// The parameter that a text is, where it is one expression and nothing else.
pub(super) fn only_param(text: &str) -> Option<String> {
    match pieces(text.trim()).as_slice() {
        [Piece::Expression(Ok(Expression { scope: Scope::Params, name }))] => Some(name.clone()),
        _ => None,
    }
}

/// The value that stands there, or that the parameter has that stands there; `None` where it is known only
/// when the step runs.
fn meant(context: &Context<'_>, node: &Node) -> Option<Value> {
    let Some(text) = node.text().filter(|text| text.contains("${{")) else {
        return (!names_a_file(node)).then(|| node.json());
    };
    if let Some(name) = only_param(text) {
        let declared = context.root.get("params")?.get(&name)?;
        return match context.view {
            View::Project => Some(declared.json()),
            View::Package => declared.get("default").map(Node::json),
        };
    }
    match pieces(text.trim()).as_slice() {
        [Piece::Expression(_)] => None,
        _ => Some(Value::from(text)),
    }
}

/// The parameters that a `with:` block gives a notebook, against those that the notebook declares.
fn parameters(context: &mut Context<'_>, package: &Package, node: &Node, all: &[Entry], path: &str) {
    let Some(entries) = node.map() else {
        let fault = Fault::new(path, node.place, format!("`parameters` cannot be {}", node.noun()));
        return context.fault(fault.expected(FieldKind::Parameters.noun()));
    };
    let Some((file, declared)) = notebook(context, package, all, path, entries) else { return };
    let names: Vec<&str> = declared.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    for entry in entries {
        let path = join(path, &entry.key);
        let Some(parameter) = declared.parameters.iter().find(|parameter| parameter.name == entry.key) else {
            let fault =
                Fault::new(path, entry.place, format!("notebook `{file}` has no parameter `{}`", entry.key));
            let fault = if names.is_empty() { fault } else { fault.expected(one_of(&names)) };
            context.fault(fault.did_you_mean(&entry.key, names.iter().copied()));
            continue;
        };
        let Some(value) = meant(context, &entry.value) else { continue };
        if !parameter.kind.takes(&value) {
            let message = format!("notebook `{file}` does not take {} for `{}`", shown(&value), entry.key);
            let fault = Fault::new(path, entry.value.place, message);
            let default = format!("{}: its default is `{}`", parameter.kind.noun(), parameter.default);
            let fault = fault.expected(default);
            // The form in which packages of files take secrets.
            let keeps = package.with.iter().find(|field| field.kind == FieldKind::Secrets);
            context.fault(match (keeps, crate::package::secret(&value)) {
                (Some(field), Some(variable)) => fault.hint(format!(
                    "give a secret beside the parameters: `{}: {{ {}: {variable} }}`",
                    field.name, entry.key
                )),
                _ => fault,
            });
        }
    }
}

/// The secrets that a `with:` block gives a notebook: names of its parameters, and of environment variables.
fn secrets(context: &mut Context<'_>, package: &Package, whole: &Entry, all: &[Entry], path: &str) {
    let expected = FieldKind::Secrets.noun();
    let Some(entries) = whole.value.map() else {
        let message = format!("`{}` cannot be {}", whole.key, shown(&whole.value.json()));
        return context.fault(Fault::new(path, whole.value.place, message).expected(expected));
    };
    let declared = taken(context, package, all);
    for entry in entries {
        let path = join(path, &entry.key);
        let value = entry.value.json();
        let is_open = entry.value.text().is_some_and(|text| text.contains("${{"));
        if !is_open && crate::package::variable(&value).is_none() {
            // What stands there may be the secret itself: it is not said again.
            let message = format!("the secret `{}` is not the name of an environment variable", entry.key);
            let fault = Fault::new(path.clone(), entry.value.place, message).expected(expected);
            context.fault(match crate::package::secret(&value) {
                Some(variable) => fault.hint(format!("{}: {{ {}: {variable} }}", whole.key, entry.key)),
                None => fault,
            });
        }
        let Some((file, names)) = &declared else { continue };
        if !names.contains(&entry.key) {
            let message = format!("notebook `{file}` has no parameter `{}`", entry.key);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let fault = Fault::new(path, entry.place, message);
            let fault = if names.is_empty() { fault } else { fault.expected(one_of(&names)) };
            context.fault(fault.did_you_mean(&entry.key, names.iter().copied()));
        }
    }
}

/// The notebook of a `with:` block and the names of its parameters, where they can be told.
fn taken(context: &Context<'_>, package: &Package, all: &[Entry]) -> Option<(String, Vec<String>)> {
    let field = package.with.iter().find(|field| field.kind == FieldKind::Notebook)?;
    let file = all.iter().find(|entry| entry.key == field.name)?.value.text()?;
    let text = context.files.text(&super::files::normal(file).ok()?).filter(|_| file.ends_with(".ipynb"))?;
    let declared =
        notebook::declared(&text).ok().filter(|declared| declared.tagged && declared.known_language)?;
    Some((file.to_owned(), declared.parameters.into_iter().map(|parameter| parameter.name).collect()))
}

/// What the notebook of a `with:` block declares, where it can be told.
fn notebook(
    context: &mut Context<'_>,
    package: &Package,
    all: &[Entry],
    path: &str,
    given: &[Entry],
) -> Option<(String, Declared)> {
    let field = package.with.iter().find(|field| field.kind == FieldKind::Notebook)?;
    let entry = all.iter().find(|entry| entry.key == field.name)?;
    let file = entry.value.text().filter(|file| file.ends_with(".ipynb"))?;
    let text = context.files.text(&super::files::normal(file).ok()?)?;
    match notebook::declared(&text) {
        Err(why) => {
            let fault = Fault::new(path, entry.value.place, format!("`{file}` is no notebook: {why}"));
            context.fault(fault.expected("a Jupyter notebook, format 4"));
            None
        }
        Ok(declared) if !declared.tagged => {
            if let Some(first) = given.first() {
                let message =
                    format!("notebook `{file}` has no cell tagged `parameters`, but parameters are given");
                let fault = Fault::new(path, first.place, message);
                context
                    .fault(fault.hint(
                        "tag the cell with the defaults: in JupyterLab, Property Inspector, Cell Tags",
                    ));
            }
            None
        }
        Ok(declared) => declared.known_language.then(|| (file.to_owned(), declared)),
    }
}

/// The parameters that a sweep may vary in a step's notebook.
pub(super) fn swept(context: &Context<'_>, node: &Node) -> Vec<String> {
    let given = node.get("with").and_then(|with| with.get("parameters")?.map()).unwrap_or_default();
    let declared = declared_of(context, node).into_iter().flat_map(|declared| declared.parameters);
    let declared = declared.map(|parameter| parameter.name);
    given.iter().map(|entry| entry.key.clone()).chain(declared).collect()
}

/// What a step's notebook declares.
fn declared_of(context: &Context<'_>, node: &Node) -> Option<Declared> {
    let file = node.get("with")?.get("notebook")?.text()?;
    let text = context.files.text(&super::files::normal(file).ok()?)?;
    notebook::declared(&text).ok()
}

/// Why a step's notebook does not take one of these values for a parameter, and what it takes.
pub(super) fn refused(
    context: &Context<'_>,
    node: &Node,
    name: &str,
    values: &[Value],
) -> Option<(String, String)> {
    let declared = declared_of(context, node).filter(|declared| declared.known_language)?;
    let parameter = declared.parameters.iter().find(|parameter| parameter.name == name)?;
    let odd = values.iter().find(|value| !parameter.kind.takes(value))?;
    let message = format!("the notebook does not take {} for `{name}`", shown(odd));
    Some((message, format!("{}: its default is `{}`", parameter.kind.noun(), parameter.default)))
}

/// The parameters of a package of files, which are the step's own.
pub(super) fn fields(used: Option<&Package>) -> Vec<String> {
    let used = used.filter(|package| !matches!(package.run, Run::Builtin { .. }));
    used.into_iter().flat_map(|package| &package.with).map(|field| field.name.clone()).collect()
}
