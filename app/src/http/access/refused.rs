//! The answers to those who are not let in, in the form that MLflow's clients read.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request does not reach its handler, or its answer not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The `Host` is none of ours.
    Host,
    /// Another site's page is asking.
    Origin,
    /// Nothing says who is calling, and only steps are let in.
    StepsOnly,
    /// Nothing says who is calling.
    Unauthenticated,
    /// The token is nobody's.
    UnknownToken,
    /// The name or password is wrong.
    WrongPassword,
    /// The caller is known and may not.
    Forbidden,
    /// Too many wrong passwords came: not before so many seconds.
    TooManyFailures(u64),
    /// Too many requests of this client are under way.
    Crowded,
    /// The handler did not ask whether the caller may.
    NotAsked,
    /// The users cannot be read.
    Unreadable,
}

impl Refused {
    /// Its class, for the journal.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::StepsOnly | Self::Unauthenticated => "unauthenticated",
            Self::UnknownToken => "token",
            Self::WrongPassword => "password",
            Self::Forbidden => "forbidden",
            Self::TooManyFailures(_) => "failures",
            Self::Crowded => "crowd",
            Self::NotAsked => "not-asked",
            Self::Unreadable => "unreadable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Origin | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::StepsOnly | Self::Unauthenticated | Self::UnknownToken | Self::WrongPassword => {
                StatusCode::UNAUTHORIZED
            }
            Self::TooManyFailures(_) | Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::NotAsked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unreadable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Host => {
                ("PERMISSION_DENIED", "Invalid Host header - possible DNS rebinding attack detected")
            }
            Self::Origin => ("PERMISSION_DENIED", "Cross-origin request blocked"),
            Self::StepsOnly => {
                ("UNAUTHENTICATED", "this server takes requests from the steps of a running pipeline only")
            }
            Self::Unauthenticated => (
                "UNAUTHENTICATED",
                "You are not authenticated. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
                 MLFLOW_TRACKING_TOKEN",
            ),
            Self::UnknownToken => (
                "UNAUTHENTICATED",
                "the token is unknown: it has ended, it was of a step that has ended, or of another server",
            ),
            Self::WrongPassword => {
                ("UNAUTHENTICATED", "You are not authenticated: the user name or password is wrong")
            }
            Self::Forbidden => ("PERMISSION_DENIED", "Permission denied"),
            Self::TooManyFailures(_) => ("REQUEST_LIMIT_EXCEEDED", "Too many failed logins: try again later"),
            Self::Crowded => ("REQUEST_LIMIT_EXCEEDED", "Too many requests of this client are under way"),
            Self::NotAsked => ("INTERNAL_ERROR", "The route did not check the caller's permission"),
            Self::Unreadable => ("TEMPORARILY_UNAVAILABLE", "Users and permissions cannot be read just now"),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, message) = self.words();
        let mut response = match self {
            // Plain text, as MLflow answers them.
            Self::Host | Self::Origin => (self.status(), message).into_response(),
            _ => {
                let body = json!({ "error_code": code, "message": message });
                (self.status(), Json(body)).into_response()
            }
        };
        let headers = response.headers_mut();
        match self {
            Self::Unauthenticated | Self::WrongPassword => {
                let asks = HeaderValue::from_static("Basic realm=\"rondo\", charset=\"UTF-8\"");
                headers.insert(header::WWW_AUTHENTICATE, asks);
            }
            Self::StepsOnly | Self::UnknownToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rondo\""));
            }
            Self::TooManyFailures(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Crowded | Self::Unreadable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Host | Self::Origin | Self::Forbidden | Self::NotAsked => {}
        }
        response
    }
}
