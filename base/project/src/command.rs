//! Which code of a project a shell's command surely starts: the scripts that it gives to an interpreter or
//! runs by their path, and the modules that `python -m` finds by name.
//!
//! What only the shell knows (a variable, a pattern, the folder behind `cd "$X"`) is left alone: `code:`
//! declares it.

mod options;
mod words;
mod wrapper;

use options::{Behind, Options, is_option};
use words::{Simple, below, commands};

/// One piece of code that a command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// A file, relative to the folder that the command is given in.
    Script(String),
    /// A module of Python, and the folder that it is looked for in first.
    Module {
        /// Relative to the folder that the command is given in; empty for that folder.
        folder: String,
        /// The module's dotted name.
        name: String,
    },
}

/// What a shell does by itself.
const SHELLS_OWN: [&str; 62] = [
    "!", ".", ":", "[", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare",
    "do", "done", "echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg",
    "fi", "for", "function", "getopts", "hash", "if", "jobs", "kill", "let", "local", "printf", "pwd",
    "read", "readonly", "return", "select", "set", "shift", "source", "test", "then", "time", "times",
    "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while", "{",
    "}",
];

/// Whether a shell does by itself what a word names.
pub fn is_shells_own(word: &str) -> bool {
    SHELLS_OWN.contains(&word)
}

/// A program that takes a script.
struct Interpreter {
    name: &'static str,
    /// What its scripts end with.
    endings: &'static [&'static str],
    options: Options,
}

const PYTHON: Interpreter = Interpreter {
    name: "python",
    endings: &[".py"],
    options: Options { valued: "-X -W --check-hash-based-pycs", instead: "-c" },
};

const SHELL: Interpreter = Interpreter {
    name: "sh",
    endings: &[".sh"],
    options: Options { valued: "-o +o -O +O --rcfile --init-file", instead: "-c -s" },
};

const INTERPRETERS: [Interpreter; 10] = [
    PYTHON,
    Interpreter { name: "pypy", ..PYTHON },
    SHELL,
    Interpreter { name: "bash", ..SHELL },
    Interpreter { name: "dash", ..SHELL },
    Interpreter { name: "zsh", ..SHELL },
    Interpreter { name: "Rscript", endings: &[".R", ".r"], options: Options { valued: "", instead: "-e" } },
    Interpreter {
        name: "julia",
        endings: &[".jl"],
        options: Options {
            valued: "-t -p -L -J -C -H --threads --procs --load --sysimage",
            instead: "-e -E --eval --print",
        },
    },
    Interpreter {
        name: "node",
        endings: &[".js", ".mjs", ".cjs"],
        options: Options {
            valued: "-r -C --require --import --loader --env-file",
            instead: "-e -p --eval --print",
        },
    },
    Interpreter {
        name: "perl",
        endings: &[".pl"],
        options: Options { valued: "-I -M -m", instead: "-e -E" },
    },
];

/// A program that takes a script among options of its own, too many to know: the first word that ends as a
/// script does.
struct Launcher {
    name: &'static str,
    /// The word behind its name with which it takes one, as in `streamlit run`.
    verb: Option<&'static str>,
    /// What its scripts end with.
    endings: &'static [&'static str],
}

const LAUNCHERS: [Launcher; 7] = [
    Launcher { name: "torchrun", verb: None, endings: PYTHON.endings },
    Launcher { name: "deepspeed", verb: None, endings: PYTHON.endings },
    Launcher { name: "accelerate", verb: Some("launch"), endings: PYTHON.endings },
    Launcher { name: "streamlit", verb: Some("run"), endings: PYTHON.endings },
    Launcher { name: "coverage", verb: Some("run"), endings: PYTHON.endings },
    Launcher { name: "papermill", verb: None, endings: &[".ipynb"] },
    Launcher { name: "quarto", verb: Some("render"), endings: &[".qmd", ".ipynb", ".Rmd"] },
];

/// Modules of Python that are a launcher by another name.
const AS_MODULES: [(&str, &str); 3] = [
    ("torch.distributed.run", "torchrun"),
    ("torch.distributed.launch", "torchrun"),
    ("accelerate.commands.launch", "torchrun"),
];

/// The code that a shell's command surely starts, each piece once, in the order of the text.
pub fn started(command: &str) -> Vec<Started> {
    let mut found = Vec::new();
    for simple in commands(command) {
        for started in of_simple(&simple) {
            if !found.contains(&started) {
                found.push(started);
            }
        }
    }
    found
}

