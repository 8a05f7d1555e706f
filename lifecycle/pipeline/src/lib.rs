//! The pipeline: from a checked project to runs of its steps, each only when something it depends on has
//! changed.
//!
//! Read in this order: [`request`] is what is asked and answered; [`runner`] is the door; [`graph`] and
//! [`plan`] say which steps there are and [`key`] what a step's result depends on; [`environment`] gives a step its
//! interpreter and [`isolation`] keeps it to what it declares; [`cache`] and [`worktree`] say when nothing
//! has to be done; [`execute`] runs one step, and [`run`] runs them all, as many at once as the machine
//! allows; [`sweep`] searches parameters; [`why`] explains and [`logs`] tells what
//! steps say, also while they say it in another process. [`again`] makes an earlier run
//! again, and [`compare`] says how what it gave differs.
//!
//! Nothing here parses `rondo.yaml` (that is `rondo-project`), knows a dataset's meaning (the data
//! stage), or speaks to a notebook's kernel (a package passed in as a [`rondo_core::ports::Builtin`]).

pub mod request;
pub mod runner;

pub mod builtins;
pub mod code;
pub mod graph;
pub mod key;
pub mod packages;
pub mod plan;
pub mod platform;

pub mod environment;
pub mod isolation;

pub mod again;
pub mod compare;

pub mod cache;
pub mod shared;
pub mod worktree;

pub mod execute;
pub mod git;
pub mod run;
pub mod sql;
pub mod sweep;

mod lacking;
pub mod lock;
pub mod logs;
mod made;
pub mod why;

pub mod error;

pub use error::Error;
pub use request::{Outcome, Place, Plan, RunReport, RunRequest, StepReport, Why};
pub use runner::Runner;
