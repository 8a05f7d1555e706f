//! `uses:` and `with:` against what the packages say of themselves, and notebooks' parameters.

use serde_json::Value;

use super::context::{Context, one_of};
use super::expressions::{self, Known};
use crate::builtins::{Field, FieldKind, Package};
use crate::fault::Fault;
use crate::notebook::{self, Declared};
use crate::ordered::Ordered;
use crate::substitute::{Expression, Piece, Scope, pieces};
use crate::yaml::{Entry, Node, join};

/// What a step or app uses, and what it gives it.
pub(super) fn uses(
    context: &mut Context<'_>,
    node: &Node,
    path: &str,
    app: bool,
    known: &mut Known<'_>,
) -> Option<(String, Ordered<Value>)> {
    let uses = node.get("uses")?;
    let name = uses.text()?;
    let with = node.get("with");
    if let Some(with) = with {
        expressions::below(context, with, &join(path, "with"), known);
    }
    let builtins = context.builtins;
    match builtins.package(name) {
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
        Some(package) => block(context, package, uses, with, &join(path, "with")),
        None if name.starts_with("./") => context.file(&join(path, "uses"), uses.place, name),
        None if name.contains("://") => {}
        None => {
            let names: Vec<&str> = builtins
                .packages
                .iter()
                .filter(|package| package.app == app)
                .map(|package| package.name.as_str())
                .collect();
            let fault = Fault::new(join(path, "uses"), uses.place, format!("no package is called `{name}`"));
            let expected = format!("{}, a folder `./packages/NAME` or a Git address", one_of(&names));
            context.fault(fault.expected(expected).did_you_mean(name, names));
        }
    }
    let entries = with.and_then(Node::map).unwrap_or_default();
    Some((name.to_owned(), entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect()))
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
            let fault = Fault::new(path, uses.place, message).expected(format!(
                "`{}`: {}",
                field.name,
                noun(field.kind)
            ));
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
    let Some(value) = meant(context, node) else { return };
    if !takes(field.kind, &value) {
        let fault = Fault::new(path, node.place, format!("`{}` cannot be {}", entry.key, shown(&value)));
        let fault = fault.expected(noun(field.kind));
        let quotable = matches!(field.kind, FieldKind::Text | FieldKind::Column) && node.is_scalar();
        context.fault(if quotable { fault.hint(format!("quote it: \"{}\"", node.raw)) } else { fault });
    } else if !field.allowed.is_empty() && !field.allowed.contains(&value) {
        let allowed: Vec<String> = field.allowed.iter().map(plain).collect();
        let fault = Fault::new(path, node.place, format!("`{}` cannot be {}", entry.key, shown(&value)));
        let fault = fault.expected(crate::shape::any_of(&allowed));
        context.fault(fault.did_you_mean(&plain(&value), allowed.iter().map(String::as_str)));
    }
}

/// The value that stands there, or that the parameter has that stands there; `None` where it is known only
/// when the step runs.
fn meant(context: &Context<'_>, node: &Node) -> Option<Value> {
    let Some(text) = node.text().filter(|text| text.contains("${{")) else { return Some(node.json()) };
    match pieces(text.trim()).as_slice() {
        [Piece::Expression(Ok(Expression { scope: Scope::Params, name }))] => {
            context.root.get("params")?.get(name).map(Node::json)
        }
        [Piece::Expression(_)] => None,
        _ => Some(Value::from(text)),
    }
}

fn takes(kind: FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Any => true,
        FieldKind::Text | FieldKind::Column | FieldKind::File | FieldKind::Notebook => value.is_string(),
        FieldKind::Int => value.is_i64() || value.is_u64(),
        FieldKind::Float => value.is_number(),
        FieldKind::Bool => value.is_boolean(),
        FieldKind::Span => value.as_str().is_some_and(|text| text.parse::<rondo_core::Span>().is_ok()),
        FieldKind::Parameters => value.is_object(),
        FieldKind::Texts => {
            value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
        }
    }
}

fn noun(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Any => "anything",
        FieldKind::Text => "text",
        FieldKind::Column => "a column's name",
        FieldKind::File => "a file of the project",
        FieldKind::Notebook => "a notebook of the project",
        FieldKind::Int => "a whole number",
        FieldKind::Float => "a number",
        FieldKind::Bool => "`true` or `false`",
        FieldKind::Span => "a length of time, such as `30s`, `15m`, `2h`, `7d`",
        FieldKind::Parameters => "a mapping from parameters to values",
        FieldKind::Texts => "text, or a list of texts",
    }
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "without a value".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::String(text) => format!("the text `{}`", super::structure::short(text)),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The parameters that a `with:` block gives a notebook, against those that the notebook declares.
fn parameters(context: &mut Context<'_>, package: &Package, node: &Node, all: &[Entry], path: &str) {
    let Some(entries) = node.map() else {
        let fault = Fault::new(path, node.place, format!("`parameters` cannot be {}", node.noun()));
        return context.fault(fault.expected(noun(FieldKind::Parameters)));
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
            context.fault(fault.expected(default));
        }
    }
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
    let with = node.get("with");
    let given = with.and_then(|with| with.get("parameters")?.map()).unwrap_or_default();
    let file = with.and_then(|with| with.get("notebook")?.text());
    let declared = file
        .and_then(|file| context.files.text(&super::files::normal(file).ok()?))
        .and_then(|text| notebook::declared(&text).ok());
    let declared =
        declared.into_iter().flat_map(|declared| declared.parameters).map(|parameter| parameter.name);
    given.iter().map(|entry| entry.key.clone()).chain(declared).collect()
}
