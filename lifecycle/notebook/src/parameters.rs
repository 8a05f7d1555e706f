//! A notebook's parameters: found, checked against what is given, and injected.
//!
//! A cell tagged `parameters` sets the defaults; a run adds a cell tagged `injected-parameters` after it, as
//! papermill does, so executed notebooks of both can be read by the same tools. Unlike papermill, an unknown
//! or ill-typed parameter is an error before anything runs, and there may be several parameters cells: each
//! gets the values of the names that it sets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rondo_core::suggest;
use serde::Serialize;
use serde_json::Value;

use crate::document::{Cell, Notebook, object_in};
use crate::error::{Error, ParameterFault};
use crate::language::Language;
use crate::literal;
use crate::scan::{self, Assignment};

/// The tag of the cells that set defaults.
pub const PARAMETERS: &str = "parameters";
/// The tag of the cells that a run adds.
pub const INJECTED: &str = "injected-parameters";

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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Any => "any value",
        })
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
}

/// The language that a notebook's parameters are written in, where it is one that is known here.
pub fn language(notebook: &Notebook) -> Option<Language> {
    match notebook.language() {
        Some(name) => Language::named(&name),
        // A notebook that names neither language nor kernel is Python, as everywhere.
        None => notebook.kernel_name().map_or(Some(Language::Python), Language::of_kernel),
    }
}

/// The parameters of a notebook in the order in which its cells set them. A name that is set twice in one
/// cell has its last default; in several cells it stands once for each.
pub fn inspect(notebook: &Notebook) -> Vec<Parameter> {
    let Some(language) = language(notebook) else { return Vec::new() };
    let tagged =
        notebook.cells.iter().enumerate().filter(|(_, cell)| cell.is_code() && cell.has_tag(PARAMETERS));
    let mut found: Vec<Parameter> = Vec::new();
    for (index, cell) in tagged {
        for assignment in scan::assignments(&cell.source(), language) {
            let parameter = parameter(assignment, index, language);
            match found.iter_mut().find(|known| known.cell == index && known.name == parameter.name) {
                Some(known) => *known = parameter,
                None => found.push(parameter),
            }
        }
    }
    found
}

fn parameter(assignment: Assignment, cell: usize, language: Language) -> Parameter {
    let value = literal::read(&assignment.value, language);
    let mut kind = match language {
        Language::Bash => Kind::Any,
        Language::Python | Language::R | Language::Julia => value.as_ref().map_or(Kind::Any, kind_of),
    };
    let (commented, help) = type_comment(assignment.comment);
    if let Some(annotation) = assignment.annotation.or(commented) {
        kind = declared_kind(&annotation).unwrap_or(kind);
    }
    Parameter { name: assignment.name, kind, default: assignment.value, value, help, cell }
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
        "int" | "Int" | "Int64" | "Integer" => Some(Kind::Integer),
        "float" | "Float64" | "Real" | "Number" => Some(Kind::Number),
        "bool" | "Bool" => Some(Kind::Boolean),
        "str" | "String" | "Path" => Some(Kind::Text),
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
    let fits = match (parameter.kind, value) {
        // Null is a value that a person has to write: `max_depth: null` means no limit.
        (Kind::Any, _) | (_, Value::Null) => true,
        (_, Value::String(text)) if text.contains("${{") => true,
        (Kind::Integer, Value::Number(number)) => !number.is_f64(),
        (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Text, Value::String(_))
        | (Kind::List, Value::Array(_))
        | (Kind::Map, Value::Object(_)) => true,
        (_, _) => false,
    };
    if fits {
        return None;
    }
    let name = &parameter.name;
    let hint = match (parameter.kind, value) {
        (Kind::Integer, Value::Number(_)) => {
            Some(format!("write the default of `{name}` with a decimal point to allow fractions"))
        }
        (Kind::Integer | Kind::Number, Value::String(text)) => text
            .trim()
            .parse::<f64>()
            .is_ok()
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
        (_, _) => serde_json::from_str(text).unwrap_or_else(|_| as_is()),
    }
}

/// Checks given values and puts them into the notebook, replacing what an earlier run injected.
///
/// With `allow_unknown`, names that no parameters cell sets are injected too: after the first parameters
/// cell, or on top where there is none.
///
/// # Errors
/// [`Error::Parameters`] with every fault; also where the notebook's language is not known here.
pub fn inject(
    notebook: &mut Notebook,
    path: &Path,
    given: &BTreeMap<String, Value>,
    allow_unknown: bool,
) -> Result<(), Error> {
    notebook.cells.retain(|cell| !cell.has_tag(INJECTED));
    if given.is_empty() {
        return Ok(());
    }
    let refuse = |faults| Err(Error::Parameters { notebook: path.to_owned(), faults });
    let Some(language) = language(notebook) else {
        let name =
            notebook.language().or_else(|| notebook.kernel_name().map(str::to_owned)).unwrap_or_default();
        return refuse(vec![ParameterFault {
            name: name.clone(),
            message: format!("parameters cannot be passed to notebooks in `{name}`"),
            hint: Some("python, R, bash and julia are known".to_owned()),
        }]);
    };
    let parameters = inspect(notebook);
    let mut faults = check(&parameters, given);
    if allow_unknown {
        faults.retain(|fault| parameters.iter().any(|parameter| parameter.name == fault.name));
    }
    faults.extend(given.keys().filter(|name| !language.is_name(name)).map(|name| ParameterFault {
        name: name.clone(),
        message: format!("`{name}` is not a variable name in {}", language.name()),
        hint: None,
    }));
    if !faults.is_empty() {
        return refuse(faults);
    }
    place(notebook, &parameters, given, language);
    Ok(())
}

