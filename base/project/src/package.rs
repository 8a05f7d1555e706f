//! Packages: what a step may use, with a typed interface and a way to run.
//!
//! A package is a folder with a `package.yaml`, or one that is built into the binary and described by a
//! file of the same form. It extends nothing; a workflow, whose steps use other packages, is a package too.
//! Read in this order: here is what a checked package is; [`read`] makes it from text, with every fault
//! located; [`expand`] puts packages in the place of the steps that use them; [`schema`] and [`cue`] say the
//! interface in the languages of others.

pub mod cue;
pub mod expand;
mod kinds;
pub mod load;
pub mod read;
pub mod schema;
pub(crate) mod shape;

use std::path::PathBuf;

use rondo_core::Span;
use serde::Serialize;
use serde_json::Value;

use crate::ordered::Ordered;
use crate::project::{Care, Environment, Resources, SqlSource, Step};

pub use kinds::Kind;

/// The name of a package's file.
pub const PACKAGE_FILE: &str = "package.yaml";

/// A checked package.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Package {
    /// Its name; of one that is built in, also what stands after `uses:`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence for people.
    pub summary: String,
    /// More for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it runs until it is stopped: then it is for `apps:`, else for `steps:`.
    pub app: bool,
    /// What goes in.
    pub inputs: Ports,
    /// What comes out.
    pub outputs: Ports,
    /// Its parameters: the keys of its `with:` block.
    pub with: Vec<Field>,
    /// How it runs.
    pub run: Run,
    /// What it finds around it; absent: what the step that uses it finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What it needs of the machine, where the step does not say.
    pub resources: Resources,
    /// How long it may take, where the step does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Its own tests.
    pub tests: Ordered<Test>,
    /// Its folder, relative to the project or absolute; none for one that is built in.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    /// What it is pinned under: its folder as `./packages/x`, or its address.
    #[serde(skip)]
    pub origin: String,
}

impl Package {
    /// A package in Rust that takes any inputs and outputs.
    pub fn builtin(name: &str, with: Vec<Field>) -> Self {
        Self {
            name: name.to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            description: None,
            app: false,
            inputs: Ports::Any,
            outputs: Ports::Any,
            with,
            run: Run::Builtin { builtin: name.to_owned() },
            environment: None,
            resources: Resources::default(),
            timeout: None,
            tests: Ordered::new(),
            folder: None,
            origin: name.to_owned(),
        }
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.with.iter().find(|field| field.name == name)
    }
}

/// How a package runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// A command for the shell, in a copy of the package's folder.
    Command {
        /// The text; may hold expressions.
        command: String,
    },
    /// A notebook of the package; its parameters are the package's.
    Notebook {
        /// Its file.
        notebook: String,
    },
    /// SQL.
    Sql {
        /// The text, or a file of the package.
        source: SqlSource,
    },
    /// A command that runs until it is stopped.
    Service {
        /// The text.
        service: String,
        /// How it is reached and looked after.
        care: Care,
    },
    /// A package in Rust.
    Builtin {
        /// Its name.
        builtin: String,
    },
    /// A workflow: steps of its own.
    Steps {
        /// The steps.
        steps: Ordered<Step>,
        /// For each output of the workflow the step and output that make it.
        from: Ordered<(String, String)>,
    },
}

impl Run {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Notebook { .. } => "notebook",
            Self::Sql { .. } => "sql",
            Self::Service { .. } => "service",
            Self::Builtin { .. } => "built-in",
            Self::Steps { .. } => "workflow",
        }
    }
}

/// Inputs or outputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Ports {
    /// Any number of any kind under any name.
    #[serde(serialize_with = "any_word")]
    Any,
    /// These.
    Listed(Vec<Port>),
}

fn any_word<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("any")
}

impl Ports {
    /// Those that are listed.
    pub fn listed(&self) -> &[Port] {
        match self {
            Self::Any => &[],
            Self::Listed(ports) => ports,
        }
    }

