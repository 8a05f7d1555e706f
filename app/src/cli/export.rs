//! `rondo export`: the store in the form of another program.

use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::Code;
use rondo_store::Store;
use rondo_tracking::{Tracking, export};
use serde_json::json;

use super::Session;
use super::failure::{Failure, Outcome};
use super::import::{counted, left_out};
use crate::platform::WallClock;

/// The forms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// MLflow's folder of files; `mlflow migrate-filestore` makes a database of it
    Mlruns,
}

/// Write the store in the form of another program: experiments, runs, models, registry and artifacts
#[derive(clap::Args)]
pub struct Args {
    /// The form
    #[arg(long, value_name = "FORM")]
    to: Form,

    /// The folder to write: not there yet, or empty
    #[arg(value_name = "DIR")]
    path: PathBuf,

    /// The folder of the store; of a project its `.rondo`
    #[arg(long, value_name = "DIR", default_value = ".rondo")]
    data: PathBuf,

    /// Say what would be written, without writing
    #[arg(long)]
    dry_run: bool,
}

/// Exports.
///
/// # Errors
/// When there is no store, the folder cannot be written, or not everything could be.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let Form::Mlruns = args.to;
    let data = session.existing("a store", &args.data)?;
    session.existing("a store", &args.data.join("metadata.db"))?;
    let store = Store::open(&data).await?;
    let tracking = Tracking::new(store.clone(), Arc::new(WallClock));
    let target = session.path(&args.path);
    let written = export::mlruns(&tracking, &target, args.dry_run, session.printer().progress()).await;
    store.close().await;
    let report = written?;
    let (counts, text) = counted(&report, ["found", "written"]);
    let value = json!({
        "schema": 1, "data": args.data, "target": args.path, "dry_run": args.dry_run,
        "complete": report.complete(), "counts": counts, "not_exported": report.skipped(),
    });
    let printer = session.printer();
    for skipped in report.skipped() {
        printer.note(&format!("not exported: {}: {}", skipped.name, skipped.reason));
    }
    if report.complete() {
        printer.result(&value, &text);
        return Ok(());
    }
    if !printer.json() {
        printer.out(&text);
    }
    let message = format!("export all of `{}`: {}", args.data.display(), left_out(&report));
    let hint = "each line `not exported:` says why";
    let failure = Failure::hinted(Code::ImportIncomplete, message, hint);
    let rendered = failure.heading();
    Err(failure.shown(rendered, value))
}
