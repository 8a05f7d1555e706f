//! Notebooks run on real kernels: IPython's, and one of another language.

// Helpers of tests are tests: they may fail loudly and say why they skip.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod builtin;
mod caches;
mod environment;
mod failures;
mod forks;
mod limits;
mod runs;
mod widgets;
mod work;
