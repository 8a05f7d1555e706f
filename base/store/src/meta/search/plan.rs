//! How a search of runs walks: so that a page costs what is on it, however many runs there are.
//!
//! The default order is that of an index within an experiment, and so is the order by a metric; of several
//! experiments each is walked by itself and the walks are merged. By a metric there are three walks, one
//! after the other: runs with a number, runs with NaN, runs without the metric. The second and the third
//! begin only when the page is not yet full. Any other order has to look at all runs. Where it is known
//! among which runs what matches is (see [`narrow`](super::narrow)), only those are looked at.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::room::Kind;
use super::sql::{Key, Sql, columns, fits, order_by};
use super::{Attribute, Comparison, Condition, Field, Order, Query, Room, Scalar, Test, View};

/// How many experiments are walked by themselves at most; of more, all runs are looked at and sorted.
const BRANCHES: usize = 40;

/// The columns of a run that come before those of the keys.
pub(crate) const COLUMNS: &str = "r.id, r.experiment, r.name, r.state, r.user_name, r.parent, r.started, r.ended, r.deleted, r.kind, r.untagged";
/// How many these are.
pub(crate) const WIDTH: usize = 11;

/// The statements of a search, to be done one after the other until the page is full. The last value
/// bound to each is how many rows it gives at most.
pub(crate) struct Plan {
    pub(crate) pieces: Vec<Piece>,
}

/// A statement of a search.
pub(crate) struct Piece {
    pub(crate) sql: Sql,
    pub(crate) kinds: Vec<Kind>,
}

/// The walk along a metric: its key, greatest first or not.
struct Walk<'q> {
    metric: &'q str,
    descending: bool,
    rest: &'q [Order],
}

/// The plan of a page. Nothing when the page's start does not fit the order.
pub(crate) fn page(query: &Query) -> Option<Plan> {
    let few = few(query);
    match (query.order.split_first(), &few) {
        (Some((Order { field: Field::Metric(metric, scopes), descending }, rest)), Some(few))
            if scopes.is_empty() =>
        {
            by_metric(query, few, &Walk { metric, descending: *descending, rest })
        }
        _ => {
            let piece = plain(query, few.as_deref().filter(|_| natural(query)))?;
            Some(Plan { pieces: vec![piece] })
        }
    }
}

/// The plan of a page of a search whose runs are among these.
pub(crate) fn page_among(query: &Query, among: &[String]) -> Option<Plan> {
    let mut sql = Sql::new(Room::Runs, None);
    let (keys, mut conditions) = sorted(&mut sql, query)?;
    let from = named(&mut sql, among);
    conditions.extend(view(query.view).map(str::to_owned));
    let branch = filed(&mut sql, query);
    Some(Plan { pieces: vec![finish(sql, &from, &[branch], &conditions, keys)] })
}

/// The experiments, where they are few enough to be walked by themselves.
pub(crate) fn few(query: &Query) -> Option<Vec<i64>> {
    let ids: BTreeSet<i64> = query.experiments.as_ref()?.iter().copied().collect();
    (1..=BRANCHES).contains(&ids.len()).then(|| ids.into_iter().collect())
}

/// Whether a page of a search in few experiments is a walk that stops when it is full.
pub(crate) fn walks(query: &Query) -> bool {
    let by_metric = query
        .order
        .first()
        .is_some_and(|order| matches!(&order.field, Field::Metric(_, scopes) if scopes.is_empty()));
    by_metric || natural(query)
}

/// Whether the order begins as the experiments' own.
fn natural(query: &Query) -> bool {
    query.order.first().is_none_or(|order| order.field == Field::Attribute(Attribute::Started))
}

/// A statement that counts what matches, among these runs where they are said.
pub(crate) fn count(query: &Query, among: Option<&[String]>) -> Sql {
    let mut sql = Sql::new(Room::Runs, None);
    let from = among.map_or_else(|| "run r".to_owned(), |among| named(&mut sql, among));
    let mut conditions = vec![filed(&mut sql, query)];
    conditions.extend(view(query.view).map(str::to_owned));
    conditions.push(sql.condition(&query.filter));
    sql.text = format!("SELECT COUNT(*) FROM {from} WHERE {}", conditions.join(" AND "));
    sql
}

