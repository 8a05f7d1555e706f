//! One try of a step: a row, a folder, a process (or a package in Rust), and what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rondo_core::handoff::StepInputs;
use rondo_core::ports::{Builtin, BuiltinCall, Confinement, Event, TrackingAccess};
use rondo_core::run::{Code, Exit, Link, RunDetail, RunState};
use rondo_core::sweep::TrialState;
use rondo_core::{Digest, RunId};
use rondo_project::package::expand::INNER;
use rondo_project::project::{Reference, SqlSource, Step, Work};
use rondo_project::substitute::{self, Values};
use rondo_store::meta::cache::Ending;
use rondo_store::objects::{Lent, Take};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::image::Boxed;
use super::log::{Log, Logged};
use super::outputs::{self, chain, variable};
use super::process::{self, Command, cancelled};
use super::{cause, confine, folders, shell};
use crate::Error;
use crate::builtins::container::Running;
use crate::environment::host::{base_variables, search_path, tool_variables};
use crate::environment::kind::Kind;
use crate::environment::provision::Provisioned;
use crate::graph::{Node, Source};
use crate::isolation::{Confined, Level};
use crate::packages::{self, SQL, params};
use crate::plan::{Doer, Keyed, sql_threads};
use crate::run::record;
use crate::run::session::Session;

/// What came of one try.
pub struct Attempt {
    /// Its run.
    pub run: RunId,
    /// Whether it ended well.
    pub ok: bool,
    /// What it made.
    pub outputs: Vec<Link>,
    /// Why it failed.
    pub cause: Option<String>,
    /// The last lines of its log.
    pub tail: Vec<String>,
    /// Its end, where that is not on the disk yet.
    pub ending: Option<Ending>,
}

impl Attempt {
    /// Waits until its end is on the disk.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn recorded(&mut self) -> Result<(), Error> {
        match self.ending.take() {
            Some(ending) => Ok(ending.written(Duration::ZERO).await?),
            None => Ok(()),
        }
    }
}

/// What the work itself came to, before its outputs are looked at.
#[derive(Default)]
struct Worked {
    exit: Exit,
    metrics: BTreeMap<String, f64>,
    artifacts: BTreeMap<String, PathBuf>,
}

/// What one try made and how it ended; where it failed, how it ended.
type Through = Result<(Vec<Link>, Exit), Exit>;

/// The folders and the contract of one try.
pub(super) struct Bench {
    pub folder: PathBuf,
    pub contract: StepInputs,
    /// Where its command runs and its files are: the project, or a copy of its package.
    pub root: PathBuf,
    matrix: BTreeMap<String, Value>,
    /// What was lent to it, by the input's name.
    lent: Vec<(String, Lent)>,
    cards: Vec<u32>,
    file: PathBuf,
    log: Log,
    /// What its processes are kept to, once that is known.
    confined: OnceLock<Arc<Confined>>,
}

/// What stands in the file that `RONDO_STEP_FILE` names.
#[derive(Serialize)]
struct StepFile<'a> {
    #[serde(flatten)]
    contract: &'a StepInputs,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    matrix: &'a BTreeMap<String, Value>,
    /// Of an input that gathers the combinations of a matrix: which path is which.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    each: BTreeMap<String, Vec<OneOfMany>>,
}

/// One combination's output among others.
#[derive(Serialize)]
struct OneOfMany {
    matrix: BTreeMap<String, Value>,
    path: PathBuf,
}

