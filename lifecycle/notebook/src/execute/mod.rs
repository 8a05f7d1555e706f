//! Runs a notebook from its first cell to its last and keeps what came of it.
//!
//! The executed copy is written before the first cell, after each one and at the end, whole each time, so
//! that a failed run leaves the notebook with its outputs up to the failure and a banner that says where. It may
//! replace the notebook itself ([`place`]).
//! With `timestamps: false` the copy holds no times and no paths: the same outputs give the same bytes.

pub mod cell;
pub mod place;
pub mod record;
pub mod saver;
pub mod tee;
pub mod widgets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::mask::Mask;
use rondo_core::ports::{Confinement, Event, Progress, Unwatched};
use rondo_process::leftovers;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::document::{self, Notebook};
use crate::error::{CellPlace, Error, Kept, LastWords};
use crate::execute::cell::{CellEnd, Limits, Session, Stop};
use crate::execute::place::Place;
use crate::execute::record::{Status, Times};
use crate::execute::saver::Saver;
use crate::execute::tee::Tee;
use crate::kernel::client::Launch;
use crate::kernel::fork::ForkServer;
use crate::kernel::output::LineSink;
use crate::kernel::spec::KernelSpec;
use crate::kernel::{Kernel, KernelChoice, spec};
use crate::metrics;
use crate::parameters::{self, Given};

/// How long a kernel may take for what its code left for the exit.
const EXIT_GRACE: Duration = Duration::from_secs(10);
/// Lines of traceback or of the kernel's output in an error.
const LAST_WORDS: usize = 15;
/// Cells with one of these tags are not run.
const SKIP_TAGS: [&str; 3] = ["skip", "skip-run", "skip-execution"];

/// A cell with this tag is the last one that is not run: it and all below it stay as they are.
const STOP_TAG: &str = "stop";
/// How often the copy is written while one cell runs.
const EVERY: Duration = Duration::from_secs(30);

/// What to run and how. [`ExecuteRequest::new`] has the usual values.
#[derive(Clone)]
pub struct ExecuteRequest {
    /// The notebook, or a script with `# %%` cells.
    pub input: PathBuf,
    /// Where the executed copy goes.
    pub output: PathBuf,
    /// Where the copy is found later, where it does not stay at `output`.
    pub kept: Option<Kept>,
    /// The notebook itself, where it is not to be read from `input`.
    pub notebook: Option<Notebook>,
    /// Values for the notebook's parameters.
    pub given: Given,
    /// Further texts by name that must not be written anywhere.
    pub masked: BTreeMap<String, String>,
    /// The language of its parameters, where the notebook does not say it or says it wrongly.
    pub language: Option<String>,
    /// The kernel.
    pub kernel: KernelChoice,
    /// The folder that the kernel runs in.
    pub cwd: PathBuf,
    /// Variables for the kernel alone.
    pub env: BTreeMap<String, String>,
    /// Whether the kernel has those of this process too, where `env` says nothing else.
    pub inherits: bool,
    /// The longest that one cell may take.
    pub cell_timeout: Option<Duration>,
    /// The longest that the kernel may take to get ready.
    pub start_timeout: Duration,
    /// The most memory that the kernel and what it starts may take, in bytes.
    pub memory: Option<u64>,
    /// What the kernel is kept to, where it is.
    pub confinement: Option<Arc<dyn Confinement>>,
    /// Where kernels are forked from, instead of being started.
    pub fork: Option<Arc<ForkServer>>,
    /// How often the executed copy is written while one cell runs; after each cell it always is.
    pub autosave: Option<Duration>,
    /// Whether the copy hides its code.
    pub report_mode: bool,
    /// Files that get what the cells print.
    pub stdout: Option<PathBuf>,
    /// The same for standard error.
    pub stderr: Option<PathBuf>,
    /// The longest that everything may take.
    pub timeout: Option<Duration>,
    /// Becomes true when the user wants to stop.
    pub cancel: watch::Receiver<bool>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Whose work it is, for who watches.
    pub subject: String,
    /// Whether times and paths are put into the executed copy.
    pub timestamps: bool,
    /// Whether parameters are injected that no cell tagged `parameters` sets.
    pub allow_unknown: bool,
    /// About how many bytes of outputs a cell may have; more are dropped with a notice.
    pub output_limit: usize,
}

