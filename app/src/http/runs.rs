//! `/api/v1/runs`: tables, series, comparisons and what is live.

mod compare;
mod events;
mod log;
mod outputs;
mod series;
mod stream;
mod sweep;
mod table;

use rondo_tracking::Tracking;

use super::access::On::Experiment;
use super::access::Routes;
use super::access::Rule::{Listed, Read};
use super::access::routes::get;

/// The routes.
pub fn routes() -> Routes<Tracking> {
    Routes::new()
        .route("/api/v1/runs", get(Listed(Experiment), table::table))
        .route("/api/v1/runs/compare", get(Read(Experiment), compare::compare))
        .route("/api/v1/runs/{id}/series", get(Read(Experiment), series::series))
        .route("/api/v1/runs/{id}/events", get(Read(Experiment), events::events))
        .route("/api/v1/runs/{id}/log", get(Read(Experiment), log::log))
        .route("/api/v1/runs/{id}/outputs", get(Read(Experiment), outputs::outputs))
        .route("/api/v1/runs/{id}/sweep", get(Read(Experiment), sweep::sweep))
        .route("/api/v1/runs/{id}/sweep.html", get(Read(Experiment), sweep::page))
}

/// The values of a query's key, which may stand there many times.
fn all(pairs: &[(String, String)], name: &str) -> Vec<String> {
    pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
}

/// The last value of a query's key.
fn last<'q>(pairs: &'q [(String, String)], name: &str) -> Option<&'q str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
