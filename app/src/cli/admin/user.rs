//! `rondo admin user`: users, and their standing on the whole server.

pub mod add;
pub mod list;
pub mod password;
pub mod remove;
pub mod role;

use std::io::IsTerminal;

use rondo_core::Code;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// What to do with users
#[derive(clap::Subcommand)]
pub enum Verb {
    /// Add a user; the password is asked for, or read from standard input
    Add(add::Args),
    /// List the users
    List(list::Args),
    /// Remove a user, with its tokens and permissions
    Remove(remove::Args),
    /// Set a user's password; it is asked for, or read from standard input
    Password(password::Args),
    /// Set a user's role
    Role(role::Args),
}

/// Does it.
///
/// # Errors
/// As the verb.
pub async fn run(verb: Verb, session: &Session) -> Outcome {
    match verb {
        Verb::Add(args) => add::run(args, session).await,
        Verb::List(args) => list::run(args, session).await,
        Verb::Remove(args) => remove::run(args, session).await,
        Verb::Password(args) => password::run(args, session).await,
        Verb::Role(args) => role::run(args, session).await,
    }
}

/// A new password: asked for twice at a terminal, else the first line of standard input.
///
/// # Errors
/// When there is none, or the two differ.
pub(super) fn read_password(name: &str) -> Outcome<String> {
    let unreadable = |error: std::io::Error| Failure::new(Code::Io, format!("read the password: {error}"));
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(unreadable)?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            let hint = "printf '%s\\n' \"$PASSWORD\" | rondo admin user …";
            return Err(Failure::hinted(Code::Usage, "standard input has no password", hint));
        }
        return Ok(line.to_owned());
    }
    let first = rpassword::prompt_password(format!("Password of {name}: ")).map_err(unreadable)?;
    let again = rpassword::prompt_password("Once more: ").map_err(unreadable)?;
    if first != again {
        return Err(Failure::new(Code::Usage, "the two passwords differ"));
    }
    Ok(first)
}
