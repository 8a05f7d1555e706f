//! Lists of runs: a page of a search with what was logged on each, as JSON that is ready to be sent.
//!
//! Whoever asks says which metrics, parameters and tags are wanted, and nothing else is read. What comes
//! is text and no records, since a list is shown far more often than it is computed with; for records see
//! [`facts`](super::facts). A page and all that is on it are one state of the database.

use std::collections::{BTreeMap, HashMap};

use rondo_core::run::{RunKind, RunRow};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params_from_iter};

use super::search::narrow::narrow;
use super::search::plan::{self, Piece, WIDTH};
use super::search::room::Kind;
use super::search::{Page, Query, Scalar, numbered};
use super::{Meta, cards, runs};
use crate::Error;

/// Which of a run's metrics, parameters or tags are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pick {
    /// All.
    #[default]
    All,
    /// Those with one of these keys; `*` stands for any text.
    Keys(Vec<String>),
}

impl Pick {
    fn is_nothing(&self) -> bool {
        *self == Self::Keys(Vec::new())
    }

    /// Whether a key is wanted.
    pub fn takes(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.iter().any(|pattern| matches(pattern, key)),
        }
    }
}

/// What of each run is wanted beside its own columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Metrics.
    pub metrics: Pick,
    /// Parameters.
    pub params: Pick,
    /// Tags.
    pub tags: Pick,
    /// Records of inputs and outputs.
    pub inputs: bool,
}

impl Default for Select {
    fn default() -> Self {
        Self { metrics: Pick::All, params: Pick::All, tags: Pick::All, inputs: true }
    }
}

/// A run in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// 32 hex characters.
    pub id: String,
    /// The experiment.
    pub experiment: i64,
    /// Where the experiment's artifacts are.
    pub location: String,
    /// Its name.
    pub name: String,
    /// Its state, in MLflow's word.
    pub status: String,
    /// Who made it; may be empty.
    pub user: String,
    /// The run above it.
    pub parent: Option<String>,
    /// Its start.
    pub started: i64,
    /// Its end.
    pub ended: Option<i64>,
    /// Whether it has been deleted (softly).
    pub deleted: bool,
    /// Whether a client of the tracking protocol made it.
    pub of_client: bool,
    /// Whether a client took away the tag that the name also is.
    pub untagged: bool,
    /// The newest of each metric: a JSON list of `key`, `value`, `timestamp`, `step`.
    pub metrics: String,
    /// Parameters: a JSON list of `key`, `value`.
    pub params: String,
    /// Tags: a JSON list of `key`, `value`; the name is a column and no tag here.
    pub tags: String,
    /// Records of inputs and outputs as JSON, by their kind, such as `dataset`.
    pub inputs: BTreeMap<String, Vec<String>>,
}

/// The places of what a search found, before anything of it is read.
type Found<T> = (Vec<T>, Option<Vec<Scalar>>);

impl Meta {
    /// A page of runs that match, with what was logged on them. Nothing when the page's start does not
    /// belong to this order.
    ///
    /// # Errors
    /// When the database cannot be read, or the search takes too long.
    pub async fn list_runs(&self, query: &Query, select: &Select) -> Result<Option<Page<Listed>>, Error> {
        let Some(plan) = plan::page(query) else { return Ok(None) };
        let (asked, select) = (query.clone(), select.clone());
        let read = self.finder().read(query.patience, move |connection| {
            let state = connection.unchecked_transaction()?;
            let narrowed = narrow(&state, &asked, false)?;
            let among = narrowed.among.and_then(|among| plan::page_among(&asked, &among));
            let (mut items, next) = found(&state, &among.unwrap_or(plan).pieces, asked.limit, listed)?;
            let missed = fill(&state, &mut items, &select)?;
            Ok((items, next, missed, narrowed.unpacked))
        });
        let (items, next, missed, unpacked) = read.await?;
        self.make_cards(missed);
        self.make_packs(unpacked);
        Ok(Some(Page { items, next }))
    }

