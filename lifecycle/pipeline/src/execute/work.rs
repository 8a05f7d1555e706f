//! The work itself, by whoever does it: a command or SQL as a process, on this machine or in an image, or a
//! package in Rust. What comes of it is looked at elsewhere ([`super::step`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, Confinement, Event, PortError};
use rondo_core::run::Exit;
use rondo_project::project::{SqlSource, Step};
use rondo_project::substitute::Values;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::bench::{self, Bench};
use super::cause::{self, failed, failed_by};
use super::image::Boxed;
use super::log::Logged;
use super::outputs::chain;
use super::process::{self, Command, cancelled};
use super::{confine, keep, shell};
use crate::Error;
use crate::builtins::container::Running;
use crate::code;
use crate::environment::host::{search_path, tool_variables};
use crate::environment::kind::Kind;
use crate::environment::provision::Provisioned;
use crate::graph::Node;
use crate::packages::{SQL, params};
use crate::plan::{Doer, Keyed, sql_threads};
use crate::run::session::Session;

/// How long a package in Rust that was told to stop may take for that.
const STOP: Duration = Duration::from_secs(15);

/// What the work itself came to, before its outputs are looked at.
#[derive(Default)]
pub(super) struct Worked {
    /// How it ended.
    pub exit: Exit,
    /// What a package in Rust has measured.
    pub metrics: BTreeMap<String, f64>,
    /// The files that it wants kept, by their paths.
    pub artifacts: BTreeMap<String, PathBuf>,
}

/// Does the work of a step where its bench is.
///
/// # Errors
/// How it ended, where it could not be begun or was stopped.
pub(super) async fn work(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    bench: &Bench,
    environment: Option<&Provisioned>,
) -> Result<Worked, Exit> {
    code::forget_compiled(&bench.root, keyed.code.keys());
    let mut variables = bench::variables(session, bench, environment);
    let confined = confine::confined(session, step, keyed, bench, environment, &mut variables);
    let confined = confined.map_err(|error| failed_by(&error))?;
    if let Some(confined) = &confined {
        // Set once: a try has one process.
        let _ = bench.confined.set(confined.clone());
    }
    let secrets = params::secrets(step.packaged.as_ref(), &session.host).map_err(failed)?;
    bench.log.hide(&secrets);
    variables.extend(secrets.into_iter().map(|(name, value)| (params::variable(&name), value)));
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
            let arguments = vec!["-c".into(), shell::patient(&text).into()];
            Command { program: "/bin/sh".into(), arguments, folder: bench.root.clone(), variables, mark }
        }
        Doer::Shell(command) => {
            let text = shell::command(command, &values).map_err(expression)?;
            let program = session.shell(search_path(&variables));
            let arguments = vec!["-c".into(), shell::patient(&text).into()];
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
            let (tell, told) = watch::channel(false);
            let call = BuiltinCall {
                step: bench.contract.clone(),
                with: filled.map_err(expression)?,
                root: bench.root.clone(),
                scratch: bench.folder.join("scratch"),
                python: environment.and_then(|environment| environment.python.clone()),
                environment: variables,
                confinement: confined.map(|confined| confined as Arc<dyn Confinement>),
                stop: told,
                progress: Arc::new(Logged { log: bench.log.clone(), progress: session.progress.clone() }),
            };
            let (kept, measured) = (call.kept(), call.measured());
            let inputs = named_inputs(step, &call);
            let ended = in_process(stop(session, node), tell, builtin, call, inputs, limit).await;
            let left = keep::left(session, bench, &kept).await;
            if ended.is_err() {
                keep::measured(session, bench, &measured).await;
            }
            // Of what has failed, the cause is that it failed.
            return ended.and_then(|worked| left.map(|()| worked).map_err(|error| failed(chain(&error))));
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
    let left: Vec<String> = ended.left.iter().filter(|name| !is_sandbox(name)).cloned().collect();
    if !left.is_empty() {
        let message = rondo_process::leftovers::told(&left);
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

/// What becomes true when a node's work is to stop: everything, or this trial alone.
fn stop(session: &Session, node: &Node) -> watch::Receiver<bool> {
    node.trial.as_ref().map_or_else(|| session.cancel.clone(), |trial| trial.stop.clone())
}

/// Where the inputs lie, and how they are told: by name, and where a message quotes one, by what it is too.
fn named_inputs(step: &Step, call: &BuiltinCall) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for (name, place) in &call.step.inputs {
        let place = place.display();
        if let Some(reference) = step.inputs.get(name) {
            named.push((format!("`{place}`"), format!("`{name}` (`{reference}`)")));
        }
        named.push((place.to_string(), name.clone()));
    }
    named
}

/// Runs a package in Rust. Where it takes too long or everything should stop, it is told so if it heeds that, and
/// dropped at last; a package whose future is dropped ends what it has started.
async fn in_process(
    mut cancel: watch::Receiver<bool>,
    tell: watch::Sender<bool>,
    builtin: Arc<dyn Builtin>,
    call: BuiltinCall,
    inputs: Vec<(String, String)>,
    limit: Option<Duration>,
) -> Result<Worked, Exit> {
    // In a task of its own: one that panics fails its step and nothing else.
    let mut task = JoinSet::new();
    let grace = if builtin.stops() { STOP } else { Duration::ZERO };
    task.spawn(async move { builtin.run(call).await });
    let why = tokio::select! {
        ended = task.join_next() => return came(ended, &inputs),
        () = cancelled(&mut cancel) => failed("it was interrupted"),
        () = sleep(limit) => failed(cause::too_long(limit)),
    };
    let _ = tell.send(true);
    // Whatever it says then, it was stopped.
    let _ = tokio::time::timeout(grace, task.join_next()).await;
    task.shutdown().await;
    Err(why)
}

/// What came of a package in Rust.
fn came(
    ended: Option<Result<Result<BuiltinResult, PortError>, JoinError>>,
    inputs: &[(String, String)],
) -> Result<Worked, Exit> {
    match ended {
        Some(Ok(Ok(result))) => {
            Ok(Worked { exit: Exit::default(), metrics: result.metrics, artifacts: result.artifacts })
        }
        Some(Ok(Err(error))) => {
            // An input is told by its name: where the try has it, nobody can look when it has ended.
            let named =
                |told: String| inputs.iter().fold(told, |told, (place, name)| told.replace(place, name));
            let Exit { cause, hints, .. } = failed_by(error.as_ref());
            let hints = hints.into_iter().map(named).collect();
            Err(Exit { cause: cause.map(named), hints, ..Exit::default() })
        }
        Some(Err(error)) => Err(failed(format!("the package ended unexpectedly: {error}"))),
        None => Err(failed("the package ended unexpectedly")),
    }
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