/// Tries a node once. `cards` are the numbers of the graphics cards that it may use.
///
/// # Errors
/// When the disk or the store refuses; a step that fails is no error.
pub async fn attempt(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    number: u32,
    cards: &[u32],
) -> Result<Attempt, Error> {
    session.watch_memory();
    let id = node.trial.as_ref().map_or_else(RunId::random, |trial| trial.run);
    let mut detail = first_detail(session, step, keyed, number).await;
    if let Some(trial) = &node.trial {
        detail.params.extend(trial.trial.values.clone());
        detail.trial = Some(Box::new(trial.trial.clone()));
    }
    let given = notebook_parameters(session, node, step);
    record::begin_step(session, id, node, &detail, &given, keyed.environment.is_some()).await?;
    let _admitted = Admitted { tracking: session.tracking.as_ref(), id };
    let ended = match bench(session, node, step, keyed, id, cards) {
        Ok(bench) => {
            let ended = within(session, node, step, keyed, &bench).await;
            let ended = unspoilt(session, node, &bench, ended)?;
            let log = keep_log(session, node, &bench);
            let ended = explained(session, node, &bench, ended, log.as_ref(), &mut detail);
            // What the step made that nobody declared goes. A folder that something may still use, hidden by a
            // confinement or left by a try that was stopped, is not another's.
            if ended.is_ok() && bench.confined.get().is_none() {
                session.folders.give_back(bench.folder);
            } else {
                drop(fs::remove_dir_all(&bench.folder));
            }
            (ended, log)
        }
        Err(error) => (Err(failed(chain(&error))), None),
    };
    finish(session, id, node, step, keyed, detail, ended).await
}

/// How a confined step ended, with the undeclared files that it was refused: a part of why it failed, or said
/// where it went on without them.
fn explained(
    session: &Session,
    node: &Node,
    bench: &Bench,
    ended: Through,
    log: Option<&(Digest, Vec<String>)>,
    detail: &mut RunDetail,
) -> Through {
    let Some(confined) = bench.confined.get() else { return ended };
    // What a step that went well says last is no complaint.
    let tail = log.map(|(_, tail)| tail.as_slice()).filter(|_| ended.is_err()).unwrap_or_default();
    let refused = confined.refused(tail);
    if refused.is_empty() {
        return ended;
    }
    let said = confined.told(&refused, &node.name);
    detail.refused = refused;
    ended
        .map_err(|exit| {
            let cause = exit.cause.as_ref().map_or_else(|| said.clone(), |cause| format!("{cause}; {said}"));
            Exit { cause: Some(cause), ..exit }
        })
        .inspect(|_| {
            let message = format!("it was refused what it asked for, and went on: {said}");
            session.progress.report(Event::Note { subject: node.name.clone(), message });
        })
}

/// Takes the log into the store. What could not be written of it is said; it is no reason to fail.
fn keep_log(session: &Session, node: &Node, bench: &Bench) -> Option<(Digest, Vec<String>)> {
    let written = bench.log.finish();
    let note = |message: String| {
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    };
    if let Some(error) = &written.broken {
        note(format!("its log is not whole: {error}"));
    }
    if written.dropped > 0 {
        note(format!("its log is long: {} bytes in its middle were left out", written.dropped));
    }
    let objects = session.store.objects();
    let stored = match &written.path {
        Some(path) => objects.put_path(path, Take::Move),
        None => session.nothing(),
    };
    match stored {
        Ok(stored) => Some((stored.digest, written.tail)),
        Err(error) => {
            note(format!("its log cannot be kept: {}", chain(&error)));
            None
        }
    }
}

/// Looks whether what the step was to read only is still there and the same; if not, the step has failed.
fn unspoilt(session: &Session, node: &Node, bench: &Bench, ended: Through) -> Result<Through, Error> {
    let mut spoilt = Vec::new();
    for (name, lent) in &bench.lent {
        if !session.store.objects().take_back(lent)?.is_empty() {
            spoilt.push(name.as_str());
        }
    }
    if spoilt.is_empty() {
        return Ok(ended);
    }
    let exit = match ended {
        Ok((_, exit)) | Err(exit) => exit,
    };
    let names = spoilt.join("`, `");
    let cause = format!(
        "it changed or removed its input `{names}`, which is only to be read: copy it first; what made it \
         runs again next time"
    );
    tracing::warn!("step {} spoilt its input {names}", node.name);
    Ok(Err(Exit { cause: Some(cause), ..exit }))
}

