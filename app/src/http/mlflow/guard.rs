//! The one door: which host, which origin, which caller. Every route is behind it, what is unknown too.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::access::Caller;
use super::artifacts::signed;
use super::refusal::Refusal;
use super::{MlflowState, Mode};

/// Lets a request through or refuses it, and marks the answer as one that no browser may reinterpret.
pub(super) async fn guard(
    State(state): State<MlflowState>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let open = matches!(request.uri().path(), "/health" | "/version");
    let mut response = match admit(&state, &request, open) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => *refused,
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn admit(state: &MlflowState, request: &Request<Body>, open: bool) -> Result<Caller, Box<Response>> {
    let refuse = |text: &'static str| Box::new((StatusCode::FORBIDDEN, text).into_response());
    let headers = request.headers();
    if open {
        return Ok(Caller::Anyone);
    }
    let named = text(headers, &header::HOST).or_else(|| request.uri().authority().map(|host| host.as_str()));
    let host = named.map(host_of).unwrap_or_default();
    if !is_ours(host, &state.hosts) {
        return Err(refuse("Invalid Host header - possible DNS rebinding attack detected"));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let from =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| host_of(rest));
        let same = from
            .is_some_and(|from| from.eq_ignore_ascii_case(host) || (is_loopback(from) && is_loopback(host)));
        if !same {
            return Err(refuse("Cross-origin request blocked"));
        }
    }
    match token(headers) {
        // A token that is not, or no longer, a step's is refused also where nobody needs one.
        Some(token) => state
            .steps
            .find(&token)
            .map(Caller::Step)
            .ok_or_else(|| Box::new(Refusal::unknown_token().into_response())),
        None if state.mode == Mode::Open => Ok(Caller::Anyone),
        // The handler looks at the right that is in the address, and at nothing else.
        None if signed::carries_right(request.uri().path()) => Ok(Caller::Anyone),
        None => Err(Box::new(Refusal::unauthenticated().into_response())),
    }
}

/// The bearer's token; as a password too, for clients that know user names only.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = text(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_owned())
        .filter(|password| password.starts_with("rondo-step-"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The host without its port.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.split_inclusive(']').next().unwrap_or(authority);
    }
    authority.split([':', '/']).next().unwrap_or(authority)
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address to listen on can be reached from this machine alone.
pub(crate) fn listens_to_itself(listen: &str) -> bool {
    is_loopback(host_of(listen))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// A page of another site can make its own name lead here, but not an address or `localhost`.
fn is_ours(host: &str, more: &[String]) -> bool {
    is_loopback(host) || address(host).is_some() || more.iter().any(|ours| matches(host_of(ours), host))
}

/// Whether a host is one of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| host.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn hosts_match_patterns_as_a_whole() {
        let matches = super::matches;
        assert!(
            matches("ml.example", "ML.example")
                && matches("*", "anything")
                && matches("*.example", "a.b.example")
        );
        assert!(matches("ml-*.example", "ml-7.example") && matches("a*b*c", "abbc"));
        for (pattern, host) in [
            ("ml.example", "ml.example.evil"),
            ("*.example", "example"),
            ("*.example", "a.example.evil"),
            ("ml-*.example", "ml-.exampl"),
            ("ab*ba", "aba"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for listen in ["127.0.0.1:80", "[::1]:80", "localhost:0"] {
            assert!(super::listens_to_itself(listen), "{listen}");
        }
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(!super::listens_to_itself(listen), "{listen}");
        }
    }
}
