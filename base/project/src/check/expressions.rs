//! Expressions in commands, SQL and `with:` blocks: do they name what the step has?

use std::collections::BTreeSet;

use super::context::{Context, View, one_of};
use crate::fault::Fault;
use crate::place::Place;
use crate::substitute::{Expression, Malformed, Piece, Scope, pieces};
use crate::yaml::{Entry, Node, Value, join};

const PROJECT: &str = "the project has no parameter";

/// What expressions of one step may name, and the parameters that they did name.
pub(crate) struct Known<'a> {
    pub params: Vec<&'a str>,
    pub inputs: Vec<String>,
    pub outputs: Vec<&'a str>,
    pub matrix: Vec<&'a str>,
    pub used: BTreeSet<String>,
    /// What is said where a parameter is missing.
    pub owner: &'static str,
}

impl<'a> Known<'a> {
    /// Those of a step.
    pub fn of(context: &Context<'a>, step: &'a Entry, inputs: Vec<String>) -> Self {
        let keys = |key: &str| -> Vec<&'a str> {
            let map = step.value.get(key).and_then(Node::map).unwrap_or_default();
            map.iter().map(|entry| entry.key.as_str()).collect()
        };
        Self {
            outputs: keys("outputs"),
            matrix: keys("matrix"),
            owner: match context.view {
                View::Project => PROJECT,
                View::Package => "the package has no parameter",
            },
            ..Self::plain(context.names("params"), inputs)
        }
    }

    /// Those of an app: it has no outputs.
    pub fn plain(params: Vec<&'a str>, inputs: Vec<String>) -> Self {
        Self {
            params,
            inputs,
            outputs: Vec::new(),
            matrix: Vec::new(),
            used: BTreeSet::new(),
            owner: PROJECT,
        }
    }

    fn names(&self, scope: Scope) -> Vec<&str> {
        match scope {
            Scope::Params => self.params.clone(),
            Scope::Inputs => self.inputs.iter().map(String::as_str).collect(),
            Scope::Outputs => self.outputs.clone(),
            Scope::Matrix => self.matrix.clone(),
        }
    }

    /// Every expression that could stand here.
    fn all(&self) -> Vec<String> {
        Scope::ALL
            .into_iter()
            .flat_map(|scope| {
                self.names(scope).into_iter().map(move |name| format!("{}.{name}", scope.word()))
            })
            .collect()
    }
}

/// Checks every text below a node.
pub(crate) fn below(context: &mut Context<'_>, node: &Node, path: &str, known: &mut Known<'_>) {
    match &node.value {
        Value::Text => scalar(context, node, path, known),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                below(context, item, &format!("{path}[{index}]"), known);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                below(context, &entry.value, &join(path, &entry.key), known);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

fn scalar(context: &mut Context<'_>, node: &Node, path: &str, known: &mut Known<'_>) {
    let written = context.source.get(node.place.start..node.place.end).unwrap_or("");
    let mut places = written.match_indices("${{").map(|(at, _)| at);
    for wrong in wrong_ones(&node.raw, known) {
        // The n-th `${{` of the value is the n-th in its source, unless it was written with escapes.
        let place = places
            .nth(wrong.skipped)
            .and_then(|at| located(context, node.place, written, at, &wrong.named))
            .unwrap_or(node.place);
        context.fault(wrong.fault(path, place));
    }
}

/// Checks the text of a file that a scalar names; places are those of the scalar.
pub(super) fn file(
    context: &mut Context<'_>,
    node: &Node,
    path: &str,
    file: &str,
    text: &str,
    known: &mut Known<'_>,
) {
    let lines = crate::place::Lines::new(text);
    let mut places = text.match_indices("${{").map(|(at, _)| at);
    for wrong in wrong_ones(text, known) {
        let at = places.nth(wrong.skipped).unwrap_or(0);
        let place = lines.place(at, at);
        let mut fault = wrong.fault(path, node.place);
        fault.message = format!("{}, in `{file}` at {}:{}", fault.message, place.line, place.column);
        context.fault(fault);
    }
}

/// The place of what an expression names; of the whole expression where that is not found.
fn located(context: &Context<'_>, scalar: Place, written: &str, at: usize, named: &str) -> Option<Place> {
    let rest = written.get(at..)?;
    let end = rest.find("}}").map_or(rest.len(), |end| end + 2);
    let inside = rest.get(..end)?;
    let start = scalar.start + at;
    Some(match inside.find(named).filter(|_| !named.is_empty()) {
        Some(offset) => context.lines.place(start + offset, start + offset + named.len()),
        None => context.lines.place(start, start + end),
    })
}

/// An expression that cannot stand, and how many `${{` come between it and the one reported before.
struct Wrong {
    skipped: usize,
    named: String,
    message: String,
    expected: Option<String>,
    near: Option<String>,
}

impl Wrong {
    fn fault(self, path: &str, place: Place) -> Fault {
        let mut fault = Fault::new(path, place, self.message);
        fault.expected = self.expected;
        fault.hint = self.near.map(|near| format!("did you mean `{near}`?"));
        fault
    }
}

fn wrong_ones(text: &str, known: &mut Known<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut skipped = 0;
    for piece in pieces(text) {
        match piece {
            // An escaped `$${{` is a `${{` of the source too.
            Piece::Text(text) => skipped += text.matches("${{").count(),
            Piece::Expression(expression) => match judge(expression, known) {
                None => skipped += 1,
                Some(found) => {
                    wrong.push(Wrong { skipped, ..found });
                    skipped = 0;
                }
            },
        }
    }
    wrong
}

fn judge(expression: Result<Expression, Malformed>, known: &mut Known<'_>) -> Option<Wrong> {
    let all = known.all();
    let near =
        |text: &str| rondo_core::suggest::nearest(text, all.iter().map(String::as_str)).map(str::to_owned);
    let same = |name: &str| {
        all.iter().find(|known| known.split_once('.').is_some_and(|(_, known)| known == name)).cloned()
    };
    let form = "`params.NAME`, `inputs.NAME` or `outputs.NAME`".to_owned();
    let wrong =
        |named: String, message, expected, near| Some(Wrong { skipped: 0, named, message, expected, near });
    match expression {
        Ok(Expression { scope, name }) => {
            let names = known.names(scope);
            if names.contains(&name.as_str()) {
                if scope == Scope::Params {
                    known.used.insert(name);
                }
                return None;
            }
            let what = match scope {
                Scope::Params => known.owner,
                Scope::Inputs => "the step has no input",
                Scope::Outputs => "the step has no output",
                Scope::Matrix => "the step's matrix has no",
            };
            let typed = format!("{}.{name}", scope.word());
            let offered = match rondo_core::suggest::nearest(&name, names.iter().copied()) {
                Some(near) => Some(format!("{}.{near}", scope.word())),
                None => same(&name),
            };
            let expected = (!names.is_empty()).then(|| one_of(&names));
            wrong(typed, format!("{what} `{name}`"), expected, offered)
        }
        Err(Malformed::Open) => wrong(String::new(), Malformed::Open.to_string(), Some("`}}`".into()), None),
        Err(Malformed::Form(text)) => {
            let offered = same(&text).or_else(|| near(&text));
            wrong(text.clone(), Malformed::Form(text).to_string(), Some(form), offered)
        }
        Err(Malformed::Scope { word, name }) => {
            let typed = format!("{word}.{name}");
            let offered = same(&name).or_else(|| near(&typed));
            wrong(typed, Malformed::Scope { word, name }.to_string(), Some(form), offered)
        }
    }
}