async fn finish(
    session: &Session,
    id: RunId,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    mut detail: RunDetail,
    (ended, log): (Through, Option<(Digest, Vec<String>)>),
) -> Result<Attempt, Error> {
    let (log, tail) = log.unzip();
    detail.log = log;
    let (ok, outputs, exit) = match ended {
        Ok((outputs, exit)) => (true, outputs, exit),
        Err(exit) => (false, Vec::new(), exit),
    };
    let behind = node.trial.as_ref().and_then(|trial| trial.behind.get()).filter(|_| !ok);
    let state = match (ok, session.is_cancelled() || behind.is_some()) {
        (true, _) => RunState::Finished,
        (false, true) => RunState::Killed,
        (false, false) => RunState::Failed,
    };
    let cause = behind.cloned().or_else(|| exit.cause.clone());
    let exit = Exit { cause: cause.clone(), ..exit };
    if let Some(trial) = detail.trial.as_mut().filter(|_| behind.is_some()) {
        trial.state = TrialState::Pruned;
    }
    detail.outputs.clone_from(&outputs);
    detail.exit = Some(exit);
    let now = session.clock.now();
    let kept = step.cache && !confine::is_unheld(session, step, keyed, &detail);
    let ending = if ok && kept && session.request.again.is_none() {
        Some(record::end_kept(&session.store, id, detail, keyed.key, &node.name, now)?)
    } else {
        record::end(&session.store, id, state, detail, now).await?;
        None
    };
    let tail = if ok { Vec::new() } else { tail.unwrap_or_default() };
    Ok(Attempt { run: id, ok, outputs, cause, tail, ending })
}

/// Closes the tracking server to a step again, however its try ends.
struct Admitted<'a> {
    tracking: &'a dyn TrackingAccess,
    id: RunId,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.tracking.dismiss(self.id);
    }
}

/// An error with what to do about it.
fn hinted(error: &Error) -> String {
    let hints = rondo_core::Explain::hints(error);
    let hint = hints.first().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    format!("{}{hint}", chain(error))
}

fn failed(cause: impl Into<String>) -> Exit {
    Exit { cause: Some(cause.into()), ..Exit::default() }
}

pub(crate) async fn first_detail(session: &Session, step: &Step, keyed: &Keyed, number: u32) -> RunDetail {
    let commit = session.commit().await;
    session.keep_code(&keyed.code).await;
    let environment = match &keyed.environment {
        Some(lock) => Some((lock.name.clone(), lock.digest)),
        None => session.host_tools().await.map(|digest| ("host".to_owned(), digest)),
    };
    let kind = keyed.environment.as_ref().map(|lock| lock.kind);
    let level = confine::level(session, step, kind).ok().filter(|level| *level != Level::None);
    let isolation = level.map(|level| level.text().to_owned());
    RunDetail {
        key: Some(keyed.key),
        key_parts: keyed.parts.clone(),
        attempt: number,
        inputs: keyed.inputs.clone(),
        code: Code { commit: commit.id.clone(), dirty: commit.dirty, files: keyed.code.clone() },
        environment,
        isolation,
        platform: crate::platform::platform(),
        params: keyed.params.clone(),
        started_by: session.request.started_by.clone(),
        ..RunDetail::default()
    }
}

/// The `parameters:` of a package's `with:` block with their values: what a notebook is run with.
fn notebook_parameters(session: &Session, node: &Node, step: &Step) -> Value {
    let Work::Uses { with, .. } = &step.work else { return Value::Null };
    let (nothing, matrix) = (BTreeMap::new(), node.values());
    let params = session.planner.used_params(node, step);
    let values = Values { params: &params, inputs: &nothing, outputs: &nothing, matrix: Some(&matrix) };
    let parameters = with.get("parameters").and_then(Value::as_object).into_iter().flatten();
    // Those that name a file of this try are left out: they say nothing about the run.
    let filled =
        parameters.filter_map(|(name, value)| Some((name.clone(), substitute::value(value, &values).ok()?)));
    Value::Object(filled.collect())
}

