//! `rondo admin token add`.

use rondo_core::access::Scope;
use rondo_core::{Span, Timestamp};
use serde_json::json;

use crate::cli::Session;
use crate::cli::admin::{About, Which, account, now};
use crate::cli::failure::Outcome;
use crate::http::access::keeper::new_token;

/// Make a token; it is shown this once
#[derive(clap::Args)]
pub struct Args {
    /// Whose it is: it may no more than its user
    user: String,
    /// What it may at most: `read`, `write` or `admin`
    #[arg(long, default_value = "write")]
    scope: Scope,
    #[command(flatten)]
    only: About,
    /// After how long it ends, such as `30d` or `12h`
    #[arg(long, value_name = "TIME", default_value = "90d", conflicts_with = "for_ever")]
    expires: Span,
    /// It ends when it is revoked
    #[arg(long)]
    for_ever: bool,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    which: Which,
}

/// Makes it.
///
/// # Errors
/// When there is no such user, experiment or model.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let office = args.which.office(session).await?;
    let book = office.book().await?;
    let user = account(&book, &args.user)?;
    let only = office.subject(args.only).await?;
    let now = now();
    let (text, mut token) = new_token(user.id, &args.note, args.scope, only, now);
    token.expires = (!args.for_ever).then_some(now + args.expires);
    let (id, expires) = (token.id.clone(), token.expires);
    let because = office.because(&format!("token made, {}", args.scope));
    office.store.meta().create_token(token, because).await?;
    office.close().await;
    let until = expires.map_or_else(|| "for ever".to_owned(), |at: Timestamp| format!("until {}", at.day()));
    session.printer().note(&format!("token {id} of {}, {until}; it is not shown again:", args.user));
    session.printer().result(
        &json!({ "schema": 1, "id": id, "user": args.user, "scope": args.scope, "expires": expires, "token": text }),
        &format!("{text}\n"),
    );
    Ok(())
}
