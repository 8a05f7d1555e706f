//! Executing one step: from its definition to outputs in the store.
//!
//! [`step`] is the way through: it prepares a folder ([`folders`]), hands the work to whoever does it
//! ([`process`] for commands and file packages, a [`rondo_core::ports::Builtin`] for packages in Rust), and
//! collects what was made ([`outputs`]). The standard output and error go through [`log`]. What a process
//! leaves behind is ended by [`leftovers`], and by the [`guard`] where Rondo itself has died.

pub mod cause;
pub mod confine;
pub mod folders;
pub mod guard;
pub mod image;
pub mod leftovers;
pub mod log;
pub mod outputs;
pub mod process;
pub mod shell;
pub mod step;
