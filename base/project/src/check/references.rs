//! References between steps and data, and cycles among them.

use std::collections::HashMap;

use rondo_core::suggest::nearest;

use super::context::{Context, one_of};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::place::Place;
use crate::project::{ModelAlias, Reference};
use crate::yaml::{Node, Value, join};

/// The inputs of a step or app.
pub(super) struct Inputs {
    /// Those that lead somewhere, by local name.
    pub resolved: Ordered<Reference>,
    /// Models behind an alias, by local name, where those are taken.
    pub models: Option<Ordered<ModelAlias>>,
    /// All local names, also of those that lead nowhere: using them is no second fault.
    pub locals: Vec<String>,
    /// The steps that are waited for, and where that is said.
    pub needs: Vec<(String, Place)>,
    /// Where each local name comes from, and its path in the tree.
    pub places: Vec<(Place, String)>,
}

/// Those of a step.
pub(super) fn inputs(context: &mut Context<'_>, node: &Node, path: &str) -> Inputs {
    found(context, node, path, None)
}

/// Those of an app, which may be models behind an alias too.
pub(super) fn inputs_of_app(context: &mut Context<'_>, node: &Node, path: &str) -> Inputs {
    found(context, node, path, Some(Ordered::new()))
}

fn found(context: &mut Context<'_>, node: &Node, path: &str, models: Option<Ordered<ModelAlias>>) -> Inputs {
    let (resolved, locals, needs, places) = (Ordered::new(), Vec::new(), Vec::new(), Vec::new());
    let mut inputs = Inputs { resolved, models, locals, needs, places };
    let Some(value) = node.get("inputs") else { return inputs };
    let path = join(path, "inputs");
    let mut seen: Vec<(String, Place)> = Vec::new();
    match &value.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let Some(text) = item.text() else { continue };
                let local = match text.split_once('@') {
                    Some((model, _)) if inputs.models.is_some() => model.to_owned(),
                    _ => text.rsplit('.').next().unwrap_or(text).to_owned(),
                };
                let path = format!("{path}[{index}]");
                if let Some((_, first)) = seen.iter().find(|(name, _)| *name == local) {
                    let message = format!("two inputs have the local name `{local}`");
                    let fault = Fault::new(&path, item.place, message).related(*first, "the other one");
                    context.fault(
                        fault
                            .expected("local names that differ; an item's is its last part")
                            .hint(format!("write a mapping: `inputs: {{ {local}: …, other: {text} }}`")),
                    );
                    continue;
                }
                seen.push((local.clone(), item.place));
                input(context, &mut inputs, local, item, &path);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                input(context, &mut inputs, entry.key.clone(), &entry.value, &join(&path, &entry.key));
            }
        }
        _ => {}
    }
    inputs
}

fn input(context: &mut Context<'_>, inputs: &mut Inputs, local: String, node: &Node, path: &str) {
    if let Some(models) = inputs.models.as_mut()
        && node.text().is_some_and(|text| text.contains('@'))
    {
        if let Some(alias) = super::live::alias_at(context, node, path) {
            models.insert(local.clone(), alias);
        }
    } else if let Some(reference) = resolve(context, node, path) {
        if inputs.models.is_some() {
            one_of_many(context, node, path, &reference);
        }
        if let Some(step) = reference.step() {
            inputs.needs.push((step.to_owned(), node.place));
        }
        inputs.resolved.insert(local.clone(), reference);
    }
    inputs.locals.push(local);
    inputs.places.push((node.place, path.to_owned()));
}

