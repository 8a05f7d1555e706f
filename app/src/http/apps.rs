//! `/apps/NAME/`: what an app answers, by way of this server; and `/api/v1/apps`.
//!
//! The way to an app: whether there is one of that name, whether the caller may use it, whether the page
//! that asks is one of this very server, and which process answers now. Then the request goes on by
//! [`forward`], or is answered from [`files`].

pub mod files;
pub mod forward;
mod headers;
pub mod list;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use rondo_core::Code;
use rondo_core::access::Right;
use rondo_project::project::Audience;

use super::AppState;
use super::access::routes::{Routes, get, post};
use super::access::{Caller, On, Rule};
use super::problem::{Answer, Problem};
use crate::apps::App;
use crate::apps::health::Target;
use crate::report::chart::escape;
use crate::report::html;

/// The name of the parameter and of the cookie that open an app to a browser, where nobody is asked who they
/// are.
pub const KEY: &str = "rondo_key";

/// How many requests and sockets of an app may be open at a time.
const MOST: usize = 4096;

/// The routes of apps.
pub fn routes() -> Routes<AppState> {
    use On::Server;
    use Rule::{Edit, Read};
    let mut routes = Routes::new()
        .route("/api/v1/apps", get(Read(Server), list::list))
        .route("/api/v1/apps/{name}/{verb}", post(Edit(Server), list::tell));
    for path in ["/apps/{name}", "/apps/{name}/", "/apps/{name}/{*rest}"] {
        // What else than to see it is needed, the handler asks.
        let verbs = get(Read(Server), proxy)
            .post(Read(Server), proxy)
            .put(Read(Server), proxy)
            .patch(Read(Server), proxy)
            .delete(Read(Server), proxy)
            .streamed();
        routes = routes.route(path, verbs);
    }
    routes
}

/// Passes a request on to an app.
///
/// # Errors
/// When there is no such app, the caller may not use it, or it does not answer.
pub async fn proxy(State(state): State<AppState>, caller: Caller, request: Request) -> Answer<Response> {
    let (name, below) = parts(request.uri());
    let Some(app) = state.apps.find(name).cloned() else {
        let name: String = name.chars().take(80).collect();
        return Err(Problem::new(Code::AppNotFound, format!("find app `{name}`")));
    };
    match app.spec.access {
        Audience::Viewer => {}
        Audience::Editor => caller.at_desk(Right::Edit)?,
        Audience::Admin => caller.at_desk(Right::Manage)?,
    }
    if !is_from_here(request.headers()) {
        let message = "the page that asks is not one of this server's: its origin is another";
        return Err(Problem::new(Code::Denied, message));
    }
    if let Some(answer) = opened(&app, &caller, &request) {
        return Ok(answer);
    }
    let Some(below) = below else {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(Redirect::permanent(&format!("{}/{query}", app.spec.base)).into_response());
    };
    let Some(instance) = app.current().filter(|instance| instance.ending().is_none()) else {
        return Ok(away(&app, request.headers()));
    };
    if instance.open() >= MOST {
        let message = format!("app `{}` has {MOST} requests and sockets open", app.spec.name);
        return Err(Problem::new(Code::Overloaded, message));
    }
    if let Target::Files { root, artifact } = &instance.target {
        let (root, artifact, below) = (root.clone(), *artifact, below.to_owned());
        return files::answer(&root, artifact, &below, request.method()).await;
    }
    let (address, tls) = caller.address(&request);
    let from = headers::From { address, tls, user: caller.user().map(str::to_owned) };
    Ok(match forward::forward(&app.spec, &instance, from, request).await {
        Ok(answer) => answer,
        Err(trouble) => {
            let text = format!("app `{}` did not answer: {trouble}", app.spec.name);
            (StatusCode::BAD_GATEWAY, text).into_response()
        }
    })
}

/// The name of an app in a path, and what comes after it; nothing where not even a slash does.
fn parts(uri: &Uri) -> (&str, Option<&str>) {
    let rest = uri.path().strip_prefix("/apps/").unwrap_or_default();
    rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)))
}

/// Whether the page that asks is one of this server's. An app trusts its page with whatever its page's
/// reader may, so that here, unlike elsewhere, another port is another origin.
fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((scheme, origin)), Some(host)) => {
            plain(scheme, origin).eq_ignore_ascii_case(plain(scheme, host))
        }
        _ => false,
    }
}

/// A host without the port that goes without saying.
fn plain<'h>(scheme: &str, host: &'h str) -> &'h str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

