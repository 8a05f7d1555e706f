//! What this machine lacks for a run, as far as that can be told before the first step starts: the
//! interpreter of an environment, R with its packages, the host's tools that one names, the program that makes
//! it, the program of a plain command, the variable that a secret is in. What is only wanted perhaps (by a step with a condition, or after one
//! that may change everything) is left to its turn.

use std::collections::{BTreeMap, HashMap, HashSet};

use rondo_project::project::{Step, Work};
use rondo_project::substitute::{Piece, pieces};
use serde_json::Value;

use crate::environment::host::{find_program, search_path};
use crate::environment::image::ENGINES;
use crate::plan::{Planner, Role};
use crate::request::{Forecast, PlannedStep};
use crate::runner::Runner;
use crate::{Error, RunRequest, why};

/// What a shell does by itself.
const SHELLS_OWN: [&str; 55] = [
    ".", ":", "[", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "do",
    "echo", "eval", "exec", "exit", "export", "false", "fc", "fg", "for", "function", "getopts", "hash",
    "if", "jobs", "kill", "let", "local", "printf", "pwd", "read", "readonly", "return", "select", "set",
    "shift", "source", "test", "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask",
    "unalias", "unset", "until", "wait", "while", "{",
];

/// Looks at the steps of a run.
///
/// # Errors
/// When something is missing.
pub async fn check(runner: &Runner, planner: &Planner, request: &RunRequest) -> Result<(), Error> {
    // Who goes on with what does not need it loses nothing by a step that fails in its turn.
    if request.keep_going || request.again.is_some() {
        return Ok(());
    }
    let path = search_path(&runner.host_env);
    let (mut environments, mut programs) = (HashSet::new(), HashMap::new());
    // The nodes that may be left out, by their own condition or with what they need.
    let mut perhaps: HashSet<usize> = HashSet::new();
    let mut missing: HashMap<&str, Error> = HashMap::new();
    for (place, node) in planner.nodes() {
        let step = planner.step(node)?;
        if step.when.is_some() || node.needs.iter().any(|need| perhaps.contains(need)) {
            perhaps.insert(place);
            continue;
        }
        if planner.role(place) == Role::Kept {
            continue;
        }
        if let Some(name) = &step.environment {
            if environments.insert(name) {
                planner.environments.foresee(&planner.project, name).await?;
            }
            if let Err(error) = planner.environments.foresee_making(&planner.project, name) {
                missing.insert(&node.name, error);
            }
        }
        let mut is_there =
            |program| *programs.entry(program).or_insert_with(|| find_program(program, path).is_some());
        if let Some(program) = missing_program(step, &mut is_there) {
            missing.insert(&node.name, Error::ProgramMissing { step: node.name.clone(), program });
        }
        if let Some((secret, variable)) = missing_secret(step, &runner.host_env) {
            missing.insert(&node.name, Error::SecretMissing { step: node.name.clone(), secret, variable });
        }
    }
    // What the team has made needs no program here.
    if missing.is_empty() || runner.shared.is_some() {
        return Ok(());
    }
    for step in why::plan(&runner.store, planner, request).await?.steps {
        if let Some(error) = missing.remove(step.name.as_str())
            && surely_runs(runner, planner, &step).await?
        {
            return Err(error);
        }
    }
    Ok(())
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
fn missing_program<'a>(step: &'a Step, is_there: &mut impl FnMut(&'a str) -> bool) -> Option<String> {
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

/// A secret of a step whose variable is not set, and that variable.
fn missing_secret(step: &Step, host: &BTreeMap<String, String>) -> Option<(String, String)> {
    let packaged = step.packaged.iter().flat_map(|packaged| packaged.secrets.iter());
    let packaged = packaged.map(|(name, variable)| (name, variable.as_str()));
    let notebooks = match &step.work {
        Work::Uses { package, with } if package == "papermill" => {
            with.get("secrets").and_then(Value::as_object)
        }
        Work::Run { .. } | Work::Sql { .. } | Work::Uses { .. } => None,
    };
    let notebooks = notebooks.into_iter().flatten();
    let notebooks = notebooks.filter_map(|(name, variable)| Some((name.as_str(), variable.as_str()?)));
    let is_set = |variable: &str| host.get(variable).is_some_and(|value| !value.is_empty());
    packaged
        .chain(notebooks)
        .find(|(_, variable)| !is_set(variable))
        .map(|(name, variable)| (name.to_owned(), variable.to_owned()))
}

/// The program that one plain command surely starts: its first word.
fn program(command: &str) -> Option<&str> {
    let word = command.split_whitespace().next()?;
    let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-[{:".contains(c));
    let is_plain = |text: &str| !text.contains(['|', '&', ';', '(', ')', '`', '\n', '$', '\\']);
    let surely = is_name && !SHELLS_OWN.contains(&word) && unquoted(command).as_deref().is_some_and(is_plain);
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