    /// The rows of runs that match, a page of them. Nothing when the page's start does not belong to this
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read, or the search takes too long.
    pub async fn search_runs(&self, query: &Query) -> Result<Option<Page<RunRow>>, Error> {
        let Some(plan) = plan::page(query) else { return Ok(None) };
        let asked = query.clone();
        let read = self.finder().read(query.patience, move |connection| {
            let state = connection.unchecked_transaction()?;
            let narrowed = narrow(&state, &asked, false)?;
            let among = narrowed.among.and_then(|among| plan::page_among(&asked, &among));
            let ids = found(&state, &among.unwrap_or(plan).pieces, asked.limit, |row| Ok(row.get(0)?))?;
            Ok((ids, narrowed.unpacked))
        });
        let ((ids, next), unpacked): (Found<String>, _) = read.await?;
        self.make_packs(unpacked);
        let rows = sqlx::query("SELECT * FROM run WHERE id IN (SELECT value FROM json_each($1))")
            .bind(super::encode("runs", "list", &ids)?)
            .fetch_all(self.readers())
            .await?;
        let mut by_id = HashMap::with_capacity(rows.len());
        for row in &rows {
            let run = runs::read(row)?;
            by_id.insert(run.id.hex(), run);
        }
        Ok(Some(Page { items: ids.iter().filter_map(|id| by_id.remove(id)).collect(), next }))
    }

    /// How many runs match; the page and the order of the query do not matter.
    ///
    /// # Errors
    /// When the database cannot be read, or it takes too long.
    pub async fn count_runs(&self, query: &Query) -> Result<u64, Error> {
        let asked = query.clone();
        let counted = self.finder().read(query.patience, move |connection| {
            let state = connection.unchecked_transaction()?;
            let narrowed = narrow(&state, &asked, true)?;
            let sql = plan::count(&asked, narrowed.among.as_deref());
            let mut statement = state.prepare_cached(&numbered(&sql.text))?;
            let count: i64 = statement.query_row(params_from_iter(&sql.binds), |row| row.get(0))?;
            Ok((u64::try_from(count).unwrap_or_default(), narrowed.unpacked))
        });
        let (count, unpacked) = counted.await?;
        self.make_packs(unpacked);
        Ok(count)
    }
}

/// Does the pieces of a search until the page is full: its rows, and where it ended when more comes.
fn found<T>(
    connection: &Connection,
    pieces: &[Piece],
    limit: u32,
    read: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Found<T>, Error> {
    let limit = limit as usize;
    let mut items = Vec::new();
    let mut place = None;
    for piece in pieces {
        let wanted = Scalar::Int((limit + 1 - items.len()) as i64);
        // The last value is how many rows are wanted.
        let binds = piece.sql.binds.split_last().map_or(&[][..], |(_, others)| others);
        let binds = binds.iter().chain(std::iter::once(&wanted));
        let mut statement = connection.prepare_cached(&numbered(&piece.sql.text))?;
        let mut rows = statement.query(params_from_iter(binds))?;
        while let Some(row) = rows.next()? {
            if items.len() == limit {
                return Ok((items, place));
            }
            items.push(read(row)?);
            if items.len() == limit {
                place = Some(keys(row, &piece.kinds)?);
            }
        }
    }
    Ok((items, None))
}

fn keys(row: &Row<'_>, kinds: &[Kind]) -> Result<Vec<Scalar>, Error> {
    let key = |(index, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Int => Scalar::Int(row.get(WIDTH + index)?),
            Kind::Real => Scalar::Real(row.get(WIDTH + index)?),
            Kind::Text => Scalar::Text(row.get(WIDTH + index)?),
        })
    };
    kinds.iter().enumerate().map(key).collect()
}

/// The columns of [`plan::COLUMNS`].
fn listed(row: &Row<'_>) -> Result<Listed, Error> {
    Ok(Listed {
        id: row.get(0)?,
        experiment: row.get(1)?,
        name: row.get(2)?,
        status: row.get(3)?,
        user: row.get(4)?,
        parent: row.get(5)?,
        started: row.get(6)?,
        ended: row.get(7)?,
        deleted: row.get(8)?,
        of_client: row.get_ref(9)?.as_str().ok() == Some(RunKind::Client.text()),
        untagged: row.get(10)?,
        ..Listed::default()
    })
}

