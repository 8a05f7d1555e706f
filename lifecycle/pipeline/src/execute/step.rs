//! One try of a step: a row, a folder, a process (or a package in Rust), and what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::handoff::StepInputs;
use rondo_core::ports::{Builtin, BuiltinCall, Event, TrackingAccess};
use rondo_core::run::{Code, Exit, Link, RunDetail, RunState};
use rondo_core::{Digest, RunId};
use rondo_project::package::expand::INNER;
use rondo_project::project::{Reference, SqlSource, Step};
use rondo_project::substitute::{self, Values};
use rondo_store::objects::Take;
use serde_json::Value;
use tokio::task::JoinSet;

use super::log::{Log, Logged};
use super::outputs::{self, chain, variable};
use super::process::{self, Command, Ended, Stopped, cancelled};
use super::shell;
use crate::Error;
use crate::environment::host::{base_variables, find_program, search_path};
use crate::environment::provision::Provisioned;
use crate::packages::{self, SQL, params};
use crate::plan::{Doer, Keyed, sql_threads};
use crate::run::record;
use crate::run::session::Session;

/// What came of one try.
#[derive(Debug, Clone, PartialEq)]
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
struct Bench {
    folder: PathBuf,
    contract: StepInputs,
    /// Where its command runs and its files are: the project, or a copy of its package.
    root: PathBuf,
    file: PathBuf,
    log: Log,
}

/// Tries a step once.
///
/// # Errors
/// When the disk or the store refuses; a step that fails is no error.
pub async fn attempt(session: &Session, name: &str, keyed: &Keyed, number: u32) -> Result<Attempt, Error> {
    let step = session.planner.step(name)?;
    let id = RunId::random();
    let detail = first_detail(session, keyed, number).await;
    record::begin_step(session, id, name, &detail, &notebook_parameters(session, step)).await?;
    let _admitted = Admitted { tracking: session.tracking.as_ref(), id };
    let ended = match bench(session, name, step, keyed, id) {
        Ok(bench) => {
            let ended = within(session, name, step, keyed, &bench).await;
            let written = bench.log.finish();
            // What the step made that nobody declared goes with its folder.
            let log = written.map_err(Error::io("write", &bench.folder)).and_then(|written| {
                let stored = session.store.objects().put_path(&written.path, Take::Move)?;
                Ok((stored.digest, written.tail))
            });
            let _ = fs::remove_dir_all(&bench.folder);
            (ended, log.ok())
        }
        Err(error) => (Err(failed(chain(&error))), None),
    };
    finish(session, id, detail, ended).await
}

