//! Sweeps: ranges that can be searched, over parameters that are there and reach the step.

use serde_json::Value;

use super::context::{Context, one_of};
use super::{packages, ranges, read};
use crate::builtins::{Field, Package};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Prune, Range, Strategy, Sweep};
use crate::shape::pipeline::STRATEGIES;
use crate::yaml::{Entry, Node, join};

/// The most combinations of a grid.
const MOST: u128 = 100_000;

/// Beyond these, not every whole number has a float of its own.
const WHOLE: i64 = 1 << 53;

/// A step's sweep. Its parameters reach the step where `params` has them or it runs a command, which gets
/// them in its environment.
pub(super) fn sweep(
    context: &mut Context<'_>,
    step: &Node,
    path: &str,
    params: &mut Vec<String>,
    used: Option<&Package>,
) -> Option<Sweep> {
    let node = step.get("sweep").filter(|node| node.map().is_some())?;
    let path = join(path, "sweep");
    let (strategy, halves) = match node.get("strategy").and_then(Node::text) {
        Some("random") => (Strategy::Random, false),
        Some("tpe") => (Strategy::Tpe, false),
        Some("asha") => (Strategy::Random, true),
        None | Some("grid") => (Strategy::Grid, false),
        // Refused by the table of keys; whatever else it was to be, it searches ranges.
        Some(_) => (Strategy::Random, false),
    };
    let is_known = node.get("strategy").and_then(Node::text).is_none_or(|word| STRATEGIES.contains(&word));
    let trials = read::small(node, "trials");
    if strategy != Strategy::Grid && is_known && node.get("trials").is_none() {
        let place = node.entry("strategy").map_or(node.place, |entry| entry.value.place);
        let fault = Fault::new(&path, place, "this strategy needs a number of trials");
        context.fault(fault.expected("the key `trials`").hint("add `trials: 20`"));
    }
    let mut own = packages::swept(context, step);
    own.extend(packages::fields(used));
    let over = over(context, step, node, &path, strategy, (&own, used));
    reached(context, step, node, &path, params, &own);
    let own = over.names().filter(|name| own.iter().any(|known| known == name)).map(str::to_owned).collect();
    let (metric, maximize) = match (read::text(node, "maximize"), read::text(node, "minimize")) {
        (Some(metric), _) => (metric, true),
        (None, Some(metric)) => (metric, false),
        (None, None) => return None,
    };
    let prune = prune(context, node, &path, halves);
    let (seed, max_failed) = (read::count(node, "seed"), read::small(node, "max_failed").unwrap_or(3));
    Some(Sweep { strategy, trials, over, metric, maximize, seed, prune, max_failed, own })
}

fn prune(context: &mut Context<'_>, node: &Node, path: &str, halves: bool) -> Option<Prune> {
    let Some(entry) = node.entry("prune") else { return halves.then(Prune::default) };
    let prune = &entry.value;
    if prune.bool() == Some(false) && halves {
        let fault = Fault::new(join(path, "prune"), prune.place, "`asha` is the strategy that stops trials");
        context.fault(fault.hint("use the strategy `random`, or leave `prune` out"));
    }
    let default = Prune::default();
    match prune.bool() {
        Some(wanted) => wanted.then_some(default),
        None => Some(Prune {
            min_steps: read::small(prune, "min_steps").unwrap_or(default.min_steps),
            factor: read::small(prune, "factor").unwrap_or(default.factor),
        }),
    }
}

/// A swept parameter of the project has to reach its step: otherwise all trials would be one.
fn reached(
    context: &mut Context<'_>,
    step: &Node,
    node: &Node,
    path: &str,
    params: &mut Vec<String>,
    own: &[String],
) {
    let known = context.names("params");
    for entry in node.get("over").and_then(Node::map).unwrap_or_default() {
        let name = &entry.key;
        if own.contains(name) || params.contains(name) || !known.contains(&name.as_str()) {
            continue;
        }
        if step.get("run").is_some() {
            params.push(name.clone());
            continue;
        }
        let message =
            format!("the parameter `{name}` does not reach this step: all trials would be the same");
        let fault = Fault::new(join(&join(path, "over"), name), entry.place, message);
        context.fault(fault.hint(format!("use `${{{{ params.{name} }}}}` in the step")));
    }
}