/// Looks a reference up; says what is wrong with it.
pub(super) fn resolve(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Reference> {
    let text = node.text()?;
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        [word, dataset] if *word == context.view.outside() && context.has_dataset(dataset) => {
            return Some(Reference::Data { dataset: (*dataset).to_owned() });
        }
        [step, output] if context.outputs(step).contains(output) => {
            return Some(Reference::Output { step: (*step).to_owned(), output: (*output).to_owned() });
        }
        _ => {}
    }
    let (datasets, steps) = (context.names("data"), context.names("steps"));
    let all = every(context);
    let outside = context.view.outside();
    let (message, expected, hint) = match parts.as_slice() {
        [word, dataset] if *word == outside => {
            let near = nearest(dataset, datasets.iter().copied()).map(|near| format!("{outside}.{near}"));
            let expected = if datasets.is_empty() {
                format!(
                    "{} declared under `{outside}:`",
                    if outside == "data" { "a dataset" } else { "an input" }
                )
            } else {
                one_of(&datasets)
            };
            (format!("no {} is called `{dataset}`", context.view.outside_noun()), expected, near)
        }
        [step, output] if steps.contains(step) => {
            let outputs = context.outputs(step);
            let near = nearest(output, outputs.iter().copied()).map(|near| format!("{step}.{near}"));
            let expected =
                if outputs.is_empty() { "an output; it declares none".into() } else { one_of(&outputs) };
            (format!("step `{step}` has no output `{output}`"), expected, near)
        }
        [step, output] => {
            let near = nearest(step, steps.iter().copied()).and_then(|step| {
                let output = nearest(output, context.outputs(step))?;
                Some(format!("{step}.{output}"))
            });
            let same =
                || all.iter().find(|known| known.split_once('.').is_some_and(|(_, known)| known == *output));
            let expected = format!("`{outside}.NAME` or an output of {}", one_of(&steps));
            (format!("no step is called `{step}`"), expected, near.or_else(|| same().cloned()))
        }
        _ => {
            let last = parts.last().copied().unwrap_or(text);
            let same = all.iter().find(|known| {
                known.strip_prefix(outside).and_then(|known| known.strip_prefix('.')) == Some(text)
                    || known.split_once('.').is_some_and(|(step, _)| step == text)
                    || known.ends_with(&format!(".{last}"))
                        && parts.len() > 2
                        && text.ends_with(known.as_str())
            });
            let near = || nearest(text, all.iter().map(String::as_str)).map(str::to_owned);
            let hint = same.cloned().or_else(near);
            (
                format!("`{}` is no reference", super::structure::short(text)),
                format!("`{outside}.NAME` or `STEP.OUTPUT`"),
                hint,
            )
        }
    };
    let mut fault = Fault::new(path, node.place, message).expected(expected);
    fault.hint = hint.map(|near| format!("did you mean `{near}`?"));
    context.fault(fault);
    None
}

/// Where one file is wanted, a step with a `matrix:` gives many.
pub(super) fn one_of_many(context: &mut Context<'_>, node: &Node, path: &str, reference: &Reference) {
    let Some(step) = reference.step().and_then(|step| context.step(step)) else { return };
    if step.value.get("matrix").and_then(Node::map).is_some_and(|matrix| !matrix.is_empty()) {
        let message = format!("step `{}` has a `matrix` and makes this output many times", step.key);
        let fault = Fault::new(path, node.place, message);
        context.fault(
            fault
                .expected("an output that is made once")
                .hint("add a step that takes all of them and gives the one that is wanted"),
        );
    }
}

/// A step with a `matrix:` that needs another: of the keys that both have, each of its values has to be one
/// of the other's, or there is nothing to give it.
pub(super) fn joins(context: &mut Context<'_>) {
    for entry in context.section("steps") {
        let Some(own) = entry.value.get("matrix").and_then(Node::map) else { continue };
        let Some(inputs) = entry.value.get("inputs") else { continue };
        let items: Vec<&Node> = match &inputs.value {
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
            _ => continue,
        };
        for item in items {
            let Some((need, _)) = item.text().and_then(|text| text.split_once('.')) else { continue };
            let theirs = context.step(need).and_then(|step| step.value.get("matrix")).and_then(Node::map);
            for (key, values) in theirs.unwrap_or_default().iter().map(|entry| (&entry.key, &entry.value)) {
                let known: Vec<_> = values.list().unwrap_or_default().iter().map(Node::json).collect();
                let mine = own.iter().find(|entry| entry.key == *key).and_then(|entry| entry.value.list());
                let Some(strange) =
                    mine.unwrap_or_default().iter().find(|value| !known.contains(&value.json()))
                else {
                    continue;
                };
                let path = format!("steps.{}.matrix.{key}", entry.key);
                let value = super::values::shown(&strange.json());
                let message = format!("step `{need}`, which it needs, has no `{key}` of {value}");
                let values: Vec<&str> =
                    values.list().unwrap_or_default().iter().map(|value| value.raw.as_str()).collect();
                let fault = Fault::new(path, strange.place, message).expected(one_of(&values));
                context.fault(fault.related(item.place, "here it is needed"));
            }
        }
    }
}

