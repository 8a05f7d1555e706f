//! Why a process never began: a program that is not there, or is none. Starting it again heals neither.

use rondo_pipeline::environment::host::{find_program, is_program, search_path};
use rondo_pipeline::execute::process::Command;
use rondo_project::command::programs;
use rondo_project::quote;

/// What a shell exits with where it may not execute a program.
const NOT_EXECUTABLE: i32 = 126;
/// What it exits with where it finds none.
const NOT_FOUND: i32 = 127;

/// Whether a shell's exit code says that it did not find a program, or could not execute it.
pub(super) const fn says_so(code: Option<i32>) -> bool {
    matches!(code, Some(NOT_EXECUTABLE | NOT_FOUND))
}

/// What of a shell's command cannot be executed, and what to do about it; nothing where all that it names can.
pub(super) fn told(command: &Command, text: &str, environment: Option<&str>) -> Option<String> {
    let path = search_path(&command.variables);
    let can_run = |program: &String| match program.contains('/') {
        true => is_program(&command.folder.join(program)),
        false => find_program(program, path).is_some(),
    };
    let lacking: Vec<String> = programs(text).into_iter().filter(|program| !can_run(program)).collect();
    let named = lacking.join("` and `");
    let first = lacking.first()?;
    Some(match environment {
        _ if first.contains('/') && command.folder.join(first).is_file() => {
            format!("`{named}` cannot be executed (hint: chmod +x {})", quote::word(first))
        }
        _ if first.contains('/') => {
            format!("`{named}` is not there (hint: paths begin at `{}`)", command.folder.display())
        }
        Some(environment) => format!(
            "`{named}` is not in the environment `{environment}` (hint: name the package that has it in \
             `environments.{environment}`)"
        ),
        None => format!(
            "`{named}` is not on this machine's PATH (hint: install it, or give the app an `environment:` that \
             has it)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_cannot_be_executed_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, mode| {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        place("run", 0o755);
        place("a board", 0o644);
        let command = Command {
            program: "/bin/sh".into(),
            arguments: Vec::new(),
            folder: folder.path().to_owned(),
            mark: None,
            variables: [("PATH".to_owned(), folder.path().display().to_string())].into(),
        };
        let told = |text: &str, environment| told(&command, text, environment).unwrap_or_default();
        assert_eq!(told("exec run --port 1 && ./run", Some("py")), "");
        assert_eq!(
            told("exec streamlit run x.py", Some("py")),
            "`streamlit` is not in the environment `py` (hint: name the package that has it in `environments.py`)"
        );
        assert_eq!(
            told("run | streamlit", None),
            "`streamlit` is not on this machine's PATH (hint: install it, or give the app an `environment:` that \
             has it)"
        );
        assert_eq!(
            told("exec './a board'", None),
            "`./a board` cannot be executed (hint: chmod +x './a board')"
        );
        let there = folder.path().display();
        assert_eq!(told("./none", None), format!("`./none` is not there (hint: paths begin at `{there}`)"));
    }
}