fn over(
    context: &mut Context<'_>,
    step: &Node,
    node: &Node,
    path: &str,
    strategy: Strategy,
    (own, used): (&[String], Option<&Package>),
) -> Ordered<Range> {
    let entries = node.get("over").and_then(Node::map).unwrap_or_default();
    let mut known = context.names("params");
    known.extend(own.iter().map(String::as_str));
    let mut over = Ordered::new();
    let mut combinations: Option<u128> = Some(1);
    for entry in entries {
        let path = join(&join(path, "over"), &entry.key);
        if !known.contains(&entry.key.as_str()) {
            let fault = Fault::new(&path, entry.place, format!("no parameter is called `{}`", entry.key));
            context.fault(fault.expected(one_of(&known)).did_you_mean(&entry.key, known.iter().copied()));
        }
        let fields = ranges::fields(step, used, &entry.key);
        match searched(&entry.value, &fields) {
            Ok(Some(Range::Float { low, high, step: None, .. }))
                if strategy == Strategy::Grid && low < high =>
            {
                let fault =
                    Fault::new(&path, entry.value.place, "a grid cannot search every number of a range");
                let expected = "`int`, `choice` or a `float` with a `step`";
                context.fault(fault.expected(expected).hint("or use the strategy `random` or `tpe`"));
            }
            Ok(Some(range)) => {
                let examples = examples(&range);
                if !own.contains(&entry.key) {
                    same_kind(context, entry, &path, &examples);
                }
                if let Some((name, (message, expected))) = outside(&fields, &range) {
                    let fault = Fault::new(&path, entry.value.place, format!("`{name}` {message}"));
                    context.fault(fault.expected(expected));
                } else if let Some((message, expected)) =
                    packages::refused(context, step, &entry.key, &examples)
                {
                    context.fault(Fault::new(&path, entry.value.place, message).expected(expected));
                }
                combinations = combinations.and_then(|count| count.checked_mul(size(&range)));
                over.insert(entry.key.clone(), range);
            }
            Ok(None) => {}
            Err(expected) => {
                let auto = if is_auto(&entry.value) { "declared range" } else { "range to search" };
                let message = format!("`{}` has no {auto}", entry.key);
                context.fault(Fault::new(&path, entry.value.place, message).expected(expected));
            }
        }
    }
    if entries.is_empty()
        && let Some(entry) = node.entry("over").filter(|entry| entry.value.map().is_some())
    {
        let fault = Fault::new(join(path, "over"), entry.place, "a sweep over no parameters");
        context.fault(fault.expected("at least one parameter with its range"));
    }
    if strategy == Strategy::Grid && combinations.is_none_or(|count| count > MOST) {
        let message = format!("a grid of more than {MOST} combinations");
        let fault = Fault::new(join(path, "over"), node.place, message);
        context.fault(fault.hint("use the strategy `random` or `tpe` with a number of `trials`"));
    }
    over
}

fn is_auto(node: &Node) -> bool {
    node.text() == Some("auto")
}

/// The range that is written, or that the step's package declares.
fn searched(node: &Node, fields: &[&Field]) -> Result<Option<Range>, &'static str> {
    if !is_auto(node) {
        return range(node);
    }
    const EXPECTED: &str = "a parameter of the step's package with `min` and `max`, or `enum`";
    fields.iter().find_map(|field| ranges::declared(field)).map(Some).ok_or(EXPECTED)
}

/// The first of these fields that does not take every value of a range, and why.
fn outside<'f>(fields: &[&'f Field], range: &Range) -> Option<(&'f str, (String, String))> {
    fields.iter().find_map(|field| Some((field.name.as_str(), ranges::outside(field, range)?)))
}

