//! The shapes of environments, steps and sweeps.

use super::{COUNT, DESCRIPTION, Form, INPUTS, Key, NUMBER, OPEN, Rule, SHARE, Shape, key};

pub(crate) static ENVIRONMENT: Shape = Shape {
    noun: "an environment",
    keys: &[
        key("python", Form::Python, "The Python version wanted, such as `\">=3.10\"`."),
        key(
            "requirements",
            Form::Either(&[Form::Path, Form::List(&Form::Text)]),
            "A file of pip's form, a `pyproject.toml`, or a list.",
        )
        .elsewhere(&["dependencies", "pip"]),
        key("r", Form::Version, "The R version wanted, such as `\"4\"`."),
        key("packages", Form::List(&Form::Text), "R packages."),
        key(
            "conda",
            Form::Either(&[Form::Path, Form::List(&Form::Text)]),
            "A conda `environment.yml`, or a list of what to install.",
        )
        .elsewhere(&["mamba", "micromamba"]),
        key(
            "channels",
            Form::List(&Form::Text),
            "Conda's channels, beside a list; `conda-forge` where absent.",
        ),
        key("image", Form::Text, "A container image, for podman or docker."),
        key("rootfs", Form::Path, "A root file system as a `.tar` file, for bubblewrap."),
        key("nix", Form::Path, "A `flake.nix`, or an expression for `nix-build`."),
        key("host", Form::List(&Form::Text), "Tools of the host by name: their versions are recorded."),
    ],
    rules: &[
        Rule::One(&["python", "r", "conda", "image", "rootfs", "nix", "host"]),
        Rule::Beside("requirements", &["python"]),
        Rule::Beside("packages", &["r"]),
        Rule::Beside("channels", &["conda"]),
    ],
};

/// How strongly a step is kept to what it declares.
pub(crate) const ISOLATIONS: &[&str] = &["none", "landlock", "bubblewrap", "auto"];

pub(super) const RUN: Key =
    key("run", Form::Text, "A command for the shell.").elsewhere(&["cmd", "command", "script"]);
pub(super) const USES: Key =
    key("uses", Form::Text, "A package: built in, a folder `./packages/x`, or a Git address.");
pub(super) const WITH: Key =
    key("with", OPEN, "What the package is given.").elsewhere(&["args", "arguments"]);

pub(crate) static STEP: Shape = Shape {
    noun: "a step",
    keys: &[
        RUN,
        key("sql", Form::Text, "A file ending in `.sql`, or the SQL itself."),
        USES,
        WITH,
        key("environment", Form::Name, "Its environment.").elsewhere(&["env", "image", "container"]),
        key("isolation", Form::Choice(ISOLATIONS), "How strongly it is kept to what it declares.")
            .elsewhere(&["sandbox"]),
        key(
            "network",
            Form::Bool,
            "Whether it may use the network where it is isolated; `false` where absent.",
        ),
        key("inputs", INPUTS, "References, `data.NAME` or `STEP.OUTPUT`: a list, or local names to them.")
            .elsewhere(&["deps", "needs", "depends_on", "dependencies", "in"]),
        key("outputs", Form::Map(&Form::Path), "Names to paths; a folder's ends in `/`.")
            .elsewhere(&["outs", "out"]),
        key("params", Form::List(&Form::Name), "Parameters it reads beside those its expressions name."),
        key("code", Form::OneOrMore(&Form::Path), "Files and folders that are code: a change runs it again."),
        key("metrics", Form::Path, "A JSON file of metrics to read into the run."),
        key("sweep", Form::Object(&SWEEP), "A search over parameters."),
        key("matrix", Form::Map(&Form::List(&Form::Scalar)), "Run once for each combination."),
        key(
            "when",
            Form::Scalar,
            "A condition over `params`, `matrix` and `inputs`; left out where it does not hold.",
        )
        .elsewhere(&["if"]),
        key(
            "retries",
            Form::Either(&[Form::Int(0, 100), Form::Object(&RETRIES)]),
            "How often it is tried again, and how long it rests before.",
        )
        .elsewhere(&["retry"]),
        key("timeout", Form::Span, "How long it may take.").elsewhere(&["timeout_minutes", "time_limit"]),
        key("resources", Form::Object(&RESOURCES), "What it needs of the machine."),
        key("cache", Form::Bool, "Whether an earlier run with the same key may stand for it."),
        key("deterministic", Form::Bool, "Whether equal keys give equal outputs."),
        key(
            "reproducible",
            Form::Object(&REPRODUCIBLE),
            "How near outputs have to come when a run is made again.",
        ),
        DESCRIPTION,
    ],
    rules: &[Rule::One(&["run", "sql", "uses"]), Rule::Beside("with", &["uses"])],
};

