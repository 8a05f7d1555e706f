//! `rondo up`: the project in production on this machine, until Ctrl-C.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::Event;
use rondo_project::project::Cause;
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::courier::Courier;
use rondo_registry::webhooks::target::{Allow, Entry};
use serde_json::json;

use super::Session;
use super::doorway::Doorway;
use super::failure::Outcome;
use super::signals::stopped;
use crate::apps::Apps;
use crate::http::server::Server;
use crate::http::{AppState, router};
use crate::presence::Presence;
use crate::worker::Worker;

/// How often aliases and windows are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Bring the project up: server, endpoints, monitors, triggers, until Ctrl-C
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT", value_parser = super::doorway::address)]
    listen: String,
    #[command(flatten)]
    door: Doorway,

    /// Let webhooks reach this private host or network too, also without TLS; may be given more than once
    #[arg(long, value_name = "HOST|CIDR")]
    webhook_allow: Vec<Entry>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When another process serves this project, or the address cannot be listened on.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let plan = args.door.plan(&args.listen, platform.store(), session).await?;
    let presence = Presence::take(platform.store().root()).await?;
    let deployments = platform.open_serving().await?;
    platform.protect_declared().await?;
    let live = platform.deploy(&deployments).await?;
    let webhooks = Webhooks::new(platform.store().clone(), Allow::new(args.webhook_allow));
    let bound = Server::bind(&args.listen).await?;
    let apps = Arc::new(Apps::start(&platform, &bound.url()).await?);
    let state = AppState {
        platform: platform.clone(),
        deployments: deployments.clone(),
        webhooks: webhooks.clone(),
        apps: apps.clone(),
    };
    let server = bound.serve(router(state, plan));
    let worker = Worker::start(platform.clone(), deployments.clone());
    let courier = Courier::start(webhooks, platform.clock().clone(), platform.progress().clone());
    let stop = stopped();
    tokio::pin!(stop);
    let url = server.url();
    presence.announce(&url)?;
    let mut text = format!("listening on {url}\n");
    for deployment in &live {
        text.push_str(&format!(
            "  {} version {}: POST {url}/api/v1/endpoints/{}/predict\n",
            deployment.model, deployment.version, deployment.name
        ));
    }
    text.push_str(&format!("  the loop's report: {url}/report\n"));
    let opens: Vec<(String, String)> =
        apps.all().iter().map(|app| (app.spec.name.clone(), app.opens(&url))).collect();
    for (name, opens) in &opens {
        text.push_str(&format!("  app {name}: {opens}\n"));
    }
    let opens: BTreeMap<String, String> = opens.into_iter().collect();
    let value = json!({ "schema": 1, "listen": url, "deployments": live, "apps": opens });
    session.printer().result(&value, &text);
    if platform.project().triggers.iter().any(|trigger| matches!(trigger.cause, Cause::Schedule(_))) {
        session.printer().note("schedules are not run yet: only alerts start a retraining");
    }
    let mut said: Option<String> = None;
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let looked = async {
            platform.deploy(&deployments).await?;
            for (name, monitor) in platform.project().monitor.iter() {
                let endpoint = platform.endpoint_of(name, monitor);
                if let Some(watermark) = deployments.log().watermark(&endpoint) {
                    platform.arrive(watermark).await?;
                    platform.observe(name, watermark).await?;
                }
            }
            Ok::<(), crate::platform::Error>(())
        };
        let looked = tokio::select! {
            () = &mut stop => break,
            looked = looked => looked,
        };
        let trouble = looked.err().map(|error| error.to_string());
        if let Some(message) = trouble.as_ref().filter(|_| trouble != said) {
            let message = format!("goes on after an error: {message}");
            platform.progress().report(Event::Note { subject: "up".to_owned(), message });
        }
        said = trouble;
    }
    worker.stop().await;
    // What streams from an app ends with it.
    apps.stop().await;
    server.stop().await;
    drop(presence);
    courier.stop().await;
    deployments.log().sync()?;
    platform.store().close().await;
    Ok(())
}
