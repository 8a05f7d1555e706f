//! Sweeps: ranges that can be searched, over parameters that are there.

use serde_json::Value;

use super::context::{Context, one_of};
use super::{packages, read};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Range, Strategy, Sweep};
use crate::yaml::{Node, join};

pub(super) fn sweep(context: &mut Context<'_>, step: &Node, path: &str) -> Option<Sweep> {
    let node = step.get("sweep").filter(|node| node.map().is_some())?;
    let path = join(path, "sweep");
    let strategy = match node.get("strategy").and_then(Node::text) {
        Some("random") => Strategy::Random,
        Some("tpe") => Strategy::Tpe,
        _ => Strategy::Grid,
    };
    let trials = read::small(node, "trials");
    if strategy != Strategy::Grid && node.get("trials").is_none() {
        let place = node.entry("strategy").map_or(node.place, |entry| entry.value.place);
        let fault = Fault::new(&path, place, "this strategy needs a number of trials");
        context.fault(fault.expected("the key `trials`").hint("add `trials: 20`"));
    }
    let over = over(context, step, node, &path, strategy);
    let (metric, maximize) = match (read::text(node, "maximize"), read::text(node, "minimize")) {
        (Some(metric), _) => (metric, true),
        (None, Some(metric)) => (metric, false),
        (None, None) => return None,
    };
    Some(Sweep { strategy, trials, over, metric, maximize, seed: read::count(node, "seed") })
}

fn over(
    context: &mut Context<'_>,
    step: &Node,
    node: &Node,
    path: &str,
    strategy: Strategy,
) -> Ordered<Range> {
    let entries = node.get("over").and_then(Node::map).unwrap_or_default();
    let own = packages::swept(context, step);
    let mut known = context.names("params");
    known.extend(own.iter().map(String::as_str));
    let mut over = Ordered::new();
    for entry in entries {
        let path = join(&join(path, "over"), &entry.key);
        if !known.contains(&entry.key.as_str()) {
            let fault = Fault::new(&path, entry.place, format!("no parameter is called `{}`", entry.key));
            context.fault(fault.expected(one_of(&known)).did_you_mean(&entry.key, known.iter().copied()));
        }
        match range(&entry.value) {
            Ok(Some(Range::Float { .. })) if strategy == Strategy::Grid => {
                let fault =
                    Fault::new(&path, entry.value.place, "a grid cannot search every number of a range");
                context
                    .fault(fault.expected("`int` or `choice`").hint("or use the strategy `random` or `tpe`"));
            }
            Ok(Some(range)) => over.insert(entry.key.clone(), range),
            Ok(None) => {}
            Err(expected) => {
                let fault =
                    Fault::new(&path, entry.value.place, format!("`{}` has no range to search", entry.key));
                context.fault(fault.expected(expected));
            }
        }
    }
    over
}

/// `Ok(None)` where the form has been refused before; the error says what was expected.
fn range(node: &Node) -> Result<Option<Range>, &'static str> {
    let choice = |items: &[Node]| match items {
        [] => Err("a list of at least one value"),
        items => Ok(Some(Range::Choice(items.iter().map(Node::json).collect::<Vec<Value>>()))),
    };
    if let Some(items) = node.list() {
        return choice(items);
    }
    if let Some(items) = node.get("choice").and_then(Node::list) {
        return choice(items);
    }
    let log = read::bool(node, "log").unwrap_or(false);
    if let Some(items) = node.get("int").and_then(Node::list) {
        const EXPECTED: &str = "`int: [least, greatest]`; with `log` both above 0";
        return match items {
            [low, high] => match (low.int(), high.int()) {
                (Some(low), Some(high)) if low <= high && (!log || low > 0) => {
                    Ok(Some(Range::Int { low, high, log }))
                }
                (Some(_), Some(_)) => Err(EXPECTED),
                _ => Ok(None),
            },
            _ => Err(EXPECTED),
        };
    }
    if let Some(items) = node.get("float").and_then(Node::list) {
        const EXPECTED: &str = "`float: [least, greatest]`; with `log` both above 0";
        return match items {
            [low, high] => match (low.number(), high.number()) {
                (Some(low), Some(high)) if low <= high && (!log || low > 0.0) => {
                    Ok(Some(Range::Float { low, high, log }))
                }
                (Some(_), Some(_)) => Err(EXPECTED),
                _ => Ok(None),
            },
            _ => Err(EXPECTED),
        };
    }
    Ok(None)
}
