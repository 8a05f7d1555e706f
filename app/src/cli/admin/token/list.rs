//! `rondo admin token list`.

use std::collections::HashMap;

use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{Which, account, now};
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List the tokens, by what they are called
#[derive(clap::Args)]
pub struct Args {
    /// Of this user
    user: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// Lists them.
///
/// # Errors
/// When there is no such user.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    let book = office.book().await?;
    office.close().await;
    let only = args.user.as_deref().map(|name| account(&book, name).map(|account| account.id)).transpose()?;
    let names: HashMap<i64, &str> =
        book.accounts.iter().map(|account| (account.id, account.name.as_str())).collect();
    let mut rows = vec![["token", "user", "scope", "on", "ends", "note"].map(str::to_owned).to_vec()];
    let mut tokens = Vec::new();
    for token in book.tokens.iter().filter(|token| only.is_none_or(|only| token.account == only)) {
        let user = names.get(&token.account).copied().unwrap_or_default();
        let on = token.only.as_ref().map(ToString::to_string);
        let ends = match token.expires {
            None => "never".to_owned(),
            Some(at) if at <= now() => "ended".to_owned(),
            Some(at) => at.day(),
        };
        rows.push(vec![
            token.id.clone(),
            user.to_owned(),
            token.scope.to_string(),
            on.clone().unwrap_or_default(),
            ends,
            token.note.clone(),
        ]);
        tokens.push(json!({
            "id": token.id, "user": user, "scope": token.scope, "on": on, "note": token.note,
            "created": token.created, "expires": token.expires,
        }));
    }
    session.printer().result(&json!({ "schema": 1, "tokens": tokens }), &table(&rows));
    Ok(())
}
