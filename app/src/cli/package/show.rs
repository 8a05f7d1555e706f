//! `rondo package show`.

use std::fmt::Write as _;

use rondo_project::package::{Field, Package, Ports, Run, cue, plain, schema};
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

/// A step or app that uses it.
fn example(package: &Package, uses: &str) -> String {
    let what = if package.app { "app" } else { "step" };
    let mut text = format!("{what}:\n  uses: {uses}\n");
    let needed: Vec<String> = package
        .with
        .iter()
        .filter(|field| field.required)
        .map(|field| format!("{}: …", field.name))
        .collect();
    let ports = |ports: &Ports, value: &dyn Fn(&rondo_project::package::Port) -> String| {
        let wanted = ports.listed().iter().filter(|port| port.required);
        wanted.map(|port| format!("{}: {}", port.name, value(port))).collect::<Vec<_>>()
    };
    let inputs = ports(&package.inputs, &|_| "STEP.OUTPUT".to_owned());
    let outputs = ports(&package.outputs, &rondo_project::package::Port::file);
    for (key, entries) in [("with", needed), ("inputs", inputs), ("outputs", outputs)] {
        if !entries.is_empty() {
            let _ = writeln!(text, "  {key}: {{ {} }}", entries.join(", "));
        }
    }
    text
}