/// The programs that a shell's command names, each once, in the order of the text: by name, or by their path
/// from the folder that the command is given in.
pub fn programs(command: &str) -> Vec<String> {
    let mut found = Vec::new();
    for simple in commands(command) {
        let is_before = |word: &&Option<String>| {
            word.as_deref().is_some_and(|word| word == "exec" || words::is_assignment(word))
        };
        let first = simple.words.iter().find(|word| !is_before(word));
        let named = [first, wrapper::unwrapped(&simple.words).first()];
        for word in named.into_iter().flatten().flatten() {
            let program = match &simple.folder {
                _ if !word.contains('/') => (!is_shells_own(word)).then(|| word.to_owned()),
                Some(folder) if !folder.is_empty() && !word.starts_with('/') => {
                    below(folder, word).map(|path| format!("./{path}"))
                }
                None if !word.starts_with('/') => None,
                _ => Some(word.to_owned()),
            };
            let is_new = |program: &String| !words::is_assignment(program) && !found.contains(program);
            found.extend(program.filter(is_new));
        }
    }
    found
}

fn of_simple(simple: &Simple) -> Vec<Started> {
    let Some(folder) = &simple.folder else { return Vec::new() };
    let words = wrapper::unwrapped(&simple.words);
    let Some((Some(program), arguments)) = words.split_first() else { return Vec::new() };
    let script = |path: &str| script(folder, path);
    if program.starts_with("./") || program.starts_with("../") {
        return script(program).into_iter().collect();
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    if let Some(launched) = launched(name, arguments) {
        return script(launched).into_iter().collect();
    }
    let by_uv =
        simple.words.windows(2).any(|two| matches!(two, [Some(uv), Some(run)] if uv == "uv" && run == "run"));
    if by_uv && PYTHON.endings.iter().any(|ending| name.ends_with(ending)) {
        return script(program).into_iter().collect();
    }
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some(interpreter) = INTERPRETERS.iter().find(|one| one.name == plain) else { return Vec::new() };
    let (argument, rest) = first_argument(interpreter, arguments);
    match argument {
        Argument::Script(path) => script(path).into_iter().collect(),
        Argument::Module(name) => {
            let module = Started::Module { folder: folder.clone(), name: name.to_owned() };
            let other =
                AS_MODULES.iter().find(|(module, _)| *module == name).map_or(name, |(_, other)| other);
            let script = launched(other, rest).and_then(script);
            [module].into_iter().chain(script).collect()
        }
        Argument::None => Vec::new(),
    }
}

enum Argument<'a> {
    Script(&'a str),
    Module(&'a str),
    None,
}

/// The script or module that an interpreter takes, and what stands behind it.
fn first_argument<'a>(
    interpreter: &Interpreter,
    arguments: &'a [Option<String>],
) -> (Argument<'a>, &'a [Option<String>]) {
    let takes_modules = interpreter.endings == PYTHON.endings;
    let mut rest = arguments;
    while let Some((Some(word), behind)) = rest.split_first() {
        rest = behind;
        if takes_modules && word == "-m" {
            let module = behind.first().and_then(Option::as_deref).map_or(Argument::None, Argument::Module);
            return (module, behind.get(1..).unwrap_or_default());
        }
        if !is_option(word) {
            let is_script = interpreter.endings.iter().any(|ending| word.ends_with(ending));
            return (if is_script { Argument::Script(word) } else { Argument::None }, behind);
        }
        match interpreter.options.behind(word) {
            Behind::Argument => {}
            Behind::Value => rest = behind.get(1..).unwrap_or_default(),
            Behind::Nothing => break,
        }
    }
    (Argument::None, &[])
}

/// The script that a launcher of that name takes.
fn launched<'a>(name: &str, arguments: &'a [Option<String>]) -> Option<&'a str> {
    let launcher = LAUNCHERS.iter().find(|launcher| launcher.name == name)?;
    let arguments = match launcher.verb {
        Some(verb) => arguments.split_first().filter(|(first, _)| first.as_deref() == Some(verb))?.1,
        None => arguments,
    };
    let is_script =
        |word: &&str| launcher.endings.iter().any(|ending| word.ends_with(ending)) && !is_option(word);
    arguments.iter().flatten().map(String::as_str).find(is_script)
}

