//! Parameters and steps.

use std::sync::Arc;

use serde_json::Value;

use super::context::Context;
use super::expressions::{self, Known};
use super::{conditions, environments, packages, ports, read, references, sweep};
use crate::builtins::Package;
use crate::command::{Started, started};
use crate::condition::{Condition, Name};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::package::Run;
use crate::place::Place;
use crate::project::{Backoff, Reproducible, Resources, SqlSource, Step, Work};
use crate::substitute;
use crate::yaml::{Entry, Node, join};

/// The most combinations of one matrix.
const MOST: usize = 100_000;

/// A step, and where it says what it waits for.
pub(crate) struct Located {
    pub step: Step,
    pub needs: Vec<(String, Place)>,
}

pub(super) fn params(context: &mut Context<'_>) -> Ordered<Value> {
    let entries = context.section("params");
    variables(context, entries, "params", "parameters");
    entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect()
}

/// Names become parts of environment variables: `a-b` and `A_b` would be the same one.
pub(crate) fn variables(context: &mut Context<'_>, entries: &[Entry], path: &str, what: &str) {
    let variable = |name: &str| name.to_uppercase().replace('-', "_");
    let mut seen: Vec<(String, &Entry)> = Vec::new();
    for entry in entries {
        let own = variable(&entry.key);
        match seen.iter().find(|(known, _)| *known == own) {
            Some((_, first)) => {
                let message = format!(
                    "the {what} `{}` and `{}` would be one environment variable",
                    first.key, entry.key
                );
                let fault = Fault::new(join(path, &entry.key), entry.place, message);
                context.fault(
                    fault
                        .related(first.place, "the other one")
                        .expected("names that differ by more than case, `-` and `_`"),
                );
            }
            None => seen.push((own, entry)),
        }
    }
}

pub(super) fn steps(context: &mut Context<'_>) -> Vec<(String, Located)> {
    let entries = context.section("steps");
    for entry in entries.iter().filter(|entry| entry.key == "data") {
        let fault = Fault::new("steps.data", entry.place, "a step cannot be called `data`");
        context.fault(fault.hint("`data.NAME` means a dataset; give the step another name"));
    }
    entries.iter().map(|entry| (entry.key.clone(), step(context, entry))).collect()
}

fn step(context: &mut Context<'_>, entry: &Entry) -> Located {
    let node = &entry.value;
    let path = join("steps", &entry.key);
    let mut inputs = references::inputs(context, node, &path);
    for (key, what) in [("inputs", "inputs"), ("outputs", "outputs")] {
        let entries = node.get(key).and_then(Node::map).unwrap_or_default();
        variables(context, entries, &join(&path, key), what);
    }
    let mut code = code(context, node, &path);
    let declared = declared_params(context, node, &path);
    let mut known = Known::of(context, entry, inputs.locals.clone());
    let (mut work, used) = work(context, node, &path, &mut known, &mut code);
    if let Some(package) = &used {
        let renamed = ports::inputs(context, package, node, &path, &mut inputs);
        if let Work::Uses { with, .. } = &mut work {
            *with = renamed_in(with, &renamed);
        }
        ports::outputs(context, package, node, &path);
        whole_workflow(context, package, node, &path);
        known.inputs.clone_from(&inputs.locals);
    }
    let (retries, backoff) = retries(node);
    let when = conditions::when(context, node, &path, &known);
    let matrix = matrix(context, node, &path);
    let mut params: Vec<String> = known.used.into_iter().chain(declared).collect();
    let sweep = sweep::sweep(context, node, &path, &mut params, used.as_deref());
    params.sort();
    params.dedup();
    let step = Step {
        work,
        inputs: inputs.resolved,
        outputs: outputs(context, node),
        params,
        environment: environments::named(context, node, &path),
        isolation: environments::isolation(node),
        network: read::bool(node, "network"),
        metrics: context.path_at(node, "metrics"),
        sweep,
        retries,
        backoff,
        timeout: read::span(node, "timeout"),
        when,
        matrix,
        resources: resources(node),
        cache: read::bool(node, "cache").unwrap_or(true),
        code,
        deterministic: read::bool(node, "deterministic"),
        reproducible: reproducible(context, node, &path),
        description: read::text(node, "description"),
        used,
        packaged: None,
    };
    Located { step, needs: inputs.needs }
}