impl ExecuteRequest {
    /// A request with no parameters, in the notebook's own folder, without limits of time save a minute for
    /// the kernel's start, watched by nobody.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>, kernel: KernelChoice) -> Self {
        let input = input.into();
        let folder = input.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self {
            cwd: folder.map_or_else(|| PathBuf::from("."), Path::to_owned),
            subject: input.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            input,
            output: output.into(),
            kept: None,
            notebook: None,
            given: Given::default(),
            masked: BTreeMap::new(),
            language: None,
            memory: None,
            confinement: None,
            fork: None,
            autosave: Some(EVERY),
            report_mode: false,
            stdout: None,
            stderr: None,
            kernel,
            env: BTreeMap::new(),
            inherits: true,
            cell_timeout: None,
            start_timeout: Duration::from_secs(60),
            timeout: None,
            cancel: watch::channel(false).1,
            progress: Arc::new(Unwatched),
            timestamps: false,
            allow_unknown: false,
            output_limit: 16 * 1024 * 1024,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Executed {
    /// Cells that were run.
    pub cells_run: usize,
    /// How long it took, kernel's start and end included.
    pub seconds: f64,
    /// The numbers among the values that cells gave ([`metrics`]).
    #[serde(with = "metrics::figures")]
    pub metrics: BTreeMap<String, f64>,
    /// All of those values.
    pub outputs: BTreeMap<String, Value>,
    /// What is to be said of it although it went well: tagged cells that gave nothing.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The peak of the kernel's memory, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// Why not all cells were run, where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
}

/// Where a notebook stopped before its last cell, without a failure. Cells are counted from 1 among the notebook's
/// own that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// Before this cell of so many, by the tag `stop`.
    Tag(usize, usize),
    /// In this cell of so many, whose code ended the kernel well.
    Exit(usize, usize),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(cell, all) => write!(f, "stopped before cell {cell} of {all}, by the tag `{STOP_TAG}`"),
            Self::Exit(cell, all) => write!(f, "stopped in cell {cell} of {all}, which ended the kernel"),
        }
    }
}

/// Runs a notebook.
///
/// # Errors
/// When the notebook or its parameters are not valid (nothing has run then), the kernel does not start or
/// dies, a cell fails or takes too long, or the user stops it. The executed copy is there in all but the
/// first case.
pub async fn execute(request: ExecuteRequest) -> Result<Executed, Error> {
    let started = Instant::now();
    let whole = request.timeout.and_then(|limit| started.checked_add(limit));
    let place = Place::of(&request.input, &request.output)?;
    let (mut request, notebook, spec) = prepare(request)?;
    let tee = Tee::open(request.stdout.as_deref(), request.stderr.as_deref())?;
    let mask = mask(&request);
    request.env.extend(request.given.variables());
    let mut saver = Saver::new(place.growing.clone(), request.autosave);
    let mut session = Session::new(notebook, &request, mask, tee);
    let times = Times::start(request.timestamps);
    record::begin(&mut session.notebook, &request, &times);
    saver.save(&mut session, true).await?;
    report_in_place(&request, &place);
    if let Some(name) = spec::lacking(&request.kernel, &session.notebook, &spec) {
        let python = spec.argv.first().map(String::as_str).unwrap_or_default();
        session.note(format!("the kernel `{name}` is not installed: the notebook runs on `{python}`"));
    }
    let lines = {
        let (progress, subject) = (request.progress.clone(), request.subject.clone());
        let take = move |line| progress.report(Event::Output { subject: subject.clone(), line });
        LineSink { mask: session.mask.clone(), take: Arc::new(take) }
    };
    let launch = Launch {
        spec: &spec,
        cwd: &request.cwd,
        env: &request.env,
        inherits: request.inherits,
        timeout: request.timeout.map_or(request.start_timeout, |whole| whole.min(request.start_timeout)),
        memory: request.memory,
        confinement: request.confinement.as_deref(),
        fork: request.fork.as_deref(),
        cancel: request.cancel.clone(),
        lines,
    };
    let mut kernel = Box::pin(Kernel::launch(launch, &request.input)).await?;
    kernel.process.listen();
    record::language(&mut session.notebook, &kernel.info);
    let ran = Box::pin(run_cells(&request, &mut session, &mut kernel, &mut saver, whole)).await;
    let peak_memory = kernel.process.peak_memory();
    record::end(&mut session.notebook, &times, ran.is_err());
    session.note_forgotten();
    let teed = session.tee.finish(&session.mask);
    saver.move_to(place.last.clone());
    match ran {
        Ok((cells_run, halt)) => {
            report_left(&request, &kernel.shut_down(EXIT_GRACE).await);
            saver.save(&mut session, true).await?;
            teed?;
            let mut outputs = session.values;
            outputs.values_mut().for_each(|value| session.mask.value(value));
            let (metrics, seconds) = (metrics::numbers(&outputs), started.elapsed().as_secs_f64());
            let notes = session.notes;
            Ok(Executed { cells_run, seconds, metrics, outputs, notes, peak_memory, halt })
        }
        Err(error) => {
            // The cause is the cell's error, also where the copy cannot be written.
            let saved = saver.save(&mut session, true).await;
            report_left(&request, &kernel.kill().await);
            if let Err(unsaved) = saved.and(teed) {
                report_unsaved(&request, &unsaved);
            }
            Err(error)
        }
    }
}

