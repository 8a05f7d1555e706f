//! MLflow's REST wire, so that the unchanged `mlflow` client tracks, searches and loads here.
//!
//! Each handler reads its arguments, calls [`rondo_tracking`] or the store, and shows the answer as the
//! client reads it; what a value means is decided there and not here. Every route exists under `/api` and
//! under `/ajax-api`. Each names what its handler needs of the caller, see [`super::access`].
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
//! | `figures` | `traces/metrics`, `traces/calculate-filter-correlation` |
//! | `assessments` | `traces/*/assessments/*` |
//! | `otlp` | `/v1/traces` |
//! | `graphql` | `/graphql` |
//! | `webhooks` | `webhooks*` |
//! | `users`, `permissions` | `users/*`, `experiments/permissions/*`, `registered-models/permissions/*` |
//! | `about` | `/health`, `/version`, `server-info` |

mod args;
mod bounds;
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
mod figures;
mod graphql;
mod logged_models;
mod logging;
mod metrics;
mod model_versions;
mod otlp;
mod permissions;
mod registered_models;
mod runs;
mod traces;
mod users;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use rondo_core::ports::Clock;
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::target::Allow;
use rondo_store::Store;
use rondo_tracking::Tracking;
use rondo_tracking::artifacts::roots::Roots;

use super::access::On::{self, Experiment, Model};
use super::access::Rule::{Admin, Delete, Edit, Known, Listed, Make, Manage, Public, Read, Signed};
use super::access::routes::{closed, delete, get, patch, post, put};
use super::access::{Door, Routes};

/// The largest JSON body: a dataset's profile alone may have 16 MiB.
const LARGE: usize = 64 << 20;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct MlflowState {
    tracking: Tracking,
    door: Door,
    /// What is put before all routes.
    prefix: Arc<str>,
    /// What signs the addresses that are given out.
    key: Arc<[u8; 32]>,
    webhooks: Webhooks,
}

impl MlflowState {
    /// Tracking over a store, for whom the door lets in.
    pub fn new(store: Store, clock: Arc<dyn Clock>, door: Door) -> Self {
        let webhooks = Webhooks::new(store.clone(), Allow::default());
        Self {
            tracking: Tracking::new(store, clock),
            door,
            prefix: Arc::from(""),
            key: Arc::new(rand::random()),
            webhooks,
        }
    }

