//! The business problem, and whether its objectives can be judged and met at all.

use rondo_core::evaluation::Task;
use rondo_core::metric::{self, Direction, KnownMetric, Subject};
use rondo_core::objective::{Objective, On};

use super::context::{Context, one_of};
use super::models::task;
use super::read;
use crate::fault::Fault;
use crate::project::Canvas;
use crate::yaml::{Node, join};

pub(super) fn canvas(context: &mut Context<'_>) -> Canvas {
    let Some(node) = context.root.get("canvas") else { return Canvas::default() };
    Canvas {
        value: read::text(node, "value"),
        decision: read::text(node, "decision"),
        prediction: read::text(node, "prediction"),
        stakeholders: read::texts(node, "stakeholders"),
        inputs: read::texts(node, "inputs"),
        output: read::text(node, "output"),
        process: read::texts(node, "process"),
        data_sources: read::texts(node, "data_sources"),
        harms: read::texts(node, "harms"),
        objectives: objectives(context, node, "canvas"),
    }
}

/// The `objectives:` of the canvas or of a monitor.
pub(super) fn objectives(context: &mut Context<'_>, node: &Node, path: &str) -> Vec<Objective> {
    let items = node.get("objectives").and_then(Node::list).unwrap_or_default();
    let path = join(path, "objectives");
    items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| objective(context, item, &format!("{path}[{index}]")))
        .collect()
}

fn objective(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Objective> {
    let objective = Objective {
        metric: read::text(node, "metric")?,
        min: read::float(node, "min"),
        max: read::float(node, "max"),
        slice: read::text(node, "slice"),
        by: read::text(node, "by"),
        min_rows: read::count(node, "min_rows").unwrap_or(0),
        min_positives: read::count(node, "min_positives").unwrap_or(0),
        on: match node.get("on").and_then(Node::text) {
            Some("promote") => Some(On::Promote),
            Some("monitor") => Some(On::Monitor),
            _ => None,
        },
    };
    if let Some(known) = known_metric(context, node, "metric", path) {
        numbers(context, node, &objective, known, path);
        columns(context, node, &objective, known, path);
    }
    Some(objective)
}

/// Looks a metric up by its name at a key; says what is wrong with it for the models of this project.
pub(super) fn known_metric(
    context: &mut Context<'_>,
    node: &Node,
    key: &str,
    path: &str,
) -> Option<&'static KnownMetric> {
    let value = node.get(key)?;
    let name = value.text()?;
    let path = join(path, key);
    let tasks: Vec<Task> = context
        .section("models")
        .iter()
        .filter_map(|model| model.value.get("task")?.text().and_then(task))
        .collect();
    let fits = |metric: &KnownMetric| tasks.is_empty() || tasks.iter().any(|task| metric.fits(*task));
    let fitting: Vec<&str> =
        metric::known().iter().filter(|known| fits(known)).map(|known| known.name).collect();
    let Some(known) = metric::known().iter().find(|known| known.name == name) else {
        let fault = Fault::new(path, value.place, format!("no metric is called `{name}`"));
        let fault = fault.expected(one_of(&fitting));
        context.fault(match name.split_once(':') {
            Some((base, column)) => fault.hint(format!("write `metric: {base}, by: {column}`")),
            None => fault.did_you_mean(name, fitting.iter().copied()),
        });
        return None;
    };
    if !fits(known) {
        let words: Vec<&str> = tasks.iter().map(|task| task.word()).collect();
        let fault =
            Fault::new(path, value.place, format!("`{name}` is no metric of a {} model", words.join(" or ")));
        context.fault(fault.expected(one_of(&fitting)));
        return None;
    }
    Some(known)
}