/// A script seen from where the command is given; none of what surely lies elsewhere.
fn script(folder: &str, path: &str) -> Option<Started> {
    let path = if folder.is_empty() { path.to_owned() } else { below(folder, path)? };
    (!path.starts_with('/')).then_some(Started::Script(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(command: &str) -> Vec<String> {
        let one = |started| match started {
            Started::Script(path) => path,
            Started::Module { folder, name } if folder.is_empty() => format!("-m {name}"),
            Started::Module { folder, name } => format!("-m {name} in {folder}"),
        };
        started(command).into_iter().map(one).collect()
    }

    #[test]
    fn scripts_are_found_where_they_are_sure() {
        assert_eq!(shown("./fetch.sh --x ${{ params.x }}"), ["./fetch.sh"]);
        assert_eq!(
            shown("SEED=1 python src/train.py && Rscript fit.R; ./a.sh | sort"),
            ["src/train.py", "fit.R", "./a.sh"]
        );
        assert_eq!(shown("python 'my script.py' > $OUT 2>&1"), ["my script.py"]);
        let not_sure = "echo ./no.sh; python $X.py; /bin/x.sh; bash /abs/x.sh; cat x.py; python - < x.py; \
                        X=1 tool.py; python tool x.py; python; python -m; bash -c x.sh; Rscript -e f.R";
        assert!(shown(not_sure).is_empty(), "{:?}", shown(not_sure));
    }

    #[test]
    fn options_of_the_interpreter_hide_no_script() {
        for command in [
            "python -u t.py",
            "python3.11 -X dev -W ignore -OO t.py -m no",
            ".venv/bin/python t.py",
            "/usr/bin/env -u A B=1 python3 t.py",
            "time nice -n 5 python -B t.py --other no.py",
            "if ! nohup python t.py; then exit 1; fi",
            "{ python t.py; }",
            "A=$X python t.py",
            "uv run --python 3.12 t.py",
            "uv run python t.py",
            "poetry run python t.py",
            "conda run -n env python -u t.py",
            "torchrun --nproc_per_node 2 t.py --epochs 3",
            "accelerate launch --num_processes 2 t.py",
            "streamlit run t.py",
            "timeout 60 python t.py",
            "sudo -u me -E timeout -k 5 60 python t.py",
            "flock .lock stdbuf -oL torchrun t.py",
        ] {
            assert_eq!(shown(command), ["t.py"], "{command}");
        }
        assert_eq!(
            shown("bash -e -o pipefail a.sh; sh ./b.sh; bash -euo pipefail c.sh; bash -xc 'no.sh' no.sh"),
            ["a.sh", "./b.sh", "c.sh"]
        );
        assert_eq!(shown("perl -MData::Dumper a.pl; perl -ne 1 no.pl"), ["a.pl"]);
        assert_eq!(
            shown("Rscript --vanilla a.R; julia --project=. -t 4 b.jl; node --require x c.mjs"),
            ["a.R", "b.jl", "c.mjs"]
        );
        assert_eq!(
            shown("papermill -p a 1 n.ipynb out.ipynb; quarto render r.qmd -o no.qmd"),
            ["n.ipynb", "r.qmd"]
        );
    }

    #[test]
    fn a_command_names_the_module_that_it_runs() {
        assert_eq!(
            shown("cd x; A=1 python -u -m src.train --fast && python3 -m b"),
            ["-m src.train in x", "-m b in x"]
        );
        assert_eq!(
            shown("python -m torch.distributed.run --nnodes 1 t.py"),
            ["-m torch.distributed.run", "t.py"]
        );
        assert_eq!(shown("python -m streamlit run t.py"), ["-m streamlit", "t.py"]);
        assert!(shown("python -m $X; echo python -m b").is_empty());
    }

    #[test]
    fn a_script_lies_where_the_command_runs() {
        assert_eq!(
            shown("(cd a && python t.py); python t.py; cd b; python ../c/t.py"),
            ["a/t.py", "t.py", "c/t.py"]
        );
        assert_eq!(shown("cd $X; python t.py"), Vec::<String>::new());
        assert_eq!(shown("python ../t.py; cd a; python ../../t.py"), ["../t.py"]);
    }

    #[test]
    fn programs_are_named_once_and_from_where_the_command_is_given() {
        assert_eq!(
            programs(
                "A=1 exec nice -n 5 streamlit run x.py | tee log; ./board; cd a && ../b; c/d; /bin/e; tee x"
            ),
            ["nice", "streamlit", "tee", "./board", "./b", "./a/c/d", "/bin/e"]
        );
        let not_sure = "if [ -f x ]; then exit 3; fi; while true; do :; done; $X y; cd $X; ./a";
        assert_eq!(programs(not_sure), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_command_can_be_read(command in "(python|-m|-u|env|timeout|uv run|A=1|x\\.py|cd|\\.\\./|;|\"|\\$|\n| ){0,30}") {
            started(&command);
            programs(&command);
        }
    }
}
