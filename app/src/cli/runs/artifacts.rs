//! `rondo runs artifacts`.

use serde_json::json;

use super::kept::{self, Kept, Origin};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List what is kept of a run: its artifacts, and the outputs of a step
#[derive(clap::Args)]
pub struct Args {
    /// The run's id, or the first characters of it
    run: String,
}

/// Lists it.
///
/// # Errors
/// When there is no such run, or more than one begins so.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let run = platform.find_run(&args.run).await?;
    let kept = kept::of(&platform, &run).await?;
    let children = platform.store().meta().children(run.id).await?;
    let mut text = if kept.is_empty() { "nothing is kept of this run\n".to_owned() } else { shown(&kept) };
    if !children.is_empty() {
        // What its steps keep is theirs.
        text.push_str("\nruns below it:\n");
        for child in &children {
            text.push_str(&format!("  rondo runs artifacts {}  # {}\n", child.id.short(), child.name));
        }
    }
    let children: Vec<_> = children.iter().map(|child| child.id).collect();
    let value = json!({ "schema": 1, "run": run.id, "kept": kept, "children": children });
    session.printer().result(&value, &text);
    Ok(())
}

fn shown(kept: &[Kept]) -> String {
    let head = ["path", "bytes", "kind"].map(str::to_owned).to_vec();
    let rows = kept.iter().map(|kept| {
        let origin = match kept.origin {
            Origin::Artifact => "artifact",
            Origin::Output => "output",
        };
        vec![named(kept), kept.size.to_string(), origin.to_owned()]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// The path, with a slash behind a folder's.
pub(super) fn named(kept: &Kept) -> String {
    format!("{}{}", kept.path, if kept.folder { "/" } else { "" })
}
