//! Where the models of a command are: in the project's store, or in a store without a project.

use std::path::PathBuf;

use rondo_core::ports::Clock;
use rondo_core::{Code, Timestamp};
use rondo_store::Store;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::WallClock;

/// Which store
#[derive(clap::Args)]
pub struct Shelf {
    /// The folder of the store, such as a server's `--data`; where absent it is the project's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Shelf {
    /// Opens it.
    ///
    /// # Errors
    /// When there is neither a project nor a store, or it cannot be opened.
    pub async fn open(&self, session: &Session) -> Outcome<Store> {
        let Some(data) = &self.data else { return Ok(session.platform().await?.store().clone()) };
        // A store is not made by looking for one.
        let root = session.existing("store", data)?;
        session.existing("store", &data.join("metadata.db"))?;
        Ok(Store::open(&root).await?)
    }

    /// Now, by the wall clock.
    pub fn now(&self) -> Timestamp {
        WallClock.now()
    }
}

/// A model and what of it: `delay`, `delay@champion`, `delay/3`.
pub fn parse(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(['@', '/']) {
        Some((model, wanted)) if !model.is_empty() && !wanted.is_empty() => (model, Some(wanted)),
        Some(_) | None => (text, None),
    }
}

/// A model and the number of a version: `delay/3`.
///
/// # Errors
/// When it is neither.
pub fn version(text: &str) -> Outcome<(&str, i64)> {
    let read = text.rsplit_once('/').and_then(|(model, number)| Some((model, number.parse().ok()?)));
    read.ok_or_else(|| {
        let message = format!("take `{text}` for a model's version");
        Failure::hinted(Code::Usage, message, "a version is written MODEL/NUMBER, such as delay/3")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_with_a_slash_and_an_alias_with_an_at() {
        assert_eq!(parse("delay"), ("delay", None));
        assert_eq!(parse("delay@champion"), ("delay", Some("champion")));
        assert_eq!(parse("delay/3"), ("delay", Some("3")));
        assert_eq!(parse("delay@"), ("delay@", None));
        assert_eq!(version("delay/3").map_err(|_| ()), Ok(("delay", 3)));
        assert!(version("delay").is_err() && version("delay/x").is_err());
    }
}
