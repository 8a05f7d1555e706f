//! `POST /v1/traces`: spans as OpenTelemetry exports them, as protobuf or as JSON.
//!
//! The messages are written out here, with the fields that are kept and no others: what is left out of a
//! message is skipped by its reader. Errors are in the form of MLflow's own endpoint, `{"detail": …}`.

use std::io::Read as _;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use rondo_tracking::traces::{
    self,
    span::{Event, Link, Span, Status},
};
use serde_json::{Map, Value, json};

use super::MlflowState;
use super::args::PATIENCE;
use super::bounds;
use super::refusal::{Answer, Refusal};
use crate::http::access::Caller;
use crate::http::access::routes::heard;

/// The largest export, before and after it is unpacked.
const BODY: usize = 32 << 20;

/// Why an export is not taken.
struct Refused(StatusCode, String);

impl From<Refused> for Response {
    fn from(Refused(status, detail): Refused) -> Self {
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}

fn refused(detail: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, detail.into())
}

pub(super) async fn export(
    State(state): State<MlflowState>,
    caller: Caller,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: &str| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(|value| value.split(';').next().unwrap_or_default().trim().to_lowercase())
    };
    let Some(experiment) = text("x-mlflow-experiment-id") else {
        heard(body).await;
        let detail = "The header x-mlflow-experiment-id is required".to_owned();
        return Refused(StatusCode::UNPROCESSABLE_ENTITY, detail).into();
    };
    if let Err(denied) = caller.experiment(&experiment) {
        heard(body).await;
        return Refusal::from(denied).into_response();
    }
    let is_json = match text("content-type").as_deref() {
        Some("application/x-protobuf") => false,
        Some("application/json") => true,
        other => {
            heard(body).await;
            return refused(format!(
                "Invalid Content-Type: {}. Expected: application/x-protobuf or application/json",
                other.unwrap_or("None")
            ))
            .into();
        }
    };
    let coding = text("content-encoding").unwrap_or_default();
    let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, BODY)).await else {
        return refused(format!("The request body is cut off, too slow, or exceeds {BODY} bytes")).into();
    };
    // Up to tens of megabytes are unpacked and read here: not among those who wait for their turn.
    let read = tokio::task::spawn_blocking(move || {
        let body = unpacked(body, &coding)?;
        if !(if is_json { bounds::json_fits(&body) } else { bounds::protobuf_fits(&body) }) {
            let detail = format!(
                "The export has more than {} spans, events, links, attributes and values: send it in parts",
                bounds::THINGS
            );
            return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if is_json { from_json(&body) } else { from_protobuf(&body) }
    });
    let spans = match read.await {
        Ok(Ok(spans)) => spans,
        Ok(Err(refused)) => return refused.into(),
        Err(_) => return Refusal::internal("The export could not be read").into_response(),
    };
    match keep(&state, &caller, &experiment, spans).await {
        // An empty answer is the message that says that all was taken.
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-protobuf")]).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Keeps spans. Those of a trace that is there go to that trace, whatever experiment the header says.
async fn keep(state: &MlflowState, caller: &Caller, experiment: &str, spans: Vec<Span>) -> Answer<()> {
    let by_trace = traces::by_trace(spans)?;
    let ids: Vec<String> = by_trace.keys().cloned().collect();
    caller.traces(&ids).await?;
    Ok(state.tracking.log_spans(experiment, by_trace).await?)
}

fn unpacked(body: Bytes, coding: &str) -> Result<Bytes, Refused> {
    let limit = BODY as u64 + 1;
    let mut whole = Vec::new();
    let read = match coding {
        "" | "identity" => return Ok(body),
        "gzip" => flate2::read::MultiGzDecoder::new(&*body).take(limit).read_to_end(&mut whole),
        "deflate" => {
            let zlib = flate2::read::ZlibDecoder::new(&*body).take(limit).read_to_end(&mut whole);
            zlib.or_else(|_| {
                // Some clients leave the wrapper out.
                whole.clear();
                flate2::read::DeflateDecoder::new(&*body).take(limit).read_to_end(&mut whole)
            })
        }
        other => return Err(refused(format!("Unsupported Content-Encoding: {other}"))),
    };
    read.map_err(|_| refused(format!("Failed to decompress {coding} payload")))?;
    if whole.len() > BODY {
        return Err(refused(format!("The request body exceeds {BODY} bytes")));
    }
    Ok(whole.into())
}

fn from_protobuf(body: &[u8]) -> Result<Vec<Span>, Refused> {
    let request = wire::Request::decode(body).map_err(|_| refused("Invalid OpenTelemetry format"))?;
    if request.resource_spans.is_empty() {
        return Err(refused("Invalid OpenTelemetry format - no spans found"));
    }
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(span).collect()
}

fn odd() -> Refused {
    Refused(StatusCode::UNPROCESSABLE_ENTITY, "Cannot convert OpenTelemetry span to MLflow span".to_owned())
}

/// An id as hex of its full width; one that is all zeros is none.
fn id(bytes: &[u8], width: usize) -> Result<String, Refused> {
    if bytes.is_empty() || bytes.len() > width || bytes.iter().all(|byte| *byte == 0) {
        return Err(odd());
    }
    Ok(format!("{:0>1$}", hex::encode(bytes), width * 2))
}

fn span(span: wire::Span) -> Result<Span, Refused> {
    let status = span.status.unwrap_or_default();
    Ok(Span {
        otel: id(&span.trace_id, 16)?,
        id: id(&span.span_id, 8)?,
        parent: id(&span.parent_span_id, 8).ok(),
        name: span.name,
        start: span.start_time_unix_nano,
        end: Some(span.end_time_unix_nano).filter(|end| *end > 0),
        status: match status.code {
            1 => Status::Ok,
            2 => Status::Error,
            _ => Status::Unset,
        },
        message: status.message,
        attributes: attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|event| Event {
                name: event.name,
                time: event.time_unix_nano,
                attributes: attributes(event.attributes),
            })
            .collect(),
        links: span
            .links
            .into_iter()
            .map(|link| {
                Ok(Link {
                    otel: id(&link.trace_id, 16)?,
                    span: id(&link.span_id, 8)?,
                    attributes: attributes(link.attributes),
                })
            })
            .collect::<Result<_, Refused>>()?,
    })
}

fn attributes(pairs: Vec<wire::KeyValue>) -> Map<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value.unwrap_or_default()))).collect()
}