/// Whether a notebook could begin: what [`execute`] refuses before it runs anything.
///
/// # Errors
/// When the notebook or its parameters are not valid, its copy cannot be there, or there is no such kernel.
pub fn check(request: &ExecuteRequest) -> Result<(), Error> {
    Place::of(&request.input, &request.output)?;
    prepare(request.clone()).map(drop)
}

/// Writes the notebook with its parameters and runs nothing.
///
/// # Errors
/// When the notebook or its parameters are not valid, or the copy cannot be written.
pub fn prepare_only(request: ExecuteRequest) -> Result<(), Error> {
    let place = Place::of(&request.input, &request.output)?;
    let (request, mut notebook, _) = prepare(request)?;
    record::begin(&mut notebook, &request, &Times::start(request.timestamps));
    document::write_atomically(&place.last, &notebook.to_bytes_without(&mask(&request)))
}

fn mask(request: &ExecuteRequest) -> Mask {
    Mask::new(request.given.secrets.iter().chain(&request.masked))
}

fn report_unsaved(request: &ExecuteRequest, error: &Error) {
    let message = format!("the executed notebook could not be kept: {error}");
    request.progress.report(Event::Note { subject: request.subject.clone(), message });
}

/// Names what the kernel had left running.
fn report_left(request: &ExecuteRequest, left: &[String]) {
    if !left.is_empty() {
        let message = leftovers::told(left);
        request.progress.report(Event::Note { subject: request.subject.clone(), message });
    }
}

/// Says that the notebook is to be replaced, and where the copy is until then.
fn report_in_place(request: &ExecuteRequest, place: &Place) {
    if place.is_one_file() {
        let growing = place.growing.display();
        let message =
            format!("the notebook itself is replaced when the run has ended; until then: {growing}");
        request.progress.report(Event::Note { subject: request.subject.clone(), message });
    }
}

