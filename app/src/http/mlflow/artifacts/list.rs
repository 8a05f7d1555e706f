//! `artifacts/list` and the proxy's listing.

use axum::Json;
use axum::extract::State;
use rondo_tracking::artifacts::{self, Place, Tree};
use serde::Serialize;

use crate::http::access::Caller;
use crate::http::mlflow::MlflowState;
use crate::http::mlflow::args::Args;
use crate::http::mlflow::refusal::Answer;
use crate::http::mlflow::show::File;

#[derive(Serialize)]
pub(in crate::http::mlflow) struct Listing {
    #[serde(skip_serializing_if = "Option::is_none")]
    root_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File>,
}

/// The entries below a place, with whole paths or their last parts alone.
pub(in crate::http::mlflow) async fn listing(
    state: &MlflowState,
    place: &Place,
    root_uri: Option<String>,
    names_alone: bool,
) -> Answer<Listing> {
    let listed = match state.tracking.roots().elsewhere().filter(|_| place.tree == Tree::Elsewhere) {
        Some(root) => super::elsewhere::list(root, place).await?,
        None => state.tracking.list_artifacts(place).await?,
    };
    let files = listed.into_iter().map(|listed| {
        let name = listed.path.rsplit('/').next().unwrap_or_default();
        let path = if names_alone { name.to_owned() } else { listed.path };
        File { path, is_dir: listed.size.is_none(), file_size: listed.size }
    });
    Ok(Listing { root_uri, files: files.collect() })
}

pub(in crate::http::mlflow) async fn of_run(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Listing>> {
    let (run, path) = (args.run_id()?, artifacts::clean(&args.text("path")?.unwrap_or_default())?);
    caller.run(&run).await?;
    let row = state.tracking.run_row(&run).await?;
    let place = state.tracking.place_of_run(&row, &path).await?;
    let root = state.tracking.run_root(&row).await?;
    Ok(Json(listing(&state, &place, Some(root), false).await?))
}

pub(in crate::http::mlflow) async fn of_proxy(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Listing>> {
    let path = args.text("path")?.unwrap_or_default();
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    Ok(Json(listing(&state, &place, None, true).await?))
}
