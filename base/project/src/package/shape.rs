//! Which keys may be written where in `package.yaml`: the table beside that of the project file.

use crate::shape::live::{ACCESS, AUTHORIZATION, HEALTH, START_TIMEOUT, STRIP_PATH};
use crate::shape::pipeline::{ENVIRONMENT, RESOURCES, STEP};
use crate::shape::{COUNT, DESCRIPTION, Form, NUMBER, OPEN, Rule, Shape, TEXTS, key};

const TYPES: &[&str] = &[
    "text",
    "int",
    "float",
    "bool",
    "duration",
    "file",
    "notebook",
    "parameters",
    "list<text>",
    "list<int>",
    "list<float>",
    "column",
    "secret",
    "secrets",
    "size",
    "any",
];
const KINDS: &[&str] = &["any", "dataset", "model", "notebook", "report", "metrics", "images", "folder"];

/// The whole file.
pub(crate) static PACKAGE: Shape = Shape {
    noun: "a package",
    keys: &[
        key("name", Form::Name, "Its name.").required(),
        key("version", Form::Version, "Its version.").required(),
        key("summary", Form::Text, "One sentence: what it does.").required(),
        DESCRIPTION,
        key(
            "inputs",
            Form::Either(&[Form::Choice(&["any"]), Form::Map(&INPUT)]),
            "What goes in, by name; `any` for any number of any kind.",
        )
        .elsewhere(&["in"]),
        key(
            "outputs",
            Form::Either(&[Form::Choice(&["any"]), Form::Map(&OUTPUT)]),
            "What comes out, by name; `any` for any number of any kind.",
        )
        .elsewhere(&["out", "outs"]),
        key("params", Form::Map(&PARAM), "Its parameters: the keys of `with:`.").elsewhere(&[
            "parameters",
            "args",
            "with",
        ]),
        key("environment", Form::Object(&ENVIRONMENT), "What it finds around it.")
            .elsewhere(&["env", "environments"]),
        key(
            "run",
            Form::Either(&[Form::Object(&RUN), Form::Text]),
            "How it runs: a command, or one of a notebook, SQL, service, built-in or steps.",
        )
        .required()
        .elsewhere(&["runs", "command", "cmd"]),
        key("resources", Form::Object(&RESOURCES), "What it needs of the machine."),
        key("timeout", Form::Span, "How long it may take."),
        key("tests", Form::Map(&Form::Object(&TEST)), "Its tests, for `rondo package test`."),
    ],
    rules: &[],
};

const INPUT: Form = Form::Either(&[Form::Choice(KINDS), Form::Object(&PORT)]);
const OUTPUT: Form = Form::Either(&[Form::Choice(KINDS), Form::Object(&OUT_PORT)]);
const PARAM: Form = Form::Either(&[Form::Choice(TYPES), Form::Object(&PARAMETER)]);

static PORT: Shape = Shape {
    noun: "an input",
    keys: &[
        key("type", Form::Choice(KINDS), "The kind of artifact; `any` where absent.").elsewhere(&["kind"]),
        key("required", Form::Bool, "Whether it has to be there; `true` where absent."),
        DESCRIPTION,
    ],
    rules: &[],
};

static OUT_PORT: Shape = Shape {
    noun: "an output",
    keys: &[
        key("type", Form::Choice(KINDS), "The kind of artifact; `any` where absent.").elsewhere(&["kind"]),
        key("required", Form::Bool, "Whether the step that uses it has to ask for it; `true` where absent."),
        key("from", Form::Text, "Of a workflow: the output that it is, `STEP.OUTPUT`."),
        DESCRIPTION,
    ],
    rules: &[],
};