/// Reads the notebook, takes the traces of earlier runs out of it, and puts the parameters in.
fn prepare(mut request: ExecuteRequest) -> Result<(ExecuteRequest, Notebook, KernelSpec), Error> {
    let mut notebook = match request.notebook.take() {
        Some(notebook) => notebook,
        None => Notebook::read(&request.input)?,
    };
    record::remove_banners(&mut notebook);
    let spec = spec::resolve(&request.kernel, &notebook, &request.input)?;
    if request.kernel.name.is_some() || request.language.is_some() {
        let name = request.kernel.name.as_deref();
        let own = name.and(spec.language.as_deref());
        notebook.set_kernel(name, request.language.as_deref().or(own));
    }
    request.given.part_secrets(&parameters::inspect(&notebook));
    refuse_short_secrets(&request)?;
    parameters::inject(&mut notebook, &request.input, &request.given, request.allow_unknown)?;
    notebook.metadata_mut().remove("widgets");
    for cell in notebook.cells.iter_mut().filter(|cell| cell.is_code()) {
        cell.set_outputs(Vec::new());
        cell.set_execution_count(None);
        cell.metadata_mut().remove("papermill");
        if request.report_mode {
            document::object_in(cell.metadata_mut(), "jupyter")
                .insert("source_hidden".to_owned(), true.into());
        }
    }
    notebook.complete_ids();
    Ok((request, notebook, spec))
}

/// A secret of a few letters stands everywhere by chance: it could not be kept out of the outputs.
fn refuse_short_secrets(request: &ExecuteRequest) -> Result<(), Error> {
    let short = |value: &str| value.chars().count() < rondo_core::mask::SHORTEST;
    let faults: Vec<parameters::ParameterFault> = request
        .given
        .secrets
        .iter()
        .filter(|(_, value)| short(value))
        .map(|(name, _)| parameters::ParameterFault {
            name: name.clone(),
            message: format!(
                "the secret `{name}` is shorter than {} characters and could not be kept out of the outputs",
                rondo_core::mask::SHORTEST
            ),
            hint: None,
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::Parameters { notebook: request.input.clone(), faults })
}

async fn run_cells(
    request: &ExecuteRequest,
    session: &mut Session,
    kernel: &mut Kernel,
    saver: &mut Saver,
    whole: Option<Instant>,
) -> Result<(usize, Option<Halt>), Error> {
    let cells = &session.notebook.cells;
    let turns = turns(cells);
    let stop = cells.iter().position(|cell| cell.has_tag(STOP_TAG)).unwrap_or(cells.len());
    let to_run: Vec<Turn> = turns.iter().copied().take_while(|turn| turn.index < stop).collect();
    let (all, own) = (turns.len(), turns.iter().filter(|turn| turn.number.is_some()).count());
    if to_run.is_empty() {
        let message = "the notebook has no cell to run".to_owned();
        request.progress.report(Event::Note { subject: request.subject.clone(), message });
    }
    let mut number = 0;
    for (done, turn) in to_run.iter().copied().enumerate() {
        let index = turn.index;
        number = turn.number.unwrap_or(number);
        report_cell(request, session, turn, (done, all), own);
        let times = Times::start(request.timestamps);
        let limits =
            Limits { cell: request.cell_timeout.and_then(|limit| Instant::now().checked_add(limit)), whole };
        let end = cell::run(session, kernel, index, limits, request.cancel.clone(), saver).await;
        let Some(cell) = session.notebook.cells.get_mut(index) else { continue };
        let forgiven = cell.has_tag("raises-exception") && matches!(end, CellEnd::Failed(_));
        let failed = !forgiven && !matches!(end, CellEnd::Done | CellEnd::Left);
        record::cell(cell, &times, if failed { Status::Failed } else { Status::Completed });
        if failed {
            session.settle();
            let count = session.notebook.cells.get(index).and_then(document::Cell::execution_count);
            let error = failure(request, kernel, &session.mask, (turn.number, count), end).await;
            record::banner(&mut session.notebook, index);
            return Err(error);
        }
        saver.save(session, false).await?;
        gather(session, index, number);
        if matches!(end, CellEnd::Left) && !forgiven {
            let halt = (done + 1 < all).then_some(Halt::Exit(number, own));
            report_end(request, done + 1, all, halt);
            return Ok((done + 1, halt));
        }
    }
    let halt = (to_run.len() < all).then_some(Halt::Tag(number + 1, own));
    report_end(request, to_run.len(), all, halt);
    Ok((to_run.len(), halt))
}

/// A cell that is run in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// Its place in the notebook.
    index: usize,
    /// Its number, from 1, among the notebook's own cells that are run; none of one that was put in.
    number: Option<usize>,
}

