//! Which keys may be written where in `rondo.yaml`, and what may stand at each: the one table.
//!
//! The checker walks a file by it ([`crate::check`]), and the published JSON Schema is generated from it
//! ([`crate::schema`]); so neither can know a key that the other does not. What the table cannot say
//! (does the step exist, is the objective possible) is said by the checker alone.

pub mod datasheet;
pub(crate) mod live;
pub(crate) mod pipeline;
mod team;

/// A mapping with fixed keys.
#[derive(Debug)]
pub struct Shape {
    /// What such a mapping is, for messages and the schema: `a step`.
    pub noun: &'static str,
    /// The keys, in the order in which they are best written.
    pub keys: &'static [Key],
    /// What holds between the keys.
    pub rules: &'static [Rule],
}

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What may stand there.
    pub form: Form,
    /// Whether it has to be there.
    pub required: bool,
    /// What other tools call it, to offer the right word.
    pub elsewhere: &'static [&'static str],
    /// One sentence for people.
    pub doc: &'static str,
}

/// What holds between the keys of a mapping.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Exactly one of these is there.
    One(&'static [&'static str]),
    /// At least one of these is there.
    Some(&'static [&'static str]),
    /// The first is there only beside one of the second.
    Beside(&'static str, &'static [&'static str]),
}

/// What may stand at a key.
#[derive(Debug)]
pub enum Form {
    /// Text.
    Text,
    /// A version: text, or a number taken as it is written (`3.10`).
    Version,
    /// A version of Python, or a set of specifiers (PEP 440).
    Python,
    /// The name of something declared elsewhere in the file.
    Name,
    /// A path relative to the project, staying inside it.
    Path,
    /// A length of time.
    Span,
    /// A size: a number of bytes, or text such as `4GB`.
    Bytes,
    /// `true` or `false`.
    Bool,
    /// A whole number between two, both included.
    Int(i64, i64),
    /// A number between two, both included.
    Float(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text, number or `true`/`false`.
    Scalar,
    /// Anything.
    Any,
    /// A list.
    List(&'static Form),
    /// One, or a list.
    OneOrMore(&'static Form),
    /// A mapping from names to these.
    Map(&'static Form),
    /// An expectation of data: a mapping whose keys are known to its judge ([`crate::builtins::Builtins`]).
    Check,
    /// A mapping with fixed keys.
    Object(&'static Shape),
    /// One of these, told apart by whether a scalar, a list or a mapping stands there.
    Either(&'static [Form]),
}

impl Shape {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// What mapping a key belongs to, for a key that stands in the wrong one.
pub fn owner(root: &'static Shape, key: &str) -> Option<&'static str> {
    fn within(form: &'static Form, key: &str) -> Option<&'static str> {
        match form {
            Form::List(inner) | Form::OneOrMore(inner) | Form::Map(inner) => within(inner, key),
            Form::Either(forms) => forms.iter().find_map(|form| within(form, key)),
            Form::Object(shape) => inside(shape, key),
            _ => None,
        }
    }
    fn inside(shape: &'static Shape, key: &str) -> Option<&'static str> {
        let own = shape.key(key).map(|_| shape.noun);
        own.or_else(|| shape.keys.iter().find_map(|inner| within(&inner.form, key)))
    }
    inside(root, key)
}

impl Form {
    /// What it is, for messages: `a whole number from 0 to 100`.
    pub fn noun(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Version => "a version, such as `3.11` or `\">=3.10\"`".into(),
            Self::Python => "a version of Python, such as `3.11` or `\">=3.10,<3.14\"`".into(),
            Self::Name => "a name".into(),
            Self::Path => "a path relative to the project".into(),
            Self::Span => "a length of time, such as `30s`, `15m`, `2h`, `7d`".into(),
            Self::Bytes => "a size, such as `512MB` or `4GB`".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Int(low, high) => {
                format!("a whole number{}", bounds(*low > i64::MIN, low, *high < i64::MAX, high))
            }
            Self::Float(low, high) => {
                format!("a number{}", bounds(low.is_finite(), low, high.is_finite(), high))
            }
            Self::Choice(words) => any_of(words),
            Self::Scalar => "text, a number, `true` or `false`".into(),
            Self::Any => "anything".into(),
            Self::List(form) => format!("a list, each item {}", form.noun()),
            Self::OneOrMore(form) => format!("{}, or a list of such", form.noun()),
            Self::Map(form) => format!("a mapping from names, to each {}", form.noun()),
            Self::Check => Self::Map(&Self::Any).noun(),
            Self::Object(shape) => shape.noun.to_owned(),
            Self::Either(forms) => forms.iter().map(Self::noun).collect::<Vec<_>>().join(", or "),
        }
    }
}

fn bounds<T: std::fmt::Display>(has_low: bool, low: T, has_high: bool, high: T) -> String {
    match (has_low, has_high) {
        (true, true) => format!(" from {low} to {high}"),
        (true, false) => format!(", {low} or more"),
        (false, true) => format!(", {high} or less"),
        (false, false) => String::new(),
    }
}

/// Words as a choice: `` `a`, `b` or `c` ``.
pub fn any_of<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

pub(crate) const fn key(name: &'static str, form: Form, doc: &'static str) -> Key {
    Key { name, form, required: false, elsewhere: &[], doc }
}

impl Key {
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) const fn elsewhere(self, words: &'static [&'static str]) -> Self {
        Self { elsewhere: words, ..self }
    }
}

pub(crate) const COUNT: Form = Form::Int(0, i64::MAX);
pub(crate) const NUMBER: Form = Form::Float(f64::NEG_INFINITY, f64::INFINITY);
const SHARE: Form = Form::Float(0.0, 1.0);
pub(crate) const TEXTS: Form = Form::OneOrMore(&Form::Text);
/// Local names to references, or a list of references.
const INPUTS: Form = Form::Either(&[Form::List(&Form::Text), Form::Map(&Form::Text)]);
pub(crate) const OPEN: Form = Form::Map(&Form::Any);
pub(crate) const DESCRIPTION: Key = key("description", Form::Text, "For people.");

/// The whole file, in the order of the lifecycle.
pub static ROOT: Shape = Shape {
    noun: "a project",
    keys: &[
        key("project", Form::Name, "The project's name, also that of its experiment.")
            .required()
            .elsewhere(&["name"]),
        key("canvas", Form::Object(&CANVAS), "The business problem: what for, for whom, how good."),
        key(
            "data",
            Form::Map(&Form::Object(&DATASET)),
            "Datasets: where they come from, what they must satisfy.",
        )
        .elsewhere(&["datasets", "dataset"]),
        key("environments", Form::Map(&Form::Object(&pipeline::ENVIRONMENT)), "What steps find around them.")
            .elsewhere(&["env", "envs", "environment"]),
        key(
            "isolation",
            Form::Choice(pipeline::ISOLATIONS),
            "How strongly steps are kept to what they declare; `none` where absent.",
        )
        .elsewhere(&["sandbox"]),
        key("params", Form::Map(&Form::OneOrMore(&Form::Scalar)), "Parameters: scalars or lists of them.")
            .elsewhere(&["parameters", "vars", "config"]),
        key(
            "steps",
            Form::Map(&Form::Object(&pipeline::STEP)),
            "The pipeline: any command, SQL, notebook or package.",
        )
        .elsewhere(&["stages", "jobs", "tasks", "pipeline"]),
        key(
            "models",
            Form::Map(&Form::Object(&live::MODEL)),
            "Models: declared once for gate, serving and monitors.",
        )
        .elsewhere(&["model"]),
        key("serve", Form::Map(&Form::Object(&live::ENDPOINT)), "Endpoints that answer with a model.")
            .elsewhere(&["serving", "deploy", "deployments", "endpoints"]),
        key("monitor", Form::Map(&Form::Object(&live::MONITOR)), "Monitors of live traffic.")
            .elsewhere(&["monitoring", "monitors"]),
        key("triggers", Form::List(&Form::Object(&live::TRIGGER)), "What starts runs by itself.")
            .elsewhere(&["on", "schedules", "trigger"]),
        key("apps", Form::Map(&Form::Object(&live::APP)), "Apps that run until they are stopped.")
            .elsewhere(&["services"]),
        team::REMOTES,
        team::CACHE_KEY,
    ],
    rules: &[],
};

static CANVAS: Shape = Shape {
    noun: "a canvas",
    keys: &[
        key("value", Form::Text, "What it is worth, to whom."),
        key("decision", Form::Text, "The decision that a prediction leads to."),
        key("prediction", Form::Text, "What is predicted."),
        key("stakeholders", TEXTS, "Who is concerned."),
        key("inputs", TEXTS, "What is known when a prediction is asked for."),
        key("output", Form::Text, "What comes out.").elsewhere(&["outputs"]),
        key("process", TEXTS, "How it is used, step by step."),
        key("data_sources", TEXTS, "Where the data come from."),
        key("harms", TEXTS, "What may go wrong, for whom.").elsewhere(&["risks"]),
        key("objectives", OBJECTIVES, "The numbers: gates of promotions, alarms of monitors.")
            .elsewhere(&["goals", "metrics"]),
    ],
    rules: &[],
};

pub(crate) const OBJECTIVES: Form = Form::List(&Form::Object(&OBJECTIVE));

static OBJECTIVE: Shape = Shape {
    noun: "an objective",
    keys: &[
        key("metric", Form::Text, "The metric's name, such as `roc_auc`.").required(),
        key("min", NUMBER, "The value it must not fall below.").elsewhere(&["minimum", "at_least", "above"]),
        key("max", NUMBER, "The value it must not rise above.").elsewhere(&["maximum", "at_most", "below"]),
        key("slice", Form::Text, "Judge each value of this column by itself."),
        key("by", Form::Text, "The column whose groups a fairness metric compares."),
        key("min_rows", COUNT, "Fewer labelled rows are not judged, or pooled with other small slices."),
        key("min_positives", COUNT, "Fewer positives are not judged, or pooled."),
        key("on", Form::Choice(&["promote", "monitor"]), "When it is looked at; both where absent.")
            .elsewhere(&["when"]),
    ],
    rules: &[Rule::Some(&["min", "max"])],
};

pub(crate) static READING: Shape = Shape {
    noun: "ways of reading",
    keys: &[
        key("delimiter", Form::Text, "What separates fields; found by looking where absent.")
            .elsewhere(&["sep", "separator"]),
        key("quote", Form::Text, "What encloses fields, or `none`.").elsewhere(&["quotechar"]),
        key("escape", Form::Text, "What stands before a quote in a quoted field.").elsewhere(&["escapechar"]),
        key("comment", Form::Text, "Lines that begin with it are passed over."),
        key("skip", Form::Int(0, 1_000_000), "Lines or rows before the table.")
            .elsewhere(&["skiprows", "skip_rows"]),
        key("header", Form::Bool, "Whether the first line holds the names."),
        key("decimal", Form::Choice(&[".", ","]), "What stands before the decimals."),
        key("thousands", Form::Text, "What stands between groups of three digits."),
        key("encoding", Form::Text, "The encoding of text, such as `windows-1252` or `shift_jis`."),
        key("null", TEXTS, "The texts that stand for a missing value.").elsewhere(&["na_values", "nulls"]),
        key("types", Form::Map(&Form::Choice(READ_TYPES)), "Types of columns that are not to be inferred.")
            .elsewhere(&["dtype", "dtypes", "columns"]),
        key("sheet", Form::Text, "Of a workbook the sheet.").elsewhere(&["sheet_name"]),
        key("nested", Form::Choice(&["text", "columns"]), "Objects in JSON objects: text, or columns `a.b`."),
    ],
    rules: &[],
};

const READ_TYPES: &[&str] = &["string", "integer", "number", "boolean", "timestamp"];

static DATASET: Shape = Shape {
    noun: "a dataset",
    keys: &[
        key(
            "source",
            Form::Text,
            "A path, glob or folder, or an address: https, s3, gs, az, postgres, mysql, sqlite, pypi.",
        )
        .required()
        .elsewhere(&["path", "url", "uri", "file", "from"]),
        key("format", Form::Choice(FORMATS), "The format, where the source's name does not tell it."),
        key("time", Form::Text, "The column of the event time."),
        key(
            "parts",
            Form::Either(&[Form::Choice(PERIODS), Form::Object(&PARTS)]),
            "How the rows arrive over time.",
        ),
        key("read", Form::Object(&READING), "How its files are read, where they do not say it themselves.")
            .elsewhere(&["dialect", "read_options", "csv"]),
        key("query", Form::Text, "Of a database: what is asked, as SQL or the path of a file `.sql`.")
            .elsewhere(&["sql", "select"]),
        key("labels", Form::Text, "Where labels are: `path`, or a table, Label Studio or CVAT export.")
            .elsewhere(&["annotations"]),
        key("max_size", Form::Bytes, "A source that is larger is not downloaded."),
        key("timeout", Form::Span, "How long a download or a query may take."),
        key("checks", Form::List(&Form::Check), "Expectations: what is not so is refused.").elsewhere(&[
            "expectations",
            "tests",
            "validate",
        ]),
        key("key", TEXTS, "The column, or columns, that say which row is which.")
            .elsewhere(&["primary_key", "id"]),
        key(
            "datasheet",
            Form::Either(&[Form::Path, Form::Object(&datasheet::DATASHEET)]),
            "What people know of it beside the data: answers, or a Markdown file of them.",
        ),
        DESCRIPTION,
    ],
    rules: &[],
};

pub(crate) const FORMATS: &[&str] = &["parquet", "csv", "tsv", "json", "jsonl", "arrow", "excel", "files"];
pub(crate) const PERIODS: &[&str] = &["day", "week", "month", "year"];

static PARTS: Shape = Shape {
    noun: "a mapping of `by` and `column`",
    keys: &[
        key("by", Form::Choice(PERIODS), "How long a part is.").required(),
        key("column", Form::Text, "The column whose time decides; of a folder, the files' names do."),
    ],
    rules: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn walk(form: &'static Form, seen: &mut HashSet<*const Shape>, visit: &mut dyn FnMut(&'static Shape)) {
        match form {
            Form::List(inner) | Form::OneOrMore(inner) | Form::Map(inner) => walk(inner, seen, visit),
            Form::Either(forms) => forms.iter().for_each(|form| walk(form, seen, visit)),
            Form::Object(shape) if seen.insert(*shape) => {
                visit(shape);
                shape.keys.iter().for_each(|key| walk(&key.form, seen, visit));
            }
            _ => {}
        }
    }

    #[test]
    fn the_tables_are_sound() {
        static WHOLE: Form =
            Form::Either(&[Form::Object(&ROOT), Form::Object(&crate::package::shape::PACKAGE)]);
        walk(&WHOLE, &mut HashSet::new(), &mut |shape| {
            let names: HashSet<_> = shape.keys.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), shape.keys.len(), "{}: a key stands twice", shape.noun);
            for key in shape.keys {
                assert!(key.doc.ends_with('.'), "{}", key.name);
                assert!(key.elsewhere.iter().all(|word| !names.contains(word)), "{}", key.name);
            }
            for rule in shape.rules {
                let named: Vec<&str> = match rule {
                    Rule::One(keys) | Rule::Some(keys) => keys.to_vec(),
                    Rule::Beside(key, keys) => keys.iter().copied().chain([*key]).collect(),
                };
                assert!(named.iter().all(|name| names.contains(name)), "{}: {rule:?}", shape.noun);
            }
        });
    }
}
