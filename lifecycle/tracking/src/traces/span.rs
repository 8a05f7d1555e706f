//! A span, as it is kept: ids as hex, attributes as plain JSON.
//!
//! What JSON has no form for stands as an object of one key: `{"$double": "NaN"}`, `{"$bytes": "<base64>"}`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The attribute that names the trace a span belongs to, where it is not `tr-` and the OpenTelemetry id.
pub const TRACE: &str = "mlflow.traceRequestId";
/// What went in.
pub const INPUTS: &str = "mlflow.spanInputs";
/// What came out.
pub const OUTPUTS: &str = "mlflow.spanOutputs";
/// What a span is, such as `LLM` or `TOOL`.
pub const TYPE: &str = "mlflow.spanType";
/// Tokens that a call used, by name.
pub const USAGE: &str = "mlflow.chat.tokenUsage";
/// What a call cost, by name.
pub const COST: &str = "mlflow.llm.cost";
/// The model that was called.
pub const MODEL: &str = "mlflow.llm.model";

/// How deep a value may be that came as text.
const DEPTH: usize = 100;

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It does not say.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// Badly.
    Error,
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub name: String,
    /// When, in nanoseconds since the epoch.
    pub time: u64,
    /// More of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// Another span that a span has to do with, of whichever trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The other trace's OpenTelemetry id, 32 hex characters.
    pub otel: String,
    /// The other span, 16 hex characters.
    pub span: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// 16 hex characters, unique in its trace.
    pub id: String,
    /// The span above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The trace's OpenTelemetry id, 32 hex characters.
    pub otel: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// The same; nothing while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// How it ended.
    #[serde(default)]
    pub status: Status,
    /// What was said of how it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What is known of it.
    pub attributes: Map<String, Value>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What it has to do with elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

impl Span {
    /// The trace that it belongs to.
    pub fn trace(&self) -> String {
        match self.attributes.get(TRACE).and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => format!("tr-{}", self.otel),
        }
    }

    /// Its start in milliseconds.
    pub const fn start_millis(&self) -> i64 {
        // A 64th of what a u64 holds, in milliseconds, is far within an i64.
        (self.start / 1_000_000) as i64
    }

    /// Its end in milliseconds.
    pub fn end_millis(&self) -> Option<i64> {
        self.end.map(|end| (end / 1_000_000) as i64)
    }

    /// Takes one layer of encoding off attributes that are JSON written as text, as exporters send them
    /// that can send nothing but text, and says whose span it is.
    pub fn settle(&mut self) {
        for value in self.attributes.values_mut() {
            let Value::String(text) = &*value else { continue };
            if !text.starts_with(['"', '{', '[']) {
                continue;
            }
            match serde_json::from_str(text) {
                // Whatever is deeper could not be read back with what is around it.
                Ok(inner @ (Value::String(_) | Value::Array(_) | Value::Object(_)))
                    if !deeper(&inner, DEPTH) =>
                {
                    *value = inner;
                }
                Ok(_) | Err(_) => {}
            }
        }
        let trace = self.trace();
        if !self.attributes.contains_key(TRACE) {
            self.attributes.shift_insert(0, TRACE.to_owned(), Value::String(trace));
        }
    }
}

/// Whether a value has more levels than these.
fn deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(values), Some(levels)) => values.iter().any(|value| deeper(value, levels)),
        (Value::Object(map), Some(levels)) => map.values().any(|value| deeper(value, levels)),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => false,
    }
}

/// Spans from the exports in which they came: each once, as it came last, the root first, then by start.
///
/// # Errors
/// When what is kept cannot be read.
pub fn merge(exports: &[String]) -> Result<Vec<Span>, serde_json::Error> {
    let mut spans: Vec<Span> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for export in exports {
        for span in serde_json::from_str::<Vec<Span>>(export)? {
            match places.get(&span.id).and_then(|place: &usize| spans.get_mut(*place)) {
                Some(old) => *old = span,
                None => {
                    places.insert(span.id.clone(), spans.len());
                    spans.push(span);
                }
            }
        }
    }
    spans.sort_by_key(|span| (span.parent.is_some(), span.start));
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(value: Value) -> Value {
        let text =
            json!([{ "id": "01", "otel": "02", "name": "x", "start": 1, "attributes": { "a": value } }]);
        let mut span = merge(&[text.to_string()]).unwrap().pop().unwrap();
        span.settle();
        assert_eq!(span.attributes.keys().next().unwrap(), TRACE);
        // Whatever came of it can be read back.
        let kept = serde_json::to_string(&[&span]).unwrap();
        merge(&[kept]).unwrap().pop().unwrap().attributes["a"].clone()
    }

    #[test]
    fn one_layer_of_encoding_is_taken_off_texts_lists_and_maps() {
        assert_eq!(settled(json!("{\"x\": [1]}")), json!({ "x": [1] }));
        assert_eq!(settled(json!("\"LLM\"")), json!("LLM"));
        for same in [json!("plain"), json!("1"), json!("true"), json!("{not json}"), json!(5), json!(["a"])] {
            assert_eq!(settled(same.clone()), same);
        }
        for levels in [90, 120, 127, 5000] {
            let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            assert_eq!(settled(json!(deep)).is_array(), levels <= DEPTH, "{levels}");
        }
    }
}
