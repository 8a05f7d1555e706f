//! `rondo admin backup`.

use std::path::PathBuf;

use rondo_core::Code;
use rondo_core::ports::Clock;
use rondo_serving::log::FOLDERS;
use rondo_store::backup::{Backup, Saved};
use serde_json::{Value, json};

use super::Which;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::WallClock;

/// Save a store as it is now, while it goes on being used
///
/// A folder holds many backups; each one adds only what is new. Environments are left out: they are made
/// again from their locks. So are artifacts that a server keeps outside of its store.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that holds the backups; made where it is missing
    folder: PathBuf,
    #[command(flatten)]
    which: Which,
    /// List the backups that are there instead
    #[arg(long)]
    list: bool,
}

/// Saves it.
///
/// # Errors
/// When the store cannot be read, the folder cannot be written, or something in the store is corrupt.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let folder = session.path(&args.folder);
    if args.list {
        let names = Backup::open(&folder)?.names()?;
        session.printer().result(&json!({ "schema": 1, "backups": names }), &lines(&names));
        return Ok(());
    }
    let store = args.which.open(session).await?;
    let backup = Backup::create(&folder)?;
    let mut folders = vec!["locks".to_owned()];
    folders.extend(FOLDERS.map(|name| format!("predictions/{name}")));
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let progress = session.printer().progress();
    let saved = backup.save(&store, &folders, WallClock.now(), progress.as_ref()).await?;
    store.close().await;
    let text = format!(
        "{}: {} objects, {} of them new{}, and {} files in `{}`\n",
        saved.name,
        saved.snapshot.objects,
        saved.copied,
        mended(saved.mended),
        saved.snapshot.files.len(),
        folder.display()
    );
    session.printer().result(&value(&saved), &text);
    match saved.snapshot.corrupt.as_slice() {
        [] => Ok(()),
        corrupt => {
            let all: Vec<String> = corrupt.iter().map(ToString::to_string).collect();
            let message = format!("save objects that are corrupt in the store: {}", all.join(", "));
            Err(Failure::new(Code::Corrupt, message))
        }
    }
}

fn value(saved: &Saved) -> Value {
    let Saved { name, snapshot, copied, mended } = saved;
    let snapshot = json!({
        "at": snapshot.at,
        "rondo": snapshot.rondo,
        "metadata": snapshot.metadata,
        "files": snapshot.files,
        "objects": snapshot.objects,
        "corrupt": snapshot.corrupt,
    });
    json!({ "schema": 1, "backup": { "name": name, "snapshot": snapshot, "copied": copied, "mended": mended } })
}

fn mended(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", {count} mended that were damaged there") }
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}
