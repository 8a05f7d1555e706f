//! `rondo notebook inspect`.

use std::path::PathBuf;

use rondo_notebook::document::{Cell, Notebook};
use rondo_notebook::parameters::{self, PARAMETERS, Parameter};
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// Show the parameters that a notebook takes
#[derive(clap::Args)]
pub struct Args {
    /// The notebook, or a script with `# %%` cells
    #[arg(value_name = "NOTEBOOK")]
    notebook: PathBuf,
}

/// Shows them.
///
/// # Errors
/// When the notebook cannot be read.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let notebook = Notebook::read(&session.existing("notebook", &args.notebook)?)?;
    let found = parameters::inspect(&notebook);
    let language = parameters::language(&notebook).map(|language| language.name().to_owned());
    let language = language.or_else(|| notebook.language());
    let code = notebook.cells.iter().filter(|cell| cell.is_code()).count();
    let value = json!({
        "schema": 1, "notebook": args.notebook, "language": language, "kernel": notebook.kernel_name(),
        "cells": notebook.cells.len(), "code_cells": code, "parameters": found,
    });
    let mut about: Vec<String> = language.into_iter().collect();
    about.extend(notebook.kernel_name().map(|kernel| format!("kernel {kernel}")));
    about.push(format!("{} cells, {code} with code", notebook.cells.len()));
    let mut text = format!("{}: {}\n", args.notebook.display(), about.join(", "));
    text.push_str(&parameters_text(&found));
    session.printer().result(&value, &text);
    if !notebook.cells.iter().any(|cell: &Cell| cell.is_code() && cell.has_tag(PARAMETERS)) {
        let hint = format!("hint: tag the code cell that sets the defaults with `{PARAMETERS}`");
        session.printer().note(&hint);
    }
    Ok(())
}

fn parameters_text(found: &[Parameter]) -> String {
    if found.is_empty() {
        return "it takes no parameters\n".to_owned();
    }
    let mut rows: Vec<Vec<String>> =
        vec![["parameter", "takes", "default", "help"].map(String::from).to_vec()];
    for parameter in found {
        rows.push(vec![
            parameter.name.clone(),
            if parameter.secret { format!("{}, secret", parameter.kind) } else { parameter.kind.to_string() },
            one_line(&parameter.default),
            parameter.help.clone().unwrap_or_default(),
        ]);
    }
    table(&rows)
}

/// A default as one line: those over several lines are shortened to their first.
fn one_line(default: &str) -> String {
    let mut lines = default.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_shown_with_kind_default_and_help() {
        let mut notebook = Notebook::new("python3", "python");
        let source = "depth = 6  # how deep\nlabel: str = 'late'\nfeatures = [\n    'a',\n]\n";
        notebook.cells = vec![Cell::code(source, &[PARAMETERS])];
        let text = parameters_text(&parameters::inspect(&notebook));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("depth") && lines[1].ends_with("how deep"), "{text}");
        assert!(lines[1].contains("a whole number") && lines[2].contains("a text"), "{text}");
        assert!(lines[3].contains("[ …"), "{text}");
        assert_eq!(parameters_text(&[]), "it takes no parameters\n");
    }
}
