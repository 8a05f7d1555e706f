//! The shapes of what lives after training: models, endpoints, monitors, triggers, apps.

use super::pipeline::{USES, WITH};
use super::{COUNT, DESCRIPTION, Form, INPUTS, Key, NUMBER, OBJECTIVES, Rule, SHARE, Shape, TEXTS, key};

pub(super) static MODEL: Shape = Shape {
    noun: "a model",
    keys: &[
        key("from", Form::Text, "The output that holds its file: `STEP.OUTPUT`.")
            .required()
            .elsewhere(&["source", "file"]),
        key("task", Form::Choice(TASKS), "What it predicts.").required().elsewhere(&["type", "kind"]),
        key("target", Form::Text, "The label's column.").required().elsewhere(&["label"]),
        key("positive", Form::Scalar, "The label's value that counts as positive; 1 where absent.")
            .elsewhere(&["positive_class"]),
        key("threshold", SHARE, "Score at or above which the positive class is predicted."),
        key("time", Form::Text, "The column of the event time."),
        key("key", Form::Text, "The column that names a row.").elsewhere(&["id"]),
        key("slices", TEXTS, "The columns it is evaluated by.").elsewhere(&["slice", "segments"]),
        key("evaluation", Form::Name, "The step whose evaluation the gate judges."),
        key("metric", Form::Text, "What challenger and champion are compared by."),
        key(
            "gate",
            Form::OneOrMore(&Form::Choice(GATES)),
            "What a promotion has to pass; `[objectives, beats_champion]` where absent. With `approval` it waits for `rondo models approve`.",
        )
        .elsewhere(&["gates"]),
        key("refit", Form::Bool, "Whether the promoted version is refitted on everything."),
        DESCRIPTION,
    ],
    rules: &[],
};

pub(crate) const TASKS: &[&str] = &["binary", "multiclass", "regression"];
pub(crate) const GATES: &[&str] = &["objectives", "beats_champion", "improves", "approval"];

pub(super) static ENDPOINT: Shape = Shape {
    noun: "an endpoint",
    keys: &[
        key("model", Form::Text, "What answers: `MODEL@ALIAS`.").required(),
        key("shadow", Form::Text, "What is asked too, without its answer being given."),
        key("log", Form::Object(&LOG), "What is kept of each prediction."),
    ],
    rules: &[],
};

static LOG: Shape = Shape {
    noun: "a mapping of `sample` and `durable`",
    keys: &[
        key("sample", SHARE, "The share that is logged."),
        key("durable", Form::Bool, "Whether each is on disk before it is answered."),
    ],
    rules: &[],
};

pub(crate) static MONITOR: Shape = Shape {
    noun: "a monitor",
    keys: &[
        key("window", Form::Span, "The length of a window in event time.").required(),
        key(
            "drift",
            Form::Either(&[Form::Choice(METHODS), Form::Object(&DRIFT)]),
            "How drift is looked for.",
        ),
        key("ground_truth", Form::Object(&GROUND_TRUTH), "How the truth comes in.")
            .elsewhere(&["truth", "labels"]),
        key("reference", Form::Text, "What is compared with: a reference; the training data where absent.")
            .elsewhere(&["baseline"]),
        key("objectives", OBJECTIVES, "Its own objectives instead of the canvas's."),
        key(
            "checks",
            Form::Either(&[Form::Text, Form::List(&Form::Check)]),
            "What the inputs of a window have to be like: checks, a file of them, or `data.NAME` for a dataset's.",
        )
        .elsewhere(&["expectations", "quality", "suite"]),
        key("min_rows", COUNT, "Fewer rows in a window are not judged."),
        key("cool_down", Form::Span, "How long an alert of drift or of a check stays silent after it was raised.")
            .elsewhere(&["cooldown"]),
    ],
    rules: &[],
};

pub(crate) const METHODS: &[&str] = &[
    "auto",
    "off",
    "psi",
    "ks",
    "wasserstein",
    "jensen_shannon",
    "chi_squared",
    "total_variation",
    "hellinger",
];

static DRIFT: Shape = Shape {
    noun: "a mapping of how drift is looked for",
    keys: &[
        key("method", Form::Choice(METHODS), "The method; `auto` where absent.").elsewhere(&["test"]),
        key("threshold", NUMBER, "The value at which it is an alert."),
        key("columns", TEXTS, "The columns looked at; all where absent."),
        key("ignore", TEXTS, "The columns left out.").elsewhere(&["exclude"]),
    ],
    rules: &[],
};

static GROUND_TRUTH: Shape = Shape {
    noun: "a mapping of how the truth comes in",
    keys: &[key("max_delay", Form::Span, "How late it may come, in event time.")
        .required()
        .elsewhere(&["delay"])],
    rules: &[],
};

pub(super) static TRIGGER: Shape = Shape {
    noun: "a trigger",
    keys: &[
        key("schedule", Form::Text, "A cron line of five fields, UTC.").elsewhere(&["cron"]),
        key("alert", Form::Text, "The beginning of an alert's name, such as `delay.drift`."),
        key("run", Form::OneOrMore(&Form::Name), "The steps wanted; what they need runs with them.")
            .required()
            .elsewhere(&["steps", "targets"]),
        key("then", Form::Choice(&["register", "promote"]), "What follows a run that ended well."),
        key("cool_down", Form::Span, "How long after one run the next may start.").elsewhere(&["cooldown"]),
        key(
            "params",
            Form::Map(&Form::OneOrMore(&Form::Scalar)),
            "Parameters that differ from the project's.",
        ),
    ],
    rules: &[Rule::One(&["schedule", "alert"])],
};

pub(crate) const HEALTH: Key =
    key("health", Form::Text, "The path, below its own, that answers with success once it is ready.");
pub(crate) const STRIP_PATH: Key = key(
    "strip_path",
    Form::Bool,
    "Whether `/apps/NAME` is taken away from what it is asked, for one that knows of no path before its own.",
);
pub(crate) const AUTHORIZATION: Key = key(
    "authorization",
    Form::Text,
    "The `Authorization` that requests are passed on with; `{token}` is what it finds in `RONDO_APP_TOKEN`, `{basic}` the same as a password.",
);
pub(crate) const ACCESS: Key =
    key("access", Form::Choice(AUDIENCE), "Who may use it, where there are users; `viewer` where absent.");
pub(crate) const START_TIMEOUT: Key =
    key("start_timeout", Form::Span, "How long it may take until it is ready; `60s` where absent.");

pub(crate) const AUDIENCE: &[&str] = &["viewer", "editor", "admin"];

pub(super) static APP: Shape = Shape {
    noun: "an app",
    keys: &[
        key(
            "run",
            Form::Text,
            "A command that goes on until it is stopped; `{port}` or `{socket}` and `{path}` say where to listen.",
        )
        .elsewhere(&["cmd", "command"]),
        USES,
        WITH,
        key("files", Form::Text, "A file or folder that is shown as it is: a path, or `${{ inputs.NAME }}`."),
        key("environment", Form::Name, "Its environment."),
        key("inputs", INPUTS, "References, also `MODEL@ALIAS`: a list, or local names to them."),
        HEALTH,
        STRIP_PATH,
        AUTHORIZATION,
        ACCESS,
        START_TIMEOUT,
        key("drain", Form::Span, "How long an old process may finish what is open; `30s` where absent."),
        key(
            "restarts",
            Form::Int(0, 1000),
            "How often in a row it is started again after it died; 5 where absent.",
        ),
        DESCRIPTION,
    ],
    rules: &[Rule::One(&["run", "uses", "files"]), Rule::Beside("with", &["uses"])],
};
