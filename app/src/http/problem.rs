//! An error as an HTTP answer: the same code and hints as on the command line.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use rondo_core::error::causes;
use rondo_core::ports::PortError;
use rondo_core::{Code, Explain};
use serde_json::json;

/// A failed request.
pub struct Problem(PortError);

/// The result of a handler.
pub type Answer<T> = Result<T, Problem>;

impl<E: Explain + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Problem {
    /// A fault of the request itself.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Plain { code, message: message.into() }.into()
    }
}

/// The arguments in a request's query; what cannot be read is a problem like any other.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::new(Code::RequestInvalid, rejection.body_text())),
        }
    }
}

/// A request's JSON body; what cannot be read is a problem like any other. A handler asks its caller first, so
/// that it is told only to those who may ask at all.
///
/// # Errors
/// When the body is no JSON or not of this form.
pub fn said<T>(body: Result<Json<T>, JsonRejection>) -> Answer<T> {
    let refused = |rejection: JsonRejection| Problem::new(Code::RequestInvalid, rejection.body_text());
    body.map(|Json(said)| said).map_err(refused)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.0.code().kind();
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({
            "code": self.0.code().text(),
            "message": self.0.to_string(),
            "causes": causes(self.0.as_ref()),
            "hints": self.0.hints(),
        });
        let mut response = (status, Json(body)).into_response();
        if kind.retryable() {
            response
                .headers_mut()
                .insert(axum::http::header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Plain {
    code: Code,
    message: String,
}

impl Explain for Plain {
    fn code(&self) -> Code {
        self.code
    }
}
