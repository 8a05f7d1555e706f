//! `rondo models rollback`.

use rondo_core::journal::Because;
use rondo_registry::log::Subject;
use rondo_registry::promote::{CHAMPION, roll_back, roll_back_to};
use serde_json::json;

use super::shelf::Shelf;
use crate::cli::Session;
use crate::cli::failure::Outcome;

/// Point an alias back at what it pointed to before
///
/// Once more goes back to where it came from. With --to it is put back to what it was right after that line
/// of the model's journal (rondo models log).
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    /// The alias that moves
    #[arg(long, default_value = CHAMPION, conflicts_with = "to")]
    alias: String,
    /// A line of the model's journal: the alias or stage that it is about goes back to it
    #[arg(long, value_name = "SEQ")]
    to: Option<i64>,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT", default_value = "rolled back by hand")]
    why: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// Moves it.
///
/// # Errors
/// When there is nothing to go back to.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let store = args.shelf.open(session).await?;
    let because = Because::new(session.config().user(), &args.why);
    let (model, now) = (args.model.as_str(), args.shelf.now());
    let back = match args.to {
        Some(seq) => roll_back_to(&store, model, seq, because, now).await?,
        None => roll_back(&store, (model, &args.alias), because, now).await?,
    };
    let text = match (&back.subject, &back.to) {
        (Subject::Alias(alias), Some(version)) => format!("{model}@{alias} is version {version} again\n"),
        (Subject::Alias(alias), None) => format!("{model}@{alias} is taken away again\n"),
        (subject, to) => format!("{subject} is {} again\n", to.as_deref().unwrap_or("none")),
    };
    let version = back.to.as_ref().and_then(|to| to.parse::<i64>().ok());
    let alias = match &back.subject {
        Subject::Alias(alias) => Some(alias),
        Subject::Stage(_) | Subject::Approval(_) | Subject::Protection(_) => None,
    };
    let value = json!({
        "schema": 1, "model": model, "alias": alias, "version": version, "subject": back.subject, "to": back.to,
    });
    session.printer().result(&value, &text);
    Ok(())
}