/// How many values a range of a grid has.
fn size(range: &Range) -> u128 {
    match range {
        Range::Int { low, high, step, .. } => {
            (i128::from(*high) - i128::from(*low)).unsigned_abs() / u128::from(step.unsigned_abs().max(1)) + 1
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float's cast saturates
        Range::Float { low, high, step, .. } => {
            step.map_or(1, |step| ((high - low) / step).max(0.0) as u128 + 1)
        }
        Range::Choice(values) => values.len() as u128,
    }
}

/// Values of a range, of each kind that it has.
fn examples(range: &Range) -> Vec<Value> {
    match range {
        Range::Int { low, .. } => vec![Value::from(*low)],
        // Between two whole numbers.
        Range::Float { low, high, step, .. } => {
            vec![Value::from(low + step.unwrap_or((high - low) * 0.382_7))]
        }
        Range::Choice(values) => values.clone(),
    }
}

/// The values must be of the kind that the parameter has in the project, as those of the command line.
fn same_kind(context: &mut Context<'_>, entry: &Entry, path: &str, values: &[Value]) {
    let declared = context.section("params").iter().find(|param| param.key == entry.key);
    let Some(declared) = declared.map(|param| param.value.json()) else { return };
    let Some(odd) = values.iter().find(|value| noun(value) != noun(&declared)) else { return };
    let message = format!("the parameter `{}` is {}, not {}", entry.key, noun(&declared), noun(odd));
    context.fault(Fault::new(path, entry.value.place, message).expected(noun(&declared)));
}

const fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
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
    let step = node.get("step");
    if log && step.is_some() {
        return Err("`log` or `step`, not both");
    }
    if let Some(items) = node.get("int").and_then(Node::list) {
        const EXPECTED: &str = "`int: [least, greatest]`; with `log` both above 0";
        let step = match step {
            None => 1,
            Some(step) => step.int().filter(|step| *step > 0).ok_or("a whole `step` above 0")?,
        };
        let within = |value: i64| (-WHOLE..=WHOLE).contains(&value);
        return match items {
            [low, high] => match (low.int(), high.int()) {
                (Some(low), Some(high))
                    if low <= high && (!log || low > 0) && within(low) && within(high) =>
                {
                    // The last one that is a whole number of steps away.
                    let high = low + (high - low) / step * step;
                    Ok(Some(Range::Int { low, high, step, log }))
                }
                (Some(_), Some(_)) => Err(EXPECTED),
                _ => Ok(None),
            },
            _ => Err(EXPECTED),
        };
    }
    if let Some(items) = node.get("float").and_then(Node::list) {
        const EXPECTED: &str = "`float: [least, greatest]`; with `log` both above 0";
        let positive = |step: &f64| step.is_finite() && *step > 0.0;
        let step = match step {
            None => None,
            Some(step) => Some(step.number().filter(positive).ok_or("a `step` above 0")?),
        };
        return match items {
            [low, high] => match (low.number(), high.number()) {
                (Some(low), Some(high)) if low <= high && (!log || low > 0.0) && (high - low).is_finite() => {
                    let last = |step: f64| low + ((high - low) / step + 1e-9).floor() * step;
                    let high = step.map_or(high, |step| last(step).min(high));
                    Ok(Some(Range::Float { low, high, step, log }))
                }
                (Some(_), Some(_)) => Err(EXPECTED),
                _ => Ok(None),
            },
            _ => Err(EXPECTED),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::Builtins;
    use crate::files::Folder;
    use crate::project::Project;

    fn checked(sweep: &str, step: &str) -> Result<Project, String> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "project: p\nparams: {{ depth: 3, rate: 0.1, kind: a }}\nsteps:\n  train: {{ {step}, sweep: {{ {sweep} }} }}\n"
        );
        crate::check::check(&text, "rondo.yaml", &Folder::new(folder.path()), &Builtins::default())
            .map_err(|faults| faults.iter().map(|fault| fault.message.clone() + "; ").collect())
    }

    fn read(sweep: &str) -> Sweep {
        let project = checked(&format!("{sweep}, maximize: auc"), "run: 'true'").unwrap();
        let step = project.steps.get("train").unwrap();
        // A command gets what is searched in its environment.
        assert!(
            step.sweep.as_ref().unwrap().over.names().all(|name| step.params.iter().any(|own| own == name))
        );
        step.sweep.clone().unwrap()
    }

    #[test]
    fn ranges_end_at_their_last_step() {
        let sweep = read(
            "over: { depth: { int: [2, 9], step: 3 }, rate: { float: [0, 1], step: 0.3 }, kind: [a, b] }",
        );
        assert_eq!(sweep.over.get("depth"), Some(&Range::Int { low: 2, high: 8, step: 3, log: false }));
        let Some(Range::Float { high, .. }) = sweep.over.get("rate") else { panic!() };
        assert!((high - 0.9).abs() < 1e-12);
        assert_eq!((sweep.max_failed, sweep.prune, sweep.strategy), (3, None, Strategy::Grid));
    }

    #[test]
    fn asha_is_random_search_that_stops_trials() {
        let sweep = read("strategy: asha, trials: 9, over: { depth: { int: [2, 9] } }, max_failed: 0");
        assert_eq!(
            (sweep.strategy, sweep.prune),
            (Strategy::Random, Some(Prune { min_steps: 1, factor: 4 }))
        );
        let sweep = read(
            "strategy: tpe, trials: 9, over: { rate: { float: [0.1, 1], log: true } }, prune: { min_steps: 5, factor: 3 }",
        );
        assert_eq!((sweep.strategy, sweep.prune), (Strategy::Tpe, Some(Prune { min_steps: 5, factor: 3 })));
        assert_eq!(read("over: { depth: [1, 2] }, prune: false").prune, None);
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        for (sweep, expected) in [
            ("over: {}", "a sweep over no parameters"),
            ("over: { depth: { int: [0, 100000] } }", "a grid of more than 100000 combinations"),
            (
                "over: { depth: { int: [-9007199254740993, 0] } }, strategy: random, trials: 3",
                "no range to search",
            ),
            ("over: { depth: { int: [1, 9], step: 0 } }", "no range to search"),
            ("over: { rate: { float: [1, 9], step: 1, log: true } }", "no range to search"),
            (
                "over: { rate: { float: [0, 9], log: true } }, strategy: random, trials: 3",
                "no range to search",
            ),
            (
                "over: { rate: { float: [-1.7e308, 1.7e308] } }, strategy: random, trials: 3",
                "no range to search",
            ),
            ("over: { rate: { float: [0, 1] } }", "a grid cannot search every number"),
            ("over: { kind: { int: [1, 2] } }", "the parameter `kind` is a text, not a number"),
            ("over: { depth: [1, b] }", "the parameter `depth` is a number, not a text"),
            ("over: { depth: [1, 2] }, strategy: asha", "this strategy needs a number of trials"),
            ("over: { depth: [1, 2] }, strategy: asha, trials: 2, prune: false", "`asha` is the strategy"),
        ] {
            let faults = checked(&format!("{sweep}, maximize: auc"), "run: 'true'").unwrap_err();
            assert!(faults.contains(expected), "{sweep}: {faults}");
        }
    }

    #[test]
    fn a_strategy_that_is_not_there_is_one_fault() {
        let sweep = "strategy: tpee, over: { rate: { float: [0, 1] } }, maximize: auc";
        let faults = checked(sweep, "run: 'true'").unwrap_err();
        assert!(faults.contains("tpee") && !faults.contains("grid cannot"), "{faults}");
        assert_eq!(faults.matches("; ").count(), 1, "{faults}");
    }

    #[test]
    fn what_is_searched_has_to_reach_the_step() {
        let with = |sql: &str| checked("over: { depth: [1, 2] }, maximize: auc", &format!("sql: '{sql}'"));
        let faults = with("SELECT 1").unwrap_err();
        assert!(faults.contains("the parameter `depth` does not reach this step"), "{faults}");
        assert!(with("SELECT ${{ params.depth }}").is_ok());
    }
}
