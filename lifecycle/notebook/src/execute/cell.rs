//! Runs one cell: sends it, gathers what comes back, and knows when it is over.
//!
//! A cell is done when its reply *and* the kernel's idle state for it have come; either alone loses outputs.
//! A cell that has to stop is interrupted first, so that its traceback says where it was, and then killed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::mask::Mask;
use rondo_core::ports::{Event, Progress};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::document::Notebook;
use crate::error::{Error, raised};
use crate::execute::ExecuteRequest;
use crate::execute::saver::Saver;
use crate::execute::tee::Tee;
use crate::execute::widgets::Widgets;
use crate::kernel::Kernel;
use crate::kernel::client::{Incoming, cancelled};
use crate::kernel::connection::Channel;
use crate::kernel::process::Exit;
use crate::lines::Lines;
use crate::metrics;
use crate::outputs::{Failure, OutputArea, plain};
use crate::wire::Message;

/// How long an interrupted cell may take to stop before its kernel is killed.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);
/// How long outputs are waited for after the reply, counted from the last one.
const IDLE_PATIENCE: Duration = Duration::from_secs(20);
/// How long a dead kernel's last messages may take.
const LAST_MESSAGES: Duration = Duration::from_millis(200);
/// How often a kernel that says nothing is looked after.
const LOOK: Duration = Duration::from_secs(3);
/// Lines of a result that are shown to who watches.
const SHOWN_LINES: usize = 40;
/// A moment that never comes within a run.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// How a cell ended.
#[derive(Debug)]
pub enum CellEnd {
    /// Well.
    Done,
    /// By `sys.exit(0)`: the notebook ends here, and well.
    Left,
    /// With an error of its code.
    Failed(Failure),
    /// Because it had to stop.
    Stopped(Stop),
    /// With its kernel.
    Died(Exit),
    /// The kernel lives but cannot be reached.
    Unreachable(Error),
}

/// Why a cell had to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It took too long.
    Cell,
    /// The notebook took too long.
    Whole,
    /// The user wants it.
    User,
}

/// Until when a cell may run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// By its own limit.
    pub cell: Option<Instant>,
    /// By the notebook's.
    pub whole: Option<Instant>,
}

/// Where an output stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Below a cell.
    Cell(usize),
    /// In the widget of this id.
    Widget(String),
}

/// A notebook while it runs.
pub struct Session {
    /// The notebook; outputs reach it with [`Session::settle`].
    pub notebook: Notebook,
    /// What cells gave by name.
    pub values: BTreeMap<String, Value>,
    /// What is to be said of cells that went well.
    pub notes: Vec<String>,
    /// What keeps secrets out of what is written.
    pub mask: Mask,
    /// Files that get what is printed.
    pub tee: Tee,
    areas: HashMap<usize, OutputArea>,
    unsettled: HashSet<usize>,
    /// The cell of each request: a late output of an earlier cell belongs to that cell.
    requests: HashMap<String, usize>,
    /// Where each display id is shown, and as which output there.
    displays: HashMap<String, Vec<(Place, usize)>>,
    widgets: Widgets,
    lines: Lines,
    limit: usize,
    progress: Arc<dyn Progress>,
    subject: String,
}

impl Session {
    /// A session before its first cell.
    pub fn new(notebook: Notebook, request: &ExecuteRequest, mask: Mask, tee: Tee) -> Self {
        Self {
            notebook,
            values: BTreeMap::new(),
            notes: Vec::new(),
            mask,
            tee,
            areas: HashMap::new(),
            unsettled: HashSet::new(),
            requests: HashMap::new(),
            displays: HashMap::new(),
            widgets: Widgets::new(request.output_limit),
            lines: Lines::default(),
            limit: request.output_limit,
            progress: request.progress.clone(),
            subject: request.subject.clone(),
        }
    }

    /// Puts the outputs so far into the notebook.
    pub fn settle(&mut self) {
        for index in self.unsettled.drain() {
            if let (Some(area), Some(cell)) = (self.areas.get(&index), self.notebook.cells.get_mut(index)) {
                cell.set_outputs(area.outputs().to_vec());
            }
        }
        if let Some(widgets) = self.widgets.metadata() {
            self.notebook.metadata_mut().insert("widgets".to_owned(), widgets);
        }
    }

    /// Keeps and tells what is to be said although the cells go well.
    pub fn note(&mut self, message: String) {
        self.progress.report(Event::Note { subject: self.subject.clone(), message: message.clone() });
        self.notes.push(message);
    }

    /// Notes that widgets are missing from the notebook, where some are.
    pub fn note_forgotten(&mut self) {
        if self.widgets.has_forgotten() {
            self.note(format!("widgets beyond {} bytes in all are not kept in the notebook", self.limit));
        }
    }

    /// Lets the cell or the widget at a place take something.
    fn give<T>(&mut self, place: &Place, give: impl FnOnce(&mut OutputArea) -> T) -> Option<T> {
        match place {
            Place::Cell(cell) => Some(give(self.area(*cell))),
            Place::Widget(id) => self.widgets.give(id, give),
        }
    }