/// Reads what was logged on each run; answers which ended runs have no card.
fn fill(connection: &Connection, runs: &mut [Listed], select: &Select) -> Result<Vec<String>, Error> {
    let families = [&select.metrics, &select.params, &select.tags];
    let mut card = connection.prepare_cached("SELECT metrics, params, tags FROM run_card WHERE run = ?1")?;
    let mut lists = Vec::with_capacity(3);
    for ((pick, all), table) in
        families.into_iter().zip([cards::METRICS, cards::PARAMS, cards::TAGS]).zip(["metric", "param", "tag"])
    {
        lists.push(List::new(connection, pick, all, table)?);
    }
    let mut inputs =
        connection.prepare_cached("SELECT kind, record FROM run_input WHERE run = ?1 ORDER BY kind, key")?;
    let mut location = connection.prepare_cached("SELECT artifact_location FROM experiment WHERE id = ?1")?;
    let mut locations: HashMap<i64, String> = HashMap::new();
    let wants_card = families.contains(&&Pick::All);
    let mut missed = Vec::new();
    for run in runs {
        let Listed { id, metrics, params, tags, .. } = run;
        let mut texts = [metrics, params, tags];
        let mut has_card = false;
        if wants_card {
            let mut rows = card.query([&*id])?;
            if let Some(row) = rows.next()? {
                has_card = true;
                for (index, (text, pick)) in texts.iter_mut().zip(families).enumerate() {
                    if *pick == Pick::All {
                        text.push_str(row.get_ref(index)?.as_str().unwrap_or_default());
                    }
                }
            } else if matches!(run.status.as_str(), "FINISHED" | "FAILED" | "KILLED") {
                missed.push(id.clone());
            }
        }
        for ((text, list), pick) in texts.into_iter().zip(&mut lists).zip(families) {
            if !(has_card && *pick == Pick::All) {
                list.read(id, text)?;
            }
        }
        if select.inputs {
            let mut rows = inputs.query([&*id])?;
            while let Some(row) = rows.next()? {
                run.inputs.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
        }
        run.location = match locations.get(&run.experiment) {
            Some(known) => known.clone(),
            None => {
                let found: Option<String> =
                    location.query_row([run.experiment], |row| row.get(0)).optional()?;
                locations.entry(run.experiment).or_insert(found.unwrap_or_default()).clone()
            }
        };
    }
    Ok(missed)
}

/// What reads one family of what was logged, for one run after the other.
struct List<'c> {
    statement: Option<CachedStatement<'c>>,
    keys: Vec<String>,
}

impl<'c> List<'c> {
    fn new(connection: &'c Connection, pick: &Pick, all: &str, family: &str) -> Result<Self, Error> {
        if pick.is_nothing() {
            return Ok(Self { statement: None, keys: Vec::new() });
        }
        let (text, keys) = match pick {
            Pick::All => (all.to_owned(), Vec::new()),
            Pick::Keys(keys) => {
                let (patterns, exact): (Vec<&String>, Vec<&String>) =
                    keys.iter().partition(|key| key.contains('*'));
                let globs: Vec<String> = patterns.into_iter().map(|pattern| glob(pattern)).collect();
                let mut text = format!("{all} AND (x.key IN (SELECT value FROM json_each($2))");
                let mut keys = vec![super::encode("keys", family, &exact)?];
                if !globs.is_empty() {
                    text.push_str(" OR (SELECT 1 FROM json_each($3) WHERE x.key GLOB value LIMIT 1)");
                    keys.push(super::encode("keys", family, &globs)?);
                }
                text.push(')');
                (text, keys)
            }
        };
        Ok(Self { statement: Some(connection.prepare_cached(&numbered(&text))?), keys })
    }

    fn read(&mut self, run: &str, into: &mut String) -> Result<(), Error> {
        let Some(statement) = &mut self.statement else {
            into.push_str("[]");
            return Ok(());
        };
        let binds = std::iter::once(run).chain(self.keys.iter().map(String::as_str));
        let mut rows = statement.query(params_from_iter(binds))?;
        if let Some(row) = rows.next()? {
            match row.get_ref(0)? {
                ValueRef::Text(text) => into.push_str(&String::from_utf8_lossy(text)),
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => {}
            }
        }
        Ok(())
    }
}

/// A pattern with `*` as SQLite's GLOB has it.
fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '?' | '[' => glob.extend(['[', c, ']']),
            other => glob.push(other),
        }
    }
    glob
}

/// Whether a key is like a pattern, where `*` stands for any text.
fn matches(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| key.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}
