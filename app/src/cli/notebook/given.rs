//! The parameters of a notebook as they are given on the command line.
//!
//! What stands further to the right goes before: `-b`, `-y`, `-f`, `-p`, `-r`, as with papermill. In a sweep a
//! value of `-p` is a list of values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rondo_core::{Code, suggest};
use rondo_notebook::grid;
use rondo_notebook::parameters::{self, Given, Parameter};
use rondo_project::yaml;
use serde_json::Value;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// The flags that give parameters.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Parameters")]
pub struct Flags {
    /// Set a parameter; a value that is JSON is read as such. In a sweep: `-p depth=2,4,6`, `-p seed=1..10`
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Set a parameter to a text, as it is written
    #[arg(short = 'r', long = "raw", value_name = "NAME=TEXT")]
    raw: Vec<String>,
    /// Parameters from a file of YAML or JSON
    #[arg(short = 'f', long = "params-file", alias = "parameters_file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Parameters as YAML
    #[arg(short = 'y', long = "params-yaml", alias = "parameters_yaml", value_name = "YAML")]
    yaml: Vec<String>,
    /// Parameters as YAML in base64
    #[arg(short = 'b', long = "params-base64", alias = "parameters_base64", value_name = "BASE64")]
    base64: Vec<String>,
    /// A sweep: a file of YAML or JSON with a map of names to lists of values, or a list of runs
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,
    /// A parameter whose value comes from the environment variable of its name (or the one named) and is
    /// written nowhere
    #[arg(long = "secret", value_name = "NAME[=VARIABLE]")]
    secrets: Vec<String>,
    /// An environment variable whose value is taken out of all outputs
    #[arg(long = "mask", value_name = "VARIABLE")]
    masks: Vec<String>,
    /// Inject the notebook's path as `PAPERMILL_INPUT_PATH`
    #[arg(long)]
    inject_input_path: bool,
    /// Inject the executed copy's path as `PAPERMILL_OUTPUT_PATH`
    #[arg(long)]
    inject_output_path: bool,
    /// Inject both paths
    #[arg(long)]
    inject_paths: bool,
    /// Inject parameters that the notebook does not declare, instead of refusing them
    #[arg(long)]
    pub allow_unknown: bool,
}

impl Flags {
    /// Whether a sweep is asked for by its file.
    pub const fn has_grid(&self) -> bool {
        self.grid.is_some()
    }

    /// The first flag that gives several values, which only a sweep takes.
    pub fn swept(&self) -> Option<&str> {
        let several =
            |text: &&String| text.split_once('=').is_some_and(|(_, given)| grid::split(given).len() > 1);
        self.params.iter().find(several).map(String::as_str)
    }

    /// What one run is given.
    ///
    /// # Errors
    /// When a flag cannot be read, or a secret's variable is not set.
    pub fn one(&self, known: &[Parameter], session: &Session) -> Outcome<Given> {
        let mut values = self.base(session)?;
        for text in &self.params {
            let (name, value) = pair(text)?;
            values.insert(name.to_owned(), read(name, value, known));
        }
        self.finish(values, session)
    }

    /// What each run of a sweep is given.
    ///
    /// # Errors
    /// As [`Flags::one`], and when there are too many runs.
    pub fn sweep(&self, known: &[Parameter], session: &Session) -> Outcome<Vec<Given>> {
        let mut axes = Vec::new();
        for text in &self.params {
            let (name, value) = pair(text)?;
            let values: Vec<Value> = grid::split(value).iter().map(|part| read(name, part, known)).collect();
            axes.push((name.to_owned(), values));
        }
        let many = || {
            let message = format!("make the runs of the sweep: there are more than {}", grid::MOST);
            Failure::new(Code::ValueInvalid, message)
        };
        let mut runs = grid::product(&axes).ok_or_else(many)?;
        if let Some(file) = &self.grid {
            let value = load(file, session)?;
            let read = grid::read(&value).map_err(|why| {
                Failure::new(Code::ValueInvalid, format!("read the grid `{}`: {why}", file.display()))
            })?;
            if read.len().saturating_mul(runs.len()) > grid::MOST {
                return Err(many());
            }
            let both = |run: &BTreeMap<String, Value>| {
                runs.iter()
                    .map(|axes| run.clone().into_iter().chain(axes.clone()).collect())
                    .collect::<Vec<_>>()
            };
            runs = read.iter().flat_map(both).collect();
        }
        let base = self.base(session)?;
        runs.into_iter()
            .map(|run| {
                let mut values = base.clone();
                values.extend(run);
                self.finish(values, session)
            })
            .collect()
    }

    /// The paths that are to be injected.
    pub fn paths(&self, input: &str, output: &str) -> BTreeMap<String, Value> {
        let mut paths = BTreeMap::new();
        if self.inject_paths || self.inject_input_path {
            paths.insert("PAPERMILL_INPUT_PATH".to_owned(), Value::from(input));
        }
        if self.inject_paths || self.inject_output_path {
            paths.insert("PAPERMILL_OUTPUT_PATH".to_owned(), Value::from(output));
        }
        paths
    }

    /// The texts of the environment that must not be written.
    ///
    /// # Errors
    /// When a variable is not set.
    pub fn masked(&self, session: &Session) -> Outcome<BTreeMap<String, String>> {
        self.masks.iter().map(|name| Ok((name.clone(), variable(name, session)?))).collect()
    }

