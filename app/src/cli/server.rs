//! `rondo server`: the tracking server and registry alone, for MLflow clients.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::ports::Clock;
use rondo_core::{Span, Timestamp};
use rondo_store::Store;
use serde_json::json;

use super::Session;
use super::doorway::Doorway;
use super::failure::Outcome;
use crate::http::access::Door;
use crate::http::mlflow::MlflowState;
use crate::http::server::Server;
use crate::http::tracking_router;
use crate::platform::WallClock;
use crate::upkeep;

/// Run the tracking server and registry alone, for MLflow clients
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT")]
    listen: String,
    #[command(flatten)]
    door: Doorway,

    /// The folder of the store; of a project its `.rondo`
    #[arg(long, value_name = "DIR", default_value = ".rondo")]
    data: PathBuf,

    /// Remove for good, every hour, what was deleted longer ago than this, such as `30d`; without it
    /// deleted things stay until `rondo admin gc`
    #[arg(long, value_name = "SPAN")]
    keep_deleted: Option<Span>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the store cannot be opened or the address cannot be listened on.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let store = Store::open(&args.data).await?;
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    store.meta().ensure_default_experiment(now(&clock)).await?;
    let plan = args.door.plan(&args.listen, &store, session).await?;
    let upkeep = args
        .keep_deleted
        .map(|span| upkeep::start(store.clone(), span, clock.clone(), session.printer().progress()));
    let door = Door::new(&store, clock.clone(), plan);
    let state = MlflowState::new(store.clone(), clock, door);
    let server = Server::start(&args.listen, tracking_router(state)).await?;
    let url = server.url();
    session.printer().result(
        &json!({ "schema": 1, "listen": url, "data": store.root() }),
        &format!("listening on {url}\n"),
    );
    super::up::stopped().await;
    server.stop().await;
    if let Some(upkeep) = upkeep {
        // It may be stopped anywhere.
        upkeep.abort();
    }
    store.close().await;
    Ok(())
}

fn now(clock: &Arc<dyn Clock>) -> Timestamp {
    clock.now()
}