fn place(
    notebook: &mut Notebook,
    parameters: &[Parameter],
    given: &BTreeMap<String, Value>,
    language: Language,
) {
    let tagged: Vec<usize> = notebook
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.is_code() && cell.has_tag(PARAMETERS))
        .map(|(index, _)| index)
        .collect();
    let sets =
        |cell: usize, name: &str| parameters.iter().any(|known| known.cell == cell && known.name == name);
    let homeless = |name: &str| !tagged.iter().any(|cell| sets(*cell, name));
    let mut added = Vec::new();
    for (nth, cell) in tagged.iter().enumerate() {
        let mine = given.iter().filter(|(name, _)| sets(*cell, name) || (nth == 0 && homeless(name)));
        let mine: Vec<(&String, &Value)> = mine.collect();
        if !mine.is_empty() {
            added.push((cell + 1, injected(&mine, language)));
        }
    }
    if tagged.is_empty() {
        added.push((0, injected(&given.iter().collect::<Vec<_>>(), language)));
    }
    // From the end, so that the places before stay true.
    for (place, cell) in added.into_iter().rev() {
        notebook.cells.insert(place, cell);
    }
    let values = given.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    object_in(notebook.metadata_mut(), "papermill").insert("parameters".to_owned(), Value::Object(values));
}

fn injected(values: &[(&String, &Value)], language: Language) -> Cell {
    let arrow = match language {
        Language::Python | Language::Julia => " = ",
        Language::R => " <- ",
        Language::Bash => "=",
    };
    let lines =
        values.iter().map(|(name, value)| format!("{name}{arrow}{}\n", literal::write(value, language)));
    Cell::code(&format!("# Parameters\n{}", lines.collect::<String>()), &[INJECTED])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notebook(cells: &[(&str, &[&str])]) -> Notebook {
        let mut notebook = Notebook::new("python3", "python");
        notebook.cells = cells.iter().map(|(source, tags)| Cell::code(source, tags)).collect();
        notebook
    }

    fn given(value: Value) -> BTreeMap<String, Value> {
        value.as_object().unwrap().clone().into_iter().collect()
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
        let found = inspect(&notebook(&[("import os", &[]), (SOURCE, &[PARAMETERS])]));
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
        let parameters = inspect(&notebook(&[(SOURCE, &[PARAMETERS])]));
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
        let parameters = inspect(&notebook(&[(SOURCE, &[PARAMETERS])]));
        assert_eq!(check(&parameters, &given(json!({"depth": 6.5}))).len(), 1);
        assert_eq!(check(&parameters, &given(json!({"depth": null}))), []);
        assert_eq!(check(&parameters, &given(json!({"label": null, "rows": 3, "rate": 0.5}))), []);
        assert_eq!(check(&parameters, &given(json!({"depth": "${{ params.depth }}"}))), []);
    }

    #[test]
    fn values_are_injected_after_their_cell_and_replace_an_earlier_injection() {
        let mut notebook = notebook(&[
            ("a = 1", &[PARAMETERS]),
            ("a = 99", &[INJECTED]),
            ("b = 'x'", &[PARAMETERS]),
            ("print(a, b)", &[]),
        ]);
        inject(&mut notebook, Path::new("n"), &given(json!({"a": 2, "b": "it's"})), false).unwrap();
        let sources: Vec<String> = notebook.cells.iter().map(Cell::source).collect();
        assert_eq!(
            sources,
            ["a = 1", "# Parameters\na = 2\n", "b = 'x'", "# Parameters\nb = \"it's\"\n", "print(a, b)"]
        );
        assert!(notebook.cells[1].has_tag(INJECTED));
        assert_eq!(notebook.metadata().unwrap()["papermill"]["parameters"], json!({"a": 2, "b": "it's"}));
    }

    #[test]
    fn without_a_tagged_cell_values_are_refused_unless_allowed() {
        let mut one = notebook(&[("print(1)", &[])]);
        let error = inject(&mut one, Path::new("n"), &given(json!({"a": 2})), false).unwrap_err();
        assert!(matches!(error, Error::Parameters { .. }), "{error}");
        inject(&mut one, Path::new("n"), &given(json!({"a": 2})), true).unwrap();
        assert_eq!(one.cells[0].source(), "# Parameters\na = 2\n");
    }

    #[test]
    fn a_name_can_never_be_code() {
        let mut one = notebook(&[("print(1)", &[])]);
        let values = given(json!({"a = 1\nimport os": 2}));
        assert!(inject(&mut one, Path::new("n"), &values, true).is_err());
    }

    #[test]
    fn typed_text_follows_the_parameters_kind() {
        let parameters = inspect(&notebook(&[("name = 'x'\nn = 1\nflag = True", &[PARAMETERS])]));
        assert_eq!(from_text(&parameters, "name", "5"), json!("5"));
        assert_eq!(from_text(&parameters, "n", "5"), json!(5));
        assert_eq!(from_text(&parameters, "n", "five"), json!("five"));
        assert_eq!(from_text(&parameters, "flag", "False"), json!(false));
    }
}