static PARAMETER: Shape = Shape {
    noun: "a parameter",
    keys: &[
        key("type", Form::Choice(TYPES), "What may be given.").required().elsewhere(&["kind"]),
        key("required", Form::Bool, "Whether it has to be given; where absent, when it has no default."),
        key("default", Form::Any, "What holds where it is not given."),
        key("min", NUMBER, "The least number; of a list, of items.").elsewhere(&["minimum"]),
        key("max", NUMBER, "The greatest number; of a list, of items.").elsewhere(&["maximum"]),
        key("enum", Form::List(&Form::Scalar), "The only values allowed.")
            .elsewhere(&["choice", "choices", "options"]),
        key("pattern", Form::Text, "A regular expression that the whole text has to match.")
            .elsewhere(&["regex"]),
        DESCRIPTION,
    ],
    rules: &[],
};

static RUN: Shape = Shape {
    noun: "a way to run",
    keys: &[
        key("command", Form::Text, "A command for the shell.").elsewhere(&["cmd", "exec"]),
        key("notebook", Form::Path, "A notebook of the package; its parameters are the package's."),
        key("sql", Form::Text, "A file ending in `.sql`, or the SQL itself."),
        key("service", Form::Text, "A command that runs until it is stopped: an app.").elsewhere(&["app"]),
        HEALTH,
        STRIP_PATH,
        AUTHORIZATION,
        ACCESS,
        START_TIMEOUT,
        key("builtin", Form::Name, "A package that is built in."),
        key("steps", Form::Map(&Form::Object(&STEP)), "A workflow: steps of its own.")
            .elsewhere(&["workflow"]),
    ],
    rules: &[
        Rule::One(&["command", "notebook", "sql", "service", "builtin", "steps"]),
        Rule::Beside("health", &["service"]),
        Rule::Beside("strip_path", &["service"]),
        Rule::Beside("authorization", &["service"]),
        Rule::Beside("access", &["service"]),
        Rule::Beside("start_timeout", &["service"]),
    ],
};

static TEST: Shape = Shape {
    noun: "a test",
    keys: &[
        key("inputs", Form::Map(&Form::Path), "Files of the package that are the inputs."),
        key("with", OPEN, "What the package is given."),
        key("outputs", Form::Map(&Form::Path), "The outputs asked for and their file names."),
        key("expect", Form::Object(&EXPECT), "What it should come to; that it ends well where absent."),
        DESCRIPTION,
    ],
    rules: &[],
};

static EXPECT: Shape = Shape {
    noun: "an expectation",
    keys: &[
        key("fails", Form::Text, "It fails, with this text in its cause or last lines."),
        key("exit", Form::Int(0, 255), "The exit code of its command."),
        key("outputs", Form::Map(&Form::Object(&EXPECTED)), "What each output should be."),
        key("metrics", Form::Map(&Form::Object(&BOUNDS)), "What each metric should be."),
        key(
            "http",
            Form::List(&Form::Object(&ANSWERS)),
            "Of a service: what its paths answer once it is ready.",
        ),
    ],
    rules: &[],
};

static EXPECTED: Shape = Shape {
    noun: "what an output should be",
    keys: &[
        key("rows", COUNT, "A table of so many rows."),
        key("columns", TEXTS, "A table of these columns, in any order."),
        key("equals", Form::Path, "The same bytes as this file of the package."),
        key("contains", Form::Text, "A text that holds this."),
        key("checks", Form::List(&OPEN), "A table that these checks hold of."),
    ],
    rules: &[],
};

static ANSWERS: Shape = Shape {
    noun: "what a path should answer",
    keys: &[
        key("path", Form::Text, "The path below the app's own, such as `/`.").required(),
        key("status", Form::Int(100, 599), "The status; 200 where absent."),
        key("contains", Form::Text, "A text that the answer holds."),
    ],
    rules: &[],
};

static BOUNDS: Shape = Shape {
    noun: "bounds of a number",
    keys: &[key("min", NUMBER, "The least."), key("max", NUMBER, "The greatest.")],
    rules: &[Rule::Some(&["min", "max"])],
};

#[cfg(test)]
mod tests {
    use super::{KINDS, TYPES};
    use crate::package::{FieldKind, Kind};

    #[test]
    fn the_words_of_the_table_are_those_of_the_types() {
        assert_eq!(TYPES, FieldKind::ALL.map(FieldKind::word));
        assert_eq!(KINDS, Kind::ALL.map(Kind::word));
    }
}
