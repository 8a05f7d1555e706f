//! The one binary: the only crate that knows every stage, the terminal, HTTP servers, environment
//! variables and the home directory.
//!
//! [`platform`] composes the stages once. [`cli`] and [`http`] hold a platform and never reach past it,
//! so that a command and a route that do the same thing are the same call. [`worker`] closes the loop,
//! [`upkeep`] keeps the store clean, [`history`] knows what Git still needs of it.
//!
//! It is no library with a `main` beside it: of a program only what is reached from there is compiled.

mod platform;

mod apps;
mod cli;
mod history;
mod http;
mod presence;
mod upkeep;
mod worker;

mod config;
mod report;

fn main() -> std::process::ExitCode {
    cli::main()
}
