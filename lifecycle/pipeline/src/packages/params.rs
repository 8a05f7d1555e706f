//! The parameters of a package as a step of it gets them.

use std::collections::BTreeMap;
use std::path::Path;

use rondo_project::project::Packaged;
use rondo_project::substitute::{self, Values};
use serde_json::Value;

/// Their values, where those of the project and of the step's combination are these. Files are named as they
/// are in the project.
pub fn of(
    packaged: &Packaged,
    project: &BTreeMap<String, Value>,
    matrix: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let nothing = BTreeMap::new();
    let values = Values { params: project, inputs: &nothing, outputs: &nothing, matrix: Some(matrix) };
    let filled = |(name, value): (&str, &Value)| {
        // The checker lets nothing but these stand here.
        (name.to_owned(), substitute::value(value, &values).unwrap_or_else(|_| value.clone()))
    };
    packaged.params.iter().map(filled).collect()
}

/// The same for a process that runs elsewhere: files of the project by their whole path.
pub fn placed(
    packaged: Option<&Packaged>,
    params: &BTreeMap<String, Value>,
    root: &Path,
) -> BTreeMap<String, Value> {
    let mut params = params.clone();
    for name in packaged.into_iter().flat_map(|packaged| &packaged.files) {
        if let Some(value) = params.get_mut(name)
            && let Some(file) = value.as_str()
        {
            *value = Value::from(root.join(file).to_string_lossy().into_owned());
        }
    }
    params
}

/// The variable in which a process finds a parameter of its package.
pub fn variable(name: &str) -> String {
    format!("RONDO_PARAM_{}", crate::execute::outputs::variable(name))
}

/// The values of a package's secrets by their names, from the variables that Rondo was started with.
///
/// # Errors
/// Why one is missing, in words.
pub fn secrets(
    packaged: Option<&Packaged>,
    host: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let secrets = packaged.into_iter().flat_map(|packaged| packaged.secrets.iter());
    secrets
        .map(|(name, variable)| match host.get(variable) {
            Some(value) => Ok((name.to_owned(), value.clone())),
            None => Err(format!("its secret `{name}` is in the variable `{variable}`, which is not set")),
        })
        .collect()
}
