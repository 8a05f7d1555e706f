//! `rondo admin permission list`.

use rondo_store::meta::access::Subject;
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, account};
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List what users were given
#[derive(clap::Args)]
pub struct Args {
    /// This user
    user: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// Lists it.
///
/// # Errors
/// When there is no such user.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    let book = office.book().await?;
    office.close().await;
    let only = args.user.as_deref().map(|name| account(&book, name)).transpose()?;
    let mut rows = vec![["user", "permission", "on"].map(str::to_owned).to_vec()];
    let mut permissions = Vec::new();
    for account in book.accounts.iter().filter(|account| only.is_none_or(|only| only.id == account.id)) {
        let experiments = account.experiments.iter().map(|(id, given)| (Subject::Experiment(*id), *given));
        let models = account.models.iter().map(|(name, given)| (Subject::Model(name.clone()), *given));
        let mut given: Vec<_> =
            experiments.chain(models).map(|(on, given)| (on.to_string(), given)).collect();
        given.sort();
        for (on, given) in given {
            rows.push(vec![account.name.clone(), given.to_string(), on.clone()]);
            permissions.push(json!({ "user": account.name, "permission": given, "on": on }));
        }
    }
    let text = format!("{}members have {} on everything else\n", table(&rows), book.default);
    session
        .printer()
        .result(&json!({ "schema": 1, "default": book.default, "permissions": permissions }), &text);
    Ok(())
}
