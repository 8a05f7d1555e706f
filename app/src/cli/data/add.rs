//! `rondo data add`.

use std::path::{Path, PathBuf};

use rondo_core::Timestamp;
use rondo_data::ingest::{self, Added};
use rondo_project::edit;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::PROJECT_FILE;

/// Add a version: fetch, check, profile, store; refused where a check fails
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project, or a path or source to declare as a new one
    what: String,
    /// The name of a new dataset; otherwise the file's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of a dataset in parts: only those that end by this day
    #[arg(long, value_name = "DAY")]
    until: Option<Timestamp>,
    /// Of a dataset in parts: this file alone, named by its time, such as `2013-04.csv`
    #[arg(long, value_name = "FILE", conflicts_with = "until")]
    part: Option<PathBuf>,
}

/// Adds it.
///
/// # Errors
/// When it cannot be fetched or its checks fail; then nothing has changed.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let mut platform = session.platform().await?;
    let mut name = args.what.clone();
    if !platform.project().data.contains(&name) && !rondo_core::id::is_name(&name) {
        name = args.name.clone().unwrap_or_else(|| stem(&args.what));
        if !platform.project().data.contains(&name) {
            declare(platform.root(), &name, &args.what)?;
            platform = session.platform().await?;
        }
    }
    let added = match &args.part {
        Some(file) => platform.add_part(&name, &session.here().join(file)).await,
        None => platform.add_dataset(&name, args.until).await,
    };
    let added = match added {
        Ok(added) => added,
        Err(error) => {
            let shown = super::check::refusal(&error);
            let failure = Failure::from(error);
            return Err(match shown {
                Some((text, value)) => failure.shown(text, value),
                None => failure,
            });
        }
    };
    let mut text = String::new();
    for one in &added {
        text.push_str(&line(&name, one));
    }
    if added.is_empty() {
        text.push_str(&format!("{name}: nothing to add\n"));
    }
    session.printer().result(&json!({ "schema": 1, "dataset": name, "added": added }), &text);
    Ok(())
}

fn line(name: &str, added: &Added) -> String {
    let what = added.part.as_ref().map_or_else(|| name.to_owned(), |part| format!("{name} {part}"));
    let version = &added.version;
    let rows = version.rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    let verb = match added.outcome {
        ingest::Outcome::Added => "added as",
        ingest::Outcome::Unchanged => "unchanged,",
        ingest::Outcome::Returned => "back to",
    };
    format!("{what}: {verb} version {}{rows}\n", version.digest.short())
}

fn stem(source: &str) -> String {
    let path = source.split(['?', '#']).next().unwrap_or(source);
    let file = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let stem = file.as_deref().unwrap_or(source).split('.').next().unwrap_or_default().to_owned();
    stem.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-', "_")
}

fn declare(root: &Path, name: &str, source: &str) -> Outcome {
    let file = root.join(PROJECT_FILE);
    let read = std::fs::read_to_string(&file).map_err(crate::platform::Error::io("read", &file))?;
    let edited = edit::add_dataset(&read, name, source)?;
    let fresh = file.with_extension("yaml.new");
    std::fs::write(&fresh, edited).map_err(crate::platform::Error::io("write", &fresh))?;
    std::fs::rename(&fresh, &file).map_err(crate::platform::Error::io("write", &file))?;
    Ok(())
}
