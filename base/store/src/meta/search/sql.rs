//! The text of a search, and what is bound to it.
//!
//! A test of a key is a look at the one row that the key can have, and never a join: which table is walked
//! and which is looked up is said here and not left to a planner's guess. SQL that only SQLite has:
//! `json_extract`, `json_each`, `GLOB`, `IS TRUE` of numbers.

use std::fmt::Write as _;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::room::{Kind, Side};
use super::{
    Attribute, Comparison, Condition, DatasetPart, Field, Order, Query, Room, Scalar, Scope, Test, View,
};
use crate::Error;

/// An expression to sort by.
pub(crate) struct Key {
    pub(crate) sql: String,
    pub(crate) kind: Kind,
    pub(crate) descending: bool,
    /// Whether every row has the same here, so that nothing is to be sorted.
    pub(crate) constant: bool,
}

/// SQL under construction: text of this program's own, and what is bound to it.
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) binds: Vec<Scalar>,
    room: Room,
    /// The id of a run, where a walk along another table than its own leads to it.
    owner: Option<&'static str>,
}

impl Sql {
    pub(crate) const fn new(room: Room, owner: Option<&'static str>) -> Self {
        Self { text: String::new(), binds: Vec::new(), room, owner }
    }

    pub(crate) fn bind(&mut self, value: Scalar) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    /// A list of values, bound as one where that is exact, so that its length is not in the text.
    pub(crate) fn list(&mut self, values: &[Scalar]) -> String {
        let mut json = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Scalar::Int(value) => json.push(serde_json::Value::from(*value)),
                Scalar::Text(value) => json.push(serde_json::Value::from(value.as_str())),
                Scalar::Real(_) => {
                    let marks: Vec<String> = values.iter().map(|value| self.bind(value.clone())).collect();
                    return format!("({})", marks.join(", "));
                }
            }
        }
        let list = self.bind(Scalar::Text(serde_json::Value::Array(json).to_string()));
        format!("(SELECT value FROM json_each({list}))")
    }

    pub(crate) fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) => self.joined(parts, " AND ", "1 = 1"),
            Condition::Any(parts) => self.joined(parts, " OR ", "1 = 0"),
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
            Condition::Test(field, test) => self.test(field, test),
        }
    }

    /// A condition that is asked for as it is and not negated: there what is unknown is as good as false, so
    /// that tests of columns can be looked up along indexes.
    fn must(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) if !parts.is_empty() => {
                let parts: Vec<String> = parts.iter().map(|part| self.must(part)).collect();
                parts.join(" AND ")
            }
            Condition::Test(Field::Attribute(attribute), test) => self.attribute(*attribute, test),
            Condition::All(_) | Condition::Any(_) | Condition::Not(_) | Condition::Test(..) => {
                self.condition(condition)
            }
        }
    }

    fn attribute(&mut self, attribute: Attribute, test: &Test) -> String {
        match self.room.column(attribute) {
            Some((column, _)) if self.room.blank(attribute) && sees_blanks(test) => {
                self.predicate(&format!("COALESCE({column}, '')"), test)
            }
            Some((column, _)) => self.predicate(column, test),
            None => "1 = 0".to_owned(),
        }
    }

    fn joined(&mut self, parts: &[Condition], with: &str, none: &str) -> String {
        if parts.is_empty() {
            return none.to_owned();
        }
        let parts: Vec<String> = parts.iter().map(|part| self.condition(part)).collect();
        format!("({})", parts.join(with))
    }

    fn test(&mut self, field: &Field, test: &Test) -> String {
        match field {
            // `IS TRUE`, so that what is unknown is false and its negation true.
            Field::Attribute(attribute) => format!("({}) IS TRUE", self.attribute(*attribute, test)),
            Field::Tag(key) => self
                .beside(Some(self.room.tags()), key, &[], test, |sql, test| sql.predicate("x.value", test)),
            Field::Param(key) => self.beside(self.room.params(), key, &[], test, |sql, test| {
                if compares_numbers(test) {
                    format!("typeof(x.number) = 'real' AND {}", sql.predicate("x.number", test))
                } else {
                    sql.predicate("x.value", test)
                }
            }),
            Field::Metric(key, scopes) => self.beside(self.room.metrics(), key, scopes, test, |sql, test| {
                let predicate = sql.predicate("x.value", test);
                // A NaN equals nothing and differs from everything.
                match test {
                    Test::Compare(Comparison::NotEqual, _) | Test::NotIn(_) => {
                        format!("(x.is_nan = 1 OR {predicate})")
                    }
                    _ => format!("x.is_nan = 0 AND {predicate}"),
                }
            }),
            Field::Measured(scopes) => self.measured(scopes, test),
            Field::Dataset(part) => self.dataset(*part, test),
        }
    }

    fn measured(&mut self, scopes: &[Scope], test: &Test) -> String {
        let Some(side) = self.room.metrics() else { return "1 = 0".to_owned() };
        let rows = format!("FROM {} x WHERE {}{}", side.table, self.join(&side), self.scope(scopes));
        let is = if *test == Test::Absent { "IS NULL" } else { "IS NOT NULL" };
        format!("(SELECT 1 {rows} LIMIT 1) {is}")
    }

    fn dataset(&mut self, part: DatasetPart, test: &Test) -> String {
        let column = match part {
            DatasetPart::Name => "json_extract(x.record, '$.dataset.name')",
            DatasetPart::Digest => "json_extract(x.record, '$.dataset.digest')",
            DatasetPart::Context => "json_extract(x.record, '$.context')",
        };
        let owner = self.owner.unwrap_or("r.id");
        let of_run = format!("x.run = {owner} AND x.kind = 'dataset'");
        match (self.room, test) {
            (Room::Runs, Test::Absent) => {
                format!("(SELECT 1 FROM run_input x WHERE {of_run} AND {column} IS NOT NULL LIMIT 1) IS NULL")
            }
            (Room::Runs, _) => {
                let predicate = self.predicate(column, test);
                format!("(SELECT 1 FROM run_input x WHERE {of_run} AND {predicate} LIMIT 1) IS NOT NULL")
            }
            (Room::Experiments | Room::LoggedModels | Room::Models | Room::Versions, _) => "1 = 0".to_owned(),
        }
    }

    fn join(&self, side: &Side) -> String {
        self.owner.map_or_else(|| side.join.to_owned(), |owner| format!("x.run = {owner}"))
    }

    /// A test of a row beside.
    fn beside(
        &mut self,
        side: Option<Side>,
        key: &str,
        scopes: &[Scope],
        test: &Test,
        predicate: impl FnOnce(&mut Self, &Test) -> String,
    ) -> String {
        let Some(side) = side else { return "1 = 0".to_owned() };
        let key = self.bind(Scalar::Text(key.to_owned()));
        let rows = format!(
            "FROM {} x WHERE {} AND x.key = {key}{}",
            side.table,
            self.join(&side),
            self.scope(scopes)
        );
        match test {
            Test::Absent => format!("(SELECT 1 {rows} LIMIT 1) IS NULL"),
            Test::Present => format!("(SELECT 1 {rows} LIMIT 1) IS NOT NULL"),
            Test::Compare(..) | Test::Like { .. } | Test::In(_) | Test::NotIn(_) if side.single => {
                format!("(SELECT {} {rows}) IS TRUE", predicate(self, test))
            }
            Test::Compare(..) | Test::Like { .. } | Test::In(_) | Test::NotIn(_) => {
                format!("EXISTS (SELECT 1 {rows} AND {})", predicate(self, test))
            }
        }
    }

    fn scope(&mut self, scopes: &[Scope]) -> String {
        if scopes.is_empty() {
            return String::new();
        }
        let mut any = Vec::new();
        for Scope { name, digest } in scopes {
            let parts = [("x.dataset_name", name), ("x.dataset_digest", digest)].into_iter();
            let parts = parts.filter_map(|(column, value)| Some((column, value.clone()?)));
            let parts: Vec<String> = parts
                .map(|(column, value)| format!("{column} = {}", self.bind(Scalar::Text(value))))
                .collect();
            any.push(if parts.is_empty() {
                "1 = 1".to_owned()
            } else {
                format!("({})", parts.join(" AND "))
            });
        }
        format!(" AND ({})", any.join(" OR "))
    }

    pub(crate) fn predicate(&mut self, column: &str, test: &Test) -> String {
        match test {
            Test::Compare(comparison, value) => {
                let value = self.bind(value.clone());
                format!("{column} {} {value}", comparison.sql())
            }
            Test::Like { pattern, ignore_case: true } => {
                let pattern = self.bind(Scalar::Text(pattern.clone()));
                format!("LOWER({column}) LIKE LOWER({pattern})")
            }
            // SQLite's LIKE ignores case; its GLOB does not.
            Test::Like { pattern, ignore_case: false } => {
                let pattern = self.bind(Scalar::Text(glob(pattern)));
                format!("{column} GLOB {pattern}")
            }
            Test::In(values) => format!("{column} IN {}", self.list(values)),
            Test::NotIn(values) => format!("{column} NOT IN {}", self.list(values)),
            Test::Absent => format!("{column} IS NULL"),
            Test::Present => format!("{column} IS NOT NULL"),
        }
    }

    /// A key of the order as expressions that are never null: where the value is missing, and the value.
    pub(crate) fn order(&mut self, order: &Order) -> Vec<Key> {
        let descending = order.descending;
        let key = |sql: String, kind, descending| Key { sql, kind, descending, constant: false };
        let by_side = |value: String, kind| {
            let blank = match kind {
                Kind::Text => "''",
                Kind::Int => "0",
                Kind::Real => "0.0",
            };
            vec![
                key(format!("({value} IS NULL)"), Kind::Int, false),
                key(format!("COALESCE({value}, {blank})"), kind, descending),
            ]
        };
        match &order.field {
            Field::Attribute(attribute) => match self.room.column(*attribute) {
                Some((column, kind)) if matches!(attribute, Attribute::Started | Attribute::Id) => {
                    vec![key(column.to_owned(), kind, descending)]
                }
                Some((column, kind)) if self.room.blank(*attribute) => {
                    vec![key(format!("COALESCE({column}, '')"), kind, descending)]
                }
                Some((column, kind)) => by_side(column.to_owned(), kind),
                None => Vec::new(),
            },
            Field::Tag(name) => by_side(self.beside_value(&self.room.tags(), name), Kind::Text),
            Field::Param(name) => match self.room.params() {
                Some(side) => by_side(self.beside_value(&side, name), Kind::Text),
                None => Vec::new(),
            },
            Field::Metric(name, scopes) => {
                let Some(side) = self.room.metrics() else { return Vec::new() };
                let name = self.bind(Scalar::Text(name.clone()));
                let scope = self.scope(scopes);
                let mut newest =
                    format!("FROM {} x WHERE {} AND x.key = {name}{scope}", side.table, self.join(&side));
                if !side.single {
                    newest.push_str(" ORDER BY x.timestamp DESC, x.step DESC LIMIT 1");
                }
                vec![
                    key(format!("COALESCE((SELECT x.is_nan {newest}), 2)"), Kind::Int, false),
                    key(format!("COALESCE((SELECT x.value {newest}), 0.0)"), Kind::Real, descending),
                ]
            }
            Field::Measured(_) | Field::Dataset(_) => Vec::new(),
        }
    }

    fn beside_value(&mut self, side: &Side, name: &str) -> String {
        let name = self.bind(Scalar::Text(name.to_owned()));
        format!("(SELECT x.value FROM {} x WHERE {} AND x.key = {name})", side.table, self.join(side))
    }

    /// What comes after the row whose keys have these values.
    pub(crate) fn after(&mut self, keys: &[Key], values: &[Scalar]) -> String {
        let mut text = "1 = 0".to_owned();
        let mut first = None;
        for (key, value) in keys.iter().zip(values).rev().filter(|(key, _)| !key.constant) {
            let mark = self.bind(value.clone());
            let beyond = if key.descending { "<" } else { ">" };
            text = format!("({sql} {beyond} {mark} OR ({sql} = {mark} AND {text}))", sql = key.sql);
            first = Some(format!("{} {beyond}= {mark}", key.sql));
        }
        // What the rest implies, said so that an index can begin there.
        first.map_or(text.clone(), |first| format!("{first} AND {text}"))
    }

    /// The whole search of a room that is one table. Answers nothing when the page's start does not fit
    /// the order.
    pub(crate) fn search(query: &Query) -> Option<(Self, Vec<Key>)> {
        let room = query.room;
        let mut sql = Self::new(room, None);
        let mut keys = Vec::new();
        for order in &query.order {
            keys.extend(sql.order(order));
        }
        keys.extend(room.own_order(!query.order.is_empty()));
        let mut conditions = Vec::new();
        if let (Some(column), Some(experiments)) = (room.experiment(), &query.experiments) {
            conditions.push(format!("{column} IN {}", sql.experiments(experiments)));
        }
        if room.deletes_softly() {
            match query.view {
                View::Active => conditions.push("r.deleted = 0".to_owned()),
                View::Deleted => conditions.push("r.deleted = 1".to_owned()),
                View::All => {}
            }
        }
        conditions.push(sql.must(&query.filter));
        if let Some(values) = &query.after {
            if !fits(&keys, values) {
                return None;
            }
            conditions.push(sql.after(&keys, values));
        }
        let limit = sql.bind(Scalar::Int(i64::from(query.limit) + 1));
        // Writing to a String cannot fail.
        let _ = write!(
            sql.text,
            "SELECT r.*{} FROM {} r WHERE {}{} LIMIT {limit}",
            columns(&keys),
            room.table(),
            conditions.join(" AND "),
            order_by(&keys),
        );
        Some((sql, keys))
    }

    /// A list of experiments.
    pub(crate) fn experiments(&mut self, experiments: &[i64]) -> String {
        let ids: Vec<Scalar> = experiments.iter().map(|id| Scalar::Int(*id)).collect();
        self.list(&ids)
    }
}