fn value(any: wire::AnyValue) -> Value {
    use wire::any_value::Value as V;
    match any.value {
        None => Value::Null,
        Some(V::Text(text)) => Value::String(text),
        Some(V::Bool(flag)) => Value::Bool(flag),
        Some(V::Whole(whole)) => Value::from(whole),
        Some(V::Number(number)) if number.is_finite() => Value::from(number),
        Some(V::Number(number)) => json!({ "$double": odd_number(number) }),
        Some(V::List(list)) => list.values.into_iter().map(value).collect(),
        Some(V::Map(map)) => Value::Object(attributes(map.values)),
        Some(V::Bytes(bytes)) => json!({ "$bytes": STANDARD.encode(bytes) }),
    }
}

fn odd_number(number: f64) -> &'static str {
    match (number.is_nan(), number > 0.0) {
        (true, _) => "NaN",
        (false, true) => "Infinity",
        (false, false) => "-Infinity",
    }
}

/// The form of JSON that OpenTelemetry describes: camel case, ids as hex, long numbers as text.
fn from_json(body: &[u8]) -> Result<Vec<Span>, Refused> {
    let invalid = || refused("Invalid OpenTelemetry format");
    let request: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    let resources = list(&request, "resourceSpans");
    if resources.is_empty() {
        return Err(refused("Invalid OpenTelemetry format - no spans found"));
    }
    let scopes = resources.iter().flat_map(|resource| list(resource, "scopeSpans"));
    scopes.flat_map(|scope| list(scope, "spans")).map(|span| json_span(span).ok_or_else(odd)).collect()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn json_text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn json_nanos(value: &Value, key: &str) -> Option<u64> {
    match value.get(key) {
        None | Some(Value::Null) => Some(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    }
}

fn json_span(span: &Value) -> Option<Span> {
    let bytes = |key: &str| hex::decode(json_text(span, key)).ok();
    let status = span.get("status").unwrap_or(&Value::Null);
    let mut events = Vec::new();
    for event in list(span, "events") {
        events.push(Event {
            name: json_text(event, "name"),
            time: json_nanos(event, "timeUnixNano")?,
            attributes: json_attributes(list(event, "attributes"))?,
        });
    }
    let mut links = Vec::new();
    for link in list(span, "links") {
        links.push(Link {
            otel: id(&hex::decode(json_text(link, "traceId")).ok()?, 16).ok()?,
            span: id(&hex::decode(json_text(link, "spanId")).ok()?, 8).ok()?,
            attributes: json_attributes(list(link, "attributes"))?,
        });
    }
    Some(Span {
        otel: id(&bytes("traceId")?, 16).ok()?,
        id: id(&bytes("spanId")?, 8).ok()?,
        parent: id(&bytes("parentSpanId")?, 8).ok(),
        name: json_text(span, "name"),
        start: json_nanos(span, "startTimeUnixNano")?,
        end: json_nanos(span, "endTimeUnixNano").filter(|end| *end > 0),
        status: match status.get("code") {
            Some(code) if code == 1 || code == "STATUS_CODE_OK" => Status::Ok,
            Some(code) if code == 2 || code == "STATUS_CODE_ERROR" => Status::Error,
            Some(_) | None => Status::Unset,
        },
        message: json_text(status, "message"),
        attributes: json_attributes(list(span, "attributes"))?,
        events,
        links,
    })
}

fn json_attributes(pairs: &[Value]) -> Option<Map<String, Value>> {
    pairs.iter().map(|pair| Some((json_text(pair, "key"), json_value(pair.get("value"))?))).collect()
}

fn json_value(any: Option<&Value>) -> Option<Value> {
    let Some((kind, value)) = any.and_then(|any| any.as_object()?.iter().next()) else {
        return Some(Value::Null);
    };
    match kind.as_str() {
        "stringValue" => value.as_str().map(Value::from),
        "boolValue" => value.as_bool().map(Value::from),
        "intValue" => match value {
            Value::String(text) => text.parse::<i64>().ok().map(Value::from),
            number => number.as_i64().map(Value::from),
        },
        "doubleValue" => match value {
            Value::String(text) => {
                let number: f64 = text.parse().ok()?;
                let odd = || json!({ "$double": odd_number(number) });
                Some(serde_json::Number::from_f64(number).map_or_else(odd, Value::Number))
            }
            number => number.as_f64().map(Value::from),
        },
        "bytesValue" => Some(json!({ "$bytes": value.as_str()? })),
        "arrayValue" => list(value, "values").iter().map(|value| json_value(Some(value))).collect(),
        "kvlistValue" => json_attributes(list(value, "values")).map(Value::Object),
        _ => None,
    }
}

/// A value in the words of the protocol, for whoever reads spans back.
pub(super) fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "bool_value": flag }),
        Value::Number(number) if number.is_i64() => json!({ "int_value": number }),
        Value::Number(number) => json!({ "double_value": number }),
        Value::String(text) => json!({ "string_value": text }),
        Value::Array(values) if values.is_empty() => json!({ "array_value": {} }),
        Value::Array(values) => {
            json!({ "array_value": { "values": values.iter().map(any_value).collect::<Vec<_>>() } })
        }
        Value::Object(map) => match (map.len(), map.iter().next()) {
            (1, Some((key, odd))) if key == "$double" => json!({ "double_value": odd }),
            (1, Some((key, odd))) if key == "$bytes" => json!({ "bytes_value": odd }),
            (0, _) => json!({ "kvlist_value": {} }),
            (_, _) => json!({ "kvlist_value": { "values": key_values(map) } }),
        },
    }
}

