//! `rondo notebook run`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::{Event, Progress};
use rondo_core::{Code, Span};
use rondo_notebook::document::Notebook;
use rondo_notebook::execute::{ExecuteRequest, Executed, execute};
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::parameters::{self, Parameter};
use serde_json::{Value, json};

use super::html;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Printer;
use crate::cli::run::cancelled;
use crate::config::Config;

/// Run a notebook with parameters and keep an executed copy
#[derive(clap::Args)]
pub struct Args {
    /// The notebook, or a script with `# %%` cells
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The executed copy; also where a cell fails it is there with the outputs so far
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Set a parameter; a value that is JSON is read as such
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The kernel, where it is not the notebook's own
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// The Python interpreter, which needs `ipykernel`; otherwise the `python3` of the search path
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// How long all of it may take, such as `10m`
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// The folder that it runs in; otherwise the notebook's own
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Also write the executed copy as a page beside it
    #[arg(long)]
    report: bool,
}

/// Runs it.
///
/// # Errors
/// When the notebook or its parameters are not valid, the kernel does not start or dies, a cell fails or
/// takes too long, or the user stops it.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let request = request(&args, session)?;
    let (output, progress, subject) =
        (request.output.clone(), request.progress.clone(), request.subject.clone());
    let given: serde_json::Map<String, Value> = request.parameters.clone().into_iter().collect();
    progress.report(Event::Started { subject: subject.clone(), message: "starts the kernel".to_owned() });
    let executed = Box::pin(execute(request)).await;
    let message = match &executed {
        Ok(executed) => format!("{} cells", executed.cells_run),
        Err(_) => String::new(),
    };
    progress.report(Event::Ended { subject, ok: executed.is_ok(), message });
    // A failed run's page is what people look at first.
    let page = if args.report && output.is_file() { Some(args.output.with_extension("html")) } else { None };
    if let Some(page) = &page {
        html::write(&output, &session.path(page))?;
    }
    let executed = executed.map_err(failure)?;
    let value = json!({
        "schema": 1, "notebook": args.input, "output": args.output, "page": page, "parameters": given,
        "cells": executed.cells_run, "seconds": executed.seconds, "metrics": executed.metrics,
        "peak_memory": executed.peak_memory,
    });
    session.printer().result(&value, &text(&args.output, page.as_deref(), &executed));
    Ok(())
}

fn request(args: &Args, session: &Session) -> Outcome<ExecuteRequest> {
    let input = session.existing("notebook", &args.input)?;
    let known = parameters::inspect(&Notebook::read(&input)?);
    let kernel = KernelChoice {
        name: args.kernel.clone(),
        python: python(args.python.as_deref(), session)?,
        data_dirs: session.config().kernel_folders(),
    };
    let usual = ExecuteRequest::new(input, session.path(&args.output), kernel);
    let cwd = match &args.cwd {
        None => usual.cwd.clone(),
        Some(given) => {
            let folder = session.existing("folder", given)?;
            if !folder.is_dir() {
                let message = format!("run in `{}`: it is no folder", given.display());
                return Err(Failure::new(Code::ValueInvalid, message));
            }
            folder
        }
    };
    Ok(ExecuteRequest {
        parameters: given(&args.params, &known)?,
        cwd,
        timeout: args.timeout.map(limit).transpose()?,
        cancel: cancelled(),
        progress: Arc::new(Stream::to(session.printer())),
        timestamps: true,
        ..usual
    })
}

/// What a notebook prints stays to be read, and without a terminal each cell has its line.
struct Stream {
    printer: Printer,
    bar: Arc<dyn Progress>,
    terminal: bool,
}

impl Stream {
    fn to(printer: &Printer) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { printer: printer.clone(), bar: printer.progress(), terminal }
    }
}

impl Progress for Stream {
    fn report(&self, event: Event) {
        match event {
            Event::Output { line, .. } => self.printer.note(&format!("  | {line}")),
            Event::Advanced { subject, message, .. } if !self.terminal => {
                self.printer.note(&format!("{subject:<12} {message}"));
            }
            other => self.bar.report(other),
        }
    }
}

/// The values of `-p`.
fn given(params: &[String], known: &[Parameter]) -> Outcome<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for text in params {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::hinted(
                Code::Usage,
                format!("read parameter `{text}`"),
                "rondo notebook run IN OUT -p name=value",
            ));
        };
        values.insert(name.trim().to_owned(), read(name.trim(), value, known));
    }
    Ok(values)
}

