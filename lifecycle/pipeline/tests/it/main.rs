//! The pipeline as its callers see it: real steps in a real shell, a real store, a project on disk.

// Everything here is a test or serves one; what is skipped says so.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod cache;
mod damage;
mod environments;
mod failures;
mod isolation;
mod lab;
mod lock;
mod logs;
mod records;
mod recovery;
mod shapes;
mod shared;
mod sweeps;