fn work(
    context: &mut Context<'_>,
    node: &Node,
    path: &str,
    known: &mut Known<'_>,
    code: &mut Vec<String>,
) -> (Work, Option<Arc<Package>>) {
    if let Some(run) = node.get("run") {
        let path = join(path, "run");
        expressions::below(context, run, &path, known);
        for started in started(&run.raw) {
            let Started::Script(script) = started else { continue };
            context.file(&path, place_in(context, run, &script), &script);
            code.extend(
                super::files::normal(&script)
                    .ok()
                    .filter(|script| !code.contains(script) && context.files.exists(script)),
            );
        }
        return (Work::Run { command: run.raw.clone() }, None);
    }
    if let Some(sql) = node.get("sql") {
        return (Work::Sql { source: self::sql(context, sql, &join(path, "sql"), known) }, None);
    }
    let used = packages::uses(context, node, path, false, known).unwrap_or_default();
    (Work::Uses { package: used.name, with: used.with }, used.package)
}

/// Where a command names a script: its path, or its name behind a `cd`.
fn place_in(context: &Context<'_>, run: &Node, script: &str) -> Place {
    let written = context.source.get(run.place.start..run.place.end).unwrap_or("");
    let name = script.rsplit('/').next().unwrap_or(script);
    let found = [script, name].into_iter().find_map(|part| Some((written.find(part)?, part.len())));
    found.map_or(run.place, |(at, long)| {
        context.lines.place(run.place.start + at, run.place.start + at + long)
    })
}

/// A `with:` block in which inputs have got the names that the package knows them by.
fn renamed_in(with: &Ordered<Value>, renamed: &[(String, String)]) -> Ordered<Value> {
    let each = |(name, value): (&str, &Value)| (name.to_owned(), substitute::renamed(value, renamed));
    with.iter().map(each).collect()
}

/// What cannot be said of a step that stands for a whole workflow.
fn whole_workflow(context: &mut Context<'_>, package: &Package, node: &Node, path: &str) {
    let Run::Steps { steps, .. } = &package.run else { return };
    for key in ["sweep", "matrix", "metrics", "code"] {
        if let Some(entry) = node.entry(key) {
            let message = format!("`{key}` cannot be said of a workflow, and `{}` is one", package.name);
            let fault = Fault::new(join(path, key), entry.place, message);
            context.fault(fault.hint("say it of a step of the workflow"));
        }
    }
    if let Some(entry) = node.entry("when")
        && let Some((name, _)) = steps.iter().find(|(_, step)| step.when.is_some())
    {
        let message = format!("`{}` has a condition of its own at its step `{name}`", package.name);
        context.fault(Fault::new(join(path, "when"), entry.place, message).expected("one condition"));
    }
    if let Some(entry) = node.entry("when")
        && let Ok(condition) = Condition::parse(entry.value.raw.trim())
        && condition.names().iter().any(|name| matches!(name, Name::Input(..)))
    {
        let message = "a condition on a workflow cannot ask for its inputs";
        let fault = Fault::new(join(path, "when"), entry.place, message);
        context.fault(fault.hint("ask for `params.NAME`, or put the condition on a step of the workflow"));
    }
}

pub(crate) fn sql(context: &mut Context<'_>, node: &Node, path: &str, known: &mut Known<'_>) -> SqlSource {
    let text = node.raw.trim();
    if text.contains(char::is_whitespace) || !text.ends_with(".sql") {
        expressions::below(context, node, path, known);
        return SqlSource::Text(node.raw.clone());
    }
    match super::files::normal(text) {
        Err(why) => {
            let fault = Fault::new(path, node.place, format!("`{text}` {why}"));
            context.fault(fault.expected("a path relative to the project that stays inside it"));
            SqlSource::File(text.to_owned())
        }
        Ok(file) => {
            context.file(path, node.place, &file);
            if let Some(sql) = context.files.text(&file) {
                expressions::file(context, node, path, &file, &sql, known);
            }
            SqlSource::File(file)
        }
    }
}

fn code(context: &mut Context<'_>, node: &Node, path: &str) -> Vec<String> {
    let Some(value) = node.get("code") else { return Vec::new() };
    let single = value.list().is_none();
    let mut code = Vec::new();
    for (index, item) in read::one_or_more(value).into_iter().enumerate() {
        let Some(file) = item.text() else { continue };
        let path = if single { join(path, "code") } else { format!("{path}.code[{index}]") };
        context.file(&path, item.place, file);
        code.extend(super::files::normal(file));
    }
    code
}

