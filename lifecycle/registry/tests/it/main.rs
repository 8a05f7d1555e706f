//! What the registry promises over a real store: approvals, protected aliases, the journal, rollback.

#![allow(clippy::unwrap_used)]

mod house;

mod aliases;
mod approvals;
