//! An app as declared, with all defaults filled in.

use std::time::Duration;

use rondo_core::Span;
use rondo_project::project::{App, Audience};

/// How long an app may take until it is ready.
const START: Duration = Duration::from_secs(60);
/// How long an old process may finish what is open.
const DRAIN: Duration = Duration::from_secs(30);
/// How often in a row it is started again.
const RESTARTS: u32 = 5;

/// What an app is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A command that goes on.
    Command(String),
    /// A file or folder that is shown as it is.
    Files(String),
}

/// An app as it is looked after.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// What it uses, for people: a package, `command` or `files`.
    pub uses: String,
    /// What it is.
    pub what: What,
    /// The path that it is reached under, without a slash at its end.
    pub base: String,
    /// The path that answers once it is ready, below its own, without a slash at its beginning.
    pub health: String,
    /// Whether its own path is taken away from what it is asked.
    pub strip: bool,
    /// Whether it listens on a socket in the file system and not on a port.
    pub socket: bool,
    /// The `Authorization` that requests are passed on with, `{token}` in it.
    pub authorization: Option<String>,
    /// Who may use it.
    pub access: Audience,
    /// How long it may take until it is ready.
    pub start: Duration,
    /// How long an old process may finish what is open.
    pub drain: Duration,
    /// How often in a row it is started again.
    pub restarts: u32,
}

impl Spec {
    /// An app of that name.
    pub fn new(name: &str, app: &App) -> Self {
        let what = match (&app.run, &app.files) {
            (Some(command), _) => What::Command(command.clone()),
            (None, files) => What::Files(files.clone().unwrap_or_default()),
        };
        let uses = match (&app.uses, &what) {
            (Some(package), _) => package.clone(),
            (None, What::Command(_)) => "command".to_owned(),
            (None, What::Files(_)) => "files".to_owned(),
        };
        let health = app.care.health.as_deref().unwrap_or("/");
        let time = |span: Option<Span>, otherwise| {
            span.and_then(|span| u64::try_from(span.millis()).ok()).map_or(otherwise, Duration::from_millis)
        };
        Self {
            name: name.to_owned(),
            uses,
            base: format!("/apps/{name}"),
            health: health.trim_start_matches('/').to_owned(),
            strip: app.care.strip_path.unwrap_or(false),
            socket: matches!(&what, What::Command(command) if command.contains("{socket}")),
            what,
            authorization: app.care.authorization.clone(),
            access: app.care.access.unwrap_or_default(),
            start: time(app.care.start_timeout, START),
            drain: time(app.drain, DRAIN),
            restarts: app.restarts.unwrap_or(RESTARTS),
        }
    }

    /// The whole path of its health route, as its process knows it.
    pub fn health_path(&self) -> String {
        let base = if self.strip { "" } else { &self.base };
        format!("{base}/{}", self.health)
    }
}

/// Puts where to listen into a command: `{port}`, `{socket}` and `{path}`, but not `${port}`, which is the
/// shell's.
pub fn placed(command: &str, port: Option<u16>, socket: Option<&str>, path: &str) -> String {
    let port = port.map(|port| port.to_string());
    let known = [("{port}", port.as_deref()), ("{socket}", socket), ("{path}", Some(path))];
    let mut result = String::with_capacity(command.len());
    let mut rest = command;
    'outer: while let Some(c) = rest.chars().next() {
        for (word, value) in known {
            if let Some(after) = rest.strip_prefix(word)
                && let Some(value) = value
                && !result.ends_with('$')
            {
                result.push_str(value);
                rest = after;
                continue 'outer;
            }
        }
        result.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::placed;

    #[test]
    fn where_to_listen_is_put_in_and_the_shells_own_variables_are_left() {
        let text =
            placed("é --port {port} --base {path}/ ${port} {socket} {other} {", Some(8), None, "/apps/a");
        assert_eq!(text, "é --port 8 --base /apps/a/ ${port} {socket} {other} {");
        assert_eq!(placed("unix://{socket}", None, Some("/tmp/x/a.sock"), "/p"), "unix:///tmp/x/a.sock");
    }
}
