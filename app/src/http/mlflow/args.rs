//! Arguments: one map, whether they came as a query or as a JSON body, with MLflow's own complaints.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode, Uri, header};
use rondo_store::meta::search::View;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::{Answer, Refusal};

/// How long a client may take to send its arguments.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The arguments of a request.
#[derive(Default)]
pub(super) struct Args {
    map: Map<String, Value>,
    of_query: bool,
}

impl<S: Send + Sync> FromRequest<S> for Args {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &S) -> Answer<Self> {
        if request.method() == Method::GET {
            return Self::query(request.uri());
        }
        let (of_query, body) = Self::content(request).await?;
        Ok(Self::read(of_query, &body))
    }
}

/// What stands in the path itself; one that cannot be read is refused in the wire's own form.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(read)) => Ok(Self(read)),
            Err(_) => Err(Refusal::invalid("Invalid path")),
        }
    }
}

impl Args {
    /// The arguments of the query, and the body of a request that may have one.
    pub(super) async fn content(request: Request<Body>) -> Answer<(Self, Bytes)> {
        let method = request.method().clone();
        let of_query = Self::query(request.uri())?;
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        // Read before anything is refused: a client that is still sending does not hear an answer. It is no
        // longer than its route takes.
        let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, &())).await;
        let body = body.map_err(|_| Refusal::invalid("The request body did not come in time"))?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_long(),
            _ => Refusal::invalid("The request body is cut off"),
        })?;
        let is_json = content_type.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
        });
        if !is_json && matches!(method, Method::POST | Method::PUT) {
            return Err(Refusal::invalid(match content_type {
                Some(_) => "Bad Request. Content-Type must be one of ['application/json'].",
                None => "Bad Request. Content-Type header is missing.",
            }));
        }
        Ok((of_query, body))
    }

    /// The arguments of a body.
    pub(super) fn read(of_query: Self, body: &[u8]) -> Self {
        let read = match serde_json::from_slice(body) {
            // Old clients encode their body twice.
            Ok(Value::String(inner)) => serde_json::from_str(&inner),
            read => read,
        };
        match read {
            Ok(Value::Object(map)) => Self::of(map),
            // What cannot be read has no arguments; the missing one is what is complained of.
            Ok(_) | Err(_) => of_query,
        }
    }

    /// The arguments that stand in a query.
    pub(super) fn query(uri: &Uri) -> Answer<Self> {
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
        Ok(Self { map, of_query: true })
    }

    /// Arguments of an inner object.
    pub(super) const fn of(map: Map<String, Value>) -> Self {
        Self { map, of_query: false }
    }

    /// The arguments as they came.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
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

    /// A text that may be missing, which is the same as empty.
    pub(super) fn maybe(&self, name: &str) -> Answer<String> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A text that is there and not empty.
    pub(super) fn given(&self, name: &str) -> Answer<Option<String>> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// Whether anything was said of an argument.
    pub(super) fn says(&self, name: &str) -> bool {
        self.get(name).is_some()
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

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Answer<Vec<String>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            // Of a query that names it once.
            Some(Value::String(text)) if self.of_query => Ok(vec![text.clone()]),
            Some(list @ Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, list)))
                .collect(),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A list of experiments' ids: texts, or the numbers that they are.
    pub(super) fn experiments(&self, name: &str) -> Answer<Vec<String>> {
        match self.get(name) {
            Some(list @ Value::Array(values)) => {
                let id = |value: &Value| match value {
                    Value::String(text) => Ok(text.clone()),
                    Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
                    _ => Err(wrong(name, list)),
                };
                values.iter().map(id).collect()
            }
            _ => self.texts(name),
        }
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Answer<Vec<Self>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| match value {
                    Value::Object(map) => Ok(Self::of(map.clone())),
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
            Some(Value::Object(map)) => Ok(Some(Self::of(map.clone()))),
            Some(other) => Err(wrong(name, other)),
        }
    }

    /// A list of keys and values.
    pub(super) fn pairs(&self, name: &str) -> Answer<Vec<(String, String)>> {
        let pair = |(index, pair): (usize, Self)| {
            let place = |field: &str| format!("{name}[{index}].{field}");
            let key =
                pair.text("key")?.filter(|key| !key.is_empty()).ok_or_else(|| missing(&place("key")))?;
            Ok((
                key,
                pair.text("value").map_err(|_| pair.wrong("value", &place("value")))?.unwrap_or_default(),
            ))
        };
        self.objects(name)?.into_iter().enumerate().map(pair).collect()
    }

    /// The complaint about one of the arguments, under a name of its own.
    pub(super) fn wrong(&self, name: &str, shown: &str) -> Refusal {
        wrong(shown, self.get(name).unwrap_or(&Value::Null))
    }

    /// A word of a list, or its number.
    pub(super) fn enumeration(&self, name: &str, words: &[(&str, i64)]) -> Answer<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let is = |word: &str, number| value.as_str() == Some(word) || value.as_i64() == Some(number);
        let found = words.iter().find(|(word, number)| is(word, *number));
        found.map(|(_, number)| Some(*number)).ok_or_else(|| wrong(name, value))
    }

    /// Which of the living and the deleted.
    pub(super) fn view(&self, name: &str) -> Answer<View> {
        let words = [("ACTIVE_ONLY", 1), ("DELETED_ONLY", 2), ("ALL", 3)];
        if self.of_query {
            // In a query numbers are texts.
            let number = self.int(name).ok().flatten().map(Value::from);
            let read = number.map(|number| Self::of(Map::from_iter([(name.to_owned(), number)])));
            if let Some(read) = read {
                return read.view(name);
            }
        }
        Ok(match self.enumeration(name, &words)? {
            Some(2) => View::Deleted,
            Some(3) => View::All,
            Some(_) | None => View::Active,
        })
    }
}

/// The complaint about an argument that is not there.
pub(super) fn missing(name: &str) -> Refusal {
    Refusal::invalid(format!(
        "Missing value for required parameter '{name}'. See the API docs for more information about request parameters."
    ))
}

/// The complaint about a value that cannot be taken.
pub(super) fn wrong(name: &str, value: &Value) -> Refusal {
    let shown: String = value.to_string().chars().take(200).collect();
    // MLflow's server is written in Python and names Python's types.
    let kind = match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    };
    Refusal::invalid(format!(
        "Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type '{kind}'. See the API docs \
         for more information about request parameters."
    ))
}
