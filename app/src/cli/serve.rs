//! `rondo serve`: a model file over HTTP, without a project.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use rondo_core::evaluation::Task;
use rondo_core::handoff::Deployment;
use rondo_core::{Code, Digest, Timestamp};
use rondo_serving::deployment::{Candidate, LiveModel, try_out};
use rondo_serving::engine::LoadOptions;
use serde_json::{Value, json};

use super::Session;
use super::failure::{Failure, Outcome};
use crate::http::problem::{Answer, Problem};
use crate::http::server::Server;

/// Serve a model file over HTTP, without a project
#[derive(clap::Args)]
pub struct Args {
    /// The model's file (ONNX)
    model: PathBuf,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT", value_parser = super::doorway::address)]
    listen: String,
    /// Listen beyond this machine: anyone who reaches it may ask
    #[arg(long)]
    open_to_network: bool,
    /// The names of the features, for a model that takes one matrix
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    columns: Vec<String>,
    /// The label of the positive class
    #[arg(long, value_name = "LABEL")]
    positive: Option<String>,
}

/// Serves it until it is told to stop.
///
/// # Errors
/// When no engine can run the model, or the address cannot be listened on.
pub async fn run(args: Args, session: &Session) -> Outcome {
    super::doorway::refuse_network(&args.listen, args.open_to_network)?;
    let path = session.existing("model file", &args.model)?;
    let bytes = std::fs::read(&path)
        .map_err(|error| Failure::new(Code::Io, format!("read `{}`: {error}", path.display())))?;
    let deployment = Deployment {
        name: "model".to_owned(),
        model: args.model.display().to_string(),
        version: 0,
        file: Digest::of(&bytes),
        alias: None,
        since: Timestamp(0),
    };
    let options = LoadOptions { columns: args.columns, positive: args.positive, task: None };
    let live = LiveModel::load(Candidate { options, ..Candidate::new(deployment, path) })?;
    let live = Arc::new(live);
    let router = Router::new()
        .route("/", get(describe))
        .route("/predict", post(predict))
        .route("/invocations", post(predict))
        .with_state(live.clone());
    let server = Server::start(&args.listen, router).await?;
    let url = server.url();
    let inputs: Vec<String> = live.signature().inputs.iter().map(|column| column.name.clone()).collect();
    let stop = super::signals::stopped();
    session.printer().result(
        &json!({ "schema": 1, "listen": url, "engine": live.engine.name(), "inputs": inputs }),
        &format!("listening on {url}\n  POST {url}/predict\n  inputs: {}\n", inputs.join(", ")),
    );
    stop.await;
    server.stop().await;
    Ok(())
}

async fn describe(State(live): State<Arc<LiveModel>>) -> Json<Value> {
    Json(
        json!({ "engine": live.engine.name(), "signature": live.signature(), "classes": live.engine.classes() }),
    )
}

async fn predict(State(live): State<Arc<LiveModel>>, body: Bytes) -> Answer<Json<Value>> {
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::RequestInvalid, format!("the body is not JSON: {error}")))?;
    let request = live.read(body)?;
    let said = try_out(&live, request)?;
    let scores: Vec<f64> = said.iter().map(|answer| answer.score).collect();
    let mut answer = json!({ "predictions": scores });
    if live.engine.task() == Task::Multiclass {
        answer["labels"] = said.iter().map(|answer| json!(answer.label)).collect();
        answer["probabilities"] = said.into_iter().map(|answer| Value::from(answer.probabilities)).collect();
    }
    Ok(Json(answer))
}
