//! `rondo notebook run`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::Code;
use rondo_core::ports::{Event, Progress};
use rondo_notebook::cache::run::{Keep, Ran};
use rondo_notebook::cache::{self, Cache, Environment};
use rondo_notebook::error::Kept;
use rondo_notebook::execute::{ExecuteRequest, check, prepare_only};
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::kernel::fork::ForkServer;
use rondo_notebook::{metrics, parameters};
use serde_json::{Value, json};

use super::source::{self, Source};
use super::stream::Stream;
use super::target::Target;
use super::{given, html, kernel, sweep};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::signals::cancelled;

/// Run a notebook with parameters and keep an executed copy; a folder as OUT makes it a sweep
#[derive(clap::Args)]
pub struct Args {
    /// The notebook: `.ipynb`, a script with `# %%` cells, `.qmd`, `.Rmd`, `.md`, an address (`https://`, `s3://`,
    /// `gs://`, `az://`, `abs://`), or `-`
    #[arg(value_name = "IN")]
    pub(super) input: PathBuf,
    /// The executed copy, an address in a bucket, or `-`; a folder (`out/`) for a copy of each run of a sweep. Also
    /// where a cell fails it is there with the outputs so far. It may be IN itself
    #[arg(value_name = "OUT")]
    pub(super) output: PathBuf,

    #[command(flatten)]
    pub(super) given: given::Flags,

    /// The kernel, where it is not the notebook's own
    #[arg(short, long, value_name = "NAME", help_heading = "Kernel")]
    kernel: Option<String>,
    /// The language of the parameters, where the notebook does not say it
    #[arg(short, long, value_name = "NAME", help_heading = "Kernel")]
    language: Option<String>,
    /// The Python interpreter, which needs `ipykernel`; otherwise the `python3` of the search path
    #[arg(long, value_name = "PATH", help_heading = "Kernel")]
    python: Option<PathBuf>,
    /// The folder that it runs in; otherwise the notebook's own
    #[arg(long, value_name = "DIR", help_heading = "Kernel")]
    cwd: Option<PathBuf>,
    /// Fork the kernels of a sweep from one process that has done the notebook's imports (Python)
    #[arg(long, help_heading = "Kernel")]
    fork_kernels: bool,

    /// How long all of it may take, such as `10m`
    #[arg(long, value_name = "TIME", value_parser = kernel::limit, help_heading = "Limits")]
    timeout: Option<Duration>,
    /// How long each cell may take
    #[arg(long, alias = "execution-timeout", value_name = "TIME", value_parser = kernel::limit,
          help_heading = "Limits")]
    cell_timeout: Option<Duration>,
    /// How long the kernel may take to get ready
    #[arg(long, value_name = "TIME", value_parser = kernel::limit, default_value = "60s",
          help_heading = "Limits")]
    start_timeout: Duration,
    /// The most memory that the kernel and what it starts may take, such as `2GB`
    #[arg(long, value_name = "SIZE", value_parser = kernel::memory, help_heading = "Limits")]
    memory: Option<u64>,

    /// Write the copy with its parameters and run nothing
    #[arg(long)]
    prepare_only: bool,
    /// How often the copy is written while one cell runs; `0` for only after cells
    #[arg(long, alias = "autosave-cell-every", value_name = "TIME", value_parser = kernel::time,
          default_value = "30s")]
    autosave: Duration,
    /// Hide the code in the copy
    #[arg(long)]
    report_mode: bool,
    /// Also write the executed copy as a page beside it
    #[arg(long)]
    report: bool,
    /// Also write what the cells print to this file
    #[arg(long, value_name = "FILE")]
    stdout_file: Option<PathBuf>,
    /// Also write what the cells print to standard error to this file
    #[arg(long, value_name = "FILE")]
    stderr_file: Option<PathBuf>,

    /// Take the result of an earlier run of the same notebook, parameters, inputs and environment
    #[arg(long)]
    cache: bool,
    /// A file or folder whose contents the run depends on, for `--cache`
    #[arg(long = "input", value_name = "PATH", requires = "cache")]
    inputs: Vec<PathBuf>,
    /// How many runs of a sweep at once; otherwise as many as there are cores
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<std::num::NonZeroUsize>,
}

