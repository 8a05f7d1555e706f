//! `rondo models rollback`.

use rondo_core::journal::Because;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;

/// Point an alias back at what it pointed to before
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    /// The alias that moves
    #[arg(long, default_value = "champion")]
    alias: String,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT", default_value = "rolled back by hand")]
    why: String,
}

/// Moves it.
///
/// # Errors
/// When there is nothing to go back to.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let because = Because::new(&session.config().user, &args.why);
    let now = platform.clock().now();
    let version =
        rondo_registry::promote::roll_back(platform.store(), &args.model, &args.alias, because, now).await?;
    let value = json!({
        "schema": 1, "model": args.model, "alias": args.alias, "version": version.version,
    });
    let text = format!("{}@{} is version {} again\n", args.model, args.alias, version.version);
    session.printer().result(&value, &text);
    Ok(())
}