    /// The values that are not swept.
    fn base(&self, session: &Session) -> Outcome<BTreeMap<String, Value>> {
        let mut values = BTreeMap::new();
        for text in &self.base64 {
            let bytes = BASE64_STANDARD.decode(text.trim()).ok();
            let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
                return Err(Failure::new(
                    Code::Usage,
                    "read the parameters of `-b`: they are no base64 of a text",
                ));
            };
            values.extend(map(&text, "of `-b`")?);
        }
        for text in &self.yaml {
            values.extend(map(text, "of `-y`")?);
        }
        for file in &self.files {
            let value = load(file, session)?;
            values.extend(entries(value, &format!("in `{}`", file.display()))?);
        }
        Ok(values)
    }

    fn finish(&self, mut values: BTreeMap<String, Value>, session: &Session) -> Outcome<Given> {
        for text in &self.raw {
            let (name, value) = pair(text)?;
            values.insert(name.to_owned(), Value::from(value));
        }
        let mut secrets = BTreeMap::new();
        for text in &self.secrets {
            let (name, from) = text.split_once('=').unwrap_or((text, text));
            secrets.insert(name.to_owned(), variable(from, session)?);
        }
        Ok(Given { values, secrets, also: BTreeMap::new() })
    }
}

/// `name=value`.
fn pair(text: &str) -> Outcome<(&str, &str)> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.trim(), value)),
        None => Err(Failure::hinted(
            Code::Usage,
            format!("read parameter `{text}`"),
            "rondo notebook run IN OUT -p name=value",
        )),
    }
}

fn variable(name: &str, session: &Session) -> Outcome<String> {
    let environment = &session.config().environment;
    if let Some(value) = environment.get(name).filter(|value| !value.is_empty()) {
        return Ok(value.clone());
    }
    let near = suggest::nearest(name, environment.keys().map(String::as_str));
    let hint = near.map_or_else(|| format!("export {name}=…"), |near| format!("did you mean `{near}`?"));
    Err(Failure::hinted(Code::ValueInvalid, format!("find the environment variable `{name}`"), hint))
}

/// The value of a file of YAML, of which JSON is a part.
fn load(file: &std::path::Path, session: &Session) -> Outcome<Value> {
    let path = session.existing("file", file)?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::new(Code::Io, format!("read `{}`: {error}", file.display())))?;
    parse(&text, &format!("in `{}`", file.display()))
}

fn map(text: &str, place: &str) -> Outcome<BTreeMap<String, Value>> {
    entries(parse(text, place)?, place)
}

fn entries(value: Value, place: &str) -> Outcome<BTreeMap<String, Value>> {
    match value {
        Value::Object(map) => Ok(map.into_iter().collect()),
        Value::Null => Ok(BTreeMap::new()),
        other => {
            let message =
                format!("read the parameters {place}: expected a map of names to values, got `{other}`");
            Err(Failure::new(Code::ValueInvalid, message))
        }
    }
}

fn parse(text: &str, place: &str) -> Outcome<Value> {
    let parsed = yaml::parse(text);
    if let Some(fault) = parsed.faults.first() {
        return Err(Failure::new(Code::ValueInvalid, format!("read the YAML {place}: {}", fault.message)));
    }
    Ok(parsed.root.map_or(Value::Null, |root| root.json()))
}

/// A value as it was typed: JSON where it is JSON, else text; for a parameter that takes text always text,
/// so that `-p label=5` needs no quotes within quotes.
fn read(name: &str, text: &str, known: &[Parameter]) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => Value::String(text),
        Ok(_) | Err(_) => parameters::from_text(known, name, text),
    }
}

#[cfg(test)]
mod tests {
    use rondo_notebook::document::{Cell, Notebook};
    use serde_json::json;

    use super::*;

    fn known() -> Vec<Parameter> {
        let mut notebook = Notebook::new("python3", "python");
        notebook.cells = vec![Cell::code("depth = 6\nlabel = 'late'\n", &[parameters::PARAMETERS])];
        parameters::inspect(&notebook)
    }

    #[test]
    fn values_are_json_where_they_are_json_and_text_where_text_is_wanted() {
        for (name, typed, value) in [
            ("depth", "7", json!(7)),
            ("depth", "null", json!(null)),
            ("depth", "deep", json!("deep")),
            ("label", "7", json!("7")),
            ("label", "\"7\"", json!("7")),
            ("label", "a=b", json!("a=b")),
            ("other", "[1, 2]", json!([1, 2])),
            ("other", "plain", json!("plain")),
        ] {
            assert_eq!(read(name, typed, &known()), value, "{name}={typed}");
        }
        assert_eq!(pair("depth").err().unwrap().code(), Code::Usage);
        assert_eq!(pair("label=a=b").ok().unwrap(), ("label", "a=b"));
    }

    #[test]
    fn yaml_is_a_map_or_refused() {
        assert_eq!(map("a: 1\nb: [x, 2]", "").ok().unwrap()["b"], json!(["x", 2]));
        assert_eq!(map("", "").ok().unwrap(), BTreeMap::new());
        assert_eq!(map("- 1", "").err().unwrap().code(), Code::ValueInvalid);
        assert!(map("a: [", "").is_err());
    }
}
