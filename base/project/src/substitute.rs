//! Expressions in texts: `${{ params.seed }}`, `${{ inputs.train }}`, `${{ outputs.model }}`.
//!
//! A text is read into pieces once; values are put in later. A value that is one expression and nothing
//! else keeps its type: a number stays a number, a list a list. `$${{` stands for a literal `${{`. There
//! is no arithmetic and no condition: what needs those belongs in a step.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rondo_core::handoff::StepInputs;
use serde_json::Value;

/// What an expression may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A parameter of the project.
    Params,
    /// A local input of the step.
    Inputs,
    /// An output of the step.
    Outputs,
    /// A value of the step's matrix.
    Matrix,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Params, Self::Inputs, Self::Outputs, Self::Matrix];

    /// The word before the point.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Matrix => "matrix",
        }
    }
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The word before the point.
    pub scope: Scope,
    /// The name after it.
    pub name: String,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.scope.word(), self.name)
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// An expression, or what is wrong with what should be one.
    Expression(Result<Expression, Malformed>),
}

/// What stands in `${{ … }}` is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `}}` follows.
    #[error("`${{{{` is not closed by `}}}}`")]
    Open,
    /// Something other than `scope.name`.
    #[error("`{0}` is no expression")]
    Form(String),
    /// A scope that does not exist.
    #[error("`{word}` in `${{{{ {word}.{name} }}}}` is not known")]
    Scope {
        /// The word before the point.
        word: String,
        /// The name after it.
        name: String,
    },
}

/// Why values cannot be put into a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// An expression is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no value for it.
    #[error("`${{{{ {0} }}}}` has no value here")]
    Unknown(Expression),
}

