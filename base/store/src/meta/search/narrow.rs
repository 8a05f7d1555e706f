//! Which runs of large experiments can match a filter at all, told without looking at each.
//!
//! Two things tell: the packs (see [`packs`]) of conditions on parameters, tags and names, and the index by
//! value of conditions on metrics. What is told here may name runs that do not match, never the other way
//! round; the search tests each again. A filter that most runs match is better walked: the page is full
//! after a few steps. So the cost of both is guessed, from the newest packs first, and the lesser is taken.
//!
//! SQL that only SQLite has: `INDEXED BY`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{Attribute, Comparison, Condition, Field, Query, Scalar, Test, plan};
use crate::Error;
use crate::meta::packs::{self, NAME, RUNS};
use crate::meta::runs::RUN_NAME;

/// Bytes of a pattern times bytes of a value, beyond which a comparison takes long.
const LONG: usize = 1 << 18;
/// Runs that are looked at one by one before packs are asked for.
const LOOSE: usize = 4 * RUNS;
/// Runs beyond which those without a pack are too many.
const LOOSE_MAX: usize = 2 * LOOSE;
/// Packs from which is guessed how many runs match.
const SAMPLE: usize = if cfg!(test) { 2 } else { 8 };
/// Steps of a walk that are not worth looking at more packs.
const SHORT_WALK: usize = if cfg!(test) { 4 } else { 1_000 };
/// Runs that are named one by one at most.
const NAMED_MAX: usize = 50_000;
/// Runs that are taken from the index of a metric's values at most.
const METRIC_MAX: usize = 4_096;

/// What is known of the runs that can match.
#[derive(Default)]
pub(crate) struct Narrowed {
    /// They are among these, where that is better than to walk.
    pub(crate) among: Option<Vec<String>>,
    /// Experiments with runs to be packed, and how many have no pack.
    pub(crate) unpacked: Vec<(i64, usize)>,
}

/// Looks which runs can match. `counts` says that all that match are wanted, and not a page.
pub(crate) fn narrow(connection: &Connection, query: &Query, counts: bool) -> Result<Narrowed, Error> {
    let mut narrowed = Narrowed::default();
    let Some(experiments) = plan::few(query) else { return Ok(narrowed) };
    let metrics = metrics(&query.filter, query);
    if !told_by_packs(&query.filter) && metrics.is_empty() {
        return Ok(narrowed);
    }
    let (mut loose, mut total) = (0, 0);
    let mut packed = Vec::new();
    for experiment in &experiments {
        let count = loose_runs(connection, *experiment)?;
        let of = packs_of(connection, *experiment)?;
        loose += count;
        total += count + of.len() * RUNS;
        if count >= LOOSE || (count >= 2 * RUNS && !of.is_empty()) {
            narrowed.unpacked.push((*experiment, count));
        }
        packed.extend(of);
    }
    if total < LOOSE {
        return Ok(narrowed);
    }
    let cost = Cost { total, limit: query.limit as usize, walks: !counts && plan::walks(query) };
    let mut among = match loose <= LOOSE_MAX {
        true => Packs::new(connection)?.among(&packed, &query.filter, &cost)?,
        false => None,
    };
    if let Some(among) = &mut among {
        for experiment in &experiments {
            unpacked(connection, *experiment, among)?;
        }
    }
    let mut among = among.filter(|among| cost.pays(among.len()));
    for (key, comparison, value) in metrics {
        let most = among.as_ref().map_or(METRIC_MAX, BTreeSet::len).min(METRIC_MAX);
        let found = by_metric(connection, &experiments, key, comparison, value, most)?;
        among = found.filter(|found| cost.pays(found.len())).or(among);
    }
    narrowed.among = among.map(|among| among.into_iter().collect());
    Ok(narrowed)
}

/// What a search costs, in runs that are looked at.
struct Cost {
    total: usize,
    limit: usize,
    /// Whether a walk can end before its end.
    walks: bool,
}

impl Cost {
    /// The steps of a walk, where so many of so many match.
    fn walk(&self, matching: usize, of: usize) -> usize {
        if !self.walks {
            return self.total;
        }
        (self.limit.saturating_mul(of) / matching.max(1)).min(self.total)
    }

