//! `GET /api/v1/runs/{id}/outputs`: the cells of a run's notebook with their outputs, as server-sent events
//! while it is executed and afterwards, or the notebook as it is now.
//!
//! A cell is sent when its outputs have changed. The id of an event is the cell's place and a digest of its
//! outputs: who comes back with it gets that cell where it has changed since, and all that are below it.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::StreamExt;
use rondo_core::{Code, Digest, RunId};
use rondo_notebook::document::Notebook;
use rondo_notebook::views::Views;
use rondo_pipeline::logs::{Executed, executed};
use rondo_tracking::Tracking;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::{END, end, last_event};
use crate::http::access::Caller;
use crate::http::problem::{Answer, Asked, Problem};
use crate::http::server::Stopping;

/// How often it is looked for a newer copy.
const LOOK: Duration = Duration::from_millis(500);

/// How long a notebook may be that is looked into here.
const LONGEST: u64 = 128 << 20;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Events,
    Ipynb,
}

/// Sends `cell` for each code cell that has run or has outputs, again when they change, and `end` once the
/// run has ended. With `format=ipynb` the notebook.
///
/// # Errors
/// When there is no such run, or it has executed no notebook.
pub async fn outputs(
    State(tracking): State<Tracking>,
    caller: Caller,
    stopping: Stopping,
    Path(id): Path<String>,
    headers: HeaderMap,
    Asked(query): Asked<Query>,
) -> Answer<Response> {
    caller.run(&id).await?;
    let row = tracking.run_row(&id).await?;
    let none = || Problem::new(Code::ObjectNotFound, format!("run `{id}` has executed no notebook"));
    let found = executed(tracking.store(), &row).await?;
    if row.state.ended() || query.format == Some(Format::Ipynb) {
        let found = found.as_ref().ok_or_else(none)?;
        if found.path.metadata().map_or(0, |metadata| metadata.len()) > LONGEST {
            let message = format!("the notebook of run `{id}` is longer than {LONGEST} bytes");
            return Err(Problem::new(Code::RequestInvalid, message));
        }
    }
    if let (Some(Format::Ipynb), Some(found)) = (query.format, &found) {
        let bytes = read(found.path.clone()).await.ok_or_else(none)?;
        return Ok(([(header::CONTENT_TYPE, "application/x-ipynb+json")], bytes).into_response());
    }
    let known = match last_event(&headers)? {
        Some(END) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Some(id) => Some(place(id)?),
        None => None,
    };
    let looking = Looking {
        tracking,
        run: row.id,
        stopping,
        known,
        sent: HashMap::new(),
        seen: None,
        ready: VecDeque::new(),
        over: false,
    };
    let events = futures::stream::unfold(looking, |mut looking| async move {
        let event = looking.next().await?;
        Some((Ok::<_, Infallible>(event), looking))
    });
    Ok(Sse::new(events.boxed()).keep_alive(KeepAlive::default()).into_response())
}

/// The cell of an event's id, and the digest of the outputs that it had.
fn place(id: &str) -> Answer<(usize, String)> {
    let parts = id.split_once('-').and_then(|(cell, digest)| Some((cell.parse().ok()?, digest.to_owned())));
    parts.ok_or_else(|| Problem::new(Code::RequestInvalid, "`Last-Event-ID` is no event of a notebook"))
}

async fn read(path: PathBuf) -> Option<Vec<u8>> {
    tokio::task::spawn_blocking(move || std::fs::read(path)).await.ok()?.ok()
}

struct Looking {
    tracking: Tracking,
    run: RunId,
    stopping: Stopping,
    /// Where a client goes on.
    known: Option<(usize, String)>,
    /// The cells that were sent, each with the digest of its outputs.
    sent: HashMap<usize, String>,
    /// The copy that was looked into last.
    seen: Option<(PathBuf, SystemTime)>,
    ready: VecDeque<Event>,
    over: bool,
}

impl Looking {
    /// The next event; nothing behind the last, or where the server is to stop.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let row = self.tracking.meta().run(self.run).await.ok()??;
            let ended = row.state.ended();
            if let Some(found) = executed(self.tracking.store(), &row).await.ok()? {
                self.look(found).await;
            }
            if ended {
                self.over = true;
                self.ready.push_back(end());
            } else if self.ready.is_empty() {
                self.stopping.rest(LOOK).await?;
            }
        }
    }

    /// Looks into a copy that is newer than the one before. One that is gone, or longer than is looked
    /// into, says nothing: the log has what was printed.
    async fn look(&mut self, found: Executed) {
        let Ok(metadata) = found.path.metadata() else { return };
        let stamp = (found.path.clone(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        if metadata.len() > LONGEST || self.seen.as_ref() == Some(&stamp) {
            return;
        }
        let Some(bytes) = read(found.path.clone()).await else { return };
        let Ok(notebook) = Notebook::of_bytes(std::path::Path::new("notebook.ipynb"), &bytes) else { return };
        self.seen = Some(stamp);
        let views = Views::of(&notebook);
        for (index, cell) in notebook.cells.iter().enumerate().filter(|(_, cell)| cell.is_code()) {
            let outputs: Vec<&Value> = cell.outputs().iter().flat_map(|output| views.shown(output)).collect();
            let count = cell.execution_count();
            if outputs.is_empty() && count.is_none() {
                continue;
            }
            let source = cell.source();
            let value =
                json!({ "cell": index, "execution_count": count, "source": source, "outputs": outputs });
            let text = value.to_string();
            let digest = Digest::of(text.as_bytes()).short();
            let known = self.known.as_ref();
            let is_known = known.is_some_and(|(at, same)| index < *at || (index == *at && *same == digest));
            let is_sent = self.sent.insert(index, digest.clone()).is_some_and(|sent| sent == digest);
            if is_sent || is_known {
                continue;
            }
            self.ready.push_back(Event::default().event("cell").id(format!("{index}-{digest}")).data(text));
        }
        self.known = None;
    }
}