/// Makes the folders of a try: inputs under their local names, a place for the outputs, the log.
fn bench(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    id: RunId,
    cards: &[u32],
) -> Result<Bench, Error> {
    let folder = session.folder(node);
    session.folders.take(&folder).map_err(Error::io("make", &folder))?;
    let [into, out] = folders::INNER.map(|inner| folder.join(inner));
    if !matches!(step.work, Work::Run { .. }) {
        let scratch = folder.join("scratch");
        fs::create_dir(&scratch).map_err(Error::io("make", &scratch))?;
    }
    let mut inputs = BTreeMap::new();
    let mut lent = Vec::new();
    for link in &keyed.inputs {
        let extension = if link.folder { String::new() } else { extension(session, step, &link.name) };
        let place = into.join(format!("{}{extension}", link.name));
        lent.push((link.name.clone(), session.store.objects().lend(link.digest, link.folder, &place)?));
        inputs.insert(link.name.clone(), place);
    }
    let outputs = outputs::places(&out, &step.outputs);
    for folder in outputs.values().filter_map(|place| place.parent()).filter(|folder| **folder != out) {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let contract = StepInputs {
        project: session.planner.project.name.clone(),
        step: node.name.clone(),
        run: id,
        key: keyed.key,
        params: params::placed(step.packaged.as_ref(), &keyed.params, &session.planner.root),
        inputs,
        outputs,
        metrics: step.metrics.as_ref().map(|path| folder.join("metrics").join(outputs::file_name(path))),
    };
    if let Some(folder) = contract.metrics.as_deref().and_then(Path::parent) {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let (file, matrix) = (folder.join("step.json"), node.values());
    let text = StepFile { contract: &contract, matrix: &matrix, each: each(session, node, &contract) };
    let text = serde_json::to_vec_pretty(&text).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    let log = Log::new(&folder.join("log"), &node.name, session.progress.clone());
    let root = match &step.packaged {
        Some(packaged) => {
            let copy = folder.join("package");
            packages::folder::lay_out(&session.planner.root.join(&packaged.folder), &copy)?;
            copy
        }
        None => session.planner.root.clone(),
    };
    let (cards, confined) = (cards.to_vec(), OnceLock::new());
    Ok(Bench { folder, contract, root, matrix, lent, cards, file, log, confined })
}

/// The inputs that gather the combinations of a matrix, each with its paths.
fn each(session: &Session, node: &Node, contract: &StepInputs) -> BTreeMap<String, Vec<OneOfMany>> {
    let mut all = BTreeMap::new();
    for (local, source) in &node.inputs {
        let (Source::Each { entries, output }, Some(folder)) = (source, contract.inputs.get(local)) else {
            continue;
        };
        let one = |(name, place): &(String, usize)| {
            let need = session.planner.graph.node(*place)?;
            let path = session.planner.gathered_name(name, need, output)?;
            Some(OneOfMany { matrix: need.values(), path: folder.join(path) })
        };
        all.insert(local.clone(), entries.iter().filter_map(one).collect());
    }
    all
}

/// The ending of an input's file name: that of the path or source it comes from.
fn extension(session: &Session, step: &Step, local: &str) -> String {
    let project = &session.planner.project;
    match step.inputs.get(local) {
        Some(Reference::Output { step, output }) => {
            let path = project.steps.get(step).and_then(|step| step.outputs.get(output));
            path.map(|path| ending(outputs::file_name(path))).unwrap_or_default()
        }
        Some(Reference::Data { dataset }) => {
            let Some(dataset) = project.data.get(dataset) else { return String::new() };
            if let Some(format) = &dataset.format {
                return format!(".{}", format.trim_start_matches('.'));
            }
            let path = dataset.source.split(['?', '#']).next().unwrap_or_default();
            let file = outputs::file_name(path);
            // An archive's one file and a compressed file are stored unpacked.
            let plain = [".zip", ".gz"].iter().find_map(|packed| file.strip_suffix(packed)).unwrap_or(file);
            ending(plain)
        }
        None => String::new(),
    }
}

fn ending(file: &str) -> String {
    let ending = Path::new(file).extension().map(|ending| ending.to_string_lossy().into_owned());
    ending.map(|ending| format!(".{ending}")).unwrap_or_default()
}

/// The way through one try. What fails gives how it ended.
async fn within(session: &Session, node: &Node, step: &Step, keyed: &Keyed, bench: &Bench) -> Through {
    let told = |error: Error| failed(chain(&error));
    let environment = match &keyed.environment {
        Some(lock) => {
            let environment = session.planner.environments.provision(lock).await.map_err(told)?;
            record::running(session, bench.contract.run).await.map_err(told)?;
            Some(environment)
        }
        None => None,
    };
    session.progress.report(Event::Started { subject: node.name.clone(), message: "running".to_owned() });
    let worked = work(session, node, step, keyed, bench, environment.as_ref()).await?;
    if worked.exit.cause.is_some() {
        return Err(worked.exit);
    }
    let exit = worked.exit.clone();
    let with_cause = |cause: String| Exit { cause: Some(cause), ..exit.clone() };
    keep_metrics(session, step, bench, worked.metrics).await.map_err(with_cause)?;
    keep_artifacts(session, bench, worked.artifacts).await.map_err(|error| with_cause(chain(&error)))?;
    let objects = session.store.objects().clone();
    let owner = node.owner().to_owned();
    let (declared, places) = (step.outputs.clone(), bench.contract.outputs.clone());
    let small = outputs::are_small(&places);
    let collect = move || outputs::collect(&objects, &owner, &declared, &places);
    let collected = if small { Ok(collect()) } else { tokio::task::spawn_blocking(collect).await };
    let links = collected.map_err(|error| with_cause(error.to_string()))?.map_err(with_cause)?;
    Ok((links, worked.exit))
}

async fn work(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    bench: &Bench,
    environment: Option<&Provisioned>,
) -> Result<Worked, Exit> {
    let mut variables = variables(session, bench, environment);
    let confined = confine::confined(session, step, keyed, bench, environment, &mut variables);
    let confined = confined.map_err(|error| failed(hinted(&error)))?;
    if let Some(confined) = &confined {
        // Set once: a try has one process.
        let _ = bench.confined.set(confined.clone());
    }
    variables.extend(params::secrets(step.packaged.as_ref(), &session.host).map_err(failed)?);
    let values = Values { matrix: Some(&bench.matrix), ..Values::of(&bench.contract) };
    let expression = |source| failed(chain(&Error::Expression { step: node.name.clone(), source }));
    let mark = Some(format!("RONDO_STEP_FILE={}", bench.file.display()));
    let (name, _) = session.planner.definition(node).map_err(|error| failed(chain(&error)))?;
    let limit = step.timeout.and_then(|span| u64::try_from(span.millis()).ok()).map(Duration::from_millis);
    let mut running = None;
    let command = match session.planner.doer(name, step).map_err(|error| failed(chain(&error)))? {
        Doer::Shell(command) if is_of(environment, Kind::Image) => {
            let text = shell::command(command, &values).map_err(expression)?;
            let (Some(environment), Some(confined)) = (environment, &confined) else {
                return Err(failed("its image is not known"));
            };
            let engine = environment.places.first().map(PathBuf::as_path).unwrap_or(Path::new("podman"));
            let run = bench.contract.run;
            running = Some(Running::new(engine, run, Some(&bench.folder), &tool_variables(&session.host)));
            let (surroundings, image) = (&confined.surroundings, environment.version.as_str());
            let (variables, host, own_network) = (&variables, &session.host, confined.own_network);
            let command = &text;
            Boxed { engine, image, command, surroundings, own_network, variables, host, run }.command(mark)
        }
        Doer::Sql(_) | Doer::Builtin(..) if environment.is_some_and(Provisioned::has_root) => {
            let what = "a command runs in a root file system of its own; SQL and packages in Rust do not";
            return Err(failed(what));
        }
        Doer::Shell(command) if is_of(environment, Kind::Rootfs) => {
            let text = shell::command(command, &values).map_err(expression)?;
            let arguments = vec!["-c".into(), text.into()];
            Command { program: "/bin/sh".into(), arguments, folder: bench.root.clone(), variables, mark }
        }
        Doer::Shell(command) => {
            let text = shell::command(command, &values).map_err(expression)?;
            let program = session.shell(search_path(&variables));
            let arguments = vec!["-c".into(), text.into()];
            Command { program, arguments, folder: bench.root.clone(), variables, mark }
        }
        Doer::Sql(source) => {
            let text = sql_text(&bench.root, source).map_err(|error| failed(chain(&error)))?;
            let text = shell::sql(&text, &values).map_err(expression)?;
            let command = sql_command(step, bench, environment, &text, variables);
            Command { mark, ..command.map_err(|error| failed(chain(&error)))? }
        }
        Doer::Builtin(builtin, with) => {
            let filled = shell::with(&with, builtin.commands(), &values);
            let call = BuiltinCall {
                step: bench.contract.clone(),
                with: filled.map_err(expression)?,
                root: bench.root.clone(),
                scratch: bench.folder.join("scratch"),
                python: environment.and_then(|environment| environment.python.clone()),
                environment: variables,
                confinement: confined.map(|confined| confined as Arc<dyn Confinement>),
                progress: Arc::new(Logged { log: bench.log.clone(), progress: session.progress.clone() }),
            };
            let kept = call.kept();
            let ended = in_process(stop(session, node), builtin, call, limit).await;
            return keep_left(session, bench, &kept, ended).await;
        }
    };
    let mut take = |bytes: &[u8]| bench.log.take(bytes);
    let kept = confined.as_deref().map(|confined| confined as &dyn Confinement);
    let ended = process::run_confined(&command, kept, limit, &mut stop(session, node), &mut take).await;
    let ended = ended
        .map_err(|error| failed(format!("`{}` cannot be started: {error}", command.program.display())))?;
    if let (Some(running), Some(0)) = (running, ended.code) {
        running.ended();
    }
    // A sandbox ends what is in it with itself, and is still about it when its program has ended.
    let is_sandbox = |name: &&String| confined.is_some() && name.starts_with("bwrap (");
    let left: Vec<&str> = ended.left.iter().filter(|name| !is_sandbox(name)).map(String::as_str).collect();
    if !left.is_empty() {
        let message = format!("it left running what was then ended: {}", left.join(", "));
        bench.log.take(format!("[{message}]\n").as_bytes());
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    }
    let memory = || session.ran_out_of_memory();
    Ok(Worked { exit: cause::exit(&ended, limit, memory), ..Worked::default() })
}

fn is_of(environment: Option<&Provisioned>, kind: Kind) -> bool {
    environment.is_some_and(|environment| environment.kind == kind)
}

fn sql_text(root: &Path, source: &SqlSource) -> Result<String, Error> {
    match source {
        SqlSource::Text(text) => Ok(text.clone()),
        SqlSource::File(path) => {
            let place = root.join(path);
            fs::read_to_string(&place).map_err(Error::io("read", &place))
        }
    }
}

fn sql_command(
    step: &Step,
    bench: &Bench,
    environment: Option<&Provisioned>,
    text: &str,
    variables: BTreeMap<String, String>,
) -> Result<Command, Error> {
    let (program, script) = (bench.folder.join("run.py"), bench.folder.join("script.sql"));
    for (place, text) in [(&program, SQL.program), (&script, text)] {
        fs::write(place, text).map_err(Error::io("write", place))?;
    }
    let python = environment.and_then(|environment| environment.python.clone());
    let missing = || Error::PythonMissing { environment: SQL.name.to_owned(), wanted: SQL.python.to_owned() };
    let python = python.ok_or_else(missing)?;
    let mut arguments = vec![program.into_os_string(), "--script".into(), script.into_os_string()];
    arguments.extend(["--threads".into(), sql_threads(step).to_string().into()]);
    arguments.extend(["--temporary".into(), bench.folder.join("scratch").into_os_string()]);
    if let Some(memory) = step.resources.memory {
        arguments.extend(["--memory".into(), memory.to_string().into()]);
    }
    Ok(Command { program: python, arguments, folder: bench.root.clone(), variables, mark: None })
}

/// All that the step's process finds in its environment.
fn variables(
    session: &Session,
    bench: &Bench,
    environment: Option<&Provisioned>,
) -> BTreeMap<String, String> {
    let contract = &bench.contract;
    let mut variables = base_variables(&session.host);
    if let Some(environment) = environment {
        if let Some(bin) = &environment.bin {
            let path = format!("{}:{}", bin.display(), search_path(&variables));
            variables.insert("PATH".to_owned(), path);
        }
        variables.extend(environment.variables.clone());
    }
    variables.extend(session.tracking.admit(contract.run, &contract.project));
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let params = contract.params.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("RONDO_PARAM_{}", variable(name)), text)
    });
    variables.extend(params);
    let named = |kind: &'static str| {
        move |(name, place): (&String, &PathBuf)| (format!("RONDO_{kind}_{}", variable(name)), path(place))
    };
    variables.extend(contract.inputs.iter().map(named("INPUT")));
    variables.extend(contract.outputs.iter().map(named("OUTPUT")));
    variables.extend(contract.metrics.iter().map(|place| ("RONDO_METRICS".to_owned(), path(place))));
    let matrix = bench.matrix.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("RONDO_MATRIX_{}", variable(name)), text)
    });
    variables.extend(matrix);
    variables.insert("RONDO_STEP_FILE".to_owned(), path(&bench.file));
    variables.extend(session.request.again.iter().flat_map(|again| again.variables.clone()));
    if !bench.cards.is_empty() {
        // Where only some of the machine's cards are ours, those are what the numbers count.
        let ours: Vec<String> = variables
            .get("CUDA_VISIBLE_DEVICES")
            .map(|ours| ours.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        let card = |card: &u32| ours.get(*card as usize).cloned().unwrap_or_else(|| card.to_string());
        let cards: Vec<String> = bench.cards.iter().map(card).collect();
        variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), cards.join(","));
    }
    variables
}