    fn area(&mut self, cell: usize) -> &mut OutputArea {
        self.unsettled.insert(cell);
        self.areas.entry(cell).or_insert_with(|| OutputArea::new(self.limit))
    }

    fn tell(&self, lines: Vec<String>) {
        for line in lines {
            let line = self.mask.text(&line).into_owned();
            self.progress.report(Event::Output { subject: self.subject.clone(), line });
        }
    }

    /// Takes one message from iopub; whether it says that the kernel is idle after the request.
    fn take(&mut self, message: &Message, request: &str) -> bool {
        let Some(&cell) = self.requests.get(message.parent_id()) else { return false };
        let taker = self.widgets.taker(message.parent_id());
        let place = taker.map_or(Place::Cell(cell), |id| Place::Widget(id.to_owned()));
        let content = &message.content;
        match message.kind() {
            "status" => {
                return message.parent_id() == request
                    && content.get("execution_state").is_some_and(|state| state == "idle");
            }
            "stream" => self.stream(&place, content),
            "display_data" => self.display(place, content, false),
            "execute_result" => self.display(place, content, true),
            "update_display_data" => self.update(content),
            "comm_open" | "comm_msg" | "comm_close" => self.widgets.take(message),
            "error" => {
                self.give(&place, |area| area.error(content));
                let failure = Failure::read(content);
                let lines = self.lines.flush();
                self.tell(lines);
                self.tell(vec![raised(&failure.name, &plain(&failure.value))]);
            }
            "clear_output" => {
                let wait = content.get("wait").and_then(Value::as_bool).unwrap_or(false);
                self.give(&place, |area| area.clear(wait));
                for places in self.displays.values_mut() {
                    places.retain(|(shown, _)| *shown != place);
                }
            }
            "execute_input" => {
                if let Some(cell) = self.notebook.cells.get_mut(cell) {
                    cell.set_execution_count(content.get("execution_count").and_then(Value::as_u64));
                }
            }
            _ => {}
        }
        false
    }

    fn stream(&mut self, place: &Place, content: &Value) {
        let name = match content.get("name").and_then(Value::as_str) {
            Some("stderr") => "stderr",
            Some(_) | None => "stdout",
        };
        let text = content.get("text").and_then(Value::as_str).unwrap_or_default();
        self.give(place, |area| area.stream(name, text));
        self.tee.push(name, text, &self.mask);
        let lines = self.lines.push(name, text, &self.mask);
        self.tell(lines);
    }

    fn display(&mut self, place: Place, content: &Value, result: bool) {
        match metrics::scrap(content) {
            Some((name, value)) => {
                self.values.insert(name, value);
            }
            None => {
                let mut lines = self.lines.flush();
                lines.extend(shown(content, result));
                self.tell(lines);
            }
        }
        let add = if result { OutputArea::result } else { OutputArea::display };
        let output = self.give(&place, |area| add(area, content)).flatten();
        let id = content
            .get("transient")
            .and_then(|transient| transient.get("display_id"))
            .and_then(Value::as_str);
        if let (Some(output), Some(id)) = (output, id) {
            self.displays.entry(id.to_owned()).or_default().push((place, output));
        }
    }

    fn update(&mut self, content: &Value) {
        let id = content
            .get("transient")
            .and_then(|transient| transient.get("display_id"))
            .and_then(Value::as_str);
        let places = id.and_then(|id| self.displays.get(id)).cloned().unwrap_or_default();
        for (place, output) in places {
            self.give(&place, |area| area.update(output, content));
        }
    }

    /// Takes the reply: how the cell ended.
    fn close(&mut self, cell: usize, reply: &Value) -> CellEnd {
        let lines = self.lines.flush();
        self.tell(lines);
        match reply.get("status").and_then(Value::as_str) {
            Some("error") => {
                let failure = Failure::read(reply);
                if failure.name == "SystemExit" && matches!(failure.value.trim(), "" | "0" | "None") {
                    return CellEnd::Left;
                }
                // Some kernels tell the error in the reply alone.
                if !self.area(cell).has_error() {
                    self.area(cell).error(reply);
                }
                CellEnd::Failed(failure)
            }
            Some("aborted" | "abort") => CellEnd::Failed(Failure {
                name: "Aborted".to_owned(),
                value: "the kernel did not run the cell".to_owned(),
                traceback: Vec::new(),
            }),
            Some(_) | None => CellEnd::Done,
        }
    }
}