    /// The listed one of that name.
    pub fn get(&self, name: &str) -> Option<&Port> {
        self.listed().iter().find(|port| port.name == name)
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether it has to be there.
    pub required: bool,
    /// What it is for.
    pub doc: String,
}

impl Port {
    /// A file's name that says what the port is.
    pub fn file(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Dataset => format!("{name}.parquet"),
            Kind::Model => format!("{name}.onnx"),
            Kind::Notebook => format!("{name}.ipynb"),
            Kind::Report => format!("{name}.html"),
            Kind::Metrics => format!("{name}.json"),
            Kind::Images | Kind::Folder => format!("{name}/"),
            Kind::Any => name.clone(),
        }
    }
}

/// One parameter of a package: a key of its `with:` block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// The key.
    pub name: String,
    /// What may stand there.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Whether it has to be given.
    pub required: bool,
    /// What holds where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values allowed; empty: any.
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Value>,
    /// The least number, or the least number of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What a text has to look like as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What it is for.
    pub doc: String,
}

impl Field {
    /// A key that may be left out.
    pub fn optional(name: &str, kind: FieldKind, doc: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            required: false,
            default: None,
            allowed: Vec::new(),
            min: None,
            max: None,
            pattern: None,
            doc: doc.to_owned(),
        }
    }

    /// A key that has to be given.
    pub fn required(name: &str, kind: FieldKind, doc: &str) -> Self {
        Self { required: true, ..Self::optional(name, kind, doc) }
    }

    /// What may stand there, in words.
    pub fn noun(&self) -> String {
        if !self.allowed.is_empty() {
            let words: Vec<String> = self.allowed.iter().map(plain).collect();
            return crate::shape::any_of(&words);
        }
        let mut noun = self.kind.noun().to_owned();
        let items = if self.kind.is_list() { " items" } else { "" };
        match (self.min, self.max) {
            (Some(min), Some(max)) => noun.push_str(&format!(", from {min} to {max}{items}")),
            (Some(min), None) => noun.push_str(&format!(", {min}{items} or more")),
            (None, Some(max)) => noun.push_str(&format!(", {max}{items} or less")),
            (None, None) => {}
        }
        if let Some(pattern) = &self.pattern {
            noun.push_str(&format!(" of the form `{pattern}`"));
        }
        noun
    }
}

/// A scalar as it would be written.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What may stand at a key of a `with:` block. An expression may stand anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum FieldKind {
    /// Text.
    #[serde(rename = "text")]
    Text,
    /// A whole number.
    #[serde(rename = "int")]
    Int,
    /// A number.
    #[serde(rename = "float")]
    Float,
    /// `true` or `false`.
    #[serde(rename = "bool")]
    Bool,
    /// A length of time, such as `30s`.
    #[serde(rename = "duration")]
    Span,
    /// A file of the project that has to exist.
    #[serde(rename = "file")]
    File,
    /// A notebook of the project that has to exist; its tagged cell declares what a `Parameters` key of
    /// the same block may hold.
    #[serde(rename = "notebook")]
    Notebook,
    /// The parameters of the block's notebook: a mapping.
    #[serde(rename = "parameters")]
    Parameters,
    /// A list of texts, or one.
    #[serde(rename = "list<text>")]
    Texts,
    /// A list of whole numbers.
    #[serde(rename = "list<int>")]
    Ints,
    /// A list of numbers.
    #[serde(rename = "list<float>")]
    Floats,
    /// A column's name.
    #[serde(rename = "column")]
    Column,
    /// The name of an environment variable that holds a secret: `{ from_env: NAME }`.
    #[serde(rename = "secret")]
    Secret,
    /// Parameters of the block's notebook by the environment variables that hold their values.
    #[serde(rename = "secrets")]
    Secrets,
    /// An amount of memory, such as `2GB`.
    #[serde(rename = "size")]
    Size,
    /// A mapping or list of any form.
    #[serde(rename = "any")]
    Any,
}

