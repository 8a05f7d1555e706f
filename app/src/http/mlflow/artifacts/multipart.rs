//! Uploads in parts, without an object store: each part is sent to an address of its own, in any order, at
//! once or again, also after this server was started anew. And files by addresses of their own.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Uri};
use axum::response::Response;
use rondo_core::{Digest, Timestamp};
use rondo_store::parts::{self, Plan};
use rondo_tracking::artifacts::{self, Place, keep::Receiving};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::checks::Checks;
use super::signed::{Right, base};
use super::upload::{hear, receive, tagged};
use crate::http::access::Caller;
use crate::http::mlflow::MlflowState;
use crate::http::mlflow::args::{Args, InPath};
use crate::http::mlflow::refusal::{Answer, Refusal};

/// How long an address of a file is good for.
const FILE_MILLIS: i64 = 15 * 60 * 1000;

/// Bytes that are put together at a time.
const PIECE: usize = 1 << 20;

#[derive(Serialize)]
pub(in crate::http::mlflow) struct Begun {
    upload_id: String,
    credentials: Vec<Credential>,
}

#[derive(Serialize)]
struct Credential {
    url: String,
    part_number: u32,
    headers: Map<String, Value>,
}

pub(in crate::http::mlflow) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(folder): InPath<String>,
    headers: HeaderMap,
    uri: Uri,
    args: Args,
) -> Answer<Json<Begun>> {
    let place = target(&folder, &args)?;
    caller.artifacts(&place.owner).await?;
    let count = args.int("num_parts")?.unwrap_or(1);
    let most = i64::from(parts::MOST);
    let count = u32::try_from(count).ok().filter(|_| (1..=most).contains(&count)).ok_or_else(|| {
        Refusal::invalid(format!(
            "Invalid value {count} for parameter 'num_parts' supplied: 1 to {most} parts are taken"
        ))
    })?;
    // Whether it may be put there is said before anything is sent.
    drop(state.tracking.receive_artifact(&place).await?);
    let base = base(&headers, &uri)?;
    let plan = Plan { path: place.full, parts: count };
    let uploads = state.tracking.parts().clone();
    let upload_id = blocking(move || Ok(uploads.begin(&plan)?)).await?;
    let patience = i64::try_from(parts::PATIENCE.as_millis()).unwrap_or(i64::MAX);
    let until = Timestamp(state.tracking.now().millis().saturating_add(patience));
    let credential = |number| Credential {
        url: state.sign(&base, &Right::Part { upload: upload_id.clone(), number }, until),
        part_number: number,
        headers: Map::new(),
    };
    let credentials = (1..=count).map(credential).collect();
    Ok(Json(Begun { upload_id, credentials }))
}

/// The place of a file that is named by the folder that it goes to and the path that it has at the client.
fn target(folder: &str, args: &Args) -> Answer<Place> {
    let local = args.required("path")?;
    // Of a path of any system the last part is the name.
    let name = local.rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::invalid("Invalid path: it names no file"));
    }
    Ok(artifacts::proxied(&format!("{}/{name}", folder.trim_end_matches('/')))?)
}

pub(in crate::http::mlflow) async fn part(
    State(state): State<MlflowState>,
    InPath(token): InPath<String>,
    request: Request<Body>,
) -> Answer<Response> {
    let (head, body) = request.into_parts();
    let ready = async {
        let Right::Part { upload, number } = state.right(&token)? else {
            return Err(Refusal::denied("The address is not one of a part"));
        };
        let checks = Checks::of(&head.headers)?;
        let uploads = state.tracking.parts().clone();
        Ok((blocking(move || Ok(uploads.part(&upload, number)?)).await?, checks))
    };
    match ready.await {
        Ok((sink, checks)) => Ok(tagged(receive(sink, checks, body).await?)),
        Err(refused) => Err(hear(body.into_data_stream(), refused).await),
    }
}