/// What becomes true when a node's work is to stop: everything, or this trial alone.
fn stop(session: &Session, node: &Node) -> watch::Receiver<bool> {
    node.trial.as_ref().map_or_else(|| session.cancel.clone(), |trial| trial.stop.clone())
}

/// Runs a package in Rust. It is dropped where it takes too long or everything should stop; a package whose
/// future is dropped ends what it has started.
async fn in_process(
    mut cancel: watch::Receiver<bool>,
    builtin: Arc<dyn Builtin>,
    call: BuiltinCall,
    limit: Option<Duration>,
) -> Result<Worked, Exit> {
    // In a task of its own: one that panics fails its step and nothing else.
    let mut task = JoinSet::new();
    task.spawn(async move { builtin.run(call).await });
    let ended = tokio::select! {
        ended = task.join_next() => ended,
        () = cancelled(&mut cancel) => return stopped(task, failed("it was interrupted")).await,
        () = sleep(limit) => return stopped(task, failed(cause::too_long(limit))).await,
    };
    match ended {
        Some(Ok(Ok(result))) => {
            Ok(Worked { exit: Exit::default(), metrics: result.metrics, artifacts: result.artifacts })
        }
        Some(Ok(Err(error))) => {
            let hints = error.hints();
            let hint = hints.first().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            Err(failed(format!("{}{hint}", chain(error.as_ref()))))
        }
        Some(Err(error)) => Err(failed(format!("the package ended unexpectedly: {error}"))),
        None => Err(failed("the package ended unexpectedly")),
    }
}

