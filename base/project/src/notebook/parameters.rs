//! What a notebook's parameters are, as its cells tagged `parameters` declare them, and which values they take.
//!
//! A parameter is a plain assignment: `max_depth = 6  # how deep`. Its default, a type annotation or a
//! comment `type: int` tells its kind; a comment that begins with `secret`, or a type such as `SecretStr`,
//! says that its value must not be written anywhere. Nothing here changes a notebook or runs it.

use std::collections::BTreeMap;
use std::fmt;

use rondo_core::suggest;
use serde::Serialize;
use serde_json::Value;

use super::language::Language;
use super::literal;
use super::scan::{self, Assignment};

/// The tag of the cells that set defaults.
pub const PARAMETERS: &str = "parameters";

/// What values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A text.
    Text,
    /// A list.
    List,
    /// A map.
    Map,
    /// The default does not tell.
    Any,
}

impl Kind {
    /// Its name, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Any => "any value",
        }
    }

    /// Whether a value is of this kind. Null is a value that a person has to write: `max_depth: null` means
    /// no limit, and fits every kind.
    pub fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _) | (_, Value::Null) => true,
            (Self::Integer, Value::Number(number)) => !number.is_f64(),
            (Self::Number, Value::String(text)) => literal::not_finite(text).is_some(),
            (Self::Number, Value::Number(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Text, Value::String(_))
            | (Self::List, Value::Array(_))
            | (Self::Map, Value::Object(_)) => true,
            (Self::Integer | Self::Number | Self::Boolean | Self::Text | Self::List | Self::Map, _) => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun())
    }
}

/// One parameter of a notebook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// The default as it stands in the source.
    pub default: String,
    /// The default's value, where it is a literal.
    pub value: Option<Value>,
    /// The comment behind it.
    pub help: Option<String>,
    /// The place of the cell that sets it, from 0 among all cells.
    pub cell: usize,
    /// Whether its value has to stay out of everything that is written.
    pub secret: bool,
}

/// The parameters that the source of a cell declares, in order; one that is set twice has its last default.
/// `cell` is the cell's place in its notebook.
pub fn of_source(source: &str, cell: usize, language: Language) -> Vec<Parameter> {
    let mut found: Vec<Parameter> = Vec::new();
    for assignment in scan::assignments(source, language) {
        let parameter = parameter(assignment, cell, language);
        match found.iter_mut().find(|known| known.name == parameter.name) {
            Some(known) => *known = parameter,
            None => found.push(parameter),
        }
    }
    found
}

fn parameter(assignment: Assignment, cell: usize, language: Language) -> Parameter {
    let value = literal::read(&assignment.value, language);
    // In a shell everything is a text.
    let mut kind = match language {
        Language::Bash => Kind::Any,
        _ => value.as_ref().map_or(Kind::Any, kind_of),
    };
    let (commented, help) = type_comment(assignment.comment);
    let mut secret = false;
    if let Some(annotation) = assignment.annotation.or(commented) {
        secret = annotation.contains("Secret");
        kind = declared_kind(&annotation).unwrap_or(kind);
    }
    let secret = secret || help.as_deref().is_some_and(is_secret);
    Parameter { name: assignment.name, kind, default: assignment.value, value, help, cell, secret }
}

/// Whether a comment declares a secret: `secret`, or `secret: the database's password`.
fn is_secret(help: &str) -> bool {
    let word = help.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    word.eq_ignore_ascii_case("secret")
}

/// The kind of a value; null may become anything.
fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Any,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(number) if number.is_f64() => Kind::Number,
        Value::Number(_) => Kind::Integer,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Map,
    }
}

/// Splits `type: int how deep` into the type and the help that follows it.
fn type_comment(comment: Option<String>) -> (Option<String>, Option<String>) {
    let Some(comment) = comment else { return (None, None) };
    match comment.strip_prefix("type:") {
        Some(rest) => {
            let (declared, help) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            let help = help.trim().trim_start_matches('#').trim();
            (Some(declared.to_owned()), (!help.is_empty()).then(|| help.to_owned()))
        }
        None => (None, Some(comment)),
    }
}

