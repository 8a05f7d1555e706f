//! What a table's columns are: the signature of a model's inputs, the schema of a dataset version.

use serde::{Deserialize, Serialize};

/// The type of a column, as far as Rondo tells values apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Whole numbers.
    Integer,
    /// Floating-point numbers.
    Number,
    /// True or false.
    Boolean,
    /// Text.
    String,
    /// A moment.
    Timestamp,
    /// Anything else (lists, structs, bytes); carried, not computed with.
    Other,
}

impl ColumnType {
    /// The word used in files and messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Other => "other",
        }
    }

    /// Whether arithmetic makes sense.
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }
}

/// A column by name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// What goes into a model and what comes out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The features, in the model's own order.
    pub inputs: Vec<Column>,
    /// The outputs, in the model's own order.
    pub outputs: Vec<Column>,
}
