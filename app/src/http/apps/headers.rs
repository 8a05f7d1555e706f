//! What of a message's head is passed on, and what is written anew.
//!
//! To the app a request looks as if it came from the app's own address: `Host`, `Origin` and `Referer` are
//! those of the process, so that whatever it compares them with agrees, and no protection of it has to be
//! switched off. That is safe since this server has looked at the browser's own `Origin` before. Where a
//! request really comes from is in `X-Forwarded-*`, and what a client has written there itself is dropped.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::apps::instance::Instance;
use crate::apps::spec::Spec;

/// What is said between two neighbours and not passed on (RFC 9110, 7.6.1).
const BETWEEN: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What would reach beyond the app's own pages.
const TOO_FAR: [&str; 4] = ["clear-site-data", "strict-transport-security", "alt-svc", "public-key-pins"];

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct From {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it came to the outermost proxy by TLS.
    pub tls: bool,
    /// The user, where users are known.
    pub user: Option<String>,
}

/// A cookie's value.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Takes away what is between neighbours, and what `Connection` names.
pub(super) fn between(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    BETWEEN.iter().for_each(|name| drop(headers.remove(*name)));
}

/// The protocol that a request asks to turn to.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let said = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut words = said.flat_map(|value| value.split(','));
    let asked = words.any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

/// Makes a request's head what the app gets.
pub(super) fn to_app(headers: &mut HeaderMap, spec: &Spec, instance: &Instance, from: &From) {
    between(headers);
    let host = headers.get(header::HOST).cloned();
    let ours: Vec<HeaderName> =
        headers.keys().filter(|name| is_ours_to_say(name.as_str())).cloned().collect();
    ours.into_iter().for_each(|name| drop(headers.remove(name)));
    // Who one is to this server is no business of an app's; nor is what this server waits for.
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::EXPECT);
    without_key(headers);
    let own = instance.target.host();
    let set = |headers: &mut HeaderMap, name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    let referer = headers.get(header::REFERER).and_then(|referer| referer.to_str().ok());
    let page = referer.and_then(|referer| referer.split_once("://")).map(|(_, rest)| rest.to_owned());
    if let Some(page) = page {
        let (authority, path) = page.split_once('/').unwrap_or((&page, ""));
        let from_here = host.as_ref().is_some_and(|host| host.as_bytes() == authority.as_bytes());
        if from_here {
            let path = if spec.strip { stripped(spec, &format!("/{path}")) } else { format!("/{path}") };
            set(headers, "referer", &format!("http://{own}{path}"));
        }
    }
    if headers.contains_key(header::ORIGIN) {
        set(headers, "origin", &format!("http://{own}"));
    }
    set(headers, "host", &own);
    if let Some(authorization) = &instance.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    set(headers, "x-forwarded-for", &from.address.to_string());
    set(headers, "x-forwarded-proto", if from.tls { "https" } else { "http" });
    set(headers, "x-forwarded-prefix", &spec.base);
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
    if let Some(user) = &from.user {
        set(headers, "x-forwarded-user", user);
    }
}

/// Whether a header says what this server alone may say. `X_Forwarded_User` is the same to many an app.
fn is_ours_to_say(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip" || name == "x-remote-user"
}

/// Without the cookie that opens apps to a browser.
fn without_key(headers: &mut HeaderMap) {
    let Some(text) = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()) else { return };
    if !text.contains(super::KEY) {
        return;
    }
    let kept: Vec<&str> = text
        .split(';')
        .map(str::trim)
        .filter(|pair| pair.split_once('=').is_none_or(|(name, _)| name != super::KEY))
        .collect();
    let value = HeaderValue::from_str(&kept.join("; ")).ok().filter(|_| !kept.is_empty());
    match value {
        Some(value) => drop(headers.insert(header::COOKIE, value)),
        None => drop(headers.remove(header::COOKIE)),
    }
}

/// A path as an app without a path of its own knows it.
pub(super) fn stripped(spec: &Spec, path: &str) -> String {
    let rest = path.strip_prefix(spec.base.as_str()).filter(|rest| rest.starts_with('/'));
    rest.unwrap_or(path).to_owned()
}

/// Makes an answer's head what the browser gets: nothing in it leads or reaches out of the app's path.
pub(super) fn to_browser(headers: &mut HeaderMap, spec: &Spec, instance: &Instance) {
    between(headers);
    TOO_FAR.iter().for_each(|name| drop(headers.remove(*name)));
    let narrow = |value: &HeaderValue| value.to_str().is_ok_and(|scope| within(spec, scope));
    if headers.get("service-worker-allowed").is_some_and(|scope| !narrow(scope)) {
        headers.remove("service-worker-allowed");
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let place = headers.get(&name).and_then(|place| place.to_str().ok());
        if let Some(place) = place.map(|place| located(spec, &instance.target.host(), place))
            && let Ok(place) = HeaderValue::from_str(&place)
        {
            headers.insert(name, place);
        }
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if cookies.is_empty() {
        return;
    }
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        // One that cannot be read cannot be kept to the path.
        let kept = cookie.to_str().ok().map(|cookie| kept_in(spec, cookie));
        if let Some(kept) = kept.and_then(|kept| HeaderValue::from_str(&kept).ok()) {
            headers.append(header::SET_COOKIE, kept);
        }
    }
}