/// The keys as columns of the result: `, … AS k0, … AS k1`.
pub(crate) fn columns(keys: &[Key]) -> String {
    keys.iter().enumerate().map(|(index, key)| format!(", {} AS k{index}", key.sql)).collect()
}

/// The order by the keys' columns.
pub(crate) fn order_by(keys: &[Key]) -> String {
    let sorted = keys.iter().enumerate().filter(|(_, key)| !key.constant);
    let sorted: Vec<String> =
        sorted.map(|(index, key)| format!("k{index}{}", if key.descending { " DESC" } else { "" })).collect();
    format!(" ORDER BY {}", sorted.join(", "))
}

/// Whether a place is one in this order.
pub(crate) fn fits(keys: &[Key], values: &[Scalar]) -> bool {
    keys.len() == values.len() && keys.iter().zip(values).all(|(key, value)| key.takes(value))
}

/// Whether a test may be true of an empty text. What it is never true of is looked up as it stands, along an
/// index.
fn sees_blanks(test: &Test) -> bool {
    let blank = |value: &Scalar| matches!(value, Scalar::Text(text) if text.is_empty());
    match test {
        Test::Compare(Comparison::Equal, value) => blank(value),
        Test::In(values) => values.iter().any(blank),
        Test::Compare(..) | Test::Like { .. } | Test::NotIn(_) => true,
        Test::Absent | Test::Present => false,
    }
}

