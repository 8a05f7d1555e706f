//! `rondo models protect`.

use rondo_core::journal::Because;
use rondo_registry::promote::CHAMPION;
use rondo_registry::protect::{protect, protected, unprotect};
use serde_json::json;

use super::shelf::Shelf;
use crate::cli::Session;
use crate::cli::failure::Outcome;

/// Let clients move an alias only to versions that have passed their gate or are approved
///
/// A model with a gate in rondo.yaml has its champion protected already, and every alias that an endpoint
/// follows.
#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: String,
    /// The alias
    #[arg(long, default_value = CHAMPION)]
    alias: String,
    /// Protect it no longer
    #[arg(long)]
    off: bool,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    why: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// Protects it.
///
/// # Errors
/// When there is no such model.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let store = args.shelf.open(session).await?;
    store.meta().registered_model(&args.model).await?;
    let because = Because::new(session.config().user(), &args.why);
    let (of, now) = ((args.model.as_str(), args.alias.as_str()), args.shelf.now());
    if args.off {
        unprotect(&store, of, because, now).await?;
    } else {
        protect(&store, of, because, now).await?;
    }
    let aliases: Vec<String> =
        protected(&store, &args.model).await?.into_iter().map(|(alias, _)| alias).collect();
    let text = if args.off {
        format!("{}@{} is not protected\n", args.model, args.alias)
    } else {
        format!(
            "{}@{} is protected: clients move it only to versions that may serve\n",
            args.model, args.alias
        )
    };
    session.printer().result(&json!({ "schema": 1, "model": args.model, "protected": aliases }), &text);
    Ok(())
}
