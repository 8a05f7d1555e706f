//! `rondo export`: the store, or where a run's outputs come from, in the form of another program.

mod provenance;

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
    /// Of a run: OpenLineage events, one a line
    Openlineage,
    /// Of a run: a Workflow Run RO-Crate, a folder with its files
    RoCrate,
    /// Of a run: an in-toto statement with SLSA provenance
    Slsa,
}

/// Write the store, or a run's provenance, in the form of another program
#[derive(clap::Args)]
pub struct Args {
    /// The form
    #[arg(long, value_name = "FORM")]
    to: Form,

    /// Of which run: its id or the first characters of it, or the version of a model that it made, such as
    /// `MODEL@champion`
    #[arg(long, value_name = "RUN")]
    of: Option<String>,

    /// What to write: of `mlruns` and `ro-crate` a folder that is not there yet, or empty; of the others a
    /// file, or standard output where it is left out
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Under which licence a crate may be used, as a URL
    #[arg(long, value_name = "URL")]
    license: Option<String>,

    /// The folder of the store; without it the project's, and where there is no project `.rondo`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Say what would be written, without writing
    #[arg(long)]
    dry_run: bool,
}

/// Exports.
///
/// # Errors
/// When there is no store, the folder cannot be written, or not everything could be.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let data = session.existing("a store", &session.store_folder(args.data.as_deref())?)?;
    session.existing("a store", &data.join("metadata.db"))?;
    let store = Store::open(&data).await?;
    let form = match args.to {
        Form::Mlruns => return mlruns(args, store, session).await,
        Form::Openlineage => provenance::Form::OpenLineage,
        Form::RoCrate => provenance::Form::RoCrate,
        Form::Slsa => provenance::Form::Slsa,
    };
    let (of, path, licence, dry_run) = (args.of, args.path, args.license, args.dry_run);
    let written =
        provenance::run(provenance::Asked { form, of, path, licence, dry_run }, &store, session).await;
    store.close().await;
    written
}

async fn mlruns(args: Args, store: Store, session: &Session) -> Outcome {
    let Some(path) = args.path.filter(|_| args.of.is_none()) else {
        let hint = "rondo export --to mlruns my-mlruns";
        return Err(Failure::hinted(Code::Usage, "say into which folder, and of the whole store", hint));
    };
    let tracking = Tracking::new(store.clone(), Arc::new(WallClock));
    let target = session.path(&path);
    let written = export::mlruns(&tracking, &target, args.dry_run, session.printer().progress()).await;
    store.close().await;
    let report = written?;
    let (counts, text) = counted(&report, ["found", "written"]);
    let value = json!({
        "schema": 1, "data": store.root(), "target": path, "dry_run": args.dry_run,
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
        printer.tell(&text);
    }
    let message = format!("export all of `{}`: {}", store.root().display(), left_out(&report));
    let hint = "each line `not exported:` says why";
    let failure = Failure::hinted(Code::ImportIncomplete, message, hint);
    let rendered = failure.heading();
    Err(failure.shown(rendered, value))
}
