//! What this machine lacks for a run, as far as that can be told before the first step starts, all of it at
//! once: the interpreter of an environment, R with its packages, the host's tools that one names, the program
//! that makes it, the program of a plain command, the variable that a secret is in, the level of isolation.
//! What is only wanted perhaps (by a step with a condition, or after one that may change everything) is left
//! to its turn.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use rondo_project::command::is_shells_own;
use rondo_project::project::{Environment, Isolation, Step, Work};
use rondo_project::substitute::{Piece, pieces};
use serde_json::Value;

use crate::environment::host::{find_program, search_path};
use crate::environment::image::ENGINES;
use crate::environment::kind::Kind;
use crate::error::at;
use crate::execute::confine::wanted_isolation;
use crate::graph::Node;
use crate::isolation::Machine;
use crate::plan::{Planner, Role};
use crate::request::{Forecast, PlannedStep};
use crate::runner::Runner;
use crate::{Error, RunRequest, why};

/// Looks at the steps of a run, by a planner that locks nothing.
///
/// # Errors
/// When something is missing, or a step asks for what cannot be: all of it, as [`Error::Several`].
pub async fn check(runner: &Runner, planner: &Planner, request: &RunRequest) -> Result<(), Error> {
    let faults = planner.faults();
    // Who goes on with what does not need it loses nothing by a step that fails in its turn.
    if request.keep_going || request.again.is_some() {
        return Error::all(faults);
    }
    Error::all(missing(runner, planner, request, faults).await?)
}

/// What is missing, beside what is told already.
async fn missing(
    runner: &Runner,
    planner: &Planner,
    request: &RunRequest,
    mut told: Vec<Error>,
) -> Result<Vec<Error>, Error> {
    let nodes = wanted(planner)?;
    let (mut seen, mut unlockable) = (HashSet::new(), HashSet::new());
    let names = nodes.iter().filter_map(|(_, step)| step.environment.as_ref());
    for name in names.filter(|name| seen.insert(*name)) {
        match planner.environments.foresee(&planner.project, name).await {
            Ok(()) => {}
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                unlockable.insert(name.as_str());
                told.push(error);
            }
        }
    }
    // What the team has made needs no program here.
    if runner.shared.is_some() {
        return Ok(told);
    }
    let mut host = Host::new(runner);
    let mut if_run: HashMap<&str, Vec<Error>> = HashMap::new();
    for (node, step) in nodes {
        if step.environment.as_deref().is_some_and(|name| unlockable.contains(name)) {
            continue;
        }
        let missing = host.missing(planner, node, step);
        if !missing.is_empty() {
            if_run.insert(&node.name, missing);
        }
    }
    if if_run.is_empty() {
        return Ok(told);
    }
    let plan = match why::plan(&runner.store, planner, request).await {
        Ok(plan) => plan,
        // What is told already may be what keeps it from being made.
        Err(_) if !told.is_empty() => return Ok(told),
        Err(error) => return Err(error),
    };
    for step in plan.steps {
        if let Some(errors) = if_run.remove(step.name.as_str())
            && surely_runs(runner, planner, &step).await?
        {
            told.extend(errors);
        }
    }
    Ok(told)
}

/// The nodes that will be looked at, with their steps: those that are not left out, by their own condition or
/// with what they need.
fn wanted(planner: &Planner) -> Result<Vec<(&Node, &Step)>, Error> {
    let mut perhaps: HashSet<usize> = HashSet::new();
    let mut wanted = Vec::new();
    for (place, node) in planner.nodes() {
        let step = planner.step(node)?;
        if step.when.is_some() || node.needs.iter().any(|need| perhaps.contains(need)) {
            perhaps.insert(place);
        } else if planner.role(place) != Role::Kept {
            wanted.push((node, step));
        }
    }
    Ok(wanted)
}

/// What this machine has, each thing looked for once.
struct Host<'a> {
    path: &'a str,
    variables: &'a BTreeMap<String, String>,
    programs: HashMap<&'a str, bool>,
    isolation: OnceCell<Machine>,
}

impl<'a> Host<'a> {
    fn new(runner: &'a Runner) -> Self {
        Self {
            path: search_path(&runner.host_env),
            variables: &runner.host_env,
            programs: HashMap::new(),
            isolation: OnceCell::new(),
        }
    }

    fn has(&mut self, program: &'a str) -> bool {
        *self.programs.entry(program).or_insert_with(|| find_program(program, self.path).is_some())
    }

    /// What a step lacks here if it runs.
    fn missing(&mut self, planner: &'a Planner, node: &Node, step: &'a Step) -> Vec<Error> {
        let making = step
            .environment
            .as_ref()
            .and_then(|name| planner.environments.foresee_making(&planner.project, name).err());
        // Of a matrix, as the file names it: told once and not of each combination.
        let name = node.name.split('[').next().unwrap_or(&node.name);
        let program = missing_program(step, |program| self.has(program))
            .map(|program| Error::ProgramMissing { step: name.to_owned(), program });
        let secrets = missing_secrets(step, self.variables)
            .into_iter()
            .map(|(secret, variable)| Error::SecretMissing { step: name.to_owned(), secret, variable });
        let isolation = self.missing_isolation(planner, node, step);
        making.into_iter().chain(program).chain(secrets).chain(isolation).collect()
    }