/// Every reference that leads somewhere.
fn every(context: &Context<'_>) -> Vec<String> {
    let outside = context.view.outside();
    let data = context.names("data").into_iter().map(|name| format!("{outside}.{name}"));
    let outputs = context.section("steps").iter().flat_map(|step| {
        let outputs = step.value.get("outputs").and_then(Node::map).unwrap_or_default();
        outputs.iter().map(|output| format!("{}.{}", step.key, output.key))
    });
    data.chain(outputs).collect()
}

/// Reports each cycle among the steps once, with every place that is part of it.
pub(super) fn cycles(context: &mut Context<'_>, steps: &[(String, super::steps::Located)]) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let places: HashMap<&str, usize> =
        steps.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    let index = |name: &str| places.get(name).copied();
    let needs: Vec<Vec<(usize, Place)>> = steps
        .iter()
        .map(|(_, step)| step.needs.iter().filter_map(|(name, place)| Some((index(name)?, *place))).collect())
        .collect();
    let mut marks = vec![Mark::New; steps.len()];
    for start in 0..steps.len() {
        // A stack of (step, next need) instead of recursion: chains may be long.
        let mut stack = vec![(start, 0_usize)];
        if marks.get(start) != Some(&Mark::New) {
            continue;
        }
        while let Some((step, next)) = stack.last_mut() {
            let step = *step;
            let Some((need, _)) = needs.get(step).and_then(|needs| needs.get(*next)).copied() else {
                set(&mut marks, step, Mark::Done);
                stack.pop();
                continue;
            };
            if *next == 0 {
                set(&mut marks, step, Mark::Open);
            }
            *next += 1;
            match marks.get(need) {
                Some(Mark::New) => stack.push((need, 0)),
                Some(Mark::Open) => {
                    let from = stack.iter().position(|(step, _)| *step == need).unwrap_or(0);
                    let ring: Vec<(usize, usize)> = stack.iter().skip(from).copied().collect();
                    cycle(context, steps, &needs, &ring);
                }
                Some(Mark::Done) | None => {}
            }
        }
    }
    fn set(marks: &mut [Mark], step: usize, mark: Mark) {
        if let Some(slot) = marks.get_mut(step) {
            *slot = mark;
        }
    }
}

/// `ring`: the steps of a cycle, each with the number of its need after the one that leads on.
fn cycle(
    context: &mut Context<'_>,
    steps: &[(String, super::steps::Located)],
    needs: &[Vec<(usize, Place)>],
    ring: &[(usize, usize)],
) {
    let links: Vec<(&str, Place)> = ring
        .iter()
        .filter_map(|(step, next)| {
            let (name, _) = steps.get(*step)?;
            let (_, place) = needs.get(*step)?.get(next.checked_sub(1)?)?;
            Some((name.as_str(), *place))
        })
        .collect();
    let Some((first, place)) = links.first() else { return };
    let names: Vec<String> =
        links.iter().map(|(name, _)| format!("`{name}`")).chain([format!("`{first}`")]).collect();
    let message = match links.len() {
        1 => format!("step {} needs its own output", names.join(" → ")),
        _ => format!("steps need each other in a cycle: {}", names.join(" → ")),
    };
    let mut fault = Fault::new(format!("steps.{first}.inputs"), *place, message)
        .expected("steps that can be put in an order")
        .hint("remove one of these inputs");
    for (index, (name, place)) in links.iter().enumerate().skip(1) {
        let next = links.get(index + 1).or(links.first()).map_or("", |(name, _)| name);
        fault = fault.related(*place, format!("`{name}` needs `{next}`"));
    }
    context.fault(fault);
}