/// Where nobody is asked who they are, an app that not everybody may use asks for a key, which `rondo up` and
/// `rondo app status` tell: what reaches this machine's loopback may be another user's. The answer where it
/// does not go on yet.
fn opened(app: &Arc<App>, caller: &Caller, request: &Request) -> Option<Response> {
    if app.spec.access == Audience::Viewer || !caller.is_anyone() {
        return None;
    }
    let given = headers::cookie(request.headers(), KEY);
    if given.is_some_and(|given| same(given, &app.key)) {
        return None;
    }
    let asked = request.uri().query().unwrap_or_default().split('&');
    let key = asked.filter_map(|pair| pair.strip_prefix(KEY)?.strip_prefix('=')).next();
    if request.method() == Method::GET && key.is_some_and(|key| same(key, &app.key)) {
        let base = &app.spec.base;
        let cookie = format!("{KEY}={}; Path={base}/; HttpOnly; SameSite=Lax", app.key);
        let mut answer = Redirect::to(&format!("{base}/")).into_response();
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        return Some(answer);
    }
    let name = escape(&app.spec.name);
    let body = format!(
        "<header><p class=\"eyebrow\">rondo</p><h1>{name}</h1><p class=\"lede\">This app can do whatever the \
         user can who started the server. Open it with the address that this command tells:</p></header>\
         <section><pre><code>rondo app status {name}</code></pre></section>"
    );
    Some((StatusCode::FORBIDDEN, Html(html::page(&app.spec.name, &body))).into_response())
}

/// Whether two texts are the same, in a time that does not tell how much of them is.
fn same(given: &str, wanted: &str) -> bool {
    given.len() == wanted.len()
        && given.bytes().zip(wanted.bytes()).fold(0, |different, (one, other)| different | (one ^ other)) == 0
}

/// The answer while no process answers: a page for people, which looks again by itself.
fn away(app: &Arc<App>, headers: &HeaderMap) -> Response {
    let status = app.status();
    let wants = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !wants.is_some_and(|accept| accept.contains("text/html")) {
        let message = format!("app `{}` does not answer: it {}", status.name, status.state.said());
        return Problem::new(Code::AppUnavailable, message).into_response();
    }
    let mut body = format!(
        "<header><p class=\"eyebrow\">rondo</p><h1>{}</h1><p class=\"lede\">This app {}.</p></header>",
        escape(&status.name),
        status.state.said(),
    );
    if let Some(error) = &status.error {
        body.push_str(&format!("<section><p class=\"note\">{}</p>", escape(error)));
        if !status.tail.is_empty() {
            body.push_str(&format!("<pre><code>{}</code></pre>", escape(&status.tail.join("\n"))));
        }
        body.push_str("</section>");
    }
    let page = Html(html::page(&status.name, &body));
    let mut answer = (StatusCode::SERVICE_UNAVAILABLE, page).into_response();
    answer.headers_mut().insert("refresh", HeaderValue::from_static("2"));
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_from(origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        is_from_here(&headers)
    }

    #[test]
    fn another_port_is_another_origin() {
        assert!(is_from_here(&HeaderMap::new()));
        for (origin, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://LOCALHOST:8080", "localhost:8080"),
            ("https://example.org", "example.org"),
            ("https://example.org", "example.org:443"),
            ("http://example.org:80", "example.org"),
        ] {
            assert!(is_from(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:9999", "127.0.0.1:8080"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://evil.example", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080.evil.example", "127.0.0.1:8080"),
            ("https://example.org:80", "example.org"),
            ("null", "127.0.0.1:8080"),
            ("", "127.0.0.1:8080"),
        ] {
            assert!(!is_from(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is_written() {
        let of = |path: &str| {
            let uri: Uri = path.parse().unwrap();
            let (name, below) = parts(&uri);
            (name.to_owned(), below.map(str::to_owned))
        };
        assert_eq!(of("/apps/a"), ("a".into(), None));
        assert_eq!(of("/apps/a/?x"), ("a".into(), Some(String::new())));
        assert_eq!(of("/apps/a/b/../c"), ("a".into(), Some("b/../c".into())));
        for hostile in
            ["/apps//evil.example/", "/apps/%61/", "/apps/../api/v1/apps", "/apps/a%2fb/c", "/apps/"]
        {
            let (name, _) = of(hostile);
            assert!(!rondo_core::id::is_name(&name), "{hostile} is {name}");
        }
    }

    #[test]
    fn keys_are_the_same_or_not() {
        assert!(same("abc", "abc") && !same("abd", "abc") && !same("ab", "abc") && !same("", "abc"));
    }
}
