//! One pipeline run from its first row to its last.
//!
//! [`session`] is the run under way; [`schedule`] lets its steps run as soon as what they need is there and
//! the machine has room ([`machine`]); [`record`] writes the rows; [`recover`] ends what a process that died
//! has left. [`claim`] keeps two runs from doing the same thing at once; [`control`] is how
//! another process stops a run; [`heal`] fetches what is damaged here from a remote.

pub mod claim;
pub mod control;
pub mod heal;
pub mod machine;
pub mod record;
pub mod recover;
pub mod schedule;
pub mod session;
