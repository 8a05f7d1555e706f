//! What this machine lacks for a run, as far as that can be told before the first step starts: the
//! interpreter of an environment that is not locked yet, the host's tools that one names, the program of a
//! plain command. What is only wanted perhaps (by a step with a condition, or after one that may change
//! everything) is left to its turn.

use std::collections::{HashMap, HashSet};

use rondo_project::project::{Step, Work};
use rondo_project::substitute::{Piece, pieces};

use crate::environment::host::{find_program, search_path};
use crate::plan::{Planner, Role};
use crate::request::Forecast;
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
    let mut missing: HashMap<&str, &str> = HashMap::new();
    for (place, node) in planner.nodes() {
        let step = planner.step(node)?;
        if planner.role(place) == Role::Kept || step.when.is_some() {
            continue;
        }
        if let Some(name) = step.environment.as_deref().filter(|name| environments.insert(*name)) {
            planner.environments.foresee(&planner.project, name).await?;
        }
        let Some(program) = command(step).and_then(program) else { continue };
        if !*programs.entry(program).or_insert_with(|| find_program(program, path).is_some()) {
            missing.insert(&node.name, program);
        }
    }
    // What the team has made needs no program here.
    if missing.is_empty() || runner.shared.is_some() {
        return Ok(());
    }
    let plan = why::plan(&runner.store, planner, request).await?;
    let runs = plan.steps.iter().filter(|step| step.forecast == Forecast::Runs);
    let first = runs.into_iter().find_map(|step| Some((&step.name, missing.get(step.name.as_str())?)));
    match first {
        Some((step, program)) => {
            Err(Error::ProgramMissing { step: step.clone(), program: (*program).to_owned() })
        }
        None => Ok(()),
    }
}

/// The command that a step gives to the shell in the environment of the host.
fn command(step: &Step) -> Option<&str> {
    match &step.work {
        Work::Run { command } if step.environment.is_none() && step.packaged.is_none() => Some(command),
        Work::Run { .. } | Work::Sql { .. } | Work::Uses { .. } => None,
    }
}

/// The program that one plain command surely starts: its first word.
fn program(command: &str) -> Option<&str> {
    let is_plain = |piece: &Piece| match piece {
        Piece::Text(text) => !text.trim_end().contains(['|', '&', ';', '(', ')', '`', '\n', '$', '\\']),
        Piece::Expression(expression) => expression.is_ok(),
    };
    let word = command.split_whitespace().next()?;
    let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-[{:".contains(c));
    let surely = is_name && !SHELLS_OWN.contains(&word) && pieces(command.trim()).iter().all(is_plain);
    surely.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_of_one_plain_command_is_sure() {
        assert_eq!(program("quarto render '${{ inputs.x }}' > out\n"), Some("quarto"));
        for command in
            ["a || true", "a; b", "a\nb", "echo x", "[ -f x ]", "X=1 a", "./a", "$A", "a $(b)", "bin/a", ""]
        {
            assert_eq!(program(command), None, "{command}");
        }
    }
}
