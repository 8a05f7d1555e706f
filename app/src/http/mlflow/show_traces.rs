//! Traces, spans and assessments as MLflow's clients read them: the JSON of its protocol's messages.

use rondo_core::Timestamp;
use rondo_store::meta::assessments::Assessment;
use rondo_store::meta::traces::Trace;
use rondo_tracking::traces::preview::spaced;
use rondo_tracking::traces::span::{Span, Status};
use rondo_tracking::traces::{Told, Whole};
use serde_json::{Map, Value, json};

use super::otlp::{coded, key_values};
use super::show::pairs;

/// A record under construction: what is not there is left out.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    fn list(self, name: &str, values: Vec<Value>) -> Self {
        if values.is_empty() { self } else { self.set(name, values) }
    }
}

/// A length of time as the protocol writes it: `0.069s`.
fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    if rest == 0 { format!("{sign}{whole}s") } else { format!("{sign}{whole}.{rest:03}s") }
}

/// A length of time in milliseconds, from the protocol's writing.
pub(super) fn millis(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('s')?;
    let (sign, digits) = digits.strip_prefix('-').map_or((1, digits), |digits| (-1, digits));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(rest) || rest.len() > 9 {
        return None;
    }
    let rest: String = rest.chars().chain("000".chars()).take(3).collect();
    let millis = whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(rest.parse().ok()?)?;
    Some(sign * millis)
}

fn moment(at: Timestamp) -> String {
    at.rfc3339()
}

pub(super) fn info(told: Told) -> Value {
    let Told { trace, assessments } = told;
    let experiment = json!({ "experiment_id": trace.experiment.to_string() });
    let map = |map: std::collections::BTreeMap<String, String>| {
        Some(Value::from_iter(map)).filter(|map| map.as_object().is_some_and(|map| !map.is_empty()))
    };
    let fields = Fields::default()
        .set("trace_id", trace.id)
        .some("client_request_id", trace.client_request)
        .set("trace_location", json!({ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment }))
        .some("request_preview", trace.request_preview)
        .some("response_preview", trace.response_preview)
        .set("request_time", moment(trace.started))
        .some("execution_duration", trace.duration.map(seconds))
        .set("state", trace.state)
        .some("trace_metadata", map(trace.metadata))
        .list("assessments", assessments.into_iter().map(assessment).collect())
        .some("tags", map(trace.tags));
    Value::Object(fields.0)
}

/// A trace as clients before 3.0 read it.
pub(super) fn old_info(trace: Trace) -> Value {
    let list = |map| serde_json::to_value(pairs(map)).unwrap_or_default();
    let fields = Fields::default()
        .set("request_id", trace.id)
        .set("experiment_id", trace.experiment.to_string())
        .set("timestamp_ms", trace.started.millis())
        .some("execution_time_ms", trace.duration)
        .set(
            "status",
            if trace.state == "STATE_UNSPECIFIED" { "TRACE_STATUS_UNSPECIFIED".into() } else { trace.state },
        )
        .set("request_metadata", list(trace.metadata))
        .set("tags", list(trace.tags));
    Value::Object(fields.0)
}

pub(super) fn whole(whole: Whole) -> Value {
    let spans: Vec<Value> = whole.spans.iter().map(span).collect();
    Value::Object(Fields::default().set("trace_info", info(whole.told)).list("spans", spans).0)
}

const fn status(status: Status) -> &'static str {
    match status {
        Status::Unset => "STATUS_CODE_UNSET",
        Status::Ok => "STATUS_CODE_OK",
        Status::Error => "STATUS_CODE_ERROR",
    }
}

fn span(span: &Span) -> Value {
    let events = span.events.iter().map(|event| {
        let fields = Fields::default().set("time_unix_nano", event.time).set("name", event.name.as_str());
        Value::Object(fields.list("attributes", key_values(&event.attributes)).0)
    });
    let links = span.links.iter().map(|link| {
        let fields = Fields::default().set("trace_id", coded(&link.otel)).set("span_id", coded(&link.span));
        Value::Object(fields.list("attributes", key_values(&link.attributes)).0)
    });
    let message = Some(span.message.as_str()).filter(|message| !message.is_empty());
    let ended = Fields::default().some("message", message).set("code", status(span.status));
    let fields = Fields::default()
        .set("trace_id", coded(&span.otel))
        .set("span_id", coded(&span.id))
        .some("parent_span_id", span.parent.as_deref().map(coded))
        .set("name", span.name.as_str())
        .set("start_time_unix_nano", span.start)
        .some("end_time_unix_nano", span.end)
        .list("attributes", key_values(&span.attributes))
        .list("events", events.collect())
        .list("links", links.collect())
        .set("status", ended.0);
    Value::Object(fields.0)
}

/// The JSON of an attribute as text; of a number that JSON has not, its name.
fn written(value: &Value) -> String {
    match value.get("$double").and_then(Value::as_str) {
        Some(odd) => odd.to_owned(),
        None => spaced(value),
    }
}

/// A span as it stands in a trace's file: attributes are JSON written as text.
pub(super) fn span_of_file(span: &Span) -> Value {
    let attributes: Map<String, Value> =
        span.attributes.iter().map(|(key, value)| (key.clone(), Value::String(written(value)))).collect();
    let events: Vec<Value> = span
        .events
        .iter()
        .map(|event| {
            json!({ "name": event.name, "time_unix_nano": event.time, "attributes": event.attributes })
        })
        .collect();
    let links = span.links.iter();
    let links: Vec<Value> = links
        .map(|link| {
            let attributes = Some(&link.attributes).filter(|attributes| !attributes.is_empty());
            json!({ "trace_id": format!("tr-{}", link.otel), "span_id": link.span, "attributes": attributes })
        })
        .collect();
    json!({
        "trace_id": coded(&span.otel),
        "span_id": coded(&span.id),
        "parent_span_id": span.parent.as_deref().map(coded),
        "name": span.name,
        "start_time_unix_nano": span.start,
        "end_time_unix_nano": span.end,
        "events": events,
        "links": links,
        "status": { "code": status(span.status), "message": span.message },
        "attributes": attributes,
    })
}

pub(super) fn assessment(assessment: Assessment) -> Value {
    let record = assessment.record;
    let metadata = Some(record.metadata).filter(|metadata| !metadata.is_empty());
    let fields = Fields::default()
        .set("assessment_id", assessment.id)
        .set("assessment_name", assessment.name)
        .set("trace_id", assessment.trace)
        .some("span_id", record.span)
        .set("source", record.source)
        .set("create_time", moment(assessment.created))
        .set("last_update_time", moment(assessment.updated))
        .set(&assessment.kind, record.value)
        .some("rationale", record.rationale)
        .some("metadata", metadata)
        .some("overrides", record.overrides)
        .set("valid", assessment.valid);
    Value::Object(fields.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_back() {
        for (text, value) in
            [("0.069s", 69), ("1s", 1000), ("-0.500s", -500), ("0s", 0), ("3600.001s", 3_600_001)]
        {
            assert_eq!((seconds(value).as_str(), millis(text)), (text, Some(value)));
        }
        assert_eq!((millis("1.5s"), millis("0.069999999s")), (Some(1500), Some(69)));
        for odd in ["", "s", "1", "1.s2", "--1s", "+1s", "1e3s", "99999999999999999999s"] {
            assert_eq!(millis(odd), None, "{odd}");
        }
    }
}
