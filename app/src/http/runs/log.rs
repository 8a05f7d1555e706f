//! `GET /api/v1/runs/{id}/log`: what a run says, as server-sent events or as plain text, while it runs and
//! afterwards.
//!
//! Each event has the place in the log behind it as its id, so that who was cut off goes on where it was:
//! browsers do so by themselves, with `Last-Event-ID`. A log is read in pieces as the client takes them.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::StreamExt;
use rondo_pipeline::Error;
use rondo_pipeline::logs::lines::{Line, Lines};
use rondo_pipeline::logs::{Follower, LOOK, Mark, Said};
use rondo_tracking::Tracking;
use serde::Deserialize;
use serde_json::json;

use super::stream::{END, end, last_event, refused};
use crate::http::access::Caller;
use crate::http::problem::{Answer, Asked};
use crate::http::server::Stopping;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    format: Option<Format>,
    /// Whether to wait for what comes while the run is under way.
    follow: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Events,
    Text,
}

/// Sends `line` for each line, `left_out` where some were not kept, of a pipeline's or a sweep's run `run`
/// where that of another step begins, and `end`, or `failed` where it cannot be read on. With `format=text` the
/// bytes as they came.
///
/// # Errors
/// When there is no such run, the place to go on from is none of its log, or its log is damaged.
pub async fn log(
    State(tracking): State<Tracking>,
    caller: Caller,
    stopping: Stopping,
    Path(id): Path<String>,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Answer<Response> {
    caller.run(&id).await?;
    let row = tracking.run_row(&id).await?;
    let from = match last_event(&headers)? {
        Some(END) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Some(place) => Some(place.parse::<Mark>().map_err(refused)?),
        None => None,
    };
    let mut follower = Follower::open(tracking.store(), &row, from).await?;
    let first = begun(&mut follower).await?;
    let following = Following { follower, first, follow: query.follow.unwrap_or(true), stopping };
    Ok(match query.format.unwrap_or(Format::Events) {
        Format::Events => events(following, from),
        Format::Text => text(following),
    })
}

/// What is said first: a log that cannot be read is refused before anything is sent.
async fn begun(follower: &mut Follower) -> Result<VecDeque<Said>, Error> {
    let mut first = VecDeque::from([follower.next().await?]);
    if matches!(first.front(), Some(Said::Begins { .. })) {
        first.push_back(follower.next().await?);
    }
    Ok(first)
}

struct Following {
    follower: Follower,
    /// What was read already.
    first: VecDeque<Said>,
    follow: bool,
    stopping: Stopping,
}

impl Following {
    /// What comes next, waited for; nothing where the server is to stop.
    async fn next(&mut self) -> Option<Result<Said, Error>> {
        loop {
            let said = match self.first.pop_front() {
                Some(said) => Ok(said),
                None => self.follower.next().await,
            };
            match said {
                Ok(Said::Waits) if self.follow => self.stopping.rest(LOOK).await?,
                Ok(Said::Waits) => return Some(Ok(Said::Ends)),
                said => return Some(said),
            }
        }
    }
}

fn text(following: Following) -> Response {
    let parts = futures::stream::unfold(following, |mut following| async move {
        let part = match following.next().await? {
            Ok(Said::Bytes { bytes, .. }) => Ok(Bytes::from(bytes)),
            Ok(Said::LeftOut { bytes, .. }) => Ok(format!("\n[{bytes} bytes were left out here]\n").into()),
            Ok(Said::Begins { name, .. }) => Ok(format!("==> {name}\n").into()),
            Ok(Said::Waits) => Ok(Bytes::new()),
            Ok(Said::Ends) => return None,
            // The connection is cut off: what came is not all.
            Err(error) => Err(error),
        };
        Some((part, following))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        // What a step says is no page, whatever it looks like.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(parts)).into_response()
}

struct Lined {
    following: Following,
    lines: Lines,
    ready: VecDeque<Event>,
    over: bool,
}

fn events(following: Following, from: Option<Mark>) -> Response {
    let lined = Lined { following, lines: Lines::from(from), ready: VecDeque::new(), over: false };
    let events = futures::stream::unfold(lined, |mut lined| async move {
        while lined.ready.is_empty() && !lined.over {
            lined.more().await?;
        }
        let event = lined.ready.pop_front()?;
        Some((Ok::<_, Infallible>(event), lined))
    });
    Sse::new(events.boxed()).keep_alive(KeepAlive::default()).into_response()
}

impl Lined {
    async fn more(&mut self) -> Option<()> {
        let said = match self.following.next().await? {
            Ok(said) => said,
            Err(error) => {
                self.over = true;
                let data = json!({ "message": error.to_string() }).to_string();
                self.ready.push_back(Event::default().event("failed").id(END).data(data));
                return Some(());
            }
        };
        match said {
            Said::Bytes { from, bytes } => {
                let lines = self.lines.take(from, &bytes);
                self.ready.extend(lines.into_iter().map(line));
            }
            Said::LeftOut { from, bytes } => {
                self.flush();
                let after = Mark { at: from.at + bytes, ..from };
                let data = json!({ "bytes": bytes }).to_string();
                self.ready.push_back(Event::default().event("left_out").id(after.to_string()).data(data));
            }
            Said::Begins { run, name } => {
                self.flush();
                let data = json!({ "run": run, "name": name }).to_string();
                let id = Mark { run, at: 0 }.to_string();
                self.ready.push_back(Event::default().event("run").id(id).data(data));
            }
            Said::Waits => {}
            Said::Ends => {
                self.flush();
                self.over = true;
                self.ready.push_back(end());
            }
        }
        Some(())
    }

    fn flush(&mut self) {
        self.ready.extend(self.lines.flush().map(line));
    }
}

fn line(line: Line) -> Event {
    let mut data = json!({ "line": line.text });
    if line.goes_on {
        data["goes_on"] = true.into();
    }
    Event::default().event("line").id(line.after.to_string()).data(data.to_string())
}
