//! `rondo admin gc`.

use std::sync::Arc;

use rondo_core::Span;
use rondo_core::ports::Clock;
use rondo_store::upkeep::{Report, Retention};
use rondo_tracking::Tracking;
use rondo_tracking::artifacts::roots::Roots;
use serde_json::json;

use super::{Which, size};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::history::locked;
use crate::platform::WallClock;

/// Remove for good what was deleted long ago, and files that nothing names
///
/// Runs while a server uses the store, may be stopped anywhere and run again. What a model version still
/// needs is kept, however long ago it was deleted.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Keep what was deleted for so long
    #[arg(long, default_value = "30d", value_name = "SPAN")]
    keep_deleted: Span,
    /// Keep files that nothing names for so long: an upload is stored before its name is
    #[arg(long, default_value = "1d", value_name = "SPAN")]
    keep_unnamed: Span,
    /// The folder that the server is started with by the same flag: plain files of what goes, go too
    #[arg(long, value_name = "DIR")]
    artifacts_destination: Option<String>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
}

/// Cleans up.
///
/// # Errors
/// When another process is at it, or the store cannot be read or written.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let store = args.which.open(session).await?;
    let retention = Retention {
        deleted: args.keep_deleted,
        unnamed: args.keep_unnamed,
        dry_run: args.dry_run,
        also_named: locked(&store, session.project_root().as_deref()).await?.named,
        versions: None,
    };
    let roots = match &args.artifacts_destination {
        Some(folder) => Roots::default().with_destination(folder, &session.here())?,
        None => Roots::default(),
    };
    let tracking = Tracking::new(store.clone(), Arc::new(WallClock)).with_roots(roots);
    let report = tracking.tidy(&retention, WallClock.now()).await?;
    store.close().await;
    session.printer().result(&json!({ "schema": 1, "report": report }), &text(&report));
    Ok(())
}

fn text(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut text = format!(
        "{verb} {} runs, {} logged models, {} experiments, {} overwritten artifacts\n\
         {verb} {} objects ({}), {} plain files\n",
        report.runs,
        report.logged_models,
        report.experiments,
        report.overwritten,
        report.objects,
        size(report.bytes),
        report.files,
    );
    if report.waiting > 0 {
        text.push_str(&format!(
            "the plain files of {} runs, models or traces that went are still there: give --artifacts-destination\n",
            report.waiting
        ));
    }
    if !report.needed.is_empty() {
        text.push_str(&format!(
            "kept although deleted, since something needs them: {}\n",
            report.needed.join(", ")
        ));
    }
    text
}
