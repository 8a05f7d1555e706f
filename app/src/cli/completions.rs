//! `rondo completions`: a completion script for a shell.

use clap_complete::Shell;

use super::Session;
use super::failure::Outcome;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// None.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::grammar(), "rondo", &mut script);
    session.printer().out(&String::from_utf8_lossy(&script));
    Ok(())
}
