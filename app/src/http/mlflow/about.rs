//! What the server says of itself.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::refusal::Refusal;

/// The version of the wire that is spoken: clients read it as a version of MLflow.
const VERSION: &str = "3.17.2";

pub(super) async fn health() -> &'static str {
    "OK"
}

pub(super) async fn version() -> &'static str {
    VERSION
}

pub(super) async fn server_info() -> Json<Value> {
    Json(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": true,
        // They work for who turns them on; said here, clients would ask twice for every small file too.
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": { "gateway": false },
    }))
}

/// What is no route: clients learn from it what a server cannot do, and do without.
pub(super) async fn unknown(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::no_route(StatusCode::NOT_FOUND, format!("No such endpoint: {path}"))
}

/// What is a route by another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::no_route(StatusCode::METHOD_NOT_ALLOWED, format!("The endpoint {path} does not take {method}"))
}
