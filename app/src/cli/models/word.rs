//! What is said of a version by hand: which one it is, and why.

use super::shelf;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::platform::approvals::Word;

/// A word about a version
#[derive(clap::Args)]
pub struct Said {
    /// The version, such as `delay/3`
    version: String,
    /// Why, in one sentence, for the journal
    #[arg(long, value_name = "TEXT")]
    why: String,
}

impl Said {
    /// The same with who says it: who uses the command.
    ///
    /// # Errors
    /// When it names no version.
    pub fn word<'w>(&'w self, session: &'w Session) -> Outcome<Word<'w>> {
        let (model, version) = shelf::version(&self.version)?;
        Ok(Word { model, version, by: session.config().user(), why: &self.why })
    }
}
