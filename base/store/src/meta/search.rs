//! Searches: a condition, an order and a page, turned into SQL.
//!
//! The text of a search is made here alone, from words that this program knows; whatever a user wrote is
//! a bound parameter. A page ends with the values of its last row's sort keys and the next one begins
//! after them, so that a deep page costs what the first does and no row is skipped while others are
//! written. This is no parser: what a filter's text means is the tracking stage's to say.

mod finder;
pub(crate) mod narrow;
pub(crate) mod plan;
pub(crate) mod room;
mod sql;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Meta;
use super::experiments::{self, Experiment};
use crate::Error;
pub(crate) use finder::{Finder, numbered};
use sql::Sql;
pub(super) use sql::glob;

/// After how many of SQLite's instructions the clock is looked at.
pub(in crate::meta) const TICK: i32 = 1000;
/// How long a search may take, unless it is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Runs.
    Runs,
    /// Experiments.
    Experiments,
    /// Models that clients logged.
    LoggedModels,
    /// Registered models.
    Models,
    /// Versions of registered models.
    Versions,
}

/// A column of what is searched, in the words of MLflow's protocol. Not every room has every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// Its id.
    Id,
    /// Its name.
    Name,
    /// Who made it.
    User,
    /// Its status.
    Status,
    /// Where its artifacts are.
    ArtifactUri,
    /// Its start.
    Started,
    /// Its end.
    Ended,
    /// When it was made.
    Created,
    /// When it was last changed.
    Updated,
    /// The run above it.
    Parent,
    /// Its type, of a logged model.
    Type,
    /// The run that made it, of a model.
    SourceRun,
    /// Its number, of a version.
    Number,
    /// Where a version was made from.
    Source,
}

/// What a test looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A column.
    Attribute(Attribute),
    /// The newest value of a metric; with scopes only those measured on one of these datasets.
    Metric(String, Vec<Scope>),
    /// Any metric that was measured on one of these datasets; it is there or not, and orders nothing.
    Measured(Vec<Scope>),
    /// A parameter.
    Param(String),
    /// A tag.
    Tag(String),
    /// A dataset among the inputs.
    Dataset(DatasetPart),
}

/// A dataset that a metric was measured on: its name, its digest or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Its name, where one was given.
    pub name: Option<String>,
    /// Its digest, where one was given.
    pub digest: Option<String>,
}

/// A part of what is known of a dataset among a run's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetPart {
    /// Its name.
    Name,
    /// Its digest.
    Digest,
    /// What it was used for, such as `training`.
    Context,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(String),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// What must hold of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It compares so with a value.
    Compare(Comparison, Scalar),
    /// It is like a pattern (`%` any text, `_` any character).
    Like {
        /// The pattern.
        pattern: String,
        /// Whether upper and lower case are one.
        ignore_case: bool,
    },
    /// It is one of these.
    In(Vec<Scalar>),
    /// It is there, but none of these.
    NotIn(Vec<Scalar>),
    /// It is not there.
    Absent,
    /// It is there.
    Present,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of these; of none, everything matches.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// A test.
    Test(Field, Test),
}

impl Default for Condition {
    /// Everything matches.
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// One key of an order. What lacks the field comes last, NaN just before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// By what.
    pub field: Field,
    /// Greatest first.
    pub descending: bool,
}

/// Which of the living and the (softly) deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The living.
    #[default]
    Active,
    /// The deleted.
    Deleted,
    /// Both.
    All,
}

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is searched.
    pub room: Room,
    /// Only in these experiments; nothing for all.
    pub experiments: Option<Vec<i64>>,
    /// The living or the deleted.
    pub view: View,
    /// What must hold.
    pub filter: Condition,
    /// In which order; the room's own order comes after it.
    pub order: Vec<Order>,
    /// At most so many.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Vec<Scalar>>,
    /// How long it may take.
    pub patience: Duration,
}

impl Query {
    /// Everything living in a room.
    pub const fn all(room: Room, limit: u32) -> Self {
        Self {
            room,
            experiments: None,
            view: View::Active,
            filter: Condition::All(Vec::new()),
            order: Vec::new(),
            limit,
            after: None,
            patience: PATIENCE,
        }
    }
}

/// A page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where the page ended, where more comes.
    pub next: Option<Vec<Scalar>>,
}

impl Meta {
    /// Experiments that match, a page of them. Nothing when the page's start does not belong to this order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_experiments(&self, query: &Query) -> Result<Option<Page<Experiment>>, Error> {
        let Some(mut page) = self.search(Room::Experiments, query, experiments::read).await? else {
            return Ok(None);
        };
        let ids: Vec<i64> = page.items.iter().map(|experiment| experiment.id).collect();
        let rows = sqlx::query(
            "SELECT experiment, key, value FROM experiment_tag
             WHERE experiment IN (SELECT value FROM json_each($1))",
        )
        .bind(super::encode("experiments", "list", &ids)?)
        .fetch_all(self.readers())
        .await?;
        let mut tags: HashMap<i64, BTreeMap<String, String>> = HashMap::new();
        for row in &rows {
            let of = tags.entry(row.try_get("experiment")?).or_default();
            of.insert(row.try_get("key")?, row.try_get("value")?);
        }
        for experiment in &mut page.items {
            experiment.tags = tags.remove(&experiment.id).unwrap_or_default();
        }
        Ok(Some(page))
    }

    pub(super) async fn search<T>(
        &self,
        room: Room,
        query: &Query,
        read: impl Fn(&SqliteRow) -> Result<T, Error>,
    ) -> Result<Option<Page<T>>, Error> {
        let query = Query { room, ..query.clone() };
        let Some((sql, keys)) = Sql::search(&query) else { return Ok(None) };
        // The text is this module's own; all that a user wrote is bound.
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(sql.text));
        for value in sql.binds {
            statement = match value {
                Scalar::Int(value) => statement.bind(value),
                Scalar::Real(value) => statement.bind(value),
                Scalar::Text(value) => statement.bind(value),
            };
        }
        let mut connection = self.readers().acquire().await?;
        let clock = Clock::start(query.patience);
        let ticks = clock.ticks();
        connection.lock_handle().await?.set_progress_handler(TICK, ticks);
        let found = statement.fetch_all(&mut *connection).await;
        connection.lock_handle().await?.remove_progress_handler();
        let mut rows = match found {
            Err(_) if clock.over() => return Err(Error::TooLong { limit: query.patience }),
            found => found?,
        };
        let limit = query.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => {
                let values = keys.iter().enumerate().map(|(index, key)| key.read(last, index));
                Some(values.collect::<Result<_, _>>()?)
            }
            Some(_) | None => None,
        };
        let items = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(Page { items, next }))
    }
}

/// What ends a search on a connection that others use too: when this is gone, it ends nothing any more.
pub(in crate::meta) struct Clock {
    end: Instant,
    runs: Arc<AtomicBool>,
}

impl Clock {
    pub(in crate::meta) fn start(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, runs: Arc::new(AtomicBool::new(true)) }
    }

    pub(in crate::meta) fn over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// What SQLite asks from time to time: whether to go on.
    pub(in crate::meta) fn ticks(&self) -> impl FnMut() -> bool + Send + use<> {
        let (end, runs) = (self.end, Arc::clone(&self.runs));
        move || !runs.load(Ordering::Relaxed) || Instant::now() < end
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.runs.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
