//! Datasets.

use rondo_core::suggest::nearest;

use super::context::Context;
use super::read;
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Dataset, Datasheet, Parts, Period};
use crate::yaml::{Entry, Node, join};

/// The kinds of addresses that a source may have.
const SCHEMES: &[&str] = &[
    "http",
    "https",
    "s3",
    "gs",
    "az",
    "abfs",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "sqlite",
    "pypi",
];

pub(super) fn datasets(context: &mut Context<'_>) -> Ordered<Dataset> {
    let entries = context.section("data");
    entries.iter().filter_map(|entry| Some((entry.key.clone(), dataset(context, entry)?))).collect()
}

fn dataset(context: &mut Context<'_>, entry: &Entry) -> Option<Dataset> {
    let node = &entry.value;
    let path = join("data", &entry.key);
    if let Some(source) = node.get("source") {
        address(context, source, &join(&path, "source"));
    }
    Some(Dataset {
        source: read::text(node, "source")?,
        format: read::text(node, "format"),
        time: read::text(node, "time"),
        parts: node.get("parts").and_then(parts),
        read: reading(context, node, &path),
        query: query(context, node, &path),
        labels: read::text(node, "labels"),
        max_size: node.get("max_size").and_then(read::bytes),
        timeout: read::span(node, "timeout"),
        checks: checks(context, node, &path),
        key: read::texts(node, "key"),
        datasheet: datasheet(context, node, &path),
        description: read::text(node, "description"),
    })
}

/// What can be told of a source without asking for it: its scheme, or that it stays in the project.
fn address(context: &mut Context<'_>, node: &Node, path: &str) {
    let Some(text) = node.text() else { return };
    if without_secrets(text).contains("${{") {
        let fault = Fault::new(path, node.place, "a source cannot hold an expression");
        return context
            .fault(fault.hint("a dataset is the same whatever the parameters are; filter in a step"));
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '-')
    });
    if let Some(scheme) = scheme.filter(|scheme| !SCHEMES.contains(scheme)) {
        let fault = Fault::new(path, node.place, format!("sources of the kind `{scheme}:` are not known"));
        let expected = format!("a path, glob or folder, or an address: {}", crate::shape::any_of(SCHEMES));
        let fault = fault.expected(expected);
        context.fault(match nearest(scheme, SCHEMES.iter().copied()) {
            Some(near) => fault.hint(format!("did you mean `{near}:`?")),
            None => fault,
        });
    }
}

/// A source with its secrets taken out: the only thing of it that stands elsewhere.
fn without_secrets(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("${{") {
        plain.push_str(before);
        match after.split_once("}}") {
            Some((name, after)) if name.trim().strip_prefix("secrets.").is_some_and(is_variable) => {
                rest = after;
            }
            Some(_) | None => {
                plain.push_str("${{");
                rest = after;
            }
        }
    }
    plain + rest
}

fn reading(context: &mut Context<'_>, node: &Node, path: &str) -> serde_json::Map<String, serde_json::Value> {
    let Some(read) = node.get("read").filter(|read| read.map().is_some()) else {
        return serde_json::Map::new();
    };
    let written = match read.json() {
        serde_json::Value::Object(written) => written,
        _ => return serde_json::Map::new(),
    };
    // A key that nobody knows has been told already.
    let known = written.iter().filter(|(key, _)| crate::shape::READING.key(key).is_some());
    let known = known.map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(Err(why)) = context.builtins.data_read.map(|judge| judge(&known)) {
        context.fault(Fault::new(join(path, "read"), read.place, why));
    }
    written
}

/// The query; one without a database, and a database without one, are faults.
fn query(context: &mut Context<'_>, node: &Node, path: &str) -> Option<String> {
    let query = read::text(node, "query");
    let source = node.get("source")?;
    let database = ["postgres:", "postgresql:", "mysql:", "mariadb:", "sqlite:"];
    let asked = database.iter().any(|kind| source.text().unwrap_or_default().starts_with(kind));
    match (&query, node.get("query")) {
        (None, None) if asked => {
            let fault =
                Fault::new(join(path, "source"), source.place, "a database is asked something by `query`");
            context.fault(fault.hint("query: SELECT * FROM orders ORDER BY id"));
        }
        (Some(_), Some(node)) if !asked => {
            let fault = Fault::new(join(path, "query"), node.place, "only a database is asked something");
            context
                .fault(fault.expected("a source such as `postgres://host/database` or `sqlite:orders.db`"));
        }
        _ => {}
    }
    query
}

fn parts(node: &Node) -> Option<Parts> {
    let by = node.get("by").unwrap_or(node);
    let by = match by.text()? {
        "day" => Period::Day,
        "week" => Period::Week,
        "month" => Period::Month,
        "year" => Period::Year,
        _ => return None,
    };
    Some(Parts { by, column: read::text(node, "column") })
}

/// The answers of a datasheet, or the file that they stand in.
fn datasheet(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Datasheet> {
    let at = node.get("datasheet")?;
    if let Some(file) = at.text() {
        if !context.files.exists(file) {
            let fault = Fault::new(join(path, "datasheet"), at.place, format!("there is no file `{file}`"));
            context.fault(fault.hint("rondo data datasheet NAME -o FILE writes one to be filled in"));
        }
        return Some(Datasheet::File(file.to_owned()));
    }
    let parts = at.map()?;
    let answers = parts.iter().flat_map(|part| {
        let questions = part.value.map().unwrap_or_default();
        questions.iter().filter_map(|question| {
            Some((format!("{}.{}", part.key, question.key), question.value.text()?.to_owned()))
        })
    });
    Some(Datasheet::Answers(answers.collect()))
}

fn checks(context: &mut Context<'_>, node: &Node, path: &str) -> Vec<serde_json::Value> {
    let items = node.get("checks").and_then(Node::list).unwrap_or_default();
    let judge = context.builtins.data_check;
    let mut checks = Vec::new();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.map().is_some()) {
        let check = item.json();
        if let Some(Err(why)) = judge.map(|judge| judge(&check)) {
            context.fault(Fault::new(format!("{path}.checks[{index}]"), item.place, why));
        }
        checks.push(check);
    }
    checks
}

/// Whether it can be the name of a variable of an environment.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