/// The kind that a type declaration names, as far as it is one of ours.
fn declared_kind(annotation: &str) -> Option<Kind> {
    let text = annotation.trim();
    let inner = text.strip_prefix("Optional[").or_else(|| text.strip_prefix("typing.Optional["));
    if let Some(inner) = inner.and_then(|inner| inner.strip_suffix(']')) {
        return declared_kind(inner);
    }
    let choices: Vec<&str> = text.split('|').map(str::trim).filter(|choice| *choice != "None").collect();
    let [single] = choices.as_slice() else {
        return Some(Kind::Any);
    };
    let base = single.split(['[', '{']).next().unwrap_or(single).trim();
    match base.rsplit('.').next().unwrap_or(base) {
        "int" | "Int" | "Int64" | "Integer" | "long" | "Long" => Some(Kind::Integer),
        "float" | "Float64" | "Real" | "Number" | "double" | "Double" => Some(Kind::Number),
        "bool" | "Bool" | "Boolean" => Some(Kind::Boolean),
        "str" | "string" | "String" | "Path" | "Secret" | "SecretStr" => Some(Kind::Text),
        "list" | "List" | "tuple" | "Tuple" | "Sequence" | "Vector" => Some(Kind::List),
        "dict" | "Dict" | "Mapping" => Some(Kind::Map),
        _ => None,
    }
}

/// The faults of given values against a notebook's parameters. Values that still hold a `${{ … }}` are not
/// known yet and only their names are checked.
pub fn check(parameters: &[Parameter], given: &BTreeMap<String, Value>) -> Vec<ParameterFault> {
    given
        .iter()
        .filter_map(|(name, value)| {
            let mut named = parameters.iter().filter(|parameter| parameter.name == *name).peekable();
            if named.peek().is_none() {
                return Some(unknown(parameters, name));
            }
            named.find_map(|parameter| ill_typed(parameter, value))
        })
        .collect()
}

fn unknown(parameters: &[Parameter], name: &str) -> ParameterFault {
    let known: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let hint = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => {
            format!("tag the code cell that sets its defaults with `{PARAMETERS}`")
        }
        None => format!("its parameters are {}", known.join(", ")),
    };
    ParameterFault {
        name: name.to_owned(),
        message: format!("it has no parameter `{name}`"),
        hint: Some(hint),
    }
}

fn ill_typed(parameter: &Parameter, value: &Value) -> Option<ParameterFault> {
    let open = value.as_str().is_some_and(|text| text.contains("${{"));
    if open || parameter.kind.takes(value) {
        return None;
    }
    let name = &parameter.name;
    let hint = match (parameter.kind, value) {
        (Kind::Integer, Value::String(text)) if is_whole(text) => Some(
            "a whole number has at most 64 bits here: take a text, and make the number of it in a cell"
                .to_owned(),
        ),
        (Kind::Integer, Value::Number(_)) => {
            Some(format!("write the default of `{name}` with a decimal point to allow fractions"))
        }
        (Kind::Integer | Kind::Number, Value::String(text)) => text
            .trim()
            .parse::<f64>()
            .is_ok_and(f64::is_finite)
            .then(|| format!("write the number without quotes: `{name}: {}`", text.trim())),
        (Kind::Text, Value::Number(_) | Value::Bool(_)) => {
            Some(format!("write it in quotes: `{name}: \"{value}\"`"))
        }
        (_, _) => None,
    };
    Some(ParameterFault {
        name: name.clone(),
        message: format!(
            "`{name}` takes {}, its default being `{}`; got `{value}`",
            parameter.kind, parameter.default
        ),
        hint,
    })
}

/// Reads a value as a person types it on a command line, by the kind of the parameter that it is for: `5` is
/// a text for a parameter that takes one. What cannot be read as the kind is given as it stands, for
/// [`check`] to refuse.
pub fn from_text(parameters: &[Parameter], name: &str, text: &str) -> Value {
    let kind =
        parameters.iter().find(|parameter| parameter.name == name).map_or(Kind::Any, |found| found.kind);
    let as_is = || Value::String(text.to_owned());
    match (kind, text) {
        (Kind::Text, _) => as_is(),
        (_, "True" | "TRUE") => Value::Bool(true),
        (_, "False" | "FALSE") => Value::Bool(false),
        (_, "None" | "NULL") => Value::Null,
        (_, _) => match serde_json::from_str::<Value>(text) {
            // More digits than a number holds here would be rounded.
            Ok(Value::Number(number)) if number.is_f64() && kind != Kind::Number && is_whole(text) => as_is(),
            Ok(value) => value,
            Err(_) => as_is(),
        },
    }
}

