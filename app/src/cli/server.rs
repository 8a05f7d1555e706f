//! `rondo server`: the tracking server and registry alone, for MLflow clients.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use rondo_core::Code;
use rondo_core::Span;
use rondo_core::ports::Clock;
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::courier::Courier;
use rondo_registry::webhooks::target::{Allow, Entry};
use rondo_store::Store;
use rondo_tracking::artifacts::roots::Roots;
use serde_json::json;

use super::Session;
use super::doorway::Doorway;
use super::failure::{Failure, Outcome};
use crate::http::access::{Door, routes};
use crate::http::mlflow::MlflowState;
use crate::http::server::Server;
use crate::http::tracking_router;
use crate::platform::WallClock;
use crate::upkeep;

/// The setting that signs the addresses that the server gives out.
const KEY: &str = "server.key";

/// Run the tracking server and registry alone, for MLflow clients
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT", value_parser = super::doorway::address)]
    listen: String,
    #[command(flatten)]
    door: Doorway,

    /// The folder of the store; without it the project's, and where there is no project `.rondo`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where the artifacts of new experiments are: mlflow-artifacts:/PATH goes through this server; a
    /// folder (a path or a file: URI) or another server (an http: or https: URL) is reached by the clients
    /// themselves, and is neither written nor looked after by this one
    #[arg(
        long,
        value_name = "URI",
        visible_alias = "default-artifact-root",
        default_value = "mlflow-artifacts:/"
    )]
    artifact_root: String,
    /// Keep what goes through this server as plain files in this folder, in MLflow's layout, and not
    /// among the objects of the store
    #[arg(long, value_name = "DIR")]
    artifacts_destination: Option<String>,

    /// Put this path before all routes, such as /mlflow
    #[arg(long, value_name = "PATH", value_parser = prefix)]
    static_prefix: Option<String>,

    /// Remove for good, every hour, what was deleted longer ago than this, such as `30d`; without it
    /// deleted things stay until `rondo admin gc`
    #[arg(long, value_name = "SPAN")]
    keep_deleted: Option<Span>,

    /// Let webhooks reach this private host or network too, also without TLS; may be given more than once
    #[arg(long, value_name = "HOST|CIDR")]
    webhook_allow: Vec<Entry>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the store cannot be opened, artifacts cannot be where they should, or the address cannot be
/// listened on.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let roots = roots(&args, session)?;
    let store = Store::open(&session.store_folder(args.data.as_deref())?).await?;
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    store.meta().ensure_default_experiment_under(&roots.base(), clock.now()).await?;
    let plan = args.door.plan(&args.listen, &store, session).await?;
    let prefix = args.static_prefix.unwrap_or_default();
    let webhooks = Webhooks::new(store.clone(), Allow::new(args.webhook_allow));
    let door = Door::new(&store, clock.clone(), plan);
    let state = MlflowState::new(store.clone(), clock.clone(), door.clone())
        .with_webhooks(webhooks.clone())
        .with_roots(roots)
        .with_prefix(&prefix)
        .with_key(key(&store).await?);
    let upkeep = args.keep_deleted.map(|span| {
        let (root, progress) = (session.project_root(), session.printer().progress());
        upkeep::start(state.tracking().clone(), root, span, clock.clone(), progress)
    });
    let router = tracking_router(state);
    let router =
        if prefix.is_empty() { router } else { routes::closed(Router::new().nest(&prefix, router), &door) };
    let server = Server::start(&args.listen, router).await?;
    let courier = Courier::start(webhooks, clock, session.printer().progress());
    let url = format!("{}{prefix}", server.url());
    let stop = super::signals::stopped();
    session.printer().result(
        &json!({ "schema": 1, "listen": url, "data": store.root() }),
        &format!("listening on {url}\n  serves the store in {}\n", store.root().display()),
    );
    stop.await;
    tokio::select! {
        () = server.stop() => {}
        // Told twice, it waits for nobody.
        () = super::signals::insisted() => {}
    }
    if let Some(upkeep) = upkeep {
        // It may be stopped anywhere.
        upkeep.abort();
    }

    courier.stop().await;
    store.close().await;
    Ok(())
}

fn roots(args: &Args, session: &Session) -> Outcome<Roots> {
    let working = std::path::absolute(session.here())
        .map_err(|error| Failure::new(Code::Io, format!("find the working folder: {error}")))?;
    let roots = Roots::default().with_root(&args.artifact_root, &working)?;
    match &args.artifacts_destination {
        Some(destination) => Ok(roots.with_destination(destination, &working)?),
        None => Ok(roots),
    }
}

/// A path with a slash before it and none behind.
fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !text.starts_with('/') || text.ends_with('/') || text.contains("//") || !text.chars().all(plain) {
        return Err("it looks like /mlflow".to_owned());
    }
    Ok(text.to_owned())
}

/// The store's own key, made with its first server.
async fn key(store: &Store) -> Outcome<[u8; 32]> {
    let mut key = [0; 32];
    if let Some(known) = store.meta().setting(KEY).await?
        && hex::decode_to_slice(known, &mut key).is_ok()
    {
        return Ok(key);
    }
    key = rand::random();
    store.meta().set_setting(KEY, &hex::encode(key)).await?;
    Ok(key)
}
