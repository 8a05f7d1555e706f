//! A notebook's parameters: found, checked against what is given, and injected.
//!
//! A cell tagged `parameters` sets the defaults; a run adds a cell tagged `injected-parameters` after it, as
//! papermill does, so executed notebooks of both can be read by the same tools. Unlike papermill, an unknown
//! or ill-typed parameter is an error before anything runs, there may be several parameters cells (each gets
//! the values of the names that it sets), and a secret's value is never written: its cell reads it from a
//! variable of the kernel's environment. What a source declares is [`rondo_project::notebook`]'s to tell.

use std::collections::BTreeMap;
use std::path::Path;

use rondo_project::notebook::language::Language;
use rondo_project::notebook::{language_of, literal};
use serde_json::Value;

pub use rondo_project::notebook::parameters::{
    Kind, PARAMETERS, Parameter, ParameterFault, check, from_text,
};

use crate::document::{Cell, Notebook, object_in};
use crate::error::Error;

/// The tag of the cells that a run adds.
pub const INJECTED: &str = "injected-parameters";
/// What stands for a secret's value.
pub const HIDDEN: &str = "[secret]";

/// What is given to a notebook's parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// Values by name, which the notebook has to declare.
    pub values: BTreeMap<String, Value>,
    /// Values of secrets by name, which it has to declare too.
    pub secrets: BTreeMap<String, String>,
    /// Values that are injected whether it declares them or not.
    pub also: BTreeMap<String, Value>,
}

impl Given {
    /// All names with what may be shown of their values.
    pub fn shown(&self) -> BTreeMap<String, Value> {
        let secrets = self.secrets.keys().map(|name| (name.clone(), Value::from(HIDDEN)));
        let open = self.values.iter().chain(&self.also).map(|(name, value)| (name.clone(), value.clone()));
        open.chain(secrets).collect()
    }

    /// The variables that the kernel gets for the secrets.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.secrets.iter().map(|(name, value)| (variable(name), value.clone()))
    }

    /// Moves the values of parameters that are declared secret to the secrets.
    pub fn part_secrets(&mut self, parameters: &[Parameter]) {
        let secret = |name: &str| parameters.iter().any(|known| known.secret && known.name == name);
        let names: Vec<String> = self.values.keys().filter(|name| secret(name)).cloned().collect();
        for name in names {
            let text = match self.values.remove(&name) {
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
                None => continue,
            };
            self.secrets.entry(name).or_insert(text);
        }
    }
}

/// The variable that hands a secret to the kernel; one of its own also for names in other scripts.
fn variable(name: &str) -> String {
    let part = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase().to_string(),
        c if c.is_ascii() => "_".to_owned(),
        c => format!("_{:X}_", u32::from(c)),
    };
    format!("RONDO_SECRET_{}", name.chars().map(part).collect::<String>())
}

/// The language that a notebook's parameters are written in, where it is one that is known here.
pub fn language(notebook: &Notebook) -> Option<Language> {
    language_of(&notebook.metadata().cloned().map_or(Value::Null, Value::Object))
}

/// The parameters of a notebook in the order in which its cells set them. A name that is set twice in one
/// cell has its last default; in several cells it stands once for each.
pub fn inspect(notebook: &Notebook) -> Vec<Parameter> {
    let Some(language) = language(notebook) else { return Vec::new() };
    let tagged =
        notebook.cells.iter().enumerate().filter(|(_, cell)| cell.is_code() && cell.has_tag(PARAMETERS));
    tagged
        .flat_map(|(index, cell)| {
            rondo_project::notebook::parameters::of_source(&cell.source(), index, language)
        })
        .collect()
}

/// Checks given values and puts them into the notebook, replacing what an earlier run injected.
///
/// With `allow_unknown`, names that no parameters cell sets are injected too: after the first parameters
/// cell, or on top where there is none.
///
/// # Errors
/// [`Error::Parameters`] with every fault; also where the notebook's language is not known here.
pub fn inject(notebook: &mut Notebook, path: &Path, given: &Given, allow_unknown: bool) -> Result<(), Error> {
    notebook.cells.retain(|cell| !cell.has_tag(INJECTED));
    let shown = given.shown();
    if shown.is_empty() {
        return Ok(());
    }
    let refuse = |faults| Err(Error::Parameters { notebook: path.to_owned(), faults });
    let Some(language) = language(notebook) else {
        let name =
            notebook.language().or_else(|| notebook.kernel_name().map(str::to_owned)).unwrap_or_default();
        let known: Vec<&str> = Language::ALL.iter().map(|language| language.name()).collect();
        return refuse(vec![ParameterFault {
            name: name.clone(),
            message: format!("parameters cannot be passed to notebooks in `{name}`"),
            hint: Some(format!("{} are known", known.join(", "))),
        }]);
    };
    let parameters = inspect(notebook);
    let mut faults = faults(&parameters, given);
    if allow_unknown {
        faults.retain(|fault| parameters.iter().any(|parameter| parameter.name == fault.name));
    }
    faults.extend(shown.keys().filter(|name| !language.is_name(name)).map(|name| ParameterFault {
        name: name.clone(),
        message: format!("`{name}` is not a variable name in {}", language.name()),
        hint: None,
    }));
    if !faults.is_empty() {
        return refuse(faults);
    }
    place(notebook, &parameters, given, language);
    let record = object_in(notebook.metadata_mut(), "papermill");
    record.insert("parameters".to_owned(), Value::Object(shown.into_iter().collect()));
    Ok(())
}

