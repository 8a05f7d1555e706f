//! Processes of the machine, as far as several stages have to do with them.
//!
//! Who starts processes, watches them and counts what they used does that for itself: here is only where programs
//! are ([`program`]) and what becomes of processes that are nobody's any more ([`leftovers`]).

pub mod leftovers;
pub mod program;