/// Runs it.
///
/// # Errors
/// When the notebook or its parameters are not valid, the kernel does not start or dies, a cell fails or
/// takes too long, or the user stops it.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let target = Target::of(&args.output, session)?;
    let source = Box::pin(source::read(&args.input, args.language.as_deref(), session)).await?;
    if args.given.has_grid() || target.is_folder() {
        return Box::pin(sweep::run(&args, &source, &target, session)).await;
    }
    let known = parameters::inspect(&source.notebook);
    let streamed = target.is_stream();
    if streamed && session.printer().json() {
        let message = "write both the notebook and JSON to standard output";
        return Err(Failure::hinted(Code::Usage, message, "name a file for the executed notebook"));
    }
    let progress: Arc<dyn Progress> = Arc::new(Stream::to(session.printer(), false));
    let mut request = request(&args, &source, target.local.clone(), progress, session)?;
    request.kept = target.elsewhere().map(Kept::File);
    request.given = args.given.one(&known, session)?;
    request.given.also = args.given.paths(&shown(&args.input), &shown(&args.output));
    let executed = Box::pin(one(&args, &source, request, session)).await;
    let sent = Box::pin(target.send(session)).await;
    let executed = executed.map_err(|failure| match args.given.swept() {
        Some(text) if failure.code() == Code::NotebookParameter => {
            failure.also(format!("a folder as OUT makes a sweep: rondo notebook run IN out/ -p {text}"))
        }
        Some(_) | None => failure,
    });
    let Some((given, ran)) = told_first(executed, sent, session)? else { return Ok(()) };
    let page = (args.report && !streamed).then(|| args.output.with_extension("html"));
    let value = json!({
        "schema": 1, "notebook": args.input, "output": args.output, "page": page, "parameters": given,
        "cells": ran.executed.cells_run, "seconds": ran.executed.seconds, "metrics": metrics::json(&ran.executed.metrics),
        "outputs": ran.executed.outputs, "notes": ran.executed.notes, "peak_memory": ran.executed.peak_memory, "cached": ran.cached,
        "stopped": ran.executed.halt.map(|halt| halt.to_string()),
    });
    if !streamed {
        session.printer().result(&value, &text(&args.output, page.as_deref(), &ran));
    }
    Ok(())
}

/// What came of a run, and of sending its copy away; of two failures the run's.
pub(super) fn told_first<T>(ran: Outcome<T>, sent: Outcome, session: &Session) -> Outcome<T> {
    match (ran, sent) {
        (Err(failure), Err(unsent)) => {
            session.printer().note(&format!("the executed notebook is lost: {}", unsent.text().trim_end()));
            Err(failure)
        }
        (ran, sent) => sent.and(ran),
    }
}

