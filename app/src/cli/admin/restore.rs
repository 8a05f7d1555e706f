//! `rondo admin restore`.

use std::path::PathBuf;

use rondo_store::backup::Backup;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// Make a store of a backup
///
/// Everything is verified by its digest; the folder appears whole or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that holds the backups
    folder: PathBuf,
    /// The folder of the store to make; it must not be there, or be empty
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    data: Option<PathBuf>,
    /// Which backup; the newest without it
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
    /// Only verify: read everything and compare it with its digest
    #[arg(long)]
    dry_run: bool,
}

/// Restores it.
///
/// # Errors
/// When there is no such backup, it is damaged, or the folder is in use.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let folder = session.existing("the backups", &args.folder)?;
    let backup = Backup::open(&folder)?;
    let (name, snapshot) = backup.snapshot(args.at.as_deref())?;
    let progress = session.printer().progress();
    let printer = session.printer();
    if args.dry_run {
        let damage = backup.verify(&snapshot, progress.as_ref()).await?;
        let value = json!({
            "schema": 1,
            "name": name,
            "objects": snapshot.objects,
            "missing": damage.missing,
            "damaged": damage.damaged,
        });
        if !damage.is_empty() {
            let failure = Failure::from(backup.not_whole(damage));
            let text = failure.heading();
            return Err(failure.shown(text, value));
        }
        printer.result(&value, &format!("{name}: {} objects, all as their digests say\n", snapshot.objects));
    }
    if let Some(data) = args.data.as_ref().filter(|_| !args.dry_run) {
        let data = session.path(data);
        backup.restore(&snapshot, &data, progress.as_ref()).await?;
        let value = json!({ "schema": 1, "name": name, "data": data, "objects": snapshot.objects });
        printer.result(
            &value,
            &format!("{name} restored to `{}`: {} objects\n", data.display(), snapshot.objects),
        );
    }
    Ok(())
}
