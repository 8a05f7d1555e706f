//! `rondo trace`: any thing, back to where it came from.

use serde_json::json;

use super::Session;
use super::failure::Outcome;

/// Trace a prediction, model version, dataset version or run back to where it came from
#[derive(clap::Args)]
pub struct Args {
    /// A prediction's id, `MODEL@ALIAS`, `MODEL/VERSION`, `DATASET@latest`, or the beginning of a digest
    /// or run id
    thing: String,
}

/// Traces it.
///
/// # Errors
/// When it is none of these.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let chain = platform.trace(&args.thing).await?;
    session.printer().result(&json!({ "schema": 1, "hops": chain.hops }), &chain.text());
    Ok(())
}