/// Runs or prepares one; what its parameters were, and what came of it where it ran.
async fn one(
    args: &Args,
    source: &Source,
    request: ExecuteRequest,
    session: &Session,
) -> Outcome<Option<(Value, Ran)>> {
    let (progress, subject) = (request.progress.clone(), request.subject.clone());
    let given = json!(request.given.shown());
    if args.prepare_only {
        prepare_only(request).map_err(failure)?;
        session.printer().note(&format!("{subject:<12} prepared, not run: {}", args.output.display()));
        return Ok(None);
    }
    check(&request).map_err(failure)?;
    let keep = keep(args, source, &request, session)?;
    progress.report(Event::Started { subject: subject.clone(), message: "starts the kernel".to_owned() });
    let output = request.output.clone();
    let ran = Box::pin(cache::run::run(request, keep.as_ref())).await;
    let message = match &ran {
        Ok(ran) => ran.to_string(),
        Err(_) => String::new(),
    };
    progress.report(Event::Ended { subject, ok: ran.is_ok(), message });
    // Of a failed run the page is what people look at first.
    if args.report && output.is_file() {
        html::write(&output, &output.with_extension("html"))?;
    }
    Ok(Some((given, ran.map_err(failure)?)))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A request without its parameters.
///
/// # Errors
/// When a flag names what is not there.
pub(super) fn request(
    args: &Args,
    source: &Source,
    output: PathBuf,
    progress: Arc<dyn Progress>,
    session: &Session,
) -> Outcome<ExecuteRequest> {
    let choice = KernelChoice {
        name: args.kernel.clone(),
        python: kernel::python(args.python.as_deref(), session)?,
        data_dirs: session.config().kernel_folders(),
        ..KernelChoice::default()
    };
    let usual = ExecuteRequest::new(source.path.clone(), output, choice);
    let cwd = match &args.cwd {
        // A notebook from elsewhere has no folder of its own.
        None if source.is_file => usual.cwd.clone(),
        None => session.here(),
        Some(given) => {
            let folder = session.existing("folder", given)?;
            if !folder.is_dir() {
                let message = format!("run in `{}`: it is no folder", given.display());
                return Err(Failure::new(Code::ValueInvalid, message));
            }
            folder
        }
    };
    let file = |given: &Option<PathBuf>| given.as_deref().map(|given| session.path(given));
    Ok(ExecuteRequest {
        notebook: Some(source.notebook.clone()),
        masked: args.given.masked(session)?,
        allow_unknown: args.given.allow_unknown,
        language: args.language.clone(),
        cwd,
        timeout: args.timeout,
        cell_timeout: args.cell_timeout,
        start_timeout: args.start_timeout,
        memory: args.memory,
        autosave: Some(args.autosave).filter(|every| !every.is_zero()),
        report_mode: args.report_mode,
        stdout: file(&args.stdout_file),
        stderr: file(&args.stderr_file),
        cancel: cancelled(),
        progress,
        timestamps: true,
        ..usual
    })
}

/// Whether and where earlier runs are kept, by the flags.
///
/// # Errors
/// When an input is not there, or the environment does not say what it is.
pub(super) fn keep(
    args: &Args,
    source: &Source,
    request: &ExecuteRequest,
    session: &Session,
) -> Outcome<Option<Keep>> {
    if !args.cache {
        return Ok(None);
    }
    let environment = Environment::of(request, &source.notebook).map_err(failure)?;
    let inputs = args.inputs.iter().map(|input| session.existing("input", input)).collect::<Outcome<_>>()?;
    let cache = Cache::new(session.config().cache.join("notebooks"));
    Ok(Some(Keep { cache, environment, inputs }))
}

/// The process that kernels are forked from, where it is wanted and possible; why not is said.
pub(super) async fn fork_server(
    args: &Args,
    source: &Source,
    request: &ExecuteRequest,
    session: &Session,
) -> Option<Arc<ForkServer>> {
    if !args.fork_kernels {
        return None;
    }
    let note = |reason: &str| {
        session.printer().note(&format!("forked kernels are not possible: {reason}; starting each kernel"));
    };
    let language = parameters::language(&source.notebook).map(|language| language.name());
    if language != Some("python") {
        note(&format!(
            "they exist for Python, and this notebook is in {}",
            language.unwrap_or("another language")
        ));
        return None;
    }
    let Some(python) = request.kernel.python.as_deref() else {
        note("there is no Python interpreter");
        return None;
    };
    match ForkServer::start(python, &source.notebook, &request.env).await {
        Ok(server) => Some(Arc::new(server)),
        Err(reason) => {
            note(&reason.to_string());
            None
        }
    }
}

/// The errors whose hint speaks of a step's environment, in the words of this command.
pub(super) fn failure(error: rondo_notebook::Error) -> Failure {
    match error {
        rondo_notebook::Error::NoInterpreter { .. } => Failure::hinted(
            Code::KernelDied,
            error.to_string(),
            "rondo notebook run IN OUT --python .venv/bin/python",
        ),
        rondo_notebook::Error::KernelStart { .. } => Failure::from(error)
            .also("another interpreter: rondo notebook run IN OUT --python .venv/bin/python"),
        other => other.into(),
    }
}

fn text(output: &Path, page: Option<&Path>, ran: &Ran) -> String {
    let executed = &ran.executed;
    let mut text = format!("{}: {ran} in {:.1} s", output.display(), executed.seconds);
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
