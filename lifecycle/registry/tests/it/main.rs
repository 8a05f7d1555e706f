//! What the registry promises over a real store: approvals, protected aliases, the journal, rollback.

mod house;

mod aliases;
mod approvals;