/// What a display looks like to who watches lines: its text, or what it is.
fn shown(content: &Value, result: bool) -> Vec<String> {
    let Some(data) = content.get("data").and_then(Value::as_object) else { return Vec::new() };
    let count = content.get("execution_count").and_then(Value::as_u64);
    let picture = data.iter().find(|(media, _)| media.starts_with("image/"));
    let mut lines: Vec<String> = match (picture, data.get("text/plain")) {
        (Some((media, picture)), _) => {
            let bytes = picture.as_str().map_or(0, str::len);
            vec![format!("[{media}, {} kB]", bytes.div_ceil(1024))]
        }
        (None, Some(text)) => plain(&crate::document::joined(text)).lines().map(str::to_owned).collect(),
        (None, None) => data.keys().next().map(|media| format!("[{media}]")).into_iter().collect(),
    };
    if lines.len() > SHOWN_LINES {
        let more = lines.len() - SHOWN_LINES;
        lines.truncate(SHOWN_LINES);
        lines.push(format!("… {more} more lines"));
    }
    if let (true, Some(count), Some(first)) = (result, count, lines.first_mut()) {
        *first = format!("Out[{count}]: {first}");
    }
    lines
}

/// Runs the cell at a place. Its outputs are in the session, also when it fails.
pub async fn run(
    session: &mut Session,
    kernel: &mut Kernel,
    index: usize,
    limits: Limits,
    mut cancel: watch::Receiver<bool>,
    saver: &mut Saver,
) -> CellEnd {
    let source = session.notebook.cells.get(index).map(crate::document::Cell::source).unwrap_or_default();
    let request = match kernel.run(&source).await {
        Ok(request) => request,
        Err(error) => return unreachable(kernel, error).await,
    };
    session.requests.insert(request.clone(), index);
    let mut reply: Option<Value> = None;
    let mut idle = false;
    let mut stop: Option<(Stop, Instant)> = None;
    let mut heard = Instant::now();
    let mut deaf = 0;
    loop {
        if let (Some(reply), true) = (&reply, idle) {
            let end = session.close(index, reply);
            for (widget, outputs) in session.widgets.untold() {
                kernel.tell_widget(&widget, json!({ "outputs": outputs })).await;
            }
            return stop.map_or(end, |(why, _)| CellEnd::Stopped(why));
        }
        let waiting = reply.is_some().then(|| heard + IDLE_PATIENCE);
        let alarm = next_alarm(limits, stop, waiting);
        let save = saver.due().unwrap_or_else(|| Instant::now() + NEVER);
        tokio::select! {
            Some(Incoming { channel, message }) = kernel.incoming.recv() => match channel {
                Channel::Iopub => {
                    heard = Instant::now();
                    idle |= session.take(&message, &request);
                }
                _ if message.kind() == "execute_reply" && message.parent_id() == request => {
                    heard = Instant::now();
                    reply = Some(message.content);
                }
                _ => {}
            },
            exit = kernel.process.ended() => {
                while let Ok(Some(Incoming { channel, message })) = timeout(LAST_MESSAGES, kernel.incoming.recv()).await {
                    if channel == Channel::Iopub {
                        session.take(&message, &request);
                    }
                }
                session.close(index, &Value::Null);
                return stop.map_or(CellEnd::Died(exit), |(why, _)| CellEnd::Stopped(why));
            }
            () = sleep(LOOK) => {
                deaf = if kernel.is_listening().await { 0 } else { deaf + 1 };
                if deaf == 2 {
                    let reason = "its process lives and has closed its sockets".to_owned();
                    return CellEnd::Unreachable(Error::Channel { channel: "shell", reason });
                }
            }
            () = sleep_until(save) => {
                // What cannot be written now is told by the copy that has to be.
                let _ = saver.save(session, true).await;
            }
            () = cancelled(&mut cancel), if stop.is_none() => {
                stop = Some((Stop::User, Instant::now() + INTERRUPT_GRACE));
                kernel.interrupt().await;
            }
            () = sleep_until(alarm) => match (stop, due(limits)) {
                (Some((why, until)), _) if Instant::now() >= until => {
                    kernel.process.signal(libc::SIGKILL);
                    stop = Some((why, Instant::now() + INTERRUPT_GRACE));
                }
                (None, Some(why)) => {
                    stop = Some((why, Instant::now() + INTERRUPT_GRACE));
                    kernel.interrupt().await;
                }
                // The reply has come and no output for long: the idle message was lost on its way.
                (_, _) => idle |= reply.is_some(),
            },
        }
    }
}

/// The next moment at which something has to be done.
fn next_alarm(limits: Limits, stop: Option<(Stop, Instant)>, waiting: Option<Instant>) -> Instant {
    let ends = match stop {
        Some((_, until)) => [Some(until), None],
        None => [limits.cell, limits.whole],
    };
    ends.into_iter().flatten().chain(waiting).min().unwrap_or_else(|| Instant::now() + NEVER)
}

/// Which limit has passed.
fn due(limits: Limits) -> Option<Stop> {
    let passed = |limit: Option<Instant>| limit.is_some_and(|limit| Instant::now() >= limit);
    if passed(limits.whole) {
        Some(Stop::Whole)
    } else if passed(limits.cell) {
        Some(Stop::Cell)
    } else {
        None
    }
}

/// A cell could not be sent: most likely because the kernel has just died.
async fn unreachable(kernel: &Kernel, error: Error) -> CellEnd {
    match timeout(Duration::from_secs(2), kernel.process.ended()).await {
        Ok(exit) => CellEnd::Died(exit),
        Err(_) => CellEnd::Unreachable(error),
    }
}