/// Runs by their ids, looked up one after the other.
fn named(sql: &mut Sql, among: &[String]) -> String {
    let ids: Vec<Scalar> = among.iter().map(|id| Scalar::Text(id.clone())).collect();
    format!("{} n CROSS JOIN run r ON r.id = n.value", sql.list(&ids))
}

/// That a run is filed under the experiments.
fn filed(sql: &mut Sql, query: &Query) -> String {
    let experiments = query.experiments.as_ref();
    experiments.map_or_else(|| "1 = 1".to_owned(), |ids| format!("r.experiment IN {}", sql.experiments(ids)))
}

const fn view(view: View) -> Option<&'static str> {
    match view {
        View::Active => Some("r.deleted = 0"),
        View::Deleted => Some("r.deleted = 1"),
        View::All => None,
    }
}

/// Runs from their own table, walked by experiment where that gives the order.
fn plain(query: &Query, walked: Option<&[i64]>) -> Option<Piece> {
    let mut sql = Sql::new(Room::Runs, None);
    let (keys, mut conditions) = sorted(&mut sql, query)?;
    let branches = match walked {
        Some(ids) => {
            // Tests of the start that all must hold bound the walk itself.
            for (comparison, value) in started(&query.filter) {
                let test = Test::Compare(comparison, Scalar::Int(value));
                conditions.push(sql.predicate("r.started", &test));
            }
            branches(&mut sql, ids, query.view)
        }
        None => {
            conditions.extend(view(query.view).map(str::to_owned));
            vec![filed(&mut sql, query)]
        }
    };
    Some(finish(sql, "run r", &branches, &conditions, keys))
}

/// The keys of the order, and the conditions of the filter and of the page's start.
fn sorted(sql: &mut Sql, query: &Query) -> Option<(Vec<Key>, Vec<String>)> {
    let mut keys = Vec::new();
    for order in &query.order {
        keys.extend(sql.order(order));
    }
    end(&mut keys);
    let mut conditions = vec![sql.condition(&query.filter)];
    if let Some(values) = &query.after {
        if !fits(&keys, values) {
            return None;
        }
        conditions.push(sql.after(&keys, values));
    }
    Some((keys, conditions))
}

/// The conditions of the walks along experiments, the living and the deleted each by themselves.
fn branches(sql: &mut Sql, experiments: &[i64], view: View) -> Vec<String> {
    let states: &[i64] = match view {
        View::Active => &[0],
        View::Deleted => &[1],
        View::All => &[0, 1],
    };
    let mut branches = Vec::new();
    for id in experiments {
        let id = sql.bind(Scalar::Int(*id));
        branches.extend(states.iter().map(|state| format!("r.experiment = {id} AND r.deleted = {state}")));
    }
    branches
}

fn by_metric(query: &Query, experiments: &[i64], walk: &Walk<'_>) -> Option<Plan> {
    let first = match query.after.as_deref() {
        None => 0,
        Some([Scalar::Int(rank @ 0..=2), ..]) => *rank,
        Some(_) => return None,
    };
    let mut pieces = Vec::new();
    for rank in first..=2 {
        let after = query.after.as_deref().filter(|_| rank == first);
        let only_numbers = rank > 0 && implies_number(&query.filter, walk.metric);
        if !only_numbers || after.is_some() {
            pieces.push(piece(query, experiments, walk, rank, after)?);
        }
    }
    Some(Plan { pieces })
}