/// The faults of what is given. Of secrets only the names are checked: their values are texts.
fn faults(parameters: &[Parameter], given: &Given) -> Vec<ParameterFault> {
    let mut faults = check(parameters, &given.values);
    let names = given.secrets.keys().map(|name| (name.clone(), Value::Null)).collect();
    faults.extend(check(parameters, &names));
    faults
}

fn place(notebook: &mut Notebook, parameters: &[Parameter], given: &Given, language: Language) {
    let tagged: Vec<usize> = notebook
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.is_code() && cell.has_tag(PARAMETERS))
        .map(|(index, _)| index)
        .collect();
    let open = given.values.iter().chain(&given.also);
    let open = open.map(|(name, value)| (name, expression(name, value, parameters, language)));
    let secret = given.secrets.keys().map(|name| (name, language.variable(&variable(name))));
    let lines: Vec<(&String, String)> = open
        .chain(secret)
        .map(|(name, value)| (name, format!("{}\n", language.assignment(name, &value))))
        .collect();
    let sets =
        |cell: usize, name: &str| parameters.iter().any(|known| known.cell == cell && known.name == name);
    let homeless = |name: &str| !tagged.iter().any(|cell| sets(*cell, name));
    let mut added = Vec::new();
    for (nth, cell) in tagged.iter().enumerate() {
        let mine = lines.iter().filter(|(name, _)| sets(*cell, name) || (nth == 0 && homeless(name)));
        let mine: String = mine.map(|(_, line)| line.as_str()).collect();
        if !mine.is_empty() {
            added.push((cell + 1, mine));
        }
    }
    if tagged.is_empty() {
        added.push((0, lines.iter().map(|(_, line)| line.as_str()).collect()));
    }
    // From the end, so that the places before stay true.
    for (place, lines) in added.into_iter().rev() {
        let source = format!("{} Parameters\n{lines}", language.comment());
        notebook.cells.insert(place, Cell::code(&source, &[INJECTED]));
    }
}

/// A value in the notebook's language: `inf` is a number where the parameter takes one.
fn expression(name: &str, value: &Value, parameters: &[Parameter], language: Language) -> String {
    let is_number = parameters.iter().any(|known| known.name == name && known.kind == Kind::Number);
    match value.as_str().filter(|_| is_number).and_then(literal::not_finite) {
        Some(number) => literal::write_not_finite(number, language),
        None => literal::write(value, language),
    }
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

    fn given(value: Value) -> Given {
        Given { values: value.as_object().unwrap().clone().into_iter().collect(), ..Given::default() }
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
    fn an_infinity_is_a_number_where_the_parameter_takes_one() {
        let mut one = notebook(&[("rate = 1.0\nlabel = 'x'", &[PARAMETERS])]);
        inject(&mut one, Path::new("n"), &given(json!({"rate": "-inf", "label": "inf"})), false).unwrap();
        assert_eq!(one.cells[1].source(), "# Parameters\nlabel = \"inf\"\nrate = float(\"-inf\")\n");
    }

    #[test]
    fn a_name_can_never_be_code() {
        let mut one = notebook(&[("print(1)", &[])]);
        let values = given(json!({"a = 1\nimport os": 2}));
        assert!(inject(&mut one, Path::new("n"), &values, true).is_err());
    }

    #[test]
    fn a_secret_is_read_from_the_environment_and_stands_nowhere() {
        let mut one = notebook(&[("token = ''  # secret\nn = 1", &[PARAMETERS])]);
        let mut values = given(json!({"token": "hunter22", "n": 2}));
        values.part_secrets(&inspect(&one));
        inject(&mut one, Path::new("n"), &values, false).unwrap();
        assert_eq!(
            one.cells[1].source(),
            "# Parameters\nn = 2\ntoken = __import__(\"os\").environ[\"RONDO_SECRET_TOKEN\"]\n"
        );
        assert!(!String::from_utf8(one.to_bytes()).unwrap().contains("hunter22"));
        assert_eq!(values.variables().next(), Some(("RONDO_SECRET_TOKEN".into(), "hunter22".into())));
        assert_ne!(variable("größe"), variable("grüße"));
        let unknown = Given { secrets: [("tokn".to_owned(), "x".to_owned())].into(), ..Given::default() };
        assert!(inject(&mut one, Path::new("n"), &unknown, false).is_err());
    }

    #[test]
    fn what_is_given_beside_the_parameters_need_not_be_declared() {
        let mut one = notebook(&[("print(1)", &[])]);
        let also = Given { also: [("INPUT".to_owned(), json!("a"))].into(), ..Given::default() };
        inject(&mut one, Path::new("n"), &also, false).unwrap();
        assert_eq!(one.cells[0].source(), "# Parameters\nINPUT = \"a\"\n");
    }
}
