//! What the server says of itself.

use axum::Json;
use serde_json::{Value, json};

/// The version of the wire that is spoken: clients read it as a version of MLflow.
const VERSION: &str = crate::platform::version_files::MLFLOW;

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
