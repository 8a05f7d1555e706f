//! Which files of a dataset in parts a rule is about: each by itself, or all as one table.
//!
//! `scope` stands beside a rule and is no part of it: what is one table anyway has no use for it.

use rondo_core::Explain;
use serde_json::Value;

use super::gx;
use super::rule::Rule;
use crate::error::TableError;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each file by itself.
    Part,
    /// All files as one table.
    Whole,
}

impl Scope {
    /// The scope of a rule as it is written; of one that cannot be understood that of a part.
    pub fn of(rule: &Value) -> Self {
        match rule.get("scope").and_then(Value::as_str) {
            Some("whole") => Self::Whole,
            _ => Self::Part,
        }
    }
}

/// Reads a rule with its scope.
///
/// # Errors
/// What is wrong with it and what to do about it, in one line.
pub fn scoped(rule: &Value) -> Result<(Scope, Rule), String> {
    let (bare, written) = without_scope(rule);
    if let Some(other) = written.filter(|scope| !matches!(scope.as_str(), Some("part" | "whole"))) {
        return Err(format!("`scope` is {other}, expected `part` or `whole`"));
    }
    match Rule::parse(&bare) {
        Ok(parsed) => Ok((Scope::of(rule), parsed)),
        Err(error) => {
            let hints = error.hints();
            Err(hints.iter().fold(error.to_string(), |text, hint| format!("{text}; {hint}")))
        }
    }
}

/// Whether a rule is an expectation by a standard name, or one like it, that nobody knows here.
pub fn is_unknown_expectation(rule: &Value) -> bool {
    let (bare, _) = without_scope(rule);
    matches!(Rule::parse(&bare), Err(TableError::CheckUnknown { name, .. }) if gx::is_name(&name))
}

fn without_scope(rule: &Value) -> (Value, Option<Value>) {
    let mut bare = rule.clone();
    let written = bare.as_object_mut().and_then(|map| map.remove("scope"));
    (bare, written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scope_stands_beside_the_rule() {
        let (scope, rule) = scoped(&json!({ "rows": { "min": 1 }, "scope": "whole" })).unwrap();
        assert_eq!((scope, rule.kind.name()), (Scope::Whole, "rows"));
        let (scope, _) = scoped(&json!({ "column": "a", "unique": true })).unwrap();
        assert_eq!(scope, Scope::Part);
        assert!(
            scoped(&json!({ "rows": { "min": 1 }, "scope": 7 })).unwrap_err().contains("`part` or `whole`")
        );
        assert!(
            scoped(&json!({ "column": "a", "uniqe": true })).unwrap_err().contains("did you mean `unique`?")
        );
    }
}