/// A value as it was typed: JSON where it is JSON, else text; for a parameter that takes text always text,
/// so that `-p label=5` needs no quotes within quotes.
fn read(name: &str, text: &str, known: &[Parameter]) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => Value::String(text),
        Ok(_) | Err(_) => parameters::from_text(known, name, text),
    }
}

fn limit(span: Span) -> Outcome<Duration> {
    match u64::try_from(span.millis()) {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        Ok(_) | Err(_) => {
            Err(Failure::hinted(Code::ValueInvalid, format!("stop after `{span}`"), "--timeout 10m"))
        }
    }
}

/// The interpreter: the one that was named, as a path or by its name on the search path, else the search
/// path's `python3`, if it has one.
fn python(named: Option<&Path>, session: &Session) -> Outcome<Option<PathBuf>> {
    let config = session.config();
    let Some(named) = named else {
        return Ok(on_search_path("python3", config).or_else(|| on_search_path("python", config)));
    };
    let found = match named.to_str() {
        Some(name) if !name.contains('/') => on_search_path(name, config),
        Some(_) | None => {
            let path = session.existing("interpreter", named)?;
            std::path::absolute(&path).ok().filter(|path| is_program(path))
        }
    };
    match found {
        Some(path) => Ok(Some(path)),
        None => Err(Failure::hinted(
            Code::ValueInvalid,
            format!("run `{}`: it is no program", named.display()),
            "--python .venv/bin/python",
        )),
    }
}

fn on_search_path(name: &str, config: &Config) -> Option<PathBuf> {
    let search = config.environment.get("PATH")?;
    std::env::split_paths(search)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The errors whose hint speaks of a step's environment, in the words of this command.
fn failure(error: rondo_notebook::Error) -> Failure {
    match error {
        rondo_notebook::Error::NoInterpreter { .. } => Failure::hinted(
            Code::KernelDied,
            error.to_string(),
            "rondo notebook run IN OUT --python .venv/bin/python",
        ),
        other => other.into(),
    }
}

fn text(output: &Path, page: Option<&Path>, executed: &Executed) -> String {
    let mut text = format!("{}: {} cells in {:.1} s", output.display(), executed.cells_run, executed.seconds);
    if let Some(bytes) = executed.peak_memory {
        let _ = write!(text, ", {} MB at its peak", bytes / 1_000_000);
    }
    text.push('\n');
    for (name, value) in &executed.metrics {
        let _ = writeln!(text, "  {name} = {value}");
    }
    if let Some(page) = page {
        let _ = writeln!(text, "page: {}", page.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use rondo_notebook::document::Cell;
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
        let both = given(&["depth=3".to_owned(), "label=a=b".to_owned()], &known()).ok().unwrap();
        assert_eq!(both["label"], json!("a=b"));
        assert_eq!(given(&["depth".to_owned()], &known()).err().unwrap().code(), Code::Usage);
    }

    #[test]
    fn a_limit_of_no_time_is_refused() {
        assert_eq!(limit(Span(1500)).ok(), Some(Duration::from_millis(1500)));
        assert_eq!(limit(Span(0)).err().unwrap().code(), Code::ValueInvalid);
    }

    #[test]
    fn kernels_are_looked_for_where_jupyter_keeps_them() {
        let config = |set: &[(&str, &str)]| Config {
            environment: set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            user: String::new(),
            cache: PathBuf::new(),
        };
        let folders = config(&[("HOME", "/home/u"), ("JUPYTER_PATH", "/a:/b")]).kernel_folders();
        let folders: Vec<&str> = folders.iter().filter_map(|folder| folder.to_str()).collect();
        assert_eq!(folders[..3], ["/a", "/b", "/home/u/.local/share/jupyter"]);
        let folders = config(&[("HOME", "/home/u"), ("JUPYTER_DATA_DIR", "/data")]).kernel_folders();
        assert_eq!(folders[0], Path::new("/data"));
    }

    #[test]
    fn the_interpreter_is_found_on_the_search_path() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python3");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let search = format!("relative:/nowhere:{}", folder.path().display());
        let config = Config {
            environment: BTreeMap::from([("PATH".to_owned(), search)]),
            user: String::new(),
            cache: PathBuf::new(),
        };
        assert_eq!(on_search_path("python3", &config), None, "it may not be executed");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(on_search_path("python3", &config), Some(program));
    }
}