    /// What it serves.
    pub const fn tracking(&self) -> &Tracking {
        &self.tracking
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

    /// The door before it.
    pub const fn door(&self) -> &Door {
        &self.door
    }

    /// Something that permissions are on got another name, or went: those who are held in memory are read
    /// anew.
    async fn access_changed(&self) -> Result<(), rondo_store::Error> {
        match self.door.keeper() {
            Some(keeper) => keeper.refresh().await,
            None => Ok(()),
        }
    }
}

/// The wire alone, behind its door.
pub fn router(state: MlflowState) -> Router {
    let door = state.door.clone();
    closed(routes().behind(&door, state), &door)
}

/// All routes of the wire.
pub fn routes() -> Routes<MlflowState> {
    Routes::new()
        .route("/health", get(Public, about::health))
        .route("/version", get(Public, about::version))
        .route("/get-artifact", get(Read(Experiment), artifacts::download::of_run))
        .route("/model-versions/get-artifact", get(Read(Model), artifacts::download::of_version))
        .route("/v1/traces", post(Edit(Experiment), otlp::export).streamed())
        .route("/ajax-api/2.0/mlflow/get-trace-artifact", get(Read(Experiment), traces::artifact))
        .route("/ajax-api/3.0/mlflow/get-trace-artifact", get(Read(Experiment), traces::artifact))
        .route("/graphql", post(Listed(Experiment), graphql::answer))
        .nest("/api/2.0/mlflow", api())
        .nest("/ajax-api/2.0/mlflow", api())
        .route(
            "/ajax-api/2.0/mlflow/upload-artifact",
            post(Edit(Experiment), artifacts::upload::by_run).streamed(),
        )
        .nest("/api/3.0/mlflow", newer())
        .nest("/ajax-api/3.0/mlflow", newer())
        .nest("/api/2.0/mlflow-artifacts", proxy())
        .nest("/ajax-api/2.0/mlflow-artifacts", proxy())
}

fn api() -> Routes<MlflowState> {
    Routes::new()
        .route("/experiments/create", post(Make(Experiment), experiments::create))
        .route("/experiments/get", get(Read(Experiment), experiments::get))
        .route("/experiments/get-by-name", get(Read(Experiment), experiments::get_by_name))
        .route(
            "/experiments/search",
            post(Listed(Experiment), experiments::search).get(Listed(Experiment), experiments::search),
        )
        .route("/experiments/delete", post(Manage(Experiment), experiments::delete))
        .route("/experiments/restore", post(Manage(Experiment), experiments::restore))
        .route("/experiments/update", post(Edit(Experiment), experiments::update))
        .route("/experiments/set-experiment-tag", post(Edit(Experiment), experiments::set_tag))
        .route("/experiments/delete-experiment-tag", post(Edit(Experiment), experiments::delete_tag))
        .route("/experiments/search-datasets", post(Listed(Experiment), experiments::search_datasets))
        .route("/runs/create", post(Edit(Experiment), runs::create))
        .route("/runs/get", get(Read(Experiment), runs::get))
        .route("/runs/update", post(Edit(Experiment), runs::update))
        .route("/runs/delete", post(Delete(Experiment), runs::delete))
        .route("/runs/restore", post(Delete(Experiment), runs::restore))
        .route("/runs/log-metric", post(Edit(Experiment), logging::log_metric))
        .route("/runs/log-parameter", post(Edit(Experiment), runs::log_param))
        .route("/runs/set-tag", post(Edit(Experiment), runs::set_tag))
        .route("/runs/delete-tag", post(Edit(Experiment), runs::delete_tag))
        .route("/runs/log-batch", post(Edit(Experiment), logging::log_batch).body(LARGE))
        .route("/runs/log-inputs", post(Edit(Experiment), runs::log_inputs).body(LARGE))
        .route("/runs/outputs", post(Edit(Experiment), runs::log_outputs))
        .route("/runs/log-model", post(Edit(Experiment), runs::log_model).body(LARGE))
        .route("/runs/search", post(Listed(Experiment), runs::search))
        .route("/metrics/get-history", get(Read(Experiment), metrics::history))
        .route("/metrics/get-history-bulk", get(Read(Experiment), metrics::history_bulk))
        .route("/metrics/get-history-bulk-interval", get(Read(Experiment), metrics::history_bulk_interval))
        .route("/artifacts/list", get(Read(Experiment), artifacts::list::of_run))
        .route("/artifacts/presigned-upload-url", post(Known, artifacts::multipart::no_object_store))
        .route("/artifacts/presigned-download-url", post(Known, artifacts::multipart::no_object_store))
        .merge(registry())
        .merge(webhook_routes())
        .merge(models())
        .merge(traces_of_old())
        .merge(users())
        .merge(permissions("/experiments/permissions", Experiment))
        .merge(permissions("/registered-models/permissions", Model))
}

/// Traces in the protocol's second version, some of which newer clients still use.
fn traces_of_old() -> Routes<MlflowState> {
    Routes::new()
        .route(
            "/traces",
            post(Edit(Experiment), traces::old_start).get(Listed(Experiment), traces::old_search),
        )
        .route("/traces/{trace_id}", patch(Edit(Experiment), traces::old_end))
        .route("/traces/{trace_id}/info", get(Read(Experiment), traces::old_info))
        .route(
            "/traces/{trace_id}/tags",
            patch(Edit(Experiment), traces::set_tag).delete(Edit(Experiment), traces::delete_tag),
        )
        .route("/traces/delete-traces", post(Delete(Experiment), traces::delete))
        .route("/traces/link-to-run", post(Edit(Experiment), traces::link_to_run))
        .route("/traces/link-prompts", post(Edit(Experiment), traces::link_prompts))
}

fn traces() -> Routes<MlflowState> {
    Routes::new()
        .route("/traces", post(Edit(Experiment), traces::start).body(LARGE))
        .route("/traces/search", post(Listed(Experiment), traces::search))
        .route("/traces/delete-traces", post(Delete(Experiment), traces::delete))
        .route("/traces/get", get(Read(Experiment), traces::get))
        .route("/traces/batchGet", get(Read(Experiment), traces::batch_get))
        .route("/traces/batchGetInfos", post(Read(Experiment), traces::batch_get_infos))
        .route("/traces/metrics", post(Listed(Experiment), figures::figures))
        .route("/traces/calculate-filter-correlation", post(Listed(Experiment), figures::correlation))
        .route("/traces/{trace_id}", get(Read(Experiment), traces::info))
        .route(
            "/traces/{trace_id}/tags",
            patch(Edit(Experiment), traces::set_tag).delete(Edit(Experiment), traces::delete_tag),
        )
        .route("/traces/{trace_id}/assessments", post(Edit(Experiment), assessments::create))
        .route(
            "/traces/{trace_id}/assessments/{assessment_id}",
            get(Read(Experiment), assessments::get)
                .patch(Edit(Experiment), assessments::update)
                .delete(Edit(Experiment), assessments::delete),
        )
}

fn registry() -> Routes<MlflowState> {
    Routes::new()
        .route("/registered-models/create", post(Make(Model), registered_models::create))
        .route("/registered-models/get", get(Read(Model), registered_models::get))
        .route("/registered-models/update", patch(Edit(Model), registered_models::update))
        .route("/registered-models/rename", post(Manage(Model), registered_models::rename))
        .route("/registered-models/delete", delete(Manage(Model), registered_models::delete))
        .route("/registered-models/search", get(Listed(Model), registered_models::search))
        .route(
            "/registered-models/get-latest-versions",
            post(Read(Model), registered_models::latest).get(Read(Model), registered_models::latest),
        )
        .route(
            "/registered-models/alias",
            get(Read(Model), registered_models::get_alias)
                .post(Edit(Model), registered_models::set_alias)
                .delete(Delete(Model), registered_models::delete_alias),
        )
        .route("/registered-models/set-tag", post(Edit(Model), registered_models::set_tag))
        .route("/registered-models/delete-tag", delete(Edit(Model), registered_models::delete_tag))
        .route("/model-versions/create", post(Edit(Model), model_versions::create))
        .route("/model-versions/get", get(Read(Model), model_versions::get))
        .route("/model-versions/update", patch(Edit(Model), model_versions::update))
        .route("/model-versions/delete", delete(Delete(Model), model_versions::delete))
        .route("/model-versions/search", get(Listed(Model), model_versions::search))
        .route("/model-versions/get-download-uri", get(Read(Model), model_versions::download_uri))
        .route("/model-versions/transition-stage", post(Edit(Model), model_versions::transition))
        .route("/model-versions/set-tag", post(Edit(Model), model_versions::set_tag))
        .route("/model-versions/delete-tag", delete(Edit(Model), model_versions::delete_tag))
}

fn webhook_routes() -> Routes<MlflowState> {
    Routes::new()
        .route("/webhooks", get(Admin, webhooks::list).post(Admin, webhooks::create))
        .route(
            "/webhooks/{id}",
            get(Admin, webhooks::get).patch(Admin, webhooks::update).delete(Admin, webhooks::delete),
        )
        .route("/webhooks/{id}/test", post(Admin, webhooks::test))
}

fn models() -> Routes<MlflowState> {
    Routes::new()
        .route("/logged-models", post(Edit(Experiment), logged_models::create))
        .route("/logged-models/search", post(Listed(Experiment), logged_models::search))
        .route(
            "/logged-models/{model_id}",
            get(Read(Experiment), logged_models::get)
                .patch(Edit(Experiment), logged_models::finalize)
                .delete(Delete(Experiment), logged_models::delete),
        )
        .route("/logged-models/{model_id}/tags", patch(Edit(Experiment), logged_models::set_tags))
        .route("/logged-models/{model_id}/tags/{key}", delete(Edit(Experiment), logged_models::delete_tag))
        .route("/logged-models/{model_id}/params", post(Edit(Experiment), logged_models::log_params))
        .route(
            "/logged-models/{model_id}/artifacts/directories",
            get(Read(Experiment), logged_models::list_artifacts),
        )
        .route(
            "/logged-models/{model_id}/artifacts/files",
            get(Read(Experiment), artifacts::download::of_model),
        )
}

fn users() -> Routes<MlflowState> {
    Routes::new()
        .route("/users/create", post(Admin, users::create))
        .route("/users/get", get(Known, users::get))
        .route("/users/list", get(Admin, users::list))
        .route("/users/update-password", patch(Known, users::update_password))
        .route("/users/update-admin", patch(Admin, users::update_admin))
        .route("/users/delete", delete(Admin, users::delete))
}

fn permissions(at: &str, on: On) -> Routes<MlflowState> {
    let below = Routes::new()
        .route("/create", post(Manage(on), permissions::create))
        .route("/get", get(Manage(on), permissions::get))
        .route("/update", patch(Manage(on), permissions::update))
        .route("/delete", delete(Manage(on), permissions::delete));
    Routes::new().nest(at, below)
}

fn newer() -> Routes<MlflowState> {
    models().merge(traces()).route("/server-info", get(Known, about::server_info))
}

fn proxy() -> Routes<MlflowState> {
    use artifacts::{download, list, multipart, upload};
    Routes::new()
        .route("/artifacts", get(Read(Experiment), list::of_proxy))
        .route(
            "/artifacts/{*path}",
            get(Read(Experiment), download::by_path)
                .put(Edit(Experiment), upload::by_path)
                .delete(Delete(Experiment), upload::delete)
                .streamed(),
        )
        .route("/mpu/create/{*path}", post(Edit(Experiment), multipart::create))
        .route("/mpu/complete/{*path}", post(Edit(Experiment), multipart::complete))
        .route("/mpu/abort/{*path}", post(Edit(Experiment), multipart::abort))
        .route("/presigned/{*path}", get(Read(Experiment), multipart::presign))
        .route(&format!("{}{{token}}", artifacts::signed::PART), put(Signed, multipart::part).streamed())
        .route(&format!("{}{{token}}/{{name}}", artifacts::signed::FILE), get(Signed, multipart::presigned))
}

#[cfg(test)]
mod tests;
