//! The one binary: the only crate that knows every stage, the terminal, HTTP servers, environment
//! variables and the home directory.
//!
//! [`platform`] composes the stages once. [`cli`] and [`http`] hold a platform and never reach past it,
//! so that a command and a route that do the same thing are the same call. [`worker`] closes the loop,
//! [`upkeep`] keeps the store clean, [`history`] knows what Git still needs of it.

pub mod platform;

pub mod apps;
pub mod cli;
pub mod history;
pub mod http;
pub mod upkeep;
pub mod worker;

pub mod config;
pub mod report;
