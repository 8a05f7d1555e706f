//! `rondo trace`: any thing, back to where it came from.

use serde_json::json;

use super::Session;
use super::failure::Outcome;

/// Trace a prediction, model version, dataset version or run back to where it came from
#[derive(clap::Args)]
pub struct Args {
    /// A prediction's id or `ENDPOINT/ID`, `MODEL@ALIAS`, `MODEL/VERSION`, `DATASET@latest`, or the beginning
    /// of a digest or run id
    thing: String,
    /// It is the id of a prediction at this endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
}

/// Traces it.
///
/// # Errors
/// When it is none of these, or an id at several endpoints.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let chain = platform.trace(&args.thing, args.endpoint.as_deref()).await?;
    session.printer().result(&json!({ "schema": 1, "hops": chain.hops }), &chain.text());
    Ok(())
}
