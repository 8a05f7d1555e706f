//! What the streams of a run that go on where a client was cut off have in common: the place that it comes back
//! with, and the last event.

use axum::http::HeaderMap;
use axum::response::sse::Event;
use rondo_core::Code;

use crate::http::problem::{Answer, Problem};

/// The id of the last event: who comes back with it is told that there is no more.
pub(super) const END: &str = "end";

/// The last event.
pub(super) fn end() -> Event {
    Event::default().event(END).id(END).data("{}")
}

/// The id of the last event that a client got.
pub(super) fn last_event(headers: &HeaderMap) -> Answer<Option<&str>> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let text = id.to_str().map_err(refused)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// What is said of an id that is none of the stream's.
pub(super) fn refused(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::RequestInvalid, format!("`Last-Event-ID`: {error}"))
}
