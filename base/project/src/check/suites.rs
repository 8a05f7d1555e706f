//! The checks of a monitor: rules in line, those of a file, or those of a dataset.
//!
//! A fault in a suite's file is shown in that file. Of a dataset's checks nothing is said here: they have
//! been judged with the dataset, and those that cannot be asked of live inputs are left out.

use std::sync::Arc;

use super::context::Context;
use super::files::normal;
use crate::fault::{Fault, Source};
use crate::project::{LiveChecks, SuiteOf};
use crate::suite;
use crate::yaml::{self, Node, join};

/// What stands before a dataset's name.
const DATA: &str = "data.";

/// The `checks:` of a monitor.
pub(super) fn live(context: &mut Context<'_>, node: &Node, path: &str) -> Option<LiveChecks> {
    let value = node.get("checks")?;
    let path = join(path, "checks");
    if let Some(items) = value.list() {
        let rules = judged(context, items, &path, None);
        return Some(LiveChecks { of: SuiteOf::Monitor, rules });
    }
    let text = value.text()?;
    match text.strip_prefix(DATA) {
        Some(name) => of_dataset(context, value, name, &path),
        None => of_file(context, value, text, &path),
    }
}

/// The rules of a list. What is no mapping has been told where the list stands in the project file.
fn judged(
    context: &mut Context<'_>,
    items: &[Node],
    path: &str,
    within: Option<&Arc<Source>>,
) -> Vec<serde_json::Value> {
    let judge = context.builtins.live_check;
    let mut rules = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if item.map().is_none() && within.is_none() {
            continue;
        }
        let rule = item.json();
        if let Some(Err(why)) = judge.map(|judge| judge(&rule)) {
            let fault = Fault::new(format!("{path}[{index}]"), item.place, why.message);
            let fault = Fault { within: within.cloned(), hint: why.hint, ..fault };
            context.fault(fault);
        }
        rules.push(rule);
    }
    rules
}

fn of_dataset(context: &mut Context<'_>, value: &Node, name: &str, path: &str) -> Option<LiveChecks> {
    let datasets = context.names("data");
    let entry = context.section("data").iter().find(|entry| entry.key == name);
    let Some(entry) = entry else {
        context.unknown(path, value.place, "dataset", name, &datasets);
        return None;
    };
    let Some(checks) = entry.value.get("checks") else {
        let fault = Fault::new(path, value.place, format!("the dataset `{name}` has no checks"));
        let fault = fault.related(entry.place, "the dataset");
        context.fault(fault.hint("write them under its `checks`, or in line here"));
        return None;
    };
    let rules = checks.list().unwrap_or_default().iter().filter(|rule| rule.map().is_some());
    Some(LiveChecks { of: SuiteOf::Dataset(name.to_owned()), rules: rules.map(Node::json).collect() })
}

fn of_file(context: &mut Context<'_>, value: &Node, file: &str, path: &str) -> Option<LiveChecks> {
    let normal = match normal(file) {
        Ok(normal) => normal,
        Err(why) => {
            let fault = Fault::new(path, value.place, format!("`{file}` {why}"));
            context.fault(fault.expected("a file of checks, relative to the project, or `data.NAME`"));
            return None;
        }
    };
    if !context.files.exists(&normal) && context.has_dataset(file) {
        let fault = Fault::new(path, value.place, format!("no file `{file}`"));
        context.fault(fault.hint(format!("did you mean `{DATA}{file}`, the checks of the dataset?")));
        return None;
    }
    let Some(text) = context.files.text(&normal) else {
        if context.files.exists(&normal) {
            let fault = Fault::new(path, value.place, format!("`{file}` cannot be read as text"));
            context.fault(fault.expected("a file of checks in YAML or JSON"));
        } else {
            missing(context, value, file, &normal, path);
        }
        return None;
    };
    let parsed = yaml::parse(&text);
    let source = Arc::new(Source { file: normal.clone(), text });
    let faulty = !parsed.faults.is_empty();
    for fault in parsed.faults {
        context.fault(Fault { within: Some(source.clone()), ..fault });
    }
    let items = parsed.root.as_ref().and_then(suite::rules);
    let Some(items) = items else {
        if !faulty {
            let place = parsed.root.as_ref().map_or(value.place, |root| root.place);
            let within = parsed.root.is_some().then_some(source);
            let fault = Fault::new(path, place, format!("`{file}` holds no checks"));
            let fault = fault.expected("a list of checks, or one under `checks:`");
            context.fault(Fault { within, ..fault });
        }
        return None;
    };
    let rules = judged(context, items, "", Some(&source));
    Some(LiveChecks { of: SuiteOf::File(normal), rules })
}

fn missing(context: &mut Context<'_>, value: &Node, file: &str, normal: &str, path: &str) {
    let siblings = context.files.siblings(normal);
    let fault = Fault::new(path, value.place, format!("no file `{file}`"));
    let fault = fault.expected("a file of checks, relative to the project, or `data.NAME`");
    context.fault(fault.did_you_mean(normal, siblings.iter().map(String::as_str)));
}