fn declared_params(context: &mut Context<'_>, node: &Node, path: &str) -> Vec<String> {
    let known = context.names("params");
    let mut declared = Vec::new();
    for (index, item) in node.get("params").and_then(Node::list).unwrap_or_default().iter().enumerate() {
        let Some(name) = item.text() else { continue };
        if !known.contains(&name) && rondo_core::id::is_name(name) {
            context.unknown(&format!("{path}.params[{index}]"), item.place, "parameter", name, &known);
        }
        declared.push(name.to_owned());
    }
    declared
}

fn outputs(context: &Context<'_>, node: &Node) -> Ordered<String> {
    let Some(outputs) = node.get("outputs") else { return Ordered::new() };
    let entries = outputs.map().unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), context.path_at(outputs, &entry.key)?)))
        .collect()
}

fn reproducible(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Reproducible> {
    let declared = node.get("reproducible").filter(|declared| declared.map().is_some())?;
    let known: Vec<&str> =
        node.get("outputs").and_then(Node::map).unwrap_or_default().iter().map(|e| e.key.as_str()).collect();
    let mut outputs = Ordered::new();
    for entry in declared.get("outputs").and_then(Node::map).unwrap_or_default() {
        if !known.contains(&entry.key.as_str()) {
            let path = format!("{path}.reproducible.outputs.{}", entry.key);
            context.unknown(&path, entry.place, "output", &entry.key, &known);
        }
        if let Some(tolerance) = entry.value.number() {
            outputs.insert(entry.key.clone(), tolerance);
        }
    }
    Some(Reproducible { tolerance: read::float(declared, "tolerance"), outputs })
}

fn retries(node: &Node) -> (u32, Backoff) {
    let usual = Backoff::default();
    match node.get("retries").filter(|retries| retries.map().is_some()) {
        None => (read::small(node, "retries").unwrap_or(0), usual),
        Some(retries) => (
            read::small(retries, "times").unwrap_or(0),
            Backoff {
                delay: read::span(retries, "delay").unwrap_or(usual.delay),
                factor: read::float(retries, "factor").unwrap_or(usual.factor),
                max_delay: read::span(retries, "max_delay").unwrap_or(usual.max_delay),
                jitter: read::float(retries, "jitter").unwrap_or(usual.jitter),
            },
        ),
    }
}

fn matrix(context: &mut Context<'_>, node: &Node, path: &str) -> Ordered<Vec<Value>> {
    let mut matrix = Ordered::new();
    let entries = node.get("matrix").and_then(Node::map).unwrap_or_default();
    variables(context, entries, &join(path, "matrix"), "keys of the matrix");
    for entry in entries {
        let Some(items) = entry.value.list() else { continue };
        if items.is_empty() {
            let path = format!("{path}.matrix.{}", entry.key);
            context.fault(
                Fault::new(path, entry.value.place, "an empty list gives no run at all")
                    .expected("at least one value"),
            );
        }
        let mut values: Vec<Value> = Vec::with_capacity(items.len());
        for item in items {
            let value = item.json();
            if values.contains(&value) {
                let path = format!("{path}.matrix.{}", entry.key);
                let fault = Fault::new(path, item.place, format!("`{}` stands twice", item.raw));
                context.fault(fault.expected("values that differ: each is a step of its own"));
            } else {
                values.push(value);
            }
        }
        matrix.insert(entry.key.clone(), values);
    }
    let count = matrix.values().map(Vec::len).fold(1, usize::saturating_mul);
    if let Some(entry) = node.entry("matrix").filter(|_| count > MOST) {
        let message = format!("the matrix has {count} combinations, each a step of its own");
        let fault = Fault::new(join(path, "matrix"), entry.place, message);
        let fault = fault.expected(format!("{MOST} or less"));
        context.fault(fault.hint("search among the values: `sweep: { strategy: random, … }`"));
        return Ordered::new();
    }
    matrix
}

pub(crate) fn resources(node: &Node) -> Resources {
    let Some(node) = node.get("resources") else { return Resources::default() };
    Resources {
        cpus: read::float(node, "cpus"),
        memory: node.get("memory").and_then(read::bytes),
        gpus: read::small(node, "gpus"),
        custom: node
            .get("custom")
            .and_then(Node::map)
            .unwrap_or_default()
            .iter()
            .filter_map(amount)
            .collect(),
    }
}

fn amount(entry: &Entry) -> Option<(String, u32)> {
    Some((entry.key.clone(), entry.value.int().and_then(|amount| u32::try_from(amount).ok())?))
}