async fn stopped<T: 'static>(mut task: JoinSet<T>, exit: Exit) -> Result<Worked, Exit> {
    task.shutdown().await;
    Err(exit)
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn keep_metrics(
    session: &Session,
    step: &Step,
    bench: &Bench,
    mut metrics: BTreeMap<String, f64>,
) -> Result<(), String> {
    if let (Some(place), Some(declared)) = (&bench.contract.metrics, &step.metrics) {
        metrics.extend(outputs::metrics(place, declared)?);
        let stored = session.store.objects().put_path(place, Take::Keep).map_err(|error| chain(&error))?;
        let kept = record::artifact(
            session,
            bench.contract.run,
            outputs::file_name(declared),
            stored.digest,
            stored.size,
        );
        kept.await.map_err(|error| chain(&error))?;
    }
    record::metrics(session, bench.contract.run, metrics).await.map_err(|error| chain(&error))
}

/// The files in a folder and below, by their paths in it. Isolated code may write there: no link is followed.
fn files_below(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((path, place)) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&place) else { continue };
        if metadata.is_file() {
            files.insert(path, place);
        } else if metadata.is_dir() {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                open.push((below, entry.path()));
            }
        }
    }
    files
}

/// Keeps what a package in Rust wants kept however it ends.
async fn keep_left(
    session: &Session,
    bench: &Bench,
    kept: &Path,
    ended: Result<Worked, Exit>,
) -> Result<Worked, Exit> {
    let stored = keep_artifacts(session, bench, files_below(kept)).await;
    // Of what has failed, the cause is that it failed.
    ended.and_then(|worked| stored.map(|()| worked).map_err(|error| failed(chain(&error))))
}

