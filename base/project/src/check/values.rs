//! A value against a parameter of a package: its type, its range, its form.

use serde_json::Value;

use crate::package::{Field, FieldKind, plain};

/// Whether a field takes a value. What is wrong reads after the field's name; with it comes what was
/// expected.
pub(crate) fn judge(field: &Field, value: &Value) -> Result<(), (String, String)> {
    let refuse = |message: String| Err((message, field.noun()));
    if field.kind == FieldKind::Secret && !field.kind.takes(value) {
        // What stands there may be the secret itself: it is not said again.
        return refuse("is a secret, and does not stand in a file".to_owned());
    }
    if !field.kind.takes(value) {
        return refuse(format!("cannot be {}", shown(value)));
    }
    if !field.allowed.is_empty() && !field.allowed.contains(value) {
        return refuse(format!("cannot be {}", shown(value)));
    }
    #[expect(clippy::cast_precision_loss, reason = "lists are short")]
    let number = value.as_f64().or_else(|| value.as_array().map(|items| items.len() as f64));
    if let Some(number) = number {
        let below = field.min.is_some_and(|min| number < min);
        let above = field.max.is_some_and(|max| number > max);
        if below || above {
            return refuse(format!("cannot be {}", shown(value)));
        }
    }
    if let (Some(pattern), Some(text)) = (&field.pattern, value.as_str()) {
        let whole = regex::Regex::new(&format!("^(?:{pattern})$"));
        if whole.is_ok_and(|whole| !whole.is_match(text)) {
            return refuse(format!("cannot be `{}`", super::structure::short(text)));
        }
    }
    Ok(())
}

/// A value in a message.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "without a value".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::String(text) => format!("the text `{}`", super::structure::short(text)),
        Value::Bool(_) | Value::Number(_) => format!("`{}`", plain(value)),
    }
}
