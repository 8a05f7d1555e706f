//! The parameters of a notebook, as far as they can be told without running it.
//!
//! A notebook declares its parameters by plain assignments in the cells tagged `parameters` (papermill's
//! convention): `max_depth = 6  # depth of a tree`. This is a scanner of such lines for Python and R, not
//! a parser of either language; what it cannot read it takes for a value of any kind. Reading, running and
//! writing notebooks is not its business.

use serde_json::Value;

/// What a notebook declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Whether any cell is tagged `parameters`.
    pub tagged: bool,
    /// Whether the language is one whose assignments are read here.
    pub known_language: bool,
    /// The parameters in the order of the source.
    pub parameters: Vec<Parameter>,
}

/// One declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What kind of value its annotation, or else its default, shows.
    pub kind: Kind,
    /// The default as it is written.
    pub default: String,
    /// The comment behind it.
    pub help: Option<String>,
}

/// What kind of value a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// A list.
    List,
    /// A mapping.
    Map,
    /// Cannot be told.
    Any,
}

impl Kind {
    /// Its name, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "`true` or `false`",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a mapping",
            Self::Any => "anything",
        }
    }

    /// Whether a value is of this kind; nothing (`null`) fits every kind.
    pub fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _) | (_, Value::Null) => true,
            (Self::Int, Value::Number(number)) => !number.is_f64(),
            (Self::Float, Value::Number(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Text, Value::String(_))
            | (Self::List, Value::Array(_))
            | (Self::Map, Value::Object(_)) => true,
            (Self::Int | Self::Float | Self::Bool | Self::Text | Self::List | Self::Map, _) => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Language {
    Python,
    R,
}

/// Reads the text of an `.ipynb` file.
///
/// # Errors
/// When it is not JSON or has no cells; the text says which.
pub fn declared(text: &str) -> Result<Declared, String> {
    let notebook: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let cells = notebook.get("cells").and_then(Value::as_array).ok_or("it has no `cells`")?;
    let language = language(&notebook);
    let mut declared = Declared { tagged: false, known_language: language.is_some(), parameters: Vec::new() };
    for cell in cells.iter().filter(|cell| is_parameters(cell)) {
        declared.tagged = true;
        if let Some(language) = language {
            for parameter in assignments(&source(cell), language) {
                match declared.parameters.iter_mut().find(|known| known.name == parameter.name) {
                    Some(known) => *known = parameter,
                    None => declared.parameters.push(parameter),
                }
            }
        }
    }
    Ok(declared)
}

fn language(notebook: &Value) -> Option<Language> {
    let metadata = |pointer| notebook.pointer(pointer).and_then(Value::as_str);
    let name = metadata("/metadata/language_info/name")
        .or_else(|| metadata("/metadata/kernelspec/language"))
        .or_else(|| metadata("/metadata/kernelspec/name"))
        .unwrap_or("python")
        .to_lowercase();
    match name.as_str() {
        "r" | "ir" => Some(Language::R),
        name if name.starts_with("python") || name.starts_with("ipython") => Some(Language::Python),
        _ => None,
    }
}

fn is_parameters(cell: &Value) -> bool {
    cell.get("cell_type").and_then(Value::as_str) == Some("code")
        && cell
            .pointer("/metadata/tags")
            .and_then(Value::as_array)
            .is_some_and(|tags| tags.iter().any(|tag| tag == "parameters"))
}

fn source(cell: &Value) -> String {
    match cell.get("source") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// A statement's code and the comment at its end.
#[derive(Default)]
struct Statement {
    code: String,
    comment: String,
}

/// Splits a source into statements: brackets and triple quotes may run over lines.
fn statements(source: &str) -> Vec<Statement> {
    let mut done = Vec::new();
    let mut now = Statement::default();
    let mut depth = 0_usize;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' | '\'' => quoted(rest, c),
            '#' => {
                let end = rest.find('\n').unwrap_or(rest.len());
                let (comment, after) = rest.split_at(end); // `find` gives a character boundary
                now.comment = comment.trim_start_matches('#').trim().to_owned();
                rest = after;
                continue;
            }
            '\n' if depth == 0 => {
                done.push(std::mem::take(&mut now));
                1
            }
            '(' | '[' | '{' => {
                depth += 1;
                1
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                1
            }
            c => c.len_utf8(),
        };
        let (text, after) = rest.split_at(taken);
        if text != "\n" {
            now.code.push_str(text);
        }
        rest = after;
    }
    done.push(now);
    done
}

/// How many bytes a quoted text takes, from its opening quote; all of the rest where it is not closed.
fn quoted(rest: &str, quote: char) -> usize {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let close = if rest.starts_with(&triple) { triple } else { quote.to_string() };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < close.len()) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if rest.get(at..).is_some_and(|rest| rest.starts_with(&close)) {
            return at + close.len();
        } else if c == '\n' && close.len() == 1 {
            return at;
        }
    }
    rest.len()
}

fn assignments(source: &str, language: Language) -> Vec<Parameter> {
    statements(source).iter().filter_map(|statement| assignment(statement, language)).collect()
}

