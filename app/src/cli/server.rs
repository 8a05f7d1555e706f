//! `rondo server`: the tracking server and registry alone, for MLflow clients.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::ports::Clock;
use rondo_core::{Span, Timestamp};
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::courier::Courier;
use rondo_registry::webhooks::target::{Allow, Entry};
use rondo_store::Store;
use serde_json::json;

use super::Session;
use super::failure::Outcome;
use crate::http::mlflow::{MlflowState, Mode};
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
    /// Listen beyond this machine although anyone who reaches it may do everything: put a proxy that asks
    /// who is there before it
    #[arg(long)]
    open_to_network: bool,

    /// The folder of the store; of a project its `.rondo`
    #[arg(long, value_name = "DIR", default_value = ".rondo")]
    data: PathBuf,

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
/// When the store cannot be opened or the address cannot be listened on.
pub async fn run(args: Args, session: &Session) -> Outcome {
    super::up::refuse_network(&args.listen, args.open_to_network)?;
    let store = Store::open(&args.data).await?;
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    store.meta().ensure_default_experiment(now(&clock)).await?;
    let upkeep = args
        .keep_deleted
        .map(|span| upkeep::start(store.clone(), span, clock.clone(), session.printer().progress()));
    let webhooks = Webhooks::new(store.clone(), Allow::new(args.webhook_allow));
    let state = MlflowState::new(store.clone(), clock.clone(), Mode::Open).with_webhooks(webhooks.clone());
    let server = Server::start(&args.listen, tracking_router(state)).await?;
    let courier = Courier::start(webhooks, clock, session.printer().progress());
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

    courier.stop().await;
    store.close().await;
    Ok(())
}

fn now(clock: &Arc<dyn Clock>) -> Timestamp {
    clock.now()
}
