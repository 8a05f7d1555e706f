//! Models.

use rondo_core::evaluation::Task;

use super::canvas::known_metric;
use super::context::Context;
use super::{read, references};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{Canvas, Gate, Model, Reference};
use crate::yaml::{Entry, Node, join};

/// The task of that word.
pub(super) fn task(word: &str) -> Option<Task> {
    match word {
        "binary" => Some(Task::Binary),
        "multiclass" => Some(Task::Multiclass),
        "regression" => Some(Task::Regression),
        _ => None,
    }
}

pub(super) fn models(context: &mut Context<'_>, canvas: &Canvas) -> Ordered<Model> {
    let entries = context.section("models");
    entries.iter().filter_map(|entry| Some((entry.key.clone(), model(context, entry, canvas)?))).collect()
}

fn model(context: &mut Context<'_>, entry: &Entry, canvas: &Canvas) -> Option<Model> {
    let node = &entry.value;
    let path = join("models", &entry.key);
    let from = from(context, node, &path);
    let task = read::text(node, "task").and_then(|word| task(&word));
    binary_only(context, node, &path, task);
    if let Some(step) = node.get("evaluation") {
        let steps = context.names("steps");
        if let Some(name) = step.text().filter(|name| rondo_core::id::is_name(name) && !steps.contains(name))
        {
            context.unknown(&join(&path, "evaluation"), step.place, "step", name, &steps);
        }
    }
    known_metric(context, node, "metric", &path);
    let gate = gate(context, node, &path, canvas);
    Some(Model {
        from: from?,
        task: task?,
        target: read::text(node, "target")?,
        positive: read::scalar(node, "positive"),
        threshold: read::float(node, "threshold"),
        time: read::text(node, "time"),
        key: read::text(node, "key"),
        slices: read::texts(node, "slices"),
        evaluation: read::text(node, "evaluation"),
        metric: read::text(node, "metric"),
        gate,
        refit: read::bool(node, "refit").unwrap_or(false),
        description: read::text(node, "description"),
    })
}

/// The output that holds the model's file: a step's, and not a table.
fn from(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Reference> {
    let value = node.get("from")?;
    let path = join(path, "from");
    let reference = references::resolve(context, value, &path)?;
    references::one_of_many(context, value, &path, &reference);
    let Reference::Output { step, output } = &reference else {
        let fault = Fault::new(path, value.place, "a model cannot come from a dataset");
        context.fault(fault.expected("an output of a step: `STEP.OUTPUT`"));
        return None;
    };
    let steps = context.section("steps").iter().find(|entry| entry.key == *step);
    let file = steps.and_then(|entry| entry.value.get("outputs")?.get(output)?.text()).unwrap_or("");
    let table = [".parquet", ".csv", ".tsv", ".arrow", ".csv.gz"].iter().any(|ending| file.ends_with(ending));
    if table {
        let fault =
            Fault::new(path, value.place, format!("`{reference}` is a table, `{file}`, and no model"));
        context.fault(fault.expected("an output that is a model's file, such as `model.onnx`"));
        return None;
    }
    Some(reference)
}

fn binary_only(context: &mut Context<'_>, node: &Node, path: &str, task: Option<Task>) {
    let Some(task) = task.filter(|task| *task != Task::Binary) else { return };
    for key in ["positive", "threshold"] {
        if let Some(entry) = node.entry(key) {
            let message = format!("`{key}` has no meaning for a {} model", task.word());
            context.fault(Fault::new(join(path, key), entry.place, message).expected("a binary task"));
        }
    }
}

fn gate(context: &mut Context<'_>, node: &Node, path: &str, canvas: &Canvas) -> Vec<Gate> {
    let Some(value) = node.get("gate") else {
        // Objectives are the gate of every promotion, unless the file says otherwise.
        let default = [Gate::Objectives, Gate::BeatsChampion];
        return default.into_iter().filter(|_| !canvas.objectives.is_empty()).collect();
    };
    let path = join(path, "gate");
    let mut rules = Vec::new();
    for item in read::one_or_more(value) {
        let (rule, needs) = match item.text() {
            Some("objectives") => (Gate::Objectives, "objectives to judge"),
            Some("improves") => (Gate::Improves, "objectives to judge"),
            Some("beats_champion") => (Gate::BeatsChampion, "a metric to compare by"),
            Some("approval") => {
                rules.push(Gate::Approval);
                continue;
            }
            _ => continue,
        };
        let compares = rule == Gate::BeatsChampion && node.get("metric").is_some();
        let declared = context.root.get("canvas").is_some_and(|canvas| canvas.get("objectives").is_some());
        if canvas.objectives.is_empty() && !declared && !compares {
            let fault =
                Fault::new(&path, item.place, format!("the gate has no {}", needs.trim_start_matches("a ")));
            context.fault(fault.hint("add `objectives` to the `canvas`"));
        }
        rules.push(rule);
    }
    if rules.contains(&Gate::Improves) && !rules.contains(&Gate::Objectives) {
        rules.insert(0, Gate::Objectives);
    }
    rules
}
