//! `rondo package show`.

use std::fmt::Write as _;

use rondo_project::package::{Field, Kind, Package, Port, Ports, Run, cue, plain, schema};
use rondo_project::schema as project_schema;
use serde_json::{Value, json};

use super::find;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::platform::builtins;

/// Show a package's interface, or write it as JSON Schema or CUE
#[derive(clap::Args)]
pub struct Args {
    /// Its folder, name or Git address; `project` for the project file itself
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// Write the schema of a step that uses it
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Form {
    JsonSchema,
    Cue,
}

/// The word that stands for the project file.
const PROJECT: &str = "project";

/// Shows it.
///
/// # Errors
/// When there is none, or it has faults.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let printer = session.printer();
    if args.package == PROJECT {
        let known = builtins::known();
        match args.form {
            Some(Form::Cue) => {
                let text = cue::project(&known);
                printer.result(&json!({ "schema": 1, "cue": text }), &text);
            }
            Some(Form::JsonSchema) | None => schema_shown(session, &project_schema::schema(&known)),
        }
        return Ok(());
    }
    let found = find(session, &args.package)?;
    match args.form {
        Some(Form::JsonSchema) => schema_shown(session, &schema::step(&found.package, &found.uses)),
        Some(Form::Cue) => {
            let text = cue::step(&found.package, &found.uses);
            printer.result(&json!({ "schema": 1, "cue": text }), &text);
        }
        None => {
            let value = json!({ "schema": 1, "uses": found.uses, "package": *found.package });
            printer.result(&value, &page(&found.package, &found.uses));
        }
    }
    Ok(())
}

/// A JSON Schema is JSON for people too.
fn schema_shown(session: &Session, schema: &Value) {
    let text = serde_json::to_string_pretty(schema).unwrap_or_default();
    session.printer().result(schema, &format!("{text}\n"));
}

fn page(package: &Package, uses: &str) -> String {
    let mut text = format!("{} {}: {}\n", package.name, package.version, package.summary);
    if let Some(description) = &package.description {
        let _ = writeln!(text, "\n{}", description.trim());
    }
    for (title, ports) in [("inputs", &package.inputs), ("outputs", &package.outputs)] {
        match ports {
            Ports::Any => {
                let _ = writeln!(text, "\n{title}: any");
            }
            Ports::Listed(ports) if ports.is_empty() => {}
            Ports::Listed(ports) => {
                let rows = ports.iter().map(|port| {
                    let needed = if port.required { "" } else { "optional" };
                    let row = [port.name.as_str(), port.kind.word(), needed, &port.doc];
                    row.map(str::to_owned).to_vec()
                });
                let _ = write!(text, "\n{title}\n{}", indented(&table(&rows.collect::<Vec<_>>())));
            }
        }
    }
    if !package.with.is_empty() {
        let rows: Vec<Vec<String>> = package.with.iter().map(row).collect();
        let _ = write!(text, "\nwith\n{}", indented(&table(&rows)));
    }
    if let Run::Steps { steps, .. } = &package.run {
        let names: Vec<&str> = steps.names().collect();
        let _ = writeln!(text, "\nsteps: {}", names.join(", "));
    }
    let _ = write!(text, "\nexample\n{}", indented(&example(package, uses)));
    text
}

fn row(field: &Field) -> Vec<String> {
    let default = match &field.default {
        Some(default) => format!("= {}", plain(default)),
        None if field.required => "required".to_owned(),
        None => String::new(),
    };
    vec![field.name.clone(), field.noun(), default, field.doc.clone()]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A step or app that uses it, as its first test that is to end well does; of a package without one, what has
/// to be given.
fn example(package: &Package, uses: &str) -> String {
    let what = if package.app { "app" } else { "step" };
    let test = package.tests.values().find(|test| test.expect.fails.is_none() && test.expect.exit.is_none());
    let given = test.map(|test| &test.with);
    let needed = package
        .with
        .iter()
        .filter(|field| given.is_some_and(|given| given.contains(&field.name)) || field.required);
    let with = needed.map(|field| {
        let value = given.and_then(|given| given.get(&field.name));
        let value = match value.map(|value| (field.kind.is_file(), value.as_str(), value)) {
            // It lies beside the package, where no step would look for it.
            Some((true, Some(file), _)) => file.rsplit('/').next().unwrap_or(file).to_owned(),
            Some((_, _, value)) => flow(value),
            None => "…".to_owned(),
        };
        format!("{}: {value}", field.name)
    });
    let asked = |name: &str| test.is_some_and(|test| test.inputs.contains(name));
    let inputs = match &package.inputs {
        Ports::Any => {
            test.map(|test| test.inputs.names().map(|name| format!("{name}: data.{name}")).collect())
        }
        Ports::Listed(ports) => {
            let wanted = ports.iter().filter(|port| port.required || asked(&port.name));
            let from = |port: &Port| if port.kind == Kind::Model { "train" } else { "data" };
            Some(wanted.map(|port| format!("{0}: {1}.{0}", port.name, from(port))).collect::<Vec<_>>())
        }
    };
    let mut outputs: Vec<(String, String)> = Vec::new();
    for port in package.outputs.listed().iter().filter(|port| port.required) {
        outputs.push((port.name.clone(), port.file()));
    }
    for (name, file) in test.into_iter().flat_map(|test| test.outputs.iter()) {
        outputs.retain(|(known, _)| known != name);
        outputs.push((name.to_owned(), file.clone()));
    }
    let outputs = outputs.into_iter().map(|(name, file)| format!("{name}: {file}")).collect();
    let mut text = format!("{what}:\n  uses: {uses}\n");
    for (key, entries) in
        [("with", with.collect()), ("inputs", inputs.unwrap_or_default()), ("outputs", outputs)]
    {
        let entries: Vec<String> = entries;
        if !entries.is_empty() {
            let _ = writeln!(text, "  {key}: {{ {} }}", entries.join(", "));
        }
    }
    text
}

/// A value as it is written between braces.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        // The other texts of JSON are texts of YAML too.
        other => other.to_string(),
    }
}

/// Whether a text is one in YAML without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use rondo_project::check::{PROJECT_FILE, check};
    use rondo_project::fault;
    use rondo_project::files::Folder;

    use super::*;

    #[test]
    fn the_example_of_every_package_that_is_built_in_is_part_of_a_valid_project() {
        let known = builtins::of_project(std::path::Path::new("."), &crate::config::Config::read(None));
        for package in known.packages.iter() {
            let folder = tempfile::tempdir().unwrap();
            crate::platform::builtin_files::lay_out(&package.name, folder.path()).unwrap();
            let tests = std::fs::read_dir(folder.path().join("tests")).into_iter().flatten().flatten();
            for file in tests.map(|entry| entry.path()).filter(|path| path.is_file()) {
                std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
            }
            let example = example(package, &package.name);
            let section = if package.app { "apps" } else { "steps" };
            let data = ["rows", "train", "test", "pictures"]
                .map(|name| format!("  {name}: {{ source: {name}.csv }}\n"))
                .concat();
            let train = "  train: { run: x, outputs: { model: model.onnx } }\n";
            let between =
                if package.app { format!("steps:\n{train}apps:\n") } else { format!("{section}:\n{train}") };
            let source = format!("project: p\ndata:\n{data}{between}{}", indented(&example));
            if let Err(faults) = check(&source, PROJECT_FILE, &Folder::new(folder.path()), &known) {
                panic!("{source}{}", fault::render(PROJECT_FILE, &source, &faults));
            }
        }
    }
}