/// Whether the numbers can be met, and mean anything.
fn numbers(context: &mut Context<'_>, node: &Node, objective: &Objective, known: &KnownMetric, path: &str) {
    let (low, high) = known.range;
    let name = known.name;
    let range = match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("`{name}` lies between {low} and {high}"),
        (true, false) => format!("`{name}` is {low} or more"),
        (false, true) => format!("`{name}` is {high} or less"),
        (false, false) => format!("`{name}` is any number"),
    };
    for (key, bound, impossible) in [
        ("min", objective.min, objective.min.is_some_and(|min| min > high)),
        ("max", objective.max, objective.max.is_some_and(|max| max < low)),
    ] {
        let Some((bound, entry)) = bound.zip(node.entry(key)) else { continue };
        let beyond = if key == "min" { bound < low } else { bound > high };
        let what = match (impossible, beyond) {
            (true, _) => "can never be met",
            (false, true) => "is always met and says nothing",
            (false, false) => continue,
        };
        let fault =
            Fault::new(join(path, key), entry.value.place, format!("the objective `{key}: {bound}` {what}"));
        let hint = if (2.0..=100.0).contains(&bound) && high == 1.0 {
            format!("did you mean `{key}: {}`?", bound / 100.0)
        } else {
            known.doc.to_owned()
        };
        context.fault(fault.expected(range.clone()).hint(hint));
    }
    let (Some(min), Some(max)) = (node.entry("min"), node.entry("max")) else {
        return direction(context, node, known, path);
    };
    if objective.min.zip(objective.max).is_some_and(|(least, greatest)| least > greatest) {
        let message = format!(
            "the objective can never be met: `min: {}` is above `max: {}`",
            min.value.raw, max.value.raw
        );
        let fault = Fault::new(join(path, "min"), min.value.place, message);
        context.fault(fault.related(max.value.place, "the greatest value").expected("`min` not above `max`"));
    }
}

/// A lone bound at the wrong end is surely a slip: `max` of a metric that should be great.
fn direction(context: &mut Context<'_>, node: &Node, known: &KnownMetric, path: &str) {
    let (wrong, right, word) = match known.direction {
        Direction::Higher => ("max", "min", "great"),
        Direction::Lower => ("min", "max", "small"),
        Direction::Neither => return,
    };
    if let Some(entry) = node.entry(wrong).filter(|_| node.entry(right).is_none()) {
        let message = format!("the objective sets only `{wrong}`, but `{}` should be {word}", known.name);
        let fault = Fault::new(join(path, wrong), entry.place, message);
        context.fault(fault.expected(format!("`{right}`")).hint(format!("did you mean `{right}`?")));
    }
}

/// Whether the columns fit the metric and are ones that a model is evaluated by.
fn columns(context: &mut Context<'_>, node: &Node, objective: &Objective, known: &KnownMetric, path: &str) {
    let fair = known.subject == Subject::Fairness;
    if fair
        && objective.by.is_none()
        && let Some(metric) = node.entry("metric")
    {
        let message = format!("`{}` compares groups, but of what", known.name);
        let fault = Fault::new(path, metric.value.place, message);
        context.fault(fault.expected("the key `by`: a column").hint("add `by: COLUMN`"));
    }
    let sliced: Vec<&str> = context
        .section("models")
        .iter()
        .filter_map(|model| model.value.get("slices"))
        .flat_map(read::one_or_more)
        .filter_map(Node::text)
        .collect();
    for (key, fits, other) in [("by", fair, "slice"), ("slice", known.subject == Subject::Quality, "by")] {
        let Some(entry) = node.entry(key) else { continue };
        let Some(column) = entry.value.text() else { continue };
        let path = join(path, key);
        if !fits {
            let fault =
                Fault::new(path, entry.place, format!("`{}` cannot be taken with `{key}`", known.name));
            let helps = (key == "by" && known.subject == Subject::Quality) || fair;
            context.fault(if helps { fault.hint(format!("did you mean `{other}`?")) } else { fault });
        } else if !context.section("models").is_empty() && !sliced.contains(&column) {
            let fault = Fault::new(path, entry.value.place, format!("no model is evaluated by `{column}`"));
            let fault = match sliced.as_slice() {
                [] => fault,
                _ => fault.expected(one_of(&sliced)),
            };
            context.fault(match rondo_core::suggest::nearest(column, sliced.iter().copied()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint(format!("add `{column}` to the `slices` of a model")),
            });
        }
    }
}