/// Reads a text into its pieces.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${{") {
        let (before, after) = (&rest[..at], &rest[at + 3..]); // `find` gives character boundaries
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${{");
            rest = after;
            continue;
        }
        plain.push_str(before);
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        let Some((inside, after)) = after.split_once("}}") else {
            pieces.push(Piece::Expression(Err(Malformed::Open)));
            return pieces;
        };
        pieces.push(Piece::Expression(expression(inside.trim())));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

fn expression(text: &str) -> Result<Expression, Malformed> {
    let form = || Malformed::Form(text.to_owned());
    let (word, name) = text.split_once('.').ok_or_else(form)?;
    let (word, name) = (word.trim(), name.trim());
    if !rondo_core::id::is_name(name) || !rondo_core::id::is_name(word) {
        return Err(form());
    }
    match Scope::ALL.into_iter().find(|scope| scope.word() == word) {
        Some(scope) => Ok(Expression { scope, name: name.to_owned() }),
        None => Err(Malformed::Scope { word: word.to_owned(), name: name.to_owned() }),
    }
}

/// Whether a text holds anything that looks like an expression.
pub fn has_expression(text: &str) -> bool {
    text.contains("${{")
}

/// The names of a scope that a text's expressions name, in their order.
pub fn names(text: &str, scope: Scope) -> Vec<String> {
    let named = |piece| match piece {
        Piece::Expression(Ok(expression)) if expression.scope == scope => Some(expression.name),
        Piece::Expression(_) | Piece::Text(_) => None,
    };
    pieces(text).into_iter().filter_map(named).collect()
}

/// Puts what parameters stand for into a value at any depth, and leaves every other expression as it is: the
/// parameters may hold expressions themselves. A parameter that is not there stays, too.
pub fn bound(value: &Value, params: &dyn Fn(&str) -> Option<Value>) -> Value {
    let shown = |expression: &Expression| format!("${{{{ {expression} }}}}");
    match value {
        Value::String(template) => {
            if let [Piece::Expression(Ok(Expression { scope: Scope::Params, name }))] =
                pieces(template.trim()).as_slice()
                && let Some(value) = params(name)
            {
                return value;
            }
            let mut text = String::with_capacity(template.len());
            for piece in pieces(template) {
                match piece {
                    Piece::Text(plain) => text.push_str(&plain.replace("${{", "$${{")),
                    Piece::Expression(Ok(expression)) => {
                        let value =
                            (expression.scope == Scope::Params).then(|| params(&expression.name)).flatten();
                        match value {
                            Some(Value::String(value)) => text.push_str(&value),
                            Some(other) => text.push_str(&other.to_string()),
                            None => text.push_str(&shown(&expression)),
                        }
                    }
                    // Refused by the checker.
                    Piece::Expression(Err(_)) => return value.clone(),
                }
            }
            Value::from(text)
        }
        Value::Array(items) => items.iter().map(|item| bound(item, params)).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, item)| (key.clone(), bound(item, params))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A value in which inputs have other names: from, to.
pub fn renamed(value: &Value, names: &[(String, String)]) -> Value {
    if names.is_empty() {
        return value.clone();
    }
    match value {
        Value::String(template) => {
            let mut text = String::with_capacity(template.len());
            for piece in pieces(template) {
                match piece {
                    Piece::Text(plain) => text.push_str(&plain.replace("${{", "$${{")),
                    Piece::Expression(Ok(mut expression)) => {
                        let new = names
                            .iter()
                            .find(|(old, _)| expression.scope == Scope::Inputs && *old == expression.name);
                        if let Some((_, new)) = new {
                            expression.name.clone_from(new);
                        }
                        text.push_str(&format!("${{{{ {expression} }}}}"));
                    }
                    Piece::Expression(Err(_)) => return value.clone(),
                }
            }
            Value::from(text)
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, names)).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, item)| (key.clone(), renamed(item, names))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The values that expressions stand for.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Of `params.…`.
    pub params: &'a BTreeMap<String, Value>,
    /// Of `inputs.…`.
    pub inputs: &'a BTreeMap<String, PathBuf>,
    /// Of `outputs.…`.
    pub outputs: &'a BTreeMap<String, PathBuf>,
    /// Of `matrix.…`.
    pub matrix: Option<&'a BTreeMap<String, Value>>,
}

impl<'a> Values<'a> {
    /// Those of a step that is about to run.
    pub fn of(step: &'a StepInputs) -> Self {
        Self { params: &step.params, inputs: &step.inputs, outputs: &step.outputs, matrix: None }
    }

    fn get(&self, expression: &Expression) -> Result<Value, SubstituteError> {
        let name = &expression.name;
        let path = |paths: &BTreeMap<String, PathBuf>| {
            paths.get(name).map(|path| Value::from(path.to_string_lossy().into_owned()))
        };
        let value = match expression.scope {
            Scope::Params => self.params.get(name).cloned(),
            Scope::Inputs => path(self.inputs),
            Scope::Outputs => path(self.outputs),
            Scope::Matrix => self.matrix.and_then(|matrix| matrix.get(name).cloned()),
        };
        value.ok_or_else(|| SubstituteError::Unknown(expression.clone()))
    }
}

/// Puts values into a text: text as it is, everything else as JSON (`7`, `true`, `[1,2,3]`).
///
/// # Errors
/// When an expression is malformed or has no value.
pub fn text(text: &str, values: &Values<'_>) -> Result<String, SubstituteError> {
    with(text, values, |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Puts values into a text, each turned into text by the caller: quoted for a shell, say, or as SQL.
///
/// # Errors
/// As [`text`].
pub fn with(
    text: &str,
    values: &Values<'_>,
    mut show: impl FnMut(Value) -> String,
) -> Result<String, SubstituteError> {
    let mut result = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => result.push_str(&text),
            Piece::Expression(expression) => result.push_str(&show(values.get(&expression?)?)),
        }
    }
    Ok(result)
}

/// Puts values into a JSON value at any depth. A text that is one expression becomes what it stands for,
/// with its type.
///
/// # Errors
/// As [`text`].
pub fn value(value: &Value, values: &Values<'_>) -> Result<Value, SubstituteError> {
    match value {
        Value::String(template) => match pieces(template.trim()).as_slice() {
            [Piece::Expression(expression)] => values.get(expression.as_ref().map_err(Clone::clone)?),
            _ => text(template, values).map(Value::from),
        },
        Value::Array(items) => items.iter().map(|item| self::value(item, values)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, item)| Ok((key.clone(), self::value(item, values)?)))
            .collect::<Result<serde_json::Map<_, _>, _>>()
            .map(Value::Object),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values() -> (BTreeMap<String, Value>, BTreeMap<String, PathBuf>) {
        let params = [("seed", json!(7)), ("months", json!([1, 2])), ("name", json!("a b"))];
        (
            params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            [("train".to_owned(), PathBuf::from("/x/train.parquet"))].into(),
        )
    }

    #[test]
    fn texts_take_values_and_whole_expressions_keep_types() {
        let (params, inputs) = values();
        let outputs = BTreeMap::new();
        let values = Values { params: &params, inputs: &inputs, outputs: &outputs, matrix: None };
        assert_eq!(
            text("go --seed ${{params.seed}} ${{ inputs.train }} $${{ x }} ${{ params.months }}", &values)
                .unwrap(),
            "go --seed 7 /x/train.parquet ${{ x }} [1,2]"
        );
        assert_eq!(
            value(
                &json!({"a": ["${{ params.seed }}", "s${{ params.seed }}", 1], "m": "${{ params.months }}"}),
                &values
            )
            .unwrap(),
            json!({"a": [7, "s7", 1], "m": [1, 2]})
        );
        assert_eq!(with("${{ params.name }}", &values, |v| format!("<{v}>")).unwrap(), "<\"a b\">");
        let error = text("${{ outputs.model }}", &values).unwrap_err();
        assert_eq!(error.to_string(), "`${{ outputs.model }}` has no value here");
        assert_eq!(text("${{ seed }}", &values).unwrap_err().to_string(), "`seed` is no expression");
        assert_eq!(text("${{ params.seed", &values).unwrap_err().to_string(), "`${{` is not closed by `}}`");
        assert_eq!(
            text("${{ param.seed }}", &values).unwrap_err().to_string(),
            "`param` in `${{ param.seed }}` is not known"
        );
    }

    proptest! {
        #[test]
        fn texts_without_expressions_stay_as_they_are(plain in "[^$]{0,60}") {
            let (params, inputs) = values();
            let values = Values { params: &params, inputs: &inputs, outputs: &BTreeMap::new(), matrix: None };
            prop_assert_eq!(text(&plain, &values).unwrap(), plain);
        }

        #[test]
        fn no_text_makes_it_panic(any in "[${}. a-zé]{0,60}") {
            pieces(&any);
        }
    }
}
