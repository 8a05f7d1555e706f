//! `rondo import`: everything of an MLflow store, from its database or its folder of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::Code;
use rondo_store::Store;
use rondo_store::foreign::MlflowDb;
use rondo_tracking::Tracking;
use rondo_tracking::import::report::Count;
use rondo_tracking::import::{self, Kind, Mlruns, Options, Report, Roots};
use serde_json::{Map, Value, json};

use super::Session;
use super::failure::{Failure, Outcome};
use super::output::table;
use crate::platform::WallClock;

/// Bring in everything of an MLflow store: its database or its `mlruns` folder, artifacts included
///
/// Ids, version numbers, times and states are kept. The source is only read. A second import brings in what
/// is new or has changed there; one that was interrupted goes on.
#[derive(clap::Args)]
pub struct Args {
    /// An `mlflow.db`, an `mlruns` folder, or the folder that holds one of them
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// A folder below which artifacts lie, such as `mlartifacts`; may be given several times. Beside the
    /// source itself and `mlruns` and `mlartifacts` next to it, nothing else is read
    #[arg(long, value_name = "DIR")]
    artifacts: Vec<PathBuf>,

    /// The folder of the store to import into; without it the project's, and where there is no project
    /// `.rondo`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Look at everything and say what would be done, without writing
    #[arg(long)]
    dry_run: bool,
}

/// Imports.
///
/// # Errors
/// When the source or the store cannot be opened, or not everything could be brought in.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let source = find(&session.existing("an MLflow store", &strip(&args.path))?);
    for folder in &args.artifacts {
        session.existing("a folder of artifacts", folder)?;
    }
    let data = session.store_folder(args.data.as_deref())?;
    // A dry run makes no store: where there is none, it looks at an empty one.
    let empty = if args.dry_run && !data.join("metadata.db").exists() {
        Some(tempfile::tempdir().map_err(crate::platform::Error::io("make", Path::new("a folder")))?)
    } else {
        None
    };
    let store = Store::open(empty.as_ref().map_or(data.as_path(), tempfile::TempDir::path)).await?;
    let clock: Arc<WallClock> = Arc::new(WallClock);
    let tracking = Tracking::new(store.clone(), clock);
    store.meta().ensure_default_experiment(tracking.now()).await?;
    let report = import(&args, &source, &tracking, session).await;
    store.close().await;
    show(&report?, &args, &data, &source, session)
}

async fn import(args: &Args, source: &Path, tracking: &Tracking, session: &Session) -> Outcome<Report> {
    let beside = source.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut folders: Vec<PathBuf> = args.artifacts.iter().map(|folder| session.path(folder)).collect();
    folders.extend(["mlruns", "mlartifacts"].map(|name| beside.join(name)));
    let options = |folders: &[PathBuf]| Options {
        roots: Roots::new(folders, beside),
        dry_run: args.dry_run,
        name: source.display().to_string(),
        progress: session.printer().progress(),
    };
    if source.is_dir() {
        let mut mlruns = Mlruns::open(source)?;
        folders.push(mlruns.root().to_owned());
        Ok(import::import(tracking, &mut mlruns, options(&folders)).await?)
    } else {
        let mut database = MlflowDb::open(source).await?;
        Ok(import::import(tracking, &mut database, options(&folders)).await?)
    }
}

/// MLflow's URI of a database is taken too.
fn strip(path: &Path) -> PathBuf {
    path.to_str()
        .and_then(|path| path.strip_prefix("sqlite:///"))
        .map_or_else(|| path.to_owned(), PathBuf::from)
}

/// The store itself, where the folder that holds it is named.
fn find(path: &Path) -> PathBuf {
    let inside = ["mlflow.db", "mlruns"].map(|name| path.join(name));
    inside.into_iter().find(|inside| inside.exists()).unwrap_or_else(|| path.to_owned())
}

fn show(report: &Report, args: &Args, data: &Path, source: &Path, session: &Session) -> Outcome {
    let printer = session.printer();
    for note in report.notes() {
        printer.note(&format!("note: {note}"));
    }
    for skipped in report.skipped() {
        printer.note(&format!("not imported: {}: {}", skipped.name, skipped.reason));
    }
    if report.unsaid() > 0 {
        printer.note(&format!("not imported: {} more", report.unsaid()));
    }
    let (counts, mut text) = counted(report, ["found", "imported", "already there", "skipped"]);
    if report.nothing_new() {
        text.push_str("nothing new: all that could be imported is here already\n");
    } else if args.dry_run {
        text.push_str("nothing was written: this was a dry run\n");
    }
    let complete = report.complete();
    let value = json!({
        "schema": 1, "source": source, "data": data, "dry_run": args.dry_run, "complete": complete,
        "counts": counts, "notes": report.notes(), "not_imported": report.skipped(),
    });
    if complete {
        printer.result(&value, &text);
        return Ok(());
    }
    if !printer.json() {
        printer.tell(&text);
    }
    let message = format!("import all of `{}`: {}", source.display(), left_out(report));
    let hint = "each line `not imported:` says why; what came in stays, and importing again adds the rest";
    let failure = Failure::hinted(Code::ImportIncomplete, message, hint);
    let rendered = failure.heading();
    Err(failure.shown(rendered, value))
}

/// The counts of a report for programs and as a table with these columns.
pub(super) fn counted<const N: usize>(report: &Report, columns: [&str; N]) -> (Value, String) {
    let mut counts = Map::new();
    let mut rows = vec![[vec![String::new()], columns.map(String::from).to_vec()].concat()];
    for kind in Kind::ALL {
        let count = report.count(kind);
        let Count { found, imported, already_there, skipped } = count;
        counts.insert(kind.text().replace(' ', "_"), json!(count));
        if found + imported + already_there + skipped > 0 {
            let numbers = [found, imported, already_there, skipped].map(|number| number.to_string());
            rows.push([vec![kind.text().to_owned()], numbers.into_iter().take(N).collect()].concat());
        }
    }
    (Value::Object(counts), table(&rows))
}

/// How much was left out, in words.
pub(super) fn left_out(report: &Report) -> String {
    match report.skipped().len() as u64 + report.unsaid() {
        1 => "one thing was left out".to_owned(),
        many => format!("{many} things were left out"),
    }
}
