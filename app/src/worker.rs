//! The worker: takes retraining requests, one at a time, and closes the loop.
//!
//! A lease in the store says which process works; it is renewed while it does and runs out by itself, so
//! that a killed process holds nobody up for long. A request that a dead process had begun is done again,
//! which gives the same.

use std::sync::Arc;
use std::time::Duration;

use rondo_core::handoff::{RequestState, RetrainRequest};
use rondo_core::ports::Event;
use rondo_core::{RunId, Span};
use rondo_serving::deployment::Deployments;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::platform::{Error, Platform};

const LEASE: &str = "worker";
const HELD: Span = Span(3000);
const PAUSE: Duration = Duration::from_millis(200);
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// A worker in the background.
pub struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts it. Promotions reach these endpoints before a request counts as answered.
    pub fn start(platform: Arc<Platform>, deployments: Arc<Deployments>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(platform, deployments, stopped));
        Self { stop, task }
    }

    /// Stops it; a pipeline under way is cancelled, and its request is taken up at the next start.
    pub async fn stop(self) {
        // No receiver means that it has ended.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn work(platform: Arc<Platform>, deployments: Arc<Deployments>, mut stopped: watch::Receiver<bool>) {
    let holder = RunId::random().hex();
    while !*stopped.borrow() {
        if let Err(error) = turn(&platform, &deployments, &holder, &stopped).await {
            note(&platform, format!("the worker goes on after an error: {error}"));
            tokio::time::sleep(AFTER_ERROR).await;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopped.changed() => {}
        }
    }
    // The lease would run out by itself.
    let _ = platform.store().meta().release(LEASE, &holder).await;
}

async fn turn(
    platform: &Arc<Platform>,
    deployments: &Arc<Deployments>,
    holder: &str,
    stopped: &watch::Receiver<bool>,
) -> Result<(), Error> {
    let requests = platform.store().meta().open_requests().await?;
    let Some(request) = requests.first() else { return Ok(()) };
    if !platform.store().meta().lease(LEASE, holder, platform.clock().now(), HELD).await? {
        return Ok(());
    }
    let renewal = tokio::spawn(renew(platform.clone(), holder.to_owned()));
    let answered = answer(platform, deployments, request, stopped.clone()).await;
    renewal.abort();
    answered
}

async fn answer(
    platform: &Arc<Platform>,
    deployments: &Arc<Deployments>,
    request: &RetrainRequest,
    stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let subject = "retrain".to_owned();
    platform.progress().report(Event::Started { subject: subject.clone(), message: request.cause.clone() });
    let answered = Box::pin(platform.answer(request, stopped.clone(), deployments)).await?;
    let outcome = answered.outcome.unwrap_or_else(|| "done".to_owned());
    let message = format!("{} {outcome}", request.until.day());
    let ok = answered.state != RequestState::Failed;
    platform.progress().report(Event::Ended { subject, ok, message });
    Ok(())
}

async fn renew(platform: Arc<Platform>, holder: String) {
    loop {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        // A lost lease is found out when the request is written.
        let _ = platform.store().meta().lease(LEASE, &holder, platform.clock().now(), HELD).await;
    }
}

fn note(platform: &Platform, message: String) {
    platform.progress().report(Event::Note { subject: "retrain".to_owned(), message });
}
