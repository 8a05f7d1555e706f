//! `rondo data tag`.

use rondo_core::Code;
use rondo_core::journal::Because;
use rondo_data::tags::{Conflict, Tag, Taken};
use serde_json::{Value, json};

use super::profile::version_of;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;

/// Give a version a name of your own, or list, move and remove such names
#[derive(clap::Args)]
pub struct Args {
    /// The dataset, and which version of it (the latest without it); of none, the tags of all are listed
    #[arg(value_name = "DATASET[@VERSION]")]
    what: Option<String>,
    /// The tag; without it the dataset's tags are listed
    #[arg(value_name = "TAG")]
    tag: Option<String>,
    /// Also where the tag names another version by now
    #[arg(long = "move", conflicts_with = "remove")]
    move_it: bool,
    /// Take the tag away; the version stays
    #[arg(long, requires = "tag")]
    remove: bool,
    /// Why, for the journal
    #[arg(short, long, value_name = "WHY")]
    message: Option<String>,
}

/// Does it.
///
/// # Errors
/// When there is no such dataset, version or tag, or the tag is another version's and is not to be moved.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let datasets = platform.datasets();
    let what = args.what.as_deref();
    let (name, called) = match what.and_then(|what| what.rsplit_once('@')) {
        Some((name, called)) => (Some(name), Some(called)),
        None => (what, None),
    };
    let (Some(name), Some(tag)) = (name, args.tag.as_deref()) else {
        if called.is_some() {
            let message = "say which tag it gets";
            return Err(Failure::hinted(Code::Usage, message, "rondo data tag flights@2 paper"));
        }
        if let Some(name) = name {
            version_of(&platform, name, None).await?;
        }
        let tags = datasets.tags(name).await?;
        let mut rows = vec![["tag", "version"].map(String::from).to_vec()];
        rows.extend(tags.iter().map(|tag| vec![format!("{}@{}", tag.dataset, tag.tag), tag.digest.short()]));
        let text = if tags.is_empty() { "no tags\n".to_owned() } else { table(&rows) };
        session.printer().result(&json!({ "schema": 1, "tags": tags }), &text);
        return Ok(());
    };
    let why =
        |otherwise: &str| Because::new(session.config().user(), args.message.as_deref().unwrap_or(otherwise));
    if args.remove {
        let was = datasets.untag(name, tag, why("untagged by hand")).await?;
        let value = json!({ "schema": 1, "removed": Tag { dataset: name.to_owned(), tag: tag.to_owned(), digest: was } });
        session.printer().result(&value, &format!("{name}@{tag} removed, it was version {}\n", was.short()));
        return Ok(());
    }
    let version = version_of(&platform, name, called).await?;
    let new = Tag { dataset: name.to_owned(), tag: tag.to_owned(), digest: version.digest };
    let taken = if args.move_it { Taken::Move } else { Taken::Refuse };
    let changed = datasets.tag(&new, taken, why("tagged by hand")).await?;
    let verb = if changed { "is" } else { "was already" };
    let text = format!("{name}@{tag} {verb} version {}\n", version.digest.short());
    session.printer().result(&json!({ "schema": 1, "tag": new, "changed": changed }), &text);
    Ok(())
}

/// Tags that travelled, in a few words.
pub(super) fn tags(with: &str, tags: &[Tag]) -> String {
    if tags.is_empty() {
        return String::new();
    }
    let names: Vec<String> = tags.iter().map(|tag| format!("{}@{}", tag.dataset, tag.tag)).collect();
    format!(", {with} {}", names.join(", "))
}

/// Shows the result of a transfer; it is an error where tags did not agree, though all else was done.
pub(super) fn agreed(
    session: &Session,
    value: Value,
    text: String,
    conflicts: Vec<Conflict>,
    hint: &str,
) -> Outcome {
    if conflicts.is_empty() {
        session.printer().result(&value, &text);
        return Ok(());
    }
    let error = rondo_data::Error::TagTaken { tags: conflicts, hint: hint.to_owned() };
    let shown = format!("{text}error: {error}\n");
    Err(Failure::from(error).shown(shown, value))
}