    /// The level of isolation that a step asks for and this machine does not have.
    fn missing_isolation(&self, planner: &Planner, node: &Node, step: &Step) -> Option<Error> {
        let name = step.environment.as_ref();
        let environment = name.and_then(|name| planner.project.environments.get(name));
        let wanted = wanted_isolation(&planner.project, step, environment.map(Kind::from));
        if matches!(wanted, Isolation::None | Isolation::Auto) {
            return None;
        }
        let machine = self.isolation.get_or_init(|| Machine::probe(self.path));
        let at = match (environment, name) {
            (Some(Environment::Rootfs { .. }), Some(name)) => format!("environments.{name}.rootfs"),
            _ if step.isolation.is_some() => at(&node.name, "isolation"),
            _ => "isolation".to_owned(),
        };
        machine.level(wanted).err().map(|error| error.said_at(at))
    }
}

/// Whether a step runs, whatever becomes of those before it.
async fn surely_runs(runner: &Runner, planner: &Planner, step: &PlannedStep) -> Result<bool, Error> {
    Ok(match step.forecast {
        Forecast::Runs => true,
        // It has made nothing yet that could stand for it.
        Forecast::Waits => match runner.store.meta().experiment_by_name(&planner.project.name).await? {
            Some(experiment) => why::last_used(&runner.store, experiment.id, &step.name).await?.is_none(),
            None => true,
        },
        Forecast::Cached(_) | Forecast::Kept(_) | Forecast::Skipped => false,
    })
}

/// The program that a step surely starts on the host and that is not there; several, of which one would do.
fn missing_program<'a>(step: &'a Step, mut is_there: impl FnMut(&'a str) -> bool) -> Option<String> {
    let wanted: Vec<&'a str> = match &step.work {
        Work::Run { command } if step.environment.is_none() && step.packaged.is_none() => {
            program(command).into_iter().collect()
        }
        Work::Uses { package, with } if package == "container" => {
            match with.get("engine").and_then(Value::as_str) {
                Some(engine) => {
                    ENGINES.into_iter().filter(|name| *name == engine || engine == "auto").collect()
                }
                None => ENGINES.to_vec(),
            }
        }
        Work::Run { .. } | Work::Sql { .. } | Work::Uses { .. } => Vec::new(),
    };
    let is_missing = !wanted.is_empty() && !wanted.iter().any(|name| is_there(name));
    is_missing.then(|| wanted.join("` or `"))
}

/// The secrets of a step whose variables are not set, each with its variable.
fn missing_secrets(step: &Step, host: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let packaged = step.packaged.iter().flat_map(|packaged| packaged.secrets.iter());
    let packaged = packaged.map(|(name, variable)| (name, variable.as_str()));
    let packaged = packaged.filter(|(_, variable)| !host.contains_key(*variable));
    let notebooks = match &step.work {
        Work::Uses { package, with } if package == "papermill" => {
            with.get("secrets").and_then(Value::as_object)
        }
        Work::Run { .. } | Work::Sql { .. } | Work::Uses { .. } => None,
    };
    let notebooks = notebooks.into_iter().flatten();
    let notebooks = notebooks.filter_map(|(name, variable)| Some((name.as_str(), variable.as_str()?)));
    // What an expression stands for is known in the step's turn; of a notebook an empty text is no secret.
    let is_plain = |text: &str| !pieces(text).iter().any(|piece| matches!(piece, Piece::Expression(_)));
    let is_set = |variable: &str| host.get(variable).is_some_and(|value| !value.is_empty());
    let notebooks = notebooks.filter(|(_, variable)| is_plain(variable) && !is_set(variable));
    packaged.chain(notebooks).map(|(name, variable)| (name.to_owned(), variable.to_owned())).collect()
}

/// The program that one plain command surely starts: its first word.
fn program(command: &str) -> Option<&str> {
    let word = command.split_whitespace().next()?;
    let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-[{:".contains(c));
    let is_plain = |text: &str| !text.contains(['|', '&', ';', '(', ')', '`', '\n', '$', '\\']);
    let surely = is_name && !is_shells_own(word) && unquoted(command).as_deref().is_some_and(is_plain);
    surely.then_some(word)
}

/// What the shell reads of a command beside its expressions, which are put in as words, and what stands in
/// single quotes, which mean nothing to it; nothing where one of either has no end.
fn unquoted(command: &str) -> Option<String> {
    let mut text = String::new();
    for piece in pieces(command.trim()) {
        match piece {
            Piece::Text(piece) => text.push_str(&piece),
            Piece::Expression(expression) => drop(expression.ok()?),
        }
    }
    let parts: Vec<&str> = text.split('\'').collect();
    (parts.len() % 2 == 1).then(|| parts.into_iter().step_by(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_of_one_plain_command_is_sure() {
        for command in
            ["quarto render '${{ inputs.x }}' > out\n", "quarto -e 'a(1); b |>\n c()' \"${{ params.x }}\""]
        {
            assert_eq!(program(command), Some("quarto"), "{command}");
        }
        for command in [
            "a || true",
            "a; b",
            "a\nb",
            "echo x",
            "[ -f x ]",
            "X=1 a",
            "./a",
            "$A",
            "a $(b)",
            "bin/a",
            "a 'b",
            "a 'b'; 'c'",
            "",
        ] {
            assert_eq!(program(command), None, "{command}");
        }
    }
}
