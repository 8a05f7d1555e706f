//! What the caller tells the checker of the packages that steps may use.

use serde_json::Value;

/// Judges one entry of `checks:`; the error says what is wrong with it.
pub type DataCheck = fn(&Value) -> Result<(), String>;

/// The known packages, and the meaning of data checks.
#[derive(Debug, Clone, Default)]
pub struct Builtins {
    /// The packages by name.
    pub packages: Vec<Package>,
    /// The judge of data checks; absent: they are taken as they are.
    pub data_check: Option<DataCheck>,
}

impl Builtins {
    /// The package of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

/// A package and the form of its `with:` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// The name after `uses:`.
    pub name: String,
    /// Whether it runs until it is stopped: then it is for `apps:`, else for `steps:`.
    pub app: bool,
    /// The keys of its `with:` block.
    pub with: Vec<Field>,
}

/// One key of a `with:` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The key.
    pub name: String,
    /// What may stand there.
    pub kind: FieldKind,
    /// Whether it has to be given.
    pub required: bool,
    /// What holds where it is not given.
    pub default: Option<Value>,
    /// The only values allowed; empty: any.
    pub allowed: Vec<Value>,
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
            doc: doc.to_owned(),
        }
    }

    /// A key that has to be given.
    pub fn required(name: &str, kind: FieldKind, doc: &str) -> Self {
        Self { required: true, ..Self::optional(name, kind, doc) }
    }
}

/// What may stand at a key of a `with:` block. An expression may stand anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A length of time, such as `30s`.
    Span,
    /// A file of the project that has to exist.
    File,
    /// A notebook of the project that has to exist; its tagged cell declares what a `Parameters` key of
    /// the same block may hold.
    Notebook,
    /// The parameters of the block's notebook: a mapping.
    Parameters,
    /// A list of texts.
    Texts,
    /// A column's name.
    Column,
    /// A mapping or list of any form.
    Any,
}
