//! MLflow's REST wire, so that the unchanged `mlflow` client tracks, searches and loads here.
//!
//! Each handler reads its arguments, calls [`rondo_tracking`] or the store, and shows the answer as the
//! client reads it; what a value means is decided there and not here. Every route exists under `/api` and
//! under `/ajax-api`. No request reaches a handler but through `guard`.
//!
//! | file | routes |
//! |---|---|
//! | `experiments` | `experiments/*` |
//! | `runs` | `runs/*` |
//! | `logging` | `runs/log-metric`, `runs/log-batch` |
//! | `metrics` | `metrics/*` |
//! | `artifacts` | `artifacts/*`, `mlflow-artifacts/*`, `get-artifact` |
//! | `logged_models` | `logged-models/*` |
//! | `registered_models` | `registered-models/*` |
//! | `model_versions` | `model-versions/*` |
//! | `traces` | `traces/*`, `get-trace-artifact` |
//! | `assessments` | `traces/*/assessments/*` |
//! | `otlp` | `/v1/traces` |
//! | `webhooks` | `webhooks*` |
//! | `about` | `/health`, `/version`, `server-info` |

mod access;
mod args;
pub(crate) mod guard;
mod points;
mod refusal;
mod show;
mod show_registry;
mod show_runs;
mod show_traces;
mod sources;

mod about;
mod artifacts;
mod assessments;
mod experiments;
mod logged_models;
mod logging;
mod metrics;
mod model_versions;
mod otlp;
mod registered_models;
mod runs;
mod traces;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, patch, post, put};
use rondo_core::ports::Clock;
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::target::Allow;
use rondo_store::Store;
use rondo_tracking::Tracking;
use rondo_tracking::artifacts::roots::Roots;

pub use access::StepAccess;

/// Who is let in without a step's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Anyone who reaches the address: a server on loopback that was started to be used.
    Open,
    /// Nobody: a pipeline that listens for its own steps.
    StepsOnly,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct MlflowState {
    tracking: Tracking,
    mode: Mode,
    steps: Arc<access::Steps>,
    hosts: Arc<[String]>,
    /// What is put before all routes.
    prefix: Arc<str>,
    /// What signs the addresses that are given out.
    key: Arc<[u8; 32]>,
    webhooks: Webhooks,
}

impl MlflowState {
    /// Tracking over a store for whom the mode lets in.
    pub fn new(store: Store, clock: Arc<dyn Clock>, mode: Mode) -> Self {
        let webhooks = Webhooks::new(store.clone(), Allow::default());
        Self {
            tracking: Tracking::new(store, clock),
            mode,
            steps: Arc::default(),
            hosts: Arc::from([]),
            prefix: Arc::from(""),
            key: Arc::new(rand::random()),
            webhooks,
        }
    }

    /// What it serves.
    pub const fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Also answers to these names in the `Host` header, in which `*` stands for anything; localhost and
    /// addresses are always answered.
    pub fn with_hosts(self, hosts: Vec<String>) -> Self {
        Self { hosts: hosts.into(), ..self }
    }

    /// Is served below a path, such as `/mlflow`.
    pub fn with_prefix(self, prefix: &str) -> Self {
        Self { prefix: Arc::from(prefix), ..self }
    }

    /// Signs addresses with this key, so that they are good after a restart too.
    pub fn with_key(self, key: [u8; 32]) -> Self {
        Self { key: Arc::new(key), ..self }
    }

    /// Keeps and finds artifacts where the operator wants them.
    pub fn with_roots(self, roots: Roots) -> Self {
        Self { tracking: self.tracking.with_roots(roots), ..self }
    }

    /// Takes webhooks as these do.
    pub fn with_webhooks(self, webhooks: Webhooks) -> Self {
        Self { webhooks, ..self }
    }

    /// What lets steps in: give it to the pipeline, with the root URL that this state is served under.
    pub fn access(&self, url: &str) -> StepAccess {
        StepAccess::new(self.steps.clone(), url)
    }
}

