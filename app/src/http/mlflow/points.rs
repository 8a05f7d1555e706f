//! The points of series as JSON, written in one pass: there may be hundreds of thousands.
//!
//! What is the same for all points of a run is written out once and copied.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use rondo_store::meta::metrics::{Context, Series};
use serde::Serialize;

use super::show::Number;

/// `{"metrics": [...], "next_page_token": ...}`, as far as it is written.
#[derive(Default)]
pub(super) struct List {
    json: Vec<u8>,
    /// Whether a list without points is there too.
    empty: bool,
}

impl List {
    /// A list that is there also where it has no points.
    pub(super) fn there() -> Self {
        Self { empty: true, ..Self::default() }
    }

    /// Adds points of a run's series; the run is said where there may be several.
    pub(super) fn add(&mut self, run: Option<&str>, key: &str, series: &Series, range: Range<usize>) {
        let mut before = b"{\"key\":".to_vec();
        write(&mut before, key);
        before.extend_from_slice(b",\"value\":");
        let mut after = Vec::new();
        field(&mut after, "run_id", run.unwrap_or_default());
        let points = series.points.get(range.clone()).unwrap_or_default();
        self.json.reserve(points.len() * (before.len() + after.len() + 64));
        for (index, point) in range.zip(points) {
            self.json.extend_from_slice(if self.json.is_empty() { b"{\"metrics\":[" } else { b"," });
            self.json.extend_from_slice(&before);
            write(&mut self.json, &Number(point.value));
            self.json.extend_from_slice(b",\"timestamp\":");
            write(&mut self.json, &point.timestamp);
            self.json.extend_from_slice(b",\"step\":");
            write(&mut self.json, &point.step);
            self.json.extend_from_slice(&after);
            if let Some(Some(context)) = series.contexts.get(index) {
                let Context { model, dataset_name, dataset_digest } = context.as_ref();
                field(&mut self.json, "model_id", model);
                field(&mut self.json, "dataset_name", dataset_name);
                field(&mut self.json, "dataset_digest", dataset_digest);
            }
            self.json.push(b'}');
        }
    }

    /// The answer.
    pub(super) fn close(mut self, next_page_token: Option<&str>) -> Response {
        let (none, empty) = (self.json.is_empty(), self.empty);
        let end: &[u8] = if !none {
            b"]"
        } else if empty {
            b"{\"metrics\":[]"
        } else {
            b"{"
        };
        self.json.extend_from_slice(end);
        // A page that is followed by another has points.
        field(&mut self.json, "next_page_token", next_page_token.unwrap_or_default());
        self.json.push(b'}');
        let mut response = Response::new(Body::from(self.json));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// `,"name":"text"`; nothing for an empty text.
fn field(json: &mut Vec<u8>, name: &'static str, text: &str) {
    if !text.is_empty() {
        json.extend_from_slice(b",\"");
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":");
        write(json, text);
    }
}

fn write<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(json, value);
    debug_assert!(written.is_ok(), "numbers and texts have a JSON form, and memory takes it");
}
