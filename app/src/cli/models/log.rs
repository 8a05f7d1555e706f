//! `rondo models log`.

use serde_json::json;

use super::shelf::Shelf;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// Show a model's journal: who moved what, when and why
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// Shows it.
///
/// # Errors
/// When there is no such model.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let store = args.shelf.open(session).await?;
    let lines = rondo_registry::log::log(&store, &args.model).await?;
    let head = ["seq", "when", "what", "from", "to", "who", "run", "why"];
    let mut rows: Vec<Vec<String>> = vec![head.map(String::from).to_vec()];
    for line in &lines {
        let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "–".to_owned());
        rows.push(vec![
            line.seq.to_string(),
            line.at.rfc3339(),
            line.subject.to_string(),
            end(&line.from),
            end(&line.to),
            line.actor.clone(),
            line.run.map_or_else(|| "–".to_owned(), |run| run.short()),
            line.why.clone(),
        ]);
    }
    let value = json!({ "schema": 1, "model": args.model, "journal": lines });
    session.printer().result(&value, &table(&rows));
    Ok(())
}
