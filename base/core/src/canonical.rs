//! Canonical JSON: one text for one value, so that a record has one digest everywhere.
//!
//! Keys sorted by their bytes at every depth, no white space, numbers as `serde_json` prints them
//! (shortest text that reads back as the same number), strings escaped as `serde_json` does.

use serde::Serialize;
use serde_json::Value;

use crate::Digest;

/// The canonical JSON text of a value.
///
/// # Errors
/// When the value has no JSON form (a map whose keys are not strings, for one).
pub fn to_string<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&sorted(serde_json::to_value(value)?))
}

/// The digest of a value's canonical JSON.
///
/// # Errors
/// As [`to_string`].
pub fn digest<T: Serialize>(value: &T) -> Result<Digest, serde_json::Error> {
    Ok(Digest::of(to_string(value)?.as_bytes()))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_text_is_pinned() {
        let value = json!({"b": [1, 2.5, {"z": null, "a": "é\n"}], "a": true});
        assert_eq!(to_string(&value).unwrap(), r#"{"a":true,"b":[1,2.5,{"a":"é\n","z":null}]}"#);
        assert_eq!(
            digest(&value).unwrap(),
            Digest::of(r#"{"a":true,"b":[1,2.5,{"a":"é\n","z":null}]}"#.as_bytes())
        );
    }
}