fn assignment(statement: &Statement, language: Language) -> Option<Parameter> {
    let code = statement.code.trim_end().trim_end_matches(';');
    let end =
        code.find(|c: char| !(c.is_alphanumeric() || c == '_' || (c == '.' && language == Language::R)));
    let (name, rest) = code.split_at(end?);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let (annotation, rest) = match rest.strip_prefix(':') {
        Some(after) if language == Language::Python => {
            let (annotation, value) = after.split_once('=')?;
            (Some(annotation.trim().to_owned()), value)
        }
        Some(_) => return None,
        None => (
            None,
            rest.strip_prefix('=').or_else(|| rest.strip_prefix("<-").filter(|_| language == Language::R))?,
        ),
    };
    if rest.starts_with('=') {
        return None; // a comparison
    }
    let default = rest.trim().to_owned();
    // papermill's older way: `x = 1  # type: int`
    let (commented, help) = match statement.comment.strip_prefix("type:") {
        Some(rest) => {
            let (kind, help) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            (Some(kind.to_owned()), help.trim().trim_start_matches('#').trim())
        }
        None => (None, statement.comment.as_str()),
    };
    let kind =
        annotation.or(commented).map_or_else(|| shown_kind(&default, language), |text| declared_kind(&text));
    Some(Parameter {
        name: name.to_owned(),
        kind,
        default,
        help: (!help.is_empty()).then(|| help.to_owned()),
    })
}

/// The kind that a default shows.
fn shown_kind(default: &str, language: Language) -> Kind {
    let number = |text: &str| text.replace('_', "");
    let unsigned = default.strip_prefix(['-', '+']).unwrap_or(default);
    match default {
        "True" | "False" if language == Language::Python => Kind::Bool,
        "TRUE" | "FALSE" | "T" | "F" if language == Language::R => Kind::Bool,
        _ if default.starts_with(['"', '\''])
            && quoted(default, default.chars().next().unwrap_or('"')) == default.len() =>
        {
            Kind::Text
        }
        _ if language == Language::Python && default.starts_with('[') && default.ends_with(']') => Kind::List,
        _ if language == Language::Python && default.starts_with('{') && default.contains(':') => Kind::Map,
        _ if language == Language::R && default.starts_with("c(") && default.ends_with(')') => Kind::List,
        _ if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Kind::Any,
        _ if language == Language::R
            && unsigned.strip_suffix('L').is_some_and(|digits| digits.parse::<u64>().is_ok()) =>
        {
            Kind::Int
        }
        // A bare number of R is a double.
        _ if number(unsigned).parse::<u64>().is_ok() && language == Language::Python => Kind::Int,
        _ if number(unsigned).parse::<f64>().is_ok() => Kind::Float,
        _ => Kind::Any,
    }
}

/// The kind that a Python annotation declares.
fn declared_kind(annotation: &str) -> Kind {
    match annotation.split('[').next().unwrap_or("").trim() {
        "int" => Kind::Int,
        "float" => Kind::Float,
        "bool" => Kind::Bool,
        "str" => Kind::Text,
        "list" | "List" | "tuple" | "Tuple" | "Sequence" => Kind::List,
        "dict" | "Dict" | "Mapping" => Kind::Map,
        _ => Kind::Any,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn notebook(language: &str, source: &str) -> String {
        json!({
            "cells": [
                {"cell_type": "markdown", "metadata": {"tags": ["parameters"]}, "source": "n = 1"},
                {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [source]},
                {"cell_type": "code", "metadata": {}, "source": "other = 1"}
            ],
            "metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 5
        })
        .to_string()
    }

    fn kinds(language: &str, source: &str) -> Vec<(String, Kind)> {
        let declared = declared(&notebook(language, source)).unwrap();
        assert!(declared.tagged && declared.known_language);
        declared.parameters.into_iter().map(|parameter| (parameter.name, parameter.kind)).collect()
    }

    #[test]
    fn python_assignments_are_read() {
        let source = "# the model\nmax_depth = 6  # how deep\nrate: float = 1\nname = 'a#b'\nflags = [\n  1, # x\n  2]\n\
                      on = True\nseed = None\nm = {'a': 1}\nif x == 1:\n    y = 2\ntext = \"\"\"a\nb\"\"\"\nold = 3  # type: str hm\nz == 3\n\
                      path = os.path.join('a', 'b')\n";
        assert_eq!(
            kinds("python", source),
            [
                ("max_depth", Kind::Int),
                ("rate", Kind::Float),
                ("name", Kind::Text),
                ("flags", Kind::List),
                ("on", Kind::Bool),
                ("seed", Kind::Any),
                ("m", Kind::Map),
                ("text", Kind::Text),
                ("old", Kind::Text),
                ("path", Kind::Any),
            ]
            .map(|(name, kind)| (name.to_owned(), kind))
        );
        let declared = declared(&notebook("python", source)).unwrap();
        assert_eq!(declared.parameters[0].help.as_deref(), Some("how deep"));
        assert_eq!(declared.parameters[0].default, "6");
    }

    #[test]
    fn r_assignments_are_read() {
        assert_eq!(
            kinds(
                "R",
                "n.trees <- 100L # trees\nrate <- 0.1\nk = 3\nw <- c(1, 2)\nok <- TRUE\nf <- function(x) x\n"
            ),
            [
                ("n.trees", Kind::Int),
                ("rate", Kind::Float),
                ("k", Kind::Float),
                ("w", Kind::List),
                ("ok", Kind::Bool),
                ("f", Kind::Any)
            ]
            .map(|(name, kind)| (name.to_owned(), kind))
        );
    }

    #[test]
    fn what_is_no_notebook_says_so() {
        assert!(declared("x").unwrap_err().starts_with("it is not JSON"));
        assert_eq!(declared("{}").unwrap_err(), "it has no `cells`");
        assert!(!declared(r#"{"cells": []}"#).unwrap().tagged);
        assert!(!declared(&notebook("scala", "val x = 1")).unwrap().known_language);
    }

    proptest! {
        #[test]
        fn no_source_makes_it_panic(source in "[a-cR =<\\-:#'\"\\[\\]{}(),.0-9_\\\\\\né]{0,80}") {
            declared(&notebook("python", &source)).unwrap();
            declared(&notebook("R", &source)).unwrap();
        }
    }
}
