//! `rondo data remove`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::declare;
use rondo_core::journal::Because;
use rondo_project::edit;

/// Take a dataset out of rondo.yaml and rondo.lock; its versions and its files stay
#[derive(clap::Args)]
pub struct Args {
    /// The dataset
    name: String,
}

/// Takes it out.
///
/// # Errors
/// When it is not declared, or something in the project needs it; then nothing has changed.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let name = &args.name;
    platform.intake(name, Because::new(session.config().user(), "taken out"))?;
    let versions = platform.store().meta().dataset_versions(name).await?.len();
    let action = format!("take `{name}` out");
    let without = |text: &str| edit::remove_dataset(text, name).map_err(Failure::from);
    declare::edit(platform.root(), session.config(), &action, without)?;
    platform.unpin(name)?;
    let text =
        format!("{name} is not declared any more; its {versions} versions stay: rondo data log {name}\n");
    session.printer().result(&json!({ "schema": 1, "removed": name, "versions": versions }), &text);
    Ok(())
}
