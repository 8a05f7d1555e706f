//! What a package that is built in says of its arguments taken together: that one of some has to be given,
//! that one asks for another. What each may be by itself is its type's business, in `packages`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::context::{Context, View, one_of};
use super::packages::only_param;
use crate::builtins::Package;
use crate::fault::Fault;
use crate::package::{Field, Run, plain};
use crate::place::Place;
use crate::yaml::{Entry, Node, join};

/// The packages that only start another program, and the arguments of which each needs one: what it starts.
const STARTED: [(&str, &[&str]); 4] = [
    ("shell", &["script", "command"]),
    ("python", &["script", "module", "code"]),
    ("r", &["script", "code"]),
    ("sql", &["script", "query"]),
];

/// Holds the arguments against each other. `sound`: each by itself is as it should be.
pub(super) fn together(
    context: &mut Context<'_>,
    package: &Package,
    uses: &Node,
    entries: &[Entry],
    path: &str,
    sound: bool,
) {
    let Run::Builtin { builtin } = &package.run else { return };
    if let Some((_, words)) = STARTED.iter().find(|(name, _)| name == builtin) {
        return one(context, package, uses, entries, path, words);
    }
    let Some(judge) = context.builtins.arguments.clone().filter(|_| sound) else { return };
    let Some(with) = settled(context, package, entries) else { return };
    for message in judge(builtin, &with) {
        let place = meant(context, entries, &message).unwrap_or(uses.place);
        context.fault(Fault::new(path, place, format!("package `{}`: {message}", package.name)));
    }
}

/// One of these has to be given, and no more.
fn one(
    context: &mut Context<'_>,
    package: &Package,
    uses: &Node,
    entries: &[Entry],
    path: &str,
    words: &[&str],
) {
    let mut given = entries.iter().filter(|entry| words.contains(&entry.key.as_str()));
    match (given.next(), given.next()) {
        (None, _) => {
            let words = one_of(words);
            let message = format!("package `{}` needs {words} in its `with`: what it runs", package.name);
            context.fault(Fault::new(path, uses.place, message).expected(words));
        }
        (Some(first), Some(second)) => {
            let message = format!("`{}` cannot stand beside `{}`", second.key, first.key);
            let fault = Fault::new(join(path, &second.key), second.place, message);
            context.fault(fault.related(first.place, "the other one").expected(one_of(words)));
        }
        (Some(_), None) => {}
    }
}

/// The arguments as the package will see them; nothing where one of them is not known before it runs.
fn settled(context: &Context<'_>, package: &Package, entries: &[Entry]) -> Option<BTreeMap<String, Value>> {
    let field = |key: &str| package.field(key);
    // A package's own files lie where this file does, and not where the judge looks for them.
    let is_file = |entry: &Entry| field(&entry.key).is_some_and(|field| field.kind.is_file());
    if context.view == View::Package && entries.iter().any(is_file) {
        return None;
    }
    let default = |field: &Field| Some((field.name.clone(), field.default.clone()?));
    let mut with: BTreeMap<String, Value> = package.with.iter().filter_map(default).collect();
    for entry in entries {
        with.insert(entry.key.clone(), known(context, &entry.value.json())?);
    }
    Some(with)
}

/// A value with what parameters are by default; nothing where that is not all there is to it.
fn known(context: &Context<'_>, value: &Value) -> Option<Value> {
    match value {
        Value::String(text) if text.contains("${{") => {
            let declared = context.root.get("params")?.get(&only_param(text)?)?;
            let value = match context.view {
                View::Project => Some(declared.json()),
                View::Package => declared.get("default").map(Node::json),
            };
            value.filter(|value| !value.is_null())
        }
        Value::Array(items) => items.iter().map(|item| known(context, item)).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| Some((key.clone(), known(context, value)?))).collect()
        }
        plain => Some(plain.clone()),
    }
}

/// Where what a message speaks of stands: its `check 2:` is an item of a list, and a word in backticks an
/// argument or what is given for one.
fn meant(context: &Context<'_>, entries: &[Entry], message: &str) -> Option<Place> {
    let item = || {
        let (number, _) = message.strip_prefix("check ")?.split_once(':')?;
        let number = number.parse::<usize>().ok()?.checked_sub(1)?;
        entries.iter().find(|entry| entry.key == "checks")?.value.list()?.get(number).map(|node| node.place)
    };
    let named = || {
        message.split('`').skip(1).step_by(2).find_map(|word| {
            let is_given = |value: &Node| {
                known(context, &value.json()).is_some_and(|value| value.is_string() && plain(&value) == word)
            };
            let found = |entry: &&Entry| entry.key == word || is_given(&entry.value);
            entries.iter().find(found).map(|entry| entry.value.place)
        })
    };
    item().or_else(named)
}
