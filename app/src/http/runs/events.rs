//! `GET /api/v1/runs/{id}/events`: a run as it goes on, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use rondo_core::RunId;
use rondo_store::meta::metrics::Point;
use rondo_tracking::Tracking;
use serde_json::json;
use tokio::sync::watch;

use crate::http::access::Caller;
use crate::http::problem::Answer;
use crate::http::server::Stopping;

/// Sends `metric` for each metric whose newest value changed, `status` when that changes, and `end` once
/// the run has ended; then it closes. The first events say how things stand.
///
/// # Errors
/// When there is no such run.
pub async fn events(
    State(tracking): State<Tracking>,
    caller: Caller,
    stopping: Stopping,
    Path(id): Path<String>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    caller.run(&id).await?;
    let run = tracking.run_row(&id).await?.id;
    let changes = tracking.meta().changes().await?;
    let watching = Watching { tracking, run, changes, stopping, seen: HashMap::new(), status: None };
    let stream = futures::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        let (events, ended) = watching.next().await?;
        let events = futures::stream::iter(events.into_iter().map(Ok));
        Some((events, (!ended).then_some(watching)))
    });
    Ok(Sse::new(futures::StreamExt::flatten(stream)).keep_alive(KeepAlive::default()))
}

struct Watching {
    tracking: Tracking,
    run: RunId,
    changes: watch::Receiver<u64>,
    stopping: Stopping,
    seen: HashMap<String, Point>,
    status: Option<&'static str>,
}

impl Watching {
    /// The next events, and whether they are the last; nothing when the server is to stop.
    async fn next(&mut self) -> Option<(Vec<Event>, bool)> {
        loop {
            if self.status.is_some() {
                tokio::select! {
                    changed = self.changes.changed() => changed.ok()?,
                    () = self.stopping.told() => return None,
                }
            }
            let row = self.tracking.meta().run(self.run).await.ok()??;
            let mut events = Vec::new();
            for latest in self.tracking.meta().latest_metrics(self.run).await.ok()? {
                let point = latest.point;
                let same = |old: &Point| {
                    (old.step, old.timestamp, old.value.to_bits())
                        == (point.step, point.timestamp, point.value.to_bits())
                };
                if self.seen.get(&latest.key).is_some_and(same) {
                    continue;
                }
                let data = json!({
                    "key": latest.key, "step": point.step, "time": point.timestamp, "value": point.value,
                });
                events.push(Event::default().event("metric").data(data.to_string()));
                self.seen.insert(latest.key, point);
            }
            let status = row.state.status();
            if self.status.replace(status) != Some(status) {
                let data = json!({ "status": status, "ended": row.ended.map(rondo_core::Timestamp::millis) });
                events.push(Event::default().event("status").data(data.to_string()));
            }
            let ended = row.state.ended();
            if ended {
                events.push(Event::default().event("end").data("{}"));
            }
            if !events.is_empty() {
                return Some((events, ended));
            }
        }
    }
}
