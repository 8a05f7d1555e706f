//! `rondo admin user list`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::Which;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List the users
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Lists them.
///
/// # Errors
/// When the store cannot be read.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    let book = office.book().await?;
    office.close().await;
    let mut rows =
        vec![["user", "role", "password", "permissions", "tokens", "since"].map(str::to_owned).to_vec()];
    let mut users = Vec::new();
    for account in &book.accounts {
        let permissions = account.experiments.len() + account.models.len();
        let tokens = book.tokens.iter().filter(|token| token.account == account.id).count();
        let password = if account.password.is_some() { "yes" } else { "no" };
        rows.push(vec![
            account.name.clone(),
            account.role.to_string(),
            password.to_owned(),
            permissions.to_string(),
            tokens.to_string(),
            account.created.day(),
        ]);
        users.push(json!({
            "name": account.name, "role": account.role, "password": account.password.is_some(),
            "permissions": permissions, "tokens": tokens, "created": account.created,
        }));
    }
    let text = if users.is_empty() {
        "no users yet: rondo admin user add NAME --role admin\n".to_owned()
    } else {
        table(&rows)
    };
    session.printer().result(&json!({ "schema": 1, "users": users }), &text);
    Ok(())
}
