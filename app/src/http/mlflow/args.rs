//! Arguments: one map, whether they came as a query or as a JSON body, with MLflow's own complaints.

use axum::body::Body;
use axum::extract::{FromRequest, Query};
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use rondo_store::meta::search::View;
use serde_json::{Map, Value};

use super::refusal::{Answer, Refusal};

/// How long a client may take to send its arguments.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The arguments of a request.
pub(super) struct Args(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Args {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &S) -> Answer<Self> {
        if request.method() == Method::GET {
            return Self::query(request.uri());
        }
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
        });
        if !is_json && request.method() != Method::DELETE {
            let message = "Bad Request. Content-Type must be one of ['application/json'].";
            return Err(Refusal::invalid(message));
        }
        let of_query = Self::query(request.uri())?;
        // It is no longer than its route takes.
        let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, &())).await;
        let body = body.map_err(|_| Refusal::invalid("The request body did not come in time"))?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_long(),
            _ => Refusal::invalid("The request body broke off"),
        })?;
        Ok(match serde_json::from_slice(&body) {
            Ok(Value::Object(map)) => Self(map),
            // What cannot be read has no arguments; the missing one is what is complained of.
            Ok(_) | Err(_) => of_query,
        })
    }
}

impl Args {
    fn query(uri: &axum::http::Uri) -> Answer<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::invalid("The query of the request cannot be read"))?;
        let mut map: Map<String, Value> = Map::new();
        for (key, value) in pairs {
            let value = Value::String(value);
            match map.get_mut(&key) {
                Some(Value::Array(values)) => values.push(value),
                Some(one) => *one = Value::Array(vec![one.take(), value]),
                None => {
                    map.insert(key, value);
                }
            }
        }
        Ok(Self(map))
    }

    /// Arguments of an inner object.
    pub(super) const fn of(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// The arguments as they came.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Answer<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&self, name: &str) -> Answer<String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
    }

    /// A text that must be there and may be empty.
    pub(super) fn present(&self, name: &str) -> Answer<String> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// The run's id, under either of its names.
    pub(super) fn run_id(&self) -> Answer<String> {
        match self.text("run_id")?.filter(|text| !text.is_empty()) {
            Some(id) => Ok(id),
            None => self.text("run_uuid")?.filter(|text| !text.is_empty()).ok_or_else(|| missing("run_id")),
        }
    }

    /// A whole number.
    pub(super) fn int(&self, name: &str) -> Answer<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64);
        let read = match value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        read.map(Some).ok_or_else(|| wrong(name, value))
    }

    /// A number, or one of the texts `NaN`, `Infinity`, `-Infinity`, that must be there.
    pub(super) fn float(&self, name: &str) -> Answer<f64> {
        let value = self.get(name).ok_or_else(|| missing(name))?;
        let read = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        read.ok_or_else(|| wrong(name, value))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Answer<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            // Python's own spelling comes in queries.
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A list of texts; of a query also a single one.
    pub(super) fn texts(&self, name: &str) -> Answer<Vec<String>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, value)))
                .collect(),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Answer<Vec<Self>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| match value {
                    Value::Object(map) => Ok(Self(map.clone())),
                    other => Err(wrong(name, other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// An object.
    pub(super) fn object(&self, name: &str) -> Answer<Option<Self>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map.clone()))),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A list of keys and values.
    pub(super) fn pairs(&self, name: &str) -> Answer<Vec<(String, String)>> {
        self.objects(name)?
            .iter()
            .map(|pair| {
                let key = pair.text("key")?.ok_or_else(|| missing("key"))?;
                Ok((key, pair.text("value")?.unwrap_or_default()))
            })
            .collect()
    }

    /// Which of the living and the deleted.
    pub(super) fn view(&self, name: &str) -> Answer<View> {
        let Some(value) = self.get(name) else { return Ok(View::Active) };
        match (value.as_str(), value.as_i64()) {
            (Some("ACTIVE_ONLY" | "1"), _) | (_, Some(1)) => Ok(View::Active),
            (Some("DELETED_ONLY" | "2"), _) | (_, Some(2)) => Ok(View::Deleted),
            (Some("ALL" | "3"), _) | (_, Some(3)) => Ok(View::All),
            (_, _) => Err(wrong(name, value)),
        }
    }
}

/// The complaint about an argument that must be there.
pub(super) fn missing(name: &str) -> Refusal {
    Refusal::invalid(format!(
        "Missing value for required parameter '{name}'. See the API docs for more information about request parameters."
    ))
}

/// The complaint about a value that cannot be taken.
pub(super) fn wrong(name: &str, value: &Value) -> Refusal {
    let mut shown: String = value.to_string().chars().take(200).collect();
    if let Value::String(text) = value {
        let short: String = text.chars().take(200).collect();
        shown = format!("\\\"{short}\\\"");
    }
    Refusal::invalid(format!(
        "Invalid value {shown} for parameter '{name}' supplied: Value was of type '{}'. See the API docs for more \
         information about request parameters.",
        match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        }
    ))
}
