//! The catalogue of columns: what a table of an experiment's runs can show, a page at a time.
//!
//! Twelve thousand metrics are no reason for twelve thousand columns: whoever shows a table asks which
//! there are, and then for those that are wanted.

use rondo_store::meta::columns::{self, Column, Kind};

use crate::{Error, Tracking, limits};

/// Columns of a page, at most.
pub const PAGE_MAX: i64 = 1_000;

/// A page of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// By key.
    pub columns: Vec<Column>,
    /// The key to go on after, where more comes.
    pub next: Option<String>,
    /// How many of the newest runs were looked at, at most.
    pub looked_at: i64,
}

impl Tracking {
    /// The columns of one kind, those whose key contains a text and comes after a key.
    ///
    /// # Errors
    /// When there is no such experiment, or the page is out of bounds.
    pub async fn columns(
        &self,
        experiment: &str,
        kind: Kind,
        containing: &str,
        after: &str,
        limit: i64,
    ) -> Result<Catalogue, Error> {
        if !(1..=PAGE_MAX).contains(&limit) {
            let reason = format!("it must be from 1 to {PAGE_MAX}");
            return Err(limits::invalid("limit", &limit.to_string(), &reason));
        }
        let experiment = self.experiment(experiment).await?.id;
        let mut found = self.meta().columns(experiment, kind, containing, after, limit + 1).await?;
        let more = found.len() as i64 > limit;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|column| column.key.clone());
        Ok(Catalogue { columns: found, next, looked_at: columns::RUNS })
    }
}
