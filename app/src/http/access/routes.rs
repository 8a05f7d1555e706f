//! The table of routes: nothing is registered without a rule.
//!
//! [`Routes`] looks like axum's `Router` and [`get`], [`post`], … like axum's own, but for the rule that
//! each takes first. There is no way past it: a `Router` comes out of [`Routes::behind`] alone, with the
//! guard before every handler, before a wrong method too, and before a path that nobody knows.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, OriginalUri, Request};
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::MethodRouter;
use axum::{Json, Router};
use serde_json::json;

use super::Door;
use super::guard::{Lock, guard};
use super::rule::Rule;

/// How long a body may be unless a route says otherwise.
pub const BODY: usize = 4 << 20;

/// How long a body is listened to that nobody wants.
const HEARD: Duration = Duration::from_secs(10);

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler whose own type is forgotten: what axum puts around one is compiled once for all of them.
#[derive(Clone)]
struct Plain<S>(Arc<dyn Fn(Request, S) -> Answering + Send + Sync>);

impl<S: 'static> Plain<S> {
    fn of<T, H: Handler<T, S, Future = Answering>>(handler: H) -> Self {
        Self(Arc::new(move |request, state| handler.clone().call(request, state)))
    }
}

impl<S: Clone + 'static> Handler<(), S> for Plain<S> {
    type Future = Answering;

    fn call(self, request: Request, state: S) -> Answering {
        self.0(request, state)
    }
}

/// The handlers of one path, each with its rule.
pub struct Verbs<S> {
    router: MethodRouter<S>,
    rules: Vec<(Method, Rule)>,
    body: Option<usize>,
}

macro_rules! verbs {
    ($($name:ident $method:ident,)*) => {
        $(
            #[doc = concat!("A handler for ", stringify!($method), " and what it needs.")]
            pub fn $name<H, T, S>(rule: Rule, handler: H) -> Verbs<S>
            where
                H: Handler<T, S, Future = Answering>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                Verbs::new().$name(rule, handler)
            }
        )*

        impl<S: Clone + Send + Sync + 'static> Verbs<S> {
            $(
                #[doc = concat!("Also a handler for ", stringify!($method), ".")]
                pub fn $name<H, T>(mut self, rule: Rule, handler: H) -> Self
                where
                    H: Handler<T, S, Future = Answering>,
                    T: 'static,
                {
                    self.rules.push((Method::$method, rule));
                    Self { router: self.router.$name(Plain::of(handler)), ..self }
                }
            )*
        }
    };
}

verbs! {
    get GET,
    post POST,
    put PUT,
    patch PATCH,
    delete DELETE,
}

impl<S: Clone + Send + Sync + 'static> Verbs<S> {
    fn new() -> Self {
        Self { router: MethodRouter::new(), rules: Vec::new(), body: Some(BODY) }
    }

    /// Takes bodies up to this length.
    pub fn body(self, most: usize) -> Self {
        Self { body: Some(most), ..self }
    }

    /// Takes bodies of any length, which the handler streams.
    pub fn streamed(self) -> Self {
        Self { body: None, ..self }
    }
}

/// A table of routes with their rules.
pub struct Routes<S> {
    rows: Vec<(String, Verbs<S>)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// With one more path.
    pub fn route(mut self, path: &str, verbs: Verbs<S>) -> Self {
        self.rows.push((path.to_owned(), verbs));
        self
    }

    /// With another table's paths below a prefix.
    pub fn nest(mut self, prefix: &str, inner: Self) -> Self {
        self.rows.extend(inner.rows.into_iter().map(|(path, verbs)| (format!("{prefix}{path}"), verbs)));
        self
    }

    /// With another table's paths.
    pub fn merge(self, other: Self) -> Self {
        self.nest("", other)
    }

    /// Every path with its methods and their rules.
    #[cfg(test)]
    pub fn table(&self) -> impl Iterator<Item = (&str, &[(Method, Rule)])> {
        self.rows.iter().map(|(path, verbs)| (path.as_str(), verbs.rules.as_slice()))
    }

    /// The routes behind the door.
    pub fn behind(self, door: &Door, state: S) -> Router {
        let mut router = Router::new();
        for (path, verbs) in self.rows {
            let lock = Lock::new(door.clone(), verbs.rules);
            let limit = match verbs.body {
                Some(most) => DefaultBodyLimit::max(most),
                None => DefaultBodyLimit::disable(),
            };
            let verbs = verbs.router.fallback(wrong_method);
            router = router.route(&path, verbs.layer(limit).layer(from_fn_with_state(lock, guard)));
        }
        router.with_state(state)
    }
}

/// Puts what no route of a router knows behind the door too: who is not let in is told no more.
pub fn closed(router: Router, door: &Door) -> Router {
    let lock = Lock::new(door.clone(), Vec::new());
    router.fallback(unknown.layer(from_fn_with_state(lock, guard)))
}

/// What is no route: clients learn from it what a server cannot do, and do without.
async fn unknown(method: Method, OriginalUri(uri): OriginalUri, body: Body) -> Response {
    heard(body).await;
    if method == Method::GET && uri.path().contains("//") {
        // Clients put a path after a root that ends in a slash; MLflow's server sends them on, too.
        return on_with_single_slashes(&uri);
    }
    let path: String = uri.path().chars().take(200).collect();
    no_route(StatusCode::NOT_FOUND, format!("No such endpoint: {path}"))
}

fn on_with_single_slashes(uri: &Uri) -> Response {
    let mut to = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if c != '/' || !to.ends_with('/') {
            to.push(c);
        }
    }
    if let Some(query) = uri.query() {
        to.push('?');
        to.push_str(query);
    }
    // Always a path of this server: it begins with one slash.
    Redirect::permanent(&to).into_response()
}

/// What is a route by another method.
async fn wrong_method(method: Method, uri: Uri, body: Body) -> Response {
    heard(body).await;
    let path: String = uri.path().chars().take(200).collect();
    no_route(StatusCode::METHOD_NOT_ALLOWED, format!("The endpoint {path} does not take {method}"))
}

/// Listens to a body that nobody wants, as far as one may be long and for a while: a connection that is
/// closed on a client that is still sending keeps the answer from it, and from its next request.
pub async fn heard(body: Body) {
    // Either way it has been listened to for long enough.
    let _ = tokio::time::timeout(HEARD, axum::body::to_bytes(body, BODY)).await;
}

fn no_route(status: StatusCode, message: String) -> Response {
    (status, Json(json!({ "error_code": "ENDPOINT_NOT_FOUND", "message": message }))).into_response()
}