/// Attributes in the words of the protocol.
pub(super) fn key_values(map: &Map<String, Value>) -> Vec<Value> {
    map.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect()
}

/// An id that is kept as hex, in base64.
pub(super) fn coded(id: &str) -> String {
    // What is kept was hex when it came.
    STANDARD.encode(hex::decode(id).unwrap_or_default())
}

/// `opentelemetry.proto.collector.trace.v1`, as far as it is read.
mod wire {
    /// `ExportTraceServiceRequest`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(fixed64, tag = "7")]
        pub(super) start_time_unix_nano: u64,
        #[prost(fixed64, tag = "8")]
        pub(super) end_time_unix_nano: u64,
        #[prost(message, repeated, tag = "9")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(message, repeated, tag = "11")]
        pub(super) events: Vec<Event>,
        #[prost(message, repeated, tag = "13")]
        pub(super) links: Vec<Link>,
        #[prost(message, optional, tag = "15")]
        pub(super) status: Option<Status>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Event {
        #[prost(fixed64, tag = "1")]
        pub(super) time_unix_nano: u64,
        #[prost(string, tag = "2")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "3")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Link {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(message, repeated, tag = "4")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(string, tag = "2")]
        pub(super) message: String,
        #[prost(int32, tag = "3")]
        pub(super) code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AnyValue {
        #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
        pub(super) value: Option<any_value::Value>,
    }

    pub(super) mod any_value {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub(in super::super) enum Value {
            #[prost(string, tag = "1")]
            Text(String),
            #[prost(bool, tag = "2")]
            Bool(bool),
            #[prost(int64, tag = "3")]
            Whole(i64),
            #[prost(double, tag = "4")]
            Number(f64),
            #[prost(message, tag = "5")]
            List(super::ArrayValue),
            #[prost(message, tag = "6")]
            Map(super::KeyValueList),
            #[prost(bytes, tag = "7")]
            Bytes(Vec<u8>),
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ArrayValue {
        #[prost(message, repeated, tag = "1")]
        pub(super) values: Vec<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValueList {
        #[prost(message, repeated, tag = "1")]
        pub(super) values: Vec<KeyValue>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str, value: wire::any_value::Value) -> wire::KeyValue {
        wire::KeyValue { key: key.into(), value: Some(wire::AnyValue { value: Some(value) }) }
    }

    fn request() -> wire::Request {
        use wire::any_value::Value as V;
        let number = |number| wire::AnyValue { value: Some(V::Number(number)) };
        let list =
            wire::ArrayValue { values: vec![number(1.5), number(f64::NAN), wire::AnyValue::default()] };
        let span = wire::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: Vec::new(),
            name: "ask".into(),
            start_time_unix_nano: 5,
            end_time_unix_nano: 7,
            attributes: vec![
                text("whole", V::Whole(-3)),
                text("flag", V::Bool(true)),
                text("list", V::List(list)),
                text("map", V::Map(wire::KeyValueList { values: vec![text("é", V::Text("x".into()))] })),
                text("bytes", V::Bytes(vec![0, 255])),
            ],
            events: vec![wire::Event { time_unix_nano: 6, name: "token".into(), attributes: Vec::new() }],
            links: vec![wire::Link { trace_id: vec![3; 16], span_id: vec![4; 8], attributes: Vec::new() }],
            status: Some(wire::Status { message: "bad".into(), code: 2 }),
        };
        let scope = wire::ScopeSpans { spans: vec![span] };
        wire::Request { resource_spans: vec![wire::ResourceSpans { scope_spans: vec![scope] }] }
    }

    #[test]
    fn both_forms_of_an_export_say_the_same() {
        let json = json!({ "resourceSpans": [{ "resource": {}, "scopeSpans": [{ "spans": [{
            "traceId": "01".repeat(16), "spanId": "02".repeat(8), "parentSpanId": "", "name": "ask",
            "startTimeUnixNano": "5", "endTimeUnixNano": 7, "kind": 3,
            "attributes": [
                { "key": "whole", "value": { "intValue": "-3" } },
                { "key": "flag", "value": { "boolValue": true } },
                { "key": "list", "value": { "arrayValue": { "values": [
                    { "doubleValue": 1.5 }, { "doubleValue": "NaN" }, {}] } } },
                { "key": "map", "value": { "kvlistValue": { "values": [
                    { "key": "é", "value": { "stringValue": "x" } }] } } },
                { "key": "bytes", "value": { "bytesValue": "AP8=" } },
            ],
            "events": [{ "timeUnixNano": "6", "name": "token" }],
            "links": [{ "traceId": "03".repeat(16), "spanId": "04".repeat(8) }],
            "status": { "code": 2, "message": "bad" },
        }] }] }] });
        let spans = from_protobuf(&request().encode_to_vec()).ok().unwrap();
        assert_eq!(spans, from_json(json.to_string().as_bytes()).ok().unwrap());
        let shown = Value::from(key_values(&spans[0].attributes));
        assert_eq!(shown[0], json!({ "key": "whole", "value": { "int_value": -3 } }));
        let list = json!([{ "double_value": 1.5 }, { "double_value": "NaN" }, {}]);
        assert_eq!(shown[2]["value"]["array_value"]["values"], list);
        assert_eq!(shown[4]["value"], json!({ "bytes_value": "AP8=" }));
    }

    #[test]
    fn a_broken_export_is_refused() {
        let whole = request().encode_to_vec();
        for cut in 1..whole.len() {
            // Some beginnings are messages of their own; none brings anything down.
            let _ = from_protobuf(&whole[..cut]);
        }
        for body in ["", "{", "[]", "{}", r#"{"resourceSpans": 5}"#] {
            assert!(from_json(body.as_bytes()).is_err(), "{body}");
        }
        for (trace, span) in [("", "02"), ("01", ""), ("00", "02"), ("01", "zz"), (&*"01".repeat(17), "02")] {
            let spans = json!([{ "traceId": trace, "spanId": span }]);
            let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
            assert!(from_json(body.to_string().as_bytes()).is_err(), "{trace} {span}");
        }
        let mut deep = wire::AnyValue::default();
        for _ in 0..2000 {
            let list = wire::ArrayValue { values: vec![deep] };
            deep = wire::AnyValue { value: Some(wire::any_value::Value::List(list)) };
        }
        let mut request = request();
        request.resource_spans[0].scope_spans[0].spans[0].attributes =
            vec![wire::KeyValue { key: "deep".into(), value: Some(deep) }];
        assert!(from_protobuf(&request.encode_to_vec()).is_err());
    }

    #[test]
    fn a_small_body_cannot_become_a_large_one() {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..(BODY >> 20) + 1 {
            packed.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let packed = Bytes::from(packed.finish().unwrap());
        assert!(packed.len() < BODY / 100);
        assert!(unpacked(packed, "gzip").is_err());
        assert!(unpacked(Bytes::from_static(b"x"), "gzip").is_err());
        assert!(unpacked(Bytes::from_static(b"x"), "br").is_err());
        assert_eq!(unpacked(Bytes::from_static(b"x"), "").ok().unwrap(), "x");
    }
}