/// One of the three walks: 0 of numbers, 1 of NaN, 2 of runs without the metric.
fn piece(
    query: &Query,
    experiments: &[i64],
    walk: &Walk<'_>,
    rank: i64,
    after: Option<&[Scalar]>,
) -> Option<Piece> {
    let mut sql = Sql::new(Room::Runs, (rank < 2).then_some("o.run"));
    let value = if rank == 0 { "o.value" } else { "0.0" };
    let mut keys = vec![
        Key { sql: rank.to_string(), kind: Kind::Int, descending: false, constant: true },
        Key { sql: value.to_owned(), kind: Kind::Real, descending: walk.descending, constant: rank != 0 },
    ];
    for order in walk.rest {
        keys.extend(sql.order(order));
    }
    end(&mut keys);
    if after.is_some_and(|values| !fits(&keys, values)) {
        return None;
    }
    let metric = sql.bind(Scalar::Text(walk.metric.to_owned()));
    let mut conditions = Vec::new();
    let branches = if rank == 2 {
        conditions
            .push(format!("(SELECT 1 FROM metric_latest x WHERE x.run = r.id AND x.key = {metric}) IS NULL"));
        branches(&mut sql, experiments, query.view)
    } else {
        let nan = rank == 1;
        let ids: Vec<String> = experiments.iter().map(|id| sql.bind(Scalar::Int(*id))).collect();
        let one = |id: String| {
            format!("o.experiment = {id} AND o.key = {metric} AND o.is_nan = {}", i64::from(nan))
        };
        let branches = ids.into_iter().map(one).collect();
        conditions.extend(view(query.view).map(str::to_owned));
        branches
    };
    if rank == 0 {
        // Tests of the metric that all must hold bound the walk itself.
        for (comparison, value) in bounds(&query.filter, walk.metric) {
            let test = Test::Compare(comparison, Scalar::Real(value));
            conditions.push(sql.predicate("o.value", &test));
        }
    }
    conditions.push(sql.condition(&query.filter));
    if let Some(values) = after {
        conditions.push(sql.after(&keys, values));
    }
    let from = if rank == 2 { "run r" } else { "metric_latest o CROSS JOIN run r ON r.id = o.run" };
    Some(finish(sql, from, &branches, &conditions, keys))
}

/// Ends the keys with the room's own order, each expression once.
fn end(keys: &mut Vec<Key>) {
    for key in Room::Runs.own_order(true) {
        if keys.iter().all(|known| known.sql != key.sql) {
            keys.push(key);
        }
    }
}

/// Writes the statement: a walk for each branch, merged in the order of the keys.
fn finish(mut sql: Sql, from: &str, branches: &[String], conditions: &[String], keys: Vec<Key>) -> Piece {
    let (shown, conditions) = (columns(&keys), conditions.join(" AND "));
    for (index, branch) in branches.iter().enumerate() {
        let with = if index == 0 { "" } else { " UNION ALL " };
        // Writing to a String cannot fail.
        let _ = write!(sql.text, "{with}SELECT {COLUMNS}{shown} FROM {from} WHERE {branch} AND {conditions}");
    }
    let limit = sql.bind(Scalar::Int(0));
    let _ = write!(sql.text, "{} LIMIT {limit}", order_by(&keys));
    Piece { sql, kinds: keys.iter().map(|key| key.kind).collect() }
}

/// The tests of a metric that hold of whatever matches.
fn bounds(condition: &Condition, metric: &str) -> Vec<(Comparison, f64)> {
    match condition {
        Condition::All(parts) => parts.iter().flat_map(|part| bounds(part, metric)).collect(),
        Condition::Test(Field::Metric(key, scopes), Test::Compare(comparison, Scalar::Real(value)))
            if key == metric && scopes.is_empty() && *comparison != Comparison::NotEqual =>
        {
            vec![(*comparison, *value)]
        }
        Condition::Any(_) | Condition::Not(_) | Condition::Test(..) => Vec::new(),
    }
}

/// The tests of the start that hold of whatever matches.
fn started(condition: &Condition) -> Vec<(Comparison, i64)> {
    match condition {
        Condition::All(parts) => parts.iter().flat_map(started).collect(),
        Condition::Test(
            Field::Attribute(Attribute::Started),
            Test::Compare(comparison, Scalar::Int(value)),
        ) if *comparison != Comparison::NotEqual => {
            vec![(*comparison, *value)]
        }
        Condition::Any(_) | Condition::Not(_) | Condition::Test(..) => Vec::new(),
    }
}

fn implies_number(condition: &Condition, metric: &str) -> bool {
    !bounds(condition, metric).is_empty()
}
