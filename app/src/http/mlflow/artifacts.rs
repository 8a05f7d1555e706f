//! Artifacts: listed, and streamed both ways in constant memory.
//!
//! | file | what |
//! |---|---|
//! | `list` | `artifacts/list`, the proxy's listing |
//! | `elsewhere` | the listing of another server's |
//! | `upload` | bodies taken in, checked by the checksums that came with them; deletion |
//! | `download` | files sent, whole or in ranges |
//! | `multipart` | uploads in parts |
//! | `signed` | addresses that carry their own right: one part, one file |
//!
//! Where a path leads is decided in [`rondo_tracking::artifacts`] and not here.

pub(super) mod checks;
pub(super) mod download;
mod elsewhere;
pub(super) mod list;
pub(super) mod multipart;
mod range;
pub(super) mod signed;
pub(super) mod upload;