    /// Whether to look at these runs is better than to walk. A run that is looked up costs about twice one
    /// that is passed by.
    fn pays(&self, runs: usize) -> bool {
        runs <= NAMED_MAX && runs.saturating_mul(2) < self.walk(runs, self.total)
    }
}

/// How many runs of an experiment have no pack; more than can be looked at one by one are not counted.
pub(crate) fn loose_runs(connection: &Connection, experiment: i64) -> Result<usize, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT COUNT(*) FROM (SELECT 1 FROM run INDEXED BY run_unpacked
         WHERE experiment = ?1 AND pack IS NULL LIMIT ?2)",
    )?;
    let count: i64 = statement.query_row(params![experiment, LOOSE_MAX as i64 + 1], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// The packs of an experiment, the newest first.
fn packs_of(connection: &Connection, experiment: i64) -> Result<Vec<i64>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM pack WHERE experiment = ?1 ORDER BY id DESC")?;
    let ids = statement.query_map([experiment], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Adds the runs of an experiment that have no pack.
fn unpacked(connection: &Connection, experiment: i64, into: &mut BTreeSet<String>) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM run INDEXED BY run_unpacked WHERE experiment = ?1 AND pack IS NULL",
    )?;
    for id in statement.query_map([experiment], |row| row.get(0))? {
        into.insert(id?);
    }
    Ok(())
}

/// The runs whose metric passes; nothing when they are more.
fn by_metric(
    connection: &Connection,
    experiments: &[i64],
    key: &str,
    comparison: Comparison,
    value: f64,
    most: usize,
) -> Result<Option<BTreeSet<String>>, Error> {
    // The comparison's sign is this module's own.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT run FROM metric_latest INDEXED BY metric_by_value
         WHERE experiment = ?1 AND key = ?2 AND is_nan = 0 AND value {} ?3 LIMIT ?4",
        comparison.sql()
    ))?;
    let mut found = BTreeSet::new();
    for experiment in experiments {
        let mut rows = statement.query(params![experiment, key, value, most as i64])?;
        while let Some(row) = rows.next()? {
            found.insert(row.get(0)?);
            if found.len() >= most {
                return Ok(None);
            }
        }
    }
    Ok(Some(found))
}

/// The tests of metrics that must hold, but for those of the metric by which is walked: they bound the walk.
fn metrics<'q>(condition: &'q Condition, query: &Query) -> Vec<(&'q str, Comparison, f64)> {
    let walked = |key: &str| match query.order.first().map(|order| &order.field) {
        Some(Field::Metric(first, _)) => first == key,
        Some(_) | None => false,
    };
    match condition {
        Condition::All(parts) => parts.iter().flat_map(|part| metrics(part, query)).collect(),
        Condition::Test(Field::Metric(key, scopes), Test::Compare(comparison, Scalar::Real(value)))
            if scopes.is_empty() && *comparison != Comparison::NotEqual && !walked(key) =>
        {
            vec![(key, *comparison, *value)]
        }
        Condition::Any(_) | Condition::Not(_) | Condition::Test(..) => Vec::new(),
    }
}

/// The field of packs that a test looks at, where packs have it.
fn field(field: &Field) -> Option<String> {
    match field {
        Field::Param(key) => Some(packs::param(key)),
        Field::Tag(key) if key != RUN_NAME => Some(packs::tag(key)),
        Field::Attribute(Attribute::Name) => Some(NAME.to_owned()),
        Field::Tag(_) | Field::Attribute(_) | Field::Metric(..) | Field::Measured(_) | Field::Dataset(_) => {
            None
        }
    }
}

/// Whether packs can tell of some runs that they do not match.
fn told_by_packs(condition: &Condition) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().any(told_by_packs),
        Condition::Any(parts) => parts.iter().all(told_by_packs),
        Condition::Not(_) => false,
        Condition::Test(of, test) => field(of).is_some() && may_pass(of, test, "").is_some(),
    }
}

/// Reads packs.
struct Packs<'c> {
    runs: CachedStatement<'c>,
    cells: CachedStatement<'c>,
}