/// Whether a text is a whole number, of any length.
fn is_whole(text: &str) -> bool {
    let digits = text.trim();
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

/// One parameter that does not fit, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterFault {
    /// The parameter's name as given.
    pub name: String,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl fmt::Display for ParameterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(value: Value) -> BTreeMap<String, Value> {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn python(source: &str) -> Vec<Parameter> {
        of_source(source, 1, Language::Python)
    }

    const SOURCE: &str = "\
depth = 6  # how deep
rate: float = 1
label: str | None = 'late'
rows = None  # type: int at most
columns = ['a']
home = os.getcwd()
";

    #[test]
    fn names_types_defaults_and_help_are_inspected() {
        let found = python(SOURCE);
        let seen: Vec<(&str, Kind, Option<&str>)> =
            found.iter().map(|p| (p.name.as_str(), p.kind, p.help.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("depth", Kind::Integer, Some("how deep")),
                ("rate", Kind::Number, None),
                ("label", Kind::Text, None),
                ("rows", Kind::Integer, Some("at most")),
                ("columns", Kind::List, None),
                ("home", Kind::Any, None),
            ]
        );
        assert!(found.iter().all(|parameter| parameter.cell == 1));
        assert_eq!(found[0].value, Some(json!(6)));
    }

    #[test]
    fn unknown_and_ill_typed_values_are_all_found_at_once() {
        let parameters = python(SOURCE);
        let faults =
            check(&parameters, &given(json!({"dept": 5, "depth": "six", "rate": 1, "label": 3, "home": []})));
        let messages: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "it has no parameter `dept`",
                "`depth` takes a whole number, its default being `6`; got `\"six\"`",
                "`label` takes a text, its default being `'late'`; got `3`",
            ]
        );
        assert_eq!(faults[0].hint.as_deref(), Some("did you mean `depth`?"));
    }

    #[test]
    fn fractions_need_a_default_that_allows_them_and_null_fits_all() {
        let parameters = python(SOURCE);
        assert_eq!(check(&parameters, &given(json!({"depth": 6.5}))).len(), 1);
        assert_eq!(check(&parameters, &given(json!({"depth": null}))), []);
        assert_eq!(check(&parameters, &given(json!({"label": null, "rows": 3, "rate": 0.5}))), []);
        assert_eq!(check(&parameters, &given(json!({"depth": "${{ params.depth }}"}))), []);
    }

    #[test]
    fn typed_text_follows_the_parameters_kind() {
        let parameters = python("name = 'x'\nn = 1\nflag = True");
        assert_eq!(from_text(&parameters, "name", "5"), json!("5"));
        assert_eq!(from_text(&parameters, "n", "5"), json!(5));
        assert_eq!(from_text(&parameters, "n", "five"), json!("five"));
        assert_eq!(from_text(&parameters, "flag", "False"), json!(false));
    }

    #[test]
    fn whole_numbers_beyond_64_bits_are_never_rounded() {
        let parameters = python("n = 1\nrate = 1.0\nid = None");
        let long = "12345678901234567890123";
        assert_eq!(from_text(&parameters, "id", long), json!(long));
        assert_eq!(from_text(&parameters, "rate", long), json!(12345678901234567890123.0));
        let faults = check(&parameters, &[("n".to_owned(), from_text(&parameters, "n", long))].into());
        assert!(faults[0].message.contains(long) && faults[0].hint.as_ref().unwrap().contains("64 bits"));
    }

    #[test]
    fn a_number_may_be_infinite_or_none() {
        let parameters = python("n = 1\nrate = 1.0");
        for text in ["nan", "-inf", ".nan"] {
            assert_eq!(check(&parameters, &given(json!({"rate": text}))), [], "{text}");
            let faults = check(&parameters, &given(json!({"n": text})));
            assert_eq!(faults.iter().map(|fault| fault.hint.clone()).collect::<Vec<_>>(), [None], "{text}");
        }
    }

    #[test]
    fn secrets_are_declared_by_comment_or_type() {
        let found = python(
            "a = ''  # secret: the key\nb: SecretStr = ''\nc = ''  # secretary\nd = 1 # type: str secret\n",
        );
        assert_eq!(found.iter().map(|p| p.secret).collect::<Vec<_>>(), [true, true, false, true]);
    }
}
