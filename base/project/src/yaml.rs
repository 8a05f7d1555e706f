//! YAML as a tree with places: the raw form of the project file.
//!
//! Every node and key knows its place in the text, mappings keep their order, and scalars keep the text
//! they were written with beside what the core schema of YAML 1.2 makes of them (`no` is text, `3.10` is
//! a number whose text is still `3.10`). What the tree means is none of this module's business.

mod parse;
mod scalar;

pub(crate) use parse::join;
pub use parse::{Parsed, parse};

use serde_json::Value as Json;

use crate::place::Place;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands; of what an alias stands for, where that was written.
    pub place: Place,
    /// What it is.
    pub value: Value,
    /// A scalar's text as written, escapes resolved; empty for lists and mappings.
    pub raw: String,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, of those that [`scalar::EXACT`] has.
    Int(i128),
    /// Another number.
    Float(f64),
    /// Text, to be found in [`Node::raw`].
    Text,
    /// A list.
    List(Vec<Node>),
    /// A mapping; its keys are unique.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The text, where it is text (a number is none).
    pub fn text(&self) -> Option<&str> {
        matches!(self.value, Value::Text).then_some(self.raw.as_str())
    }

    /// The entries, where it is a mapping.
    pub fn map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, where it is a list.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value at a key, where it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key, where it is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.map()?.iter().find(|entry| entry.key == key)
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            #[allow(clippy::cast_precision_loss)]
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }

    /// The whole number, where it is one of 64 bits with a sign.
    pub fn int(&self) -> Option<i64> {
        match self.value {
            Value::Int(number) => i64::try_from(number).ok(),
            _ => None,
        }
    }

    /// `true` or `false`, where it is that.
    pub fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    /// Whether it is neither list nor mapping nor nothing.
    pub fn is_scalar(&self) -> bool {
        matches!(self.value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text)
    }

    /// Whether nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What it is, for messages: `text`, `a list` and so on.
    pub fn noun(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "`true` or `false`",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// As JSON. Numbers that JSON does not have (`.nan`, `.inf`) become text.
    pub fn json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(bool) => Json::from(*bool),
            Value::Int(number) => serde_json::Number::from_i128(*number)
                .map_or_else(|| Json::from(self.raw.as_str()), Json::Number),
            Value::Float(number) => serde_json::Number::from_f64(*number)
                .map_or_else(|| Json::from(self.raw.as_str()), Json::Number),
            Value::Text => Json::from(self.raw.as_str()),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect())
            }
        }
    }

    /// The place of what a path such as `steps.train.inputs[0]` leads to, or of its nearest ancestor.
    pub fn find(&self, path: &str) -> Place {
        let mut node = self;
        let mut place = self.place;
        let parts = path.split('.').flat_map(|part| {
            let mut pieces = part.split('[');
            let key = pieces.next().filter(|key| !key.is_empty()).map(|key| (Some(key), None));
            let indices = pieces.map(|index| (None, index.trim_end_matches(']').parse::<usize>().ok()));
            key.into_iter().chain(indices).collect::<Vec<_>>()
        });
        for (key, index) in parts {
            let next = match (key, index) {
                (Some(key), _) => node.get(key),
                (None, Some(index)) => node.list().and_then(|items| items.get(index)),
                (None, None) => None,
            };
            let Some(next) = next else { break };
            node = next;
            place = next.place;
        }
        place
    }

    /// How many nodes it is, itself included, and how deep.
    fn extent(&self) -> (usize, usize) {
        let children: Vec<(usize, usize)> = match &self.value {
            Value::List(items) => items.iter().map(Self::extent).collect(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.extent()).collect(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text => return (1, 1),
        };
        children.iter().fold((1, 1), |(size, depth), child| {
            (size.saturating_add(child.0), depth.max(child.1.saturating_add(1)))
        })
    }
}
