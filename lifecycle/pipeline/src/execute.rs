//! Executing one step: from its definition to outputs in the store.
//!
//! [`step`] is the way through: it has a folder prepared (`bench` in one of [`folders`]), the `work` done by
//! whoever does it ([`process`] for commands and file packages, a [`rondo_core::ports::Builtin`] for packages in
//! Rust), and takes in what was made ([`outputs`], and what else one may `keep`). The standard output and error
//! go through [`log`]. `checkout` puts outputs where people look for them. What a process leaves behind is
//! ended by [`leftovers`](rondo_process::leftovers), and by the [`guard`] where Rondo itself has died.

mod bench;
pub mod cause;
pub(crate) mod checkout;
pub mod confine;
pub mod folders;
pub mod guard;
pub mod image;
mod keep;
pub mod log;
pub mod outputs;
pub mod process;
pub mod shell;
pub mod step;
mod work;
