//! The project file `rondo.yaml` and its lock file: from text to a checked [`project::Project`], with
//! every fault located.
//!
//! Read in this order: [`project`] is what the rest of Rondo works with; [`check::check`] makes it from
//! text; [`fault`] is what a bad text gets instead. [`shape`] is the one table of the keys that may be
//! written where; the checker and the published JSON Schema are both driven by it.
//!
//! This crate runs nothing and fetches nothing. What it needs to know of the disk (does a file exist,
//! what does a notebook say) it asks through [`files::Files`]; what it needs to know of the packages that
//! steps use, the caller passes in as [`builtins::Builtins`].

pub mod ordered;
pub mod project;

pub mod builtins;
pub mod files;
pub mod package;

pub mod place;

pub mod fault;

pub mod yaml;

pub mod shape;

pub mod check;
pub mod command;
pub mod condition;
pub mod imports;
pub mod notebook;
pub mod quote;
mod specifier;
pub mod substitute;
pub mod suite;

pub mod edit;
pub mod lock;
pub mod schema;

pub mod error;
