//! HTTP: the router reads as an index, each handler is one small file.

pub mod access;
pub mod apps;
pub mod endpoints;
pub mod experiments;
pub mod mlflow;
pub mod models;
pub mod pages;
pub mod problem;
pub mod requests;
pub mod runs;
pub mod server;
mod unread;

use std::sync::Arc;

use axum::Router;
use rondo_registry::webhooks::Webhooks;
use rondo_serving::deployment::Deployments;

use crate::apps::Apps;
use crate::platform::Platform;
use access::routes::{get, post};
use access::{Admission, Door, On, Routes, Rule, routes};
use mlflow::MlflowState;

/// What the handlers work with.
#[derive(Clone)]
pub struct AppState {
    /// The project.
    pub platform: Arc<Platform>,
    /// The endpoints of this process.
    pub deployments: Arc<Deployments>,
    /// Who is told of changes in the registry.
    pub webhooks: Webhooks,
    /// The apps of this process.
    pub apps: Arc<Apps>,
}

/// How long the rows of one request may be.
const ROWS: usize = 16 << 20;

/// Every route of a project's server, behind its door.
pub fn router(state: AppState, plan: Admission) -> Router {
    let (store, clock) = (state.platform.store().clone(), state.platform.clock().clone());
    let door = Door::new(&store, clock.clone(), plan);
    let tracking = MlflowState::new(store, clock, door.clone()).with_webhooks(state.webhooks.clone());
    routes::closed(own().behind(&door, state).merge(of_tracking(tracking)), &door)
}

/// The routes of a tracking server: MLflow's wire, and `/api/v1` for people's pages.
pub fn tracking_router(state: MlflowState) -> Router {
    let door = state.door().clone();
    routes::closed(of_tracking(state), &door)
}

fn of_tracking(state: MlflowState) -> Router {
    let own = experiments::routes().merge(models::routes()).merge(runs::routes());
    own.behind(state.door(), state.tracking().clone())
        .merge(mlflow::routes().behind(state.door(), state.clone()))
}

/// The project's own routes.
fn own() -> Routes<AppState> {
    use On::{Model, Server};
    use Rule::{Edit, Listed, Read};
    Routes::new()
        .route("/", get(Read(Server), pages::home))
        .route("/report", get(Read(Server), pages::report))
        .route("/metrics", get(Read(Server), pages::metrics))
        .route("/api/v1/endpoints", get(Listed(Model), endpoints::list))
        .route("/api/v1/endpoints/{name}/predict", post(Read(Model), endpoints::predict).body(ROWS))
        .route("/api/v1/endpoints/{name}/invocations", post(Read(Model), endpoints::predict).body(ROWS))
        .route("/api/v1/endpoints/{name}/truth", post(Edit(Model), endpoints::truth).body(ROWS))
        .route("/api/v1/endpoints/{name}/advance", post(Edit(Model), endpoints::advance))
        .route("/api/v1/requests", get(Read(Server), requests::list))
        .merge(apps::routes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_project_is_open_to_anyone() {
        let own = own();
        for (path, rules) in own.table() {
            assert!(!rules.is_empty() && rules.iter().all(|(_, rule)| *rule != Rule::Public), "{path}");
        }
    }
}
