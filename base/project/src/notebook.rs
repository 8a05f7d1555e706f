//! The parameters of a notebook, as far as they can be told without running it: the one place that knows.
//!
//! A notebook declares its parameters by plain assignments in the cells tagged `parameters` (papermill's
//! convention): `max_depth = 6  # depth of a tree`. [`scan`] finds the assignments, [`literal`] reads and
//! writes values in each [`language`], and [`parameters`] says which values fit. Running and writing
//! notebooks is not its business; that stage stands on these same modules.

pub mod language;

pub mod literal;
pub mod scan;

pub mod parameters;

use serde_json::Value;

use language::Language;
pub use parameters::{Kind, Parameter};

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

/// Reads the text of an `.ipynb` file.
///
/// # Errors
/// When it is not JSON or has no cells; the text says which.
pub fn declared(text: &str) -> Result<Declared, String> {
    let notebook: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let cells = notebook.get("cells").and_then(Value::as_array).ok_or("it has no `cells`")?;
    let language = language_of(notebook.get("metadata").unwrap_or(&Value::Null));
    let mut declared = Declared { tagged: false, known_language: language.is_some(), parameters: Vec::new() };
    for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| is_parameters(cell)) {
        declared.tagged = true;
        let found = language.map(|language| parameters::of_source(&source(cell), index, language));
        for parameter in found.unwrap_or_default() {
            match declared.parameters.iter_mut().find(|known| known.name == parameter.name) {
                Some(known) => *known = parameter,
                None => declared.parameters.push(parameter),
            }
        }
    }
    Ok(declared)
}

/// The language that a notebook's parameters are written in, by its metadata; none where it is not known
/// here. A notebook that names neither language nor kernel is Python, as everywhere.
pub fn language_of(metadata: &Value) -> Option<Language> {
    let text = |pointer| metadata.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kernel = text("/kernelspec/name");
    // A kernel that is known goes before the language: those of sparkmagic name another one.
    if let Some(language) = kernel.filter(|name| name.ends_with("kernel")).and_then(Language::of_kernel) {
        return Some(language);
    }
    match text("/kernelspec/language").or_else(|| text("/language_info/name")) {
        Some(name) => Language::named(name),
        None => kernel.map_or(Some(Language::Python), Language::of_kernel),
    }
}

fn is_parameters(cell: &Value) -> bool {
    cell.get("cell_type").and_then(Value::as_str) == Some("code")
        && cell
            .pointer("/metadata/tags")
            .and_then(Value::as_array)
            .is_some_and(|tags| tags.iter().any(|tag| tag == parameters::PARAMETERS))
}

/// The text of a cell.
pub(crate) fn source(cell: &Value) -> String {
    match cell.get("source") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
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
                ("max_depth", Kind::Integer),
                ("rate", Kind::Number),
                ("name", Kind::Text),
                ("flags", Kind::List),
                ("on", Kind::Boolean),
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
                ("n.trees", Kind::Integer),
                ("rate", Kind::Number),
                ("k", Kind::Number),
                ("w", Kind::List),
                ("ok", Kind::Boolean),
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
        assert!(!declared(&notebook("haskell", "x = 1")).unwrap().known_language);
    }

    proptest! {
        #[test]
        fn no_source_makes_it_panic(source in "[a-cR =<\\-:#'\"\\[\\]{}(),.0-9_\\\\\\né]{0,80}") {
            declared(&notebook("python", &source)).unwrap();
            declared(&notebook("R", &source)).unwrap();
        }
    }
}
