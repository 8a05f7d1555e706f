//! `when:`: a condition that can be read, over names that the step has.

use serde_json::Value;

use super::context::{Context, one_of};
use super::expressions::Known;
use crate::condition::{Condition, Fact, Name};
use crate::fault::Fault;
use crate::yaml::{Node, join};

pub(super) fn when(context: &mut Context<'_>, node: &Node, path: &str, known: &Known<'_>) -> Option<String> {
    let value = node.get("when").filter(|value| value.is_scalar())?;
    let path = join(path, "when");
    let text = value.raw.trim().to_owned();
    match Condition::parse(&text) {
        Err(error) => {
            let fault = Fault::new(&path, value.place, error.to_string());
            context.fault(fault.expected("a condition such as `params.full && inputs.train.size > 0`"));
        }
        Ok(condition) => {
            for name in condition.names() {
                unknown(context, value, &path, known, name);
            }
            // A value that can never be a truth is told now, where nothing has to run for it.
            if let Condition::Is(crate::condition::Operand::Literal(literal)) = &condition
                && !matches!(literal, Value::Bool(_))
            {
                let message = format!("`{text}` is neither `true` nor `false`");
                context.fault(Fault::new(&path, value.place, message));
            }
        }
    }
    Some(text)
}

fn unknown(context: &mut Context<'_>, node: &Node, path: &str, known: &Known<'_>, name: &Name) {
    let inputs: Vec<&str> = known.inputs.iter().map(String::as_str).collect();
    let (what, name, names) = match name {
        Name::Param(name) => ("the project has no parameter", name, &known.params),
        Name::Matrix(name) => ("the step's matrix has no", name, &known.matrix),
        Name::Input(name, Fact::Size | Fact::Digest | Fact::Rows) => ("the step has no input", name, &inputs),
    };
    if names.contains(&name.as_str()) {
        return;
    }
    let fault = Fault::new(path, node.place, format!("{what} `{name}`"));
    let fault = match names.as_slice() {
        [] => fault,
        names => fault.expected(one_of(names)).did_you_mean(name, names.iter().copied()),
    };
    context.fault(fault);
}
