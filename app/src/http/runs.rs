//! `/api/v1/runs`: tables, series, comparisons and what is live.

mod compare;
mod events;
mod series;
mod table;

use axum::Router;
use axum::routing::get;
use rondo_tracking::Tracking;

/// The routes.
pub fn routes() -> Router<Tracking> {
    Router::new()
        .route("/api/v1/runs", get(table::table))
        .route("/api/v1/runs/compare", get(compare::compare))
        .route("/api/v1/runs/{id}/series", get(series::series))
        .route("/api/v1/runs/{id}/events", get(events::events))
}

/// The values of a query's key, which may stand there many times.
fn all(pairs: &[(String, String)], name: &str) -> Vec<String> {
    pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
}

/// The last value of a query's key.
fn last<'q>(pairs: &'q [(String, String)], name: &str) -> Option<&'q str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
