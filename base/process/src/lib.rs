//! Processes of the machine, as far as several stages have to do with them.
//!
//! Who starts processes, watches them and counts what they used does that for itself: here is only what becomes of
//! the ones that are nobody's any more ([`leftovers`]).

pub mod leftovers;