impl<'c> Packs<'c> {
    fn new(connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self {
            runs: connection.prepare_cached("SELECT runs FROM pack WHERE id = ?1")?,
            cells: connection
                .prepare_cached("SELECT cells FROM pack_column WHERE pack = ?1 AND field = ?2")?,
        })
    }

    /// The runs in packs that can match; nothing when packs do not tell or they are not worth looking for.
    fn among(
        &mut self,
        packed: &[i64],
        filter: &Condition,
        cost: &Cost,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let (mut found, mut seen) = (BTreeSet::new(), 0);
        for (index, pack) in packed.iter().enumerate() {
            let runs: Option<Vec<u8>> = self.runs.query_row([pack], |row| row.get(0)).optional()?;
            let runs = runs.unwrap_or_default();
            let ids = runs.chunks_exact(16);
            seen += ids.len();
            let Some(mask) = self.mask(*pack, ids.len(), filter)? else { return Ok(None) };
            found.extend(ids.zip(mask).filter(|(_, passes)| *passes).map(|(id, _)| hex::encode(id)));
            let sampled = index + 1 == SAMPLE && cost.walks && cost.walk(found.len(), seen) <= SHORT_WALK;
            if sampled || found.len() > NAMED_MAX {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Which runs of a pack can match; nothing when it cannot tell.
    fn mask(&mut self, pack: i64, runs: usize, condition: &Condition) -> Result<Option<Vec<bool>>, Error> {
        match condition {
            Condition::All(parts) => {
                let mut all: Option<Vec<bool>> = None;
                for part in parts {
                    let mask = self.mask(pack, runs, part)?;
                    all = match (all, mask) {
                        (Some(a), Some(b)) => Some(a.into_iter().zip(b).map(|(a, b)| a && b).collect()),
                        (a, b) => a.or(b),
                    };
                }
                Ok(all)
            }
            Condition::Any(parts) => {
                let mut any = vec![false; runs];
                for part in parts {
                    let Some(mask) = self.mask(pack, runs, part)? else { return Ok(None) };
                    any.iter_mut().zip(mask).for_each(|(any, passes)| *any |= passes);
                }
                Ok(Some(any))
            }
            Condition::Not(_) => Ok(None),
            Condition::Test(of, test) => {
                let Some(field) = field(of).filter(|_| may_pass(of, test, "").is_some()) else {
                    return Ok(None);
                };
                let mut rows = self.cells.query(params![pack, field])?;
                let passes = |text: &str| may_pass(of, test, text).unwrap_or(true);
                let mask = match rows.next()? {
                    Some(row) => packs::passing(row.get_ref(0)?.as_blob().unwrap_or_default(), runs, passes),
                    None => Some(vec![false; runs]),
                };
                Ok(mask)
            }
        }
    }
}

/// Whether a value can pass a test; nothing where that is not told here, whatever the value. What passes in
/// the database passes here.
fn may_pass(field: &Field, test: &Test, text: &str) -> Option<bool> {
    let numbers = matches!(field, Field::Param(_));
    match test {
        Test::Compare(comparison, Scalar::Text(value)) => Some(compares(*comparison, text.cmp(value))),
        Test::Compare(comparison, value) if numbers => Some(near(*comparison, text, real(value)?)),
        Test::In(values) | Test::NotIn(values) if values.iter().all(|v| matches!(v, Scalar::Text(_))) => {
            let known = values.iter().any(|value| matches!(value, Scalar::Text(value) if value == text));
            Some(known == matches!(test, Test::In(_)))
        }
        Test::In(values) if numbers && values.iter().all(|value| real(value).is_some()) => {
            Some(values.iter().filter_map(real).any(|value| near(Comparison::Equal, text, value)))
        }
        Test::Like { pattern, ignore_case } => Some(
            // Of long ones the database tells, which has a clock.
            pattern.len().saturating_mul(text.len()) > LONG || like(pattern, text, *ignore_case),
        ),
        Test::Present => Some(true),
        Test::Absent | Test::Compare(..) | Test::In(_) | Test::NotIn(_) => None,
    }
}

fn compares(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

fn real(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Real(value) => Some(*value),
        Scalar::Text(_) => None,
    }
}

/// Whether a text that reads as a number compares so with a value, or very nearly: the database reads
/// numbers with its own rounding.
fn near(comparison: Comparison, text: &str, value: f64) -> bool {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    // The words for infinity and for what is no number are texts to the database.
    if !text.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let Ok(number) = text.parse::<f64>() else { return false };
    let slack = value.abs().max(number.abs()).min(f64::MAX / 2.0) * 1e-13 + f64::MIN_POSITIVE;
    match comparison {
        Comparison::Equal => number == value || (number - value).abs() <= slack,
        Comparison::NotEqual => true,
        Comparison::Less | Comparison::LessOrEqual => number <= value || number - slack <= value,
        Comparison::Greater | Comparison::GreaterOrEqual => number >= value || number + slack >= value,
    }
}

/// Whether a text is like a pattern of `%` (any text) and `_` (any character). Case is that of ASCII.
fn like(pattern: &str, text: &str, ignore_case: bool) -> bool {
    // The database sees a text end at its first NUL here.
    if text.contains('\0') || pattern.contains('\0') {
        return true;
    }
    let same = |a: char, b: char| a == b || (ignore_case && a.eq_ignore_ascii_case(&b));
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when what was tried after the last `%` does not fit.
    let mut again = None;
    loop {
        let (mut next_pattern, mut next_text) = (pattern.clone(), text.clone());
        let fits = match (next_pattern.next(), next_text.next()) {
            (None, None) => return true,
            (Some('%'), _) => {
                again = Some((next_pattern.clone(), text.clone()));
                pattern = next_pattern;
                continue;
            }
            (Some('_'), Some(_)) => true,
            (Some(wanted), Some(found)) => same(wanted, found),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            (pattern, text) = (next_pattern, next_text);
            continue;
        }
        let Some((after, from)) = &mut again else { return false };
        if from.next().is_none() {
            return false;
        }
        (pattern, text) = (after.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn database() -> Connection {
        let database = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE t (value TEXT, number REAL GENERATED ALWAYS AS (value) VIRTUAL)";
        database.execute_batch(table).unwrap();
        database
    }

    proptest! {
        #[test]
        fn likeness_is_the_databases(pattern in "[ab%_é]{0,6}", text in "[abAé]{0,6}") {
            let database = Connection::open_in_memory().unwrap();
            let ask = |sql: &str, pattern: &str| -> bool {
                database.query_row(sql, [text.as_str(), pattern], |row| row.get(0)).unwrap()
            };
            prop_assert_eq!(like(&pattern, &text, true), ask("SELECT LOWER(?1) LIKE LOWER(?2)", &pattern));
            let glob = super::super::glob(&pattern);
            prop_assert_eq!(like(&pattern, &text, false), ask("SELECT ?1 GLOB ?2", &glob));
        }

        #[test]
        fn what_compares_in_the_database_may_pass(
            text in prop_oneof![
                "[ \t]?[+-]?[0-9]{0,18}[.]?[0-9]{0,18}(e[+-]?[0-9]{1,3})?[ x]?",
                any::<f64>().prop_map(|value| value.to_string()),
                Just("inf".to_owned()), Just("0x10".to_owned()), Just("nan".to_owned()),
            ],
            other in prop_oneof![any::<f64>(), -3.0..3.0f64], own in any::<bool>(),
        ) {
            let value = if own { text.trim().parse().unwrap_or(other) } else { other };
            prop_assume!(!value.is_nan());
            let database = database();
            database.execute("INSERT INTO t VALUES (?1)", [&text]).unwrap();
            for comparison in [
                Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::LessOrEqual,
                Comparison::Greater, Comparison::GreaterOrEqual,
            ] {
                let sql = format!(
                    "SELECT COUNT(*) FROM t WHERE typeof(number) = 'real' AND number {} ?1", comparison.sql());
                let passes: bool = database.query_row(&sql, [value], |row| row.get(0)).unwrap();
                prop_assert!(!passes || near(comparison, &text, value), "{text:?} {comparison:?} {value:?}");
            }
        }
    }
}