/// The cells that are run.
fn turns(cells: &[document::Cell]) -> Vec<Turn> {
    let skipped = |cell: &document::Cell| SKIP_TAGS.iter().any(|tag| cell.has_tag(tag));
    let mut own = 0;
    let mut turn = |(index, cell): (usize, &document::Cell)| {
        let number = (!cell.has_tag(parameters::INJECTED)).then(|| {
            own += 1;
            own
        });
        Turn { index, number }
    };
    let runs = |cell: &document::Cell| cell.is_code() && !cell.source().trim().is_empty() && !skipped(cell);
    cells.iter().enumerate().filter(|(_, cell)| runs(cell)).map(&mut turn).collect()
}

fn report_end(request: &ExecuteRequest, done: usize, all: usize, halt: Option<Halt>) {
    let message = halt.map_or_else(|| "all cells ran".to_owned(), |halt| halt.to_string());
    let (done, total) = (done as u64, Some(all as u64));
    request.progress.report(Event::Advanced { subject: request.subject.clone(), done, total, message });
}

/// Takes what a cell gives by its tag; where that is nothing, it is said.
fn gather(session: &mut Session, index: usize, number: usize) {
    if !session.notebook.cells.get(index).is_some_and(metrics::is_tagged) {
        return;
    }
    session.settle();
    let language = parameters::language(&session.notebook);
    let Some(cell) = session.notebook.cells.get(index) else { return };
    let values = metrics::shown(cell, language);
    if let Some(lacking) = metrics::lacking(cell, &values) {
        session.note(format!("cell {number} {lacking}"));
    }
    session.values.extend(values);
}

fn report_cell(
    request: &ExecuteRequest,
    session: &Session,
    turn: Turn,
    (done, total): (usize, usize),
    own: usize,
) {
    let source = session.notebook.cells.get(turn.index).map(document::Cell::source).unwrap_or_default();
    let first = source.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let first: String = first.chars().take(60).collect();
    let message = match turn.number {
        Some(number) => format!("cell {number} of {own}: {first}"),
        None => "the parameters".to_owned(),
    };
    let (done, total) = (done as u64, Some(total as u64));
    request.progress.report(Event::Advanced { subject: request.subject.clone(), done, total, message });
}

/// The error that a cell's end means.
async fn failure(
    request: &ExecuteRequest,
    kernel: &mut Kernel,
    mask: &Mask,
    (cell, count): (Option<usize>, Option<u64>),
    end: CellEnd,
) -> Error {
    let notebook = request.input.clone();
    let partial = request.kept.clone().unwrap_or_else(|| Kept::File(request.output.clone()));
    let at = Box::new(CellPlace { notebook: notebook.clone(), cell, count, partial });
    match end {
        CellEnd::Failed(failure) => Error::CellFailed {
            at,
            traceback: LastWords::of(&failure.lines(), LAST_WORDS).map(|words| words.without(mask)),
            evalue: mask.text(failure.value.lines().next().unwrap_or_default()).into_owned(),
            ename: mask.text(&failure.name).into_owned(),
        },
        CellEnd::Stopped(Stop::Cell) => {
            Error::Timeout { at, whole: false, limit: request.cell_timeout.unwrap_or_default() }
        }
        CellEnd::Stopped(Stop::Whole) => {
            Error::Timeout { at, whole: true, limit: request.timeout.unwrap_or_default() }
        }
        CellEnd::Stopped(Stop::User) => Error::Interrupted { notebook },
        CellEnd::Died(exit) => Error::KernelDied {
            at,
            exit,
            memory: kernel.process.memory_cause(),
            peak_memory: kernel.process.peak_memory(),
            last_words: kernel.process.last_words(LAST_WORDS).await,
        },
        CellEnd::Unreachable(error) => error,
        // Neither is a failure; callers sort them out.
        CellEnd::Done | CellEnd::Left => Error::Interrupted { notebook },
    }
}
