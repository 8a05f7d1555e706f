//! `rondo models promote`.

use rondo_core::journal::Because;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::dossier;
use crate::platform::models::Promotion;

/// Point an alias at a version, if it passes its gate
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    /// The version's number, or an alias such as `@challenger`
    version: String,
    /// The alias that moves
    #[arg(long, default_value = "champion")]
    alias: String,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Move it although the gate does not pass
    #[arg(long, requires = "why")]
    force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Moves it.
///
/// # Errors
/// When there is no such version or its gate does not pass.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let version = dossier::find(platform.store(), &args.model, Some(&args.version)).await?.number;
    let why = args.why.clone().unwrap_or_else(|| "promoted by hand".to_owned());
    let promotion = Promotion {
        model: args.model.clone(),
        version,
        alias: args.alias.clone(),
        because: Because::new(session.config().user(), &why),
        force: args.force,
        dry_run: args.dry_run,
    };
    let moved = platform.promote(promotion).await?;
    let value = json!({
        "schema": 1, "model": args.model, "version": version, "alias": args.alias, "moved": moved,
    });
    let text = match (args.dry_run, moved) {
        (true, true) => format!("would point {}@{} at version {}\n", args.model, args.alias, version),
        (false, true) => format!("{}@{} is version {} now\n", args.model, args.alias, version),
        (_, false) => format!("{}@{} is version {} already\n", args.model, args.alias, version),
    };
    session.printer().result(&value, &text);
    Ok(())
}