pub(in crate::http::mlflow) async fn complete(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(folder): InPath<String>,
    headers: HeaderMap,
    args: Args,
) -> Answer<Json<Value>> {
    let place = target(&folder, &args)?;
    caller.artifacts(&place.owner).await?;
    let id = planned(&state, &place, &args).await?;
    let mut listed: Vec<(u32, Digest)> = Vec::new();
    for part in args.objects("parts")? {
        let number = part.int("part_number")?.and_then(|number| u32::try_from(number).ok());
        let etag = part.required("etag")?;
        let digest = etag.trim_matches('"').parse().ok();
        let (Some(number), Some(digest)) = (number, digest) else {
            return Err(Refusal::invalid(
                "Invalid part: it needs its 'part_number' and the 'etag' of its answer",
            ));
        };
        if listed.last().is_some_and(|(last, _)| *last >= number) {
            return Err(Refusal::invalid("Invalid parts: they are not in ascending order"));
        }
        listed.push((number, digest));
    }
    if listed.is_empty() {
        return Err(Refusal::invalid(
            "Missing value for required parameter 'parts'. See the API docs for more information about request parameters.",
        ));
    }
    let mut checks = Checks::of(&headers)?;
    let mut receiving = state.tracking.receive_artifact(&place).await?;
    let (uploads, here) = (state.tracking.parts().clone(), tokio::runtime::Handle::current());
    blocking(move || {
        uploads.end(&id, &listed, |whole| {
            let mut piece = vec![0; PIECE];
            loop {
                let count =
                    whole.read(&mut piece).map_err(|_| Refusal::internal("A part could not be read"))?;
                let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
                checks.update(read);
                receiving.write(read)?;
            }
            checks.verify(Receiving::digest(&receiving))?;
            // Before the parts go, the whole must be known: else a kill in between would lose both.
            here.block_on(state.tracking.put_artifact(&place, receiving.finish()?))?;
            Ok::<(), Refusal>(())
        })
    })
    .await?;
    Ok(Json(json!({})))
}

pub(in crate::http::mlflow) async fn abort(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(folder): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    let place = target(&folder, &args)?;
    caller.artifacts(&place.owner).await?;
    let id = planned(&state, &place, &args).await?;
    let uploads = state.tracking.parts().clone();
    blocking(move || Ok(uploads.abort(&id)?)).await?;
    Ok(Json(json!({})))
}

/// The id of an upload that is to this very place.
async fn planned(state: &MlflowState, place: &Place, args: &Args) -> Answer<String> {
    let id = args.required("upload_id")?;
    let (uploads, asked) = (state.tracking.parts().clone(), id.clone());
    let plan = blocking(move || Ok(uploads.plan(&asked)?)).await?;
    match plan {
        Some(plan) if plan.path == place.full => Ok(id),
        Some(_) | None => Err(Refusal::missing(format!("No upload with id={} to this path", short(&id)))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

pub(in crate::http::mlflow) async fn presign(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(path): InPath<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<Json<Value>> {
    let place = artifacts::proxied(&path)?;
    caller.artifacts(&place.owner).await?;
    let size = state.tracking.artifact(&place).await?.size;
    let until = Timestamp(state.tracking.now().millis() + FILE_MILLIS);
    let url = state.sign(&base(&headers, &uri)?, &Right::File { path: place.full }, until);
    Ok(Json(json!({ "url": url, "headers": {}, "file_size": size })))
}

pub(in crate::http::mlflow) async fn presigned(
    State(state): State<MlflowState>,
    InPath((token, _name)): InPath<(String, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    match state.right(&token)? {
        Right::File { path } => super::download::send(&state, &artifacts::proxied(&path)?, &headers).await,
        Right::Part { .. } => Err(Refusal::denied("The address is not one of a file")),
    }
}

/// Clients of an object store ask for an address in it; what the proxy keeps has none.
pub(in crate::http::mlflow) async fn no_object_store() -> Refusal {
    Refusal::invalid(
        "Presigned URLs of an object store are not supported for artifacts that are kept by this server: put and get \
         them through the proxy, mlflow-artifacts/artifacts/PATH, or get mlflow-artifacts/presigned/PATH",
    )
}

/// What the disk has to do, away from the threads that answer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Answer<T> + Send + 'static) -> Answer<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Refusal::internal("The upload could not be written")),
    }
}
