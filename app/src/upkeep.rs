//! Upkeep inside the server: every hour what was deleted long ago goes, and files that nothing names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rondo_core::ports::{Clock, Event, Progress};
use rondo_core::{Code, Explain, Span};
use rondo_store::upkeep::Retention;
use rondo_tracking::Tracking;
use tokio::task::JoinHandle;

use crate::history::locked;

const EVERY: Duration = Duration::from_secs(3600);

/// Starts it in the background, for a project where there is one; it ends with the task. A pass that fails is told and tried again.
pub fn start(
    tracking: Tracking,
    root: Option<PathBuf>,
    keep_deleted: Span,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let told = |error: &dyn std::fmt::Display| {
                let message = format!("cleaning up goes on in an hour after an error: {error}");
                progress.report(Event::Note { subject: "upkeep".to_owned(), message });
            };
            let locked = match locked(tracking.store(), root.as_deref()).await {
                Ok(locked) => locked,
                Err(error) => {
                    told(&error);
                    continue;
                }
            };
            let retention = Retention {
                deleted: keep_deleted,
                unnamed: Span::days(1),
                dry_run: false,
                also_named: locked.named,
                versions: None,
            };
            match tracking.tidy(&retention, clock.now()).await {
                Ok(_) => {}
                // Somebody else is at it.
                Err(error) if error.code() == Code::Busy => {}
                Err(error) => told(&error),
            }
        }
    })
}