async fn keep_artifacts(
    session: &Session,
    bench: &Bench,
    artifacts: BTreeMap<String, PathBuf>,
) -> Result<(), Error> {
    let mut open: Vec<(String, PathBuf)> = artifacts.into_iter().collect();
    while let Some((path, place)) = open.pop() {
        if place.is_dir() {
            for entry in fs::read_dir(&place).map_err(Error::io("read", &place))? {
                let entry = entry.map_err(Error::io("read", &place))?;
                open.push((format!("{path}/{}", entry.file_name().to_string_lossy()), entry.path()));
            }
            continue;
        }
        let stored = session.store.objects().put_path(&place, Take::Keep)?;
        record::artifact(session, bench.contract.run, &path, stored.digest, stored.size).await?;
    }
    Ok(())
}

/// Puts a step's outputs under their declared paths, where the run has a work tree.
///
/// # Errors
/// When the disk refuses.
pub async fn check_out(session: &Session, node: &Node, step: &Step, links: &[Link]) -> Result<(), Error> {
    let Some(worktree) = session.worktree.clone() else { return Ok(()) };
    let places = places(node, step, links);
    let small = are_few(&places);
    let all = move || places.iter().try_for_each(|(link, path)| worktree.place(link, path).map(drop));
    if small { all() } else { tokio::task::spawn_blocking(all).await? }
}

/// Whether putting a step's outputs under their declared paths takes next to no time.
pub fn is_placed_at_once(node: &Node, step: &Step, links: &[Link]) -> bool {
    are_few(&places(node, step, links))
}

/// The outputs that are to be seen, with their paths: what the steps of a workflow make and nobody asked for
/// stays in the store.
fn places(node: &Node, step: &Step, links: &[Link]) -> Vec<(Link, String)> {
    let asked = |path: &&String| !path.starts_with(INNER);
    let placed = |link: &Link| Some((link.clone(), node.path(step.outputs.get(&link.name).filter(asked)?)));
    links.iter().filter_map(placed).collect()
}

fn are_few(places: &[(Link, String)]) -> bool {
    places.len() <= outputs::FEW && places.iter().all(|(link, _)| !link.folder && link.size <= outputs::SMALL)
}