async fn finish(
    session: &Session,
    id: RunId,
    mut detail: RunDetail,
    (ended, log): (Through, Option<(Digest, Vec<String>)>),
) -> Result<Attempt, Error> {
    let (log, tail) = log.unzip();
    detail.log = log;
    let (ok, outputs, exit) = match ended {
        Ok((outputs, exit)) => (true, outputs, exit),
        Err(exit) => (false, Vec::new(), exit),
    };
    let state = match (ok, session.is_cancelled()) {
        (true, _) => RunState::Finished,
        (false, true) => RunState::Killed,
        (false, false) => RunState::Failed,
    };
    let cause = exit.cause.clone();
    detail.outputs.clone_from(&outputs);
    detail.exit = Some(exit);
    record::end(&session.store, id, state, detail, session.clock.now()).await?;
    let tail = if ok { Vec::new() } else { tail.unwrap_or_default() };
    Ok(Attempt { run: id, ok, outputs, cause, tail })
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

fn failed(cause: impl Into<String>) -> Exit {
    Exit { cause: Some(cause.into()), ..Exit::default() }
}

async fn first_detail(session: &Session, keyed: &Keyed, number: u32) -> RunDetail {
    let commit = session.commit().await;
    let environment = match &keyed.environment {
        Some(lock) => Some((lock.name.clone(), lock.digest)),
        None => session.host_tools().await.map(|digest| ("host".to_owned(), digest)),
    };
    RunDetail {
        key: Some(keyed.key),
        key_parts: keyed.parts.clone(),
        attempt: number,
        inputs: keyed.inputs.clone(),
        code: Code { commit: commit.id.clone(), dirty: commit.dirty, files: keyed.code.clone() },
        environment,
        platform: crate::platform::platform(),
        params: keyed.params.clone(),
        started_by: session.request.started_by.clone(),
        ..RunDetail::default()
    }
}

/// The `parameters:` of a package's `with:` block with their values: what a notebook is run with.
fn notebook_parameters(session: &Session, step: &Step) -> Value {
    let rondo_project::project::Work::Uses { with, .. } = &step.work else { return Value::Null };
    let nothing = BTreeMap::new();
    let params = session.planner.used_params(step);
    let values = Values { params: &params, inputs: &nothing, outputs: &nothing, matrix: None };
    let parameters = with.get("parameters").and_then(Value::as_object).into_iter().flatten();
    // Those that name a file of this try are left out: they say nothing about the run.
    let filled =
        parameters.filter_map(|(name, value)| Some((name.clone(), substitute::value(value, &values).ok()?)));
    Value::Object(filled.collect())
}

/// Makes the folders of a try: inputs under their local names, a place for the outputs, the log.
fn bench(session: &Session, name: &str, step: &Step, keyed: &Keyed, id: RunId) -> Result<Bench, Error> {
    let folder = session.folder(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    let (into, out) = (folder.join("in"), folder.join("out"));
    for folder in [&into, &out, &folder.join("scratch")] {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let mut inputs = BTreeMap::new();
    for link in &keyed.inputs {
        let extension = if link.folder { String::new() } else { extension(session, step, &link.name) };
        let place = into.join(format!("{}{extension}", link.name));
        session.store.objects().expose(link.digest, link.folder, &place)?;
        inputs.insert(link.name.clone(), place);
    }
    let outputs = outputs::places(&out, &step.outputs);
    for folder in outputs.values().filter_map(|place| place.parent()) {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let contract = StepInputs {
        project: session.planner.project.name.clone(),
        step: name.to_owned(),
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
    let file = folder.join("step.json");
    let text = serde_json::to_vec_pretty(&contract).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    let log = folder.join("log");
    let log = Log::create(&log, name, session.progress.clone()).map_err(Error::io("write", &log))?;
    let root = match &step.packaged {
        Some(packaged) => {
            let copy = folder.join("package");
            packages::folder::lay_out(&session.planner.root.join(&packaged.folder), &copy)?;
            copy
        }
        None => session.planner.root.clone(),
    };
    Ok(Bench { folder, contract, root, file, log })
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
async fn within(session: &Session, name: &str, step: &Step, keyed: &Keyed, bench: &Bench) -> Through {
    let told = |error: Error| failed(chain(&error));
    let environment = match &keyed.environment {
        Some(lock) => Some(session.planner.environments.provision(lock).await.map_err(told)?),
        None => None,
    };
    record::running(session, bench.contract.run).await.map_err(told)?;
    session.progress.report(Event::Started { subject: name.to_owned(), message: "running".to_owned() });
    let worked = work(session, name, step, bench, environment.as_ref()).await?;
    if worked.exit.cause.is_some() {
        return Err(worked.exit);
    }
    let exit = worked.exit.clone();
    let with_cause = |cause: String| Exit { cause: Some(cause), ..exit.clone() };
    keep_metrics(session, step, bench, worked.metrics).await.map_err(with_cause)?;
    keep_artifacts(session, bench, worked.artifacts).await.map_err(|error| with_cause(chain(&error)))?;
    let objects = session.store.objects().clone();
    let (declared, places, owner) = (step.outputs.clone(), bench.contract.outputs.clone(), name.to_owned());
    let collected =
        tokio::task::spawn_blocking(move || outputs::collect(&objects, &owner, &declared, &places));
    let links = collected.await.map_err(|error| with_cause(error.to_string()))?.map_err(with_cause)?;
    Ok((links, worked.exit))
}

async fn work(
    session: &Session,
    name: &str,
    step: &Step,
    bench: &Bench,
    environment: Option<&Provisioned>,
) -> Result<Worked, Exit> {
    let mut variables = variables(session, bench, environment);
    variables.extend(params::secrets(step.packaged.as_ref(), &session.host).map_err(failed)?);
    let values = Values::of(&bench.contract);
    let expression = |source| failed(chain(&Error::Expression { step: name.to_owned(), source }));
    let limit = step.timeout.and_then(|span| u64::try_from(span.millis()).ok()).map(Duration::from_millis);
    let command = match session.planner.doer(name, step).map_err(|error| failed(chain(&error)))? {
        Doer::Shell(command) => {
            let text = shell::command(command, &values).map_err(expression)?;
            let program = find_program("sh", search_path(&variables)).unwrap_or_else(|| "/bin/sh".into());
            let arguments = vec!["-c".into(), text.into()];
            Command { program, arguments, folder: bench.root.clone(), variables }
        }
        Doer::Sql(source) => {
            let text = sql_text(&bench.root, source).map_err(|error| failed(chain(&error)))?;
            let text = shell::sql(&text, &values).map_err(expression)?;
            sql_command(step, bench, environment, &text, variables).map_err(|error| failed(chain(&error)))?
        }
        Doer::Builtin(builtin, with) => {
            let filled: Result<BTreeMap<String, Value>, _> = with
                .iter()
                .map(|(key, value)| Ok((key.clone(), substitute::value(value, &values)?)))
                .collect();
            let call = BuiltinCall {
                step: bench.contract.clone(),
                with: filled.map_err(expression)?,
                root: bench.root.clone(),
                scratch: bench.folder.join("scratch"),
                python: environment.map(|environment| environment.python.clone()),
                environment: variables,
                progress: Arc::new(Logged { log: bench.log.clone(), progress: session.progress.clone() }),
            };
            return in_process(session, builtin, call, limit).await;
        }
    };
    let mut take = |bytes: &[u8]| bench.log.take(bytes);
    let ended = process::run(&command, limit, &mut session.cancel.clone(), &mut take).await;
    let ended = ended
        .map_err(|error| failed(format!("`{}` cannot be started: {error}", command.program.display())))?;
    Ok(Worked { exit: exit(&ended, limit), ..Worked::default() })
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
    let python = environment.map(|environment| environment.python.clone());
    let missing = || Error::PythonMissing { environment: SQL.name.to_owned(), wanted: SQL.python.to_owned() };
    let python = python.ok_or_else(missing)?;
    let mut arguments = vec![program.into_os_string(), "--script".into(), script.into_os_string()];
    arguments.extend(["--threads".into(), sql_threads(step).to_string().into()]);
    arguments.extend(["--temporary".into(), bench.folder.join("scratch").into_os_string()]);
    if let Some(memory) = step.resources.memory {
        arguments.extend(["--memory".into(), memory.to_string().into()]);
    }
    Ok(Command { program: python, arguments, folder: bench.root.clone(), variables })
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
        let path = format!("{}:{}", environment.bin.display(), search_path(&variables));
        variables.insert("PATH".to_owned(), path);
        variables.insert("VIRTUAL_ENV".to_owned(), environment.folder.to_string_lossy().into_owned());
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
    variables.insert("RONDO_STEP_FILE".to_owned(), path(&bench.file));
    variables
}

fn exit(ended: &Ended, limit: Option<Duration>) -> Exit {
    let cause = match (ended.stopped, ended.code, ended.signal) {
        (Some(Stopped::TimedOut), _, _) => Some(too_long(limit)),
        (Some(Stopped::Cancelled), _, _) => Some("it was interrupted".to_owned()),
        (None, Some(0), _) => None,
        (None, Some(127), _) => Some("it exited with code 127: a command was not found".to_owned()),
        (None, Some(code), _) => Some(format!("it exited with code {code}")),
        (None, None, Some(libc::SIGKILL)) => {
            Some("it was killed (signal 9): perhaps the machine ran out of memory".to_owned())
        }
        (None, None, signal) => Some(format!("it was ended by signal {}", signal.unwrap_or(0))),
    };
    Exit {
        code: ended.code,
        signal: ended.signal,
        cause,
        cpu_seconds: Some(ended.cpu_seconds),
        peak_memory: Some(ended.peak_memory),
    }
}

fn too_long(limit: Option<Duration>) -> String {
    format!("it took longer than {:?}", limit.unwrap_or_default())
}

/// Runs a package in Rust. It is dropped where it takes too long or everything should stop; a package whose
/// future is dropped ends what it has started.
async fn in_process(
    session: &Session,
    builtin: Arc<dyn Builtin>,
    call: BuiltinCall,
    limit: Option<Duration>,
) -> Result<Worked, Exit> {
    // In a task of its own: one that panics fails its step and nothing else.
    let mut task = JoinSet::new();
    task.spawn(async move { builtin.run(call).await });
    let mut cancel = session.cancel.clone();
    let ended = tokio::select! {
        ended = task.join_next() => ended,
        () = cancelled(&mut cancel) => return stopped(task, failed("it was interrupted")).await,
        () = sleep(limit) => return stopped(task, failed(too_long(limit))).await,
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
pub async fn check_out(session: &Session, step: &Step, links: &[Link]) -> Result<(), Error> {
    let Some(worktree) = session.worktree.clone() else { return Ok(()) };
    // What the steps of a workflow make and nobody asked for stays in the store.
    let asked = |path: &&String| !path.starts_with(INNER);
    let placed = |link: &Link| Some((link.clone(), step.outputs.get(&link.name).filter(asked)?.clone()));
    let places: Vec<(Link, String)> = links.iter().filter_map(placed).collect();
    let all = move || places.iter().try_for_each(|(link, path)| worktree.place(link, path).map(drop));
    tokio::task::spawn_blocking(all).await?
}
