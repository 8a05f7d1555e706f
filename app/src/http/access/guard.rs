//! The one door: which host, which origin, which caller, and whether the rule of the route lets it through.
//! Every route is behind it, what is unknown too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::caller::{Caller, Who};
use super::limits::{Client, Place};
use super::refused::Refused;
use super::rule::Rule;
use super::{Door, Mode, proxies, steps};

/// The door before one path.
#[derive(Clone)]
pub(super) struct Lock {
    door: Door,
    rules: Arc<[(Method, Rule)]>,
}

impl Lock {
    pub(super) fn new(door: Door, rules: Vec<(Method, Rule)>) -> Self {
        Self { door, rules: rules.into() }
    }

    /// The rule of a method. Of one that nobody handles, to be known: it is told no more.
    fn rule(&self, method: &Method) -> Rule {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.rules.iter().find(|(of, _)| of == method).map_or(Rule::Known, |(_, rule)| *rule)
    }
}

/// Lets a request through or refuses it, and marks the answer as one that no browser may reinterpret.
pub(super) async fn guard(State(lock): State<Lock>, request: Request<Body>, next: Next) -> Response {
    let rule = lock.rule(request.method());
    let (parts, body) = request.into_parts();
    let mut response = match admit(&lock.door, &parts, rule).await {
        Ok((caller, _place)) => answered(&lock.door, caller, Request::from_parts(parts, body), next).await,
        Err((refused, who)) => {
            let who = who.unwrap_or_else(|| client(&lock.door, &parts).to_string());
            lock.door.inner.audit.refused(refused, &who, &parts.method, &parts.uri);
            refused.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    // What an app answers may depend on more.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

/// The handler's answer. It is kept back where the handler asked its caller nothing although its rule says
/// so: it has a fault, and would tell what the caller may not know.
async fn answered(door: &Door, caller: Caller, mut request: Request<Body>, next: Next) -> Response {
    if caller.is_anyone() {
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    let refused = match response.status() {
        StatusCode::FORBIDDEN => Refused::Forbidden,
        status if status.is_success() && caller.owes_a_question() => Refused::NotAsked,
        _ => return response,
    };
    door.inner.audit.refused(refused, &caller.name(), &method, &uri);
    if refused == Refused::NotAsked { refused.into_response() } else { response }
}

async fn admit(
    door: &Door,
    parts: &Parts,
    rule: Rule,
) -> Result<(Caller, Option<Place>), (Refused, Option<String>)> {
    let headers = &parts.headers;
    if rule == Rule::Public {
        return Ok((Caller::new(Who::Anyone, rule, door.clone()), None));
    }
    let named = text(headers, &header::HOST).or_else(|| parts.uri.authority().map(|host| host.as_str()));
    let host = named.map(host_of).unwrap_or_default();
    if !is_ours(host, &door.inner.hosts) {
        return Err((Refused::Host, None));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let from =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| host_of(rest));
        let same = from
            .is_some_and(|from| from.eq_ignore_ascii_case(host) || (is_loopback(from) && is_loopback(host)));
        if !same {
            return Err((Refused::Origin, None));
        }
    }
    let who = match rule {
        Rule::Signed => Who::Anyone,
        _ => who(door, parts).await.map_err(|refused| (refused, None))?,
    };
    let place = match &door.inner.crowd {
        Some(crowd) => {
            let client = match &who {
                Who::User(pass) => Client::Account(pass.account.id),
                Who::Anyone | Who::Step(_) => Client::Address(client(door, parts)),
            };
            Some(crowd.enter(client).ok_or((Refused::Crowded, None))?)
        }
        None => None,
    };
    let caller = Caller::new(who, rule, door.clone());
    if caller.passes() {
        return Ok((caller, place));
    }
    let name = caller.name();
    Err((Refused::Forbidden, Some(name)))
}

async fn who(door: &Door, parts: &Parts) -> Result<Who, Refused> {
    let header = text(&parts.headers, &header::AUTHORIZATION);
    if let Some(token) = header.and_then(steps_token) {
        let step = door.inner.steps.find(&token).ok_or(Refused::UnknownToken)?;
        if step.home().get().is_none()
            && let Ok(Some(run)) = door.inner.meta.run(step.run()).await
        {
            step.home().get_or_init(|| run.experiment);
        }
        return Ok(Who::Step(step));
    }
    match (door.inner.mode, header) {
        (Mode::Users, Some(header)) => match door.keeper() {
            Some(keeper) => keeper.authenticate(header, client(door, parts)).await.map(Who::User),
            None => Err(Refused::Unauthenticated),
        },
        (Mode::Users, None) => Err(Refused::Unauthenticated),
        // A token that is nobody's is refused also where nobody needs one.
        (Mode::Open, Some(header)) if is_bearer(header) => Err(Refused::UnknownToken),
        (Mode::Open, _) => Ok(Who::Anyone),
        (Mode::StepsOnly, Some(header)) if is_bearer(header) => Err(Refused::UnknownToken),
        (Mode::StepsOnly, _) => Err(Refused::StepsOnly),
    }
}

/// The address that a request comes from: as the accept loop has put it there, or as a proxy says that the
/// operator trusts.
fn client(door: &Door, parts: &Parts) -> IpAddr {
    way(door, &parts.extensions, &parts.headers).0
}

/// The same, and whether a proxy whose word counts has got it by TLS.
pub(super) fn way(door: &Door, extensions: &Extensions, headers: &HeaderMap) -> (IpAddr, bool) {
    let from = extensions.get::<ConnectInfo<SocketAddr>>();
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(from)| from.ip().to_canonical());
    let trusted = &door.inner.proxies;
    (proxies::behind(trusted, from, headers), proxies::by_tls(trusted, from, headers))
}

fn is_bearer(header: &str) -> bool {
    header.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
}

/// A step's token; as a password too, for clients that know user names only.
fn steps_token(header: &str) -> Option<String> {
    let (scheme, value) = header.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        value.trim().to_owned()
    } else {
        let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
        pair.split_once(':').map(|(_, password)| password.to_owned())?
    };
    token.starts_with(steps::PREFIX).then_some(token)
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
    is_loopback(host) || address(host).is_some() || more.iter().any(|ours| is_like(host, ours))
}

/// Whether a host is one of a pattern's, in which `*` stands for anything.
fn is_like(host: &str, pattern: &str) -> bool {
    let (host, pattern) = (host.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return host == pattern };
    let Some(mut left) = host.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_star_stands_for_anything_in_an_allowed_name() {
        for (host, pattern) in
            [("a.example.org", "*.example.org"), ("A.B", "a.b"), ("x", "*"), ("a-1.b-2.c", "a-*.b-*.c")]
        {
            assert!(super::is_like(host, pattern), "{host} {pattern}");
        }
        for (host, pattern) in [
            ("x", ""),
            ("aba", "ab*ba"),
            ("example.org", "*.example.org"),
            ("a.example.org.evil", "*.example.org"),
            ("ab", "a"),
            ("a", "a*a"),
        ] {
            assert!(!super::is_like(host, pattern), "{host} {pattern}");
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