impl FieldKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Text,
        Self::Int,
        Self::Float,
        Self::Bool,
        Self::Span,
        Self::File,
        Self::Notebook,
        Self::Parameters,
        Self::Texts,
        Self::Ints,
        Self::Floats,
        Self::Column,
        Self::Secret,
        Self::Secrets,
        Self::Size,
        Self::Any,
    ];

    /// The word in `package.yaml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Span => "duration",
            Self::File => "file",
            Self::Notebook => "notebook",
            Self::Parameters => "parameters",
            Self::Texts => "list<text>",
            Self::Ints => "list<int>",
            Self::Floats => "list<float>",
            Self::Column => "column",
            Self::Secret => "secret",
            Self::Secrets => "secrets",
            Self::Size => "size",
            Self::Any => "any",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What it is, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "text",
            Self::Column => "a column's name",
            Self::File => "a file of the project",
            Self::Notebook => "a notebook of the project",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "`true` or `false`",
            Self::Span => "a length of time, such as `30s`, `15m`, `2h`, `7d`",
            Self::Parameters => "a mapping from parameters to values",
            Self::Texts => "text, or a list of texts",
            Self::Ints => "a list of whole numbers",
            Self::Floats => "a list of numbers",
            Self::Secret => "`{ from_env: NAME }`, the environment variable that holds the secret",
            Self::Secrets => "a mapping from parameters to the environment variables that hold their values",
            Self::Size => "an amount of memory, such as `500MB`, `2GB`",
        }
    }

    /// Whether it names a file of the project.
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Notebook)
    }

    /// Whether it is a list.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Ints | Self::Floats)
    }

    /// Whether a value is of this kind.
    pub fn takes(self, value: &Value) -> bool {
        let all = |of: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(of));
        match self {
            Self::Any => true,
            Self::Text | Self::Column | Self::File | Self::Notebook => value.is_string(),
            Self::Int => is_int(value),
            Self::Float => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Span => value.as_str().is_some_and(|text| text.parse::<Span>().is_ok()),
            Self::Parameters => value.is_object(),
            Self::Texts => value.is_string() || all(Value::is_string),
            Self::Ints => all(is_int),
            Self::Floats => all(Value::is_number),
            Self::Secret => secret(value).is_some(),
            Self::Secrets => {
                value.as_object().is_some_and(|entries| entries.values().all(|name| variable(name).is_some()))
            }
            Self::Size => match value {
                Value::Number(bytes) => bytes.as_u64().is_some_and(|bytes| bytes >= 1_000_000),
                Value::String(text) => memory(text).is_some(),
                _ => false,
            },
        }
    }
}

/// An amount of memory as people write it, in bytes: `512MB`, `2GB`, `1.5GiB`, in capitals or not, or bytes; none
/// where it is no amount, or less than any process needs.
pub fn memory(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 9] = [
        ("KIB", 1024.0),
        ("MIB", 1_048_576.0),
        ("GIB", 1_073_741_824.0),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("K", 1024.0),
        ("M", 1_048_576.0),
        ("G", 1_073_741_824.0),
    ];
    let upper = text.trim().to_uppercase();
    let found = UNITS.iter().find_map(|(name, unit)| Some((upper.strip_suffix(name)?, *unit)));
    let (number, unit) = found.unwrap_or((&upper, 1.0));
    let bytes = number.trim().parse::<f64>().ok()? * unit;
    (1e6..1e18).contains(&bytes).then_some(bytes as u64)
}

/// The environment variable that a value names.
pub fn variable(value: &Value) -> Option<&str> {
    let name = value.as_str()?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

fn is_int(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

/// The environment variable that a secret's value names: `{ from_env: NAME }`.
pub fn secret(value: &Value) -> Option<&str> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    variable(entries.get("from_env")?)
}

/// A test that a package brings along.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Test {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Files of the package that are the inputs.
    pub inputs: Ordered<String>,
    /// What the package is given.
    pub with: Ordered<Value>,
    /// The outputs that are asked for, with the names of their files.
    pub outputs: Ordered<String>,
    /// What it should come to.
    pub expect: Expect,
}

/// What a test expects.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Expect {
    /// The step fails, with this text in its cause or its last lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails: Option<String>,
    /// The exit code of its command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i64>,
    /// Of each output.
    pub outputs: Ordered<Expected>,
    /// Of each metric: the value, or bounds.
    pub metrics: Ordered<Bounds>,
    /// Of a service: what its paths answer once it is ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<Answers>,
}

/// What a path of a service should answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The path below the app's own, with a slash at its beginning.
    pub path: String,
    /// The status.
    pub status: u16,
    /// A text that the answer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// What an output should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Expected {
    /// A table of so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// A table of these columns, in any order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The same bytes as this file of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// A text that holds this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A table that these checks hold of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Value>,
}

/// Bounds of a number, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bounds {
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

#[cfg(test)]
mod tests;