/// Whether a test looks at a text as a number.
fn compares_numbers(test: &Test) -> bool {
    let number = |value: &Scalar| !matches!(value, Scalar::Text(_));
    match test {
        Test::Compare(_, value) => number(value),
        Test::In(values) | Test::NotIn(values) => values.iter().all(number),
        Test::Like { .. } | Test::Absent | Test::Present => false,
    }
}

impl Key {
    pub(crate) const fn takes(&self, value: &Scalar) -> bool {
        matches!(
            (self.kind, value),
            (Kind::Int, Scalar::Int(_)) | (Kind::Real, Scalar::Real(_)) | (Kind::Text, Scalar::Text(_))
        )
    }

    pub(crate) fn read(&self, row: &SqliteRow, index: usize) -> Result<Scalar, Error> {
        let column = format!("k{index}");
        let column = column.as_str();
        Ok(match self.kind {
            Kind::Int => Scalar::Int(row.try_get_unchecked(column)?),
            Kind::Real => Scalar::Real(row.try_get_unchecked(column)?),
            Kind::Text => Scalar::Text(row.try_get_unchecked(column)?),
        })
    }
}

/// A LIKE pattern as SQLite's GLOB has it.
pub(in crate::meta) fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len() + 2);
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => {
                glob.push('[');
                glob.push(c);
                glob.push(']');
            }
            other => glob.push(other),
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_meaning_as_globs() {
        assert_eq!(glob("a%b_"), "a*b?");
        assert_eq!(glob("[x]*?"), "[[]x][*][?]");
    }

    #[test]
    fn nothing_that_a_user_wrote_is_in_the_text() {
        let text = "'; DROP TABLE run; --";
        let is = Test::Compare(Comparison::Equal, Scalar::Text(text.into()));
        let fields =
            [Field::Tag(text.into()), Field::Param(text.into()), Field::Metric(text.into(), Vec::new())];
        let mut query = Query::all(Room::Runs, 10);
        query.order = fields.iter().map(|field| Order { field: field.clone(), descending: true }).collect();
        query.filter = Condition::Any(fields.map(|field| Condition::Test(field, is.clone())).into());
        let (sql, _) = Sql::search(&query).unwrap();
        assert!(!sql.text.contains("DROP"), "{}", sql.text);
        // Three keys of the order, three of the filter with their values, and the limit.
        assert_eq!(sql.binds.len(), 10);
    }

    #[test]
    fn the_start_of_a_page_has_to_fit_the_order() {
        let mut query = Query::all(Room::Runs, 10);
        query.after = Some(vec![Scalar::Int(5), Scalar::Text("x".into())]);
        assert!(Sql::search(&query).is_some());
        for after in [vec![], vec![Scalar::Int(5)], vec![Scalar::Int(5), Scalar::Int(5)]] {
            query.after = Some(after);
            assert!(Sql::search(&query).is_none());
        }
    }

    #[tokio::test]
    async fn tests_of_columns_are_looked_up_along_indexes() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::Store::open(folder.path()).await.unwrap();
        let text = |attribute, comparison, value: &str| {
            let test = Test::Compare(comparison, Scalar::Text(value.into()));
            Condition::Test(Field::Attribute(attribute), test)
        };
        for (room, filter, index) in [
            (Room::Versions, text(Attribute::SourceRun, Comparison::Equal, "r"), "model_version_by_run"),
            (Room::Versions, text(Attribute::Name, Comparison::Equal, "m"), "model_version_1 (model=?)"),
            (Room::Models, text(Attribute::Name, Comparison::Equal, "m"), "(name=?)"),
            (Room::Versions, text(Attribute::SourceRun, Comparison::NotEqual, "r"), "SCAN r"),
            (Room::Versions, text(Attribute::SourceRun, Comparison::Equal, ""), "SCAN r"),
        ] {
            let filter = Condition::All(vec![filter, Condition::default()]);
            let (sql, _) = Sql::search(&Query { filter, ..Query::all(room, 10) }).unwrap();
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.text));
            let plan = sqlx::query(explain).fetch_all(store.meta().readers()).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:?}");
        }
    }

    #[tokio::test]
    async fn the_newest_point_of_a_models_metric_is_one_step_along_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::Store::open(folder.path()).await.unwrap();
        let order = Order { field: Field::Metric("m".into(), Vec::new()), descending: true };
        let query = Query { order: vec![order], ..Query::all(Room::LoggedModels, 10) };
        let (sql, _) = Sql::search(&query).unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.text));
        let plan = sqlx::query(explain).fetch_all(store.meta().readers()).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let sorts = plan.iter().filter(|step| step.contains("USE TEMP B-TREE")).count();
        assert_eq!(sorts, 1, "only the page itself is sorted: {plan:?}");
    }
}
