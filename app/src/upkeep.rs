//! Upkeep inside the server: every hour what was deleted long ago goes, and files that nothing names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::{Clock, Event, Progress};
use rondo_core::{Code, Digest, Explain, Span};
use rondo_store::Store;
use rondo_store::meta::marks::digests;
use rondo_store::upkeep::Retention;
use rondo_tracking::Tracking;
use tokio::task::JoinHandle;

const EVERY: Duration = Duration::from_secs(3600);

/// The digests that the project's lock names: of what stands in no table any more, its commit may still
/// need the objects.
pub fn locked(store: &Store) -> HashSet<Digest> {
    let lock = store.root().parent().map(|project| project.join("rondo.lock"));
    let text = lock.and_then(|lock| std::fs::read_to_string(lock).ok()).unwrap_or_default();
    digests(&text).collect()
}

/// Starts it in the background; it ends with the task. A pass that fails is told and tried again.
pub fn start(
    tracking: Tracking,
    keep_deleted: Span,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let retention = Retention {
                deleted: keep_deleted,
                unnamed: Span::days(1),
                dry_run: false,
                also_named: locked(tracking.store()),
            };
            match tracking.tidy(&retention, clock.now()).await {
                Ok(_) => {}
                // Somebody else is at it.
                Err(error) if error.code() == Code::Busy => {}
                Err(error) => {
                    let message = format!("cleaning up goes on in an hour after an error: {error}");
                    progress.report(Event::Note { subject: "upkeep".to_owned(), message });
                }
            }
        }
    })
}