/// Whether a path is the app's own or below it.
fn within(spec: &Spec, path: &str) -> bool {
    path.strip_prefix(spec.base.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// Where an answer leads: addresses of the process and paths are kept below the app's own path; an address
/// elsewhere, such as a login page, is left.
fn located(spec: &Spec, host: &str, place: &str) -> String {
    let own = ["http://", "https://", "//"].iter().find_map(|scheme| {
        let rest = place.strip_prefix(scheme)?;
        let rest = rest.strip_prefix(host)?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
    });
    let path = match own {
        Some("") => "/",
        Some(path) => path,
        None if place.starts_with('/') && !place.starts_with("//") => place,
        None => return place.to_owned(),
    };
    // `//evil.example` after the process's own host would be another host to a browser.
    let path = format!("/{}", path.trim_start_matches('/'));
    if within(spec, &path) { path } else { format!("{}{path}", spec.base) }
}

/// A cookie that goes to the app alone.
fn kept_in(spec: &Spec, cookie: &str) -> String {
    let mut parts = cookie.split(';').map(str::trim);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    let mut path = format!("{}/", spec.base);
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name.eq_ignore_ascii_case("path") {
            if within(spec, value.trim()) {
                value.trim().clone_into(&mut path);
            }
        } else if !name.eq_ignore_ascii_case("domain") && !part.is_empty() {
            kept.push_str("; ");
            kept.push_str(part);
        }
    }
    kept.push_str("; Path=");
    kept.push_str(&path);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let app = rondo_project::project::App {
            uses: None,
            with: Default::default(),
            run: Some("x {port}".into()),
            files: None,
            inputs: Default::default(),
            models: Default::default(),
            environment: None,
            care: Default::default(),
            drain: None,
            restarts: None,
            used: None,
            packaged: None,
        };
        Spec::new("a", &app)
    }

    #[test]
    fn what_is_between_neighbours_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(upgrade(&headers), None, "`Connection` does not name it");
        between(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
        headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        assert_eq!(upgrade(&headers).unwrap(), "websocket");
    }

    #[test]
    fn answers_lead_nowhere_but_below_the_apps_path() {
        let at = |place: &str| located(&spec(), "127.0.0.1:5", place);
        for (place, to) in [
            ("/apps/a/x", "/apps/a/x"),
            ("/apps/a", "/apps/a"),
            ("/apps/ab", "/apps/a/apps/ab"),
            ("/login?next=/x", "/apps/a/login?next=/x"),
            ("x/y", "x/y"),
            ("http://127.0.0.1:5/apps/a/x?y", "/apps/a/x?y"),
            ("http://127.0.0.1:5", "/apps/a/"),
            ("http://127.0.0.1:5//evil.example/", "/apps/a/evil.example/"),
            ("https://127.0.0.1:5/x", "/apps/a/x"),
            ("http://127.0.0.1:55/x", "http://127.0.0.1:55/x"),
            ("https://login.example/", "https://login.example/"),
        ] {
            assert_eq!(at(place), to, "{place}");
        }
    }

    #[test]
    fn cookies_stay_with_their_app() {
        let kept = |cookie: &str| kept_in(&spec(), cookie);
        assert_eq!(kept("a=1"), "a=1; Path=/apps/a/");
        assert_eq!(kept("a=1; Path=/; HttpOnly; Domain=x.example"), "a=1; HttpOnly; Path=/apps/a/");
        assert_eq!(kept("a=1; path=/apps/a/b; Secure"), "a=1; Secure; Path=/apps/a/b");
        assert_eq!(kept("a=1; Path=/apps/ab"), "a=1; Path=/apps/a/");
        assert_eq!(kept(""), "; Path=/apps/a/");
    }

    #[test]
    fn a_client_does_not_say_what_this_server_says() {
        for name in ["x-forwarded-for", "x_forwarded_user", "forwarded", "x-forwarded-anything"] {
            assert!(is_ours_to_say(name), "{name}");
        }
        assert!(!is_ours_to_say("x-xsrftoken"));
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "a=1; rondo_key=k; b=2".parse().unwrap());
        assert_eq!(cookie(&headers, "rondo_key"), Some("k"));
        without_key(&mut headers);
        assert_eq!(headers["cookie"], "a=1; b=2");
        headers.insert("cookie", "rondo_key=k".parse().unwrap());
        without_key(&mut headers);
        assert!(headers.is_empty());
    }
}