/// Puts other routes behind the same door: host, origin, caller.
pub fn guarded(router: Router, state: MlflowState) -> Router {
    router.layer(axum::middleware::from_fn_with_state(state, guard::guard))
}

/// All routes of the wire.
pub fn router(state: MlflowState) -> Router {
    Router::new()
        .route("/health", get(about::health))
        .route("/version", get(about::version))
        .route("/get-artifact", get(artifacts::download::of_run))
        .route("/model-versions/get-artifact", get(artifacts::download::of_version))
        .route("/v1/traces", post(otlp::export))
        .route("/ajax-api/2.0/mlflow/get-trace-artifact", get(traces::artifact))
        .route("/ajax-api/3.0/mlflow/get-trace-artifact", get(traces::artifact))
        .nest("/api/2.0/mlflow", api())
        .nest("/ajax-api/2.0/mlflow", api())
        .route("/ajax-api/2.0/mlflow/upload-artifact", post(artifacts::upload::by_run))
        .nest("/api/3.0/mlflow", newer())
        .nest("/ajax-api/3.0/mlflow", newer())
        .nest("/api/2.0/mlflow-artifacts", proxy())
        .nest("/ajax-api/2.0/mlflow-artifacts", proxy())
        .method_not_allowed_fallback(about::wrong_method)
        .fallback(about::unknown)
        // Artifacts are streamed and JSON bodies have a bound of their own.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}

fn api() -> Router<MlflowState> {
    Router::new()
        .route("/experiments/create", post(experiments::create))
        .route("/experiments/get", get(experiments::get))
        .route("/experiments/get-by-name", get(experiments::get_by_name))
        .route("/experiments/search", post(experiments::search).get(experiments::search))
        .route("/experiments/delete", post(experiments::delete))
        .route("/experiments/restore", post(experiments::restore))
        .route("/experiments/update", post(experiments::update))
        .route("/experiments/set-experiment-tag", post(experiments::set_tag))
        .route("/experiments/delete-experiment-tag", post(experiments::delete_tag))
        .route("/experiments/search-datasets", post(experiments::search_datasets))
        .route("/runs/create", post(runs::create))
        .route("/runs/get", get(runs::get))
        .route("/runs/update", post(runs::update))
        .route("/runs/delete", post(runs::delete))
        .route("/runs/restore", post(runs::restore))
        .route("/runs/log-metric", post(logging::log_metric))
        .route("/runs/log-parameter", post(runs::log_param))
        .route("/runs/set-tag", post(runs::set_tag))
        .route("/runs/delete-tag", post(runs::delete_tag))
        .route("/runs/log-batch", post(logging::log_batch))
        .route("/runs/log-inputs", post(runs::log_inputs))
        .route("/runs/outputs", post(runs::log_outputs))
        .route("/runs/log-model", post(runs::log_model))
        .route("/runs/search", post(runs::search))
        .route("/metrics/get-history", get(metrics::history))
        .route("/metrics/get-history-bulk", get(metrics::history_bulk))
        .route("/metrics/get-history-bulk-interval", get(metrics::history_bulk_interval))
        .route("/artifacts/list", get(artifacts::list::of_run))
        .route("/artifacts/presigned-upload-url", post(artifacts::multipart::no_object_store))
        .route("/artifacts/presigned-download-url", post(artifacts::multipart::no_object_store))
        .merge(registry())
        .merge(webhook_routes())
        .merge(models())
        .merge(traces_of_old())
}

/// Traces in the protocol's second version, some of which newer clients still use.
fn traces_of_old() -> Router<MlflowState> {
    Router::new()
        .route("/traces", post(traces::old_start).get(traces::old_search))
        .route("/traces/{trace_id}", patch(traces::old_end))
        .route("/traces/{trace_id}/info", get(traces::old_info))
        .route("/traces/{trace_id}/tags", patch(traces::set_tag).delete(traces::delete_tag))
        .route("/traces/delete-traces", post(traces::delete))
        .route("/traces/link-to-run", post(traces::link_to_run))
        .route("/traces/link-prompts", post(traces::link_prompts))
}

fn traces() -> Router<MlflowState> {
    Router::new()
        .route("/traces", post(traces::start))
        .route("/traces/search", post(traces::search))
        .route("/traces/delete-traces", post(traces::delete))
        .route("/traces/get", get(traces::get))
        .route("/traces/batchGet", get(traces::batch_get))
        .route("/traces/batchGetInfos", post(traces::batch_get_infos))
        .route("/traces/{trace_id}", get(traces::info))
        .route("/traces/{trace_id}/tags", patch(traces::set_tag).delete(traces::delete_tag))
        .route("/traces/{trace_id}/assessments", post(assessments::create))
        .route(
            "/traces/{trace_id}/assessments/{assessment_id}",
            get(assessments::get).patch(assessments::update).delete(assessments::delete),
        )
}

fn registry() -> Router<MlflowState> {
    Router::new()
        .route("/registered-models/create", post(registered_models::create))
        .route("/registered-models/get", get(registered_models::get))
        .route("/registered-models/update", patch(registered_models::update))
        .route("/registered-models/rename", post(registered_models::rename))
        .route("/registered-models/delete", delete(registered_models::delete))
        .route("/registered-models/search", get(registered_models::search))
        .route(
            "/registered-models/get-latest-versions",
            post(registered_models::latest).get(registered_models::latest),
        )
        .route(
            "/registered-models/alias",
            get(registered_models::get_alias)
                .post(registered_models::set_alias)
                .delete(registered_models::delete_alias),
        )
        .route("/registered-models/set-tag", post(registered_models::set_tag))
        .route("/registered-models/delete-tag", delete(registered_models::delete_tag))
        .route("/model-versions/create", post(model_versions::create))
        .route("/model-versions/get", get(model_versions::get))
        .route("/model-versions/update", patch(model_versions::update))
        .route("/model-versions/delete", delete(model_versions::delete))
        .route("/model-versions/search", get(model_versions::search))
        .route("/model-versions/get-download-uri", get(model_versions::download_uri))
        .route("/model-versions/transition-stage", post(model_versions::transition))
        .route("/model-versions/set-tag", post(model_versions::set_tag))
        .route("/model-versions/delete-tag", delete(model_versions::delete_tag))
}

fn webhook_routes() -> Router<MlflowState> {
    Router::new()
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{id}", get(webhooks::get).patch(webhooks::update).delete(webhooks::delete))
        .route("/webhooks/{id}/test", post(webhooks::test))
}

fn models() -> Router<MlflowState> {
    Router::new()
        .route("/logged-models", post(logged_models::create))
        .route("/logged-models/search", post(logged_models::search))
        .route(
            "/logged-models/{model_id}",
            get(logged_models::get).patch(logged_models::finalize).delete(logged_models::delete),
        )
        .route("/logged-models/{model_id}/tags", patch(logged_models::set_tags))
        .route("/logged-models/{model_id}/tags/{key}", delete(logged_models::delete_tag))
        .route("/logged-models/{model_id}/params", post(logged_models::log_params))
        .route("/logged-models/{model_id}/artifacts/directories", get(logged_models::list_artifacts))
        .route("/logged-models/{model_id}/artifacts/files", get(artifacts::download::of_model))
}

fn newer() -> Router<MlflowState> {
    models().merge(traces()).route("/server-info", get(about::server_info))
}

fn proxy() -> Router<MlflowState> {
    use artifacts::{download, list, multipart, upload};
    Router::new()
        .route("/artifacts", get(list::of_proxy))
        .route("/artifacts/{*path}", get(download::by_path).put(upload::by_path).delete(upload::delete))
        .route("/mpu/create/{*path}", post(multipart::create))
        .route("/mpu/complete/{*path}", post(multipart::complete))
        .route("/mpu/abort/{*path}", post(multipart::abort))
        .route("/presigned/{*path}", get(multipart::presign))
        .route(&format!("{}{{token}}", artifacts::signed::PART), put(multipart::part))
        .route(&format!("{}{{token}}/{{name}}", artifacts::signed::FILE), get(multipart::presigned))
}

#[cfg(test)]
mod tests;
