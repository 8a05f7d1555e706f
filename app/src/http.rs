//! HTTP: the router reads as an index, each handler is one small file.

pub mod endpoints;
pub mod experiments;
pub mod mlflow;
pub mod models;
pub mod pages;
pub mod problem;
pub mod requests;
pub mod runs;
pub mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use rondo_registry::webhooks::Webhooks;
use rondo_serving::deployment::Deployments;

use crate::platform::Platform;
use mlflow::{MlflowState, Mode};

/// What the handlers work with.
#[derive(Clone)]
pub struct AppState {
    /// The project.
    pub platform: Arc<Platform>,
    /// The endpoints of this process.
    pub deployments: Arc<Deployments>,
    /// Who is told of changes in the registry.
    pub webhooks: Webhooks,
}

/// How long a body may be.
const BODY: usize = 16 << 20;

/// Every route of a project's server.
pub fn router(state: AppState) -> Router {
    let tracking =
        MlflowState::new(state.platform.store().clone(), state.platform.clock().clone(), Mode::Open)
            .with_webhooks(state.webhooks.clone());
    let own = Router::new()
        .route("/", get(pages::home))
        .route("/report", get(pages::report))
        .route("/metrics", get(pages::metrics))
        .route("/api/v1/endpoints", get(endpoints::list))
        .route("/api/v1/endpoints/{name}/predict", post(endpoints::predict))
        .route("/api/v1/endpoints/{name}/invocations", post(endpoints::predict))
        .route("/api/v1/endpoints/{name}/truth", post(endpoints::truth))
        .route("/api/v1/endpoints/{name}/advance", post(endpoints::advance))
        .route("/api/v1/requests", get(requests::list))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(state);
    mlflow::guarded(own, tracking.clone()).merge(tracking_router(tracking))
}

/// The routes of a tracking server: MLflow's wire, and `/api/v1` for people's pages.
pub fn tracking_router(state: MlflowState) -> Router {
    let own = experiments::routes()
        .merge(models::routes())
        .merge(runs::routes())
        .with_state(state.tracking().clone());
    mlflow::guarded(own, state.clone()).merge(mlflow::router(state))
}