static REPRODUCIBLE: Shape = Shape {
    noun: "a mapping of tolerances",
    keys: &[
        key(
            "tolerance",
            NEARNESS,
            "The greatest relative difference of numbers; 0: only the form may differ, such as times in an archive.",
        )
        .elsewhere(&["rtol", "epsilon"]),
        key("outputs", Form::Map(&NEARNESS), "The same for single outputs."),
    ],
    rules: &[Rule::Some(&["tolerance", "outputs"])],
};

const NEARNESS: Form = Form::Float(0.0, 1.0);

static RETRIES: Shape = Shape {
    noun: "a mapping of retries",
    keys: &[
        key("times", Form::Int(0, 100), "How often it is tried again.")
            .required()
            .elsewhere(&["max", "count"]),
        key("delay", Form::Span, "The first rest; `1s` where absent.").elsewhere(&["wait", "interval"]),
        key("factor", Form::Float(1.0, 100.0), "What each further rest is multiplied by; 2 where absent."),
        key("max_delay", Form::Span, "The longest rest; `1m` where absent."),
        key("jitter", SHARE, "The share by which a rest varies by chance; 0.5 where absent."),
    ],
    rules: &[],
};

pub(crate) static RESOURCES: Shape = Shape {
    noun: "a mapping of resources",
    keys: &[
        key("cpus", Form::Float(0.0, 100_000.0), "Processor cores.").elsewhere(&["cpu", "cores"]),
        key("memory", Form::Bytes, "Memory, such as `4GB`.").elsewhere(&["mem", "ram"]),
        key("gpus", Form::Int(0, 100_000), "Graphics cards.").elsewhere(&["gpu"]),
        key(
            "custom",
            Form::Map(&Form::Int(0, 100_000)),
            "Anything else that is scarce, by a name of yours; there is one of each unless `rondo run --resource` says more.",
        ),
    ],
    rules: &[],
};

static SWEEP: Shape = Shape {
    noun: "a sweep",
    keys: &[
        key("strategy", Form::Choice(STRATEGIES), "How the next trial is chosen; `grid` where absent.")
            .elsewhere(&["method", "algorithm"]),
        key("trials", Form::Int(1, 1_000_000), "How many trials.").elsewhere(&["max_trials", "n_trials"]),
        key(
            "over",
            Form::Map(&RANGE),
            "The parameters and their ranges; `auto` for the one that the step's package declares.",
        )
        .required()
        .elsewhere(&["space", "parameters"]),
        key("maximize", Form::Text, "The metric to make great."),
        key("minimize", Form::Text, "The metric to make small."),
        key("seed", COUNT, "The seed of the choices; 0 where absent."),
        key(
            "prune",
            Form::Either(&[Form::Bool, Form::Object(&PRUNE)]),
            "Whether a trial that falls behind is stopped, by the metric that it reports with its steps.",
        )
        .elsewhere(&["pruner", "early_stopping", "scheduler"]),
        key(
            "max_failed",
            Form::Int(0, 1_000_000),
            "How many trials may fail before the step does; 3 where absent.",
        )
        .elsewhere(&["max_failures", "max_failed_trials"]),
    ],
    rules: &[Rule::One(&["maximize", "minimize"])],
};

static PRUNE: Shape = Shape {
    noun: "a mapping of pruning",
    keys: &[
        key(
            "min_steps",
            Form::Int(1, 1_000_000_000),
            "The step at which it is looked first; 1 where absent.",
        )
        .elsewhere(&["min_resource", "grace_period", "warmup"]),
        key(
            "factor",
            Form::Int(2, 1000),
            "Of how many trials one goes on, and how much later it is looked again; 4 where absent.",
        )
        .elsewhere(&["reduction_factor", "eta"]),
    ],
    rules: &[],
};

pub(crate) const STRATEGIES: &[&str] = &["grid", "random", "tpe", "asha"];

const RANGE: Form =
    Form::Either(&[Form::List(&Form::Scalar), Form::Object(&RANGES), Form::Choice(&["auto"])]);

static RANGES: Shape = Shape {
    noun: "a range",
    keys: &[
        key("int", Form::List(&Form::Int(i64::MIN, i64::MAX)), "Whole numbers: `[least, greatest]`."),
        key("float", Form::List(&NUMBER), "Numbers: `[least, greatest]`."),
        key("choice", Form::List(&Form::Scalar), "One of these."),
        key("step", NUMBER, "From one number to the next.").elsewhere(&["q"]),
        key("log", Form::Bool, "Whether to search on a logarithmic scale."),
    ],
    rules: &[
        Rule::One(&["int", "float", "choice"]),
        Rule::Beside("log", &["int", "float"]),
        Rule::Beside("step", &["int", "float"]),
    ],
};
