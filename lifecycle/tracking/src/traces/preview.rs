//! Previews: the beginning of what went into a trace and of what came out, as MLflow's clients write them.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

/// Characters of a preview.
const LENGTH: usize = 1000;

/// The preview of a value: of a conversation the last message of a role, else the value as JSON.
pub fn of(value: &Value, role: &str) -> String {
    let said = messages(value, 0).and_then(|messages| text(&messages, role));
    cut(said.unwrap_or_else(|| spaced(value)))
}

/// A preview with no more characters than it may have.
pub fn cut(text: String) -> String {
    if text.len() <= LENGTH || text.chars().count() <= LENGTH {
        return text;
    }
    text.chars().take(LENGTH - 3).chain("...".chars()).collect()
}

/// The messages of a chat completion or of a response, asked or answered.
fn messages(value: &Value, depth: usize) -> Option<Vec<&Value>> {
    let is_message = |value: &&Value| value.get("role").is_some() && value.get("content").is_some();
    let list = |key: &str| value.get(key).and_then(Value::as_array).filter(|list| !list.is_empty());
    if let Some(messages) = list("messages") {
        return Some(messages.iter().filter(is_message).collect());
    }
    if let Some(message) =
        list("choices").and_then(|choices| choices.first()?.get("message")).filter(is_message)
    {
        return Some(vec![message]);
    }
    if let Some(messages) = list("input").or_else(|| list("output")) {
        return Some(messages.iter().filter(is_message).collect());
    }
    match value.get("request") {
        Some(request) if depth < 4 => messages_of(request, depth),
        Some(_) | None => None,
    }
}

fn messages_of(value: &Value, depth: usize) -> Option<Vec<&Value>> {
    messages(value, depth + 1)
}

/// The text of the last message of a role, or of the last one.
fn text(messages: &[&Value], role: &str) -> Option<String> {
    let of_role = |message: &&&Value| message.get("role").and_then(Value::as_str) == Some(role);
    let message = messages.iter().rev().find(of_role).or_else(|| messages.last())?;
    let text = match message.get("content")? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().find_map(|part| match part {
            Value::String(text) => Some(text.clone()),
            part => part.get("text").and_then(Value::as_str).map(str::to_owned),
        })?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// JSON with a blank after commas and colons, as Python writes it.
pub fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    match value.serialize(&mut writer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        // A value always has a JSON form, and a vector takes it.
        Err(_) => String::new(),
    }
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        w.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_shown_as_its_client_would() {
        assert_eq!(of(&json!({"x": 1, "y": ["é", null]}), "user"), "{\"x\": 1, \"y\": [\"é\", null]}");
        assert_eq!(of(&json!(2), "assistant"), "2");
        let long = of(&json!("x".repeat(2000)), "user");
        assert_eq!((long.chars().count(), long.ends_with("...")), (1000, true));
    }

    #[test]
    fn of_a_conversation_the_last_word_is_shown() {
        let chat = json!({"messages": [
            {"role": "user", "content": "first"},
            {"role": "user", "content": [{"type": "text", "text": "second"}]},
            {"role": "assistant", "content": "answer"},
        ]});
        assert_eq!(of(&chat, "user"), "second");
        assert_eq!(of(&json!({"request": chat}), "user"), "second");
        let answer = json!({"choices": [{"message": {"role": "assistant", "content": "yes"}}]});
        assert_eq!(of(&answer, "assistant"), "yes");
        assert_eq!(of(&json!({"messages": []}), "user"), "{\"messages\": []}");
    }
}
